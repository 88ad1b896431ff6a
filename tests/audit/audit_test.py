"""Every fault is found alone, and correct functions are told none."""

import importlib.util
import inspect
import pathlib

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxmix

PATH = pathlib.Path(__file__).parent / "planted.py"
spec = importlib.util.spec_from_file_location("planted", PATH)
planted = importlib.util.module_from_spec(spec)
spec.loader.exec_module(planted)

# function -> (the check, what its numbers say, the smallest input)
FAULTS = {
  planted.skewed: ("law", "lam's mean is 0.3", "alpha=0.01, 64 batches"),
  planted.lost_at_small_alpha: ("law", "not finite", "alpha=0.01"),
  planted.one_stream: ("dependence", "standard errors", "64 batches"),
  planted.other_partners: ("partners", "is mixed with image", "batch of 4"),
  planted.other_lam: ("weights", "keeps lam = ", "a batch of 2"),
  planted.label_of_sum_two: ("weights", "sums to 2", "a batch of 2"),
  planted.smoothed: ("smoothing", "0.1 of label", "a batch of 2"),
  planted.lam_before_clipping: ("area", "of its area", "a batch of 2"),
  planted.rounded_classes: ("class ids", "(2048.0, 2052.0)", "float16"),
  planted.widened: ("dtype", "came back as float32", "float16"),
  planted.clipped: ("range", "[-2.5, 2.5]", "2 images"),
  planted.rescaled: ("range", "[0, 255]", "2 images"),
  planted.noisy: ("mixture", "no blend", "a batch of 2"),
  planted.in_place: ("in place", "changed images", "a batch of 2"),
  planted.even_only: ("odd batch", "should be even", "a batch of 3"),
  planted.not_alone: ("batch of one", "ValueError", "a batch of 1"),
  planted.RemembersTheSize(): ("short batch", "of several", "of 4 after one"),
  planted.drops_the_rest: ("short batch", "got shape (0,", "of 2 after one"),
  planted.own_seed: ("replicas", "the same lam", "seeds 0, 1"),
  planted.CountsCalls(): ("same key", "different results", "twice"),
  planted.unreadable: ("call", "targets must be MixedTargets", "batch of 8"),
}
name_of = lambda fn: getattr(fn, "__name__", type(fn).__name__)


@pytest.mark.parametrize("fn", FAULTS, ids=name_of)
def test_a_planted_fault_is_found_and_no_other(fn):
  check, detail, smallest = FAULTS[fn]
  takes = "alpha" in inspect.signature(fn).parameters
  known = {} if takes else {"alpha": 1.0}
  report = jaxmix.audit(fn, kind="numpy", **known)
  assert [f.check for f in report.faults] == [check], report
  (found,) = report.faults
  assert detail in found.detail and smallest in found.smallest, found
  with pytest.raises(ValueError, match=f"has 1 fault.*\n  {check}: "):
    report.raise_for_faults()


def test_a_fault_s_arguments_show_it_again():
  report = jaxmix.audit(planted.other_lam, kind="numpy", alpha=1.0)
  seed, images, labels = report["weights"].arguments
  _, (_, _, weight) = planted.other_lam(seed, images, labels)
  lam = np.random.default_rng(seed).random(len(images))
  assert len(images) == 2 and not np.allclose(weight, lam)


@pytest.mark.parametrize("seed", [0, 7_000, 2**31])
@pytest.mark.parametrize(
  "fn", [planted.mixup, planted.cutmix, planted.packed, planted.of_a_batch]
)
def test_a_correct_function_has_no_fault(fn, seed):
  report = jaxmix.audit(fn, kind="numpy", seed=seed, draws=1024)
  assert not report.faults and not any("folded" in v for v in report.variants)
  assert {f.status for f in report.findings} == {"pass", "not applicable"}
  report.raise_for_faults()


def test_variants_are_told_and_are_no_faults():
  folded = jaxmix.audit(planted.folded, kind="numpy")
  assert not folded.faults
  assert folded.variants == ("lam is folded to max(lam, 1 - lam)",)
  batch = jaxmix.audit(planted.of_a_batch, kind="numpy", draws=512)
  assert batch.variants == ("one lam a batch", "partners are not drawn")
  still = jaxmix.audit(lambda seed, x, y: (x, (y, y, 1.0)), kind="numpy")
  assert not still.faults and still.variants == ("nothing is mixed",)


def test_what_cannot_be_judged_says_why():
  report = jaxmix.audit(planted.own_seed, kind="numpy", alpha=1.0)
  assert report["law"].status == "not applicable"
  assert "replicas" in report["law"].detail
  report = jaxmix.audit(planted.one_stream, kind="numpy")
  assert report["law"].detail.startswith("fn takes no alpha")


def test_the_report_prints_as_a_table():
  lines = str(jaxmix.audit(planted.smoothed, kind="numpy")).splitlines()
  assert lines[0] == "smoothed" and max(map(len, lines)) < 80
  (line,) = [k for k, x in enumerate(lines) if x.startswith("smoothing ")]
  assert lines[line].split()[1] == "fault"
  assert "Smallest input: a batch of 2" in " ".join(
    " ".join(lines[line : line + 4]).split()
  )


def mixed(lam, images, labels, partner):
  own = lam.astype(images.dtype)[:, None, None, None]
  blend = own * images + (1 - own) * images[partner]
  return blend, (labels, labels[partner], lam)


def uniform(key, shape):
  lam = jax.random.uniform(key, shape)
  return lam, lam


