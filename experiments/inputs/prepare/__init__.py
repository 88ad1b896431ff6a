"""Turns a folder of labelled images into a data set that training reads.

    python -m experiments.inputs.prepare --folder=IMAGES --out=DATA_DIR

writes DATA_DIR/imagenet2012/1.0.0 in tfds's format (TFRecord files), with the
features of tfds's own imagenet2012, so that `--config.data_dir=DATA_DIR` is all
that a run needs. It is written beside its place and put there when complete
(with --overwrite in place of another), so a kill leaves what was there.

What is stored: JPEGs and PNGs byte for byte; WebP, BMP and a GIF's first frame
as PNGs, without loss, which are larger and take longer to decode. Other files
are left out and counted by their endings. EXIF's orientation is not looked at
in training, as in torchvision and tfds, and how many images have one is said;
--apply_orientation turns their pixels and encodes them again.

    --shorter_side=256

asks for smaller training images, which are read and decoded in less than half
the time: those whose shorter side is longer are resized to it and encoded as
JPEGs (--jpeg_quality=90). Small random crops are then enlarged more. Validation
images stay as they are.

Labels are the names of the folders directly below --folder, as in an unpacked
ImageNet (hidden ones and a system's own are none), or come from the file names:

    --pattern='(?P<label>n\\d+)_.*'   n01443537_goldfish.JPEG is n01443537

Classes are numbered in sorted order of their names, or as --classes says: a
text file with a line for each class, "name" in order, or "index name"; where
names have no spaces, other words may follow. Names are compared in Unicode's
composed form. What would shift the numbers, or mean another folder than was
given, is an error: a class folder without images (--allow_empty keeps it as a
class), folders named train and val, a single class, names that tfds would
change. The classes and how many images each has are printed, and stored with
what was left out in prepared.json beside the data.

Images that cannot be read are all listed before it fails; --max_unreadable=0.01
leaves out up to that share of them.

The validation split is one of: --eval_folder, labelled like --folder, or by
--eval_labels (see `eval_labels`: Kaggle's LOC_val_solution.csv, or the
development kit's ILSVRC2012_validation_ground_truth.txt with its meta.mat as
--eval_numbers); a share of the images (--eval_fraction=0.1, the default), taken
from every class, which keeps one to train on: those with the smallest
SHA-256 of their path below --folder, so the same on every machine and for any
order of listing; or, with --eval_split=same, the training images once more,
when there are too few to spare any. Accuracy is then training accuracy.
"""

from experiments.inputs.prepare.write import prepare as prepare
