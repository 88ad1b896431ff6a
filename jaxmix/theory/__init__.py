"""The theory of mixup as functions: expansions, robustness, complexity."""

from jaxmix.theory.directions import cosines as cosines
from jaxmix.theory.directions import (
  direction_coefficients as direction_coefficients,
)
from jaxmix.theory.directions import loss_cosines as loss_cosines
from jaxmix.theory.expansion import Regularizers as Regularizers
from jaxmix.theory.expansion import mixup_loss as mixup_loss
from jaxmix.theory.expansion import quadratic_mixup_loss as quadratic_mixup_loss
from jaxmix.theory.expansion import regularizers as regularizers
from jaxmix.theory.expansion import standard_loss as standard_loss
from jaxmix.theory.expansion import taylor_mixup_loss as taylor_mixup_loss
from jaxmix.theory.moments import beta_moment as beta_moment
from jaxmix.theory.moments import shift_moments as shift_moments
from jaxmix.theory.robustness import MixupRadius as MixupRadius
from jaxmix.theory.robustness import RobustnessBound as RobustnessBound
from jaxmix.theory.robustness import constant_radius as constant_radius
from jaxmix.theory.robustness import mixup_radius as mixup_radius
from jaxmix.theory.robustness import (
  quadratic_adversarial_loss as quadratic_adversarial_loss,
)
from jaxmix.theory.robustness import robustness_bound as robustness_bound
from jaxmix.theory.taylor import derivatives as derivatives
