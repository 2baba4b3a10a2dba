"""FBS: every image runs the same number of channels, its own ones, and boosts them (Gao et al. 2019, ICLR).

"Dynamic Channel Pruning: Feature Boosting and Suppression". A linear layer predicts from the channel means of what
enters a convolution how salient each of its outputs will be; the k winners are multiplied with that, the others are
suppressed. Batch norm gives up its scale, which the prediction replaces, and its shift, which only winners get.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, final

import torch
from torch import Tensor, nn

from explorer.dynamic.heads import Predictor
from explorer.dynamic.network import Dynamic, Passed
from explorer.dynamic.sites import find_sites
from explorer.graph.copies import deep_copy
from explorer.graph.randomness import own_torch_numbers
from explorer.instances import Site
from explorer.methods.base import Algorithm, Subject
from explorer.methods.instance_training import InstanceMethod, InstanceTraining
from explorer.methods.manidp import inputs_of
from explorer.methods.repeatable import seed_of
from explorer.methods.settings import number, share, whole
from explorer.runs import Run
from explorer.values import ChannelGraph
from explorer.zoo.network import Network


@dataclass(frozen=True)
class FBSSettings:
    """How to train. `density`: share of every layer's channels that each image keeps at the end; `sparsity` is lambda,
    the factor of the sum of all predicted saliencies."""

    density: float = share(0.6, low=0.05, shown=True)
    epochs: int = whole(8, low=1, shown=True)
    seed: int = whole(0, low=0, shown=True)
    batch: int = whole(128, low=4)
    rate: float = number(0.05, low=1e-6)
    weight_decay: float = number(5e-4, low=0)
    sparsity: float = number(1e-8, low=0)


@final
class FBS(InstanceMethod):
    """The method: see the module."""

    name = "fbs"
    label = "FBS"
    about = (
        "Learns to predict which channels each image excites: the k most salient are boosted, the others suppressed "
        "(Gao et al. 2019)."
    )
    settings = FBSSettings
    losses = ("task", "sparsity")

    def begin(self, subject: Subject, settings: FBSSettings) -> Algorithm:
        """A training at its first step; begins at density 1 with the network's own answers, and predictors' noise.

        Raises BadInput for a network without a convolution before batch norm whose channels can be dropped, for fewer
        images than a batch, and for images of one class only.
        """
        seed, level = seed_of(settings.seed, 0, 3), settings.density
        dynamic = _dynamic(subject.network, subject.graph, level, seed)
        return _Training(subject, settings, dynamic, level)

    def rebuilt(self, network: Network, graph: ChannelGraph, run: Run) -> Dynamic:
        """The network of a run, with predictors that were not trained."""
        return _dynamic(network, graph, run.settings["density"], 0)


class _Training(InstanceTraining):
    settings: FBSSettings

    def _terms(self, passed: Passed, _losses: Tensor) -> dict[str, tuple[float, Tensor]]:
        return {"sparsity": (self.settings.sparsity, passed.saliency.sum(1).mean())}


def _dynamic(network: Network, graph: ChannelGraph, level: float, seed: int) -> Dynamic:
    sites = find_sites(network.model, graph, network.example, normed=True)
    model, scales, shifts = without_affine(network.model, sites.every)
    with own_torch_numbers(seed):
        heads = [
            Predictor(inputs_of(model, site), site.size, scale)
            for site, scale in zip(sites.every, scales, strict=True)
        ]
    return Dynamic(network.name, model, graph, sites, "fbs", heads, level, shifts, dense=network.model)


@torch.no_grad()
def without_affine(model: nn.Module, sites: Sequence[Site]) -> tuple[nn.Module, list[Tensor], list[Tensor]]:
    """A copy whose sites' batch norms only normalise; the scales, 0 or more, and shifts that they had, (C,) each.

    A saliency cannot be negative: where a scale is, the filter and the mean change their sign instead, so that scale x
    output + shift is what it was.
    """
    plain = deep_copy(model)
    scales, shifts = [], []
    for site in sites:
        conv: Any = plain.get_submodule(site.layer)
        norm: Any = plain.get_submodule(site.norm)
        ones = conv.weight.new_ones(site.size)
        scale = ones if norm.weight is None else norm.weight.detach().clone()
        shift = torch.zeros_like(ones) if norm.bias is None else norm.bias.detach().clone()
        sign = torch.where(scale < 0, -ones, ones)
        conv.weight.mul_(sign.view(-1, *[1] * (conv.weight.dim() - 1)))
        for tensor in (conv.bias, norm.running_mean):
            if isinstance(tensor, Tensor):
                tensor.mul_(sign)
        if isinstance(norm.weight, Tensor) and isinstance(norm.bias, Tensor):
            norm.weight.fill_(1.0).requires_grad_(False)
            norm.bias.zero_().requires_grad_(False)
        scales.append(scale.abs())
        shifts.append(shift)
    return plain, scales, shifts
