"""Networks as flax.linen modules, called (x, train, parts, tap, mask)."""

from jaxmix.models.coatnet import CoAtNet as CoAtNet
from jaxmix.models.gin import GIN as GIN
from jaxmix.models.graphs import Graphs as Graphs
from jaxmix.models.lenet import LeNet as LeNet
from jaxmix.models.mlp import MLP as MLP
from jaxmix.models.norm import BatchNorm as BatchNorm
from jaxmix.models.preact_resnet import PreActResNet as PreActResNet
from jaxmix.models.registry import create as create
from jaxmix.models.registry import names as names
from jaxmix.models.registry import options as options
from jaxmix.models.resnet import ResNet as ResNet
from jaxmix.models.vgg import VGG as VGG
from jaxmix.models.vit import VisionTransformer as VisionTransformer
