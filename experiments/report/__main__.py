"""What runs came to: python -m experiments.report DIR [DIR ...] --out=FOLDER.

Finds every run below the folders given and compares them: see
`experiments.report.write`.
"""

from __future__ import annotations

from absl import flags

from experiments import cli, report
from experiments.workdir import storage

_OUT = flags.DEFINE_string(
  "out", None, "Where the table and the plots go; by default the first DIR."
)
_WEIGHTS = flags.DEFINE_enum(
  "weights",
  "polyak",
  ["polyak", "live"],
  "Which weights' evaluation: their Polyak average, or the last step's.",
)


def main(workdirs: list[str]) -> None:
  """Reports on the folders named on the command line."""
  folders = [storage.path(workdir) for workdir in workdirs]
  out = storage.path(_OUT.value) if _OUT.value else folders[0]
  print(report.write(folders, out, weights=_WEIGHTS.value))


if __name__ == "__main__":
  cli.run(main, arguments="at least one folder with runs")
