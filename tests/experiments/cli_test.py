"""Every command ends every mistake in one line, and 75 where to go on."""

import errno
import json
import pathlib
import resource
import signal
import subprocess
import sys

import pytest

from experiments import cli
from experiments.workdir import storage
from tests import quick

ROOT = pathlib.Path(__file__).parents[2]
DIGITS = "--config=experiments/configs/digits.py"


FILES = {
  "syntax.py": "def get_config(:\n",
  "name.py": "def get_config():\n  return learning_rate\n",
  "none.py": "def get_config():\n  pass\n",
  "sweep.py": """
from experiments.configs import digits

def get_config():
  config = digits.get_config("smoke")
  config.sweep = (("first", {}), ("second", {"lr": 1.0}))
  return config
""",
}


def run(*words, home="/"):
  return subprocess.run(
    [sys.executable, "-m", *map(str, words)],
    cwd=ROOT,
    env=quick.environment(HOME=str(home)),
    capture_output=True,
    text=True,
    timeout=300,
  )


@pytest.mark.parametrize(
  ("words", "message"),
  [
    (
      ("experiments.main", "--config=nothere.py", "--workdir=DIR"),
      "--config: [Errno 2] No such file or directory: 'nothere.py'",
    ),
    (
      ("experiments.forecast", "--config=nothere.py", "--topology=v5e:4x8"),
      "--config: [Errno 2] No such file or directory: 'nothere.py'",
    ),
    (
      ("experiments.main", "--config=DIR/syntax.py", "--workdir=DIR"),
      "--config=DIR/syntax.py: SyntaxError: ",
    ),
    (
      ("experiments.main", "--config=DIR/name.py", "--workdir=DIR"),
      "--config=DIR/name.py: NameError: name 'learning_rate' is not defined",
    ),
    (
      ("experiments.forecast", "--config=DIR/none.py", "--topology=v5e:4x8"),
      "--config=DIR/none.py: TypeError: get_config must return a ConfigDict, "
      "got NoneType.",
    ),
    (
      ("experiments.main", "--config=DIR/sweep.py", "--workdir=DIR/run"),
      "ValueError: sweep: run 'second': Unknown config key 'lr'; known keys: ",
    ),
    (
      ("experiments.main", DIGITS, "--config.lr=1", "--workdir=DIR"),
      "Unknown config key 'lr'; known keys: accumulate_steps, alpha, ",
    ),
    (
      ("experiments.main", DIGITS, "--config.seed=-1", "--workdir=DIR/run"),
      "ValueError: seed must be an integer from 0 to 4,294,967,295, got -1.",
    ),
    (
      ("experiments.main", DIGITS, "--config.beta=x", "--workdir=DIR"),
      "--config.beta must be a number in (-inf, inf), finite in float32, or "
      "None, got 'x'.",
    ),
    (
      ("experiments.main", f"{DIGITS}:alpha=x", "--workdir=DIR"),
      "ValueError: alpha must be a number in (-inf, inf), finite in float32, ",
    ),
    (
      ("experiments.main", DIGITS, "--config.model_options.width=8"),
      "--config.model_options.width: a model's options are given with the "
      f"config's file, {DIGITS}:model_options.width=VALUE.",
    ),
    (
      ("experiments.main", DIGITS, "--workdir=DIR/damaged"),
      "ValueError: DIR/damaged/config.json is damaged (Expecting value: line 1",
    ),
    (
      ("experiments.report", "DIR/other"),
      "ValueError: DIR/other/config.json is damaged (a list and no object)",
    ),
    (
      ("experiments.main", "word", DIGITS, "--workdir=DIR"),
      "Unexpected arguments: ['word']; --help lists the flags.",
    ),
    (
      ("experiments.forecast", f"{DIGITS}:smoke", "--topology=v9:2"),
      "ValueError: topology='v9:2' is not known. It is a chip (v3",
    ),
    (
      ("experiments.report", "DIR/damaged"),
      "ValueError: DIR/damaged/config.json is damaged (Expecting value: line 1",
    ),
    (
      ("experiments.figures.taylor_orders", "--smoke", "--out=DIR/file/new"),
      "NotADirectoryError: [Errno 20] Not a directory: 'DIR/file/new'; a part "
      "of that path is a file; choose another.",
    ),
    (
      ("experiments.inputs.prepare", "--folder=DIR", "--out=DIR"),
      "flag --shards=x: invalid literal",
    ),
    (("benchmarks.soak", "--kills=x"), "flag --kills=x: invalid literal"),
    (
      ("benchmarks.throughput", "--tiny", "--out=DIR/damaged/config.json"),
      "ValueError: DIR/damaged/config.json is damaged (Expecting value: line 1",
    ),
    (
      ("experiments.report", "~/nothing"),
      "ValueError: No runs found at or below DIR/nothing.",
    ),
  ],
  ids=lambda value: value[0] if isinstance(value, tuple) else "",
)
def test_a_mistake_ends_in_a_line(tmp_path, words, message):
  (tmp_path / "file").touch()
  (tmp_path / "damaged").mkdir()
  (tmp_path / "damaged" / "config.json").write_text('{"seed":')
  (tmp_path / "damaged" / "metrics.jsonl").touch()
  (tmp_path / "other").mkdir()
  (tmp_path / "other" / "config.json").write_text("[1]")
  (tmp_path / "other" / "metrics.jsonl").touch()
  for name, body in FILES.items():
    (tmp_path / name).write_text(body)
  words = [word.replace("DIR", str(tmp_path)) for word in words]
  if "prepare" in words[0]:
    words.append("--shards=x")
  done = run(*words, home=tmp_path)
  assert done.returncode == 1
  last = done.stderr.splitlines()[-1]
  assert last.startswith(message.replace("DIR", str(tmp_path))), done.stderr
  assert "Traceback" not in done.stderr
  assert not (tmp_path / "run").exists()  # nothing had begun


