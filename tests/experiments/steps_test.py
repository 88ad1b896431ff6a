"""The per-replica steps: against NumPy, and however replicas are laid out."""

import functools

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.special

from experiments import inputs, methods, networks, parallel, steps
from experiments.configs import common, digits
import jaxmix

REPLICAS = 8


def make_config(arg=None, **changes):
  config = digits.get_config(arg)
  if changes.get("model") != "mlp":
    config.model_options = {"width": 4, "stage_sizes": (1,)}
  config.batch_size = 64
  config.fgsm_epsilon = 0.0  # in an evaluation, most of what is compiled
  config.update(changes)
  return common.resolve(config)


def make_steps(config):
  return steps.create(config, inputs.create(config).spec)


def batch_of(config, start=0):
  return next(inputs.create(config).train(start_step=start))


def one_replica(own):
  """A training step of one replica, compiled; its arrays have that axis."""
  train = jax.vmap(own.train, (None, 0, None, None), axis_name=steps.AXIS)
  return jax.jit(train)


def train_one(config, mapped, state, batch):
  return mapped.train(state, batch, jax.random.key(1), methods.values(config))


def handmade_plans(monkeypatch):
  """Plans that travel with the batch, so that two layouts share pairs."""
  create = methods.create

  def handmade(config, task, *args):
    def draw(values, key, batch):
      del key
      lam = batch["lam"]
      shift = jaxmix.policies.mixup(values["alpha"]).mean_shift
      return jaxmix.MixPlan(lam, lam, batch["pairs"], shift)

    return create(config, task, *args)._replace(draw=draw)

  monkeypatch.setattr(methods, "create", handmade)


def paired_batches(config, count):
  """Batches with pairs inside each eighth, for one replica and for eight."""
  generator = np.random.default_rng(0)
  size = config.batch_size // REPLICAS
  for k in range(count):
    batch = batch_of(config, k)
    local = np.stack(
      [generator.permutation(size) for _ in range(REPLICAS)]
    ).astype(np.int32)
    batch["lam"] = generator.beta(1, 1, config.batch_size).astype(np.float32)
    starts = size * np.arange(REPLICAS, dtype=np.int32)[:, None]
    yield (
      batch | {"pairs": (local + starts).reshape(-1)},
      batch | {"pairs": local.reshape(-1)},
    )


def assert_close(a, b, rtol=2e-4, atol=2e-5):
  jax.tree.map(
    functools.partial(np.testing.assert_allclose, rtol=rtol, atol=atol), a, b
  )


@pytest.mark.parametrize(
  "changes",
  [
    {"method": "mixup"},
    {"method": "mixupe", "clean_pass": "split"},
    {"method": "mixupe", "clean_pass": "joint", "penalty_at": "mixed"},
    {"method": "mixupe", "clean_pass": "separate", "eta": 0.5},
    {"method": "mixupe", "penalty": "taylor"},
    {"method": "regmixup", "eta": 0.5},
    {"clean_pass": "separate", "eta": 2.0, "eta_scale": "relative"},
  ],
  ids=[
    *("mixup", "split", "mixed", "separate", "taylor"),
    *("regmixup", "relative"),
  ],
)
def test_one_times_64_equals_eight_times_8(monkeypatch, changes):
  """Loss, gradient, batch statistics and Polyak, given the same pairs."""
  handmade_plans(monkeypatch)
  config = make_config(
    optimizer="sgd", learning_rate=0.05, warmup_steps=0, **changes
  )
  own = make_steps(config)
  mapped = parallel.create("pmap", own)
  step = one_replica(own)
  key, values = jax.random.key(1), methods.values(config)
  one = many = mapped.init(jax.random.key(0))
  one = jax.tree.map(jnp.copy, one)
  for whole, divided in paired_batches(config, 3):
    whole = jax.tree.map(lambda x: jnp.asarray(x)[None], whole)
    one, metrics_one = step(one, whole, key, values)
    one, metrics_one = jax.tree.map(lambda x: x[0], (one, metrics_one))
    many, metrics_many = mapped.train(
      many, mapped.place([divided]), key, values
    )
    metrics_many = jax.tree.map(lambda x: x[0], metrics_many)
    assert_close(metrics_one, metrics_many)
  assert_close(one.params, many.params)
  assert_close(one.batch_stats, many.batch_stats)
  assert_close(one.polyak, many.polyak)
  # Momentum holds the gradients themselves.
  assert_close(one.opt_state, many.opt_state)


