"""A split's examples, read ahead; what cannot be read is listed to the end."""

from __future__ import annotations

import collections
from collections.abc import Callable, Iterator
from concurrent import futures
import os
import time
from typing import Any, NamedTuple

from experiments.inputs.prepare import encoded

_SECONDS_UNTIL_PROGRESS = 10.0
_NAMED = 1000


class Split(NamedTuple):
  """Which images, where they are, and the index of each one's class."""

  names: list[str]
  images: dict[str, str]
  labels: dict[str, int]
  flag: str = "folder"


class Reading:
  """Reads splits one after the other, and knows what could not be read.

  Attributes:
    written: {split: {class: images}}, of what has been read.
    notes: {split: {what was done or seen: images}}.
    unreadable: {path: what is wrong with it}.
  """

  def __init__(
    self,
    splits: dict[str, Split],
    read: dict[str, Callable[[str], encoded.Encoded]],
    max_unreadable: float,
  ):
    """Starts before the first image.

    Args:
      splits: by name.
      read: {split: path -> encoded image}.
      max_unreadable: share of the images that may be left out.
    """
    self._splits, self._read = splits, read
    self._total = len(
      {s.images[name] for s in splits.values() for name in s.names}
    )
    self._limit = max_unreadable
    self.written = {key: collections.Counter[int]() for key in splits}
    self.notes = {key: collections.Counter[str]() for key in splits}
    self.unreadable: dict[str, str] = {}

  def examples(self, key: str) -> _Examples:
    """Returns the examples of a split, as tfds takes them."""
    return _Examples(self, key)

  def iterate(self, key: str) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yields (key, example).

    Raises:
      ValueError: past the limit, or if a split has no image left, when all have
        been looked at: listing all that cannot be read.
    """
    split = self._splits[key]
    start = last = time.monotonic()
    for done, (name, image) in enumerate(self._images(key), 1):
      if image is not None and not self._past_limit():
        label = split.labels[name]
        self.written[key][label] += 1
        self.notes[key].update(image.notes)
        yield name, {"image": image.data, "label": label, "file_name": name}
      now = time.monotonic()
      if now - last > _SECONDS_UNTIL_PROGRESS:
        last = now
        left = (now - start) / done * (len(split.names) - done)
        print(
          f"  {done:,} of {len(split.names):,} images, about"
          f" {left / 60:.1f} minutes left",
          flush=True,
        )
    if self._past_limit() or not self.written[key]:
      keys = list(self._splits)
      for later in keys[keys.index(key) + 1 :]:
        collections.deque(self._images(later), maxlen=0)
      raise ValueError(self._listed())

  def _past_limit(self) -> bool:
    return len(self.unreadable) > self._limit * self._total

  def _listed(self) -> str:
    reasons = list(self.unreadable.values())
    lines = "\n".join(f"  {reason}" for reason in reasons[:_NAMED])
    if len(reasons) > _NAMED:
      lines += f"\n  and {len(reasons) - _NAMED:,} more"
    return (
      f"{len(reasons):,} of {self._total:,} images cannot be read:\n{lines}\n"
      "Mend them, or leave them out: --max_unreadable is"
      f" {self._limit:g}, a share of the images."
    )

  def _images(self, key: str) -> Iterator[tuple[str, encoded.Encoded | None]]:
    """Yields (name, image or None) in order; a few are read ahead."""
    split, read = self._splits[key], self._read[key]
    threads = os.cpu_count() or 1
    waiting: collections.deque = collections.deque()

    def first():
      name, image = waiting.popleft()
      try:
        return name, image.result()
      except encoded.UnreadableError as error:
        path = split.images[name]
        if path not in self.unreadable:
          self.unreadable[path] = f"{split.flag}: {error}"
        return name, None

    with futures.ThreadPoolExecutor(threads) as pool:
      for name in split.names:
        waiting.append((name, pool.submit(read, split.images[name])))
        if len(waiting) > 4 * threads:
          yield first()
      while waiting:
        yield first()


class _Examples:
  """Iterates over a split as often as it is asked to."""

  def __init__(self, reading: Reading, key: str):
    self._reading, self._key = reading, key

  def __iter__(self):
    return self._reading.iterate(self._key)
