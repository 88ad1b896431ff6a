#!/usr/bin/env bash
# A run on GPUs under SLURM, from the checkout, whose .venv all nodes see:
#
#   python3 -m venv .venv
#   .venv/bin/pip install -c constraints.txt -e '.[train,tfds,cuda]'
#   DATA=/shared/tfds WORKDIR=/shared/resnet50_mixupe \
#     sbatch experiments/launch/slurm.sh
#
#SBATCH --job-name=jaxmix
#SBATCH --nodes=2
# JAX gives each SLURM task one GPU, the one of its number on the node.
#SBATCH --ntasks-per-node=8
#SBATCH --gpus-per-node=8
#SBATCH --cpus-per-task=8
#SBATCH --time=24:00:00
# Five minutes before the time is over every task is asked to save.
#SBATCH --signal=TERM@300
#SBATCH --requeue
#SBATCH --open-mode=append
#SBATCH --output=slurm-%j.log
set -euo pipefail

: "${DATA:?is the folder that holds imagenet2012}"
: "${WORKDIR:?is the folder that the run writes to}"
CONFIG=${CONFIG:-experiments/configs/imagenet_resnet50.py:method=mixupe}

# A preemption's SIGTERM reaches this script too, which must live to requeue.
trap : TERM
code=0
# A task that has saved ends before the others: they are not to be killed.
srun --kill-on-bad-exit=0 .venv/bin/python -m experiments.main \
  --config="$CONFIG" --workdir="$WORKDIR" --config.data_dir="$DATA" || code=$?
if ((code == 75)); then  # saved: the same job goes on from there
  scontrol requeue "$SLURM_JOB_ID"
fi
exit "$code"
