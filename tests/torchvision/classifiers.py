"""torchvision's classifiers for tests: built in a moment with live weights, at the smallest input that they take."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
import torchvision
from torch import Tensor, nn
from torchvision.models.maxvit import MaxVit

NAMES: tuple[str, ...] = tuple(torchvision.models.list_models(module=torchvision.models))
SIZE = 32
OTHER_SIZES = {
    "alexnet": 64, "inception_v3": 299, "maxvit_t": 224,
    "vit_b_16": 32, "vit_b_32": 64, "vit_l_16": 32, "vit_l_32": 64, "vit_h_14": 28,
}  # fmt: skip
OPTIONS: dict[str, dict[str, Any]] = {  # so that they warn of nothing, or take a small image
    "googlenet": {"init_weights": False},
    "inception_v3": {"init_weights": False},
    **{name: {"image_size": size} for name, size in OTHER_SIZES.items() if name.startswith("vit")},
}
GIANTS = frozenset((  # more than 100 million parameters, and there are smaller ones of the family
    "convnext_large", "efficientnet_v2_l", "regnet_x_32gf", "regnet_y_128gf", "regnet_y_32gf", "vgg13", "vgg13_bn",
    "vgg16", "vgg16_bn", "vgg19", "vgg19_bn", "vit_h_14", "vit_l_16", "vit_l_32", "wide_resnet101_2",
))  # fmt: skip
FAMILIES = (  # one small member of each
    "alexnet", "convnext_tiny", "densenet121", "efficientnet_b0", "efficientnet_v2_s", "googlenet", "inception_v3",
    "maxvit", "mnasnet0_5", "mobilenet_v2", "mobilenet_v3_small", "regnet_x_400mf", "regnet_y_400mf", "resnet18",
    "resnext50_32x4d", "shufflenet_v2_x0_5", "squeezenet1_1", "swin_t", "swin_v2_t", "vgg11_bn", "vit_b_32",
)  # fmt: skip


@contextmanager
def _no_initialisation() -> Iterator[None]:
    """Modules are built with whatever is in memory: drawing hundreds of millions of numbers takes seconds."""
    names = [name for name in dir(nn.init) if name.endswith("_") and not name.startswith("_")]
    kept = {name: getattr(nn.init, name) for name in names}
    try:
        for name in names:
            setattr(nn.init, name, lambda tensor, *args, **options: tensor)
        yield
    finally:
        for name, function in kept.items():
            setattr(nn.init, name, function)


def fill(model: nn.Module, seed: int = 0) -> nn.Module:
    """Random weights in place, from one block of numbers again and again; no two columns are alike.

    Weights have the variance 2 / fan-in, scales are about 1, biases about 0.
    """
    block = torch.randn(
        65537, generator=torch.Generator().manual_seed(seed)
    )  # prime: it falls in step with no row
    start = 0
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            repeats = -(-(start + parameter.numel()) // len(block))
            noise = block.repeat(repeats)[start : start + parameter.numel()].reshape(parameter.shape)
            start = (start + parameter.numel()) % len(block)
            fan_in = parameter.numel() // parameter.shape[0]
            if fan_in > 1:
                parameter.copy_(noise).mul_((2 / fan_in) ** 0.5)
            elif name.endswith("bias"):
                parameter.copy_(noise).mul_(0.1)
            else:
                parameter.copy_(noise).mul_(0.2).add_(1)
    return model


def build(name: str) -> nn.Module:
    """A registered classifier, or `maxvit`: a MaxViT of two stages for small images."""
    with _no_initialisation():
        if name == "maxvit":
            model: nn.Module = MaxVit((32, 32), 16, 4, [16, 24], [1, 2], 8, 0.1)
        else:
            model = torchvision.models.get_model(name, **OPTIONS.get(name, {}))
    return fill(model)


def example_of(name: str) -> Tensor:
    size = OTHER_SIZES.get(name, SIZE)
    return torch.zeros(1, 3, size, size)
