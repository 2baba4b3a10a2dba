"""A network that runs other channels for every image: all layers run dense, and dropped channels are zeroed.

That is what training needs, and what the released codes do at inference too: it saves nothing by itself. What an
image's subnetwork would cost is counted (`counting`), and `gathering` runs it for real.
"""

import copy
import threading
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from explorer.data.fitting import require_logits, taking
from explorer.dynamic import choosing
from explorer.dynamic.sites import attached, find_sites, without_hooks
from explorer.errors import BadInput
from explorer.evaluate.folding import fold
from explorer.graph.checks import check_model
from explorer.graph.inputs import Batch, call_model
from explorer.instances import SOURCES, Sites
from explorer.values import ChannelGraph
from explorer.zoo.network import Network

QUANTILES = 101  # of every site's saliencies: thresholds for shares in whole percent, and between them
LEVEL = 0.8  # of the most active channels, unless another is asked for


class Passed(NamedTuple):
    """What a batch of B images came to: logits (B, classes), and tables (B, channels of all sites).

    `saliency`: what channels are chosen by; `features`: their means over positions behind batch norm (and ReLU),
    before they are weighted; `keep` bool; `weights`: what they are multiplied with, 0 where dropped.
    """

    logits: Tensor
    saliency: Tensor
    features: Tensor
    keep: Tensor
    weights: Tensor