POLICY = jaxmix.MixingPolicy(uniform, mean_shift=1 / 3)


def uniform_mixup(key, images, labels):
  lam, partner = uniform(key, (len(images),))[0], jnp.arange(len(images))[::-1]
  return mixed(lam, images, labels, partner)


def test_mixup_of_ours_passes_every_check_that_applies():
  report = jaxmix.audit(jaxmix.mixup, alpha=(0.01, 1.0))
  report.raise_for_faults()
  silent = {f.check for f in report.findings if f.status != "pass"}
  assert silent == {"smoothing", "area", "in place"}
  assert "No key is used twice" in report["dependence"].detail
  assert "alpha=0.01: " in report["law"].detail


def test_cutmix_of_ours_passes():
  def cutmix(key, images, labels):
    pairing = jaxmix.pairing.roll
    return jaxmix.cutmix(key, images, labels, policy=POLICY, pairing=pairing)

  report = jaxmix.audit(cutmix)
  report.raise_for_faults()
  assert report["area"].status == "pass"


def test_laws_and_label_weights_are_a_policy_s_where_one_is_given():
  root = lambda key, shape: uniform(key, shape)[0] ** 0.5

  def kept_whole(key, images, labels):
    lam, partner = root(key, (len(images),)), jnp.arange(len(images))[::-1]
    return mixed(lam, images, labels, partner)[0], (labels, labels, lam)

  policy = jaxmix.MixingPolicy(
    lambda key, shape: (root(key, shape), jnp.ones(shape)), mean_shift=1 / 3
  )
  report = jaxmix.audit(kept_whole, policy=policy)
  report.raise_for_faults()
  assert report["law"].status == report["weights"].status == "pass"
  tied = jaxmix.audit(kept_whole, policy=POLICY)
  assert {f.check for f in tied.faults} == {"law", "weights"}


def one_key(key, images, labels):
  lam = uniform(key, (len(images),))[0]
  partner = jax.random.permutation(key, len(images))
  return mixed(lam, images, labels, partner)


def branches(key, images, labels):
  images, (first, second, lam) = uniform_mixup(key, images, labels)
  return images, (first, second, lam if lam[0] < 2 else None)


def no_gradient(key, images, labels):
  images, targets = uniform_mixup(key, images, labels)
  return jax.lax.stop_gradient(images), targets


def nan_gradient(key, images, labels):
  images, targets = uniform_mixup(key, images, labels)
  return images + 0 * jnp.sqrt(images - images), targets


def fixed_key(key, images, labels):
  return uniform_mixup(jax.random.key(3), images, labels)


def rounded(key, images, labels):
  images, (*classes, lam) = uniform_mixup(key, images, labels)
  return images, (*(c.astype(images.dtype) for c in classes), lam)


@pytest.mark.parametrize(
  "fn, check, detail",
  [
    (one_key, "dependence", "A key is used twice"),
    (branches, "jit", "TracerBoolConversionError"),
    (no_gradient, "gradients", "by the gradient 0"),
    (nan_gradient, "gradients", "by the gradient nan"),
    (fixed_key, "replicas", "keys of their own draw the same lam"),
    (rounded, "class ids", "(256.0, 260.0)"),
  ],
  ids=lambda value: getattr(value, "__name__", ""),
)
def test_a_planted_fault_of_jax_is_found_and_no_other(fn, check, detail):
  report = jaxmix.audit(fn, alpha=1.0, draws=1024)
  assert [f.check for f in report.faults] == [check], report
  assert detail in report.faults[0].detail


def test_torch_is_called_with_its_own_tensors_and_never_imported_unless_asked():
  torch = pytest.importorskip("torch")

  def mixup(seed, images, labels):
    lam = torch.rand(len(images))
    partner = torch.randperm(len(images))
    own = lam.to(images.dtype)[:, None, None, None]
    blend = own * images + (1 - own) * images[partner]
    return blend, (labels, labels[partner], lam)

  def in_place(seed, images, labels):
    blend, targets = mixup(seed, images, labels)
    return images.copy_(blend), targets

  def cut(seed, images, labels):
    with torch.no_grad():
      return mixup(seed, images, labels)

  jaxmix.audit(mixup, alpha=1.0, kind="torch").raise_for_faults()
  for fn, check in ((in_place, "in place"), (cut, "gradients")):
    report = jaxmix.audit(fn, alpha=1.0, kind="torch")
    assert [f.check for f in report.faults] == [check], report


@pytest.mark.parametrize(
  "options, message",
  [
    ({"kind": "tf"}, r"kind must be one of .*, got 'tf'"),
    ({"num_classes": 3}, "num_classes must be at least 4, got 3"),
    ({"draws": 10}, "draws must be at least 256, got 10"),
    ({"seed": -1}, "seed must be at least 0, got -1"),
    ({"alpha": 0.0}, r"alpha must lie in \(0, inf\), got 0.0"),
    ({"alpha": (0.1, 1.0)}, "alpha must be one number where fn takes no alpha"),
    ({"alpha": 1.0, "policy": POLICY}, "alpha must be None beside a policy"),
  ],
)
def test_wrong_arguments_are_named(options, message):
  with pytest.raises(ValueError, match=message):
    jaxmix.audit(uniform_mixup, **options)


def test_an_unknown_check_is_named():
  report = jaxmix.audit(planted.unreadable, kind="numpy")
  with pytest.raises(KeyError, match="check must be one of call, got 'lam'"):
    report["lam"]
