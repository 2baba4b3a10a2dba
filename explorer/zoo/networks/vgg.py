"""A small VGG: a plain chain of 3x3 convolutions, after Simonyan & Zisserman 2015, with batch norm."""

from torch import Tensor, nn


class VGG(nn.Module):
    """Images (N, 1, 28, 28) -> logits (N, classes): 3 stages of 2 convolutions, flatten, a classifier."""

    def __init__(self, classes: int = 10) -> None:
        super().__init__()
        self.stage1 = self._stage(1, 32)
        self.stage2 = self._stage(32, 64)
        self.stage3 = self._stage(64, 128)
        self.flatten = nn.Flatten()
        self.dropout = nn.Dropout(0.3)
        self.classifier = nn.Linear(128 * 3 * 3, classes)

    @staticmethod
    def _stage(in_channels: int, out_channels: int) -> nn.Sequential:
        return nn.Sequential(
            nn.Conv2d(in_channels, out_channels, 3, padding=1, bias=False),
            nn.BatchNorm2d(out_channels),
            nn.ReLU(),
            nn.Conv2d(out_channels, out_channels, 3, padding=1, bias=False),
            nn.BatchNorm2d(out_channels),
            nn.ReLU(),
            nn.MaxPool2d(2),
        )

    def forward(self, x: Tensor) -> Tensor:
        x = self.stage3(self.stage2(self.stage1(x)))
        return self.classifier(self.dropout(self.flatten(x)))
