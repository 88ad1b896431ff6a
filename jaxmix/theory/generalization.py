"""From a Rademacher complexity to a generalisation gap.

Lemma A.1 and Corollary 3.1 of Zhang et al. (2021), Lemmas 1 and 2 and Theorem 1
of Kimura (2021): the same statement, by McDiarmid's inequality and contraction.
"""

from __future__ import annotations

import chex
import jax.numpy as jnp

from jaxmix import checks
from jaxmix.theory import arguments


def generalization_bound(
  complexity: chex.Numeric,
  n: chex.Numeric,
  *,
  prob: chex.Numeric,
  lipschitz: chex.Numeric = 1.0,
  size: chex.Numeric = 1.0,
  empirical: bool = False,
) -> chex.Array:
  """How far a mean loss exceeds its sample's, over a whole class at once.

    2 L Rad + B sqrt(log(1 / prob) / (2 n))

  with probability at least 1 - prob, for losses that are L-Lipschitz in what
  the class returns and lie in an interval of length B. Rad is the complexity's
  mean over samples. With that of the one sample at hand (empirical=True) it is
  2 L Rad_S + 3 B sqrt(log(2 / prob) / (2 n)).

  Lemma A.1 of Zhang et al. has the first with the sample's own complexity, Rad
  (Phi, S), which the theorems before it call empirical too; the proof by
  McDiarmid's inequality needs the mean, as does `rademacher_bound`. Its
  "B-uniformly bounded" is right for losses in [0, B] and false for |loss| <= B,
  whose interval is twice as long: a fair coin exceeds it (a test). Corollary
  3.1 and Theorem 3.5 are this with `rademacher_bound` and `two_layer_bound`;
  there L L_A stands for a Lipschitz constant of A(u) - y u, L_A + max |y|.

  Kimura's Lemma 1 prints m for n in both forms, and is right else. His Theorem
  1 is for the 0-1 loss of classes of +-1: there the loss is (1 - y h) / 2,
  whose L is 1/2 (Lemma 2). His Theorems 2 and 3 are about real-valued classes,
  for which Lemma 2 is false (the loss 1{h(x) != y} of h within (-1, 1) is
  always 1, complexity 0), and of the class of their signs, which Lemma 2 is
  true of, they say nothing: signs keep their complexity when x shrinks. What a
  smaller complexity of real-valued h does give is this bound for a Lipschitz
  loss, such as the logistic loss or a margin's.

  Args:
    complexity: Rad or, with empirical=True, that of the sample, >= 0.
    n: sample size, > 0.
    prob: of a larger gap, in (0, 1].
    lipschitz: L, >= 0.
    size: B, the length of an interval that holds the loss, >= 0.
    empirical: whether the complexity is the sample's own.

  Returns:
    The bound, a scalar in the default float dtype.

  Raises:
    ValueError: if a number is out of range.

  Example:
    >>> bound = jaxmix.theory.generalization_bound(0.1, 50, prob=0.01)
    >>> round(float(bound), 4)  # 0.2 + sqrt(log(100) / 100)
    0.4146
  """
  checks.scalar("complexity", complexity, low=0.0)
  checks.scalar("n", n, low=0.0, open_low=True)
  checks.scalar("prob", prob, low=0.0, high=1.0, open_low=True)
  checks.scalar("lipschitz", lipschitz, low=0.0)
  checks.scalar("size", size, low=0.0)
  complexity, n, prob, lipschitz, size = (
    jnp.asarray(arguments.listed(value), float)
    for value in (complexity, n, prob, lipschitz, size)
  )
  ways, times = (2.0, 3.0) if empirical else (1.0, 1.0)
  deviation = times * size * jnp.sqrt(jnp.log(ways / prob) / (2.0 * n))
  return 2.0 * lipschitz * complexity + deviation
