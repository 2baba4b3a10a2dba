"""Small networks and images for the tests of evaluation."""

import torch
from torch import Tensor, nn

from explorer.data import Images, identity

CLASSES = 4


class Toy(nn.Module):
    """(N, 1, 6, 6) -> (N, 4): two convolutions with batch norm, dropout, a classifier."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(1, 6, 3, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(6)
        self.conv2 = nn.Conv2d(6, 8, 3, padding=1)
        self.bn2 = nn.BatchNorm2d(8)
        self.dropout = nn.Dropout(0.5)
        self.classifier = nn.Linear(8, CLASSES)

    def forward(self, x: Tensor) -> Tensor:
        x = torch.relu(self.bn1(self.conv1(x)))
        x = torch.relu(self.bn2(self.conv2(x)))
        return self.classifier(self.dropout(x.mean((2, 3))))


FOLDS = (("conv1", "bn1"), ("conv2", "bn2"))


def livened(model: nn.Module, seed: int = 0) -> nn.Module:
    """In place: batch norms that do something."""
    generator = torch.Generator().manual_seed(seed)
    for module in model.modules():
        if isinstance(module, nn.modules.batchnorm._BatchNorm):
            assert module.running_mean is not None
            assert module.running_var is not None
            module.running_mean.normal_(generator=generator)
            module.running_var.uniform_(0.3, 3, generator=generator)
            if module.affine:
                nn.init.normal_(module.weight, 1, 0.5, generator=generator)
                nn.init.normal_(module.bias, generator=generator)
    return model


def images_of(count: int, seed: int = 0) -> Images:
    generator = torch.Generator().manual_seed(seed)
    labels = torch.arange(count) % CLASSES
    pixels = torch.randn(count, 1, 6, 6, generator=generator) + labels.view(-1, 1, 1, 1)
    return Images(pixels, labels, identity)


def fingerprint(model: nn.Module) -> list[object]:
    """All that an evaluation must leave alone: weights, gradients, modes, hooks, global random state."""
    weights = [(name, tensor.clone().tolist()) for name, tensor in model.state_dict().items()]
    gradients = [None if p.grad is None else p.grad.tolist() for p in model.parameters()]
    modes = [module.training for module in model.modules()]
    hooks = [len(module._forward_hooks) + len(module._forward_pre_hooks) for module in model.modules()]
    momentums = [getattr(module, "momentum", None) for module in model.modules()]
    return [weights, gradients, modes, hooks, momentums, torch.get_rng_state().tolist()]
