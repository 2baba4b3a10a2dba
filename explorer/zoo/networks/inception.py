"""A small Inception network: parallel towers joined by concatenation, after Szegedy et al. 2015 (CVPR)."""

import torch
from torch import Tensor, nn


class ConvBN(nn.Sequential):
    """A convolution that keeps the size, batch norm and ReLU."""

    def __init__(self, in_channels: int, out_channels: int, kernel: int) -> None:
        super().__init__(
            nn.Conv2d(in_channels, out_channels, kernel, padding=kernel // 2, bias=False),
            nn.BatchNorm2d(out_channels),
            nn.ReLU(),
        )


class Inception(nn.Module):
    """Four towers over one input: 1x1; 1x1 then 3x3; 1x1 then two 3x3; pooling then 1x1.

    The output has 2.5 x `width` channels: width + width + width/4 + width/4.
    """

    def __init__(self, in_channels: int, width: int) -> None:
        super().__init__()
        narrow = width // 4
        self.tower1 = ConvBN(in_channels, width, 1)
        self.tower2 = nn.Sequential(ConvBN(in_channels, width // 2, 1), ConvBN(width // 2, width, 3))
        self.tower3 = nn.Sequential(
            ConvBN(in_channels, narrow, 1), ConvBN(narrow, narrow, 3), ConvBN(narrow, narrow, 3)
        )
        self.tower4 = nn.Sequential(nn.MaxPool2d(3, stride=1, padding=1), ConvBN(in_channels, narrow, 1))

    def forward(self, x: Tensor) -> Tensor:
        return torch.cat([self.tower1(x), self.tower2(x), self.tower3(x), self.tower4(x)], dim=1)


class InceptionNet(nn.Module):
    """Images (N, 1, 28, 28) -> logits (N, classes): a stem, 4 Inception blocks, pooling, a classifier."""

    def __init__(self, classes: int = 10) -> None:
        super().__init__()
        self.stem = ConvBN(1, 32, 3)
        self.pool1 = nn.MaxPool2d(2)
        self.block1 = Inception(32, 32)
        self.block2 = Inception(80, 40)
        self.pool2 = nn.MaxPool2d(2)
        self.block3 = Inception(100, 64)
        self.block4 = Inception(160, 64)
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.classifier = nn.Linear(160, classes)

    def forward(self, x: Tensor) -> Tensor:
        x = self.block2(self.block1(self.pool1(self.stem(x))))
        x = self.block4(self.block3(self.pool2(x)))
        return self.classifier(torch.flatten(self.pool(x), 1))
