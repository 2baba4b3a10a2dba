"""A run of a search over widths as values, without any training: what views and sessions are tested with."""

from dataclasses import replace

import numpy as np

from explorer.chains import ChainRun, chain_facts, chain_of
from explorer.costs import totals
from explorer.records import TrainingCost
from explorer.values import ChannelGraph


def example_run(graph: ChannelGraph, frames: int = 13, ended: bool = True, seed: int = 0) -> ChainRun:
    """Chains that drift from even retention to one end per group; expected costs are the graph's own."""
    random = np.random.default_rng(seed)
    chains = tuple(chain_of(group, alpha=2.0) for group in graph.prunable)
    goals = [np.linspace(6, -6, chain.states) + 4 * random.standard_normal() for chain in chains]
    share = np.clip(np.linspace(-0.5, 1, frames), 0, 1)  # a warm-up in which nothing moves
    alphas = np.concatenate(
        [
            chain.alphas + share[:, None] * (goal - chain.alphas)
            for chain, goal in zip(chains, goals, strict=True)
        ],
        axis=1,
    )
    run = ChainRun(
        network="toy",
        graph_key=graph.key,
        method="dmcp",
        of=10 * (frames - 1),
        per_epoch=10,
        steps=10 * np.arange(frames),
        series={"alphas": alphas.astype(np.float32), "shares": np.ones(frames)},
        losses={
            "full": np.linspace(1.2, 0.4, frames),
            "sub": np.linspace(0.9, 0.1, frames),
            "chains": np.where(share > 0, 1 - 0.5 * share, np.nan),
            "cost": np.where(share > 0, (1 - share) ** 2, np.nan),
        },
        settings={"target": 0.4, "cost": "macs", "warm_up": frames // 3, "epochs": 4, "seed": seed},
        training=TrainingCost(seconds=78.0, macs=9_000_000, epoch_macs=1_000_000),
        facts=chain_facts(chains),
    )
    places = [graph.index[chain.group] for chain in chains]

    def shares_of(frame: int) -> float:
        widths = graph.sizes.astype(float)
        widths[places] = [chain.expected for chain in run.at(frame)]
        return float(totals(graph, widths, "macs") / totals(graph, graph.sizes, "macs"))

    widths = {chain.group: round(chain.expected) for chain in run.at(-1)} if ended else {}
    shares = np.array([shares_of(frame) for frame in range(frames)])
    return replace(run, series={**run.series, "shares": shares}, widths=widths, ended=ended)
