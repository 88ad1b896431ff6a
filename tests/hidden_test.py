"""Mixing between layers: taps, and MixupE at them."""

import functools

from flax import linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxmix
from jaxmix import hidden, penalties

B, D, K = 8, 3, 4
RNG = np.random.default_rng(0)
X = jnp.asarray(RNG.normal(size=(B, D)), jnp.float32)
Y = jnp.asarray(RNG.integers(0, K, B))
LAM = jnp.linspace(0.1, 0.9, B)
PARTNER = jnp.roll(jnp.arange(B), 1)
MASK = jnp.array([True, True, False, True, False, True, True, True])
PARAMS = {
  "body": jnp.asarray(RNG.normal(size=(D, 5)), jnp.float32),
  "head": jnp.asarray(RNG.normal(size=(5, K)), jnp.float32),
}


def plan_of(mask=None):
  return jaxmix.MixPlan(LAM, LAM, PARTNER, 1 / 3, mask)


def body(params, x):
  return jnp.tanh(x @ params["body"])


def head(params, h):
  return jnp.sin(h @ params["head"])


def net(params, x, tap=lambda place, x, parts: (x, parts)):
  """Two layers, of your own, with a place at the input and one between."""
  x, parts = tap(0, x, None)
  h, _ = tap(1, body(params, x), parts)
  return head(params, h)


def assert_close(found, want, rtol=1e-5, atol=1e-6):
  jax.tree.map(
    functools.partial(np.testing.assert_allclose, rtol=rtol, atol=atol),
    *(found, want),
  )


# The tap.


def test_by_hand():
  lam, partner = jnp.array([0.75, 1.0]), jnp.array([1, 0])
  plan = jaxmix.MixPlan(lam, lam, partner)
  x = jnp.array([[0.0], [8.0]])
  tap = hidden.at(plan, 2)
  assert tap(1, x, None) == (x, None)
  mixed, parts = tap(2, x, None)
  np.testing.assert_array_equal(mixed, [[2.0], [8.0]])
  assert parts is None
  both, parts = hidden.at(plan, 2, count=1)(2, {"a": x}, None)
  np.testing.assert_array_equal(both["a"], [[2.0], [8.0], [0.0]])
  assert parts == (2, 1)
  _, parts = hidden.at(plan, 2, count=1, split=False)(2, x, None)
  assert parts is None


SMALL = {
  "resnet8": ((2, 8, 8, 3), {"width": 4}),
  "resnet50_tiny": ((2, 32, 32, 3), {}),
  "vit_b16_tiny": ((2, 16, 16, 3), {}),
  "coatnet0_tiny": ((2, 32, 32, 3), {}),
  "mlp": ((2, 3), {"features": (6, 5)}),
}
STAGES = {
  "resnet8": ("input", "stem", "stage1", "stage2", "stage3", "readout"),
  "resnet50_tiny": (
    *("input", "stem", "stage1", "stage2", "stage3", "stage4", "readout"),
  ),
  "vit_b16_tiny": ("input", "embedding", "block1", "block2", "readout"),
  "coatnet0_tiny": ("input", "s0", "s1", "s2", "s3", "s4", "readout"),
  "mlp": ("input", "dense1", "readout"),
}


@pytest.mark.parametrize("name", SMALL)
def test_models_call_the_tap_at_every_place_in_order(name):
  shape, options = SMALL[name]
  model = jaxmix.models.create(name, K, **options)
  assert model.stages == STAGES[name]
  for remat in ("none", "blocks"):
    if remat == "blocks" and name != "mlp":
      model = jaxmix.models.create(name, K, remat=remat, **options)
    seen = []

    def tap(place, x, parts, seen=seen):
      seen.append((place, x.shape, x.dtype))
      # Three examples more from the second place on: all layers must follow.
      if place == 1:
        return jnp.concatenate([x, x[:1]]), (2, 1)
      return x, parts

    def run(key, x, model=model, tap=tap):
      variables = model.init(key, x)
      logits, _ = model.apply(
        variables, x, True, tap=tap, mutable=["batch_stats"]
      )
      return logits

    x = jax.ShapeDtypeStruct(shape, jnp.float32)
    assert jax.eval_shape(run, jax.random.key(0), x).shape == (3, K)
    assert [place for place, _, _ in seen] == list(range(len(model.stages)))
    assert seen[0][1] == shape and len(seen[-1][1]) == 2
    assert [s[0] for _, s, _ in seen] == [2, 2] + [3] * (len(seen) - 2)


