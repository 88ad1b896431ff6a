"""What the processes of a run tell each other before any collective.

By JAX's coordination service, which knows of processes that died: a collective
that one of them never enters would end the others in thirty seconds, with words
that name nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
import itertools
import json
from typing import Any

import jax
from jax._src import distributed

# One run may ask the same several times, and a sweep has several runs; all
# processes count alike.
_asked = itertools.count()
# Between two runs of a sweep some processes wait for the first, which writes.
_PATIENCE = 600.0


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


def agreed(
  resolve: Callable[[], Mapping[str, Any]],
  *,
  own: frozenset[str] = frozenset({"data_dir"}),
  timeout_s: float = _PATIENCE,
) -> None:
  """Ends all processes unless they were given the same config.

  Every key that decides a number or a collective must agree: with one learning
  rate each, processes would train on the mean of two updates, and with one
  number of steps each, wait for each other for ever.

  Args:
    resolve: returns this process's config, as JSON has it, or raises a
      ValueError or TypeError that is to end the others, too.
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
  key = f"jaxmix/{next(_asked)}"
  here = jax.process_index()
  failed: Exception | None = None
  mine: dict[str, Any] = {}
  try:
    mine["config"] = {k: v for k, v in resolve().items() if k not in own}
  except (ValueError, TypeError) as error:
    failed, mine["error"] = error, str(error)
  # All compare with process 0 and it tells all: with every config read by every
  # process, a large job's coordinator would have gigabytes to send.
  if here == 0:
    _tell(f"{key}/0", mine)
    answers = [
      _hear(f"{key}/{k}", k, timeout_s) for k in range(1, jax.process_count())
    ]
    verdict = _verdict([mine.get("error", ""), *answers])
    _tell(f"{key}/all", verdict)
  else:
    first = _hear(f"{key}/0", 0, timeout_s)
    _tell(f"{key}/{here}", mine.get("error") or _differing(first, mine))
    verdict = _hear(f"{key}/all", 0, timeout_s)
  if failed is not None:
    raise failed
  if verdict:
    raise ValueError(verdict)


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


def _verdict(answers: list[Any]) -> str:
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
    "The processes of a run must be given the same config, but "
    + "; ".join(told[:3])
    + more
    + ". Start all of them with the same command."
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
