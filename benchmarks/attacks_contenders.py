"""Who attacks in `benchmarks.attacks`: jaxmix, torchattacks, foolbox, ART.

All of them attack one network: trained in JAX, its weights copied to PyTorch.
Everybody's loss is the cross-entropy of the true label, but for jaxmix's own.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
import contextlib
import functools
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from sklearn.datasets import load_digits

from benchmarks import peers
import jaxmix

_PACKAGES = {
  "torchattacks": "torchattacks",
  "foolbox": "foolbox",
  "ART": "art.attacks.evasion",
}
PEERS = tuple(_PACKAGES)


class Task(NamedTuple):
  """An attack: within [0, 1] if bounded; FGSM is one step of epsilon.

  Attributes:
    name: what the table calls it.
    norm: "linf" or "l2".
    epsilon: radius.
    steps: number of gradient steps, 0 for FGSM.
    random_start: whether it starts at a uniform draw in the ball.
    bounded: whether pixels are kept in [0, 1].
  """

  name: str
  norm: str
  epsilon: float
  steps: int = 0
  random_start: bool = False
  bounded: bool = True

  @property
  def step_size(self) -> float:
    return 2.5 * self.epsilon / self.steps


class Contender(NamedTuple):
  """One library's attack.

  Attributes:
    name: the library.
    run: seed -> attacked images [B, 8, 8, 1], or None where it cannot.
    note: what the reader should know, or why there is no run.
  """

  name: str
  run: Callable[[int], np.ndarray] | None
  note: str = ""


class Problem(NamedTuple):
  """A network's weights, and images [B, 8, 8, 1] in [0, 1] with labels [B]."""

  weights: dict[str, np.ndarray]
  images: np.ndarray
  labels: np.ndarray

  def astype(self, dtype: str) -> Problem:
    """The same in another precision."""
    weights = {name: w.astype(dtype) for name, w in self.weights.items()}
    return Problem(weights, self.images.astype(dtype), self.labels)


def logits(weights: dict[str, Any], images: jax.Array) -> jax.Array:
  """Two 3 x 3 convolutions, the second of stride 2, and a dense layer."""
  hidden = images
  for name, stride in (("conv0", 1), ("conv1", 2)):
    hidden = jax.lax.conv_general_dilated(
      hidden,
      weights[name],
      (stride, stride),
      ((1, 1), (1, 1)),
      dimension_numbers=("NHWC", "HWIO", "NHWC"),
    )
    hidden = jax.nn.relu(hidden + weights[f"{name}_bias"][None, None, None])
  hidden = hidden.reshape(len(images), -1)
  return hidden @ weights["dense"] + weights["dense_bias"][None]


def train(steps: int, examples: int) -> Problem:
  """Trains on 1,000 of scikit-learn's digits; returns others to attack."""
  digits = load_digits()
  order = np.random.default_rng(0).permutation(len(digits.target))
  images = (digits.images[order, ..., None] / 16.0).astype(np.float32)
  labels = digits.target[order].astype(np.int32)
  generator = np.random.default_rng(1)
  shapes = {"conv0": (3, 3, 1, 16), "conv1": (3, 3, 16, 32), "dense": (512, 10)}
  weights = {}
  for name, shape in shapes.items():
    scale = np.sqrt(2.0 / np.prod(shape[:-1]))
    weights[name] = scale * generator.normal(size=shape).astype(np.float32)
    weights[f"{name}_bias"] = np.zeros(shape[-1], np.float32)
  optimizer = optax.adam(2e-3)

  @jax.jit
  def step(weights, state, images, labels):
    def loss_fn(weights):
      losses = jaxmix.losses.softmax_cross_entropy(
        logits(weights, images), labels
      )
      return jnp.mean(losses)

    updates, state = optimizer.update(jax.grad(loss_fn)(weights), state)
    return optax.apply_updates(weights, updates), state

  state = optimizer.init(weights)
  for _ in range(steps):
    rows = generator.integers(0, 1000, 100)
    weights, state = step(weights, state, images[rows], labels[rows])
  tested = slice(1000, 1000 + examples)
  weights = {name: np.asarray(w) for name, w in weights.items()}
  return Problem(weights, images[tested], labels[tested])


def judge(problem: Problem, images: np.ndarray) -> tuple[np.ndarray, ...]:
  """Whether each image is classified rightly, and its loss; in float64."""
  with jax.enable_x64(True):
    own = problem.astype("float64")
    scores = logits(own.weights, jnp.asarray(images, jnp.float64))
    losses = _cross_entropy(scores, own.labels)
    return np.asarray(scores).argmax(-1) == own.labels, np.asarray(losses)


