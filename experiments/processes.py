"""What the processes of a run tell each other before any collective.

By JAX's coordination service, which knows of processes that died: a collective
that one of them never enters would end the others in thirty seconds, with words
that name nothing.
"""

from __future__ import annotations

from collections.abc import Callable
import itertools
from typing import Any

import jax
from jax._src import distributed

# One run may ask the same several times, and a sweep has several runs; all
# processes count alike.
_asked = itertools.count()


def from_first(decide: Callable[[], str], *, timeout_s: float) -> str:
  """Returns on all processes what process 0 decides.

  Args:
    decide: called on process 0 alone.
    timeout_s: for which the others wait.

  Raises:
    RuntimeError: on the others, if process 0 did not decide in time.
  """
  if jax.process_count() == 1:
    return decide()
  key = f"jaxmix/{next(_asked)}"
  # The public API has collectives only.
  client: Any = distributed.global_state.client
  if jax.process_index() == 0:
    decided = decide()
    client.key_value_set(key, decided)
    return decided
  return client.blocking_key_value_get(key, round(1000 * timeout_s))
