#!/usr/bin/env bash
# A run on a TPU slice, from this machine, with gcloud:
#
#   tpu_vm.sh bucket    makes the bucket
#   tpu_vm.sh prepare   writes ImageNet there, on a CPU VM that is then deleted
#   tpu_vm.sh create    asks for the slice and waits until it is there
#   tpu_vm.sh setup     installs this commit on every host
#   tpu_vm.sh run       create, setup, train; again after every preemption
#   tpu_vm.sh logs      follows the log of host 0
#   tpu_vm.sh stop      saves a checkpoint and ends the run
#   tpu_vm.sh delete    deletes the slice, which costs money until then
#
# `run` may be interrupted and started again at any time: the hosts go on
# training, and it finds them. Commit first: hosts get the commit, not the tree.
# gcloud reaches several hosts with a key that an agent holds only:
# eval "$(ssh-agent)"; ssh-add ~/.ssh/google_compute_engine
set -euo pipefail

# Set these in the environment.
: "${PROJECT:?is the Google Cloud project}"
: "${BUCKET:?is the name of the bucket, without gs://}"
ZONE=${ZONE:-us-central1-a}
NAME=${NAME:-jaxmix}                     # of the slice
SLICE=${SLICE:-v5litepod-32}             # 4x8 chips of v5e
RUNTIME=${RUNTIME:-v2-alpha-tpuv5-lite}  # goes with the slice's generation
SPOT=${SPOT:-1}                          # 0: on demand
CONFIG=${CONFIG:-experiments/configs/imagenet_resnet50.py:method=mixupe}
RUN=${RUN:-resnet50_mixupe}              # gs://BUCKET/RUN is the workdir
TARS=${TARS:-gs://$BUCKET/tars}          # ILSVRC2012_img_{train,val}.tar
WAIT=${WAIT:-30}                         # seconds between two looks

for number in SPOT WAIT; do  # bash would evaluate what is none
  if [[ ! ${!number} =~ ^[0-9]{1,5}$ ]]; then
    echo "$number must be a number, got ${!number@Q}." >&2
    exit 2
  fi
done

readonly PREEMPTED=75
# Asks a host whether it is training.
readonly TRAINING="{ [ -s run.pid ] && kill -0 \$(cat run.pid); } 2> /dev/null"
readonly UV=0.13.9  # which brings a Python that is new enough
readonly DATA=gs://$BUCKET/tfds
here=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
where=(--project="$PROJECT" --zone="$ZONE")

say() { printf '%s %s\n' "$(date +%T)" "$*" >&2; }

queued() { gcloud compute tpus queued-resources "$@" "${where[@]}"; }

on() {  # on HOSTS COMMAND: a host's number, or all
  gcloud compute tpus tpu-vm ssh "$NAME" "${where[@]}" --worker="$1" \
    --command="$2"
}

state() {  # of the slice; ABSENT where there is none, UNKNOWN without an answer
  local now
  if now=$(queued describe "$NAME" --format='value(state.state)' 2>&1); then
    echo "${now##*$'\n'}"
  elif [[ $now == *NOT_FOUND* || $now == *"not found"* ]]; then
    echo ABSENT
  else
    echo UNKNOWN
  fi
}

bucket() {
  gcloud storage buckets create "gs://$BUCKET" --project="$PROJECT" \
    --location="${ZONE%-*}" --uniform-bucket-level-access
}

# The hosts' Python is older than JAX asks for; uv brings one.
install() {  # install EXTRAS
  cat <<END
set -euo pipefail
rm -rf jaxmix
git clone -q jaxmix.bundle jaxmix
cd jaxmix
export PATH="\$HOME/.local/bin:\$PATH"
command -v uv > /dev/null ||
  curl -LsSf https://astral.sh/uv/$UV/install.sh | sh
uv venv -q --python 3.11 .venv
uv pip install -q --python .venv/bin/python -c constraints.txt -e '.[$1]'
END
}

bundle() {
  folder=$(mktemp -d)
  trap 'rm -rf "$folder"' EXIT
  git -C "$here" bundle create -q "$folder/jaxmix.bundle" HEAD
}

prepare() {
  local vm=$NAME-data
  # A folder that is there may be half of one.
  if gcloud storage ls "$DATA/imagenet2012.complete" > /dev/null 2>&1; then
    say "$DATA/imagenet2012 is there already."
    return
  fi
  bundle
  if ! gcloud compute instances describe "$vm" "${where[@]}" > /dev/null 2>&1
  then
    gcloud compute instances create "$vm" "${where[@]}" \
      --machine-type=n2-standard-16 --boot-disk-size=600GB \
      --boot-disk-type=pd-balanced --image-family=ubuntu-2404-lts-amd64 \
      --image-project=ubuntu-os-cloud --scopes=storage-rw
  fi
  until gcloud compute ssh "$vm" "${where[@]}" --command=true; do
    sleep "$WAIT"
  done
  gcloud compute scp "$folder/jaxmix.bundle" "$vm:" "${where[@]}"
  local tars data complete  # as a remote shell takes them, whatever they hold
  printf -v tars %q "$TARS/ILSVRC2012_img_*.tar"
  printf -v data %q "$DATA/imagenet2012"
  printf -v complete %q "$DATA/imagenet2012.complete"
  gcloud compute ssh "$vm" "${where[@]}" --command="$(install train,tfds)
mkdir -p ~/tars
gcloud storage cp $tars ~/tars
.venv/bin/tfds build imagenet2012 --data_dir=\$HOME/tfds \\
  --manual_dir=\$HOME/tars
gcloud storage rsync -r ~/tfds/imagenet2012 $data
date | gcloud storage cp - $complete"
  gcloud compute instances delete "$vm" "${where[@]}" --quiet
}

create() {
  local now spot=()
  if ((10#$SPOT)); then spot=(--spot); fi
  while :; do
    now=$(state)
    case $now in
      ACTIVE) return ;;
      ABSENT)
        say "Asking for $SLICE in $ZONE."
        queued create "$NAME" --node-id="$NAME" --accelerator-type="$SLICE" \
          --runtime-version="$RUNTIME" ${spot[@]+"${spot[@]}"}
        ;;
      SUSPENDED)  # preempted
        say "The slice is $now; deleting what is left of it."
        delete
        ;;
      FAILED)
        queued describe "$NAME" >&2
        say "Refused, as above; tpu_vm.sh delete, then ask for another."
        return 1
        ;;
      *) say "The slice is $now." ;;  # on its way, or on its way out
    esac
    sleep "$WAIT"
  done
}

