"""Which official files hold which images, and how they are read."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import NamedTuple

import numpy as np

from experiments.inputs.images import formats, official
from experiments.inputs.images.official import File, Source
from experiments.inputs.images.splits import Piece


class Chunk(NamedTuple):
  """Consecutive images of a split that files of their own hold.

  Attributes:
    files: of them.
    size: number of its images.
  """

  files: tuple[File, ...]
  size: int


class Set(NamedTuple):
  """A data set's files.

  Attributes:
    source: where they are from.
    read: (paths, contents) of a chunk's files -> its images and labels.
    splits: split -> its chunks, in order.
    hint: what goes without all of them.
  """

  source: Source
  read: Callable[..., formats.Examples]
  splits: Mapping[str, tuple[Chunk, ...]]
  hint: str = ""


def _mnist(source: Source, *sums: str) -> Set:
  """The four files of MNIST or of a set in its form, and sums of theirs."""
  chunks = {}
  pairs = zip(sums[::2], sums[1::2], strict=True)
  for (split, name, count), pair in zip(
    (("train", "train", 60_000), ("test", "t10k", 10_000)), pairs, strict=True
  ):
    images, labels = ((found,) for found in pair)
    chunk = Chunk(
      (
        File(f"{name}-images-idx3-ubyte.gz", 16 + count * 28**2, images),
        File(f"{name}-labels-idx1-ubyte.gz", 8 + count, labels),
      ),
      count,
    )
    chunks[split] = (chunk,)
  return Set(source, formats.mnist, chunks)


def _one(count: int, *files: File) -> tuple[Chunk, ...]:
  return (Chunk(files, count),)


_CIFAR = "cs.toronto.edu/~kriz/cifar.html"
# Those of test_batch.bin and of the first batch are known.
_CIFAR10_SUMS = {
  1: ("cee916563c9f80d84e3cc88e17fdc0941787f1244f00a67874d45b261883ada5",),
}

SETS: Mapping[str, Set] = {
  # Of what is in the files: copies of MNIST are packed in several ways.
  "mnist": _mnist(
    Source("MNIST", "ossci-datasets.s3.amazonaws.com/mnist", ("mnist",)),
    "6bbc9ace898e44ae57da46a324031adb",
    "a25bea736e30d166cdddb491f175f624",
    "2646ac647ad5339dbf082846283269ea",
    "27ae3e4e09519cfbb04c329615203637",
  ),
  "fashion_mnist": _mnist(
    Source(
      "Fashion-MNIST",
      "github.com/zalandoresearch/fashion-mnist",
      ("fashion-mnist", "fashion_mnist"),
    ),
    "f4a8712d7a061bf5bd6d2ca38dc4d50a",
    "9018921c3c673c538a1fc5bad174d6f9",
    "8181f5470baa50b63fa0f6fddb340f0a",
    "15d484375f8d13e6eb1aabb0c3f46965",
  ),
  # Of the files as they are published.
  "kmnist": _mnist(
    Source("Kuzushiji-MNIST", "github.com/rois-codh/kmnist", ("kmnist",)),
    "bdb82020997e1d708af4cf47b453dcf7",
    "e144d726b3acfaa3e44228e80efcd344",
    "5c965bf0a639b31b8f53240b1b52f4d7",
    "7320c461ea6c1c855c0b718fb2a4b134",
  ),
  "cifar10": Set(
    Source(
      "CIFAR-10's binary version",
      f"{_CIFAR}, cifar-10-binary.tar.gz",
      ("cifar-10-batches-bin", "cifar10"),
    ),
    formats.cifar(1),
    {
      "train": tuple(
        Chunk(
          (File(f"data_batch_{k}.bin", 30_730_000, _CIFAR10_SUMS.get(k, ())),),
          10_000,
        )
        for k in range(1, 6)
      ),
      "test": _one(
        10_000,
        File(
          "test_batch.bin",
          30_730_000,
          ("8e2eb146ae340b09e24670f29cabc6326dba54da8789dab6768acf480273f65b",),
        ),
      ),
    },
    hint=" With data_batch_1.bin alone, train on train_split='train[:10000]'.",
  ),
  "cifar100": Set(
    Source(
      "CIFAR-100's binary version",
      f"{_CIFAR}, cifar-100-binary.tar.gz",
      ("cifar-100-binary", "cifar100"),
    ),
    formats.cifar(2),
    {
      "train": _one(50_000, File("train.bin", 153_700_000)),
      "test": _one(10_000, File("test.bin", 30_740_000)),
    },
  ),
  "svhn_cropped": Set(
    Source(
      "SVHN's cropped digits, format 2",
      "ufldl.stanford.edu/housenumbers",
      ("svhn", "svhn_cropped"),
    ),
    formats.svhn,
    {
      "train": _one(
        73_257,
        File(
          "train_32x32.mat", 182_040_794, ("e26dedcc434d2e4c54c9b2d4a06d8373",)
        ),
      ),
      "test": _one(
        26_032,
        File(
          "test_32x32.mat", 64_275_384, ("eb5a983be6a315427106f1b164d9cef3",)
        ),
      ),
    },
  ),
  "stl10": Set(
    Source(
      "STL-10's binary files",
      "cs.stanford.edu/~acoates/stl10, stl10_binary.tar.gz",
      ("stl10_binary", "stl10"),
    ),
    formats.stl10,
    {
      "train": _one(
        5_000,
        File("train_X.bin", 138_240_000, ("918c2871b30a85fa023e0c44e0bee87f",)),
        File("train_y.bin", 5_000, ("5a34089d4802c674881badbb80307741",)),
      ),
      "test": _one(
        8_000,
        File("test_X.bin", 221_184_000, ("7f263ba9f9e0b06b93213547f721ac82",)),
        File("test_y.bin", 8_000, ("36f9794fa4beb8a2c72628de14fa638e",)),
      ),
    },
  ),
}


def load(
  name: str, data_dir: str, wanted: list[Piece], num_classes: int
) -> Callable[[Piece], list[formats.Examples]]:
  """Reads a data set's files, each once, and only those that are needed.

  Args:
    name: of `SETS`.
    data_dir: a folder, see `official.place`.
    wanted: the pieces that will be asked for.
    num_classes: of the labels.

  Returns:
    piece -> its images and labels, chunk by chunk.

  Raises:
    FileNotFoundError: if files are missing, naming them.
    ValueError: if one is not what was published.
  """
  own = SETS[name]
  chunks = {
    (split, start): chunk
    for split, chunks in own.splits.items()
    for start, chunk in _positions(chunks)
    if any(_overlap(piece, split, start, chunk) for piece in wanted)
  }
  files = [file for chunk in chunks.values() for file in chunk.files]
  also = f"Or pass a folder in which tfds has prepared it: tfds build {name}."
  folder = official.place(data_dir, own.source, files, also + own.hint)
  read = {}
  for key, chunk in chunks.items():
    paths = [folder / file.name for file in chunk.files]
    contents = [official.read(folder, file, own.source) for file in chunk.files]
    images, labels = own.read(paths, contents)
    lengths = {len(images), len(labels)}
    if lengths != {chunk.size} or labels.max(initial=0) >= num_classes:
      raise ValueError(
        f"{paths[0]} should hold {chunk.size:,} images of {num_classes} "
        f"classes, got {sorted(lengths)} and a class {labels.max(initial=0)}; "
        f"download it again: {own.source.title} ({own.source.address})."
      )
    read[key] = images, labels

  def piece_of(piece: Piece) -> list[formats.Examples]:
    split, rows = piece
    found = []
    for start, chunk in _positions(own.splits[split]):
      if _overlap(piece, split, start, chunk):
        at = slice(max(rows.start - start, 0), rows.stop - start)
        images, labels = read[split, start]
        found.append((images[at], labels[at]))
    return found

  return piece_of


def _positions(chunks: tuple[Chunk, ...]) -> list[tuple[int, Chunk]]:
  starts = np.cumsum([0, *(chunk.size for chunk in chunks)])
  return list(zip(starts.tolist(), chunks, strict=False))


def _overlap(piece: Piece, split: str, start: int, chunk: Chunk) -> bool:
  name, rows = piece
  return name == split and rows.start < start + chunk.size and start < rows.stop