SEVERAL = """
import sys
from absl import flags, logging
import jax
from experiments import cli, preemption

def main():
  raise {error}

sys.argv += {words!r}
cli.run(main)
"""


def ended(error, *words):
  """How a command that raises it ends; in a process of its own."""
  code = SEVERAL.format(error=error, words=list(words))
  return subprocess.run(
    [sys.executable, "-c", code],
    cwd=ROOT,
    env=quick.environment(),
    capture_output=True,
    text=True,
  )


def test_without_tensorflow_a_line_says_what_to_install(tmp_path):
  code = (
    "import sys; sys.modules['tensorflow'] = None\n"
    "from experiments import cli, main\n"
    "sys.argv += ['--config=experiments/configs/imagenet_resnet50.py:smoke',"
    f" '--workdir={tmp_path}/run', '--config.data_dir={tmp_path}']\n"
    "cli.run(main.main)"
  )
  done = subprocess.run(
    [sys.executable, "-c", code],
    cwd=ROOT,
    env=quick.environment(),
    capture_output=True,
    text=True,
  )
  assert done.returncode == 1 and "Traceback" not in done.stderr
  last = done.stderr.splitlines()[-1]
  assert last.startswith("ImportError: ") and "-e '.[tfds]'" in last


def test_traceback_shows_where():
  done = ended("ValueError('wrong')", "--traceback")
  assert done.returncode == 1
  assert "Traceback" in done.stderr
  assert done.stderr.rstrip().endswith("ValueError: wrong")


def test_what_nobody_expects_keeps_its_traceback():
  done = ended("KeyError('a fault of ours')")
  assert done.returncode == 1 and "Traceback" in done.stderr


def test_a_preempted_run_asks_for_the_same_command_again():
  done = ended("preemption.Preempted('Stopped at step 3.')")
  assert (done.returncode, done.stderr) == (75, "Stopped at step 3.\n")


