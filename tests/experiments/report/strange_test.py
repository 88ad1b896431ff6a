"""What a report makes of names and files that nobody expects."""

import html
import json
import re

import pytest

from experiments import report

NAMES = [
  r"$\frac{x$",
  "a\nb",
  "<script>alert(1)</script>",
  "a|b",
  "`rm`",
  "- item",
  "_private_",
  "**bold**",
  "[a](javascript:b)",
  "$",
  "&lt;",
  "\x1b[31mred",
]


@pytest.mark.parametrize("name", NAMES)
def test_a_runs_name_is_shown_and_never_acted_on(
  tmp_path, make_run, table, name
):
  """As a sweep names it, and as the baseline of a column."""
  make_run(tmp_path / "one" / "seed_0", 10.0)
  make_run(tmp_path / "two" / "seed_0", 11.0, method="erm")
  index = [
    {"name": name, "folder": "one", "seeds": [0]},
    {"name": "erm", "folder": "two", "seeds": [0, 1]},
  ]
  (tmp_path / "runs.json").write_text(json.dumps(index))
  text = report.write([tmp_path], tmp_path / "out")
  lines = (tmp_path / "out" / "table.md").read_text().splitlines()
  bars = [len(re.findall(r"(?<!\\)\|", line)) for line in lines[:4]]
  assert bars[0] > 4 and len(set(bars)) == 1
  assert lines[4] == "" and lines[5].startswith("On 1,197 test examples")
  assert "\x1b" not in text and "<script" not in text
  # As GitHub shows it, markdown-it and CommonMark: the name itself.
  shown = re.sub(r"\\([\\`*|$\[\]~_])", r"\1", lines[2].split(" | ")[0][2:])
  assert html.unescape(shown).strip() == re.sub(r"[\n\x1b]", " ", name).strip()
  assert "not started" in text
  summary = json.loads((tmp_path / "out" / "summary.json").read_text())
  assert summary["groups"][0]["name"] == re.sub(r"[\n\x1b]", " ", name)
  page = (tmp_path / "out" / "report.html").read_text()
  heads = re.findall(r'<th scope="(?:row|col)">([^<>]*)</th>', page)
  # The first row's; a column's head has it too, and the only script is ours.
  assert html.unescape(heads[-2]) == re.sub(r"[\n\x1b]", " ", name)
  assert page.count("<script") == 1 and "\x1b" not in page


def test_figures_draw_any_name(tmp_path, make_run, figures):
  """Warnings are errors here: a label with a leading _ would be left out."""
  index = []
  for i, name in enumerate(NAMES):
    make_run(tmp_path / f"r{i}" / "seed_0", 10.0 + i, momentum=i / 100)
    index.append({"name": name, "folder": f"r{i}", "seeds": [0]})
  (tmp_path / "runs.json").write_text(json.dumps(index))
  report.write([tmp_path], tmp_path / "out")
  for name in ("curves.png", "results.png"):
    assert (tmp_path / "out" / name).stat().st_size > 10_000


def test_folders_names_are_no_markup_either(tmp_path, make_run):
  for name, method in (("$x$ <b>", "mixup"), ("a|b\nc", "erm")):
    make_run(tmp_path / name, 10.0, method=method)
  make_run(tmp_path / "<i>", 10.0, evals=[])
  text = report.write([tmp_path], tmp_path / "out")
  assert r"\$x\$ &lt;b&gt;" in text and r"a\|b c" in text
  assert "&lt;i&gt; is unfinished" in text and "<" not in text


@pytest.mark.parametrize(
  "broken",
  ["[]", "[1]", '{"seed": "0"}', '{"total_steps": null}', '{"dataset": 5}']
  + ['{"model": ["a"]}', '{"seed": true}', "nothing", '{"eta": "x"}'],
)
def test_a_damaged_config_is_named(tmp_path, make_run, broken):
  folder = make_run(tmp_path / "run", 10.0)
  (folder / "config.json").write_text(broken)
  with pytest.raises(ValueError, match=f"^{folder / 'config.json'}"):
    report.write([tmp_path], tmp_path / "out")


@pytest.mark.parametrize("broken", ["{}", "[1]", '[{"name": "a"}]', "5", "x"])
def test_a_damaged_index_of_a_sweep_is_named(tmp_path, make_run, broken):
  make_run(tmp_path / "run" / "seed_0", 10.0)
  (tmp_path / "runs.json").write_text(broken)
  if broken == "{}":  # of no runs
    report.write([tmp_path], tmp_path / "out")
    return
  with pytest.raises(ValueError, match=f"^{tmp_path / 'runs.json'} is damaged"):
    report.write([tmp_path], tmp_path / "out")


@pytest.mark.parametrize("extra", [{"polyak_loss": "x"}, {"polyak_loss": None}])
def test_a_damaged_evaluation_is_named(tmp_path, make_run, evaluation, extra):
  make_run(tmp_path / "run", 0.0, evals=[evaluation(300, 10.0, **extra)])
  with pytest.raises(ValueError, match="metrics.jsonl is damaged: .* step 300"):
    report.write([tmp_path], tmp_path / "out")


def test_an_older_config_counts_as_what_the_defaults_did(
  tmp_path, make_run, table
):
  """Two seeds of one setting, of which one says a key that came later."""
  make_run(tmp_path / "a" / "seed_0", 10.0)
  make_run(tmp_path / "a" / "seed_1", 12.0, seed=1, grad_clip=0.0)
  rows = table(report.write([tmp_path], tmp_path / "out"))
  assert rows["a"]["runs"] == "2"


def test_a_tilde_is_a_home(tmp_path, monkeypatch, make_run):
  monkeypatch.setenv("HOME", str(tmp_path))
  make_run(tmp_path / "run", 10.0)
  assert "table.md" in report.write(["~/run"], "~/out")
  assert (tmp_path / "out" / "table.md").exists()