def contenders(problem: Problem, task: Task, dtype: str) -> Iterator[Contender]:
  """Everybody's way of running the task in this precision."""
  problem = problem.astype(dtype)
  usual = {"loss_fn": _cross_entropy}
  yield Contender("jaxmix", _jaxmix(problem, task, usual), "jit")
  yield Contender(
    "jaxmix, own loss", _jaxmix(problem, task, {}), "jit; log-odds"
  )
  if task.steps:
    run = _jaxmix(problem, task, usual | {"unroll": True})
    yield Contender("jaxmix, unrolled", run, "jit")
  try:
    network, images, labels = _to_torch(problem)
  except ImportError:
    for name in _PACKAGES:
      yield Contender(name, None, "PyTorch is not installed")
    return
  for name, package in _PACKAGES.items():
    reason = _cannot(name, task, dtype)
    try:
      module = peers.load(package)
    except ImportError as error:
      reason = " ".join(f"not installed: {error}".split())[:60]
    if reason:
      yield Contender(name, None, reason)
      continue
    create = {"torchattacks": _torchattacks, "foolbox": _foolbox, "ART": _art}
    run, note = create[name](module, network, images, labels, task)
    yield Contender(name, functools.partial(_seeded, run), note)


def _cannot(name: str, task: Task, dtype: str) -> str:
  if name == "ART" and dtype != "float32":
    return "converts to float32"
  if name == "torchattacks" and not task.bounded:
    return "always clips to [0, 1]"
  return ""


# jaxmix's own losses are in float32, whatever the logits.
_cross_entropy = optax.softmax_cross_entropy_with_integer_labels


def _jaxmix(problem, task, options):
  bounds = (0.0, 1.0) if task.bounded else None
  wide = problem.images.dtype == np.float64
  options = dict(options, epsilon=task.epsilon, bounds=bounds)

  @jax.jit
  def attack(key, weights, images, labels):
    apply = functools.partial(logits, weights)
    if not task.steps:
      return jaxmix.fgsm(apply, images, labels, **options)
    return jaxmix.pgd(
      key,
      apply,
      images,
      labels,
      norm=task.norm,
      steps=task.steps,
      step_size=task.step_size,
      random_start=task.random_start,
      **options,
    )

  def run(seed):
    with jax.enable_x64(True) if wide else contextlib.nullcontext():
      return np.asarray(attack(jax.random.key(seed), *problem))

  return run


def _to_torch(problem):
  """The network as a module, images [B, 1, 8, 8] and labels as tensors."""
  import torch

  weights = {
    name: torch.from_numpy(np.array(w)) for name, w in problem.weights.items()
  }

  class Network(torch.nn.Module):
    def __init__(self):
      super().__init__()
      for name, weight in weights.items():
        if weight.ndim == 4:
          weight = weight.permute(3, 2, 0, 1).contiguous()
        self.register_parameter(name, torch.nn.Parameter(weight))

    def forward(self, x):
      relu, conv2d = torch.relu, torch.nn.functional.conv2d
      x = relu(conv2d(x, self.conv0, self.conv0_bias, 1, 1))
      x = relu(conv2d(x, self.conv1, self.conv1_bias, 2, 1))
      # Channels last, as the dense layer was trained.
      return x.permute(0, 2, 3, 1).flatten(1) @ self.dense + self.dense_bias

  images = torch.from_numpy(np.moveaxis(problem.images, -1, 1).copy())
  return Network().eval(), images, torch.from_numpy(problem.labels).long()


def _seeded(run, seed):
  import torch

  torch.manual_seed(seed)
  np.random.seed(seed)  # ART draws from NumPy
  return np.moveaxis(np.asarray(run()), 1, -1)


def _torchattacks(module, network, images, labels, task):
  if not task.steps:
    attack = module.FGSM(network, eps=task.epsilon)
  else:
    kind = module.PGD if task.norm == "linf" else module.PGDL2
    attack = kind(
      network,
      eps=task.epsilon,
      alpha=task.step_size,
      steps=task.steps,
      random_start=task.random_start,
    )
  return lambda: attack(images, labels), "gradient of the mean loss"


def _foolbox(module, network, images, labels, task):
  # Its own bounds cannot be left out, but may lie out of reach.
  bounds = (0.0, 1.0) if task.bounded else (-100.0, 100.0)
  model = module.PyTorchModel(network, bounds=bounds, device="cpu")
  criterion = module.Misclassification(labels)
  if not task.steps:
    attack = module.attacks.FGSM(random_start=False)
  else:
    kind = {"linf": module.attacks.LinfPGD, "l2": module.attacks.L2PGD}
    attack = kind[task.norm](
      abs_stepsize=task.step_size,
      steps=task.steps,
      random_start=task.random_start,
    )
  run = functools.partial(attack.run, model, images, criterion)
  return lambda: run(epsilon=task.epsilon), "attack.run"


def _art(module, network, images, labels, task):
  import torch

  estimator = peers.load("art.estimators.classification").PyTorchClassifier(
    model=network,
    loss=torch.nn.CrossEntropyLoss(),
    input_shape=(1, 8, 8),
    nb_classes=10,
    clip_values=(0.0, 1.0) if task.bounded else None,
    device_type="cpu",
  )
  options = dict(
    norm=np.inf if task.norm == "linf" else 2,
    eps=task.epsilon,
    batch_size=len(images),
    num_random_init=int(task.random_start),
  )
  if not task.steps:
    attack = module.FastGradientMethod(estimator, **options)
  else:
    attack = module.ProjectedGradientDescentPyTorch(
      estimator,
      eps_step=task.step_size,
      max_iter=task.steps,
      verbose=False,
      **options,
    )
  pixels, classes = images.numpy(), labels.numpy()
  return lambda: attack.generate(pixels, classes), "counts successes, too"
