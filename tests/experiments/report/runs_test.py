"""Finding runs: what is a row, what it is called, what is left out."""

import json

import pytest

from experiments import report, sweep
from experiments.configs import common, digits


def test_last_line_counts_not_the_best(tmp_path, evaluation, make_run, table):
  evals = [evaluation(100, 5.0), evaluation(300, 7.0)]
  make_run(tmp_path / "mixup", 0.0, evals=evals)
  text = report.write([tmp_path], tmp_path / "out")
  assert table(text)["mixup"]["test error (%)"] == "7.00"


def test_unfinished_runs_are_left_out_by_name(
  two, evaluation, make_run, table, summary
):
  evals = [evaluation(100, 1.0)]
  late = make_run(two / "mixup" / "seed_3", 0.0, evals=evals, seed=3)
  empty = make_run(two / "mixup" / "seed_4", 0.0, evals=[], seed=4)
  (two / "mixupe" / "seed_2" / "metrics.jsonl").unlink()
  text = report.write([two], two / "out")
  assert table(text)["mixup"]["test error (%)"] == "12.00 ± 1.15"
  assert table(text)["mixupe"]["runs"] == "2"
  assert f"{late} is unfinished (step 100 of 300)" in text
  assert f"{empty} is unfinished (step 0 of 300)" in text
  assert text.count("**Warning:**") == 2
  assert len(summary(two / "out")["warnings"]) == 2


def test_line_cut_short_by_a_kill(two, table):
  path = two / "mixup" / "seed_0" / "metrics.jsonl"
  path.write_text(path.read_text() + '{"step": 320, "spl')
  text = report.write([two], two / "out")
  assert table(text)["mixup"]["test error (%)"] == "12.00 ± 1.15"


def test_a_sweep_keeps_its_order_and_names(
  tmp_path, monkeypatch, make_run, summary
):
  config = digits.get_config("batch_size=96")
  config.sweep_seeds = (1, 0)
  config.sweep = (
    ("untied MixUp", {"method": "untied"}),
    ("MixupE, a quarter clean", {"method": "mixupe", "clean_fraction": 0.25}),
    ("Mixup", {"method": "mixup"}),
    ("A/B (DAT)", {"method": "dat"}),
  )

  def train(own, folder, cache):
    assert (tmp_path / "runs.json").exists()
    make_run(folder, 10.0, seed=own.seed, method=own.method)
    return {"polyak_accuracy": 0.9}

  monkeypatch.setattr(sweep.train, "train_and_evaluate", train)
  sweep.run(config, tmp_path)
  told = summary(tmp_path)
  assert [one["name"] for one in told["groups"]] == [
    name for name, _ in config.sweep
  ]
  assert [one["seeds"] for one in told["groups"]] == [[0, 1]] * 4
  assert told["baseline"] == "Mixup" and told["warnings"] == []


def test_sweep_names_order_and_missing_runs(tmp_path, make_group, summary):
  sweep = tmp_path / "digits"
  make_group(sweep / "a_first", {0: 9.0, 1: 9.0}, method="mixupe", eta=1.0)
  make_group(sweep / "b", {0: 10.0, 1: 10.0}, method="mixup")
  make_group(sweep / "unlisted", {0: 11.0}, method="erm")
  entries = [
    {"name": "Mixup", "folder": "b", "seeds": [0, 1]},
    {"name": "A, first | (E)", "folder": "a_first", "seeds": [0, 1, 2]},
  ]
  (sweep / "runs.json").write_text(json.dumps(entries))
  for root in (sweep, tmp_path):
    text = report.write([root], tmp_path / "out")
    told = summary(tmp_path / "out")
    names = [one["name"] for one in told["groups"]]
    assert names == ["Mixup", "A, first | (E)", "unlisted"]
    assert "A, first \\| (E)" in text
    assert told["warnings"] == [
      f"{sweep / 'a_first' / 'seed_2'} has not started: left out."
    ]
  # What is not below the folder asked for is not missing from it.
  assert "Warning" not in report.write([sweep / "b"], tmp_path / "out")


