"""Notebooks as pages: their text, code and, where they have been run, outputs.

A page of Markdown like any other, so that links, equations and the search work
as everywhere: tools that make a page of a notebook bring a style sheet, and
most fetch scripts from elsewhere when it opens. Nothing is run here.
"""

import base64
import json
import pathlib
import re

ROOT = pathlib.Path(__file__).parents[2]
# Where `make notebooks` leaves them with their outputs.
RUN = ROOT / "build" / "colabs"
BADGE = re.compile(r"\A\[!\[Open in Colab\]\([^)]*\)\]\(([^)]*)\)")


def page(path, run=RUN):
  """The page of a notebook, and its pictures by their names, bytes."""
  cells = json.loads(path.read_text())["cells"]
  if (run / path.name).exists():
    ran = json.loads((run / path.name).read_text())["cells"]
    # Outputs of another text would belie what stands around them.
    if list(map(source, ran)) == list(map(source, cells)):
      cells = ran
  parts, pictures = [], {}
  for number, cell in enumerate(cells):
    if cell["cell_type"] == "markdown":
      parts.append(BADGE.sub(head(path), source(cell)))
      continue
    parts.append(fenced(source(cell), "python"))
    for output in cell.get("outputs", []):
      data = output.get("data", {})
      if "image/png" in data:
        name = f"{path.stem}_{number}_{len(pictures)}.png"
        pictures[name] = base64.b64decode(data["image/png"])
        parts.append(f"![What the cell above draws]({name})")
      elif output.get("name") == "stdout":
        parts.append(fenced("".join(output["text"]), "text"))
      elif "text/plain" in data:
        parts.append(fenced("".join(data["text/plain"]), "text"))
  return "\n\n".join(parts) + "\n", pictures


def source(cell):
  """A cell's text, which the format lets be a list of lines."""
  return "".join(cell["source"])


def head(path):
  """The badge as two links: its picture would be fetched from elsewhere."""
  own = f"../files/colabs/{path.name}"
  return rf"[The notebook itself]({own}) · [Open in Colab](\1)"


def fenced(text, language):
  """A block of code, which may hold fences of its own."""
  return f"~~~~~ {{.{language}}}\n{text.rstrip()}\n~~~~~"
