"""OpenML's data sets by name, through scikit-learn's fetch_openml."""

from __future__ import annotations

from typing import Any
import urllib.error
import warnings

from absl import logging
import numpy as np

from experiments.inputs.tabular import table
from experiments.inputs.tabular.cells import Cell
from experiments.inputs.tabular.table import Column, Table


def fetch(
  which: str, data_dir: str, target: str = "", *, numeric: bool = False
) -> Table:
  """Returns a data set of openml.org, from its cache or from there.

  Args:
    which: its number; or its name, then of the oldest version that is active;
      or NAME@VERSION. Only a number is of one data set for ever.
    data_dir: the cache goes to its folder openml; "": to scikit-learn's own
      place.
    target: the column to tell; "": the data set's own.
    numeric: whether its values are numbers, and no classes.

  Raises:
    ConnectionError: if it is not in the cache and openml.org is not reached.
    ValueError: if there is no such data set, or it is not a table of classes.
  """
  from sklearn.datasets import fetch_openml

  name, _, version = which.partition("@")
  wanted: dict[str, Any] = {"name": name, "version": version or "active"}
  if version:
    wanted["version"] = _version(which, version)
  if name.isdecimal():
    wanted = {"data_id": int(name)}
  if not name or (version and name.isdecimal()):
    raise ValueError(
      "dataset must be openml:NAME, openml:NAME@VERSION or openml:NUMBER; got "
      f"'openml:{which}'."
    )
  try:
    with warnings.catch_warnings(record=True) as told:
      found = fetch_openml(
        **wanted,
        data_home=data_dir or None,
        target_column=target or "default-target",
        as_frame=False,  # which would need pandas
        parser="liac-arff",
        n_retries=1,
      )
  except (urllib.error.URLError, ConnectionError, TimeoutError) as error:
    raise ConnectionError(
      f"dataset='openml:{which}': openml.org cannot be reached ({error}); "
      "download the set's ARFF file elsewhere (openml.org/search?type=data), "
      "and use dataset=arff:FILE,target=COLUMN."
    ) from None
  except (ValueError, KeyError) as error:
    raise ValueError(
      f"dataset='openml:{which}': {error}; what fetch_openml cannot read may "
      "be read from its ARFF file, with dataset=arff:FILE,target=COLUMN."
    ) from None
  for warning in told:
    logging.warning("openml:%s: %s", which, warning.message)
  return _table(f"openml:{which}", found, numeric)


def _table(source: str, found: Any, numeric: bool) -> Table:
  if len(found.target_names) != 1:
    raise ValueError(
      f"target: name the column of {source} that is to be told; it has "
      f"{', '.join([*found.feature_names, *found.target_names])}."
    )
  data = (
    found.data if isinstance(found.data, np.ndarray) else (found.data.toarray())
  )
  data = data.astype(float)
  columns = []
  for k, name in enumerate(found.feature_names):
    values, kind = data[:, k], found.categories.get(name)
    if kind is not None:
      values = np.where(np.isnan(values), -1, values).astype(np.int32)
      kind = tuple(str(category) for category in kind)
    columns.append(Column(name, values, kind))
  labels, classes = (table.measure if numeric else table.classify)(
    source,
    found.target_names[0],
    [_cell(value) for value in found.target],
    [f"{source}, row {k + 1}" for k in range(len(found.target))],
  )
  return Table(source, tuple(columns), labels, classes)


def _cell(value: Any) -> Cell:
  if value is None or value != value:
    return None
  return value if isinstance(value, str) else float(value)


def _version(which: str, version: str) -> int:
  if not version.isdecimal():
    raise ValueError(
      "dataset: the version in openml:NAME@VERSION must be a number, got "
      f"'openml:{which}'."
    )
  return int(version)
