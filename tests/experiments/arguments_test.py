"""A config's argument: how it is split, and what its values become."""

from ml_collections import ConfigDict
import pytest

from experiments.configs import arguments, digits


@pytest.mark.parametrize(
  ("text", "expected"),
  [
    ("", []),
    ("smoke", ["smoke"]),
    ("smoke, method=erm ,", ["smoke", "method=erm"]),
    ("smoke,randaugment=2,15", ["smoke", "randaugment=2,15"]),
    ("randaugment=2,15,seed=3", ["randaugment=2,15", "seed=3"]),
    ("randaugment=2,15,smoke", ["randaugment=2,15", "smoke"]),
    ("sweep_seeds=(0,1),smoke", ["sweep_seeds=(0,1)", "smoke"]),
    ("sweep_seeds=0,1,-2", ["sweep_seeds=0,1,-2"]),
    ("model_options.features=(8,)", ["model_options.features=(8,)"]),
    ("a={'b': [1,2], 'c': 3},d=4", ["a={'b': [1,2], 'c': 3}", "d=4"]),
    ("a='x,smoke,b=1',c=2", ["a='x,smoke,b=1'", "c=2"]),
    ("a=train[:90%],b=1", ["a=train[:90%]", "b=1"]),
    ("a=x=y", ["a=x=y"]),
    ("a=/o'brien/x,b=1", ["a=/o'brien/x", "b=1"]),
    ("15,seed=1", ["15", "seed=1"]),  # of no value: an unknown variant
    ("smoke,15", ["smoke", "15"]),
    # A name is a variant, known or mistyped, and never the end of a value.
    ("method=mixup,smoek", ["method=mixup", "smoek"]),
  ],
)
def test_an_argument_s_items(text, expected):
  assert arguments.items(text) == expected


@pytest.mark.parametrize(
  ("text", "missing"),
  [("seeds=(0,1", r"\)"), ("a={'b': [1}", "]"), ("a='x,seed=1", "'")],
)
def test_what_is_not_closed_is_an_error(text, missing):
  with pytest.raises(ValueError, match=f"^{missing} is missing in the config"):
    arguments.items(text)


@pytest.mark.parametrize(
  ("text", "key", "expected"),
  [
    ("randaugment=2,15", "randaugment", "2,15"),
    ("randaugment=paper:2,15", "randaugment", "paper:2,15"),
    ("sweep_seeds=(0,1)", "sweep_seeds", (0, 1)),
    ("sweep_seeds=[0,1]", "sweep_seeds", (0, 1)),
    ("sweep_seeds=0,1", "sweep_seeds", (0, 1)),
    ("train_split='train,test'", "train_split", "train,test"),
    ("train_split=train[:90%]", "train_split", "train[:90%]"),
    ("train_split=15", "train_split", "15"),
    ("learning_rate=1", "learning_rate", 1.0),
    ("per_example=False", "per_example", False),
    ("alpha=None", "alpha", None),
  ],
)
def test_values_have_their_key_s_type(text, key, expected):
  value = digits.get_config(f"smoke,{text}")[key]
  assert value == expected and type(value) is type(expected)


def test_options_of_a_model_come_one_by_one_or_all_at_once():
  one = digits.get_config("model=mlp,model_options.features=(8,4)")
  assert one.model_options.features == (8, 4)
  all_ = digits.get_config("model=mlp,model_options={'features': (8,4)}")
  assert all_.model_options == ConfigDict({"features": (8, 4)})


def test_a_variant_that_is_mistyped_is_named():
  with pytest.raises(
    ValueError, match="Unknown variant 'smoek'; known variants"
  ):
    digits.get_config("method=mixup,smoek")
