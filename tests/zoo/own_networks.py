"""Networks in a file that an exported Python file could import, and functions that make them."""

from torch import Tensor, nn


class Plain(nn.Module):
    """Takes no arguments that must be given; (N, 3, H, W) -> (N, classes)."""

    def __init__(self, width: int = 6, classes: int = 4, stride: int = 1) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, width, 3, stride, padding=1)
        self.norm = nn.BatchNorm2d(width)
        self.head = nn.Linear(width, classes)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.norm(self.conv(x)).relu()[:, :, ::2].mean((2, 3)))

    @classmethod
    def wide(cls, classes: int = 4) -> "Plain":
        return cls(12, classes)


class Needy(Plain):
    def __init__(self, width: int) -> None:
        super().__init__(width)


class Silent(Plain):
    """Its train(), and so its eval(), returns nothing."""

    def train(self, mode: bool = True) -> None:  # type: ignore[override]
        super().train(mode)


class Inside(nn.Module):
    """A network that holds another as `backbone`."""

    def __init__(self) -> None:
        super().__init__()
        self.backbone = Plain()

    def forward(self, x: Tensor) -> Tensor:
        return self.backbone(x)


def broken() -> nn.Module:
    raise OSError("no such disk")


def nothing() -> None:
    return None


def make(width: int, *, classes: int = 4) -> nn.Module:
    return Plain(width, classes)