def raised(function):
  try:
    function()
  except Exception as error:
    return error
  raise AssertionError


def test_a_library_s_words_come_with_how_to_find_the_place():
  error = raised(lambda: json.loads(""))
  assert cli.line(error).endswith("(char 0) (--traceback shows where.)")
  ours = raised(lambda: storage.read_json(__file__))
  assert cli.line(ours).startswith(f"ValueError: {__file__} is damaged (")
  assert "--traceback" not in cli.line(ours)


def test_a_wrong_regular_expression_is_named():
  error = raised(lambda: __import__("re").compile("(["))
  assert cli.line(error) == (
    "Wrong regular expression '([': unterminated character set at position 1."
  )


def test_a_full_disk_says_which_file_and_what_to_do(tmp_path):
  target = storage.path(tmp_path / "config.json")
  soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
  resource.setrlimit(resource.RLIMIT_FSIZE, (100, hard))
  try:  # as near to a full disk as a process can come by itself
    error = raised(lambda: storage.write(target, "x" * 10_000))
  finally:
    resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
  assert error.filename == str(target)
  assert list(tmp_path.iterdir()) == []
  error.errno, error.strerror = errno.ENOSPC, "No space left on device"
  assert cli.line(error).endswith(
    f"No space left on device: '{target}'; make room, and start the same "
    "command again."
  )


def test_a_tilde_is_a_home(monkeypatch, tmp_path):
  monkeypatch.setenv("HOME", str(tmp_path))
  assert storage.path("~/run") == storage.path(tmp_path / "run")
  assert str(storage.path("gs://bucket/~/run")) == "gs://bucket/~/run"


def signalled(program):
  """How a program ends that sends itself a signal; or never would."""
  return subprocess.run(
    [sys.executable, "-c", program, "--compilation_cache=none"],
    cwd=ROOT,
    capture_output=True,
    text=True,
    timeout=50,
  )


def test_an_early_sigterm_ends_a_run_even_inside_a_callback():
  """Python ignores what is raised in the garbage collector's callbacks."""
  code = (
    "import gc, os, signal\n"
    "from experiments import cli\n"
    "def main():\n"
    "  gc.callbacks.append(\n"
    "    lambda *_: os.kill(os.getpid(), signal.SIGTERM))\n"
    "  gc.collect()\n"
    "  print('went on')\n"
    "cli.run(main, resumable=True)\n"
  )
  done = signalled(code)
  assert done.returncode == 75, done.stderr[-2000:]
  assert "went on" not in done.stdout


@pytest.mark.parametrize(
  ("sent", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)]
)
def test_a_signal_inside_a_callback_ends_a_command_all_the_same(sent, code):
  """Before, one in a hundred interrupts of a run did nothing."""
  program = (
    "import gc, os, signal, time\n"
    "from experiments import cli\n"
    "from experiments.inputs.prepare import replacing\n"
    "def send(*_):\n"
    "  gc.callbacks.remove(send)\n"
    f"  os.kill(os.getpid(), {int(sent)})\n"
    "class Wrong:\n"
    "  def __del__(self):\n"
    "    raise ValueError('still told of')\n"
    "def main():\n"
    "  Wrong()\n"
    "  with replacing.terminating():\n"
    "    gc.callbacks.append(send)\n"
    "    gc.collect()\n"
    "    print('the callback ended')\n"
    "    time.sleep(60)\n"
    "cli.run(main)\n"
  )
  done = signalled(program)
  assert done.returncode == code, done.stderr[-2000:]
  assert done.stdout.strip() == "the callback ended"
  assert "ValueError: still told of" in done.stderr
  assert "KeyboardInterrupt" not in done.stderr
  assert "SystemExit" not in done.stderr
  assert (done.stderr.splitlines()[-1] == "Interrupted.") == (code == 130)
