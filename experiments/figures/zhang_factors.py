"""Appendix B.1 of Zhang et al. (2021): which factor of |f| grows?

|f(x_i)| = |df(x_i)| |x_i| R_i in networks without biases. The paper reasons
that R_i grows once all examples are right, since |f| then does. The setting is
figure 3's; here every factor's logarithm is followed.
"""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
from matplotlib.figure import Figure
import numpy as np
import optax

from experiments.figures import drawing, networks
import jaxmix
from jaxmix import policies, theory

DIMENSION = 10
MODELS = {"linear": (DIMENSION, 1), "ReLU network": (DIMENSION, 50, 50, 1)}
TRAININGS = {"plain": policies.erm(), "Mixup": policies.mixup(1.0)}
FACTORS = ("logit", "slope", "cosine")


def trained(key, *, widths, policy, n, epochs):
  """Means over examples of the logarithms, and accuracy, after every epoch."""
  key_x, key_truth, key_init, key_train = jax.random.split(key, 4)
  x = jax.random.normal(key_x, (n, DIMENSION))
  y = (x @ jax.random.normal(key_truth, (DIMENSION,)) > 0.0).astype(x.dtype)
  params = networks.init(key_init, widths, biases=False)
  optimizer = optax.sgd(0.1, momentum=0.9)

  def loss(params, key):
    plan = jaxmix.draw(key, n, policy=policy)
    outputs = networks.logits(params, plan.mix(x))
    losses = jaxmix.mixed_loss(jaxmix.losses.logistic, outputs, plan.targets(y))
    return jnp.mean(losses)

  def measure(params):
    logit_fn = lambda x: networks.logits(params, x)
    found = theory.logit_factors(logit_fn, x)
    right = (logit_fn(x) > 0.0) == (y > 0.5)
    means = {name: jnp.mean(jnp.log(getattr(found, name))) for name in FACTORS}
    return means | {"accuracy": jnp.mean(right.astype(x.dtype))}

  def step(carry, key):
    params, state = carry
    updates, state = optimizer.update(jax.grad(loss)(params, key), state)
    return (optax.apply_updates(params, updates), state), measure(params)

  start = params, optimizer.init(params)
  keys = jax.random.split(key_train, epochs)
  return jax.lax.scan(step, start, keys)[1]


def compute(*, smoke: bool = False) -> dict[str, Any]:
  """Trains both models both ways."""
  n = 20 if smoke else 100
  epochs = 8 if smoke else 1000
  seeds = 2 if smoke else 10
  shown = np.unique(np.geomspace(1, epochs, 40).round().astype(int)) - 1
  keys = jax.random.split(jax.random.key(0), seeds)
  runs: list[dict[str, Any]] = []
  trainings = {"plain": TRAININGS["plain"]} if smoke else TRAININGS
  names = ["ReLU network"] if smoke else list(MODELS)
  for model in names:
    widths = MODELS[model]
    for training, policy in trainings.items():
      run = lambda key, widths=widths, policy=policy: trained(
        key, widths=widths, policy=policy, n=n, epochs=epochs
      )
      found = jax.device_get(jax.jit(jax.vmap(run))(keys))
      grown = {
        name: drawing.numbers(
          np.mean(found[name][:, -1] - found[name][:, 0]), 3
        )
        for name in FACTORS
      }
      curves = {
        name: drawing.numbers(np.mean(one, axis=0)[shown], 4)
        for name, one in found.items()
      }
      # Of each seed since its examples were all right, if they were.
      since = [
        found["cosine"][k, -1]
        - found["cosine"][k, np.argmax(found["accuracy"][k] == 1.0)]
        for k in range(seeds)
        if np.any(found["accuracy"][k] == 1.0)
      ]
      runs.append(
        {
          "model": model,
          "training": training,
          "curves": curves,
          "grown": grown,
          "all_right": len(since),
          "cosine_since": drawing.numbers(np.mean(since), 3) if since else None,
        }
      )
  network = [run for run in runs if run["model"] != "linear"]
  result = {
    "settings": {"n": n, "epochs": epochs, "seeds": seeds, "batch_size": n},
    "steps": (shown + 1).tolist(),
    "runs": runs,
    # Is R_i what grows, the larger part of log |f|'s growth?
    "seen": bool(
      all(
        run["grown"]["cosine"] > 0.5 * run["grown"]["logit"] for run in network
      )
    ),
  }
  return result | {"caption": _caption(result)}


def _caption(result) -> str:
  told = []
  for run in result["runs"]:
    grown, since = run["grown"], run["cosine_since"]
    late = "never" if since is None else f"{since:+.2f}"
    told.append(
      f"{run['model']}, {run['training']}: log |f| {grown['logit']:+.2f} = log "
      f"|df| {grown['slope']:+.2f} and log R_i {grown['cosine']:+.2f} (once "
      f"all were right, in {run['all_right']} seeds: {late})"
    )
  settings = result["settings"]
  return (
    "Zhang et al. (2021), B.1: once all examples are right |f| = |df| |x| R "
    "grows, which suggests that R_i does. "
    f"{'Seen' if result['seen'] else 'Not seen'} as the larger part: mostly "
    f"|df| grows. Mean growth of the logarithms over training: "
    f"{'; '.join(told)}. n = {settings['n']}, d = {DIMENSION}, "
    f"{settings['epochs']} full-batch steps, {settings['seeds']} seeds, no "
    "biases."
  )


def draw(result: dict[str, Any]) -> Figure:
  """A panel a run."""
  labels = {"logit": "log |f|", "slope": "log |df|", "cosine": "log R_i"}
  with drawing.style():
    figure, panels = drawing.new(columns=2, rows=2, height=2.6)
    for axes, run in zip(panels, result["runs"], strict=False):
      for i, (name, label) in enumerate(labels.items()):
        values = np.asarray(run["curves"][name])
        axes.plot(result["steps"], values, "-", color=f"C{i}", label=label)
      accuracy = np.asarray(run["curves"]["accuracy"])
      axes.plot(result["steps"], accuracy, ":", color="0.4", label="accuracy")
      axes.set(xscale="log", xlabel="step")
      axes.set_title(f"{run['model']}, {run['training']}", fontsize=9)
    panels[0].legend(fontsize=7)
  return figure


if __name__ == "__main__":
  drawing.run("zhang_factors", compute, draw)