setup() {
  bundle &&
    gcloud compute tpus tpu-vm scp "$folder/jaxmix.bundle" "$NAME:" \
      "${where[@]}" --worker=all &&
    on all "if $TRAINING; then echo 'Training: stop first.'; exit 1; fi
$(install train,tfds,tpu)
git rev-parse HEAD > ../jaxmix.commit"
}

ask() {  # ask COMMAND: the different answers of the hosts
  on all "echo \"jaxmix \$($1)\"" | sed -n 's/^jaxmix //p' | sort -u
}

# Training is to outlive this machine's connection, and its shell the SIGTERM on
# which it saves.
start() {
  local train
  printf -v train '%q ' .venv/bin/python -m experiments.main \
    "--config=$CONFIG" "--workdir=gs://$BUCKET/$RUN" "--config.data_dir=$DATA"
  on all "if $TRAINING; then exit; fi
rm -f run.code run.stop
cat > run.sh <<'END'
trap : TERM
cd jaxmix
$train
echo \$? > ../run.code
END
nohup setsid bash run.sh >> run.log 2>&1 < /dev/null &
echo \$! > run.pid"
}

logs() {
  on 0 "tail -n 20 -F --pid=\$(cat run.pid) run.log"
}

codes() {  # once it has ended
  ask "while $TRAINING; do sleep 1; done
if [ -e run.stop ]; then echo stopped; else cat run.code || echo lost; fi"
}

run() {
  local ends now code lost=0
  commit=$(git -C "$here" rev-parse HEAD)
  while :; do
    create
    ends=lost
    if ready && start; then
      logs || :
      ends=$(codes) || ends=lost
    fi
    # What hosts answer is text of theirs, and nothing to be evaluated.
    [[ $ends =~ ^(([0-9]{1,3}|stopped|lost)[[:space:]]*)*$ ]] || ends=lost
    now=$(state)
    # A slice that is gone says more than how its hosts ended.
    if [[ $now != ACTIVE && $now != UNKNOWN ]]; then
      say "The slice was preempted."
      lost=0
    elif [[ -z $ends || $ends == *lost* ]]; then
      ((++lost < 10)) || { say "The hosts do not answer."; return 1; }
      say "No answer from the hosts; trying again."
    elif [[ $ends == 0 ]]; then
      say "Done: gs://$BUCKET/$RUN. Now: tpu_vm.sh delete"
      return
    elif [[ $ends == *stopped* ]]; then
      say "Stopped; tpu_vm.sh run goes on from there."
      return "$PREEMPTED"
    else
      for code in $ends; do
        if ((10#$code != 0 && 10#$code != PREEMPTED)); then
          say "Training failed with exit code $code: see tpu_vm.sh logs."
          return "$((10#$code))"
        fi
      done
      say "Training saved and stopped; going on."
      lost=0
    fi
    sleep "$WAIT"
  done
}

ready() {  # training, or set up for it
  local now
  now=$(ask "$TRAINING && echo training || cat jaxmix.commit") || return
  [[ $now == training || $now == "$commit" ]] || setup
}

stop() {
  on all "touch run.stop; kill -TERM -- -\$(cat run.pid)"
  codes
}

delete() { queued delete "$NAME" --force --quiet; }

case ${1-} in
  bucket | prepare | create | setup | run | logs | stop | delete) "$1" ;;
  *)
    sed -n '2,/^set/s/^# \{0,1\}//p' "${BASH_SOURCE[0]}" >&2
    exit 2
    ;;
esac
