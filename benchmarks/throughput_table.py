"""Rows of `benchmarks.throughput` compared with each other, and their table."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from benchmarks import peaks, timing

_HEADER = (
  "step",
  "batch",
  "images/s",
  "first / second round",
  "spread, %",
  "time / Mixup's",
  "operations / Mixup's",
  "images/s / PyTorch's",
  "% of bf16 peak",
  "peak GB",
  "compiler's GB",
  "compile, s",
  "note",
)


def compare(rows: Sequence[dict[str, Any]]) -> None:
  """Fills in every row's ratios, in place.

  time_ratio and flop_ratio: of jaxmix's rows, to the row that differs from
  them only in being Mixup's. torch_ratio: images a second over those of the
  faster of PyTorch's Mixups. peak_share: operations a second and device over
  the device's bfloat16 peak; PyTorch's steps count as jaxmix's Mixup. What
  there is nothing to compare with is None.
  """
  done = [row for row in rows if not row.get("error")]
  for row in done:
    mates = [other for other in done if _task(other) == _task(row)]
    theirs = [r["images_per_s"] for r in mates if not r["flops"]]
    plain = [r for r in mates if r["spec"]["method"] == "mixup"]
    changed = row["spec"] | {"method": "mixup"}
    own = [r for r in plain if r["spec"] == changed and row["flops"]]
    mixup = own[0] if own else None
    flops = row["flops"] or (plain[0]["flops"] if plain else None)
    peak = peaks.of(row["device"])
    row |= {
      "time_ratio": mixup and mixup["images_per_s"] / row["images_per_s"],
      "flop_ratio": mixup and row["flops"] / mixup["flops"],
      "torch_ratio": row["images_per_s"] / max(theirs) if theirs else None,
      "peak_share": flops and peak and 1e3 * flops / row["step_ms"] / peak,
    }


def _task(row):
  """What rows that can be compared at all have in common."""
  spec = row["spec"]
  return (
    *(spec[key] for key in ("model", "batch", "size")),
    *(row[key] for key in ("device", "device_count", "dtype")),
  )


def table(rows: Sequence[dict[str, Any]]) -> str:
  """The rows as Markdown; "-" where there is no figure."""
  lines = []
  for row in rows:
    flags = row["spec"]["xla_flags"]
    cells = [row["title"], str(row["spec"]["batch"])]
    if row.get("error"):
      cells += ["-"] * (len(_HEADER) - 3) + [row["error"].replace("|", "/")]
    else:
      cells += [*_figures(row), flags or " "]
    lines.append(cells)
  return timing.table(_HEADER, lines) if lines else "No rows."


def _figures(row):
  rounds = [f"{figure:.1f}" for figure in row["rounds_images_per_s"]]
  compiling = (row["trace_s"] or 0.0) + (row["compile_s"] or 0.0)
  yield f"{row['images_per_s']:.1f}"
  yield " / ".join(rounds)
  yield f"{100 * row['spread']:.1f}"
  yield _cell(row["time_ratio"], ".2f")
  yield _cell(row["flop_ratio"], ".2f")
  yield _cell(row["torch_ratio"], ".2f")
  yield _cell(row["peak_share"], ".1f", 100)
  yield _cell(row["peak_bytes"], ".2f", 1e-9)
  yield _cell(row["program_bytes"], ".2f", 1e-9)
  yield _cell(compiling or None, ".1f")


def _cell(value, form, unit=1.0):
  return "-" if value is None else format(value * unit, form)
