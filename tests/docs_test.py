"""The docs: their code and commands run, their names and links exist."""

import importlib
import json
import os
import pathlib
import re
import shlex
import subprocess
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxmix
from jaxmix import policies, theory

DOCS = pathlib.Path(__file__).parents[1] / "docs"
TEXT = (DOCS / "theory.md").read_text()


def test_the_code_runs():
  (code,) = re.findall(r"```python\n(.*?)```", TEXT, re.DOTALL)
  names = {}
  with (
    jax.numpy_dtype_promotion("standard"),
    jax.numpy_rank_promotion("allow"),
  ):
    exec(code, names)
    given = theory.robustness_assumptions(
      names["logit_fn"], names["x"], names["y"]
    )
  assert given.right and jnp.abs(given.off_centre) < 1e-5


def test_every_function_named_exists_and_every_function_is_named():
  words = set(re.findall(r"`([a-z_]+)(?:\(|`)", TEXT))
  known = {n for n in dir(theory) if not n.startswith("_") and n.islower()}
  functions = {n for n in known if callable(getattr(theory, n))}
  silent = {"derivatives", "gaussian_curvature", "standard_loss"}
  assert functions - silent <= words | {"beta_moment"}
  elsewhere = {"monitor_examples", "monitor_probes", "n"} | {
    w for w in words if w.startswith("theory_")
  }
  for word in words - elsewhere:
    assert hasattr(theory, word) or hasattr(jaxmix, word), word
  assert hasattr(policies, "untied")


@pytest.mark.parametrize("link", re.findall(r"\]\((\.\.?/[^)]+)\)", TEXT))
def test_links_and_captions(link):
  target = (DOCS / link).resolve()
  assert target.exists()
  if target.suffix == ".png":
    result = json.loads(target.with_suffix(".json").read_text())
    assert isinstance(result["seen"], bool) and result["caption"]


VERDICTS = {
  "assumed",
  "false as printed",
  "holds",
  "holds corrected",
  "not checked",
  "not seen",
  "seen",
}
# Numbered in the papers, by the words that their tables begin with.
NUMBERED = {
  "Zhang et al.": "Lemma 3.1, Lemma 3.2, Lemma 3.3, Lemma 3.4, Lemma A.1, "
  "Theorem 3.1, Theorem 3.2, Theorem 3.3, Theorem 3.4, Theorem 3.5, "
  "Theorem A.1, Theorem B.1, Corollary 3.1, Remark 3.1, Remark 3.2, "
  "Assumption 3.1, Assumption B.1, eq. (1), eq. (2), eq. (3), eq. (4), "
  "eq. (5), eq. (6), eq. (7), eq. (8), eq. (9), eq. (10)",
  "The talk": "Lemma, Theorem",
  "MixupE": "Theorem 1, eq. (1), eq. (2), eq. (3), eq. (4), eq. (5), eq. (6)",
  '"MixUp as': "Axiom 1, Axiom 2, Lemma 1, Lemma 2, Lemma 3, Lemma 4, "
  "Lemma 5, Theorem 1, eq. (5), Du",
  "Kimura": "Lemma 1, Lemma 2, Theorem 1, Theorem 2, Theorem 3, Theorem 4, "
  "Definitions 1 and 2, Definitions 3 and 4, Definition 5",
  # By sections and subjects: their numbers were not at hand.
  "Chidambaram et al.": "section 2.1, section 2.3, section 2.4, section 3.1",
  "Chidambaram and Ge": "linear models, robustness",
}


def tables():
  """The papers' tables: for each its rows, as lists of cells."""
  text = TEXT.split("<!-- table begins -->")[1].split("<!-- table ends -->")[0]
  parts = re.split(r"^\*\*(.*)\*\*$", text, flags=re.MULTILINE)[1:]
  found = {}
  for paper, part in zip(parts[::2], parts[1::2], strict=True):
    lines = [line for line in part.splitlines() if line.startswith("|")]
    cells = [[c.strip() for c in x.strip("|").split(" | ")] for x in lines]
    assert cells[0] == "statement,what it says,functions,figures,verdict".split(
      ","
    )
    found[paper] = cells[2:]
  return found


@pytest.mark.parametrize("start", NUMBERED)
def test_the_table_has_every_numbered_statement(start):
  (rows,) = (
    rows for paper, rows in tables().items() if paper.startswith(start)
  )
  statements = [row[0] for row in rows]
  assert len(set(statements)) == len(statements)
  for name in NUMBERED[start].split(", "):
    exact = re.compile(rf"(^|, ){re.escape(name)}($|,)")
    assert any(exact.search(statement) for statement in statements), name
  assert len(tables()) == len(NUMBERED)


