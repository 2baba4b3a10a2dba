"""Instance subnetworks as values, without any network: what views and sessions are tested with."""

import numpy as np

from explorer.instances import (
    Effect,
    InstanceEvidence,
    InstanceRun,
    Instances,
    Rival,
    Site,
    Sites,
)
from explorer.records import TrainingCost
from explorer.runs import Recorded
from explorer.values import ChannelGraph


def example_sites(graph: ChannelGraph) -> Sites:
    """A site at every convolution but the first; no layer's input has a column."""
    every, start = [], 0
    for place, layer in enumerate(graph.layers):
        if place and layer.kind == "conv":
            every.append(Site(layer.name, place, start, len(layer.out_units), f"{layer.name}_norm", True))
            start += every[-1].size
    own = {site.place: np.arange(site.size, dtype=np.int32) + site.start for site in every}
    inputs = tuple(np.full(len(layer.in_units), -1, dtype=np.int32) for layer in graph.layers)
    outputs = tuple(
        own.get(place, np.full(len(layer.out_units), -1, dtype=np.int32))
        for place, layer in enumerate(graph.layers)
    )
    return Sites(tuple(every), inputs, outputs)


def example_instances(
    graph: ChannelGraph, count: int = 40, classes: int = 4, source: str = "manidp", seed: int = 0
) -> Instances:
    """Images of `classes` in turn that keep more channels the greater their loss; images are every second one."""
    random, sites = np.random.default_rng(seed), example_sites(graph)
    losses = random.gamma(0.5, 0.8, count).astype(np.float32)
    labels = np.arange(count) % classes
    taste = random.random((classes, sites.channels))
    saliency = (taste[labels] + 0.3 * random.random((count, sites.channels))).astype(np.float32)
    keep = saliency > 0.9 - 0.3 * np.minimum(losses, 2)[:, None]
    macs = 1_000 + 8 * keep.sum(1)
    wrong = losses > np.quantile(losses, 0.85)
    return Instances(
        network="toy",
        source=source,
        level=0.6,
        sites=sites,
        images=2 * np.arange(count),
        of=2 * count,
        saliency=saliency,
        features=(saliency + 0.2 * random.random(saliency.shape)).astype(np.float32),
        keep=keep,
        macs=macs.astype(np.int64),
        dense_macs=1_000 + 8 * sites.channels,
        module_macs=40,
        predicted=np.where(wrong, (labels + 1) % classes, labels).astype(np.int16),
        labels=labels.astype(np.int64),
        losses=losses,
    )


def example_instance_run(graph: ChannelGraph, frames: int = 9, ended: bool = True) -> InstanceRun:
    """A ramp from all channels to 0.75 of them."""
    done = np.linspace(0, 1, frames)
    return InstanceRun(
        network="toy",
        graph_key=graph.key,
        method="manidp",
        of=10 * (frames - 1),
        per_epoch=10,
        steps=10 * np.arange(frames),
        series={
            "shares": np.where(done > 0, 1 - 0.45 * done, np.nan),
            "levels": 1 - 0.25 * np.minimum(1, done / 0.6),
        },
        losses={
            "task": np.where(done > 0, 0.6 - 0.3 * done, np.nan),
            "sparsity": np.where(done > 0, 0.4 - 0.2 * done, np.nan),
            "similarity": np.where(done > 0, 0.5 - 0.1 * done, np.nan),
        },
        settings={"level": 0.75, "epochs": 8, "seed": 0},
        training=TrainingCost(seconds=120.0, macs=9_000_000, epoch_macs=1_000_000),
        ended=ended,
    )


def example_effect(graph: ChannelGraph, name: str, seed: int = 0) -> Effect:
    found = example_instances(graph, seed=seed)
    count = len(found.sites.every)
    return Effect(name, {"level": 0.75}, seed, found.shares, found.losses, found.right, (0.5,) * count, 0.4)


def example_recorded_instances(graph: ChannelGraph) -> Recorded[InstanceRun, InstanceEvidence]:
    names = "whole", "no_similarity", "strong_similarity", "no_sparsity", "uniform"
    effects = tuple(example_effect(graph, name, seed) for seed, name in enumerate(names))
    rivals = (
        Rival("dense", 1.0, 0.926, 2000),
        Rival("longer", 1.0, 0.928, 2000),
        Rival("static", 0.55, 0.91, 2000),
    )
    command = "python -m scripts.record manidp resnet20"
    return Recorded(example_instance_run(graph), InstanceEvidence(effects, rivals), command)