@pytest.mark.parametrize("name", ["resnet8", "vit_b16_tiny", "mlp"])
def test_at_the_input_it_is_input_mixing_to_the_last_bit(name):
  shape, options = SMALL[name]
  model = jaxmix.models.create(name, K, **options)
  x = jax.random.normal(jax.random.key(0), shape)
  lam = jnp.array([0.3, 0.9])
  plan = jaxmix.MixPlan(lam, lam, jnp.array([1, 0]))
  variables = jax.jit(model.init)(jax.random.key(1), x)
  # Away from ViT's zero-initialised head.
  variables = jax.tree.map(lambda leaf: leaf + 0.01, variables)
  run = lambda x, **options: model.apply(variables, x, **options)
  found = jax.jit(lambda x: run(x, tap=hidden.at(plan, 0)))(x)
  want = jax.jit(lambda x: run(plan.mix(x)))(x)
  assert jnp.std(want) > 0.0
  np.testing.assert_array_equal(found, want)


def test_a_drawn_place_is_that_place_and_the_model_is_there_once():
  """Of one program: values, gradients, batch statistics, padded rows."""
  model = jaxmix.models.create("resnet8", K, width=4)
  x = jax.random.normal(jax.random.key(0), (B, 8, 8, 3))
  variables = jax.jit(model.init)(jax.random.key(1), x)
  # Away from blocks that are the identity at first.
  variables = jax.tree.map(lambda leaf: leaf + 0.01, variables)
  places = (0, 2, 5)

  def loss(variables, place, among=None):
    def apply(x, tap):
      return model.apply(
        variables, x, True, tap=tap, mask=MASK, mutable=["batch_stats"]
      )

    tap = hidden.at(plan_of(MASK), place, among=among)
    logits, state = hidden.run(apply, x, tap)
    return jnp.sum(jnp.where(MASK[:, None], jnp.sin(logits), 0.0)), state

  grad = jax.value_and_grad(loss, has_aux=True)
  drawn = jax.jit(lambda *args: grad(*args, among=places))
  found = [drawn(variables, jnp.int32(place)) for place in places]
  assert drawn._cache_size() == 1  # noqa: SLF001
  for place, own in zip(places, found, strict=True):
    want = jax.jit(functools.partial(grad, place=place))(variables)
    assert_close(own, want, rtol=1e-4, atol=1e-5)
  together = jax.jit(jax.vmap(lambda k: grad(variables, k, among=places)))
  assert_close(
    together(jnp.array(places)),
    jax.tree.map(lambda *leaves: jnp.stack(leaves), *found),
    *(1e-4, 1e-5),
  )
  assert len({round(float(value), 5) for (value, _), _ in found}) == 3
  once, mixing = (
    str(jax.make_jaxpr(run)(variables, *place))
    for run, *place in (
      (functools.partial(loss, place=2),),
      (functools.partial(loss, among=places), 2),
    )
  )
  convolution = "conv_general_dilated["
  assert mixing.count(convolution) == once.count(convolution) > 0


def test_at_a_drawn_place_by_hand():
  lam, partner = jnp.array([0.75, 1.0]), jnp.array([1, 0])
  plan = jaxmix.MixPlan(lam, lam, partner)
  x = {"a": jnp.array([[0.0], [8.0]])}
  for drawn in (2, np.int64(2), jnp.uint8(2)):
    tap = hidden.at(plan, drawn, among=[1, 2])
    assert tap.places == (1, 2)
    # Elsewhere nothing is asked.
    assert tap(0, x, (2,)) == (x, (2,)) and tap(3, x, None) == (x, None)
    stays, parts = tap(1, x, (1, 1))
    np.testing.assert_array_equal(stays["a"], x["a"])
    assert parts == (1, 1)
    np.testing.assert_array_equal(tap(2, x, None)[0]["a"], [[2.0], [8.0]])


def test_replicas_draw_places_of_their_own_and_partners_of_the_neighbour():
  """No replica waits for partners at a place that another has not drawn."""
  x = jnp.arange(8.0).reshape(8, 1, 1)

  def replica(x, place):
    pairing = jaxmix.pairing.ring("r")
    plan = jaxmix.draw(
      *(jax.random.key(0), 1),
      policy=jaxmix.MixingPolicy(
        lambda key, shape: (jnp.full(shape, 0.75), jnp.full(shape, 0.75)), 0.25
      ),
      pairing=pairing,
    )
    tap = hidden.at(plan, place, among=(0, 1))
    y, _ = tap(0, x, None)
    return tap(1, 10.0 * y, None)[0]

  place = jnp.arange(8) % 2
  found = jax.pmap(replica, "r")(x, place)[:, 0, 0]
  before = (np.arange(8) - 1) % 8
  # Odd ones get their neighbour's features, which that one has mixed before.
  even = 10.0 * (0.75 * np.arange(8) + 0.25 * before)
  odd = 0.75 * 10.0 * np.arange(8) + 0.25 * np.roll(even, 1)
  np.testing.assert_allclose(found, np.where(place == 0, even, odd))


