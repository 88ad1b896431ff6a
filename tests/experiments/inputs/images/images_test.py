"""Small image data sets: what is read, and what is known without reading."""

import gzip
import hashlib
import os
import pathlib

from ml_collections import ConfigDict
import numpy as np
import pytest
from scipy import io as matlab

from experiments import inputs
from experiments.inputs import images, memory
from experiments.inputs.images import files, known
from experiments.inputs.images.files import Chunk, Set
from experiments.inputs.images.official import File

ROOT = pathlib.Path(__file__).parents[4]
SHARED = pathlib.Path(
  os.environ.get("JAXMIX_SHARED_DATA", ROOT.parent / "shared" / "data")
)


def config(**overrides):
  plain = dict(
    dataset="digits",
    data_dir="",
    train_split="train",
    eval_split="validation",
  )
  return ConfigDict(plain | overrides)


def shared(folder):
  if not (SHARED / folder).is_dir():
    pytest.skip(f"no {folder}: set JAXMIX_SHARED_DATA to its parent")
  return str(SHARED / folder)


def test_digits_are_split_once_and_for_all():
  data = images.load_digits(config())
  assert data.train_inputs.shape == (600, 8, 8, 1)
  assert data.eval_inputs.shape == (1197, 8, 8, 1)
  assert data.train_inputs.dtype == np.uint8
  assert data.train_inputs.max() == 255
  counts = np.bincount(data.train_labels)
  assert counts.min() >= 57 and counts.max() <= 62
  again = images.load_digits(config())
  np.testing.assert_array_equal(data.train_labels, again.train_labels)


def assert_described(of, data):
  """What is written down of a data set is what its data say, to the last bit.

  And what the float64 copy said that they were once computed from, rounded to
  the float32 that the step uses.
  """
  described = memory.describe(of)
  assert memory.measure(data._replace(scale=None)) == described
  pixels = data.train_inputs.astype(np.float64)
  to_float = described.scale.to_float
  for ours, theirs in (
    (to_float.mean, pixels.mean((0, 1, 2))),
    (to_float.std, pixels.std((0, 1, 2))),
  ):
    np.testing.assert_array_equal(np.float32(ours), theirs.astype(np.float32))


def test_digits_are_as_described():
  assert_described(config(), images.load_digits(config()))


@pytest.mark.parametrize("name", ["fashion_mnist", "mnist"])
def test_the_real_files_are_as_described(name):
  of = config(dataset=name, data_dir=shared(name.replace("_", "-")))
  data = images.load(of)
  assert memory.measure(data._replace(scale=None)) == memory.describe(of)
  assert data.train_inputs.dtype == np.uint8
  assert np.bincount(data.eval_labels).sum() == 10_000


def test_the_batches_of_cifar10_that_are_there_are_what_is_trained_on():
  """The folder holds the first of five, and the test images."""
  of = config(dataset="cifar10", data_dir=shared("cifar10"))
  with pytest.raises(FileNotFoundError, match="data_batch_2.bin is missing, a"):
    images.load(of)
  of.train_split, of.eval_split = "train[:9000]", "train[9000:10000]"
  data = images.load(of)
  assert data.train_inputs.shape == (9000, 32, 32, 3)
  assert (len(data.eval_labels), len(data.test_labels)) == (1000, 10_000)
  # The first image is the frog, whose upper left pixel is (59, 62, 63).
  assert data.train_inputs[0, 0, 0].tolist() == [59, 62, 63]
  assert data.train_labels[:3].tolist() == [6, 9, 9]
  assert memory.describe(of).num_eval == 1000


def test_a_description_needs_no_data(monkeypatch):
  monkeypatch.setitem(memory.LOADERS, "fashion_mnist", None)
  described = inputs.describe(config(dataset="fashion_mnist"))
  assert (described.num_train, described.num_eval) == (60_000, 10_000)
  some = config(dataset="fashion_mnist", train_split="train[:5%]")
  assert inputs.describe(some).num_train == 3_000
  assert inputs.describe(config(), num_classes=3) == images.DIGITS._replace(
    num_classes=3
  )
  assert hash(described) != hash(images.DIGITS)


