"""BibTeX: whole entries, the right ones, and CITATION.cff's authors."""

import pathlib
import re

import jax
import jax.numpy as jnp
from ml_collections import ConfigDict
import pytest
import yaml

from experiments import methods
from experiments.configs import common
import jaxmix
from jaxmix import citing, policies

CFF = pathlib.Path(__file__).parents[1] / "CITATION.cff"


def cited(what=None):
  return re.findall(r"^@\w+\{(\w+),$", jaxmix.cite(what), re.MULTILINE)


ZHANG, DAT = "zhang2018mixup", "anonymous2020mixup"


def plan(**options):
  lam = jnp.array([0.5, 0.75])
  options = {"lam": lam, "weight": lam} | options
  return jaxmix.MixPlan(partner=jnp.array([1, 0]), **options)


@pytest.mark.parametrize(
  "what, keys",
  [
    (None, []),
    ("erm", []),
    ("mixup", [ZHANG]),
    ("mixupe", ["zou2023mixupe", ZHANG]),
    ("by_label", ["yao2022cmixup"]),
    (policies.mixup(1.0), [ZHANG]),
    (policies.untied(1.7, 0.8), [ZHANG, DAT]),
    (policies.as_dat(policies.mixup(1.0)), [ZHANG, DAT]),
    (policies.erm(), []),
    (plan(), [ZHANG]),
    (plan(weight=jnp.ones(2)), [ZHANG, DAT]),
    ({"method": "mixup"}, [ZHANG]),
    ({"method": "mixup", "eta": 0.1}, [ZHANG, "zou2023mixupe"]),
    (
      ConfigDict({"method": "dat", "pairing": "optimal", "mix_at": "random"}),
      [ZHANG, DAT, "verma2019manifold", "greenewald2021kmixup"],
    ),
    (
      ConfigDict({"method": "regmixup", "eta": 1.0, "mix_at": "input"}),
      ["pinto2022regmixup", ZHANG],
    ),
  ],
)
def test_cites_what_is_used(what, keys):
  assert cited(what) == ["jaxmix", *keys]


def test_a_mixture_s_parts_are_cited():
  config = common.base()
  config.method = "mixture"
  assert set(cited(config)) == {"jaxmix", "zhang2018mixup", "yun2019cutmix"}
  config.mixture.fmix.weight = 0.5
  assert "harris2020fmix" in cited(config)


def test_cutmix_s_plan():
  drawn = jaxmix.draw_cutmix(jax.random.key(0), (2, 4, 4, 1))
  assert cited(drawn) == ["jaxmix", "yun2019cutmix"]


def test_every_method_and_every_paper_can_be_cited():
  assert methods.METHODS.keys() <= citing.USES.keys()
  assert {key for name in citing.USES for key in cited(name)} == set(
    citing._PAPERS
  )


def test_entries_are_whole():
  for name in citing.USES:
    for entry in jaxmix.cite(name).split("\n\n"):
      first, *fields, last = entry.splitlines()
      assert re.fullmatch(r"@\w+\{\w+,", first) and last == "}"
      assert all(re.fullmatch(r"  \w+ = \{.+\},", line) for line in fields)
      assert entry.count("{") == entry.count("}")


def test_titles_and_authors_are_citation_cff_s():
  text = jaxmix.cite("mixupe") + jaxmix.cite("theory")
  plain = text.replace("{", "").replace("}", "")
  for reference in yaml.safe_load(CFF.read_text())["references"]:
    assert reference["title"] in plain
    authors = [
      f"{a['family-names']}, {a['given-names']}"
      if "name" not in a
      else a["name"]
      for a in reference["authors"]
    ]
    assert f"author = {' and '.join(authors)}," in plain


def test_what_is_not_known_is_named():
  with pytest.raises(
    ValueError, match="what must be one of erm, .*got 'mixip'"
  ):
    jaxmix.cite("mixip")
  with pytest.raises(TypeError, match="must have the key method"):
    jaxmix.cite({"seed": 1})
  with pytest.raises(TypeError, match="a config with a method, got int"):
    jaxmix.cite(3)
