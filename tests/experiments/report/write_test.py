"""The report as a whole: the files it writes, the errors it gives."""

import pytest

from experiments import report


def test_writes_five_files_and_names_them(two, figures):
  out = two / "deep" / "out"
  text = report.write([str(two)], str(out))
  names = ["table.md", "report.html", "summary.json"]
  names += ["curves.png", "results.png"]
  assert text.splitlines()[-5:] == [str(out / name) for name in names]
  assert sorted(p.name for p in out.iterdir()) == sorted(names)
  assert text.startswith((out / "table.md").read_text())


def test_no_finished_run(tmp_path, evaluation, make_run):
  make_run(tmp_path / "m", 0.0, evals=[evaluation(100, 1.0)])
  with pytest.raises(ValueError, match="No finished run.*step 100 of 300"):
    report.write([tmp_path], tmp_path / "out")


def test_unknown_weights(two):
  with pytest.raises(ValueError, match="one of live, polyak; got 'ema'"):
    report.write([two], two / "out", weights="ema")
