"""How every command starts, and how its errors end it: in one line.

if __name__ == "__main__":
  cli.run(main)
"""

from __future__ import annotations

from collections.abc import Callable
import errno
import os
import pathlib
import re
import signal
import sys
import threading
from types import FrameType, TracebackType
from typing import Any, NoReturn

from absl import app, flags
from ml_collections import ConfigDict

from experiments import compilation, preemption

_TRACEBACK = flags.DEFINE_bool(
  "traceback", False, "Ends an error with where it was raised."
)
_COMPILATION_CACHE = flags.DEFINE_string(
  "compilation_cache",
  None,
  "Folder, or gs:// URL, for compiled programs, which the next start then need "
  "not compile; none: keeps none. By default $JAX_COMPILATION_CACHE_DIR, "
  "else WORKDIR/xla for a workdir in a bucket, or the user's cache.",
)

# What a user can cause and mend. Anything else is a fault of this code, and
# keeps its traceback.
_EXPECTED = (
  ValueError,
  TypeError,
  ImportError,
  OSError,
  FloatingPointError,
  RuntimeError,
  MemoryError,
  re.error,
)
_REMEDIES = {
  errno.ENOSPC: "make room, and start the same command again",
  errno.EDQUOT: "make room, and start the same command again",
  errno.EFBIG: "make room (ulimit -f), and start the same command again",
  errno.EROFS: "choose another folder",
  errno.ELOOP: "a link of that name is there; remove it",
  errno.EISDIR: "a folder of that name is there; remove it",
  errno.EACCES: "choose another folder, or have it made writable for you",
  errno.ENAMETOOLONG: "choose a shorter path",
  errno.ENOTDIR: "a part of that path is a file; choose another",
}
# What a signal raises here; SIGTERM's is `inputs.prepare`'s.
_RAISED = {KeyboardInterrupt: signal.SIGINT, SystemExit: signal.SIGTERM}
_ROOT = pathlib.Path(__file__).parents[1]


def run(
  main: Callable[..., Any], *, arguments: str = "", resumable: bool = False
) -> NoReturn:
  """Runs a command and exits: with 0, 1 after an error, 75 if to be resumed.

  Args:
    main: called without arguments when the flags are parsed; what it returns
      is the exit code, None meaning 0.
    arguments: what the command takes beside flags, for messages. If given, main
      is called with the list of them.
    resumable: whether a SIGTERM before there is anything to save asks for the
      same command again, too.
  """
  if resumable:
    signal.signal(signal.SIGTERM, _stop_early)  # until preemption.Watch listens
  sys.unraisablehook = _ask_again
  try:
    app.run(lambda argv: _call(main, argv[1:], arguments), flags_parser=parse)
  except preemption.Preempted as stop:
    print(stop, file=sys.stderr)
    sys.exit(preemption.TRY_AGAIN)
  except KeyboardInterrupt:
    if _wants_traceback():
      raise
    print("Interrupted.", file=sys.stderr)
    sys.exit(128 + signal.SIGINT)
  except _EXPECTED as error:
    if _wants_traceback():
      raise
    sys.exit(line(error))
  raise AssertionError("app.run exits")


def _call(main: Callable[..., Any], given: list[str], arguments: str) -> Any:
  if given and not arguments:
    sys.exit(f"Unexpected arguments: {given}; --help lists the flags.")
  if arguments and not given:
    sys.exit(f"Name {arguments}; --help lists the flags.")
  workdir = flags.FLAGS["workdir"].value if "workdir" in flags.FLAGS else None
  compilation.keep(_COMPILATION_CACHE.value, workdir)
  return main(given) if arguments else main()


def parse(argv: list[str]) -> list[str]:
  """Parses the flags; a mistake ends with its message, not a traceback."""
  try:
    given = flags.FLAGS(list(map(_at_home, argv)))
    if "config" in flags.FLAGS:
      _check_is_config(flags.FLAGS["config"].value)
    return given
  except Exception as error:  # a config file is anybody's code
    if _wants_traceback():
      raise
    sys.exit(_wrong_flag(error))


def _at_home(word: str) -> str:
  """Expands the ~ of --config=~/FILE, which shells leave alone."""
  name, equals, value = word.partition("=")
  if name.lstrip("-") == "config" and equals:
    return f"{name}={os.path.expanduser(value)}"
  return word


