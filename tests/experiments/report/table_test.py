"""The table and the summary, cells and numbers worked by hand."""

import math
import os

import numpy as np

from experiments import report


def test_table_by_hand(two, table):
  text = report.write([two], two / "out")
  assert table(text) == {
    "mixup": {
      "method": "mixup",
      "runs": "3",
      # Deviations -2, 0, 2: variance 4, so 2 / sqrt(3).
      "test error (%)": "12.00 ± 1.15",
      "negative log-likelihood (nats)": "0.1200 ± 0.0115",
      "expected calibration error (%)": "1.20 ± 0.12",
      "error − mixup, paired (%)": "—",
    },
    "mixupe": {
      "method": "mixupe",
      "runs": "3",
      # Deviations -2, 1, 1: variance 3, so sqrt(3) / sqrt(3).
      "test error (%)": "**11.00 ± 1.00**",
      "negative log-likelihood (nats)": "**0.1100 ± 0.0100**",
      "expected calibration error (%)": "**1.10 ± 0.10**",
      # Differences -1, 0, -2: variance 1, so 1 / sqrt(3).
      "error − mixup, paired (%)": "**−1.00 ± 0.58**",
    },
  }
  for said in ("1,197 test examples", "300 steps", "Polyak", "standard error"):
    assert said in text
  assert "Warning" not in text


def test_summary_by_hand(two, summary):
  report.write([two], two / "out")
  told = summary(two / "out")
  assert told["examples"] == 1197 and told["baseline"] == "mixup"
  mixup, mixupe = told["groups"]
  error = mixup["polyak"]["error_percent"]
  np.testing.assert_allclose(error["mean"], 12.0)
  np.testing.assert_allclose(error["standard_error"], 2.0 / math.sqrt(3.0))
  assert {k: round(v, 9) for k, v in error["per_seed"].items()} == {
    "0": 10.0,
    "1": 12.0,
    "2": 14.0,
  }
  np.testing.assert_allclose(mixup["live"]["error_percent"]["mean"], 50.0)
  difference = mixupe["polyak"]["error_percent_less_baseline"]
  np.testing.assert_allclose(difference["mean"], -1.0)
  np.testing.assert_allclose(difference["standard_error"], 1.0 / math.sqrt(3.0))
  np.testing.assert_allclose(
    list(difference["per_seed"].values()), [-1.0, 0.0, -2.0], atol=1e-9
  )
  assert mixup["images_per_second"] == {
    "median": 1000.0,
    "per_seed": {"0": 1000.0, "1": 1000.0, "2": 1000.0},
  }
  assert mixupe["folders"][2] == os.path.join("..", "mixupe", "seed_2")


def test_what_is_not_finite_is_null(tmp_path, evaluation, make_run, summary):
  for seed, loss in enumerate((0.5, math.inf)):
    evals = [evaluation(300, 10.0, polyak_loss=loss, loss=math.nan)]
    make_run(tmp_path / f"seed_{seed}", 0.0, evals=evals, seed=seed)
  report.write([tmp_path], tmp_path / "out")
  (one,) = summary(tmp_path / "out")["groups"]
  assert one["polyak"]["negative_log_likelihood_nats"] == {
    "mean": None,
    "standard_error": None,
    "per_seed": {"0": 0.5, "1": None},
  }
  assert one["live"]["negative_log_likelihood_nats"]["mean"] is None
  # What was not measured is null, too.
  assert one["polyak"]["fgsm_error_percent"] is None


def test_live_weights(two, table):
  text = report.write([two], two / "out", weights="live")
  assert table(text)["mixup"]["test error (%)"] == "50.00 ± 0.00"
  assert "last step's weights" in text


def test_single_seed_shows_no_error(tmp_path, make_group, table, summary):
  make_group(tmp_path / "mixup", {4: 10.0})
  make_group(tmp_path / "erm", {4: 10.5}, method="erm")
  rows = table(report.write([tmp_path], tmp_path / "out"))
  assert rows["mixup"]["test error (%)"] == "**10.00**"
  assert rows["erm"]["error − mixup, paired (%)"] == "+0.50"
  error = summary(tmp_path / "out")["groups"][0]["polyak"]["error_percent"]
  assert error["standard_error"] is None


