"""jaxmix: mixup, MixupE, untied MixUp and DAT as pure JAX functions."""

from jaxmix import attacks as attacks
from jaxmix import beta as beta
from jaxmix import hidden as hidden
from jaxmix import losses as losses
from jaxmix import models as models
from jaxmix import pairing as pairing
from jaxmix import penalties as penalties
from jaxmix import policies as policies
from jaxmix import theory as theory
from jaxmix.attacks import fgsm as fgsm
from jaxmix.attacks import pgd as pgd
from jaxmix.audit import audit as audit
from jaxmix.boxes import CutMixPlan as CutMixPlan
from jaxmix.boxes import cutmix as cutmix
from jaxmix.boxes import draw_cutmix as draw_cutmix
from jaxmix.citing import cite as cite
from jaxmix.directional import directional_penalty as directional_penalty
from jaxmix.directional import (
  exact_directional_penalty as exact_directional_penalty,
)
from jaxmix.directional import taylor_penalty as taylor_penalty
from jaxmix.holding import hold as hold
from jaxmix.losses import MixedTargets as MixedTargets
from jaxmix.losses import label_embeddings as label_embeddings
from jaxmix.losses import mixed_loss as mixed_loss
from jaxmix.losses import negative_cosine as negative_cosine
from jaxmix.masks import MaskPlan as MaskPlan
from jaxmix.masks import mask_plan as mask_plan
from jaxmix.mixing import MixPlan as MixPlan
from jaxmix.mixing import Plan as Plan
from jaxmix.mixing import dat as dat
from jaxmix.mixing import draw as draw
from jaxmix.mixing import mix_batch as mix_batch
from jaxmix.mixing import mixup as mixup
from jaxmix.mixing import untied_mixup as untied_mixup
from jaxmix.mixture import MixturePlan as MixturePlan
from jaxmix.mixture import draw_mixture as draw_mixture
from jaxmix.mixupe import MixupEAux as MixupEAux
from jaxmix.mixupe import enhance_loss as enhance_loss
from jaxmix.mixupe import mixupe_loss as mixupe_loss
from jaxmix.mixupe import mixupe_value_and_grad as mixupe_value_and_grad
from jaxmix.patterns import draw_fmix as draw_fmix
from jaxmix.patterns import draw_gridmix as draw_gridmix
from jaxmix.patterns import draw_resizemix as draw_resizemix
from jaxmix.patterns import fmix as fmix
from jaxmix.patterns import gridmix as gridmix
from jaxmix.patterns import resizemix as resizemix
from jaxmix.penalties import Penalty as Penalty
from jaxmix.pictures import show as show
from jaxmix.policies import MixingPolicy as MixingPolicy
from jaxmix.policies import as_dat as as_dat

__version__ = "0.1.0"
