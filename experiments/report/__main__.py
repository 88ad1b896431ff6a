"""What runs came to: python -m experiments.report DIR [DIR ...] --out=FOLDER.

Finds every run below the folders given and compares them: see
`experiments.report.write`.
"""

from __future__ import annotations

import sys

from absl import app, flags

from experiments import report

_OUT = flags.DEFINE_string(
  "out", None, "Where the table and the plots go; by default the first DIR."
)
_WEIGHTS = flags.DEFINE_enum(
  "weights",
  "polyak",
  ["polyak", "live"],
  "Which weights' evaluation: their Polyak average, or the last step's.",
)


def main(argv: list[str]) -> None:
  """Reports on the folders named on the command line."""
  workdirs = argv[1:]
  if not workdirs:
    raise app.UsageError("Name at least one folder with runs.")
  out = _OUT.value or workdirs[0]
  try:
    print(report.write(workdirs, out, weights=_WEIGHTS.value))
  except (ValueError, OSError) as error:
    sys.exit(f"{type(error).__name__}: {error}")  # the message is enough


if __name__ == "__main__":
  app.run(main)
