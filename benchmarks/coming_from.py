"""Checks docs/coming_from.md row by row: a peer's call and ours, one draw.

  python -m benchmarks.coming_from [--only=PART] [--out=FILE.json]

Both cells of a row are run. The peer mixes a batch; the lam, box or choice that
it drew is put into our plan; images and labels, or the loss, must come out
equal. What is drawn is compared as well: whether lam is a batch's, a pair's or
an example's, whether partners are drawn, and the law of lam. Rows of peers that
are not installed are left as they are in --out.

big_vision is on no package index: its checkout goes onto PYTHONPATH.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
import functools
import importlib
import importlib.metadata
import json
import os
import pathlib
import re
import subprocess
from typing import Any, NamedTuple

os.environ.setdefault("KERAS_BACKEND", "jax")

import jax  # noqa: E402
import jax.numpy as jnp  # noqa: E402
import numpy as np  # noqa: E402

from benchmarks import peers  # noqa: E402
import jaxmix  # noqa: E402
from jaxmix.audit import calls, reading  # noqa: E402

PAGE = pathlib.Path(__file__).parents[1] / "docs" / "coming_from.md"
SIZE, CLASSES = 8, 10
BATCHES = 16  # whose numbers are compared
# Of Kolmogorov and Smirnov's two-sample distance, at a probability of 1e-7.
LIMIT = float(np.sqrt(np.log(2.0 / 1e-7) / 2.0))


class Row(NamedTuple):
  """A row of the page.

  Attributes:
    peer: the section.
    theirs, ours: code.
    loss: code of the loss that must be equal; "" where labels must.
    define: what the section's code blocks define.
  """

  peer: str
  theirs: str
  ours: str
  loss: str
  define: str


class Peer(NamedTuple):
  """How a peer is reached.

  Attributes:
    kind: whose arrays and seeds it takes, as `jaxmix.audit`'s.
    names: returns what its code may name.
    run: (value of its code, images, labels) -> (images, targets).
  """

  kind: str
  names: Callable[[], dict[str, Any]]
  run: Callable[[Any, Any, Any], Any]


def rows() -> list[Row]:
  """The rows of the page."""
  found = []
  for section in PAGE.read_text().split("\n## ")[1:]:
    peer = section.splitlines()[0]
    define = "\n".join(re.findall(r"```python\n(.*?)```", section, re.DOTALL))
    for line in section.splitlines():
      if line.startswith("| `"):
        theirs, ours, *loss = re.findall(r"`([^`]+)`", line)
        found.append(Row(peer, theirs, ours, "".join(loss), define))
  return found


def one_hot(labels: Any) -> Any:
  """Rows of 0 and 1 in float32, of the arrays' own kind."""
  if isinstance(labels, np.ndarray):
    return np.eye(CLASSES, dtype=np.float32)[labels]
  if isinstance(labels, jax.Array):
    return jax.nn.one_hot(labels, CLASSES)
  functional = importlib.import_module("torch").nn.functional
  return functional.one_hot(labels, CLASSES).float()


def _timm() -> dict[str, Any]:
  mixup = peers.load("timm.data.mixup").Mixup
  return {"Mixup": functools.partial(mixup, num_classes=CLASSES)}


def _keras(layer: Any, images: Any, labels: Any) -> tuple[Any, Any]:
  mixed = layer({"images": images, "labels": one_hot(labels)})
  return mixed["images"], mixed["labels"]


def _kornia() -> dict[str, Any]:
  mixup = importlib.import_module("kornia.augmentation").RandomMixUpV2
  keys = ["input", "class"]
  return {"RandomMixUpV2": functools.partial(mixup, data_keys=keys)}


def _openmixup() -> dict[str, Any]:
  def later(name: str) -> Callable[..., Any]:
    mix = peers.openmixup(name)
    # The page's img and gt_label stand for what is given to it later.
    return lambda img, gt_label, **options: functools.partial(mix, **options)

  names: dict[str, Any] = {name: later(name) for name in ("mixup", "cutmix")}
  return names | {"img": None, "gt_label": None}


PEERS = {
  "timm": Peer("torch", _timm, lambda mix, x, y: mix(x, y)),
  "torchvision": Peer(
    "torch",
    lambda: vars(peers.load("torchvision.transforms.v2")),
    lambda mix, x, y: mix(x, y),
  ),
  "keras": Peer(
    "numpy", lambda: vars(importlib.import_module("keras").layers), _keras
  ),
  "big_vision": Peer(
    "jax",
    lambda: vars(importlib.import_module("big_vision.utils")),
    lambda mix, x, y: mix(x, one_hot(y))[1],
  ),
  "kornia": Peer("torch", _kornia, lambda mix, x, y: tuple(mix(x, y))),
  "openmixup": Peer("torch", _openmixup, lambda mix, x, y: mix(x, y)),
  "mixup": Peer(
    "torch",
    lambda: vars(importlib.import_module("mixup")),
    lambda mix, x, y: mix(x, one_hot(y)),
  ),
}