@pytest.mark.parametrize(
  "arg",
  [
    "method=mixupe",
    "method=dat,pgd_epsilon=0.5,pgd_norm=l2,pgd_steps=2",
    "method=mixupe,clean_pass=separate,eta=0.5",
    "method=cutmix",
  ],
)
def test_pmap_equals_shard_map(arg):
  config = make_config(arg)
  assert_pmap_equals_shard_map(config)


def vit_config(**changes):
  """A transformer of one block of width 8, dropping half."""
  config = digits.get_config("method=mixupe,model=vit_b16_tiny")
  config.model_options = {"patch_size": 4, "hidden_size": 8, "depth": 1}
  config.model_options.dropout = 0.5
  config.batch_size = 64
  with config.unlocked():
    config.update_from_flattened_dict(changes)
  return common.resolve(config)


@pytest.mark.parametrize("loss", ["cross_entropy", "logistic"])
@pytest.mark.parametrize("smoothing", [0.0, 0.5])
def test_the_penalty_is_of_the_loss_that_is_trained(loss, smoothing):
  """R from the network's clean outputs, in NumPy, with the smoothed labels."""
  config = digits.get_config("method=mixupe,model=mlp,eta=1.0,fgsm_epsilon=0.0")
  config.model_options = {"features": (4,)}
  config.update(batch_size=8, loss=loss, label_smoothing=smoothing)
  config = common.resolve(config)
  own, spec = make_steps(config), inputs.create(config).spec
  state, batch = own.init(jax.random.key(0)), batch_of(config)
  whole = jax.tree.map(lambda x: jnp.asarray(x)[None], batch)
  args = jax.random.key(1), methods.values(config)
  penalty = one_replica(own)(state, whole, *args)[1]["penalty"][0]
  network = networks.create(config, spec, 10, axis_name=None, dtype="float32")
  clean = spec.scale.to_float(jnp.asarray(batch["inputs"]), jnp.float32)
  f = np.asarray(network.apply(state.params, {}, clean)[0], np.float64)
  target = (1 - smoothing) * np.eye(10)[batch["label"]] + smoothing / 10
  softmax = functools.partial(scipy.special.softmax, axis=1)
  g = {"cross_entropy": softmax, "logistic": scipy.special.expit}[loss](f)
  shift = jaxmix.policies.mixup(config.alpha).mean_shift
  want = shift * np.abs(((g - target) * f).sum(axis=1)).mean()
  assert want > 1e-3
  np.testing.assert_allclose(penalty, want, rtol=1e-4)


class Drawing(nn.Module):
  """Keeps in its state what its last two passes drew."""

  num_outputs: int

  @nn.compact
  def __call__(self, x, *, train):
    seen = self.variable("batch_stats", "seen", jnp.zeros, (2,))
    if train:
      drawn = jax.random.uniform(self.make_rng("dropout"))
      seen.value = jnp.stack([seen.value[1], drawn])
    return nn.Dense(self.num_outputs)(x.reshape(len(x), -1))


@pytest.mark.parametrize("prng", ["threefry2x32", "rbg"])
def test_separate_passes_draw_dropout_of_their_own(prng):
  config = digits.get_config(
    "method=mixupe,clean_pass=separate,model=" + __name__ + ":Drawing"
  )
  config.model_options = {}
  config.update(batch_size=64, dropout_prng=prng)
  config = common.resolve(config)
  mapped = parallel.create("pmap", make_steps(config))
  state = mapped.init(jax.random.key(0))
  batch = mapped.place([batch_of(config)])
  state = train_one(config, mapped, state, batch)[0]
  mixed, clean = np.asarray(state.batch_stats["seen"]).reshape(-1, 2)[0]
  assert mixed > 0.0 and clean > 0.0 and mixed != clean


