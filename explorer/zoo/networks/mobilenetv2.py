"""A small MobileNetV2: inverted residuals with depthwise convolutions, after Sandler et al. 2018 (CVPR)."""

import torch
from torch import Tensor, nn


def conv_bn(
    in_channels: int, out_channels: int, kernel: int, stride: int = 1, groups: int = 1
) -> list[nn.Module]:
    """A convolution that keeps the size (up to the stride), and its batch norm."""
    conv = nn.Conv2d(
        in_channels, out_channels, kernel, stride, padding=kernel // 2, groups=groups, bias=False
    )
    return [conv, nn.BatchNorm2d(out_channels)]


class InvertedResidual(nn.Module):
    """Expand with 1x1, filter each channel by itself with 3x3, project with 1x1; no activation after it."""

    def __init__(self, in_channels: int, out_channels: int, stride: int, expansion: int) -> None:
        super().__init__()
        hidden = in_channels * expansion
        self.expand = nn.Sequential(*conv_bn(in_channels, hidden, 1), nn.ReLU6())
        self.depthwise = nn.Sequential(*conv_bn(hidden, hidden, 3, stride, groups=hidden), nn.ReLU6())
        self.project = nn.Sequential(*conv_bn(hidden, out_channels, 1))
        self.residual = stride == 1 and in_channels == out_channels

    def forward(self, x: Tensor) -> Tensor:
        y = self.project(self.depthwise(self.expand(x)))
        return x + y if self.residual else y


class MobileNetV2(nn.Module):
    """Images (N, 1, 28, 28) -> logits (N, classes): a stem, 7 inverted residuals, a head, a classifier."""

    def __init__(self, classes: int = 10) -> None:
        super().__init__()
        self.stem = nn.Sequential(*conv_bn(1, 16, 3), nn.ReLU6())
        self.blocks = nn.Sequential(
            InvertedResidual(16, 24, stride=2, expansion=4),
            InvertedResidual(24, 24, stride=1, expansion=4),
            InvertedResidual(24, 40, stride=2, expansion=4),
            InvertedResidual(40, 40, stride=1, expansion=4),
            InvertedResidual(40, 40, stride=1, expansion=4),
            InvertedResidual(40, 64, stride=1, expansion=4),
            InvertedResidual(64, 64, stride=1, expansion=4),
        )
        self.head = nn.Sequential(*conv_bn(64, 160, 1), nn.ReLU6())
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.classifier = nn.Linear(160, classes)

    def forward(self, x: Tensor) -> Tensor:
        x = self.head(self.blocks(self.stem(x)))
        return self.classifier(torch.flatten(self.pool(x), 1))
