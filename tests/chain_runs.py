"""A run of a search over widths as values, without any training: what views and sessions are tested with."""

import numpy as np

from explorer.chains import ChainRun, chain_of
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
        cost="macs",
        target=0.4,
        chains=chains,
        of=10 * (frames - 1),
        warm_up=10 * (frames // 3),
        steps=10 * np.arange(frames),
        alphas=alphas,
        shares=np.ones(frames),
        losses={
            "full": np.linspace(1.2, 0.4, frames),
            "sub": np.linspace(0.9, 0.1, frames),
            "chains": np.where(share > 0, 1 - 0.5 * share, np.nan),
            "cost": np.where(share > 0, (1 - share) ** 2, np.nan),
        },
        settings={"target": 0.4, "epochs": 4, "seed": seed},
        widths={},
        training=TrainingCost(seconds=78.0, macs=9_000_000, epoch_macs=1_000_000),
    )
    places = [graph.index[chain.group] for chain in chains]

    def shares_of(frame: int) -> float:
        widths = graph.sizes.astype(float)
        widths[places] = [chain.expected for chain in run.at(frame)]
        return float(totals(graph, widths, "macs") / totals(graph, graph.sizes, "macs"))

    widths = {chain.group: round(chain.expected) for chain in run.at(-1)} if ended else {}
    fields = {name: getattr(run, name) for name in run.__dataclass_fields__}
    return ChainRun(**{**fields, "shares": [shares_of(frame) for frame in range(frames)], "widths": widths})