def test_hardware_bits_are_the_same_under_pmap_and_shard_map():
  assert_pmap_equals_shard_map(vit_config(dropout_prng="rbg"))


def test_dropout_prng_changes_the_dropped_and_nothing_else():
  def gradient_norms(**changes):
    norms = []
    for impl in ("threefry2x32", "rbg", "unsafe_rbg"):
      config = vit_config(dropout_prng=impl, **changes)
      mapped = parallel.create("pmap", make_steps(config))
      state = mapped.init(jax.random.key(0))
      batch = mapped.place([batch_of(config)])
      metrics = train_one(config, mapped, state, batch)[1]
      norms.append(float(np.asarray(metrics["gradient_norm"])[0]))
    return norms

  assert len(set(gradient_norms())) == 3
  assert len(set(gradient_norms(**{"model_options.dropout": 0.0}))) == 1


def assert_pmap_equals_shard_map(config):
  own = make_steps(config)
  results = []
  for kind in ("pmap", "shard_map"):
    mapped = parallel.create(kind, own)
    state = mapped.init(jax.random.key(0))
    for k in range(2):
      batch = mapped.place([batch_of(config, k)])
      state, metrics = train_one(config, mapped, state, batch)
    evaluated = mapped.evaluate(
      state, mapped.place_one(next(evaluation_batches(config)))
    )
    results.append(jax.device_get((state, metrics, evaluated)))
  jax.tree.map(np.testing.assert_array_equal, *results)


def evaluation_batches(config):
  config = config.copy_and_resolve_references()
  config.eval_batch_size = 400
  return inputs.create(config).evaluate()


def masked_config(method, **changes):
  return make_config(
    optimizer="sgd",
    learning_rate=0.05,
    warmup_steps=0,
    method=method,
    **changes,
  )


# Real rows of eight replicas' eight: all, some, one, none.
MASK = (np.arange(8) < np.array([8, 7, 6, 5, 4, 2, 1, 0])[:, None]).ravel()


def test_padded_rows_of_a_training_batch_count_for_nothing():
  """One step on eight replicas that are padded is one on the real rows."""
  config = masked_config("erm")
  own, batch = make_steps(config), batch_of(config)
  mapped = parallel.create("pmap", own)
  state = mapped.init(jax.random.key(0))
  key, values = jax.random.key(1), methods.values(config)
  real = jax.tree.map(lambda x: jnp.asarray(x[MASK])[None], batch)
  want = jax.tree.map(
    lambda x: x[0], one_replica(own)(state, real, key, values)
  )
  batch["inputs"] = np.where(MASK[:, None, None, None], batch["inputs"], 200)
  padded = mapped.place([batch | {"mask": MASK}])
  state, metrics = mapped.train(state, padded, key, values)
  assert_close(
    (state.params, state.batch_stats, state.opt_state),
    (want[0].params, want[0].batch_stats, want[0].opt_state),
  )
  assert_close(jax.tree.map(lambda x: x[0], metrics), want[1])


