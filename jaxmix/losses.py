"""Target-linear losses and the targets of mixed examples.

A loss is target-linear if l(f, c y + d y') = c l(f, y) + d l(f, y') wherever c
+ d = 1 ("MixUp as Directional Adversarial Training", 2020, section 2). Then the
loss at a mixed label is the mixture of two losses at whole labels, and no [B,
K] one-hot is needed.
"""

from __future__ import annotations

from collections.abc import Callable

import chex
import flax.struct
import jax
import jax.numpy as jnp
import optax

from jaxmix import checks, meshes, shares

LossFn = Callable[[chex.Array, chex.Array], chex.Array]

# Whether a loss is about to be differentiated along its outputs themselves, as
# MixupE's eq. (2) does. It keys JAX's caches, so that a jitted loss is asked.
along_outputs = jax.make_user_context(False)


@flax.struct.dataclass
class MixedTargets:
  """Labels of mixed examples: `weight` of `first`, 1 - weight of `second`.

  Attributes:
    first: [B] integer classes or [B, K] probabilities, the examples' own; of
      segmentation masks [B, H, W] or [B, H, W, K].
    second: the partners' labels, of the same shape and dtype.
    weight: float32 [B], the weight of `first`.

  Example:
    >>> own, other, weight = jnp.array([0]), jnp.array([2]), jnp.array([0.75])
    >>> targets = jaxmix.MixedTargets(own, other, weight)
    >>> targets.dense(num_classes=3).tolist()
    [[0.75, 0.0, 0.25]]
  """

  first: chex.Array
  second: chex.Array
  weight: chex.Array

  def dense(
    self,
    num_classes: int | None = None,
    *,
    ignore_label: int | None = None,
  ) -> chex.Array:
    """Returns float32 probabilities [B, K], for losses that want them.

    Integer masks [B, H, W] become [B, H, W, K]. A label that is no class makes
    its row NaN, unless its weight is 0.

    Args:
      num_classes: K; needed for integer labels, checked for dense ones.
      ignore_label: an integer label that stands for none, often 255 or -1: its
        share of the row is left out, so that the row sums to less than 1.

    Raises:
      TypeError: if labels are neither integers nor floats.
      ValueError: if `num_classes` is missing or contradicts dense labels,
        integers are [B, 1] or [B, K], or a label is known to be no class.
    """
    checks.label_array("labels", self.first)
    if jnp.issubdtype(jnp.result_type(self.first), jnp.integer):
      if num_classes is None:
        raise ValueError("num_classes is needed to expand integer labels.")
      _check_classes(self.first)
      first, second = (
        shares.one_hot(labels, num_classes, ignore_label)
        for labels in (self.first, self.second)
      )
    else:
      _check_ignore(self.first, ignore_label)
      _check_probabilities(self.first, num_classes)
      # In float32: bfloat16 labels would round the weight to 8 bits.
      first, second = (
        jnp.asarray(labels).astype(jnp.float32)
        for labels in (self.first, self.second)
      )
    weight = expand(meshes.like(self.weight, first), first.ndim)
    return shares.blend(weight, first, second)


def mixed_loss(
  loss_fn: LossFn, logits: chex.Array, targets: MixedTargets
) -> chex.Array:
  """weight * loss_fn(logits, first) + (1 - weight) * loss_fn(logits, second).

  Equal to the loss at `targets.dense(...)` for a target-linear `loss_fn`. A
  label of weight 0 counts as nothing, even where its loss is not finite.

  Args:
    loss_fn: maps (logits, labels) to losses [B] or [B, ...], not reduced.
    logits: whatever `loss_fn` takes, [B, ...].
    targets: the mixed labels.

  Returns:
    Losses shaped as `loss_fn`'s, not reduced.

  Raises:
    TypeError: if `targets` are a pytree of several.
    ValueError: if `loss_fn` reduced over the batch.

  Example:
    >>> own, other, weight = jnp.array([0]), jnp.array([1]), jnp.array([0.75])
    >>> targets = jaxmix.MixedTargets(own, other, weight)
    >>> bits = lambda log_probs, labels: -log_probs[0, labels]
    >>> log_probs = jnp.array([[-1.0, -2.0, -2.0]])
    >>> jaxmix.mixed_loss(bits, log_probs, targets).tolist()
    [1.25]
  """
  if not isinstance(targets, MixedTargets):
    raise TypeError(
      f"targets must be MixedTargets, got {type(targets).__name__}; of several "
      "heads add the losses up, each with its own targets."
    )
  own = loss_fn(logits, targets.first)
  if jnp.ndim(own) == 0 or own.shape[0] != targets.weight.shape[0]:
    raise ValueError(
      "loss_fn must return one loss an example, "
      f"[{targets.weight.shape[0]}, ...], got shape {jnp.shape(own)}; drop "
      "its mean over the batch."
    )
  weight = meshes.like(targets.weight, own)
  weight = expand(weight, own.ndim).astype(own.dtype)
  return shares.blend(weight, own, loss_fn(logits, targets.second))


