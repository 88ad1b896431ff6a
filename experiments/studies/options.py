"""The flags of every study."""

from __future__ import annotations

from typing import NamedTuple

from absl import flags


class Options(NamedTuple):
  """What the command line said.

  Attributes:
    data_dir: the folder of the data sets' files.
    workdir: the folder of the sweeps.
    out: the folder for the table, its numbers and picture.
    sets: the data sets; none: all.
    smoke: whether to show only that it runs.
  """

  data_dir: flags.FlagHolder
  workdir: flags.FlagHolder
  out: flags.FlagHolder
  sets: flags.FlagHolder
  smoke: flags.FlagHolder


def define() -> Options:
  """Defines the flags, when a study is run: a process may do so once."""
  return Options(
    flags.DEFINE_string(
      "data_dir", None, "The folder of the data sets' files.", required=True
    ),
    flags.DEFINE_string(
      "workdir", None, "The folder of the sweeps.", required=True
    ),
    flags.DEFINE_string(
      "out",
      None,
      "Folder for the table, its numbers and picture.",
      required=True,
    ),
    flags.DEFINE_list("sets", [], "The data sets; none: all."),
    flags.DEFINE_bool(
      "smoke", False, "Seconds instead of minutes: shows only that it runs."
    ),
  )
