import pytest

from experiments.configs import digits
from experiments.sweep import grid


def test_all_combinations_with_the_last_key_innermost():
  found = grid.points(["alpha=0.5,1;seed=2..4"], digits.get_config())
  assert [list(point.keys.values()) for point in found] == [
    [0.5, 2],
    [0.5, 3],
    [0.5, 4],
    [1.0, 2],
    [1.0, 3],
    [1.0, 4],
  ]
  assert (found[5].config.alpha, found[5].config.seed) == (1.0, 4)
  # Typed as the config has them: 1 is a float's 1.0.
  assert isinstance(found[5].keys["alpha"], float)


def test_several_grids_follow_each_other_and_a_point_counts_once():
  config = digits.get_config()
  found = grid.points(
    ["method=erm;seed=0..1", "method=mixup;seed=0", "seed=1;method=erm"], config
  )
  assert [(p.keys["method"], p.keys["seed"]) for p in found] == [
    ("erm", 0),
    ("erm", 1),
    ("mixup", 0),
  ]
  assert config.method == "mixupe"


def test_values_with_commas_of_their_own_and_keys_of_a_model():
  (point,) = grid.points(
    ["model_options.features=(8,4)"], digits.get_config("model=mlp")
  )
  assert point.keys == {"model_options.features": (8, 4)}
  assert point.config.model_options.features == (8, 4)


@pytest.mark.parametrize(
  ("text", "told"),
  [
    ("", "expected key=value,value"),
    ("alpha", "got 'alpha'"),
    ("alpha=", "got 'alpha='"),
    ("seed=4..0", "a range goes upwards, got '4..0'"),
    ("seed=0;seed=1", "seed stands twice"),
    ("alhpa=1", "Unknown config key 'alhpa'"),
    ("seed=one", "seed"),
  ],
)
def test_refuses(text, told):
  with pytest.raises(ValueError, match=told):
    grid.points([text], digits.get_config())
