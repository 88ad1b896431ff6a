"""report.html: the table, to be sorted, and the plots, in one file.

It holds all that it shows and asks nobody for anything, so that it can be sent
to someone, or opened where a cluster's network ends.
"""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
import hashlib
import html
import math
import pathlib
import string
from typing import Any

from experiments.report import figures, summary, table
from experiments.report.runs import Group, in_a_line

NAME = "report.html"
_HERE = pathlib.Path(__file__).parent


def written(
  groups: Sequence[Group],
  weights: str,
  warnings: Sequence[str],
  pictures: Mapping[str, str],
  out: pathlib.Path,
) -> str:
  """Returns the page.

  Args:
    groups: the table's rows.
    weights: "polyak" or "live".
    warnings: what to know beside the notes.
    pictures: file's name -> caption, in order.
    out: the folder of those files.
  """
  told = table.compare(groups, weights, in_a_line)
  parts = [
    _table(told),
    f"<p>{_text(' '.join(told.notes))}</p>",
    *(
      f'<p class="warning"><strong>Warning:</strong> {_text(warning)}</p>'
      for warning in warnings
    ),
    *(_figure(out / name, caption) for name, caption in pictures.items()),
    *_made_with(summary.made_with(groups)),
  ]
  own = {
    kind: (_HERE / f"page.{end}").read_text("utf-8")
    for kind, end in (("style", "css"), ("script", "js"))
  }
  # Should anything slip past the escaping, browsers neither run nor load it.
  policy = ["default-src 'none'", "img-src data:", "base-uri 'none'"]
  policy += [f"{kind}-src '{_digest(text)}'" for kind, text in own.items()]
  template = string.Template((_HERE / "page.html").read_text("utf-8"))
  return template.substitute(
    own,
    policy="; ".join(policy),
    title=_text(figures.title(groups)),
    body="\n".join(parts),
  )


def _text(text: Any) -> str:
  """Anything, as a text that is no markup, within an attribute's quotes too."""
  return html.escape(in_a_line(str(text)))


def _digest(text: str) -> str:
  digest = hashlib.sha256(text.encode()).digest()
  return f"sha256-{base64.b64encode(digest).decode()}"


def _table(told: table.Table) -> str:
  heads, columns = zip(*told.columns, strict=True)
  lines = ["<table>", "<thead><tr>"]
  lines += [f'<th scope="col">{_text(head)}</th>' for head in heads]
  lines += ["</tr></thead>", "<tbody>"]
  for name, *cells in zip(*columns, strict=True):
    lines.append(f'<tr><th scope="row">{_text(name.text)}</th>')
    lines += [*map(_cell, cells), "</tr>"]
  lines += ["</tbody>", "</table>"]
  return _wide("\n".join(lines), "The table")


def _cell(cell: table.Cell) -> str:
  """A number, and in data-value what it is sorted by, in full."""
  text = _text(cell.text)
  text = f"<strong>{text}</strong>" if cell.best else text
  value = ""
  if cell.value is not None and not math.isnan(cell.value):
    # JavaScript's word for what Python prints as inf.
    told = repr(float(cell.value)).replace("inf", "Infinity")
    value = f' data-value="{told}"'
  return f"<td{value}>{text}{_text(cell.note)}</td>"


def _figure(path: pathlib.Path, caption: str) -> str:
  data = base64.b64encode(path.read_bytes()).decode()
  image = f'<img alt="{_text(path.stem)}" src="data:image/png;base64,{data}">'
  return (
    f"<figure>{_wide(image, path.stem)}\n"
    f"<figcaption>{_text(caption)}</figcaption></figure>"
  )


def _wide(inner: str, label: str) -> str:
  """What scrolls sideways where it has no room, with the keyboard too."""
  return (
    f'<div class="wide" role="region" aria-label="{_text(label)}" '
    f'tabindex="0">{inner}</div>'
  )


def _made_with(provenances: Sequence[Mapping[str, Any]]) -> list[str]:
  """Commands, commits and versions, folded away, if any are known."""
  if not provenances:
    return []
  lines = ["<details><summary>Made with</summary>"]
  for made in provenances:
    lines.append("<dl>")
    for name, told in made.items():
      if isinstance(told, Mapping):
        told = ", ".join(f"{package} {each}" for package, each in told.items())
      text = _text(told)
      text = f"<code>{text}</code>" if name == "command" else text
      lines.append(f"<dt>{_text(name)}</dt><dd>{text}</dd>")
    lines.append("</dl>")
  return [*lines, "</details>"]
