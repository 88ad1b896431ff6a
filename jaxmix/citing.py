"""What to cite: BibTeX of the papers behind a method, a plan or a config."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from jaxmix.boxes import CutMixPlan
from jaxmix.mixing import MixPlan
from jaxmix.policies import MixingPolicy

# key -> (kind, fields)
_PAPERS: dict[str, tuple[str, dict[str, str]]] = {
  "jaxmix": (
    "software",
    {
      "title": "jaxmix: mixup and its theory in JAX",
      "author": "{The jaxmix authors}",
    },
  ),
  "zou2023mixupe": (
    "inproceedings",
    {
      "title": "{MixupE}: Understanding and Improving Mixup from Directional "
      "Derivative Perspective",
      "author": "Zou, Yingtian and Verma, Vikas and Mittal, Sarthak and Tang, "
      "Wai Hoh and Pham, Hieu and Kannala, Juho and Bengio, Yoshua and Solin, "
      "Arno and Kawaguchi, Kenji",
      "booktitle": "Uncertainty in Artificial Intelligence",
      "year": "2023",
    },
  ),
  "zhang2018mixup": (
    "inproceedings",
    {
      "title": "mixup: Beyond Empirical Risk Minimization",
      "author": "Zhang, Hongyi and Cisse, Moustapha and Dauphin, Yann N. and "
      "Lopez-Paz, David",
      "booktitle": "International Conference on Learning Representations",
      "year": "2018",
      "url": "https://arxiv.org/abs/1710.09412",
    },
  ),
  "anonymous2020mixup": (
    "unpublished",
    {
      "title": "{MixUp} as Directional Adversarial Training",
      "author": "Anonymous",
      "note": "Submitted to ICLR 2020",
      "year": "2020",
      "url": "https://openreview.net/forum?id=SkgjKR4YwH",
    },
  ),
  "zhang2021how": (
    "inproceedings",
    {
      "title": "How Does Mixup Help With Robustness and Generalization?",
      "author": "Zhang, Linjun and Deng, Zhun and Kawaguchi, Kenji and "
      "Ghorbani, Amirata and Zou, James",
      "booktitle": "International Conference on Learning Representations",
      "year": "2021",
      "url": "https://arxiv.org/abs/2010.04819",
    },
  ),
  "kimura2020why": (
    "misc",
    {
      "title": "Why Mixup Improves the Model Performance",
      "author": "Kimura, Masanari",
      "year": "2020",
      "url": "https://arxiv.org/abs/2006.06231",
    },
  ),
  "yun2019cutmix": (
    "inproceedings",
    {
      "title": "{CutMix}: Regularization Strategy to Train Strong Classifiers "
      "with Localizable Features",
      "author": "Yun, Sangdoo and Han, Dongyoon and Oh, Seong Joon and Chun, "
      "Sanghyuk and Choe, Junsuk and Yoo, Youngjoon",
      "booktitle": "International Conference on Computer Vision",
      "year": "2019",
      "url": "https://arxiv.org/abs/1905.04899",
    },
  ),
  "verma2019manifold": (
    "inproceedings",
    {
      "title": "Manifold Mixup: Better Representations by Interpolating Hidden "
      "States",
      "author": "Verma, Vikas and Lamb, Alex and Beckham, Christopher and "
      "Najafi, Amir and Mitliagkas, Ioannis and Lopez-Paz, David and Bengio, "
      "Yoshua",
      "booktitle": "International Conference on Machine Learning",
      "year": "2019",
      "url": "https://arxiv.org/abs/1806.05236",
    },
  ),
  "greenewald2021kmixup": (
    "misc",
    {
      "title": "k-Mixup Regularization for Deep Learning via Optimal Transport",
      "author": "Greenewald, Kristjan and Gu, Anming and Yurochkin, Mikhail "
      "and Solomon, Justin and Chien, Edward",
      "year": "2021",
      "url": "https://arxiv.org/abs/2106.02933",
    },
  ),
  "yao2022cmixup": (
    "inproceedings",
    {
      "title": "{C-Mixup}: Improving Generalization in Regression",
      "author": "Yao, Huaxiu and Wang, Yiping and Zhang, Linjun and Zou, James "
      "and Finn, Chelsea",
      "booktitle": "Advances in Neural Information Processing Systems",
      "year": "2022",
      "url": "https://arxiv.org/abs/2210.05775",
    },
  ),
  "pinto2022regmixup": (
    "inproceedings",
    {
      "title": "{RegMixup}: Mixup as a Regularizer Can Surprisingly Improve "
      "Accuracy and Out Distribution Robustness",
      "author": "Pinto, Francesco and Yang, Harry and Lim, Ser-Nam and Torr, "
      "Philip H. S. and Dokania, Puneet K.",
      "booktitle": "Advances in Neural Information Processing Systems",
      "year": "2022",
      "url": "https://arxiv.org/abs/2206.14502",
    },
  ),
  "harris2020fmix": (
    "misc",
    {
      "title": "{FMix}: Enhancing Mixed Sample Data Augmentation",
      "author": "Harris, Ethan and Marcu, Antonia and Painter, Matthew and "
      'Niranjan, Mahesan and Pr{\\"u}gel-Bennett, Adam and Hare, Jonathon',
      "year": "2020",
      "url": "https://arxiv.org/abs/2002.12047",
    },
  ),
  "qin2020resizemix": (
    "misc",
    {
      "title": "{ResizeMix}: Mixing Data with Preserved Object Information and "
      "True Labels",
      "author": "Qin, Jie and Fang, Jiemin and Zhang, Qian and Liu, Wenyu and "
      "Wang, Xingang and Wang, Xinggang",
      "year": "2020",
      "url": "https://arxiv.org/abs/2012.11101",
    },
  ),
  "baek2021gridmix": (
    "article",
    {
      "title": "{GridMix}: Strong Regularization through Local Context Mapping",
      "author": "Baek, Kyungjune and Bang, Duhyeon and Shim, Hyunjung",
      "journal": "Pattern Recognition",
      "year": "2021",
      "url": "https://doi.org/10.1016/j.patcog.2020.107594",
    },
  ),
}
_MIXUP, _DAT = ("zhang2018mixup",), ("zhang2018mixup", "anonymous2020mixup")
# What a method, a pairing or a part of the library rests on.
USES: dict[str, tuple[str, ...]] = {
  "erm": (),
  "mixup": _MIXUP,
  "mixupe": ("zou2023mixupe", *_MIXUP),
  "untied": _DAT,
  "dat": _DAT,
  "weighted": _DAT,
  "as_dat": _DAT,
  "cutmix": ("yun2019cutmix",),
  "resizemix": ("qin2020resizemix",),
  "fmix": ("harris2020fmix",),
  "gridmix": ("baek2021gridmix",),
  "mixture": (),  # its parts', of a config
  "regmixup": ("pinto2022regmixup", *_MIXUP),
  "manifold": ("verma2019manifold",),
  "optimal": ("greenewald2021kmixup",),
  "by_label": ("yao2022cmixup",),
  "theory": (
    *("zhang2021how", "zou2023mixupe", "anonymous2020mixup", "kimura2020why"),
  ),
}


def cite(what: Any = None) -> str:
  """Returns BibTeX of jaxmix and of the papers behind what is used.

  Args:
    what: a method, policy or pairing by its name ("mixupe", "untied",
      "optimal", "manifold", "theory", ...); a `MixingPolicy`; a plan, which
      shows by its weights whether labels are mixed as inputs are; or a config
      of `experiments`, or any mapping with its keys. None is jaxmix alone.

  Returns:
    The entries, jaxmix first.

  Raises:
    ValueError: if a name is not known.
    TypeError: if it is none of these.

  Example:
    >>> print(jaxmix.cite("dat").count("@"), "entries")
    3 entries
    >>> "Directional Adversarial Training" in jaxmix.cite("dat")
    True
  """
  keys = ["jaxmix"]
  for name in _names(what):
    if name not in USES:
      raise ValueError(f"what must be one of {', '.join(USES)}, got {name!r}.")
    keys += [key for key in USES[name] if key not in keys]
  return "\n\n".join(_entry(key) for key in keys)


def _names(what: Any) -> list[str]:
  """The keys of USES for whatever is to be cited."""
  if what is None:
    return []
  if isinstance(what, str):
    return [what]
  if isinstance(what, MixingPolicy):
    # A policy is a value; the function that made it is in its sampler's name.
    maker = getattr(what.sample, "__qualname__", "").partition(".")[0]
    return [maker if maker in USES else "weighted"]
  if isinstance(what, CutMixPlan):
    return ["cutmix"]
  if isinstance(what, MixPlan):
    return ["mixup" if bool((what.lam == what.weight).all()) else "untied"]
  if isinstance(what, Mapping) or hasattr(what, "method"):
    return _of_config(what)
  raise TypeError(
    "what must be a name, a MixingPolicy, a plan or a config with a method, "
    f"got {type(what).__name__}."
  )


def _of_config(config: Any) -> list[str]:
  """What a config's keys stand for; those that are missing for nothing."""
  get = (
    config.get
    if hasattr(config, "get")
    else (lambda key, default=None: getattr(config, key, default))
  )
  method = get("method")
  if method is None:
    raise TypeError("what must have the key method, as configs do.")
  found = [method]
  if method == "mixture":
    parts = (get("mixture") or {}).items()
    found += [name for name, own in parts if own["weight"]]
  if method not in ("regmixup", "mixupe") and get("eta"):
    found.append("mixupe")
  if get("mix_at", "input") not in ("input", 0):
    found.append("manifold")
  if get("pairing") in USES:
    found.append(get("pairing"))
  return found


def _entry(key: str) -> str:
  kind, fields = _PAPERS[key]
  lines = [f"  {name} = {{{value}}}," for name, value in fields.items()]
  return "\n".join([f"@{kind}{{{key},", *lines, "}"])
