"""The flags of every study."""

from __future__ import annotations

from absl import flags

DATA_DIR = flags.DEFINE_string(
  "data_dir", None, "The folder of the data sets' files.", required=True
)
WORKDIR = flags.DEFINE_string(
  "workdir", None, "The folder of the sweeps.", required=True
)
OUT = flags.DEFINE_string(
  "out", None, "Folder for the table, its numbers and picture.", required=True
)
SETS = flags.DEFINE_list("sets", [], "The data sets; none: all.")
SMOKE = flags.DEFINE_bool(
  "smoke", False, "Seconds instead of minutes: shows only that it runs."
)
