"""TensorBoard's events: their format, and that they never stop a run."""

import contextlib
import logging
import resource

import pytest
from tensorboardX.proto import event_pb2

from experiments.workdir import events, metrics, storage

SCALARS = {f"a_measure_{k}": 0.5 + k for k in range(8)}


@contextlib.contextmanager
def files_of_at_most(size):
  """A write beyond it fails, as on a full disk, after taking a part."""
  before = resource.getrlimit(resource.RLIMIT_FSIZE)
  resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
  try:
    yield
  finally:
    resource.setrlimit(resource.RLIMIT_FSIZE, before)


def found(folder):
  (path,) = folder.glob("events.out.tfevents.*")
  return path


def test_a_run_whose_events_cannot_be_written_goes_on(tmp_path, caplog):
  with caplog.at_level(logging.WARNING), files_of_at_most(24_000):
    writer = metrics.MetricsWriter(tmp_path, 0)
    for step in range(1, 101):
      writer.write(step, "train", SCALARS)
    writer.close()
  assert len(metrics.read(tmp_path / "metrics.jsonl")) == 100
  assert found(tmp_path).stat().st_size == 24_000  # and there was more
  (record,) = caplog.records
  assert str(found(tmp_path)) in record.message
  assert "File too large" in record.message
  assert "the run goes on" in record.message


def test_events_whose_file_cannot_be_made_do_not_stop_the_run(tmp_path, caplog):
  folder = storage.path(tmp_path / "run")
  with caplog.at_level(logging.WARNING):
    writer = events.EventsWriter(folder, 1)  # there is no such folder
    for step in range(100):
      writer.add_scalar("train/loss", 0.5, step)
    writer.close()
  assert [record.levelname for record in caplog.records] == ["WARNING"]
  assert not folder.exists()


def test_metrics_that_cannot_be_written_say_where(tmp_path):
  with files_of_at_most(500):
    writer = metrics.MetricsWriter(tmp_path, 0)
    with pytest.raises(OSError, match="metrics.jsonl"):
      for step in range(10):
        writer.write(step, "train", SCALARS)
    writer.close()  # and no second error, which would hide the first
  rows = metrics.read(tmp_path / "metrics.jsonl")
  assert 0 < len(rows) < 10
  assert [row["step"] for row in rows] == list(range(len(rows)))
  metrics.MetricsWriter(tmp_path, 0).close()  # with room, it is gone on with


def test_tensorflow_reads_what_is_written(tmp_path):
  tf = pytest.importorskip("tensorflow", reason="pip install tensorflow")
  for purge_step in (1, 4):  # within one second, into files of their own
    writer = events.EventsWriter(storage.path(tmp_path), purge_step)
    writer.add_scalar("train/loss", 0.25, purge_step)
    writer.add_scalar("eval/loss", 0.75, purge_step + 2)
    writer.close()
  paths = sorted(tmp_path.iterdir())
  assert len(paths) == 2
  told = set()
  for path in paths:
    records = tf.data.TFRecordDataset(str(path))  # which compares checksums
    version, purge, start, *scalars = (
      event_pb2.Event.FromString(record.numpy()) for record in records
    )
    assert version.file_version == purge.file_version == "brain.Event:2"
    assert start.session_log.status == event_pb2.SessionLog.START
    assert start.step == purge.step
    told |= {
      (start.step, event.step, value.tag, value.simple_value)
      for event in scalars
      for value in event.summary.value
    }
  assert told == {
    (1, 1, "train/loss", 0.25),
    (1, 3, "eval/loss", 0.75),
    (4, 4, "train/loss", 0.25),
    (4, 6, "eval/loss", 0.75),
  }
