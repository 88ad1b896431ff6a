"""Runs in a bucket: paths, metrics, and the same numbers after a kill."""

import json
import os
import pathlib
import signal
import subprocess
import sys
import time

from etils import epath
from etils.epath import gpath
import pytest
from tensorboardX.proto import event_pb2

from experiments import report, sweep
from experiments.configs import digits
from experiments.workdir import metrics, storage
from tests import quick
from tests.experiments import bucket, short

ROOT = pathlib.Path(__file__).parents[3]


@pytest.fixture(scope="module")
def server():
  one = bucket.Server()
  yield one
  one.close()


@pytest.fixture
def inside(server, monkeypatch):
  """This process reaches the bucket."""
  for name, value in server.environment.items():
    monkeypatch.setenv(name, value)
  # epath asks EPATH_USE_TF once a process, and may have asked before.
  monkeypatch.setattr(gpath, "_is_tf_installed", lambda: False)
  bucket.install()
  return server


def test_urls_stay_whole_and_folders_become_absolute(monkeypatch, tmp_path):
  monkeypatch.chdir(tmp_path)
  run = storage.path("gs://bucket/run")
  assert str(run / "metrics.jsonl") == "gs://bucket/run/metrics.jsonl"
  assert str(storage.path(run / "checkpoints")) == "gs://bucket/run/checkpoints"
  assert str(storage.path("runs/a")) == str(tmp_path / "runs/a")
  assert storage.is_remote(run) and not storage.is_remote(tmp_path)


@pytest.mark.parametrize(
  ("name", "remedy"),
  [
    ("GS://bucket/run", "write gs://bucket/run."),
    ("gs:/bucket/run", "write gs://bucket/run."),
    ("gs:bucket/run", "write gs://bucket/run."),
    ("gcs://bucket/run", "write gs://bucket/run."),
    ("gs://", "names no bucket"),
    ("gs:///run", "names no bucket"),
    ("file:///tmp/run", "write /tmp/run."),
    ("s3://bucket/run", "write a local path, or gs://BUCKET/FOLDER."),
    ("http://host/run", "write a local path, or gs://BUCKET/FOLDER."),
    ("hdfs://host/run", "write a local path, or gs://BUCKET/FOLDER."),
    ("", "named by an empty string"),
  ],
)
def test_what_is_no_folder_is_refused_with_what_to_write(name, remedy):
  with pytest.raises(ValueError, match=remedy):
    storage.path(name)


def test_a_folder_may_have_a_colon(tmp_path, monkeypatch):
  monkeypatch.chdir(tmp_path)
  for name in ("run:1", "digits/a:b", f"{tmp_path}/a://b"):
    assert not storage.is_remote(storage.path(name))
    storage.make_folder(storage.path(name))
    assert os.path.isdir(name)


def test_a_folder_s_name_that_is_taken_is_said(tmp_path):
  (tmp_path / "file").touch()
  os.symlink(tmp_path / "nowhere", tmp_path / "dangling")
  os.symlink(tmp_path / "file", tmp_path / "link")
  for name, kind in (
    ("file", "is a file, and no folder"),
    ("link", "is a file, and no folder"),
    ("dangling", "is a link to '.*nowhere', which is not there, and no folder"),
  ):
    with pytest.raises(ValueError, match=f"{name} {kind}"):
      storage.make_folder(storage.path(tmp_path / name))


def test_what_is_no_file_is_not_waited_for(tmp_path):
  os.mkfifo(tmp_path / "metrics.jsonl")
  os.mkfifo(tmp_path / "config.json")
  with pytest.raises(ValueError, match="metrics.jsonl is no file"):
    metrics.read(storage.path(tmp_path / "metrics.jsonl"))
  with pytest.raises(ValueError, match="config.json is no file"):
    storage.read_json(tmp_path / "config.json")


def test_a_folder_s_file_is_replaced_whole(tmp_path):
  target = storage.path(tmp_path) / "config.json"
  storage.write(target, "old")
  storage.write(target, "new")
  assert target.read_text() == "new"
  assert [p.name for p in tmp_path.iterdir()] == ["config.json"]


