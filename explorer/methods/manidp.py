"""ManiDP: every image runs the channels whose saliencies reach a threshold (Tang et al. 2021, CVPR).

"Manifold Regularized Dynamic Network Pruning". Saliency modules learn with the network, from three terms: the
cross-entropy; the saliencies of easy images, the easier the more (adaptive sparsity); and how far the similarities of
images by saliencies are from those by features (the manifold). Thresholds are quantiles of saliencies over images and
channels: with thresholds on each channel's mean, as in the released code, nearly all images keep the same channels.
"""

from dataclasses import dataclass
from typing import final

import torch
from torch import Tensor
from torch.nn.functional import normalize

from explorer.data.batches import split_evenly
from explorer.dynamic.heads import SaliencyModule
from explorer.dynamic.network import Dynamic, Passed
from explorer.dynamic.sites import find_sites
from explorer.graph.randomness import own_torch_numbers
from explorer.instances import InstanceEvidence, Site
from explorer.methods.base import Algorithm, Subject
from explorer.methods.effects import effects
from explorer.methods.instance_training import (
    CALIBRATION,
    CALIBRATION_BATCH,
    PHASES,
    InstanceMethod,
    InstanceTraining,
)
from explorer.methods.measuring import Measuring
from explorer.methods.repeatable import seed_of
from explorer.methods.settings import choice, number, share, whole
from explorer.runs import Run
from explorer.values import ChannelGraph
from explorer.zoo.network import Network


@dataclass(frozen=True)
class ManiDPSettings:
    """How to train. `level`: share of a layer's saliencies, over images and channels, that end above the threshold.

    `sparsity` is lambda', `similarity` gamma; `weight`: "adaptive" by each image's loss, or "uniform", the same for all
    images of a batch and the same in sum. An image is easy as long as its loss is below `complexity` times the mean of
    the epoch before. Saliencies end at `clamp`.
    """

    level: float = share(0.75, low=0.05, shown=True)
    sparsity: float = number(0.05, low=0, shown=True)
    similarity: float = number(0.1, low=0, shown=True)
    weight: str = choice("adaptive", "uniform", shown=True)
    epochs: int = whole(8, low=1, shown=True)
    seed: int = whole(0, low=0, shown=True)
    batch: int = whole(128, low=4)
    rate: float = number(0.05, low=1e-6)
    weight_decay: float = number(5e-4, low=0)
    complexity: float = number(1.0, low=1e-3)
    clamp: float = number(2.0, low=0.1)


@final
class ManiDP(InstanceMethod):
    """The method: see the module."""

    name = "manidp"
    label = "ManiDP"
    about = (
        "Learns which channels each image needs: easy images run fewer, and similar ones similar channels "
        "(Tang et al. 2021)."
    )
    settings = ManiDPSettings
    losses = ("task", "sparsity", "similarity")
    evidence = InstanceEvidence
    calibrated = PHASES

    def begin(self, subject: Subject, settings: ManiDPSettings) -> Algorithm:
        """A training at its first step.

        Raises BadInput for a network without a convolution before batch norm whose channels can be dropped, for fewer
        images than a batch, and for images of one class only.
        """
        with own_torch_numbers(seed_of(settings.seed, 0, 3)):
            dynamic = _dynamic(subject.network, subject.graph, settings.clamp, settings.level)
        return _Training(subject, settings, dynamic, settings.level)

    def measure(self, measuring: Measuring) -> InstanceEvidence:
        """What each term of the loss does, and what to compare it with."""
        return effects(measuring)

    def rebuilt(self, network: Network, graph: ChannelGraph, run: Run) -> Dynamic:
        """The network of a run, with saliency modules that were not trained."""
        return _dynamic(network, graph, run.settings["clamp"], run.settings["level"])


def _dynamic(network: Network, graph: ChannelGraph, clamp: float, level: float) -> Dynamic:
    sites = find_sites(network.model, graph, network.example, normed=True)
    heads = [SaliencyModule(inputs_of(network.model, site), site.size, clamp) for site in sites.every]
    return Dynamic(network.name, network.model, graph, sites, "manidp", heads, level)


class _Training(InstanceTraining):
    settings: ManiDPSettings

    def _terms(self, passed: Passed, losses: Tensor) -> dict[str, tuple[float, Tensor]]:
        settings, every = self.settings, self._dynamic.sites.every
        limit = settings.complexity * float(self._mean_task)
        weights = sparsity_weights(losses, limit, settings.sparsity, settings.weight)
        means = torch.stack([passed.saliency[:, site.columns].mean(1) for site in every])
        apart = torch.stack(
            [
                manifold_distance(passed.features[:, site.columns].detach(), passed.saliency[:, site.columns])
                for site in every
            ]
        )
        return {
            "sparsity": (1.0, (weights * means.sum(0)).mean()),
            "similarity": (settings.similarity, apart.sum()),
        }

    def _calibrate(self) -> int:
        """Thresholds from saliencies of training images in eval mode, where these keep what they will at the end."""
        images = self.subject.images.mixed(CALIBRATION)
        self._dynamic.eval()
        with torch.no_grad():
            level = self._dynamic.level
            found = [
                self._dynamic.passed(images.inputs(rows), level).saliency
                for rows in split_evenly(torch.arange(len(images)), CALIBRATION_BATCH)
            ]
            self._dynamic.calibrate(torch.cat(found))
        return len(images)


def sparsity_weights(losses: Tensor, limit: float, strength: float, kind: str = "adaptive") -> Tensor:
    """lambda(x) of every image, float (B,): strength * max(0, (limit - loss) / limit), so from 0 to `strength`.

    `losses` (B,), 0 or more, take no gradient. "uniform" gives every image the mean of these. Tang et al. 2021, there
    with beta = 1 where the loss is below C = `limit`.
    """
    limit = max(limit, 1e-12)  # images that are all right with certainty leave none
    weights = strength * ((limit - losses.detach()) / limit).clamp(min=0)
    return weights if kind == "adaptive" else weights.mean().expand_as(weights)


def manifold_distance(features: Tensor, saliency: Tensor) -> Tensor:
    """||T - R||_F^2 / B^2 of one site, float (): R and T hold the cosines of every two images' features and saliencies.

    Both (B, C). As in the released code squared and divided by B^2, where the paper has the norm itself. An image whose
    channels are all 0 has cosine 0 with every one, itself too.
    """
    r, t = (normalize(each, dim=1) for each in (features, saliency))
    return (t @ t.T - r @ r.T).square().mean()


def inputs_of(model: torch.nn.Module, site: Site) -> int:
    """How many channels enter a site's convolution, or the one ahead of it."""
    return int(model.get_submodule(site.ahead or site.layer).in_channels)  # type: ignore[arg-type]