def softmax_cross_entropy(
  logits: chex.Array,
  labels: chex.Array,
  *,
  label_smoothing: float = 0.0,
  ignore_label: int | None = None,
) -> chex.Array:
  """Softmax cross-entropy in nats, in float32, not reduced.

  An integer that is no class gives NaN, or an error where it is known (outside
  jit). Classes that are masked by logits of -inf cost nothing as long as their
  label is 0.

  Args:
    logits: [B, K], any float dtype; [B, H, W, K] beside masks.
    labels: [B] integers in [0, K) or [B, K] probabilities.
    label_smoothing: share of every label spread evenly over the K classes.
    ignore_label: an integer label of loss 0, often 255 or -1, as torch's
      ignore_index; of a mixed label, that share of the loss drops out.

  Returns:
    float32 [B].

  Raises:
    TypeError: if labels are neither integers nor floats.
    ValueError: if shapes do not fit, a label is known to be no class,
      label_smoothing is not in [0, 1], or ignore_label meets dense labels.

  Example:
    >>> logits = jnp.log(jnp.array([[0.5, 0.25, 0.25], [0.5, 0.25, 0.25]]))
    >>> loss = jaxmix.losses.softmax_cross_entropy(logits, jnp.array([0, 2]))
    >>> print(np.asarray(loss / jnp.log(2.0)).round(4))  # in bits
    [1. 2.]
  """
  checks.label_array("labels", labels)
  checks.scalar("label_smoothing", label_smoothing, low=0.0, high=1.0)
  # logsumexp over many classes needs more than bfloat16's 8 bits.
  logits, labels = jnp.asarray(logits).astype(jnp.float32), jnp.asarray(labels)
  labels = meshes.like(labels, logits)
  if jnp.issubdtype(labels.dtype, jnp.integer):
    if labels.shape != logits.shape[:-1]:
      raise ValueError(
        f"integer labels must have the logits' shape without classes, "
        f"{logits.shape[:-1]}, got {labels.shape}"
        f"{checks.class_shape_hint(labels, logits.shape)}."
      )
    logits = meshes.whole_classes(logits)
    index = shares.class_index(labels, logits.shape[-1], ignore_label)
    loss = optax.softmax_cross_entropy_with_integer_labels(logits, index)
  else:
    _check_ignore(labels, ignore_label)
    if labels.shape != logits.shape:
      raise ValueError(
        f"dense labels must have the logits' shape {logits.shape}, got "
        f"{labels.shape}."
      )
    labels = labels.astype(jnp.float32)
    # optax's sum, but for its 0 * inf where a class is masked.
    log_probs = jax.nn.log_softmax(logits, axis=-1)
    loss = -jnp.sum(shares.weighed(labels, log_probs), axis=-1)
  # A traced value may be 0 as well, but cannot be asked.
  if not (isinstance(label_smoothing, (int, float)) and label_smoothing == 0.0):
    # The cross-entropy of the uniform label, without smoothed [B, K] labels.
    uniform = jax.nn.logsumexp(logits, axis=-1) - jnp.mean(logits, axis=-1)
    loss = shares.weighed(1.0 - label_smoothing, loss) + shares.weighed(
      label_smoothing, uniform
    )
  if ignore_label is None:
    return loss
  return jnp.where(labels == ignore_label, 0.0, loss)


def logistic(logits: chex.Array, labels: chex.Array) -> chex.Array:
  """Logistic loss log(1 + exp(f)) - y f in nats, in float32, not reduced.

  Args:
    logits: [B] (or [B, ...], elementwise).
    labels: probabilities of the positive class, or integers 0 and 1, shaped
      like the logits. Other integers (-1, say) give NaN, or an error where they
      are known (outside jit).

  Returns:
    float32, shaped like `logits`.

  Raises:
    TypeError: if labels are neither integers nor floats.
    ValueError: if shapes differ, or an integer is known and neither 0 nor 1.

  Example:
    >>> logits, labels = jnp.array([0.0, 100.0]), jnp.array([1, 0])
    >>> print(np.asarray(jaxmix.losses.logistic(logits, labels)).round(4))
    [  0.6931 100.    ]
  """
  checks.label_array("labels", labels)
  logits = jnp.asarray(logits).astype(jnp.float32)
  if jnp.shape(labels) != logits.shape:
    raise ValueError(
      f"labels must have the logits' shape {logits.shape}, got "
      f"{jnp.shape(labels)}."
    )
  labels = meshes.like(labels, logits)
  labels = shares.probabilities(labels)
  loss = optax.sigmoid_binary_cross_entropy(logits, labels)
  # Which has 0 * inf at an infinite logit that is right.
  right = jnp.isinf(logits) & (labels == (logits > 0.0).astype(jnp.float32))
  return jnp.where(right, 0.0, loss)


