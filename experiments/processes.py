"""What the processes of a run tell each other before any collective.

By JAX's coordination service, which knows of processes that died: a collective
that one of them never enters would end the others in thirty seconds, with words
that name nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
import contextlib
import itertools
import json
import os
import sys
import threading
from typing import Any, TypeVar

from absl import logging
import jax
from jax._src import distributed

_T = TypeVar("_T")

# One run may ask the same several times, and a sweep has several runs; all
# processes count alike.
_asked = itertools.count()
# Between two runs of a sweep some processes wait for the first, which writes.
_PATIENCE = 600.0
# Between two looks whether another process has ended, in seconds.
_LOOK = 1.0


def from_first(
  decide: Callable[[], Any],
  *,
  timeout_s: float = _PATIENCE,
  errors: tuple[type[Exception], ...] = (ValueError, OSError),
) -> Any:
  """Returns on all processes what process 0 decides.

  Args:
    decide: called on process 0 alone; a value as JSON has it.
    timeout_s: for which the others wait.
    errors: what `decide` may raise to end all processes, with the same words.

  Raises:
    RuntimeError: on the others, if process 0 did not decide in time.
  """
  if jax.process_count() == 1:
    return decide()
  key = f"jaxmix/{next(_asked)}"
  if jax.process_index() == 0:
    try:
      decided = decide()
    except errors as error:
      kind = next(i for i, e in enumerate(errors) if isinstance(error, e))
      _tell(key, {"kind": kind, "error": str(error)})
      raise
    _tell(key, {"value": decided})
    return decided
  heard = _hear(key, 0, timeout_s)
  if "error" in heard:
    raise errors[heard["kind"]](heard["error"])
  return heard["value"]


def everywhere(act: Callable[[], _T], *, timeout_s: float = _PATIENCE) -> _T:
  """Returns what `act` does on this process, once it has succeeded on all.

  Args:
    act: called on every process; must hold no collective.
    timeout_s: for which a process waits for another.

  Raises:
    Exception: what `act` raised here.
    ValueError: what it raised elsewhere, naming the process.
    RuntimeError: if a process says nothing in time.
  """
  if jax.process_count() == 1:
    return act()
  done: list[_T] = []
  failed: Exception | None = None
  try:
    done.append(act())
  except Exception as error:  # whatever it is, the others must not wait
    failed = error
  told = f"{type(failed).__name__}: {failed}" if failed else ""
  verdict = _settle(told, lambda _: told, _first_end, timeout_s)
  if failed is not None:
    raise failed
  if verdict:
    raise ValueError(verdict)
  return done[0]


def agreed(
  resolve: Callable[[], Mapping[str, Any]],
  *,
  what: str = "be given the same config",
  remedy: str = "Start all of them with the same command.",
  own: frozenset[str] = frozenset({"data_dir"}),
  timeout_s: float = _PATIENCE,
) -> None:
  """Ends all processes unless they say the same.

  Every key that decides a number or a collective must agree: with one learning
  rate each, processes would train on the mean of two updates, and with one
  number of steps each, wait for each other for ever.

  Args:
    resolve: returns this process's config, or what else is to be compared, as
      JSON has it, or raises a ValueError or TypeError that is to end the
      others, too.
    what: "The processes of a run must ...", for the error.
    remedy: its last sentence.
    own: keys that each process may choose: where its data are.
    timeout_s: for which a process waits for another.

  Raises:
    ValueError: on all processes, naming each key that differs, its values, and
      the processes that they are of.
    RuntimeError: if a process says nothing in time.
  """
  if jax.process_count() == 1:
    resolve()
    return
  failed: Exception | None = None
  mine: dict[str, Any] = {}
  try:
    mine["config"] = {k: v for k, v in resolve().items() if k not in own}
  except (ValueError, TypeError) as error:
    failed, mine["error"] = error, str(error)
  verdict = _settle(
    mine,
    lambda first: mine.get("error") or _differing(first, mine),
    lambda answers: _difference(answers, what, remedy),
    timeout_s,
  )
  if failed is not None:
    raise failed
  if verdict:
    raise ValueError(verdict)


@contextlib.contextmanager
def ending_together(
  words: Callable[[BaseException], str],
  *,
  alike: tuple[type[Exception], ...] = (),
) -> Iterator[None]:
  """Has an error that ends one process end all, with its words and code 1.

  Left to themselves the others would wait for it in a collective, and it, in
  JAX's shutdown, for them: five minutes, and then they are aborted.

  Args:
    words: what an error says.
    alike: errors that all processes raise, each by itself.
  """
  if jax.process_count() == 1:
    yield
    return
  key = f"jaxmix/{next(_asked)}"
  left = threading.Event()
  watch = threading.Thread(target=_end_too, args=(key, left), daemon=True)
  watch.start()
  try:
    yield
  except alike:
    raise
  except (Exception, KeyboardInterrupt) as error:
    left.set()
    watch.join()  # for ever, if it is ending this process by now
    told = f"Process {jax.process_index()} ends: {words(error)}"
    with contextlib.suppress(jax.errors.JaxRuntimeError):  # another was first
      _tell(key, told)
    raise
  finally:
    left.set()


def _end_too(key: str, left: threading.Event) -> None:
  """Ends this process when another says that it ends."""
  while not left.wait(_LOOK):
    try:
      told = json.loads(_client().key_value_try_get(key))
    except jax.errors.JaxRuntimeError:  # nothing is there
      continue
    # Steps that are taken meanwhile are not to be this process's last words.
    logging.set_verbosity(logging.FATAL)
    print(told, file=sys.stderr, flush=True)
    # Whoever ends waits for all to have come here, and with it a checkpoint
    # that all are writing.
    jax.distributed.shutdown()
    os._exit(1)


def _settle(
  mine: Any,
  answer: Callable[[Any], Any],
  judge: Callable[[list[Any]], str],
  timeout_s: float,
) -> str:
  """Returns on all processes what process 0 makes of all answers.

  All answer to what process 0 says, and it tells all: with everything read by
  everyone, a large job's coordinator would have gigabytes to send.
  """
  key = f"jaxmix/{next(_asked)}"
  here = jax.process_index()
  if here != 0:
    first = _hear(f"{key}/0", 0, timeout_s)
    _tell(f"{key}/{here}", answer(first))
    return _hear(f"{key}/all", 0, timeout_s)
  _tell(f"{key}/0", mine)
  others = [
    _hear(f"{key}/{k}", k, timeout_s) for k in range(1, jax.process_count())
  ]
  verdict = judge([answer(mine), *others])
  _tell(f"{key}/all", verdict)
  return verdict


def _first_end(answers: list[str]) -> str:
  ends = [f"process {k} ends: {told}" for k, told in enumerate(answers) if told]
  return ends[0] if ends else ""


def _differing(first: dict[str, Any], mine: dict[str, Any]) -> dict[str, Any]:
  """{key: [process 0's value, this one's]}."""
  if "error" in first:
    return {}
  a, b = first["config"], json.loads(json.dumps(mine["config"]))
  return {
    key: [a.get(key), b.get(key)]
    for key in sorted(a.keys() | b.keys())
    # As text: a NaN differs from itself, and True is 1.
    if json.dumps(a.get(key)) != json.dumps(b.get(key))
  }


def _difference(answers: list[Any], what: str, remedy: str) -> str:
  """What ends all processes, from each one's answer; "" if nothing does."""
  told = []
  for process, answer in enumerate(answers):
    if isinstance(answer, str) and answer:
      told.append(f"process {process} ends: {answer}")
    elif answer:
      values = (
        f"{key}: {a!r} on process 0, {b!r} on process {process}"
        for key, (a, b) in answer.items()
      )
      told.append(", ".join(values))
  if not told:
    return ""
  more = f"; and {len(told) - 3} processes more" if len(told) > 3 else ""
  return (
    f"The processes of a run must {what}, but "
    + "; ".join(told[:3])
    + more
    + f". {remedy}"
  )


def _client() -> Any:
  # The public API has collectives only.
  return distributed.global_state.client


def _tell(key: str, value: Any) -> None:
  _client().key_value_set(key, json.dumps(value))


def _hear(key: str, process: int, timeout_s: float) -> Any:
  try:
    text = _client().blocking_key_value_get(key, round(1000 * timeout_s))
  except jax.errors.JaxRuntimeError as error:
    raise RuntimeError(
      f"Process {process} ended, or did not say within {timeout_s:.0f} s how "
      "to go on; its own output says why."
    ) from error
  return json.loads(text)
