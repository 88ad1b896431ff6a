"""Figure 2 of MixupE: coefficients of the first-order regulariser."""

import jax
import jax.numpy as jnp
import numpy as np

from experiments.figures import mixupe_figure2
from jaxmix import models, policies

FIGURE = mixupe_figure2


def test_measures_before_training_by_numpy():
  x = jax.random.normal(jax.random.key(1), (20, 6), jnp.float32)
  y = jnp.arange(20, dtype=jnp.int32) % 10
  key = jax.random.key(5)
  run = jax.jit(
    lambda key: mixupe_figure2.trained(
      key,
      x,
      y,
      policy=policies.mixup(1.0),
      epochs=2,
      batch_size=8,
      watched=12,
    )
  )
  found = jax.device_get(run(key))
  assert found["smallest"].shape == (2 * (20 // 8) + 1,)
  model = models.create("mlp", 10)
  variables = model.init(jax.random.split(key)[0], x[:1])
  one = lambda point: model.apply(variables, point[None])[0]
  logits, gradients = jax.device_get(
    jax.jit(jax.vmap(lambda point: (one(point), jax.jacrev(one)(point))))(
      x[:12]
    )
  )
  residual = np.exp(logits - logits.max(axis=1, keepdims=True))
  residual /= residual.sum(axis=1, keepdims=True)
  residual[np.arange(12), np.asarray(y[:12])] -= 1.0
  x = np.asarray(x)
  towards = np.mean(x, axis=0) - x[:12]
  lengths = np.linalg.norm(gradients, axis=2)
  distance = np.linalg.norm(towards, axis=1)[:, None]
  products = np.einsum("nkd,nd->nk", gradients, towards)
  alpha = residual * products / lengths / distance
  q = np.sum(alpha * lengths * distance, axis=1)  # eq. (3)
  for name, expected in {
    "smallest": np.min(alpha),
    "quantile": np.quantile(alpha, 0.01),
    "negative": np.mean(alpha < 0.0),
    "rising": np.mean(q < 0.0),
    "mean_q": np.mean(q),
    "accuracy": np.mean(np.argmax(logits, axis=1) == y[:12]),
  }.items():
    np.testing.assert_allclose(
      found[name][0], expected, rtol=1e-4, atol=1e-5, err_msg=name
    )


def test_trainings_share_their_start_and_part(smoke):
  mixup, erm = (smoke["curves"][name] for name in ("Mixup", "ERM"))
  assert smoke["iterations"][:3] == [0, 1, 2]
  for name, values in mixup.items():
    np.testing.assert_allclose(
      np.asarray(values)[:, 0], np.asarray(erm[name])[:, 0], err_msg=name
    )
  assert mixup["mean_q"] != erm["mean_q"]
  assert smoke["seen"] and "Seen" in smoke["caption"]
