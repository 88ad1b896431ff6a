"""The command: flags in, a data set out."""

from __future__ import annotations

from absl import flags, logging

from experiments import cli
from experiments.inputs.prepare import write


def _define_flags():
  flags.DEFINE_string("folder", None, "Folder of training JPEGs.")
  flags.DEFINE_string("out", None, "The data_dir to write to.")
  flags.DEFINE_string(
    "pattern",
    "",
    "Regular expression for a whole file name, with a group (?P<label>...);"
    " without it labels are folder names.",
  )
  flags.DEFINE_string(
    "classes", "", 'Text file of lines "name ..." or "index name ...".'
  )
  flags.DEFINE_string("name", "imagenet2012", "Name of the data set.")
  flags.DEFINE_enum(
    "eval_split",
    "fraction",
    ["fraction", "same"],
    "Validate on a share of the images, or on the training images.",
  )
  flags.DEFINE_float("eval_fraction", 0.1, "Share of images to validate on.")
  flags.DEFINE_string("eval_folder", "", "Folder of validation JPEGs.")
  flags.DEFINE_integer("shards", 0, "Files for each split; 0: by size.")
  flags.DEFINE_bool("verify", True, "Decode each image once to check it.")
  flags.DEFINE_bool("overwrite", False, "Replace an existing data set.")
  flags.DEFINE_integer(
    "shorter_side", 0, "Make training images at most so large, pixels; 0: no."
  )
  flags.DEFINE_integer("jpeg_quality", 90, "Of images made smaller, 1 .. 100.")
  flags.mark_flags_as_required(["folder", "out"])


def _main():
  # tfds reports on every step of its own.
  logging.set_verbosity(logging.ERROR)
  values = flags.FLAGS
  done = write.prepare(
    values.folder,
    values.out,
    pattern=values.pattern,
    classes=values.classes,
    name=values.name,
    eval_split=values.eval_split,
    eval_fraction=values.eval_fraction,
    eval_folder=values.eval_folder,
    shards=values.shards,
    verify=values.verify,
    overwrite=values.overwrite,
    shorter_side=values.shorter_side,
    jpeg_quality=values.jpeg_quality,
  )
  print(
    f"{done['train']:,} training and {done['validation']:,} validation images"
    f" of {done['classes']:,} classes in {done['path']}\n"
    f"Use it with --config.data_dir={values.out}"
    f" --config.dataset={values.name}"
  )


if __name__ == "__main__":
  _define_flags()
  cli.run(_main)