def test_the_table_names_functions_and_figures_that_exist():
  drawn = set()
  for row in (row for rows in tables().values() for row in rows):
    assert len(row) == 5, row
    statement, says, functions, figures, verdict = row
    assert statement and says and verdict in VERDICTS, row
    names = re.findall(r"`(\w+)`", functions)
    for name in names:
      assert hasattr(theory, name) or hasattr(jaxmix, name), row
    links = re.findall(r"\[(\w+)\]\((.*?)\)", figures)
    for name, link in links:
      assert link.endswith(f"/{name}.png") and (DOCS / link).exists(), row
      drawn.add(name)
      seen = json.loads((DOCS / link).with_suffix(".json").read_text())["seen"]
      # A figure of a statement that is not seen is no support of it.
      assert verdict not in ("seen", "not seen") or seen == (verdict == "seen")
    assert names or links or verdict == "not checked", row
  every = DOCS.parent / "experiments" / "results" / "figures"
  assert drawn == {path.stem for path in every.glob("*.png")}


def test_a_model_of_ones_own_trains_by_the_command_that_is_shown(tmp_path):
  text = (DOCS / "extending.md").read_text()
  code, *_ = re.findall(r"```python\n(.*?)```", text, re.DOTALL)
  (command,) = re.findall(r"```bash\n(.*?)```", text, re.DOTALL)
  assert len(code.splitlines()) <= 30
  (tmp_path / "my_model.py").write_text(code)
  words = shlex.split(command.replace("DIR", str(tmp_path / "run")))
  small = {
    "total_steps": 4,
    "warmup_steps": 1,
    "log_every": 2,
    "batch_size": 64,
  }
  small |= {"eval_every": 4, "checkpoint_every": 4}
  done = subprocess.run(
    [sys.executable, *words[1:]]
    + [f"--config.{key}={value}" for key, value in small.items()],
    cwd=DOCS.parent,
    env=os.environ | {"PYTHONPATH": str(tmp_path)},
    capture_output=True,
    text=True,
  )
  assert done.returncode == 0, done.stderr[-3000:]
  lines = (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()
  assert json.loads(lines[-1])["step"] == 4


def test_a_key_of_ones_own_is_checked_as_the_page_says(tmp_path):
  text = (DOCS / "extending.md").read_text()
  _, keys, config = re.findall(r"```python\n(.*?)```", text, re.DOTALL)
  (tmp_path / "my_keys.py").write_text(keys)
  (tmp_path / "my_config.py").write_text(config)

  def ended(*words):
    done = subprocess.run(
      [sys.executable, "-m", "experiments.main", f"--workdir={tmp_path}/run"]
      + list(words),
      cwd=DOCS.parent,
      env=os.environ | {"PYTHONPATH": str(tmp_path)},
      capture_output=True,
      text=True,
    )
    assert done.returncode == 1 and not (tmp_path / "run").exists()
    return done.stderr.splitlines()[-1]

  file = f"--config={tmp_path}/my_config.py"
  assert ended(f"{file}:huber_delta=0").endswith(
    re.search(r'ends in\s+"(.*)"', text)[1]
  )
  assert "huber_delta must be a number in (0, 10], got nan." in ended(
    file, "--config.huber_delta=nan"
  )
  assert "reduction='sum' needs learning_rate <= 0.01, got 0.1." in ended(
    f"{file}:huber_delta=2,reduction=sum"
  )


@pytest.mark.parametrize("page", sorted(p.name for p in DOCS.glob("*.md")))
def test_links_lead_somewhere(page):
  for link in re.findall(r"\]\(([^)h#][^)#]*)", (DOCS / page).read_text()):
    assert (DOCS / link).resolve().exists(), link


def test_the_home_pages_loss_is_a_loss():
  code, *_ = re.findall(
    r"```python\n(.*?)```", (DOCS / "index.md").read_text(), re.DOTALL
  )
  names = {"apply": lambda params, x: x @ params}
  exec(code, names)
  batch = jnp.ones((4, 2)), jnp.array([0, 1, 2, 0])
  loss = names["loss_fn"](jnp.zeros((2, 3)), jax.random.key(0), *batch)
  assert float(loss) == pytest.approx(np.log(3.0), rel=1e-6)


def test_the_times_of_the_comparison_are_the_committed_results():
  text = (DOCS / "compare.md").read_text()
  results = DOCS.parent / "experiments" / "results" / "benchmarks"
  kept = lambda name: json.loads((results / name).read_text())["rows"]
  tables = [
    [[c.strip() for c in x.strip("|").split(" | ")] for x in block.splitlines()]
    for block in text.split("## Speed")[1].split("\n\n")
    if block.startswith("| |")
  ]
  mixing, attacks = (table[2:] for table in tables)
  names = {
    "timm": ("timm, elem", "timm, batch"),
    "torchvision": ("torchvision MixUp", "torchvision CutMix"),
    "PyTorch, as people write it": ("PyTorch",),
    "PyTorch, torch.compile": ("PyTorch, compiled",),
    "NumPy, one thread": ("NumPy",),
    "jaxmix, `unroll=True`": ("jaxmix, unrolled",),
  }
  checked = 0
  for rows, name, tasks, key in (
    (
      mixing,
      "mixing.json",
      (
        *("mixup, lam per example", "mixup, lam per batch", "CutMix"),
        "uint8 -> normalise, mixup -> bfloat16",
      ),
      "median_ms",
    ),
    (attacks, "attacks.json", ("FGSM", "PGD"), "us_per_example"),
  ):
    for title, *cells in rows:
      for task, cell in zip(tasks, cells, strict=True):
        found = [
          row[key]
          for row in kept(name)
          if row["task"] == task
          and row["name"] in names.get(title, (title,))
          and row[key]
        ]
        told = [] if cell == "–" else [cell.replace(",", "")]
        assert [f"{x:.1f}" for x in found[:1]] == told, (title, task)
        checked += len(told)
  assert checked == 32


PAGES = ("train", "pod", "explore", "slow", "reproduction")


def configs_named():
  """Every config file with its argument that a page's command names."""
  text = "".join((DOCS / f"{page}.md").read_text() for page in PAGES)
  return sorted(set(re.findall(r"--config=(\S+)\.py(?::(\S+))?", text)))


@pytest.mark.parametrize("file, argument", configs_named())
def test_the_configs_that_commands_name_are_there(file, argument):
  module = importlib.import_module(file.replace("/", "."))
  assert len(module.get_config(argument or None)) > 5


def test_the_modules_that_commands_run_are_there():
  text = "".join((DOCS / f"{page}.md").read_text() for page in PAGES)
  modules = set(re.findall(r"python\s-m\s([\w.]+)", text))
  assert {"experiments.main", "benchmarks.input"} <= modules
  for module in modules:
    path = DOCS.parent / module.replace(".", "/")
    assert path.with_suffix(".py").exists() or (path / "__main__.py").exists()


PROMISES = (DOCS / "guarantees.md").read_text()


@pytest.mark.parametrize(
  "line", [x for x in PROMISES.splitlines() if x.startswith("| ")]
)
def test_every_promise_has_a_test_that_exists(line):
  promise, tests = (part.strip() for part in line.strip("| ").split(" | "))
  if promise == "promise":
    return
  assert promise.endswith(".")
  names = re.findall(r"`(tests/[\w/]+\.py)::(\w+)`", tests)
  assert names, line
  for path, name in names:
    code = (DOCS.parent / path).read_text()
    assert re.search(rf"^def {name}\(", code, re.MULTILINE), (path, name)


STUDIES = "league graphs tabular ablation untied gap cifar speech".split()


def test_every_number_of_choosing_is_in_a_table():
  text = (DOCS / "choosing.md").read_text()
  root = DOCS.parent
  tables = "".join(
    (root / name).read_text()
    for name in (
      "experiments/results/digits/table.md",
      *(f"experiments/results/{name}/{name}.md" for name in STUDIES),
      "docs/performance.md",
      "docs/train.md",
    )
  )
  # Settings, such as a learning rate of 0.003, are not results.
  numbers = set(re.findall(r"[+−]?\d+\.\d{2}(?!\d)", text)) - {"0.05", "0.01"}
  known = set(re.findall(r"[+−]?\d+\.\d{2}(?!\d)", tables))
  known |= {x.lstrip("+−") for x in known}
  assert len(numbers) > 30 and not numbers - known


REPRODUCTION = (DOCS / "reproduction.md").read_text()
OUTCOMES = "holds", "does not hold", "undecided at this size", "not run"
# The papers' tables and figures, by the words that their sections begin with.
REPORTED = {
  "MixupE": "Figure 1, Figure 2, Table 1a, Table 1b, Table 2a, Table 2b, "
  "Table 3, Table 4, Table 5, Table 6, Table 7",
  "Untied MixUp": "Figure 1, Figure 2, Table 1, Table 2, Table 3, Table 4",
  "Zhang et al.": "Figure 1a, Figure 1b, Figure 2, Figure 3a, Figure 3b, "
  "Figures 3c and 3d, Figure 4, Figure 5, Figure 6, Figure 7, Figure 8",
  "The talk": 'Slide "Mixup improves generalization", '
  'Slide "adversarial robustness", Slide "Validity of the approximation", '
  'Slide "Back-up"',
  "Kimura": "Figure 1, Figure 2, Figure 3, Figure 4, Table 1",
}
DECIMAL = re.compile(r"[+-]?\d+\.\d+")
MODULE = re.compile(r"\.\./((?:experiments|benchmarks)/[\w/]+\.py)")
INTERVAL = re.compile(r"[+-]?[\d.]+ (?:± [\d.]+\d|\([+-][\d.]+ to [^)]*\))")
RESULT = re.compile(r"\]\((\.\./experiments/results/[\w/.]+)\)")


def reproduced():
  """Section -> its rows as lists of cells, and its commands."""
  found = {}
  for part in REPRODUCTION.split("\n## ")[1:]:
    lines = [line for line in part.splitlines() if line.startswith("| ")]
    cells = [[c.strip() for c in x.strip("|").split(" | ")] for x in lines]
    (commands,) = re.findall(r"```bash\n(.*?)```", part, re.DOTALL)
    found[part.splitlines()[0]] = cells[1:], commands
  return found


@pytest.mark.parametrize("start", REPORTED)
def test_every_table_and_figure_of_a_paper_has_its_row(start):
  assert len(reproduced()) == len(REPORTED)
  (rows,) = (
    rows for name, (rows, _) in reproduced().items() if name.startswith(start)
  )
  items = [row[0] for row in rows]
  assert len(set(items)) == len(items)
  for name in REPORTED[start].split(", "):
    assert any(x == name or x.startswith(f"{name}, ") for x in items), name


def test_a_row_of_reproduction_says_what_was_run_and_what_came_of_it():
  verdicts = []
  for rows, commands in reproduced().values():
    module = None
    for row in rows:
      assert len(row) == 7 and all(row), row
      ours, measured, verdict = row[3], row[5], row[6]
      verdicts.append(verdict)
      paths = MODULE.findall(ours)
      module = paths or (module if "likewise" in ours else None)
      assert module, row
      for path in paths:
        assert (DOCS.parent / path).exists(), row
        assert re.search(rf"\b{pathlib.Path(path).stem}\b", commands), row
      assert (verdict == "not run") == (measured == "—"), row
      assert verdict == "not run" or RESULT.search(measured), row
      for path in RESULT.findall(measured):
        # What a figure has not seen is no support.
        seen = json.loads((DOCS / path).read_text()) if "json" in path else {}
        assert seen.get("seen", True) or verdict == "does not hold", row
  assert set(verdicts) == set(OUTCOMES)
  counts = [str(verdicts.count(verdict)) for verdict in OUTCOMES]
  (tally,) = re.findall(r"^Of \d+ rows .*\.$", REPRODUCTION, re.MULTILINE)
  assert re.findall(r"\d+", tally) == [str(len(verdicts)), *counts]


def decimals(path):
  """The numbers of a result, a figure's being those of its caption."""
  text = (DOCS / path).read_text()
  if path.endswith(".json"):
    text = json.loads(text).get("caption") or re.sub(
      r"\d+\.\d+", lambda number: f"{float(number[0]):.2f}", text
    )
  found = set(DECIMAL.findall(text.replace("−", "-")))
  return found | {x.lstrip("+-") for x in found}


def test_every_number_of_reproduction_is_in_the_result_it_names():
  rows = [row for rows, _ in reproduced().values() for row in rows]
  prose = re.sub(r"(?m)^\|.*", "", re.sub(r"```[^`]*```", "", REPRODUCTION))
  checked = 0
  for told in [row[5] for row in rows] + prose.split("\n\n"):
    paths = RESULT.findall(told)
    known = set().union(*map(decimals, paths))
    told = re.sub(r"\(\.\./.*?\)", "", told).replace("−", "-")
    numbers = set(DECIMAL.findall(told))
    if paths or re.search(r"\d\.\d\d", told):
      assert numbers <= known, (told, numbers - known)
      # With its interval a number stands there as a whole.
      text = "".join((DOCS / path).read_text() for path in paths)
      for phrase in INTERVAL.findall(told):
        assert phrase in text.replace("−", "-"), phrase
      checked += len(numbers)
  assert checked > 60


def test_reproductions_counts_of_table_4_are_the_tables():
  lines = (
    (DOCS.parent / "experiments/results/tabular/tabular.md")
    .read_text()
    .split("\n\n")[1]
    .splitlines()[2:]
  )
  means = [
    [float(x.split()[0]) for x in re.split(r" \| ", line)[1:4]]
    for line in lines
  ]
  below = [sum(m[2] < m[k] for m in means) for k in (1, 0)]
  cells = [row[5] for rows, _ in reproduced().values() for row in rows]
  told = [re.search(r"mean is lower on (\d+)", cell) for cell in cells]
  assert [int(match[1]) for match in told if match] == below
