"""Turns a folder of labelled JPEGs into a data set that training reads.

    python -m experiments.inputs.prepare --folder=JPEGS --out=DATA_DIR

writes DATA_DIR/imagenet2012/1.0.0 in tfds's format (TFRecord files), with the
features of tfds's own imagenet2012, so that `--config.data_dir=DATA_DIR` is all
that a run needs. The JPEGs are stored byte for byte, unless

    --shorter_side=256

asks for smaller training images, which are read and decoded in less than half
the time: those whose shorter side is longer are resized to it and encoded
again (--jpeg_quality=90). Small random crops are then enlarged more. Validation
images stay as they are.

Labels are the names of the folders directly below --folder, as in an unpacked
ImageNet (hidden ones and a system's own are none, and what is left out is
counted), or come from the file names:

    --pattern='(?P<label>n\\d+)_.*'   n01443537_goldfish.JPEG is n01443537

Classes are numbered in sorted order of their names, or as --classes says: a
text file with a line for each class, "name" in order, or "index name"; where
names have no spaces, other words may follow.

The validation split is one of: --eval_folder, labelled like --folder; a share
of the images (--eval_fraction=0.1, the default), which are those with the
smallest SHA-256 of their path below --folder, so the same images on every
machine and for any order of listing; or, with --eval_split=same, the training
images once more, when there are too few to spare any. Accuracy is then
training accuracy.
"""

from experiments.inputs.prepare.write import prepare as prepare
