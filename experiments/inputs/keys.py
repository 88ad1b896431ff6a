"""The config's keys of data: defaults, checks, and what a resume may change."""

from __future__ import annotations

from ml_collections import ConfigDict

# None of these decides what a training batch holds, nor what is evaluated.
FREE = frozenset({"data_dir", "eval_batch_size", "max_unreadable_fraction"})


def defaults() -> ConfigDict:
  """Returns the keys of data with their defaults; they stand nowhere else."""
  config = ConfigDict()
  config.dataset = "digits"  # in memory, or a tfds name: "NAME/CONFIG:VERSION"
  config.data_dir = ""  # local or gs://; "" is tfds's own default
  config.batch_size = 128  # global
  config.eval_batch_size = 512  # global
  # Images in TFRecord files only, down to eval_split.
  config.image_size = 224
  config.resize_size = 256  # shorter side before evaluation's crop
  config.interpolation = "bicubic"  # or bilinear: less work for the host
  config.randaugment = ""  # "layers,magnitude"
  # Compressed records in the memory of all processes, at most. Half are in use
  # while the other half is read: about 2.2 GB of ImageNet for each stream, with
  # a whole file of it for each lane. Lanes are what processes divide among
  # them: a multiple of their number, if each record is to be read once.
  config.shuffle_buffer = 20_480
  config.shuffle_lanes = 8
  # Of 10,000 records or more, before the run stops. In training copies of
  # others in the batch take their places; in evaluation they do not count.
  config.max_unreadable_fraction = 1e-3
  config.train_split = "train"  # slices such as "train[:99%]" work
  config.eval_split = "validation"
  return config


def check(config: ConfigDict) -> None:
  """Checks what can be checked before any data are there.

  Raises:
    ValueError: naming the key, what was expected and what came.
  """
  for key in ("batch_size", "eval_batch_size"):
    if config[key] < 1:
      raise ValueError(f"{key} must be at least 1, got {config[key]}.")
  if not 0 < config.image_size <= config.resize_size:
    raise ValueError(
      "image_size: expected a positive size no larger than resize_size ="
      f" {config.resize_size}, the shorter side that evaluation crops from;"
      f" got {config.image_size}."
    )
  if config.shuffle_buffer < 2:
    raise ValueError(
      "shuffle_buffer: expected at least 2 records, got"
      f" {config.shuffle_buffer}."
    )
  if config.shuffle_lanes < 1:
    raise ValueError(
      f"shuffle_lanes: expected at least 1, got {config.shuffle_lanes}."
    )
  if config.interpolation not in ("bicubic", "bilinear"):
    raise ValueError(
      'interpolation: expected "bicubic" or "bilinear", got'
      f" {config.interpolation!r}."
    )
  if not 0 <= config.max_unreadable_fraction <= 1:
    raise ValueError(
      "max_unreadable_fraction: expected a share in 0 .. 1, got"
      f" {config.max_unreadable_fraction}."
    )
  randaugment(config)


def randaugment(config: ConfigDict) -> tuple[int, float] | None:
  """Returns RandAugment's (num_layers, magnitude); None: no RandAugment.

  Raises:
    ValueError: if the key does not say that.
  """
  text = config.randaugment
  if not text:
    return None
  try:
    first, second = text.split(",")
    layers, magnitude = int(first), float(second)
    if layers < 1 or not 0 <= magnitude <= 30:
      raise ValueError
  except ValueError:
    raise ValueError(
      'randaugment: expected "" or "num_layers,magnitude" with num_layers >='
      f' 1 and magnitude in 0 .. 30, such as "2,15"; got {text!r}.'
    ) from None
  return layers, magnitude
