"""Stopping in time: a SIGTERM, or a cloud's preemption notice."""

from __future__ import annotations

import signal
import threading
from types import FrameType
from typing import Any

import jax
from jax.experimental import multihost_utils

# EX_TEMPFAIL of sysexits.h: a failure that job managers are told to retry.
TRY_AGAIN = 75


class Preempted(Exception):
  """The run was asked to stop, and can be resumed from its last checkpoint."""


class Watch:
  """Notices that the run is asked to stop, at a step that all processes share.

  With several processes JAX's coordination service listens (it takes SIGTERM
  itself), and makes them agree on a dispatch that none of them has passed yet.
  One process listens for SIGTERM itself, in its main thread.
  """

  def __init__(self) -> None:
    """Does not listen before it is entered."""
    self._asked = False
    self._previous: Any = None
    # JAX takes a process that has not called yet to be at 0. Were a resumed
    # run's first call its step, the point agreed on might have passed.
    self._dispatches = 0

  def __enter__(self) -> Watch:
    """Starts listening."""
    main = threading.current_thread() is threading.main_thread()
    if jax.process_count() == 1 and main:
      self._previous = signal.signal(signal.SIGTERM, self._notice)
    return self

  def __exit__(self, *_: object) -> None:
    """Hands SIGTERM back."""
    if self._previous is not None:
      signal.signal(signal.SIGTERM, self._previous)

  def reached(self) -> bool:
    """Whether to save and stop now; call after every dispatch."""
    self._dispatches += 1
    if jax.process_count() > 1:
      return multihost_utils.reached_preemption_sync_point(self._dispatches)
    return self._asked

  def _notice(self, signum: int, frame: FrameType | None) -> None:
    del signum, frame
    self._asked = True