def _check_is_config(config: Any) -> None:
  # A file that is not there is an error only when it is asked for.
  getattr(config, "seed", None)
  if not isinstance(config, ConfigDict):
    raise TypeError(
      f"get_config must return a ConfigDict, got {type(config).__name__}."
    )


def _wrong_flag(error: Exception) -> str:
  """What a mistake in a flag, or in the config's file, says."""
  from experiments.configs import common  # slow: it knows every owner

  text = str(error)
  if found := re.match(r"flag --config\.([\w.]+)=(.*?): ", text, re.DOTALL):
    if key := common.keys().get(found[1]):
      return f"--config.{found[1]} must be {key.expected}, got {found[2]!r}."
  if isinstance(error, flags.Error):
    return _cause(text)
  if isinstance(error, OSError):
    return f"--config: {_cause(text)}"
  if isinstance(error, (AttributeError, KeyError)):
    for word in sys.argv:  # ml_collections names one part alone
      found = re.match(r"--?config\.([\w.]+)", word)
      if found and any(part in text for part in found[1].split(".")):
        return _unknown(found[1], common.unknown(found[1]))
  return (
    f"--config={_config_file()}: {type(error).__name__}: {_cause(text)} "
    "(--traceback shows where.)"
  )


def _unknown(name: str, told: str) -> str:
  if name.startswith("model_options."):
    return (
      f"--config.{name}: a model's options are given with the config's file, "
      f"--config={_config_file()}:{name}=VALUE."
    )
  return told


def _config_file() -> str:
  words = [word.partition("=") for word in sys.argv]
  named = [value for name, _, value in words if name.lstrip("-") == "config"]
  return named[-1] if named else "FILE"


def run_plain(main: Callable[..., Any], *arguments: Any) -> None:
  """Runs a command that reads its arguments itself; errors end in a line."""
  try:
    main(*arguments)
  except _EXPECTED as error:
    sys.exit(line(error, hint=""))


def line(
  error: BaseException, hint: str = " (--traceback shows where.)"
) -> str:
  """What an error says, where, and what to do, for a person at a terminal.

  Args:
    error: what ended the command.
    hint: what follows a library's words.
  """
  text = f"{type(error).__name__}: {error}".rstrip()
  if isinstance(error, re.error):
    return f"Wrong regular expression {error.pattern!r}: {error}."
  if isinstance(error, MemoryError):
    return f"Out of memory: {error}. A smaller batch_size or model needs less."
  if isinstance(error, OSError) and error.errno in _REMEDIES:
    text += f"; {_REMEDIES[error.errno]}."
  elif not _is_ours(error.__traceback__):
    # A library's words need not say which of our arguments was meant.
    text += hint
  return text


def _is_ours(traceback: TracebackType | None) -> bool:
  """Whether this project's code raised it, and so chose the words."""
  while traceback is not None and traceback.tb_next is not None:
    traceback = traceback.tb_next
  if traceback is None:
    return True
  raised = pathlib.Path(traceback.tb_frame.f_code.co_filename)
  return raised.is_relative_to(_ROOT) and "site-packages" not in raised.parts


def _wants_traceback() -> bool:
  # The flags may be what the error is about.
  return "--traceback" in sys.argv or (
    flags.FLAGS.is_parsed() and _TRACEBACK.value
  )


def _cause(message: str) -> str:
  """The last error that a wrapped message names, or all of it."""
  found = re.findall(r"^\s*(\w+Error: .+|\[Errno.+)$", message, re.MULTILINE)
  return found[-1] if found else message.strip()


def _stop_early(signum: int, frame: FrameType | None) -> NoReturn:
  """A SIGTERM before there is anything to save: the same code, at once."""
  del signum, frame
  # No exception: raised inside a callback, such as the garbage collector's,
  # Python would ignore it, and the run would go on.
  os._exit(preemption.TRY_AGAIN)


def _ask_again(ignored: Any) -> None:
  """Sends a signal once more where Python ignored what it raised.

  What is raised inside a callback, such as JAX's of every garbage collection,
  or in a destructor, ends nothing: a run would have gone on to its end.
  """
  signum = _RAISED.get(ignored.exc_type)
  if signum is None:
    return sys.__unraisablehook__(ignored)
  # Not from here, which is still inside the callback.
  main = threading.main_thread().ident
  again = threading.Timer(0.01, signal.pthread_kill, (main, signum))
  again.daemon = True
  again.start()
