"""The command: flags in, a data set out."""

from __future__ import annotations

import inspect
from typing import Any

from absl import flags, logging

from experiments import cli
from experiments.inputs.prepare import replacing, text, write


def _define_flags():
  flags.DEFINE_string("folder", None, "Folder of training images.")
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
  flags.DEFINE_string("eval_folder", "", "Folder of validation images.")
  flags.DEFINE_string(
    "eval_labels",
    "",
    "Labels of a flat --eval_folder: Kaggle's LOC_val_solution.csv, or lines"
    ' "LABEL" in the order of the file names, or "FILE LABEL".',
  )
  flags.DEFINE_string(
    "eval_numbers",
    "",
    "What numbers in --eval_labels mean: the ILSVRC2012 development kit's"
    ' data/meta.mat, or lines "number name".',
  )
  flags.DEFINE_bool(
    "allow_empty", False, "Keep class folders without images as classes."
  )
  flags.DEFINE_integer("shards", 0, "Files for each split; 0: by size.")
  flags.DEFINE_bool("verify", True, "Decode each image once to check it.")
  flags.DEFINE_float(
    "max_unreadable", 0.0, "Share of images to leave out if unreadable."
  )
  flags.DEFINE_bool("overwrite", False, "Replace an existing data set.")
  flags.DEFINE_integer(
    "shorter_side", 0, "Make training images at most so large, pixels; 0: no."
  )
  flags.DEFINE_integer("jpeg_quality", 90, "Of JPEGs encoded anew, 1 .. 100.")
  flags.DEFINE_bool(
    "apply_orientation", False, "Turn images as EXIF's orientation says."
  )
  flags.mark_flags_as_required(["folder", "out"])


def _main():
  # tfds reports on every step of its own.
  logging.set_verbosity(logging.ERROR)
  values = flags.FLAGS
  # Flags are named as the arguments are.
  named = inspect.getfullargspec(write.prepare).kwonlyargs
  options: dict[str, Any] = {key: values[key].value for key in named}
  with replacing.terminating():
    done = write.prepare(values.folder, values.out, **options)
  print(
    f"{done['train']:,} training and {done['validation']:,} validation images"
    f" of {done['classes']:,} classes in {done['path']}\n"
    f"Use it with --config.data_dir={text.expanded(values.out, 'out')}"
    f" --config.dataset={values.name}"
  )


if __name__ == "__main__":
  _define_flags()
  cli.run(_main)
