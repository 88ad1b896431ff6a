"""Data sets' official files: found, and known by lengths and checksums."""

from __future__ import annotations

from collections.abc import Sequence
import gzip
import hashlib
import pathlib
from typing import NamedTuple
import zlib


class File(NamedTuple):
  """A file as it was published.

  Attributes:
    name: of the file; one that ends with .gz is unpacked.
    size: bytes, unpacked.
    sums: hexadecimal MD5 or SHA-256 sums, of the file or of what is in it; one
      that fits will do, as a copy may have been packed anew. (): none is known.
  """

  name: str
  size: int
  sums: tuple[str, ...] = ()


class Source(NamedTuple):
  """Where files are from.

  Attributes:
    title: of the data set.
    address: to download it from.
    folders: names that a folder of its files may have in data_dir.
  """

  title: str
  address: str
  folders: tuple[str, ...]


def place(
  data_dir: str, source: Source, files: Sequence[File], also: str = ""
) -> pathlib.Path:
  """Returns the folder of a data set's files: data_dir, or one in it.

  Args:
    data_dir: of the config.
    source: of the data set.
    files: those that are needed.
    also: what else would do, for the error.

  Raises:
    FileNotFoundError: naming those that are missing, and where they are from.
  """
  root = pathlib.Path(data_dir).expanduser()
  folders = [root, *(root / name for name in source.folders)]
  missing = {
    folder: [file.name for file in files if not (folder / file.name).is_file()]
    for folder in folders
  }
  best = min(folders, key=lambda folder: len(missing[folder]))
  if not missing[best]:
    return best
  names = missing[best]
  raise FileNotFoundError(
    f"{best / names[0]} is missing"
    + (f", and {', '.join(names[1:])}" if names[1:] else "")
    + f". Download {source.title} ({source.address}), put its files into one "
    f"folder and pass it as --config.data_dir. {also}".rstrip()
  )


def read(folder: pathlib.Path, file: File, source: Source) -> bytes:
  """Returns what is in a file, unpacked.

  Raises:
    ValueError: if it is cut, or another file, saying where it is from.
  """
  path = folder / file.name
  again = f"download it again: {source.title} ({source.address})."
  packed = path.read_bytes()
  values = packed
  if file.name.endswith(".gz"):
    values = unpack(path, packed, again)
  if len(values) != file.size:
    what = "bytes" if values is packed else "bytes unpacked"
    raise ValueError(
      f"{path} is damaged or another file: expected {file.size:,} {what}, got "
      f"{len(values):,}; {again}"
    )
  if file.sums and not any(
    _fits(known, data) for known in file.sums for data in (values, packed)
  ):
    raise ValueError(
      f"{path} is damaged or another file: its checksum is not "
      f"{' or '.join(file.sums)}; {again}"
    )
  return values


def unpack(
  path: pathlib.Path,
  packed: bytes | None = None,
  again: str = "download it again.",
) -> bytes:
  """Returns what is in a gzipped file.

  Args:
    path: to it.
    packed: what it holds; None reads it.
    again: what to do where it is damaged.

  Raises:
    ValueError: if it is damaged.
  """
  try:
    return gzip.decompress(path.read_bytes() if packed is None else packed)
  except (EOFError, gzip.BadGzipFile, zlib.error) as error:
    raise ValueError(f"{path} is damaged ({error}); {again}") from None


def _fits(known: str, data: bytes) -> bool:
  name = {32: "md5", 64: "sha256"}[len(known)]
  return hashlib.new(name, data, usedforsecurity=False).hexdigest() == known
