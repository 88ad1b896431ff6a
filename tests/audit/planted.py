"""Mixup functions with one fault each, small enough to read.

Each takes (seed, images, labels) of NumPy. `mixup` is right; the others differ
from it in the line that their comment is on.
"""

import itertools

import numpy as np


def mixup(seed, images, labels, alpha=1.0):
  random = np.random.default_rng(seed)
  lam = random.beta(alpha, alpha, len(images))
  partner = random.permutation(len(images))
  return blend(lam, images, partner), (labels, labels[partner], lam)


def blend(lam, images, partner):
  own = lam.astype(images.dtype).reshape(-1, 1, 1, 1)
  return own * images + (1 - own) * images[partner]


def dense(targets, classes=10):
  first, second, weight = targets
  rows = np.eye(classes)
  weight = np.reshape(weight, (-1, 1))
  return weight * rows[first] + (1 - weight) * rows[second]


def skewed(seed, images, labels, alpha=1.0):
  random = np.random.default_rng(seed)
  lam = random.beta(alpha, 2 * alpha, len(images))  # the other law
  partner = random.permutation(len(images))
  return blend(lam, images, partner), (labels, labels[partner], lam)


def lost_at_small_alpha(seed, images, labels, alpha=1.0):
  random = np.random.default_rng(seed)
  own, other = random.gamma(alpha, size=(2, len(images))).astype(np.float16)
  lam = np.float64(own) / (np.float64(own) + np.float64(other))  # 0 / 0
  partner = random.permutation(len(images))
  return blend(lam, images, partner), (labels, labels[partner], lam)


def one_stream(seed, images, labels):
  lam = np.random.default_rng(seed).random(len(images))
  partner = np.argsort(np.random.default_rng(seed).random(len(images)))  # again
  return blend(lam, images, partner), (labels, labels[partner], lam)


def other_partners(seed, images, labels):
  random = np.random.default_rng(seed)
  lam, partner = random.random(len(images)), random.permutation(len(images))
  mixed = blend(lam, images, partner)
  return mixed, (labels, random.permutation(labels), lam)  # drawn again


def other_lam(seed, images, labels):
  random = np.random.default_rng(seed)
  lam, partner = random.random(len(images)), random.permutation(len(images))
  mixed = blend(lam, images, partner)
  return mixed, (labels, labels[partner], 1 - lam)  # the partner's


def label_of_sum_two(seed, images, labels):
  mixed, targets = mixup(seed, images, labels)
  return mixed, 2 * dense(targets)  # not a distribution


def smoothed(seed, images, labels):
  mixed, targets = mixup(seed, images, labels)
  return mixed, 0.9 * dense(targets) + 0.1 / 10  # not asked for


def paste(seed, images, labels, kept):
  random = np.random.default_rng(seed)
  partner = random.permutation(len(images))
  height, width = images.shape[1:3]
  lam, top, left = random.random(), *random.integers(0, (height, width))
  side = np.sqrt(1 - lam) / 2
  rows = np.clip([top - side * height, top + side * height], 0, height)
  columns = np.clip([left - side * width, left + side * width], 0, width)
  box = [slice(*np.int64(ends)) for ends in (rows, columns)]
  mixed = images.copy()
  mixed[:, *box] = images[partner][:, *box]
  area = mixed[0, *box, 0].size / (height * width)
  weight = 1 - area if kept else lam  # before it was rounded and clipped
  return mixed, (labels, labels[partner], weight)


def cutmix(seed, images, labels):
  return paste(seed, images, labels, kept=True)


def lam_before_clipping(seed, images, labels):
  return paste(seed, images, labels, kept=False)


def rounded_classes(seed, images, labels):
  mixed, (first, second, lam) = mixup(seed, images, labels)
  dtype = images.dtype
  return mixed, (first.astype(dtype), second.astype(dtype), lam)  # float16


def packed(seed, images, labels):
  mixed, (first, second, lam) = mixup(seed, images, labels)
  return mixed, np.stack([first, second, 1 - lam], axis=-1)


def widened(seed, images, labels):
  mixed, targets = mixup(seed, images, labels)
  return mixed.astype(np.float32), targets  # of float16 and float64


def clipped(seed, images, labels):
  mixed, targets = mixup(seed, images, labels)
  return np.clip(mixed, 0, 1), targets  # whatever range they have


def rescaled(seed, images, labels):
  mixed, targets = mixup(seed, images, labels)
  return mixed / (255 if images.max() > 100 else 1), targets  # guesses


def noisy(seed, images, labels):
  mixed, targets = mixup(seed, images, labels)
  noise = np.random.default_rng(seed).normal(size=mixed.shape)
  return mixed + 0.01 * noise.astype(mixed.dtype), targets  # no mixture


def in_place(seed, images, labels):
  mixed, targets = mixup(seed, images, labels)
  images[:] = mixed  # the caller's
  return images, targets


def even_only(seed, images, labels):
  if len(images) % 2 and len(images) > 1:
    raise ValueError("Batch size should be even")  # as some do
  return mixup(seed, images, labels)


def not_alone(seed, images, labels):
  random = np.random.default_rng(seed)
  lam = random.random(len(images))
  # Somebody else: nobody is there in a batch of one.
  shift = random.integers(1, len(images)) if len(images) != 3 else 1
  partner = np.roll(np.arange(len(images)), shift)
  return blend(lam, images, partner), (labels, labels[partner], lam)


class RemembersTheSize:
  """Draws partners for the first batch's size ever after."""

  def __init__(self):
    self.size = None

  def __call__(self, seed, images, labels):
    self.size = self.size or len(images)
    random = np.random.default_rng(seed)
    lam = random.random(len(images))
    partner = random.permutation(self.size)[: len(images)] % len(images)
    return blend(lam, images, partner), (labels, labels[partner], lam)


def drops_the_rest(seed, images, labels):
  size = len(images) // 8 * 8  # whole batches alone
  return mixup(seed, images[:size], labels[:size])


def own_seed(seed, images, labels):
  return mixup(0, images, labels)  # the same everywhere


class CountsCalls:
  """Draws from a generator of its own, and not from the seed."""

  def __init__(self):
    self.calls = itertools.count()

  def __call__(self, seed, images, labels):
    return mixup(next(self.calls), images, labels)


def unreadable(seed, images, labels):
  mixed, (first, second, lam) = mixup(seed, images, labels)
  return mixed, {"labels": first, "partners": second, "lam": lam}


def folded(seed, images, labels, alpha=1.0):
  random = np.random.default_rng(seed)
  lam = random.beta(alpha, alpha, len(images))
  lam = np.maximum(lam, 1 - lam)
  partner = random.permutation(len(images))
  return blend(lam, images, partner), (labels, labels[partner], lam)


def of_a_batch(seed, images, labels, alpha=1.0):
  lam = np.full(len(images), np.random.default_rng(seed).beta(alpha, alpha))
  partner = np.roll(np.arange(len(images)), 1)
  targets = labels, labels[partner], float(lam[0])
  return blend(lam, images, partner), dense(targets)
