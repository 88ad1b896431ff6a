"""What runs came to: a table, every number behind it, figures, and a page."""

from __future__ import annotations

from collections.abc import Sequence
import os
import pathlib

from experiments.report import (
  against,
  figures,
  measures,
  page,
  reliability,
  runs,
  summary,
  table,
)
from experiments.workdir import storage


def write(
  workdirs: Sequence[str | pathlib.Path],
  out: str | pathlib.Path,
  *,
  weights: str = "polyak",
) -> str:
  """Compares the finished runs below some folders.

  A row is the runs that differ in seed only: in the config, and in the end of
  the folder's name (mixup/seed_0, mixup_s0, mixup_0). It is named after that
  folder, in full if two rows' names are the same. In a sweep, runs.json says
  names and order: [{"name": ..., "folder": ..., "seeds": [...]}, ...].

  Writes table.md, summary.json (both weights, every seed; null is what was not
  measured or is not finite), curves.png and results.png; reliability.png, of
  classes, if the runs left what it is drawn of, and against.png, if rows differ
  in alpha or eta alone; and report.html, one file with the table, which a click
  on a column's head sorts, all plots, and what the runs were made with.

  Args:
    workdirs: the runs' folders, or folders above them.
    out: where the files go; made if missing.
    weights: "polyak" or "live": whose evaluation the table and plots show.

  Returns:
    The table in Markdown, what to know about it, and the paths written.

  Raises:
    ValueError: if `weights` is neither, a folder is a URL, no run or no
      finished run is found, two runs of a row have the same seed, or rows were
      not evaluated on the same examples.
  """
  if weights not in measures.PREFIXES:
    raise ValueError(
      f"weights must be one of {', '.join(measures.PREFIXES)}; got {weights!r}."
    )
  for folder in (*workdirs, out):
    if storage.is_remote(folder):
      raise ValueError(copy_first(folder))
  roots = [pathlib.Path(storage.path(workdir)) for workdir in workdirs]
  found = runs.find(roots)
  warnings = runs.left_out(found, roots)
  groups = runs.group([run for run in found if run.is_finished])
  if not groups:
    raise ValueError("No finished run to report. " + " ".join(warnings))
  runs.check_comparable(groups)

  out = pathlib.Path(storage.path(out))
  out.mkdir(parents=True, exist_ok=True)
  text = table.markdown(groups, weights)
  text += "".join(
    f"\n**Warning:** {table.escaped(warning)}\n" for warning in warnings
  )
  (out / "table.md").write_text(text)
  (out / "summary.json").write_text(summary.written(groups, warnings, out))
  figures.draw(groups, weights, out)
  pictures = dict(figures.CAPTIONS)
  for picture in (reliability, against):
    if picture.draw(groups, weights, out):
      pictures[picture.NAME] = picture.CAPTION
  (out / page.NAME).write_text(
    page.written(groups, weights, warnings, pictures, out), encoding="utf-8"
  )
  names = ["table.md", page.NAME, "summary.json", *pictures]
  return text + "\n" + "\n".join(str(out / name) for name in names)


def copy_first(folder: str | os.PathLike[str]) -> str:
  """Says how runs in a bucket, `folder`, are reported on."""
  return (
    "The report reads and writes local folders. Copy the runs first:\n"
    f"  gcloud storage rsync -r -x '.*checkpoints/.*' {os.fspath(folder)} DIR\n"
    "  python -m experiments.report DIR"
  )