def test_objects_here_cannot_be_appended_to(inside):
  """Else the tests below would pass with a writer that appends."""
  with pytest.raises(NotImplementedError, match="written whole"):
    with epath.Path("gs://bucket/a").open("a") as file:
      file.write("x")


def test_each_line_is_in_the_bucket_when_it_is_written(inside):
  url = "gs://bucket/lines/metrics.jsonl"
  writer = metrics.MetricsWriter("gs://bucket/lines", 0)
  for k in (5, 10, 15):
    writer.write(k, "eval", {"loss": 1.0 / k})
    steps = [json.loads(x)["step"] for x in inside.text(url).splitlines()]
    assert steps == list(range(5, k + 1, 5))
  writer.close()
  # A run that resumes at step 10 writes what comes after it again.
  metrics.MetricsWriter("gs://bucket/lines", 10).close()
  rows = metrics.read(epath.Path(url))
  assert [row["step"] for row in rows] == [5, 10]


def test_events_are_in_the_bucket_too(inside):
  writer = metrics.MetricsWriter("gs://bucket/events", 0)
  writer.write(5, "train", {"loss": 0.5})
  writer.close()
  (name,) = inside.names("gs://bucket/events/events.out.tfevents.")
  data, _ = inside.objects[name]
  values = {}
  while data:  # a record: length, its checksum, the event, its checksum
    size = int.from_bytes(data[:8], "little")
    event = event_pb2.Event.FromString(data[12 : 12 + size])
    for value in event.summary.value:
      values[value.tag, event.step] = value.simple_value
    data = data[16 + size :]
  assert values == {("train/loss", 5): 0.5}


def test_events_that_cannot_be_written_do_not_stop_the_run(inside, monkeypatch):
  def fail(self, data):
    raise OSError("no answer")

  writer = metrics.MetricsWriter("gs://bucket/deaf", 0)
  monkeypatch.setattr(type(epath.Path("gs://bucket")), "write_bytes", fail)
  for step in range(100):
    writer.write(step, "train", {"loss": 0.5})
  writer.close()
  assert inside.text("gs://bucket/deaf/metrics.jsonl").count("0.5") == 100


@pytest.fixture
def faulty(inside):
  """Sets what the bucket answers to the next requests, then to all others."""

  def fail(statuses, after=None):
    left = iter(statuses)
    inside.fault = lambda method, name: next(left, after)

  yield fail
  inside.fault = lambda method, name: None


def test_a_busy_bucket_does_not_end_a_run(inside, faulty, caplog):
  writer = metrics.MetricsWriter("gs://bucket/busy", 0)
  for k, status in enumerate((503, 429, 500)):
    faulty([status])
    writer.write(k, "train", {"loss": 0.5})
  writer.close()
  assert inside.text("gs://bucket/busy/metrics.jsonl").count("0.5") == 3
  told = [r.message for r in caplog.records if "trying again" in r.message]
  assert len(told) == 3
  assert "gs://bucket/busy/metrics.jsonl: trying again" in told[0]
  assert "503" in told[0]


def test_a_bucket_that_stays_away_ends_with_its_name(
  inside, faulty, monkeypatch, caplog
):
  monkeypatch.setattr(storage, "PATIENCE", 2.0)
  faulty([], after=503)
  with pytest.raises(
    OSError, match=r"gs://bucket/away/a could not be reached for 2 s .*503.*;"
  ):
    storage.write(epath.Path("gs://bucket/away/a"), "x")
  assert len(caplog.records) == 2  # after 0.5 s and 1 s


@pytest.mark.parametrize("status", [401, 403, 404])
def test_a_bucket_that_refuses_is_asked_once(inside, faulty, status, caplog):
  asked = []
  inside.fault = lambda method, name: asked.append(name) or status
  with pytest.raises(OSError, match="gs://bucket/no/a .* bucket"):
    storage.write(epath.Path("gs://bucket/no/a"), "x")
  assert asked == ["bucket/no/a"] and not caplog.records
  if status != 404:  # which is an answer: nothing is taken for a new run
    with pytest.raises(OSError, match="check that the bucket exists"):
      storage.exists(epath.Path("gs://bucket/no/a"))


