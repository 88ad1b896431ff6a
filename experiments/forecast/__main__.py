"""Will it fit, and how long will it take, before renting anything.

  python -m experiments.forecast \
    --config=experiments/configs/imagenet_resnet50.py:method=mixupe \
    --topology=v5e:4x8 --compare=method --out=FILE.json

compiles for minutes a row, on a core and in a process of its own; `--jobs=N`
compiles N at a time, which takes up to 12 GB each. The file is written after
each; the same command again, at the same commit, goes on after the rows that
are there.

Needs no TPU and no data, but the TPU compiler: pip install -e '.[tpu]'.
"""

from __future__ import annotations

from importlib import metadata
import re
from typing import Any

from absl import flags, logging
from etils import epath
from ml_collections import config_flags

from experiments import cli, forecast
from experiments.forecast import model, table
from experiments.workdir import provenance, storage

_CONFIG = config_flags.DEFINE_config_file(
  "config",
  "experiments/configs/imagenet_resnet50.py",
  "The experiment, with an optional argument after a colon.",
)
_TOPOLOGY = flags.DEFINE_string(
  "topology", None, "Chip and layout, such as v5e:4x8.", required=True
)
_COMPARE = flags.DEFINE_string(
  "compare", None, f"One of {', '.join(model.COMPARISONS)}: side by side."
)
_NUM_CLASSES = flags.DEFINE_integer(
  "num_classes", None, "Of a data set that is not known without its files."
)
_OUT = flags.DEFINE_string("out", None, "JSON file to write, or to complete.")
_JOBS = flags.DEFINE_integer(
  "jobs", 1, "How many rows to compile at a time.", lower_bound=1
)
_HLO = flags.DEFINE_string(
  "hlo", None, "Folder for the compiled programs' text."
)


def main() -> None:
  """Compiles, prints the table, writes the files asked for."""
  model.stay_on_cpu()

  def report(result, row, text):
    # A row takes minutes: keep at once what is known.
    if _OUT.value:
      _write(storage.path(_OUT.value), result)
    if row["fits"]:
      milliseconds = 1e3 * row["seconds"]["step"]
      logging.info("%s: %.1f ms a step.", row["name"], milliseconds)
    else:
      logging.info("%s does not fit.", row["name"])
    if _HLO.value:
      folder = storage.path(_HLO.value)
      folder.mkdir(parents=True, exist_ok=True)
      stem = re.sub(r"\W+", "_", row["name"])
      (folder / f"{stem}.hlo.txt").write_text(text)

  logging.set_verbosity(logging.INFO)
  known = _known(storage.path(_OUT.value)) if _OUT.value else []
  if known:
    logging.info("%s has %d row(s) of this forecast.", _OUT.value, len(known))
  result = forecast.forecast(
    _CONFIG.value,
    _TOPOLOGY.value,
    compare=_COMPARE.value,
    num_classes=_NUM_CLASSES.value,
    known=known,
    jobs=_JOBS.value,
    report=report,
  )
  print(table.markdown(result))


def _known(out: epath.Path) -> list[dict[str, Any]]:
  """The rows of a file that this command began, at this very commit."""
  if not out.exists():
    return []
  before = storage.read_json(out)
  if not isinstance(before, dict) or not {"made_with", "rows"} <= before.keys():
    raise ValueError(
      f"{out} is damaged: it must have made_with and rows; remove it, or write "
      "to another file."
    )
  made_with = _made_with()
  unchanged = made_with["commit"] and not made_with["commit"].endswith("+")
  return (
    before["rows"] if unchanged and before["made_with"] == made_with else []
  )


def _made_with() -> dict[str, Any]:
  described = provenance.describe("experiments.forecast")
  described["versions"]["libtpu"] = metadata.version("libtpu")
  return described


def _write(out: epath.Path, result: dict[str, Any]) -> None:
  out.parent.mkdir(parents=True, exist_ok=True)
  storage.write_json(out, {"made_with": _made_with()} | result)


if __name__ == "__main__":
  cli.run(main)