def negative_cosine(features: chex.Array, targets: chex.Array) -> chex.Array:
  """-v . y for the unit vector v along `features`, in float32, not reduced.

  "MixUp as Directional Adversarial Training", 2020, section 2. `targets` are
  not normalised: a mixture of unit vectors is shorter than one, and normalising
  it would break target-linearity. (The authors' code does normalise it: there a
  mixed example's loss is its cosine with the mixed target, of any length.)
  Constant along the features, it has exact MixupE penalties and no approximate
  one. For classes use `negative_cosine(f, embeddings[labels])`; that lookup is
  jnp's own, for which -1 is the last row.

  Args:
    features: [B, D], any float dtype; a zero row has loss 0 and gradient 0.
    targets: [B, D], rows of `label_embeddings` or mixtures of them.

  Returns:
    float32 [B] in [-1, 1].

  Raises:
    ValueError: if shapes differ, or under MixupE's approximate penalty.

  Example:
    >>> features = jnp.array([[3.0, 4.0], [30.0, 40.0]])
    >>> targets = jnp.array([[1.0, 0.0], [0.5, 0.5]])  # whole and mixed
    >>> print(np.asarray(jaxmix.negative_cosine(features, targets)).round(4))
    [-0.6 -0.7]
  """
  if along_outputs.value:
    raise ValueError(
      "loss_fn must change along its outputs for an approximate penalty, and "
      "negative_cosine does not: R would be 0; take penalty='exact'."
    )
  features, targets = jnp.asarray(features), jnp.asarray(targets)
  if features.shape != targets.shape:
    raise ValueError(
      f"features and targets must have the same shape, got "
      f"{features.shape} and {targets.shape}; look labels up first, e.g. "
      "embeddings[labels]."
    )
  targets = meshes.like(targets, features)
  features = features.astype(jnp.float32)
  squares = jnp.sum(jnp.square(features), axis=-1)
  # Two wheres: the gradient of sqrt at 0 would be nan even where masked out.
  safe = jnp.where(squares > 0.0, squares, 1.0)
  scale = jnp.where(squares > 0.0, jax.lax.rsqrt(safe), 0.0)
  return -scale * jnp.sum(features * targets.astype(jnp.float32), axis=-1)


def label_embeddings(
  key: chex.PRNGKey,
  num_classes: int,
  dim: int,
  *,
  orthonormal: bool = False,
) -> chex.Array:
  """Fixed random unit vectors, one a class, for `negative_cosine`.

  Args:
    key: PRNG key; keep it fixed over training.
    num_classes: K.
    dim: D; the untied MixUp paper takes 300 for 10 classes, 700 for 100.
    orthonormal: make the rows orthogonal too; needs dim >= num_classes.

  Returns:
    float32 [K, D], rows of norm 1.

  Raises:
    ValueError: if orthonormal and dim < num_classes.

  Example:
    >>> key = jax.random.key(0)
    >>> rows = jaxmix.label_embeddings(key, 3, 8, orthonormal=True)
    >>> rows.shape, bool(jnp.allclose(rows @ rows.T, jnp.eye(3), atol=1e-5))
    ((3, 8), True)
  """
  if orthonormal:
    if dim < num_classes:
      raise ValueError(
        f"orthonormal=True needs dim >= num_classes, got dim={dim} and "
        f"num_classes={num_classes}."
      )
    # A QR of [dim, dim], once.
    return jax.random.orthogonal(key, dim, dtype=jnp.float32)[:num_classes]
  # A normal vector's direction is uniform on the sphere.
  rows = jax.random.normal(key, (num_classes, dim), jnp.float32)
  return rows / jnp.linalg.norm(rows, axis=-1, keepdims=True)


def _check_classes(labels):
  """Raises ValueError if integer labels look like columns or one-hot rows."""
  shape = tuple(jnp.shape(labels))
  # Of three axes are masks, whose last one may be any size.
  column = len(shape) != 3 and len(shape) > 1 and shape[-1] == 1
  if column or len(shape) == 2:
    hint = (
      "drop the last axis, labels[..., 0]"
      if column
      else "one-hot rows must be floats, labels.astype(jnp.float32)"
    )
    raise ValueError(
      f"integer labels must be [B], or masks [B, H, W], got shape {shape}; "
      f"{hint}, before they are mixed."
    )


def _check_probabilities(labels, num_classes):
  """Raises ValueError unless dense labels have `num_classes` classes."""
  if num_classes is None:
    return
  if jnp.ndim(labels) < 2:
    raise ValueError(
      f"dense labels must be [B, {num_classes}], got shape "
      f"{jnp.shape(labels)}; classes must be integers, "
      "labels.astype(jnp.int32), before they are mixed."
    )
  if labels.shape[-1] != num_classes:
    raise ValueError(
      f"num_classes={num_classes}, but labels have {labels.shape[-1]} classes."
    )


def _check_ignore(labels, ignore_label):
  """Raises ValueError if dense labels meet an ignore_label."""
  if ignore_label is not None:
    raise ValueError(
      f"ignore_label={ignore_label} needs integer labels, got "
      f"{labels.dtype}; give rows to ignore the probabilities 0."
    )


def expand(weight: chex.Array, ndim: int) -> chex.Array:
  """Reshapes [B] weights to [B, 1, ...] of rank `ndim`.

  Example:
    >>> jaxmix.losses.expand(jnp.ones(4), 3).shape
    (4, 1, 1)
  """
  weight = jnp.asarray(weight)
  return weight.reshape(weight.shape + (1,) * (ndim - weight.ndim))
