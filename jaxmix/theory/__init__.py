"""The theory of mixup as functions: expansions, robustness, complexity."""

from jaxmix.taylor import derivatives as derivatives
from jaxmix.theory.complexity import gaussian_curvature as gaussian_curvature
from jaxmix.theory.complexity import rademacher_bound as rademacher_bound
from jaxmix.theory.complexity import (
  rademacher_mixup_class as rademacher_mixup_class,
)
from jaxmix.theory.complexity import retentiveness as retentiveness
from jaxmix.theory.complexity import two_layer_bound as two_layer_bound
from jaxmix.theory.dat import DatGap as DatGap
from jaxmix.theory.dat import concentration as concentration
from jaxmix.theory.dat import dat_density as dat_density
from jaxmix.theory.dat import dat_gap as dat_gap
from jaxmix.theory.dat import loss_range as loss_range
from jaxmix.theory.dat import pair_losses as pair_losses
from jaxmix.theory.dat import untied_density as untied_density
from jaxmix.theory.dat import untied_weight as untied_weight
from jaxmix.theory.directions import LogitFactors as LogitFactors
from jaxmix.theory.directions import cosines as cosines
from jaxmix.theory.directions import (
  direction_coefficients as direction_coefficients,
)
from jaxmix.theory.directions import direction_signs as direction_signs
from jaxmix.theory.directions import logit_factors as logit_factors
from jaxmix.theory.directions import loss_cosines as loss_cosines
from jaxmix.theory.expansion import Regularizers as Regularizers
from jaxmix.theory.expansion import mixup_loss as mixup_loss
from jaxmix.theory.expansion import quadratic_mixup_loss as quadratic_mixup_loss
from jaxmix.theory.expansion import regularizers as regularizers
from jaxmix.theory.expansion import standard_loss as standard_loss
from jaxmix.theory.expansion import taylor_mixup_loss as taylor_mixup_loss
from jaxmix.theory.generalization import (
  generalization_bound as generalization_bound,
)
from jaxmix.theory.glm import glm_regularizer as glm_regularizer
from jaxmix.theory.glm import two_layer_regularizer as two_layer_regularizer
from jaxmix.theory.kimura import Divergences as Divergences
from jaxmix.theory.kimura import Hessians as Hessians
from jaxmix.theory.kimura import LinearGap as LinearGap
from jaxmix.theory.kimura import NetworkGap as NetworkGap
from jaxmix.theory.kimura import bregman_divergence as bregman_divergence
from jaxmix.theory.kimura import bregman_scaling as bregman_scaling
from jaxmix.theory.kimura import kimura_linear_gap as kimura_linear_gap
from jaxmix.theory.kimura import kimura_network_gap as kimura_network_gap
from jaxmix.theory.moments import beta_moment as beta_moment
from jaxmix.theory.moments import shift_moments as shift_moments
from jaxmix.theory.optimal import MixupOptimal as MixupOptimal
from jaxmix.theory.optimal import mixup_optimal as mixup_optimal
from jaxmix.theory.probes import ProbedRegularizers as ProbedRegularizers
from jaxmix.theory.probes import probed_regularizers as probed_regularizers
from jaxmix.theory.rademacher import Estimate as Estimate
from jaxmix.theory.rademacher import (
  rademacher_ellipsoid as rademacher_ellipsoid,
)
from jaxmix.theory.rademacher import rademacher_linear as rademacher_linear
from jaxmix.theory.radius import RadiusConstants as RadiusConstants
from jaxmix.theory.radius import constant_radius as constant_radius
from jaxmix.theory.radius import radius_constants as radius_constants
from jaxmix.theory.remainder import taylor_remainder as taylor_remainder
from jaxmix.theory.robustness import MixupRadius as MixupRadius
from jaxmix.theory.robustness import (
  RobustnessAssumptions as RobustnessAssumptions,
)
from jaxmix.theory.robustness import RobustnessBound as RobustnessBound
from jaxmix.theory.robustness import mixup_radius as mixup_radius
from jaxmix.theory.robustness import (
  quadratic_adversarial_loss as quadratic_adversarial_loss,
)
from jaxmix.theory.robustness import (
  robustness_assumptions as robustness_assumptions,
)
from jaxmix.theory.robustness import robustness_bound as robustness_bound
