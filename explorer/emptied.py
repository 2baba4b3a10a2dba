"""Layers without channels: what takes their place, so that a network from which a block was removed still runs.

torch's own convolutions, batch norms and pooling refuse tensors of no channels, or answer with the wrong shape.
"""

from collections.abc import Sequence

from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.modules.conv import _ConvNd

POOLING = (
    *(nn.MaxPool1d, nn.AvgPool1d, nn.AdaptiveAvgPool1d, nn.MaxPool2d, nn.AvgPool2d, nn.LPPool2d),
    *(nn.AdaptiveAvgPool2d, nn.AdaptiveMaxPool2d),
)


class EmptyConvolution(_ConvNd):
    """A convolution that sums over nothing: its answer is its bias, or zeros, at every position."""

    def forward(self, x: Tensor, output_size: Sequence[int] | None = None) -> Tensor:
        """(N, C, ...) -> (N, outputs, ...), the sides as the convolution would have them."""
        dims = len(self.kernel_size)
        if output_size is not None:
            sides = tuple(output_size)[-dims:]
        else:
            sides = tuple(self._side(x.shape[2 + dim], dim) for dim in range(dims))
        if self.bias is None:
            return x.new_zeros((x.shape[0], self.out_channels, *sides))
        channels = self.bias.view(-1, *[1] * dims)
        return channels.expand(x.shape[0], -1, *sides).clone()  # a later operation may work in place

    def _side(self, side: int, dim: int) -> int:
        reach, stride = self.dilation[dim] * (self.kernel_size[dim] - 1), self.stride[dim]
        if self.padding == "same":
            return side
        padding = 0 if isinstance(self.padding, str) else 2 * self.padding[dim]
        if self.transposed:
            return (side - 1) * stride - padding + reach + self.output_padding[dim] + 1
        return (side + padding - reach - 1) // stride + 1


class EmptyBatchNorm(_BatchNorm):
    """Batch norm of no channels: nothing passes through."""

    def forward(self, x: Tensor) -> Tensor:
        return x


class ChannelwisePooling(nn.Module):
    """Pooling of each channel as an image of its own, of which there may be none."""

    def __init__(self, pooling: nn.Module) -> None:
        super().__init__()
        self.pooling = pooling

    def forward(self, x: Tensor) -> Tensor:
        pooled = self.pooling(x.flatten(0, 1).unsqueeze(1))
        return pooled.reshape(x.shape[:2] + pooled.shape[2:])


def replace_emptied(model: nn.Module) -> nn.Module:
    """Make a network with emptied layers run, in place: parameters and their names stay as they are."""
    for name, module in list(model.named_modules(remove_duplicate=False)):
        if isinstance(module, _ConvNd) and module.weight.numel() == 0:
            module.__class__ = EmptyConvolution
        elif isinstance(module, _BatchNorm) and module.num_features == 0:
            module.__class__ = EmptyBatchNorm
        elif isinstance(module, POOLING) and not getattr(module, "return_indices", False):
            model.set_submodule(name, ChannelwisePooling(module).train(module.training))
    return model