@pytest.mark.parametrize(
  ("method", "changes"),
  [("mixupe", {"eta": 0.5, "clean_pass": "split"}), ("cutmix", {})],
)
def test_what_padded_rows_hold_does_not_matter(method, changes):
  config = masked_config(method, **changes)
  mapped = parallel.create("pmap", make_steps(config))
  batch, found = batch_of(config), []
  for fill in (0, 200):
    state = mapped.init(jax.random.key(0))
    own = dict(batch, mask=MASK)
    own["inputs"] = np.where(
      MASK[:, None, None, None], batch["inputs"], np.uint8(fill)
    )
    own["label"] = np.where(MASK, batch["label"], fill // 50).astype(np.int32)
    found.append(train_one(config, mapped, state, mapped.place([own])))
  jax.tree.map(np.testing.assert_array_equal, *found)


def test_several_steps_a_dispatch_are_the_same_steps():
  config = make_config("method=mixupe", model="mlp")
  mapped = parallel.create("pmap", make_steps(config))
  batches = [batch_of(config, k) for k in range(4)]
  key, values = jax.random.key(1), methods.values(config)
  singly = mapped.init(jax.random.key(0))
  losses = []
  for batch in batches:
    singly, metrics = mapped.train(singly, mapped.place([batch]), key, values)
    losses.append(metrics["loss"][0])
  together, metrics = mapped.train(
    mapped.init(jax.random.key(0)), mapped.place(batches), key, values
  )
  np.testing.assert_allclose(metrics["loss"], losses, rtol=1e-6)
  assert_close(singly.params, together.params, 1e-5, 1e-6)


@pytest.mark.parametrize("method", ["mixup", "regmixup"])
def test_a_step_mixes_at_the_place_it_draws(method):
  """Of all places each is drawn; whether they are branches or not."""

  def step(mix_at):
    config = make_config(model="mlp", method=method, eta=0.5, mix_at=mix_at)
    return config, one_replica(make_steps(config))

  config, drawn = step("random")
  singly = [step(name)[1] for name in ("input", "dense1", "readout")]
  mapped = parallel.create("pmap", make_steps(config))
  state = jax.tree.map(jnp.copy, mapped.init(jax.random.key(0)))
  batch = jax.tree.map(lambda x: jnp.asarray(x)[None], batch_of(config))
  met = set()
  for number in range(10):
    args = state, batch, jax.random.key(number), methods.values(config)
    told = drawn(*args)[1]
    known = [one(*args)[1] for one in singly]
    (place,) = (
      k
      for k, one in enumerate(known)
      if np.allclose(one["loss"], told["loss"], rtol=1e-5)
    )
    assert_close(told, known[place])
    met.add(place)
  assert met == {0, 1, 2}


def test_replicas_and_steps_draw_different_lam(monkeypatch):
  drawn = []
  create = methods.create

  def spied(*args):
    method = create(*args)

    def draw(*args):
      plan = method.draw(*args)
      jax.debug.callback(lambda lam: drawn.append(np.asarray(lam)), plan.lam)
      return plan

    return method._replace(draw=draw)

  monkeypatch.setattr(methods, "create", spied)
  # alpha = 1: at 0.2 several lam round to exactly 1.
  config = make_config("method=mixup,alpha=1.0", model="mlp")
  mapped = parallel.create("pmap", make_steps(config))
  state = mapped.init(jax.random.key(0))
  for k in range(2):
    batch = mapped.place([batch_of(config, k)])
    state, _ = train_one(config, mapped, state, batch)
  jax.effects_barrier()
  lams = np.concatenate(drawn)
  assert lams.shape == (2 * 64,)
  assert len(np.unique(lams)) == 2 * 64


def drawn_lams(monkeypatch, arg, replicas):
  """What three steps draw, [step, replica, example], and the pairs."""
  drawn = []
  create = methods.create

  def spied(*args):
    method = create(*args)

    def draw(*args, **kwargs):
      plan = method.draw(*args, **kwargs)
      drawn.append((plan.lam, plan.weight, plan.partner))
      return plan

    return method._replace(draw=draw)

  config = make_config(f"{arg},alpha=1.5,beta=0.5", model="mlp")
  with monkeypatch.context() as patch:
    patch.setattr(methods, "create", spied)
    own = make_steps(config)
  state = jax.jit(own.init)(jax.random.key(0))
  batch = jax.tree.map(
    lambda x: jnp.asarray(x).reshape(replicas, -1, *x.shape[1:]),
    batch_of(config),
  )

  def plans(step, batch):
    drawn.clear()
    key, values = jax.random.key(1), methods.values(config)
    own.train(state.replace(step=step), batch, key, values)
    return drawn[0]

  step = jax.jit(jax.vmap(plans, (None, 0), axis_name=steps.AXIS))
  found = [step(jnp.asarray(k, state.step.dtype), batch) for k in range(3)]
  return jax.tree.map(lambda *x: np.stack(x), *found)


@pytest.mark.parametrize("method", ["mixup", "untied"])
def test_one_lam_a_batch_does_not_depend_on_the_replicas(monkeypatch, method):
  """share_lam: lam and weight are; pairs are each replica's own."""
  arg = f"method={method},per_example=False"
  one, eight = (
    drawn_lams(monkeypatch, f"{arg},share_lam=True", n) for n in (1, 8)
  )
  for alone, divided in zip(one[:2], eight[:2], strict=True):
    assert len(np.unique(alone)) == len(alone) == 3  # one a step
    np.testing.assert_array_equal(divided.reshape(3, 64), alone[:, 0])
  assert len(np.unique(eight[2][0], axis=0)) == 8
  # Of one replica, what it was; of several, one each without share_lam.
  jax.tree.map(
    np.testing.assert_array_equal, drawn_lams(monkeypatch, arg, 1), one
  )
  assert len(np.unique(drawn_lams(monkeypatch, arg, 8)[0])) == 3 * 8


def statistics(config):
  scale = inputs.create(config).spec.scale.to_float
  return np.array(scale.mean), np.array(scale.std)


def test_evaluation_against_numpy():
  config = make_config("method=erm", fgsm_epsilon=0.1)
  own = make_steps(config)
  mapped = parallel.create("pmap", own)
  state = mapped.init(jax.random.key(0))
  for k in range(30):
    batch = mapped.place([batch_of(config, k)])
    state, _ = train_one(config, mapped, state, batch)
  sums, images, labels = None, [], []
  for batch in evaluation_batches(config):
    images.append(batch["inputs"][batch["mask"]])
    labels.append(batch["label"][batch["mask"]])
    part = jax.device_get(mapped.evaluate(state, mapped.place_one(batch)))
    sums = jax.tree.map(np.add, sums, part) if sums else part
  means = own.means(sums)
  images, labels = np.concatenate(images), np.concatenate(labels)
  assert means["examples"] == len(labels) == 1197

  mean, std = statistics(config)
  model = jaxmix.models.create("resnet8", 10, **config.model_options)
  pixels = ((images - mean) / std).astype(np.float32)
  for prefix, (params, stats) in {
    "": (state.params, state.batch_stats),
    "polyak_": state.polyak,
  }.items():
    variables = jax.device_get({"params": params, "batch_stats": stats})
    logits = np.asarray(model.apply(variables, pixels), np.float64)
    prob = np.exp(logits - logits.max(1, keepdims=True))
    prob /= prob.sum(1, keepdims=True)
    loss = -np.log(prob[np.arange(1197), labels]).mean()
    hit = prob.argmax(1) == labels
    confidence = prob.max(1)
    gap = 0.0
    for k in range(15):
      inside = (confidence > k / 15) & (confidence <= (k + 1) / 15)
      if inside.any():
        gap += abs(hit[inside].mean() - confidence[inside].mean()) * np.mean(
          inside
        )
    np.testing.assert_allclose(means[f"{prefix}loss"], loss, rtol=1e-4)
    assert means[f"{prefix}accuracy"] == pytest.approx(hit.mean(), abs=1e-9)
    np.testing.assert_allclose(
      means[f"{prefix}calibration_error"], gap, atol=2e-3
    )

    def objective(x, variables=variables):
      x = (x - np.float32(mean[0] / 255)) / np.float32(std[0] / 255)
      logits = model.apply(variables, x)
      picked = jnp.take_along_axis(logits, labels[:, None], axis=1)[:, 0]
      return jnp.sum(jax.nn.logsumexp(logits, axis=1) - picked)

    scaled = images.astype(np.float32) / np.float32(255)
    attacked = np.clip(
      scaled + np.float32(0.1) * np.sign(jax.grad(objective)(scaled)), 0, 1
    )
    attacked = (attacked * 255 - mean) / std
    logits = model.apply(variables, attacked.astype(np.float32))
    robust = np.mean(np.asarray(logits).argmax(1) == labels)
    assert means[f"{prefix}fgsm_accuracy"] == pytest.approx(robust, abs=2e-3)
  assert means["accuracy"] != means["polyak_accuracy"]


def test_weights_without_an_average_are_evaluated_once():
  counts = {}
  for rate in (0.0, 0.9):
    config = make_config("method=erm", model="mlp", polyak_rate=rate)
    own = make_steps(config)
    state = jax.eval_shape(own.init, jax.random.key(0))
    batch = jax.tree.map(
      lambda x: jnp.asarray(x)[None], next(evaluation_batches(config))
    )
    run = jax.vmap(own.evaluate, (None, 0), axis_name=steps.AXIS)
    counts[rate] = str(jax.make_jaxpr(run)(state, batch)).count("dot_general")
  assert counts[0.9] == 2 * counts[0.0] > 0


def test_pgd_is_the_stronger_attack_on_a_trained_network():
  config = make_config(
    "method=erm,pgd_epsilon=0.1,pgd_steps=10",
    model="mlp",
    polyak_rate=0.9,
    fgsm_epsilon=0.1,
  )
  own = make_steps(config)
  mapped = parallel.create("pmap", own)
  state = mapped.init(jax.random.key(0))
  for k in range(80):
    batch = mapped.place([batch_of(config, k)])
    state, _ = train_one(config, mapped, state, batch)
  batch = next(evaluation_batches(config))
  sums = mapped.evaluate(state, mapped.place_one(batch))
  means = own.means(jax.device_get(sums))
  for prefix in ("", "polyak_"):
    clean, fgsm, pgd = (
      means[f"{prefix}{name}accuracy"] for name in ("", "fgsm_", "pgd_")
    )
    assert 0.85 < clean and pgd <= fgsm < clean - 0.1
  # Neither chance nor the number of replicas moves the lines.
  alone = jax.jit(jax.vmap(own.evaluate, (None, 0), axis_name=steps.AXIS))
  stacked = jax.tree.map(lambda x: jnp.asarray(x)[None], batch)
  one = jax.tree.map(lambda x: x[0], alone(state, stacked))
  for whose in ("live", "polyak"):
    np.testing.assert_array_equal(
      one[whose]["pgd_correct"], sums[whose]["pgd_correct"]
    )


@pytest.mark.parametrize("penalty", ["approximate", "exact"])
def test_separate_passes_equal_split_ones(penalty):
  """Two ways through the model and through its gradient, one step."""
  states = []
  for clean_pass in ("split", "separate"):
    config = make_config(
      method="mixupe",
      penalty=penalty,
      clean_pass=clean_pass,
      eta=0.5,
      optimizer="sgd",
      warmup_steps=0,
      model_options={"stage_sizes": (1, 1, 1)},  # for a penalty to compare
    )
    mapped = parallel.create("pmap", make_steps(config))
    state = mapped.init(jax.random.key(0))
    batch = mapped.place([batch_of(config)])
    state, metrics = train_one(config, mapped, state, batch)
    states.append((state.params, state.batch_stats, metrics))
    # Two zeros are equal, too.
    assert np.min(metrics["penalty"]) > 2e-3
  assert_close(*states, rtol=1e-3, atol=1e-4)


def test_erm_is_the_plain_loss():
  config = make_config("method=erm", polyak_rate=0.0)
  own = make_steps(config)
  state = jax.jit(own.init)(jax.random.key(0))
  batch = batch_of(config)
  stacked = jax.tree.map(lambda x: jnp.asarray(x)[None], batch)
  args = jax.random.key(1), methods.values(config)
  new, metrics = one_replica(own)(state, stacked, *args)
  mean, std = statistics(config)
  pixels = ((batch["inputs"] - mean) / std).astype(np.float32)
  logits, _ = jaxmix.models.create("resnet8", 10, **config.model_options).apply(
    {"params": state.params, "batch_stats": state.batch_stats},
    pixels,
    train=True,
    mutable=["batch_stats"],
  )
  loss = jaxmix.losses.softmax_cross_entropy(
    logits, jnp.asarray(batch["label"])
  )
  np.testing.assert_allclose(metrics["loss"][0], jnp.mean(loss), rtol=1e-5)
  # At rate 0 the average is the new weights themselves.
  jax.tree.map(
    np.testing.assert_array_equal, new.polyak, (new.params, new.batch_stats)
  )


@pytest.mark.parametrize(
  ("size", "works"), [(100, "96, 104"), (3, "8"), (71, "64, 72")]
)
def test_a_batch_that_replicas_do_not_divide_names_sizes_that_work(size, works):
  with pytest.raises(
    ValueError, match=f"batch_size={size} cannot .* 8 replicas.* work: {works}"
  ):
    parallel.check_batch_size(size, 8)
