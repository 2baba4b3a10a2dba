"""The small networks that predict, from what enters a convolution, how much an image needs each of its outputs."""

import torch
from torch import Tensor, nn
from torch.nn import functional

# As in the released code: as many hidden units as outputs, of layers with SQUEEZED_FROM or more a SQUEEZE-th.
SQUEEZED_FROM = 80
SQUEEZE = 2
# Of Kaiming's weights in the second layer: saliencies begin near 1, and logits near the dense ones.
SOFT = 0.1


class SaliencyModule(nn.Module):
    """ManiDP's G: what enters a convolution, (N, inputs, ...) -> saliencies (N, outputs) from 0 to `clamp`.

    Means over positions, then two linear layers with a ReLU between and behind them; the first has no bias, the
    second's begins at 1. Tang et al. 2021; squeezed as in the released code. With that code's own initial weights a
    trained network falls to chance (its saliencies are then random and unbounded), so ours begin softer and are clamped
    lower.
    """

    def __init__(self, inputs: int, outputs: int, clamp: float = 2.0) -> None:
        super().__init__()
        hidden = max(1, outputs // (SQUEEZE if outputs >= SQUEEZED_FROM else 1))
        self.squeeze = nn.Linear(inputs, hidden, bias=False)
        self.excite = nn.Linear(hidden, outputs)
        self.clamp = clamp
        nn.init.kaiming_normal_(self.squeeze.weight)
        nn.init.kaiming_normal_(self.excite.weight)
        with torch.no_grad():
            self.excite.weight.mul_(SOFT)
        nn.init.ones_(self.excite.bias)

    def forward(self, x: Tensor) -> Tensor:
        means = x.flatten(2).mean(2)
        return functional.relu(self.excite(functional.relu(self.squeeze(means)))).clamp(max=self.clamp)

    @property
    def macs(self) -> int:
        """Multiply-adds of both layers, for one image."""
        return self.squeeze.weight.numel() + self.excite.weight.numel()


class Predictor(nn.Module):
    """FBS's channel saliency predictor: what enters a convolution, (N, inputs, ...) -> (N, outputs), 0 or more.

    Mean absolute values over positions, then one linear layer and a ReLU; weights normally distributed with standard
    deviation 0.05 (Gao et al. 2019), beyond 64 inputs less, or predictions would drown in noise. `bias` (outputs,):
    what it predicts for zeros; 1 where none is given.
    """

    SPREAD = 0.05

    def __init__(self, inputs: int, outputs: int, bias: Tensor | None = None) -> None:
        super().__init__()
        self.linear = nn.Linear(inputs, outputs)
        nn.init.trunc_normal_(self.linear.weight, std=self.SPREAD * min(1.0, (64 / inputs) ** 0.5))
        with torch.no_grad():
            self.linear.bias.copy_(torch.ones(outputs) if bias is None else bias)

    def forward(self, x: Tensor) -> Tensor:
        return functional.relu(self.linear(x.abs().flatten(2).mean(2)))

    @property
    def macs(self) -> int:
        """Multiply-adds, for one image."""
        return self.linear.weight.numel()