def test_pairs_only_common_seeds(two, make_group, table):
  make_group(two / "erm", {2: 15.0, 3: 11.0}, method="erm")
  make_group(two / "dat", {7: 11.5}, method="dat")
  rows = table(report.write([two], two / "out"))
  # Seed 2 alone: 15 - 14.
  assert rows["erm"]["error − mixup, paired (%)"] == "+1.00 (1 of 2 runs)"
  assert rows["dat"]["error − mixup, paired (%)"] == "—"


def test_baseline_is_plain_mixup_whatever_its_name(tmp_path, make_group, table):
  make_group(tmp_path / "enhanced", {0: 9.0}, eta=1.0)
  make_group(tmp_path / "plain", {0: 10.0})
  rows = table(report.write([tmp_path], tmp_path / "out"))
  assert rows["enhanced"]["error − plain, paired (%)"] == "**−1.00**"


def test_no_baseline_no_column(tmp_path, make_group, summary):
  make_group(tmp_path / "erm", {0: 10.0}, method="erm")
  make_group(tmp_path / "dat", {0: 11.0}, method="dat")
  text = report.write([tmp_path], tmp_path / "out")
  assert "paired" not in text
  assert summary(tmp_path / "out")["baseline"] is None


def test_bold_marks_every_mean_that_reads_as_lowest(
  tmp_path, make_group, table
):
  errors = {"mixup": 10.0, "erm": 9.001, "dat": 9.002, "cutmix": 9.01}
  for method, error in errors.items():
    make_group(tmp_path / method, {0: error}, method=method)
  rows = table(report.write([tmp_path], tmp_path / "out"))
  shown = {name: row["test error (%)"] for name, row in rows.items()}
  assert shown == {
    "cutmix": "9.01",
    "dat": "**9.00**",
    "erm": "**9.00**",
    "mixup": "10.00",
  }


def test_no_bold_among_equals(tmp_path, make_group, table):
  for method in ("mixup", "erm", "dat"):
    make_group(tmp_path / method, {0: 0.0, 1: 0.004}, method=method)
  text = report.write([tmp_path], tmp_path / "out")
  assert "**" not in text and "Bold" not in text
  # Equal but for one: the equals are the best.
  make_group(tmp_path / "cutmix", {0: 1.0}, method="cutmix")
  rows = table(report.write([tmp_path], tmp_path / "out"))
  shown = {name: row["test error (%)"] for name, row in rows.items()}
  assert shown["cutmix"] == "1.00"
  assert {v for k, v in shown.items() if k != "cutmix"} == {"**0.00 ± 0.00**"}


def test_nothing_bold_where_nothing_is_better(tmp_path, make_group, table):
  make_group(tmp_path / "mixup", {0: 10.0})
  assert "**" not in report.write([tmp_path], tmp_path / "out")
  make_group(tmp_path / "erm", {0: 11.0}, method="erm")
  rows = table(report.write([tmp_path], tmp_path / "out"))
  assert rows["erm"]["error − mixup, paired (%)"] == "+1.00"


def test_attack_and_top5_columns_where_measured(
  tmp_path, evaluation, make_run, table
):
  for method, epsilon, hit in (("mixup", 0.1, 0.5), ("erm", 0.03, 0.75)):
    extra = {"polyak_fgsm_accuracy": hit}
    if method == "erm":
      extra["polyak_accuracy_top5"] = 0.98
    make_run(
      tmp_path / method,
      0.0,
      evals=[evaluation(300, 10.0, **extra)],
      method=method,
      fgsm_epsilon=epsilon,
    )
  text = report.write([tmp_path], tmp_path / "out")
  rows = table(text)
  assert list(rows["erm"].values())[5:8] == ["25.00", "—", "2.00"]
  assert list(rows["mixup"].values())[5:8] == ["—", "50.00", "—"]
  assert list(rows["erm"])[5:8] == [
    "FGSM error (%) at ε = 0.03",
    "FGSM error (%) at ε = 0.1",
    "top-5 error (%)",
  ]
  assert "[0, 1] pixel scale" in text