def version(peer: str) -> str:
  """Of what is installed; of a checkout its commit."""
  try:
    return importlib.metadata.version(peer)
  except importlib.metadata.PackageNotFoundError:
    (folder,) = importlib.import_module(peer).__path__
    command = ["git", "-C", folder, "rev-parse", "--short", "HEAD"]
    done = subprocess.run(command, capture_output=True, text=True)
    return done.stdout.strip()


def caller(row: Row) -> calls.Caller:
  """Calls the peer's code, made anew for every call.

  Raises:
    ImportError: if the peer is not installed.
  """
  peer = PEERS[row.peer]
  names = dict(peer.names())

  def fn(seed, images, labels):
    value = eval(row.theirs, {**names, "rng": seed})
    return peer.run(value, images, labels)

  return calls.Caller(fn, peer.kind, CLASSES)


def drawer(row: Row, shape: tuple[int, ...]) -> Callable[[Any], Any]:
  """Our code: a function of a key that returns a plan."""
  channel_axis = 1 if shape[-1] == shape[-2] else -1

  def of_images(name):
    draw = functools.partial(getattr(jaxmix, name), channel_axis=channel_axis)
    return lambda **options: lambda key: draw(key, shape, **options)

  names = {**vars(jaxmix.policies), **vars(jaxmix.pairing)}
  names |= {"jaxmix": jaxmix, "jnp": jnp}
  exec(row.define, names)
  names |= {
    "draw": lambda **options: lambda key: jaxmix.draw(key, shape[0], **options),
    "draw_mixture": lambda draws, **options: (
      lambda key: jaxmix.draw_mixture(key, draws, **options)
    ),
    "draw_cutmix": of_images("draw_cutmix"),
    "draw_fmix": of_images("draw_fmix"),
  }
  return eval(row.ours, names)


def drawn_by(
  plan: Any, seen: Any, images: np.ndarray, mixed: np.ndarray, own: bool
) -> Any:
  """Our plan with what the peer drew: lam, mask or choice.

  Args:
    plan: drawn by us.
    seen: one call, read.
    images: [B, ...], what was mixed.
    mixed: what the call returned.
    own: whether partners stay the plan's, as it does not draw them.
  """
  if isinstance(plan, jaxmix.MixturePlan):
    # A box over all of an image is a blend of lam = 0, too.
    pasted = "paste" in seen.way
    pastes = [not isinstance(one, jaxmix.MixPlan) for one in plan.plans]
    choice = -1 if np.array_equal(mixed, images) else pastes.index(pasted)
    plans = [
      drawn_by(one, seen, images, mixed, own) if number == choice else one
      for number, one in enumerate(plan.plans)
    ]
    return plan.replace(plans=tuple(plans), choice=jnp.int32(choice))
  # Of an example that is as it was, or wholly its partner, nobody can tell.
  known = (seen.partner >= 0) & (not own)
  partner = np.where(known, seen.partner, plan.partner)
  if isinstance(plan, jaxmix.MixPlan):
    lam = jnp.asarray(seen.label_kept, jnp.float32)
    return plan.replace(lam=lam, weight=lam, partner=jnp.asarray(partner))
  axis = plan.channel_axis
  whole = np.all(mixed == images, axis=axis)
  return jaxmix.mask_plan(
    jnp.asarray(whole), jnp.asarray(partner), channel_axis=axis
  )


def kind_of_lam(kept: np.ndarray, seen: np.ndarray) -> str:
  """Whose lam is: a batch's, a pair's or an example's.

  Args:
    kept: [N, B], lam.
    seen: bool [N, B], whether a partner shows it.
  """
  gap = lambda a, b: np.abs(a - b)[seen & seen[:, ::-1]].max(initial=0.0)
  largest = np.where(seen, kept, 0.0).max(axis=1, keepdims=True)
  if np.abs(largest - kept)[seen].max() < reading.TOLERANCE:
    return "batch"
  return "pair" if gap(kept, kept[:, ::-1]) < reading.TOLERANCE else "example"


def partners(partner: np.ndarray) -> list[int] | str:
  """Who is mixed with whom, from [N, B] with -1 where nobody is."""
  found = [sorted({int(p) for p in column if p >= 0}) for column in partner.T]
  return sum(found, []) if all(len(x) == 1 for x in found) else "drawn"


def distance(one: np.ndarray, other: np.ndarray) -> tuple[float, float]:
  """Kolmogorov and Smirnov's distance of two samples, and its limit."""
  one, other = np.sort(one), np.sort(other)
  points = np.concatenate([one, other])
  # Shares read off float32: what differs by less is alike.
  steps = [np.searchsorted(x, points + 1e-4) / len(x) for x in (one, other)]
  scale = np.sqrt(1.0 / len(one) + 1.0 / len(other))
  return float(np.abs(steps[0] - steps[1]).max()), LIMIT * float(scale)