def write(folder, name, contents):
  """Writes a file, and returns what a table of files says of it."""
  folder.mkdir(exist_ok=True)
  (folder / name).write_bytes(contents)
  if name.endswith(".gz"):
    contents = gzip.decompress(contents)
  return File(name, len(contents), (hashlib.md5(contents).hexdigest(),))


def idx(values):
  head = bytes([0, 0, 8, values.ndim])
  head += np.asarray(values.shape, ">i4").tobytes()
  return gzip.compress(head + values.astype(np.uint8).tobytes())


def cifar_rows(labels, pictures):
  planes = pictures.transpose(0, 3, 1, 2).reshape(len(pictures), -1)
  return np.concatenate([np.array(labels), planes], 1).astype(np.uint8)


def mat(folder, pictures, labels):
  path = folder / "made.mat"
  folder.mkdir(exist_ok=True)
  y = np.where(labels == 0, 10, labels)[:, None].astype(np.uint8)
  matlab.savemat(path, {"X": pictures.transpose(1, 2, 3, 0), "y": y})
  return path.read_bytes()


def stl(pictures):
  return pictures.transpose(0, 3, 2, 1).astype(np.uint8).tobytes()


CASES = ["mnist", "cifar10", "cifar100", "svhn_cropped", "stl10"]


def small(name, folder):
  """A set's format with five training images in two chunks, and two to test.

  Returns:
    What `files.SETS` has of it, pictures and labels.
  """
  shape = known.SETS[name].shape
  rng = np.random.default_rng(0)
  pictures = rng.integers(0, 256, (7, *shape), np.uint8)
  labels = np.array([3, 0, 9, 1, 5, 0, 7])

  def chunk(at, tag):
    own, ids = pictures[at], labels[at]
    if name == "mnist":
      contents = {f"{tag}-i.gz": idx(own[..., 0]), f"{tag}-l.gz": idx(ids)}
    elif name.startswith("cifar"):
      bytes_ = ids[:, None]
      if name == "cifar100":  # the coarse label first
        bytes_ = np.concatenate([20 + bytes_, bytes_], 1)
      contents = {f"{tag}.bin": cifar_rows(bytes_, own).tobytes()}
    elif name == "stl10":
      contents = {
        f"{tag}_X.bin": stl(own),
        f"{tag}_y.bin": (ids + 1).astype(np.uint8).tobytes(),
      }
    else:
      contents = {f"{tag}.mat": mat(folder, own, ids)}
    found = tuple(write(folder, *one) for one in contents.items())
    return Chunk(found, len(ids))

  real = files.SETS[name]
  chunks = {
    "train": (chunk(slice(0, 3), "one"), chunk(slice(3, 5), "two")),
    "test": (chunk(slice(5, 7), "test"),),
  }
  return Set(real.source, real.read, chunks), pictures, labels


@pytest.fixture(params=CASES)
def case(request, tmp_path, monkeypatch):
  own, pictures, labels = small(request.param, tmp_path / "files")
  sizes = {"train": 5, "test": 2}
  monkeypatch.setitem(files.SETS, request.param, own)
  monkeypatch.setitem(
    known.SETS, request.param, known.SETS[request.param]._replace(sizes=sizes)
  )
  of = config(dataset=request.param, data_dir=str(tmp_path / "files"))
  return of, own, pictures, labels


def test_every_format_is_read_pixel_by_pixel(case):
  of, _, pictures, labels = case
  data, spec = memory.load(of)
  np.testing.assert_array_equal(data.train_inputs, pictures[:5])
  np.testing.assert_array_equal(data.train_labels, labels[:5])
  np.testing.assert_array_equal(data.eval_inputs, pictures[5:])
  np.testing.assert_array_equal(data.eval_labels, labels[5:])
  assert data.train_inputs.dtype == np.uint8
  assert data.train_labels.dtype == np.int32
  assert data.test_labels is None
  assert spec == memory.describe(of)
  # Slices across files, and what is tested on where they are evaluated.
  of.train_split, of.eval_split = "train[2:4]+train[:1]", "train[-1:]"
  data, spec = memory.load(of)
  np.testing.assert_array_equal(data.train_inputs, pictures[[2, 3, 0]])
  np.testing.assert_array_equal(data.eval_labels, labels[[4]])
  np.testing.assert_array_equal(data.test_inputs, pictures[5:])
  assert (spec.num_train, spec.num_eval) == (3, 1)


