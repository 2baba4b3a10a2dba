"""The bundled networks, by name. Their files import torch only, so that an export can carry their source."""

from collections.abc import Callable

from torch import nn

from explorer.zoo.networks.inception import InceptionNet
from explorer.zoo.networks.mobilenetv2 import MobileNetV2
from explorer.zoo.networks.resnet20 import ResNet20
from explorer.zoo.networks.vgg import VGG

NETWORKS: dict[str, Callable[[], nn.Module]] = {
    "resnet20": ResNet20,
    "vgg": VGG,
    "mobilenetv2": MobileNetV2,
    "inception": InceptionNet,
}