def compare(row: Row, seeds: int = 512) -> dict[str, Any]:
  """Runs a row's two sides and returns how far apart they are.

  Args:
    row: of the page.
    seeds: how many lam of the peer its law is judged by.

  Raises:
    ImportError: if the peer is not installed.
  """
  call = caller(row)
  torch = call.kind == "torch"
  images = reading.made_images(SIZE, (3, 8, 8) if torch else (8, 8, 3))
  labels = np.arange(SIZE, dtype=np.int64 if torch else np.int32)
  keys = jax.random.split(jax.random.key(0), 4096)
  plans = jax.jit(jax.vmap(drawer(row, images.shape)))(keys)
  lam = np.asarray(plans.lam)
  kind = kind_of_lam(lam, lam < 1.0 - reading.TOLERANCE)
  each = {"batch": 1, "pair": SIZE // 2, "example": SIZE}[kind]
  outcome = call.many(range(max(seeds // each, BATCHES)), images, labels)
  seen = reading.read(images, outcome, CLASSES)
  one = plans.plans[0] if isinstance(plans, jaxmix.MixturePlan) else plans
  drawn = np.asarray(one.partner)
  drawn = partners(np.where(drawn == np.arange(SIZE), -1, drawn))
  # Not those where a partner hides behind a lam of nearly 1.
  clear = (seen.partner >= 0) | (seen.label_kept > 1.0 - 2e-7)
  clear |= drawn != "drawn"
  apart = [0.0, 0.0]
  for n in np.flatnonzero(clear.all(axis=1))[:BATCHES]:
    take = lambda leaf, n=n: leaf[n]
    mixed = outcome.images[n].astype(np.float32)
    plan = drawn_by(
      jax.tree.map(take, plans),
      reading.Seen(*map(take, seen)),
      images,
      mixed,
      own=drawn != "drawn",
    )
    wanted = reading.rows(outcome.each(take), CLASSES)
    found = (
      np.abs(plan.mix(images) - mixed).max(),
      labels_apart(row.loss, plan.targets(labels), wanted),
    )
    apart = [max(pair) for pair in zip(apart, map(float, found), strict=True)]
  # Of a partner that is the example itself, or has no share, nothing is seen.
  shows = seen.partner >= 0, lam < 1.0 - reading.TOLERANCE
  lams = [
    # Of one lam a batch once.
    np.where(seen, kept, 1.0).min(axis=1)[seen.any(axis=1)]
    if each == 1
    else kept[:, :each][seen[:, :each]]
    for kept, seen in zip((seen.kept, lam), shows, strict=True)
  ]
  return {
    "peer": row.peer,
    "version": version(row.peer),
    "theirs": row.theirs,
    "ours": row.ours,
    "ways": sorted(set(seen.way.ravel().tolist()) - {"same", "swap"}),
    "images apart": apart[0],
    "labels apart" if not row.loss else "loss apart": apart[1],
    "lam of": [kind_of_lam(seen.kept, shows[0]), kind],
    "smallest lam": [float(x.min()) for x in lams],
    "partners": [partners(seen.partner), drawn],
    "batches mixed": [float(x.any(axis=1).mean()) for x in shows],
    "law": distance(*lams),
  }


def labels_apart(loss: str, targets: Any, wanted: np.ndarray) -> float:
  """How far our targets are from the peer's rows, or the losses at both."""
  if not loss:
    return np.abs(targets.dense(CLASSES) - wanted).max()
  logits = 3.0 * jax.random.normal(jax.random.key(1), wanted.shape)
  names = {**vars(jaxmix.losses), "partial": functools.partial}
  ours = jaxmix.mixed_loss(eval(loss, names), logits, targets)
  return np.abs(ours + (wanted * jax.nn.log_softmax(logits)).sum(-1)).max()


def main() -> None:
  parser = argparse.ArgumentParser()
  parser.add_argument("--out", type=pathlib.Path)
  parser.add_argument("--only", default="", help="part of a row")
  options = parser.parse_args()
  found: dict[str, dict] = {}
  if options.out and options.out.exists():
    found = {row["theirs"]: row for row in json.loads(options.out.read_text())}
  every = rows()
  for row in every:
    if options.only not in f"{row.peer}: {row.theirs}":
      continue
    try:
      found[row.theirs] = compare(row)
    except ImportError as error:
      print(f"{row.peer}: {error}")
      continue
    print(json.dumps(found[row.theirs]), flush=True)
    if options.out:
      kept = [found[row.theirs] for row in every if row.theirs in found]
      options.out.write_text(json.dumps(kept, indent=1) + "\n")


if __name__ == "__main__":
  main()