def test_folders_that_are_runs(two, table):
  folders = [two / "mixup" / f"seed_{seed}" for seed in (0, 2)]
  rows = table(report.write(folders, two / "out"))
  assert rows["mixup"]["test error (%)"] == "12.00 ± 2.00"


def test_overlapping_folders_count_a_run_once(two, table):
  rows = table(report.write([two, two / "mixup"], two / "out"))
  assert [row["runs"] for row in rows.values()] == ["3", "3"]


def test_groups_numbered_names_outside_seed_folders(tmp_path, make_run, table):
  make_run(tmp_path / "again", 13.0, seed=1)
  for seed, error in {0: 10.0, 1: 12.0}.items():
    make_run(tmp_path / f"wide_net_s{seed}", error, seed=seed)
    make_run(tmp_path / f"deep-{seed}", error, seed=seed)
    # Two alphas, or two numbers that are part of a name, are no group.
    make_run(tmp_path / f"alpha_{seed}", error, alpha=seed, seed=seed)
    make_run(tmp_path / f"adam{seed}", error, seed=seed)
  rows = table(report.write([tmp_path], tmp_path / "out"))
  assert {name: row["runs"] for name, row in rows.items()} == {
    "adam0": "1",
    "adam1": "1",
    "again": "1",
    "alpha_0": "1",
    "alpha_1": "1",
    "deep": "2",
    "wide_net": "2",
  }


@pytest.mark.parametrize("key", sorted(common.free_keys()))
def test_groups_ignore_what_leaves_numbers_alone(
  tmp_path, key, make_run, table
):
  make_run(tmp_path / "m" / "seed_0", 10.0, **{"seed": 0, key: "a"})
  make_run(tmp_path / "m" / "seed_1", 12.0, **{"seed": 1, key: "b"})
  rows = table(report.write([tmp_path], tmp_path / "out"))
  assert rows["m"]["test error (%)"] == "11.00 ± 1.00"


def test_two_configs_in_one_folder_are_two_rows(tmp_path, make_run, table):
  make_run(tmp_path / "m" / "seed_0", 10.0, seed=0, alpha=0.2)
  make_run(tmp_path / "m" / "seed_1", 12.0, seed=1, alpha=1.0)
  rows = table(report.write([tmp_path], tmp_path / "out"))
  assert list(rows) == [f"m ({tmp_path}/m/seed_{seed})" for seed in (0, 1)]


def test_same_name_told_apart_by_folder(tmp_path, make_group, table):
  roots = [tmp_path / "old", tmp_path / "new"]
  for root in roots:
    make_group(root / "mixup", {0: 10.0, 1: 11.0})
  assert list(table(report.write(roots, tmp_path / "out"))) == [
    f"mixup ({root}/mixup/seed_0)" for root in roots
  ]


def test_no_runs(tmp_path):
  (tmp_path / "x").mkdir()
  (tmp_path / "x" / "config.json").write_text("{}")
  with pytest.raises(ValueError, match="No runs found at or below") as error:
    report.write([tmp_path / "x", tmp_path / "y"], tmp_path / "out")
  assert f"{tmp_path / 'x'}, {tmp_path / 'y'}" in str(error.value)
  assert "config.json and metrics.jsonl" in str(error.value)
  assert not (tmp_path / "out").exists()


def test_same_seed_twice(tmp_path, make_run):
  for seed in (0, 1):
    make_run(tmp_path / "m" / f"seed_{seed}", 10.0, seed=0)
  with pytest.raises(ValueError, match="seed_0 and .*seed_1 .* same seed, 0"):
    report.write([tmp_path], tmp_path / "out")


def test_different_examples(tmp_path, make_group):
  make_group(tmp_path / "mixup", {0: 10.0})
  make_group(tmp_path / "erm", {0: 10.0}, method="erm", dataset="cifar10")
  message = r"same examples.*erm: \('cifar10', .*mixup: \('digits', "
  with pytest.raises(ValueError, match=message):
    report.write([tmp_path], tmp_path / "out")