def batches_of(program, primitives):
  """The leading axes of what these primitives make, inner programs too."""
  found = []
  for equation in program.eqns:
    if equation.primitive.name in primitives:
      found.append(equation.outvars[0].aval.shape[0])
    for value in equation.params.values():
      inner = getattr(value, "jaxpr", value)
      if hasattr(inner, "eqns"):
        found += batches_of(inner, primitives)
  return found


@pytest.mark.parametrize("penalty", ["approximate", "exact"])
def test_at_the_read_out_the_body_runs_once(penalty):
  model = jaxmix.models.create("resnet8", K, width=4)
  x, y = jnp.ones((B, 8, 8, 3)), Y
  variables = jax.eval_shape(model.init, jax.random.key(0), x)

  def loss(variables, x, place):
    def apply(x, parts=None, tap=None):
      return model.apply(
        variables, x, True, parts, tap, mutable=["batch_stats"]
      )[0]

    return jaxmix.mixupe_loss(
      apply,
      *(x, y, plan_of()),
      eta=1.0,
      penalty=penalty,
      mix_at=place,
      clean_pass="split",
      clean_fraction=0.5,
    )[0]

  def traced(place):
    run = functools.partial(loss, place=place)
    return jax.make_jaxpr(run)(variables, x).jaxpr

  convolutions, products = "conv_general_dilated", "dot_general"
  plain = jax.make_jaxpr(lambda v, x: model.apply(v, x))(variables, x).jaxpr
  body = len(batches_of(plain, convolutions))
  last = len(model.stages) - 1
  assert batches_of(traced(last), [convolutions]) == [B] * body
  tangents = 2 if penalty == "exact" else 1
  at_input = batches_of(traced(0), [convolutions])
  assert at_input == [B + B // 2] * body * tangents
  # The head: mixed and clean, and their tangents.
  assert batches_of(traced(last), [products]) == [B + B // 2] * tangents


# MixupE.


PENALTIES = {
  "approximate": penalties.approximate(),
  "exact": penalties.exact(0.3),
  "order 2": penalties.taylor(2, input_mean=0.3),
  "order 3": penalties.taylor(3),
}


@pytest.mark.parametrize("penalty", PENALTIES)
@pytest.mark.parametrize(
  "options",
  [
    {"clean_pass": "joint", "clean_fraction": 0.5},
    {"clean_pass": "split", "plan": plan_of(MASK)},
    {"clean_pass": "separate", "clean_fraction": 0.5, "plan": plan_of(MASK)},
    {"penalty_at": "mixed"},
  ],
  ids=["joint", "split", "separate", "mixed"],
)
def test_is_mixupe_of_the_layers_above_on_the_features(penalty, options):
  """Lemma 3.4 of Zhang et al. (2021): Mixup at the last hidden layer.

  There the head alone is trained; here also the gradient of what is below.
  """
  options = {"plan": plan_of(), **options}
  penalty = PENALTIES[penalty]

  def at_layer(params):
    apply = lambda x, **kwargs: net(params, x, **kwargs)
    return jaxmix.mixupe_loss(
      apply, X, Y, eta=0.7, penalty=penalty, mix_at=1, **options
    )

  def on_features(params):
    apply = lambda h, parts=None: head(params, h)
    return jaxmix.mixupe_loss(
      *(apply, body(params, X), Y),
      eta=0.7,
      penalty=penalty,
      **options,
    )

  found, want = (
    jax.jit(jax.value_and_grad(f, has_aux=True))(PARAMS)
    for f in (at_layer, on_features)
  )
  assert want[0][1].penalty > 0.01
  assert all(jnp.abs(leaf).max() > 1e-3 for leaf in jax.tree.leaves(want[1]))
  assert_close(found, want, rtol=1e-4)


@pytest.mark.parametrize("penalty", ["approximate", "exact"])
def test_one_gradient_after_the_other(penalty):
  options = dict(
    eta=0.7, penalty=penalty, mix_at=1, clean_fraction=0.5, has_aux=True
  )

  def apply(params, x, state=0.0, tap=lambda place, x, parts: (x, parts)):
    return net(params, x, tap), state + 1.0

  def loss(params):
    return jaxmix.mixupe_loss(
      functools.partial(apply, params),
      *(X, Y, plan_of()),
      clean_pass="separate",
      **options,
    )

  in_turn = lambda params: jaxmix.mixupe_value_and_grad(
    apply, params, X, Y, plan_of(), **options
  )
  found = jax.jit(in_turn)(PARAMS)
  assert found[0][1].aux == 2.0
  want = jax.jit(jax.value_and_grad(loss, has_aux=True))(PARAMS)
  assert_close(found, want)


class Normed(nn.Module):
  """Batch norm below and above a place."""

  axis_name: str | None = None

  @nn.compact
  def __call__(self, x, parts=None, tap=None):
    norm = functools.partial(
      jaxmix.models.BatchNorm, False, axis_name=self.axis_name
    )
    x = nn.tanh(norm()(nn.Dense(5, param_dtype=x.dtype)(x), parts=parts))
    if tap is not None:
      x, parts = tap(1, x, parts)
    x = nn.tanh(norm()(nn.Dense(5, param_dtype=x.dtype)(x), parts=parts))
    return nn.Dense(K, param_dtype=x.dtype)(x)


def normed_loss(params, start, x, y, plan, axis_name=None, **options):
  def apply(x, parts=None, tap=None):
    return Normed(axis_name).apply(
      start | {"params": params}, x, parts, tap, mutable=["batch_stats"]
    )[0]

  return jaxmix.mixupe_loss(
    apply, x, y, plan, eta=0.7, mix_at=1, axis_name=axis_name, **options
  )


@pytest.mark.parametrize("penalty", ["approximate", "exact"])
def test_gradients_against_finite_differences(penalty):
  """Also below the place, where no tangent meets the statistics' marks."""
  start = Normed().init(jax.random.key(0), X)
  run = jax.jit(
    jax.value_and_grad(
      lambda p: normed_loss(
        p, start, X, Y, plan_of(), penalty=penalty, clean_pass="split"
      ),
      has_aux=True,
    )
  )
  params = start["params"]
  (_, aux), grads = run(params)
  assert aux.penalty > 0.01
  for layer in ("Dense_0", "Dense_1"):
    direction = jnp.cos(jnp.arange(params[layer]["kernel"].size)).reshape(
      params[layer]["kernel"].shape
    )

    def enhanced(step, layer=layer, direction=direction):
      kernel = params[layer]["kernel"] + step * direction
      (_, aux), _ = run(params | {layer: params[layer] | {"kernel": kernel}})
      return float(aux.mixup_loss + 0.7 * aux.penalty)

    difference = (enhanced(1e-2) - enhanced(-1e-2)) / 2e-2
    slope = jnp.sum(grads[layer]["kernel"] * direction) / aux.scale
    assert abs(difference) > 0.01
    np.testing.assert_allclose(slope, difference, rtol=0.02, atol=1e-3)


@pytest.mark.parametrize("fraction", [1.0, 0.5])
def test_eight_replicas_are_one_batch(fraction):
  """Two examples on each, who meet each other; the clean part is the first."""
  count = 16
  x = jnp.asarray(RNG.normal(size=(count, D)), jnp.float32)
  y = jnp.asarray(RNG.integers(0, K, count))
  lam = jnp.linspace(0.1, 0.9, count)
  start = Normed().init(jax.random.key(0), x)
  options = {"penalty": "exact", "clean_pass": "split"}

  def replica(x, y, lam):
    plan = jaxmix.MixPlan(lam, lam, jnp.array([1, 0]), 1 / 3)
    run = lambda p: normed_loss(
      p, start, x, y, plan, "r", clean_fraction=fraction, **options
    )
    (_, aux), grads = jax.value_and_grad(run, has_aux=True)(start["params"])
    return aux[:3], jax.lax.pmean(grads, "r")

  spread = lambda leaf: leaf.reshape(8, 2, *leaf.shape[1:])
  found = jax.pmap(replica, "r")(*map(spread, (x, y, lam)))
  # One batch whose clean part is the replicas' together: they come first.
  order = jnp.arange(count)
  if fraction < 1.0:
    order = jnp.concatenate([order[::2], order[1::2]])
  inverse = jnp.argsort(order)
  plan = jaxmix.MixPlan(*(lam[order], lam[order], inverse[order ^ 1]), 1 / 3)
  run = lambda p: normed_loss(
    *(p, start, x[order], y[order], plan), clean_fraction=fraction, **options
  )
  (_, aux), grads = jax.jit(jax.value_and_grad(run, has_aux=True))(
    start["params"]
  )
  assert aux.penalty > 0.01
  first = jax.tree.map(lambda leaf: leaf[0], found)
  assert_close(first, (aux[:3], grads), rtol=1e-4, atol=1e-5)


def test_inputs_that_cannot_be_mixed_can_be_tokens():
  table = jnp.asarray(RNG.normal(size=(7, 5)), jnp.float32)

  def apply(tokens, tap):
    h, _ = tap(1, table[tokens], None)
    return head(PARAMS, h)

  tokens = jnp.arange(B) % 7
  run = functools.partial(
    jaxmix.mixupe_loss, plan=plan_of(), eta=0.7, penalty="exact"
  )
  loss, aux = jax.jit(lambda x: run(apply, x, Y, mix_at=1))(tokens)
  want, _ = jax.jit(lambda h: run(lambda h: head(PARAMS, h), h, Y))(
    table[tokens]
  )
  assert aux.penalty > 0.01
  np.testing.assert_allclose(loss, want, rtol=1e-6)


def test_errors():
  plan = plan_of()
  with pytest.raises(ValueError, match="place must be at least 0.*got -1"):
    hidden.at(plan, -1)
  with pytest.raises(TypeError, match=r"place must be.*model.stages.index"):
    hidden.at(plan, "stem")
  with pytest.raises(ValueError, match="count must lie in 0..B = 8, got 9"):
    hidden.at(plan, 1, count=9)
  for place, among, error, message in (
    (1, (), ValueError, "among must name at least one place, got none"),
    (1, (0, -1), ValueError, "among must be at least 0"),
    (1, (0, 1.0), TypeError, "among must be a static integer, got 1.0"),
    (2, (0, 1), ValueError, r"place must be one of \(0, 1\), got 2"),
    ("stem", (0, 1), TypeError, "integer scalar, got 'stem'"),
    (True, (0, 1), TypeError, "integer scalar, got True"),
    (jnp.ones(()), (0, 1), TypeError, r"integer scalar, got float32\[\]"),
    (jnp.arange(2), (0, 1), TypeError, r"integer scalar, got int32\[2\]"),
  ):
    with pytest.raises(error, match=message):
      hidden.at(plan, place, among=among)
  with pytest.raises(ValueError, match="count must be 0 with among, got 1"):
    hidden.at(plan, 1, among=(0, 1), count=1)
  with pytest.raises(TypeError, match="place must be a static integer.*among"):
    jax.jit(lambda place: hidden.at(plan, place).lam)(1)
  with pytest.raises(TypeError, match="mix_at must be a static integer"):
    jax.jit(
      lambda k: jaxmix.mixupe_loss(net, X, Y, plan, eta=1.0, mix_at=k)[0]
    )(1)
  run = functools.partial(
    jaxmix.mixupe_loss, functools.partial(net, PARAMS), X, Y, plan, eta=1.0
  )
  in_turn = functools.partial(
    jaxmix.mixupe_value_and_grad, net, PARAMS, X, Y, plan, eta=1.0
  )
  for loss in (
    run,
    functools.partial(run, clean_pass="separate"),
    functools.partial(run, penalty_at="mixed", penalty="exact"),
    in_turn,
  ):
    with pytest.raises(ValueError, match=r"got 2; apply_fn called.*\[0, 1\]"):
      loss(mix_at=2)
  model = jaxmix.models.create("mlp", K)
  variables = jax.eval_shape(model.init, jax.random.key(0), X)
  with pytest.raises(
    ValueError, match="tap is for place 3.*0 to 2: input, dense1, readout"
  ):
    jax.eval_shape(
      lambda v: model.apply(v, X, tap=hidden.at(plan, 3)), variables
    )
  with pytest.raises(ValueError, match="tap is for place 3"):
    jax.eval_shape(
      lambda v, k: model.apply(v, X, tap=hidden.at(plan, k, among=(3, 0))),
      *(variables, 0),
    )
  own = functools.partial(net, PARAMS)
  with pytest.raises(ValueError, match=r"got 2; apply_fn called.*\[0, 1\]"):
    hidden.run(own, X, hidden.at(plan, 0, among=(0, 2)))