class Dynamic(nn.Module):
    """A private copy of a model that keeps other channels for every image. Forward gives logits at its own `level`.

    `source` says how they are chosen (see `instances.SOURCES`). `heads`, one for each site, predict saliencies from the
    channel means of what enters the site's convolution; without heads (source "active") the saliency is the channel's
    own mean absolute activation. `shifts`, for FBS, are what is added to a kept channel, one tensor (size,) per
    site. `dense` is the network it came from, which unlabelled images are judged by.
    """

    def __init__(
        self,
        name: str,
        model: nn.Module,
        graph: ChannelGraph,
        sites: Sites,
        source: str,
        heads: Sequence[nn.Module] = (),
        level: float = LEVEL,
        shifts: Sequence[Tensor] = (),
        dense: nn.Module | None = None,
    ) -> None:
        super().__init__()
        assert source in SOURCES
        self.name, self.graph, self.sites, self.source, self.level = name, graph, sites, source, level
        self.model = without_hooks(copy.deepcopy(model))
        self.heads = nn.ModuleList(heads)
        self.shifts = nn.ParameterList([nn.Parameter(each.detach().clone()) for each in shifts])
        # (sites, QUANTILES), ascending: of the saliencies of training images.
        self.quantiles: Tensor
        self.register_buffer("quantiles", torch.full((len(sites.every), QUANTILES), -torch.inf))
        self.heads.to(next(self.model.parameters()).dtype)
        # No submodule: it is never trained, saved or copied.
        self.__dict__["_dense"] = model if dense is None else dense
        self._running = threading.RLock()  # hooks are on the model while it runs: one thread at a time

    @property
    def dense(self) -> nn.Module:
        """The network that this one was made from."""
        dense: nn.Module = self.__dict__["_dense"]
        return dense

    def __deepcopy__(self, memo: dict[int, Any]) -> "Dynamic":
        """Weights are copied; the graph, the sites and the dense network, which never change, are not."""
        for shared in (self.graph, self.sites, self.dense):
            memo[id(shared)] = shared
        copied = memo[id(self)] = copy.copy(self)
        own = {name: value for name, value in vars(self).items() if name != "_running"}
        copied.__dict__.update({name: copy.deepcopy(value, memo) for name, value in own.items()})
        copied._running = threading.RLock()
        return copied

    @property
    def module_macs(self) -> int:
        """Multiply-adds of choosing, for one image: means over positions, the heads, and weighting every channel."""
        total = 0
        heads: Any = self.heads
        for site, head in zip(self.sites.every, heads, strict=bool(heads)):
            layers = self.graph.layers
            first = next(layer for layer in layers if layer.name == (site.ahead or site.layer))
            pooled = int(np.prod(first.in_shape))
            weighted = int(np.prod(layers[site.place].out_shape))
            total += int(head.macs) + pooled + weighted
        return total

    def forward(self, inputs: Batch) -> Tensor:
        return self.passed(inputs).logits

    def passed(self, inputs: Batch, level: float | None = None) -> Passed:
        """Run a batch, and say what was kept of it. Raises BadInput for inputs that the model cannot take."""
        level = self.level if level is None else level
        every, heads, bounds = self.sites.every, list(self.heads), self.bounds(level)
        saliency: list[Tensor] = [torch.empty(0)] * len(every)
        features, keep, weights = list(saliency), list(saliency), list(saliency)
        training = torch.is_grad_enabled()

        def entering(k: int, x: Tensor) -> None:
            if heads:
                saliency[k] = heads[k](x)

        def leaving(k: int, y: Tensor) -> Tensor:
            site = every[k]
            flat = (y.detach() if heads else y).flatten(2)  # features are looked at, never learned from
            features[k] = (flat.relu() if site.rectified else flat).mean(2)
            if not heads:
                saliency[k] = features[k] if site.rectified else flat.abs().mean(2)
            keep[k] = choosing.RULES[self.source](saliency[k].detach(), bounds[k])
            weights[k] = saliency[k] * keep[k] if heads else keep[k].to(y.dtype)
            shape = (*weights[k].shape, *[1] * (y.dim() - 2))
            gate = weights[k].view(shape)
            if not self.shifts:
                return y * gate if training else y.mul_(gate)
            shift = (self.shifts[k] * keep[k]).view(shape)
            return torch.addcmul(shift, y, gate)

        name = type(self.model).__name__
        hint = f"The graph was traced for images of shape {self.graph.input_shape}."
        with self._running, taking(name, inputs, hint), attached(self.model, every, entering, leaving):
            answer = call_model(self.model, inputs)
        logits = require_logits(name, answer, len(inputs))
        if any(len(each) != len(inputs) for each in (*saliency, *keep)):
            missed = next(s.layer for s, each in zip(every, keep, strict=True) if len(each) != len(inputs))
            raise BadInput(
                f"{name} ran without its layer {missed}, or not image by image, so it cannot be dynamic."
            )
        return Passed(logits, *(torch.cat(each, 1) for each in (saliency, features, keep, weights)))

    def keep(self, saliency: Tensor, level: float | None = None) -> Tensor:
        """Which channels are kept of saliencies float (N, channels of all sites): bool of the same shape."""
        rule, every = choosing.RULES[self.source], self.sites.every
        bounds = self.bounds(self.level if level is None else level)
        parts = [rule(saliency[:, site.columns], bound) for site, bound in zip(every, bounds, strict=True)]
        return torch.cat(parts, 1)

    def bounds(self, level: float) -> list[float]:
        """By what every site's channels are chosen (`choosing.RULES`): thresholds, or else the level itself."""
        return self.thresholds(level).tolist() if self.source == "manidp" else [level] * len(self.sites.every)

    def thresholds(self, level: float | None = None) -> Tensor:
        """ManiDP's threshold of every site, float (sites,): the (1 - level) quantile of its saliencies."""
        place = (1 - (self.level if level is None else level)) * (QUANTILES - 1)
        below = min(int(place), QUANTILES - 2)
        low, high = self.quantiles[:, below], self.quantiles[:, below + 1]
        return torch.where(torch.isfinite(low), low + (high - low) * (place - below), low)

    def calibrate(self, saliency: Tensor) -> None:
        """Take thresholds from saliencies float (N, channels) of training images: quantiles over both."""
        at = torch.linspace(0, 1, QUANTILES)
        for k, site in enumerate(self.sites.every):
            values = saliency[:, site.columns].detach().flatten().double().numpy()
            self.quantiles[k] = torch.from_numpy(np.quantile(values, at.numpy()))

    def folded(self) -> "Dynamic":
        """A copy for inference whose batch norms are folded into the convolutions before them: the same answers."""
        folded = copy.copy(self)
        folded._modules = dict(self._modules)
        folded._running = threading.RLock()
        folded._modules["model"] = fold(self.model, self.graph.folds)
        return folded.eval()


def most_active(network: Network, graph: ChannelGraph) -> Dynamic:
    """The training-free baseline: of every layer each image keeps the channels that it excites most.

    For any network; where batch norm follows convolutions, those are the layers, so that squeeze-and-excitation stays
    as it is. The channels are known only once all were computed, so this saves nothing: it shows what a perfect
    predictor would choose. Raises BadInput for a model that is not the graph's, or has no site.
    """
    check_model(graph, network.model)
    try:
        sites = find_sites(network.model, graph, network.example, normed=True)
    except BadInput:
        sites = find_sites(network.model, graph, network.example, normed=False)
    return Dynamic(network.name, network.model, graph, sites, "active", dense=network.model).eval()
