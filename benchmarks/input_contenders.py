"""The pipelines that `benchmarks.input` compares: name -> endless batches."""

from __future__ import annotations

from collections.abc import Iterator
import pathlib
from typing import Any

import numpy as np

from benchmarks import timing

SHUFFLE_BUFFER = 2048


def batches(
  name: str, folder: pathlib.Path, batch: int, size: int
) -> Iterator[Any]:
  """Returns a contender's batches, or a stage's; see `benchmarks.input`."""
  if name in ("jaxmix", "bilinear", "small", "small_bilinear"):
    data = folder / ("small" if name.startswith("small") else "data")
    interpolation = "bilinear" if name.endswith("bilinear") else "bicubic"
    return _jaxmix(data, batch, size, interpolation)
  if name in ("pillow", "opencv"):
    return _data_loader(name, folder, batch, size)
  return _until(name, folder, batch, size)


def _jaxmix(data, batch, size, interpolation):
  from experiments.inputs import keys
  from experiments.inputs.tfrecords import imagenet

  config = keys.defaults()
  config.seed = 0
  config.update(
    dataset="imagenet2012",
    data_dir=str(data),
    batch_size=batch,
    eval_batch_size=batch,
    image_size=size,
    resize_size=size,
    shuffle_buffer=SHUFFLE_BUFFER,
    interpolation=interpolation,
  )
  return imagenet.create(config).train()


def _until(stage, folder, batch, size):
  """The same pipeline up to a stage; what it made is reduced to a number."""
  from experiments.inputs.tfrecords import order, records, store

  tf, _ = records.import_tensorflow()
  from experiments.inputs.tfrecords import crops

  builder = store.open_builder("imagenet2012", str(folder / "data"))
  parse = store.parser(builder)
  pieces = store.split_pieces(builder, "train_split", "train")
  group = SHUFFLE_BUFFER // 2
  total = sum(piece.take for piece in pieces)
  pieces = order.slice_pieces(pieces, 0, total, group)

  def example(position, record):
    if stage == "records":
      return {"size": tf.strings.length(record)}
    image, _ = parse(record)
    if stage == "parse":
      return {"size": tf.strings.length(image)}
    draws = crops.draw(tf.stack([tf.constant(0, tf.int64), position]))
    image = crops.decode_crop(image, draws[1:])
    if stage == "resize":
      image = crops.resize(image, size, size)
    return {"size": tf.shape(image)[0] + tf.cast(image[0, 0, 0], tf.int32)}

  return records.batches(
    records.read_shuffled(pieces, (0,), group, 0),
    example,
    position=0,
    batch_size=batch,
  )


class Crops:
  """Random resized crops of JPEGs, as a PyTorch map-style dataset."""

  def __init__(self, folder: pathlib.Path, size: int, library: str):
    """Finds the JPEGs; `library` is pillow or opencv."""
    self._paths = sorted(folder.glob("*/*.jpg"))
    self._size = size
    self._crop = {"pillow": _pillow, "opencv": _opencv}[library]

  def __len__(self) -> int:
    """Number of images."""
    return len(self._paths)

  def __getitem__(self, i: int) -> tuple[np.ndarray, int]:
    """Returns (image [size, size, 3] uint8, its number)."""
    generator = np.random.default_rng()
    image = self._crop(self._paths[i].read_bytes(), self._size, generator)
    return image, i


def _window(height, width, generator):
  """The law of `crops.crop_window`, one attempt after the other."""
  for _ in range(10):
    area = height * width * generator.uniform(0.08, 1.0)
    aspect = np.exp(generator.uniform(np.log(3 / 4), np.log(4 / 3)))
    w = round(float(np.sqrt(area * aspect)))
    h = round(float(np.sqrt(area / aspect)))
    if 0 < w <= width and 0 < h <= height:
      y = generator.integers(0, height - h + 1)
      x = generator.integers(0, width - w + 1)
      return int(y), int(x), h, w
  side = min(height, width)
  return (height - side) // 2, (width - side) // 2, side, side


def _pillow(encoded, size, generator):
  import io

  from PIL import Image

  image = Image.open(io.BytesIO(encoded)).convert("RGB")
  y, x, h, w = _window(image.height, image.width, generator)
  box = (x, y, x + w, y + h)
  image = image.resize((size, size), Image.Resampling.BICUBIC, box=box)
  values = np.asarray(image)
  return values[:, ::-1].copy() if generator.random() < 0.5 else values


def _opencv(encoded, size, generator):
  import cv2

  image = cv2.imdecode(np.frombuffer(encoded, np.uint8), cv2.IMREAD_COLOR)
  y, x, h, w = _window(*image.shape[:2], generator)
  image = image[y : y + h, x : x + w]
  image = cv2.resize(image, (size, size), interpolation=cv2.INTER_CUBIC)
  image = cv2.cvtColor(image, cv2.COLOR_BGR2RGB)
  return image[:, ::-1].copy() if generator.random() < 0.5 else image


def _one_thread(worker):
  del worker
  try:
    import cv2

    cv2.setNumThreads(0)
  except ImportError:
    pass


def _data_loader(library, folder, batch, size):
  from torch.utils import data

  __import__({"pillow": "PIL.Image", "opencv": "cv2"}[library])
  loader = data.DataLoader(
    Crops(folder / "jpegs", size, library),
    batch_size=batch,
    shuffle=True,
    drop_last=True,
    num_workers=timing.cpu_count(),
    worker_init_fn=_one_thread,
    prefetch_factor=2,
    persistent_workers=True,
  )
  while True:
    yield from loader
