"""OpenML's sets, from the cache of fetch_openml; nothing is fetched here."""

import gzip
import hashlib
import json
import urllib.request

import numpy as np
import pytest

from experiments.inputs.tabular import named, openml

ARFF = b"""@relation toy
@attribute row numeric
@attribute x numeric
@attribute colour {red,blue,'light, green'}
@attribute k integer
@attribute class {no,yes}
@data
1,1.5,red,3,no
2,?,'light, green',4,yes
3,2.5,?,5,yes
"""


@pytest.fixture
def cached(tmp_path):
  """What openml.org answers of the set 7, as fetch_openml keeps it."""

  def feature(k, name, kind, **flags):
    flags = dict.fromkeys(
      ("is_target", "is_ignore", "is_row_identifier"), "false"
    ) | {flag: "true" for flag in flags}
    return flags | {
      "index": str(k),
      "name": name,
      "data_type": kind,
      "number_of_missing_values": str(int(name in ("x", "colour"))),
    }

  description = {
    "status": "active",
    "format": "ARFF",
    "name": "toy",
    "version": "1",
    "description": "",
    "url": "https://www.openml.org/data/v1/download/70/toy.arff",
    "md5_checksum": hashlib.md5(ARFF).hexdigest(),
  }
  features = [
    feature(0, "row", "numeric", is_row_identifier=True),
    feature(1, "x", "numeric"),
    feature(2, "colour", "nominal"),
    feature(3, "k", "numeric"),
    feature(4, "class", "nominal", is_target=True),
  ]
  both = [{"did": 7, "version": 1, "status": "active"}] * 2
  listed = "api/v1/json/data/list/data_name/toy/limit/2"
  answers = {
    f"{listed}/status/active/": {"data": {"dataset": both}},
    f"{listed}/data_version/1": {"data": {"dataset": both[:1]}},
    "api/v1/json/data/7": {"data_set_description": description},
    "api/v1/json/data/features/7": {"data_features": {"feature": features}},
    "api/v1/json/data/qualities/7": {
      "data_qualities": {
        "quality": [{"name": "NumberOfInstances", "value": "3"}]
      }
    },
  }
  files = {k: json.dumps(v).encode() for k, v in answers.items()}
  files["data/v1/download/70/toy.arff"] = ARFF
  for name, content in files.items():
    path = tmp_path / "openml" / "openml.org" / f"{name}.gz"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(gzip.compress(content))
  return str(tmp_path)


@pytest.fixture
def offline(monkeypatch):
  """No way out: a proxy that nobody is."""
  monkeypatch.setenv("https_proxy", "http://127.0.0.1:9")
  monkeypatch.setattr(urllib.request, "_opener", None)


@pytest.mark.parametrize("which", ["toy", "TOY", "toy@1", "7"])
def test_a_set_by_name_version_or_number(cached, offline, which):
  table = openml.fetch(which, cached)
  assert [c.name for c in table.columns] == ["x", "colour", "k"]
  x, colour, k = table.columns
  np.testing.assert_array_equal(x.values, [1.5, np.nan, 2.5])
  assert colour.categories == ("red", "blue", "light, green")
  np.testing.assert_array_equal(colour.values, [0, 2, -1])
  np.testing.assert_array_equal(k.values, [3, 4, 5])
  assert table.classes == ("no", "yes")
  np.testing.assert_array_equal(table.labels, [0, 1, 1])


def test_other_targets(cached, offline):
  table = openml.fetch("7", cached, "k")
  assert table.classes == ("3", "4", "5")
  assert [c.name for c in table.columns] == ["x", "colour", "class"]
  with pytest.raises(
    ValueError, match="dataset='openml:7': .*'x' has 1 missing"
  ):
    openml.fetch("7", cached, "x")
  with pytest.raises(ValueError, match="dataset='openml:7': .*'no_such'"):
    openml.fetch("7", cached, "no_such")


def test_what_fetch_openml_warns_of_is_told(cached, offline, caplog):
  openml.fetch("toy", cached)
  (told,) = [record.getMessage() for record in caplog.records]
  assert told.startswith("openml:toy: Multiple active versions")


@pytest.mark.parametrize("which", ["", "@1", "toy@new", "7@1"])
def test_a_name_that_is_none_is_refused(tmp_path, which):
  with pytest.raises(ValueError, match=f"openml:NAME@VERSION.*'openml:{which}"):
    openml.fetch(which, str(tmp_path))


def test_offline_the_remedy_is_named(tmp_path, offline):
  with pytest.raises(ConnectionError, match=r"openml:toy': .*arff:FILE"):
    openml.fetch("toy", str(tmp_path))
  with pytest.raises(FileNotFoundError, match="no volkert.arff .*/d/41166"):
    named.load("volkert", str(tmp_path))