def test_the_report_says_to_copy_first(tmp_path):
  with pytest.raises(ValueError, match="rsync -r .* gs://bucket/run DIR"):
    report.write(["gs://bucket/run"], tmp_path)


def test_a_sweep_ends_with_how_to_report_on_it(inside, monkeypatch, caplog):
  config = digits.get_config("compare,batch_size=96")
  config.sweep = config.sweep[:1]
  folders = []

  def train(config, folder, cache):
    folders.append(str(folder))
    return {"polyak_accuracy": 1.0}

  monkeypatch.setattr(sweep.train, "train_and_evaluate", train)
  sweep.run(config, "gs://bucket/sweep")
  assert folders[0].startswith("gs://bucket/sweep/")
  assert json.loads(inside.text("gs://bucket/sweep/runs.json"))


CODE = "from tests.experiments import bucket; bucket.install(); "
CODE += "from experiments import cli, main; cli.run(main.main, resumable=True)"


def start(server, workdir):
  environment = quick.environment(**server.environment)
  # Its programs are kept in the bucket, too.
  environment.pop("JAX_COMPILATION_CACHE_DIR", None)
  return subprocess.Popen(
    [
      *(sys.executable, "-c", CODE),
      f"--config=experiments/configs/digits.py:{short.QUICK}",
      f"--workdir={workdir}",
    ],
    cwd=ROOT,
    env=environment,
    stdin=subprocess.DEVNULL,
    stdout=subprocess.DEVNULL,
    stderr=subprocess.PIPE,
    text=True,
  )


def evaluations(server, workdir):
  rows = map(json.loads, server.text(f"{workdir}/metrics.jsonl").splitlines())
  return [row for row in rows if row["split"] == "eval"]


def finish(process, code):
  stderr = process.communicate(timeout=300)[1]
  assert process.returncode == code, stderr[-3000:]


def stopped(server, workdir, step, how):
  """Starts a run and stops it once it has evaluated a step."""
  process = start(server, workdir)
  deadline = time.monotonic() + 300
  while [row["step"] for row in evaluations(server, workdir)][-1:] < [step]:
    assert process.poll() is None, process.communicate()[1][-3000:]
    assert time.monotonic() < deadline
    time.sleep(0.002)
  process.send_signal(how)
  return process


def saved(server, workdir, step=""):
  folder = f"{workdir}/checkpoints/{step}"
  return server.names(f"{folder}/" if step else folder)


def test_a_run_in_a_bucket_survives_a_kill_and_a_preemption(server):
  """Checkpoints included, by TensorStore's own client of the bucket."""
  whole, workdir = "gs://bucket/whole", "gs://bucket/stopped"
  finish(start(server, whole), 0)
  finish(stopped(server, workdir, 35, signal.SIGKILL), -signal.SIGKILL)
  finish(stopped(server, workdir, 45, signal.SIGTERM), 75)
  newest = max(int(n.split("/")[3]) for n in saved(server, workdir))
  name = max(
    saved(server, workdir, newest), key=lambda n: len(server.objects[n][0])
  )
  data, generation = server.objects[name]
  server.objects[name] = (data[:-1] + bytes([data[-1] ^ 1]), generation)
  finish(start(server, workdir), 0)  # from the one before
  aside = f"{workdir}/checkpoints/{newest}.damaged/"
  assert len(server.names(aside)) > 5
  assert [row["step"] for row in evaluations(server, workdir)] == list(
    range(5, 61, 5)
  )
  assert evaluations(server, workdir) == evaluations(server, whole)
  assert server.names(f"{workdir}/checkpoints/60/")
  assert server.names(f"{workdir}/xla/")
  assert not (ROOT / "gs:").exists()
