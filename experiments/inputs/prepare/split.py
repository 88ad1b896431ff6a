"""Which images are held out for validation: a share of every class."""

from __future__ import annotations

from collections.abc import Mapping
import hashlib


def check_fraction(fraction: float) -> None:
  """Refuses what is no share.

  Raises:
    ValueError: if `fraction` is not in (0, 1).
  """
  if not 0 < fraction < 1:  # NaN is not, either
    raise ValueError(
      f"eval_fraction: expected a number in (0, 1), got {fraction}. To validate"
      " on the training images, use --eval_split=same."
    )


def split_by_hash(
  labels: Mapping[str, int], fraction: float
) -> tuple[list[str], list[str]]:
  """Splits images into (train, validation), class by class, deterministically.

  Validation is `fraction` of all images, rounded, but at least one, and as near
  to that share of each class as whole numbers come: rounded down, then one more
  for the classes whose remainders are largest, those with the smaller hashes if
  they are equal. A class keeps at least one image to train on. Within a class
  the images with the smallest SHA-256 of their names are held out, so the same
  ones on every machine and in any order of listing.

  Args:
    labels: {name, in Unicode's composed form: class}.
    fraction: of the images, in (0, 1).

  Raises:
    ValueError: if `fraction` is no such number, or nothing can be held out:
      every class has one image.
  """
  check_fraction(fraction)

  def digest(name):
    return hashlib.sha256(name.encode()).digest()

  members: dict[int, list[str]] = {}
  for name in sorted(labels, key=digest):
    members.setdefault(labels[name], []).append(name)
  spare = {label: len(names) - 1 for label, names in members.items()}
  total = max(1, round(fraction * len(labels)))
  if total > sum(spare.values()):
    raise ValueError(
      f"eval_fraction: expected a number in (0, 1) that leaves at least one"
      f" image of each of the {len(members):,} classes for training, got"
      f" {fraction} of {len(labels):,} images. To validate on the training"
      " images, use --eval_split=same."
    )
  counts = {
    label: min(int(fraction * len(names)), spare[label])
    for label, names in members.items()
  }
  left = {
    label: fraction * len(members[label]) - counts[label] for label in members
  }
  order = sorted(
    members, key=lambda label: (-left[label], digest(members[label][0]))
  )
  missing = total - sum(counts.values())
  while missing:  # more than once where classes have none to spare
    for label in order:
      if missing and counts[label] < spare[label]:
        counts[label] += 1
        missing -= 1
  chosen = {
    name for label, names in members.items() for name in names[: counts[label]]
  }
  return sorted(labels.keys() - chosen), sorted(chosen)
