"""Data sets that take each other's place, whenever they are killed."""

import json
import os
import pathlib
import signal
import subprocess
import sys
import time

import pytest

pytest.importorskip("tensorflow_datasets")

from experiments.inputs.prepare import write  # noqa: E402

ROOT = pathlib.Path(__file__).parents[4]


def hidden(out):
  return [name for name in os.listdir(out) if name.startswith(".")]


def killed_while_writing(command, folder, out, signum):
  """Ends `prepare --overwrite` when it has begun to write."""
  words, settings = command
  process = subprocess.Popen(
    [*words, f"--folder={folder}", f"--out={out}", "--overwrite"],
    stdout=subprocess.PIPE,
    stderr=subprocess.STDOUT,
    text=True,
    **settings,
  )
  deadline = time.monotonic() + 120
  while process.poll() is None and time.monotonic() < deadline:
    if list(out.glob(".*/*/*incomplete*/*")):
      break
    time.sleep(0.002)
  process.send_signal(signum)
  said, _ = process.communicate(timeout=60)
  assert process.returncode != 0, said
  return process.returncode, said


@pytest.fixture(scope="module")
def many(tmp_path_factory, save_jpeg):
  """Enough images to be killed between the first and the last."""
  folder = tmp_path_factory.mktemp("many")
  for i in range(200):
    save_jpeg(folder / f"c{i % 2}" / f"{i}.jpg", seed=i)
    for copy in range(9):
      os.link(
        folder / f"c{i % 2}" / f"{i}.jpg",
        folder / f"c{i % 2}" / f"{i}_{copy}.jpg",
      )
  return folder


@pytest.mark.parametrize("signum", [signal.SIGTERM, signal.SIGKILL])
def test_a_kill_leaves_the_old_data_set(
  command, folder, out, stored, many, signum
):
  write.prepare(str(folder), str(out), eval_split="same")
  before = stored(out, "train")
  assert len(before) == 10
  code, said = killed_while_writing(command, many, out, signum)
  assert stored(out, "train") == before
  assert os.listdir(out / "imagenet2012") == ["1.0.0"]
  if signum == signal.SIGTERM:
    assert code == 128 + signal.SIGTERM, said
    assert not hidden(out)
  else:
    assert len(hidden(out)) == 1
  write.prepare(str(folder), str(out), name="other", eval_split="same")
  done = write.prepare(str(many), str(out), eval_split="same", overwrite=True)
  assert done["train"] == len(stored(out, "train")) == 2000
  assert not hidden(out)


KILLED_AT = """
import os, signal, sys
from experiments.inputs.prepare import write
from experiments.inputs.tfrecords import records
tf, _ = records.import_tensorflow()
number, calls = int(sys.argv[3]), 0

def killing(function):
  def call(*args, **options):
    global calls
    outside = not any(".imagenet2012." in str(a) and str(a).count("/1.0.0") > 1
                      for a in args)
    if function.__name__.startswith(("rename", "delete")) and outside:
      if calls == number:
        os.kill(os.getpid(), signal.SIGKILL)
      calls += 1
    return function(*args, **options)
  return call

tf.io.gfile.rename = killing(tf.io.gfile.rename)
tf.io.gfile.rmtree = killing(tf.io.gfile.rmtree)
write.prepare(sys.argv[1], sys.argv[2], eval_split="same", overwrite=True)
"""


def test_a_kill_between_the_renames_is_mended(
  folder, out, stored, save_jpeg, tmp_path, command
):
  for i in range(4):
    save_jpeg(tmp_path / "new" / "ab"[i % 2] / f"{i}.jpg", seed=i)
  # Before and after each of: aside, in place, the old one's end.
  sizes = []
  for number in range(3):
    write.prepare(str(folder), str(out), eval_split="same", overwrite=True)
    words = [KILLED_AT, str(tmp_path / "new"), str(out), str(number)]
    done = subprocess.run(
      [sys.executable, "-c", *words], capture_output=True, **command[1]
    )
    assert done.returncode == -signal.SIGKILL, done.stderr
    with pytest.raises(FileExistsError):  # puts back all the same
      write.prepare(str(folder), str(out))
    assert os.listdir(out / "imagenet2012") == ["1.0.0"]
    sizes.append(len(stored(out, "train")))
  assert sizes == [10, 10, 4]


def test_a_data_set_set_aside_is_told_where_it_is_missed(folder, out):
  from experiments.inputs.tfrecords import store

  write.prepare(str(folder), str(out), eval_split="same")
  path = out / "imagenet2012" / "1.0.0"
  path.rename(f"{path}.previous")
  with pytest.raises(FileNotFoundError, match="1.0.0.previous.*prepare") as e:
    store.open_builder("imagenet2012", str(out))
  assert "put it back" in str(e.value)


def test_what_another_process_writes_is_left_alone(folder, out, capsys):
  other = out / ".imagenet2012.elsewhere.1"
  other.mkdir(parents=True)
  write.prepare(str(folder), str(out), eval_split="same")
  assert other.exists() and f"{other} belongs to" in capsys.readouterr().out


def test_a_full_disk_ends_it_in_a_line(folder, tmp_path, command, stored):
  if os.getuid() or subprocess.run(["which", "mount"]).returncode:
    pytest.skip("a small disk can only be mounted by root")
  out = tmp_path / "disk"
  out.mkdir()
  mount = ["mount", "-t", "tmpfs", "-o", "size=96k", "none", str(out)]
  if subprocess.run(mount, capture_output=True).returncode:
    pytest.skip("a small disk cannot be mounted here")
  try:
    write.prepare(str(folder), str(out), eval_split="same")
    before = stored(out, "train")
    (out / "fill").write_bytes(b"0" * (40 << 10))
    words, settings = command
    words = [*words, f"--folder={folder}", f"--out={out}", "--overwrite"]
    done = subprocess.run(words, capture_output=True, text=True, **settings)
    assert done.returncode == 1 and "Traceback" not in done.stderr
    last = done.stderr.splitlines()[-1]
    assert last.startswith("OSError: ") and "make room" in last, done.stderr
    assert stored(out, "train") == before and not hidden(out)
  finally:
    subprocess.run(["umount", str(out)], check=True)


@pytest.mark.parametrize("kind", ["file", "below a file"])
def test_an_out_that_is_no_folder_is_named(folder, out, kind):
  out.write_text("")
  path = out if kind == "file" else out / "data"
  with pytest.raises(OSError, match=f"out: {path} cannot be written: .*; "):
    write.prepare(str(folder), str(path))


def test_what_it_was_made_of_is_stored(folder, out):
  write.prepare(str(folder), str(out), eval_fraction=0.2)
  path = out / "imagenet2012" / "1.0.0" / "prepared.json"
  found = json.loads(path.read_text())
  assert found["classes"] == [
    {"index": 0, "name": "cat", "train": 4, "validation": 1},
    {"index": 1, "name": "dog", "train": 4, "validation": 1},
  ]
  assert found["left_out"] == {str(folder): {"files named *.txt": 1}}
  assert found["unreadable"] == {}
