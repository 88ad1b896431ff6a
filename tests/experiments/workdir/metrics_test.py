"""metrics.jsonl, damaged: named with its line, and nothing rewritten."""

import logging
import re
import shutil

import pytest

from experiments import train
from experiments.workdir import metrics
from tests.experiments import short

LINES = [f'{{"step": {k}, "split": "eval", "loss": 0.5}}\n' for k in (5, 10)]


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
  workdir = tmp_path_factory.mktemp("run") / "w"
  train.train_and_evaluate(short.config(), workdir)
  return workdir


@pytest.fixture(scope="module")
def half(finished, tmp_path_factory):
  """Killed after the checkpoint of step 5."""
  workdir = tmp_path_factory.mktemp("half") / "w"
  shutil.copytree(finished, workdir)
  shutil.rmtree(workdir / "checkpoints" / "10")
  return workdir


def copy(workdir, tmp_path):
  shutil.copytree(workdir, tmp_path / "w")
  return tmp_path / "w" / "metrics.jsonl"


@pytest.mark.parametrize(
  ("text", "number", "why"),
  [
    (LINES[0][:20] + "\n" + LINES[1], 1, ""),
    (LINES[0] + LINES[1][:20] + "\n" + LINES[0], 2, ""),
    (LINES[0] + "\n" + LINES[1], 2, ""),
    (LINES[0] + "5\n" + LINES[1], 2, "a int and no object"),
    (LINES[0] + "[5]\n", 2, "a list and no object"),
    (LINES[0] + "5", 2, "a int and no object"),
    (LINES[0] + "null", 2, "a NoneType and no object"),
    ('{"split": "eval"}\n', 1, "step must be an integer, got None"),
    (LINES[0] + '{"split": "eval"}', 2, "step must be an integer, got None"),
    ('{"step": "5", "split": "eval"}\n', 1, "must be an integer, got '5'"),
    (
      '{"step": 5, "split": 1}\n',
      1,
      "split must be one of train, eval, test; got 1",
    ),
    (LINES[0] + '{"step": 5, "spl\n', 2, ""),  # whole lines end so
    (LINES[0] + LINES[1].replace("eval", "\xe9val"), 2, "utf-8"),
    (LINES[0] + "[" * 100_000 + "\n", 2, ""),
  ],
)
def test_a_damaged_line_is_named_and_nothing_rewritten(
  tmp_path, text, number, why
):
  path = tmp_path / "metrics.jsonl"
  path.write_bytes(text.encode("latin-1"))
  said = rf"metrics\.jsonl, line {number} is damaged \(.*{re.escape(why)}"
  for act in (metrics.read, lambda _: metrics.MetricsWriter(tmp_path, 5)):
    with pytest.raises(ValueError, match=said):
      act(path)
  assert path.read_bytes() == text.encode("latin-1")
  assert [p.name for p in tmp_path.iterdir()] == ["metrics.jsonl"]


@pytest.mark.parametrize("cut", [1, 20, len(LINES[1]) - 2])
def test_the_last_line_may_be_cut(tmp_path, cut):
  path = tmp_path / "metrics.jsonl"
  path.write_text(LINES[0] + LINES[1][:cut])
  assert [row["step"] for row in metrics.read(path)] == [5]
  path.write_text(LINES[0] + LINES[1][:-1])  # all but its line break
  assert [row["step"] for row in metrics.read(path)] == [5, 10]


@pytest.mark.parametrize("of", ["finished", "half"])
@pytest.mark.parametrize("kind", ["emptied", "middle", "cut"])
def test_lines_that_are_missing_end_a_run_before_it_writes(
  request, tmp_path, of, kind
):
  path = copy(request.getfixturevalue(of), tmp_path)
  lines = path.read_text().splitlines(keepends=True)
  evals = [i for i, line in enumerate(lines) if '"eval"' in line]
  assert len(evals) == 2
  at = evals[1 if of == "finished" else 0]
  left = {
    "emptied": "",
    "middle": "".join(lines[: evals[0]] + lines[evals[0] + 1 :]),
    "cut": "".join(lines[:at]) + lines[at][:30],
  }[kind]
  path.write_text(left)
  step = 10 if of == "finished" and kind == "cut" else 5
  with pytest.raises(
    ValueError, match=rf"metrics\.jsonl lacks the evaluation of step {step}"
  ):
    train.train_and_evaluate(short.config(), path.parent)
  assert path.read_text() == left


def test_a_run_whose_file_was_taken_away_goes_on_and_says_so(
  half, tmp_path, caplog
):
  path = copy(half, tmp_path)
  path.unlink()
  with caplog.at_level(logging.WARNING):
    result = train.train_and_evaluate(short.config(), path.parent)
  assert "metrics.jsonl is not there" in caplog.text
  assert metrics.evaluations(path.parent) == [result]
  assert result == metrics.evaluations(half)[-1]
  path.unlink()  # finished: nothing is left to measure
  with pytest.raises(ValueError, match="lacks the evaluation of step 5"):
    train.train_and_evaluate(short.config(), path.parent)
