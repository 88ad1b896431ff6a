"""What a data set was made of: printed, and stored with it."""

from __future__ import annotations

import json
import os
from typing import Any

from experiments.inputs.prepare import examples, find, plan
from experiments.inputs.tfrecords import records

FILE = "prepared.json"
_LISTED = 50


def check_classes(planned: plan.Plan, reading: examples.Reading) -> None:
  """Refuses a class that has lost all its training images.

  Raises:
    ValueError: naming them, and what could not be read.
  """
  train = planned.splits["train"]
  had = {train.labels[name] for name in train.names}
  lost = sorted(had - set(reading.written["train"]))
  if lost:
    wrong = "\n".join(f"  {reason}" for reason in reading.unreadable.values())
    raise ValueError(
      "folder: no training image can be read of"
      f" {find.listed([planned.classes[k] for k in lost])}:\n{wrong}\nMend"
      " them, or remove the class."
    )


def describe(planned: plan.Plan, reading: examples.Reading) -> dict[str, Any]:
  """Returns what is stored: classes with counts, and what was left out."""
  return {
    "classes": [
      {"index": k, "name": name}
      | {split: counts[k] for split, counts in reading.written.items()}
      for k, name in enumerate(planned.classes)
    ],
    "left_out": {
      path: dict(counts) for path, counts in planned.left_out.items()
    },
    "unreadable": reading.unreadable,
    "images": {split: dict(counts) for split, counts in reading.notes.items()},
  }


def store(described: dict[str, Any], folder: str) -> None:
  """Writes it beside the data set's own files."""
  tf, _ = records.import_tensorflow()
  with tf.io.gfile.GFile(os.path.join(folder, FILE), "w") as file:
    file.write(json.dumps(described, indent=1, ensure_ascii=False) + "\n")


def show(described: dict[str, Any], folder: str) -> str:
  """Returns it as lines to print, of many classes the smallest alone.

  Args:
    described: see `describe`.
    folder: of the data set, which holds all of it.
  """
  rows = described["classes"]
  lines = ["Images of each class, training + validation:"]
  shown = rows
  if len(rows) > _LISTED:
    shown = sorted(rows, key=lambda row: (row["train"], row["index"]))[:10]
    lines[0] += f" the 10 smallest of {len(rows):,} (all: {folder}/{FILE})"
  lines += [
    f"  {row['index']} {row['name']}: {row['train']:,} + {row['validation']:,}"
    for row in shown
  ]
  for split in ("train", "validation"):
    without = sum(not row[split] for row in rows)
    if without:
      lines.append(f"Classes without an image in {split}: {without:,}")
  for split, notes in described["images"].items():
    lines += [f"In {split}, {count:,} {note}" for note, count in notes.items()]
  if described["unreadable"]:
    lines.append(f"Left out, unreadable: {len(described['unreadable']):,}")
    lines += [f"  {reason}" for reason in described["unreadable"].values()]
  return "\n".join(lines)
