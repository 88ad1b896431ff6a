"""A forecast as text."""

from __future__ import annotations

from typing import Any

_GB = 1e9


def markdown(result: dict[str, Any]) -> str:
  """Returns the table of `model.forecast`'s result, its notes and advice.

  Bytes are decimal; "x" is the step's time over the first row's.
  """
  rows = result["rows"]
  names = ["", *(row["name"] for row in rows)]
  lines = [names, ["-", *("-:" for _ in rows)]]
  first = rows[0].get("seconds", {}).get("step")

  def line(title, cell):
    lines.append([title, *(cell(row) for row in rows)])

  def gigabytes(key):
    return lambda row: f"{row[key] / _GB:.2f}" if key in row else "-"

  def compiled(show):
    return lambda row: show(row) if row["fits"] else "-"

  line("fits", lambda row: "yes" if row["fits"] else "NO")
  line("arguments, GB", gigabytes("argument_bytes"))
  line("donated of these, GB", gigabytes("donated_bytes"))
  line("temporary, GB", gigabytes("temporary_bytes"))
  line(
    "peak, GB (of the chip's)",
    lambda row: (
      f"{row['peak_bytes'] / _GB:.2f} "
      f"({100 * row['peak_bytes'] / row['hbm_bytes']:.0f}%)"
    ),
  )
  line("TFLOP", compiled(lambda row: f"{row['flops'] / 1e12:.2f}"))
  line("memory traffic, GB", gigabytes("memory_traffic_bytes"))
  kinds = sorted({kind for row in rows for kind in row.get("collectives", {})})
  for kind in kinds:
    line(kind, compiled(lambda row, kind=kind: _collective(row, kind)))
  for resource in ("compute", "memory", "interconnect"):
    line(
      f"{resource}, ms",
      compiled(
        lambda row, resource=resource: f"{1e3 * row['seconds'][resource]:.2f}"
      ),
    )
  line("bound by", compiled(lambda row: row["bound"]))
  line(
    "step, ms at best",
    compiled(lambda row: f"{1e3 * row['seconds']['step']:.1f}"),
  )
  if first and len(rows) > 1:
    line("x", compiled(lambda row: f"{row['seconds']['step'] / first:.2f}"))
  line(
    "images/s at best", compiled(lambda row: f"{row['images_per_second']:,.0f}")
  )
  line("hours at best", compiled(lambda row: f"{row['hours']:.1f}"))

  widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
  lines[1] = ["-" * widths[0], *("-" * (w - 1) + ":" for w in widths[1:])]
  text = [
    f"{result['model']}, batch {result['batch_size']}, {result['topology']} "
    f"({result['chips']} chips, {rows[0]['replicas']} replicas, "
    f"{result['parallel']}); per chip and step; hours for "
    f"{result['total_steps']:,} steps.",
    "",
  ]
  for cells in lines:
    padded = [
      cells[0].ljust(widths[0]),
      *(c.rjust(w) for c, w in zip(cells[1:], widths[1:], strict=True)),
    ]
    text.append(f"| {' | '.join(padded)} |")
  text += ["", result["note"]]
  for row in rows:
    if not row["fits"]:
      tips = "".join(f"\n  - {tip}" for tip in row["advice"])
      text += ["", f"{row['name']} does not fit. Any of:{tips}"]
  return "\n".join(text)


def _collective(row: dict[str, Any], kind: str) -> str:
  if kind not in row["collectives"]:
    return "-"
  each = row["collectives"][kind]
  return f"{each['count']} ({each['bytes'] / 1e6:.2f} MB)"