def test_pgd_columns_where_measured(
  tmp_path, evaluation, make_run, table, summary
):
  """A column for each norm, number of steps and size, beside FGSM's."""
  for method, attack, hit in (
    ("mixup", ("linf", 20, 0.1), 0.5),
    ("erm", ("linf", 40, 0.1), 0.25),
    ("dat", ("l2", 20, 1.5), 0.75),
    ("cutmix", ("linf", 20, 0.0), None),
  ):
    extra = {"polyak_fgsm_accuracy": 0.625}
    if hit is not None:
      extra |= {"polyak_pgd_accuracy": hit, "pgd_accuracy": 0.125}
    norm, steps, epsilon = attack
    make_run(
      tmp_path / method,
      0.0,
      evals=[evaluation(300, 10.0, **extra)],
      method=method,
      fgsm_epsilon=0.1,
      pgd_norm=norm,
      pgd_steps=steps,
      pgd_epsilon=epsilon,
    )
  make_run(tmp_path / "before", 10.0, method="erm")  # there was PGD
  text = report.write([tmp_path], tmp_path / "out")
  columns = [
    "FGSM error (%) at ε = 0.1",
    "l2 PGD-20 error (%) at ε = 1.5",
    "PGD-20 error (%) at ε = 0.1",
    "PGD-40 error (%) at ε = 0.1",
  ]
  rows = table(text)
  assert list(rows["mixup"])[5:9] == columns
  cells = {name: [row[c] for c in columns] for name, row in rows.items()}
  assert cells == {
    "mixup": ["37.50", "—", "50.00", "—"],
    "erm": ["37.50", "—", "—", "75.00"],
    "dat": ["37.50", "25.00", "—", "—"],
    "cutmix": ["37.50", "—", "—", "—"],
    "before": ["—", "—", "—", "—"],
  }
  assert "PGD-n takes n steps" in text and "l∞ unless l2 is said" in text
  told = {row["name"]: row for row in summary(tmp_path / "out")["groups"]}
  assert told["dat"]["pgd"] == {"norm": "l2", "steps": 20, "epsilon": 1.5}
  assert told["dat"]["polyak"]["pgd_error_percent"]["mean"] == 25.0
  assert told["dat"]["live"]["pgd_error_percent"]["mean"] == 87.5
  for name in ("cutmix", "before"):
    assert told[name]["pgd"] is None
    assert told[name]["polyak"]["pgd_error_percent"] is None


def test_differing_lengths_are_said(tmp_path, make_group):
  make_group(tmp_path / "mixup", {0: 10.0})
  make_group(tmp_path / "erm", {0: 10.0}, method="erm", total_steps=200)
  text = report.write([tmp_path], tmp_path / "out")
  assert "200 (erm), 300 (mixup) steps" in text


def test_provenances_are_listed_once_each(tmp_path, make_group, summary):
  make_group(tmp_path / "mixup", {0: 2.0, 1: 3.0})
  for seed in (0, 1):
    path = tmp_path / "mixup" / f"seed_{seed}" / "provenance.json"
    path.write_text('{"commit": "abc"}')
  # A run of several starts lists them.
  path.write_text(
    '[{"from_step": 0, "commit": "abc"}, {"from_step": 9, "commit": "def"}]'
  )
  report.write([tmp_path], tmp_path / "out")
  assert summary(tmp_path / "out")["made_with"] == [
    {"commit": "abc"},
    {"commit": "def"},
  ]


def test_runs_of_two_losses_are_one_table(tmp_path, make_group, table, figures):
  make_group(tmp_path / "softmax", {0: 10.0})
  make_group(tmp_path / "logistic", {0: 12.0}, loss="logistic", method="dat")
  rows = table(report.write([tmp_path], tmp_path / "out"))
  assert rows["softmax"]["negative log-likelihood (nats)"] == "0.1000"
  assert rows["softmax"]["logistic loss (nats)"] == "—"
  assert rows["logistic"]["logistic loss (nats)"] == "0.1200"
  assert rows["logistic"]["test error (%)"] == "12.00"
