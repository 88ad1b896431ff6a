"""The lock on a workdir: two real processes, a kill, and a bucket."""

import json
import os
import pathlib
import resource
import signal
import socket
import subprocess
import sys
import threading

from etils import epath
from etils.epath import gpath
import pytest

from experiments.workdir import lock
from tests.experiments import bucket

ROOT = pathlib.Path(__file__).parents[3]
HOLD = """
import sys, time
from experiments.workdir import lock
with lock.hold(sys.argv[1]):
  print("held", flush=True)
  time.sleep(300)
"""


@pytest.fixture
def holder(tmp_path):
  """Another process, which holds tmp_path."""
  process = subprocess.Popen(
    [sys.executable, "-c", HOLD, str(tmp_path)],
    cwd=ROOT,
    stdout=subprocess.PIPE,
    text=True,
  )
  assert process.stdout.readline() == "held\n"
  yield process
  process.kill()
  process.communicate()


def test_the_second_is_refused_until_the_first_is_killed(tmp_path, holder):
  with pytest.raises(lock.HeldError) as error:
    with lock.hold(tmp_path):
      pass
  assert f"workdir {tmp_path} is in use by process {holder.pid} on host " in (
    str(error.value)
  )
  assert socket.gethostname() in str(error.value)
  assert "\n" not in str(error.value)
  holder.send_signal(signal.SIGKILL)
  holder.wait()
  assert str(holder.pid) in (tmp_path / "lock").read_text()  # it died with it
  with lock.hold(tmp_path):
    assert json.loads((tmp_path / "lock").read_text())["pid"] == os.getpid()


def test_it_is_let_go_at_the_end_and_on_an_error(tmp_path):
  with pytest.raises(KeyError):
    with lock.hold(tmp_path / "new"):
      raise KeyError
  with lock.hold(tmp_path / "new"):
    with pytest.raises(lock.HeldError, match=f"process {os.getpid()} on"):
      with lock.hold(tmp_path / "new"):
        pass
  assert (tmp_path / "new" / "lock").read_text() == ""


def test_a_planted_link_is_not_followed(tmp_path):
  (tmp_path / "outside").write_text("precious")
  (tmp_path / "run").mkdir()
  os.symlink(tmp_path / "outside", tmp_path / "run" / "lock")
  with pytest.raises(OSError):
    with lock.hold(tmp_path / "run"):
      pass
  assert (tmp_path / "outside").read_text() == "precious"


def test_a_file_system_without_locks_is_warned_about(
  tmp_path, monkeypatch, caplog
):
  def flock(file, how):
    raise OSError(lock.errno.ENOLCK, "No locks available")

  monkeypatch.setattr(lock.fcntl, "flock", flock)
  with lock.hold(tmp_path):
    pass
  assert "has no locks (No locks available)" in caplog.text


# --- Buckets


@pytest.fixture
def url(monkeypatch):
  """A folder in a bucket, whose locks are quick."""
  server = bucket.Server()
  for name, value in server.environment.items():
    monkeypatch.setenv(name, value)
  monkeypatch.setattr(gpath, "_is_tf_installed", lambda: False)
  bucket.install()
  monkeypatch.setattr(lock, "_SETTLE", 0.05)
  monkeypatch.setattr(lock, "_REFRESH", 0.05)
  monkeypatch.setattr(lock, "_STALE", 0.5)
  yield "gs://bucket/run"
  server.close()


def test_a_bucket_is_held_while_its_object_is_refreshed(url):
  path = epath.Path(url) / "lock"
  with lock.hold(url):
    assert json.loads(path.read_text())["pid"] == os.getpid()
    with pytest.raises(lock.HeldError, match=f"{url} is in use by process"):
      with lock.hold(url):
        pass
    # Refused, it has not touched the holder's.
    assert json.loads(path.read_text())["pid"] == os.getpid()
  assert not path.exists()


@pytest.mark.parametrize("here", [True, False])
def test_a_bucket_s_stale_lock_is_taken_over(url, here, monkeypatch):
  dead = subprocess.Popen([sys.executable, "-c", ""])
  dead.wait()
  machine = lock._machine() if here else "another"
  path = epath.Path(url) / "lock"
  path.write_text(json.dumps({"pid": dead.pid, "machine": machine}))
  if here:  # then there is nothing to wait for
    monkeypatch.setattr(lock, "_STALE", 1e6)
  with lock.hold(url):
    assert json.loads(path.read_text())["pid"] == os.getpid()


def test_of_two_that_begin_at_once_one_holds_a_bucket(url, monkeypatch):
  monkeypatch.setattr(lock, "_SETTLE", 0.3)
  ends, release = [], threading.Event()

  def begin():
    try:
      with lock.hold(url):
        ends.append("held")
        release.wait(10)
    except lock.HeldError:
      ends.append("refused")
      release.set()

  threads = [threading.Thread(target=begin) for _ in range(2)]
  for thread in threads:
    thread.start()
  for thread in threads:
    thread.join()
  assert sorted(ends) == ["held", "refused"]


def test_a_holder_that_lost_its_bucket_says_so_and_leaves_it(url, caplog):
  path = epath.Path(url) / "lock"
  with lock.hold(url):
    path.write_text(json.dumps({"pid": 7, "host": "other", "token": "other"}))
    for _ in range(100):
      if "Lost the workdir" in caplog.text:
        break
      threading.Event().wait(0.02)
  assert "in use by process 7 on host other" in caplog.text
  assert json.loads(path.read_text())["token"] == "other"


def test_a_lock_that_cannot_be_written_says_where(tmp_path):
  before = resource.getrlimit(resource.RLIMIT_FSIZE)
  resource.setrlimit(resource.RLIMIT_FSIZE, (0, before[1]))
  try:
    with pytest.raises(OSError, match=f"too large: '{tmp_path}/lock'"):
      with lock.hold(tmp_path):
        pass
  finally:
    resource.setrlimit(resource.RLIMIT_FSIZE, before)
  with lock.hold(tmp_path):  # and is let go of
    pass


def test_another_folder_than_the_holder_s_is_told_from_its_own(tmp_path):
  for name in ("a", "b"):
    (tmp_path / name).mkdir()
  os.symlink(tmp_path / "a", tmp_path / "link")
  with lock.hold(tmp_path / "a") as holder, lock.hold(tmp_path / "b"):
    lock.check_seen(tmp_path / "link", holder)
    for name in ("b", "nowhere"):
      with pytest.raises(ValueError, match=f"workdir {tmp_path}/{name} on "):
        lock.check_seen(tmp_path / name, holder)