def test_a_file_that_is_missing_cut_or_another_is_named(case, tmp_path):
  of, own, *_ = case
  file = own.splits["train"][1].files[0]
  path = tmp_path / "files" / file.name
  whole = path.read_bytes()
  where = f"{own.source.title} .{own.source.address}"
  path.unlink()
  with pytest.raises(FileNotFoundError, match=f"{path} is missing.*{where}"):
    images.load(of)
  for wrong in (whole[:-7], whole + b"x" * 9, b""):
    path.write_bytes(wrong)
    with pytest.raises(ValueError, match=f"{path} is damaged.*{where}"):
      images.load(of)
  changed = bytearray(gzip.decompress(whole) if path.suffix == ".gz" else whole)
  changed[-1] ^= 1
  changed = gzip.compress(changed) if path.suffix == ".gz" else changed
  path.write_bytes(changed)
  with pytest.raises(ValueError, match=f"{path}.*checksum is not.*{where}"):
    images.load(of)
  # A part that needs none of it is read all the same.
  of.train_split = "train[:3]"
  assert len(images.load(of).train_labels) == 3


def test_a_folder_of_the_sets_own_name_is_found(case, tmp_path):
  of, own, pictures, _ = case
  (tmp_path / "files").rename(tmp_path / own.source.folders[0])
  of.data_dir = str(tmp_path)
  np.testing.assert_array_equal(images.load(of).train_inputs, pictures[:5])


def test_files_packed_anew_are_the_same(tmp_path, monkeypatch):
  own, pictures, _ = small("mnist", tmp_path / "files")
  monkeypatch.setitem(files.SETS, "mnist", own)
  sizes = {"train": 5, "test": 2}
  monkeypatch.setitem(
    known.SETS, "mnist", known.SETS["mnist"]._replace(sizes=sizes)
  )
  path = tmp_path / "files" / own.splits["train"][0].files[0].name
  path.write_bytes(gzip.compress(gzip.decompress(path.read_bytes()), 1))
  of = config(dataset="mnist", data_dir=str(tmp_path / "files"))
  np.testing.assert_array_equal(images.load(of).train_inputs, pictures[:5])


def test_a_label_that_is_none_is_refused(tmp_path, monkeypatch):
  own, *_ = small("stl10", tmp_path)
  chunk = own.splits["train"][0]
  bad = write(tmp_path, chunk.files[1].name, bytes([1, 0, 2]))
  chunks = {"train": (Chunk((chunk.files[0], bad), 3),)}
  monkeypatch.setitem(files.SETS, "stl10", own._replace(splits=chunks))
  with pytest.raises(ValueError, match="one_X.bin should hold 3 .* class 255"):
    files.load("stl10", str(tmp_path), [("train", range(3))], 10)


def test_what_is_no_matlab_file_is_named(tmp_path):
  read = files.SETS["svhn_cropped"].read
  for wrong in (b"", b"MATLAB 5.0 MAT-file" + bytes(200), b"\x80\x04N."):
    with pytest.raises(ValueError, match="x.mat is no MATLAB file of SVHN's"):
      read([tmp_path / "x.mat"], [wrong])


def test_evaluating_what_is_trained_on_is_told(case, caplog):
  of, *_ = case
  of.eval_split = "train[1:]"
  with caplog.at_level("WARNING"):
    images.load(of)
  assert "4 of the 4 images that are evaluated are also trained on" in str(
    caplog.messages
  )


def test_an_idx_file_cut_short_is_named(tmp_path):
  path = tmp_path / "values.gz"
  head = bytes([0, 0, 8, 1]) + np.array([900], ">i4").tobytes()
  whole = gzip.compress(head + np.random.default_rng(0).bytes(900))
  path.write_bytes(whole)
  assert images.read_idx(path).shape == (900,)
  for wrong, message in (
    (whole[:500], "values.gz is damaged .*; download it again"),
    (b"not gzip", "values.gz is damaged .*; download it again"),
    (gzip.compress(head + bytes(7)), r"expected \[900\] bytes, got 7"),
    (gzip.compress(b"plain text"), "values.gz is not an idx file"),
  ):
    path.write_bytes(wrong)
    with pytest.raises(ValueError, match=message):
      images.read_idx(path)
