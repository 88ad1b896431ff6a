"""Small image data sets that tfds has prepared, read into memory."""

from __future__ import annotations

from collections.abc import Callable, Mapping
import os
import pathlib

from experiments.inputs.images import formats
from experiments.inputs.images.splits import Piece


def root(data_dir: str) -> pathlib.Path:
  """Returns data_dir, or for "" the folder that tfds takes by default."""
  default = os.environ.get("TFDS_DATA_DIR", "~/tensorflow_datasets")
  return pathlib.Path(data_dir or default).expanduser()


def has(name: str, data_dir: str) -> bool:
  """Whether data_dir holds a data set as tfds prepared it."""
  return any((root(data_dir) / name).glob("**/dataset_info.json"))


def load(
  name: str, data_dir: str, sizes: Mapping[str, int]
) -> Callable[[Piece], list[formats.Examples]]:
  """Opens a prepared data set; its order is that of its files.

  Args:
    name: of the data set.
    data_dir: the folder that holds it.
    sizes: split -> images.

  Returns:
    piece -> its images and labels.

  Raises:
    ImportError: if TensorFlow or tfds is not installed.
    ValueError: if a split holds another number of images.
  """
  # TensorFlow, only where tfds' files are read.
  from experiments.inputs.tfrecords import records, store

  _, tfds = records.import_tensorflow()
  builder = store.open_builder(name, str(root(data_dir)))
  for split, size in sizes.items():
    info = builder.info.splits.get(split)
    if info is None or info.num_examples != size:
      raise ValueError(
        f"dataset: {builder.info.full_name} in {root(data_dir)} should hold "
        f"{size:,} {split} images, got {info.num_examples if info else 0:,}."
      )

  def piece_of(piece: Piece) -> list[formats.Examples]:
    split, rows = piece
    examples = builder.as_dataset(
      split=f"{split}[{rows.start}:{rows.stop}]",
      batch_size=-1,
      shuffle_files=False,
    )
    found = tfds.as_numpy(examples)
    return [(found["image"], found["label"])]

  return piece_of
