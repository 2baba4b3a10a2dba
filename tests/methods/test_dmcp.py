"""DMCP itself: what each of its two updates touches, what its search comes to, and bad luck."""

from typing import Any

import numpy as np
import pytest
import torch

import explorer
from explorer.methods import METHODS, events, search
from explorer.methods.dmcp import DMCP, DMCPSettings
from explorer.methods.road import Subject
from explorer.methods.structure import prefix_plan
from tests.methods.searches import QUICK, graph_of, toy_network


def search_of(network: explorer.Network, **settings: Any) -> Any:
    """A search between two steps, to look into."""
    assert network.data is not None
    assert network.data.train is not None
    return DMCP().begin(
        Subject(network, graph_of(network), network.data.train), DMCPSettings(**{**QUICK, **settings})
    )


def weights_of(run: Any) -> dict[str, torch.Tensor]:
    return {name: tensor.detach().clone() for name, tensor in run._supernet.model.state_dict().items()}


def test_the_weight_step_leaves_the_chains_and_the_chain_step_the_weights() -> None:
    run = search_of(toy_network())
    alphas, before = run._gates.alphas.detach().clone(), weights_of(run)
    rows = torch.arange(16)
    run._weight_step(5, rows)
    assert torch.equal(run._gates.alphas, alphas)
    between = weights_of(run)
    assert any(not torch.equal(between[name], before[name]) for name in before)
    run._chain_step(5, rows)
    assert (run._gates.alphas != alphas).all()
    after = weights_of(run)
    counted = [name for name in between if not name.endswith("num_batches_tracked")]
    assert all(torch.equal(after[name], between[name]) for name in counted)


def test_weights_of_batch_norms_statistics_never_move() -> None:
    run = search_of(toy_network())
    before = {name: t for name, t in weights_of(run).items() if "running" in name}
    for number in range(6):
        run.step(number)
    after = weights_of(run)
    assert all(torch.equal(after[name], tensor) for name, tensor in before.items())


def test_warm_up_draws_uniformly_and_the_end_draws_from_the_chains() -> None:
    run = search_of(toy_network(), alpha=-40.0)  # chains that never go on: their draws are the least widths
    least = [chain.least for chain in run._chains]
    early = [widths.tolist() for number in range(run._warm) for widths in run._drawn(number)]
    late = [widths.tolist() for number in range(run.of - 3, run.of) for widths in run._drawn(number)]
    assert any(widths != least for widths in early)
    assert all(widths == least for widths in late)


def test_held_out_images_are_the_chains_alone() -> None:
    run = search_of(toy_network(), held_out=0.5)
    weights, chains = set(run._weights.tolist()), set(run._chain_rows.tolist())
    assert not weights & chains
    assert len(weights) == len(chains) == 32
    seen = {int(row) for number in range(run.of) for row in run._rows(number, run._weights)}
    assert seen == weights


@pytest.mark.parametrize("regulariser", ["squared_log", "dead_zone"])
@pytest.mark.parametrize("start", ["loaded", "scratch"])
def test_every_setting_searches(regulariser: str, start: str) -> None:
    found = search(toy_network(), regulariser=regulariser, start=start, cost="params", **QUICK)
    assert found.run.settings["regulariser"] == regulariser
    assert found.run.ended


def test_the_structure_meets_the_target_and_the_supernet_carries_it() -> None:
    network = toy_network()
    graph = graph_of(network)
    found = search(network, **{**QUICK, "target": 0.6, "epochs": 12, "divisions": 8})
    share = explorer.cost(graph, found.plan).macs / explorer.cost(graph).macs
    assert abs(share / 0.6 - 1) <= 0.1  # six and eight channels: a unit is several per cent
    assert abs(found.run.shares[-1] / 0.6 - 1) <= 0.05
    assert found.plan == prefix_plan(graph, found.run.widths)
    small = explorer.shrink(found.supernet, graph, found.plan)
    assert explorer.evaluate(small, network.data).seen == 32
    assert explorer.prove(found.supernet, graph, found.plan, network.example.repeat(4, 1, 1, 1)).ok


def test_from_scratch_starts_with_other_weights() -> None:
    network = toy_network()
    loaded, scratch = (search_of(network, start=start) for start in ("loaded", "scratch"))
    name = "conv1.weight"
    assert torch.equal(loaded._supernet.parameters[name], network.model.get_parameter(name))
    assert not torch.equal(scratch._supernet.parameters[name], network.model.get_parameter(name))


def test_memory_is_flat_over_epochs() -> None:
    """What a step leaves behind is the frames of the run, and those are at most about 240."""
    import tracemalloc

    network = toy_network()
    graph = graph_of(network)
    peaks = []
    tracemalloc.start()
    try:
        for event in events(network, graph, **{**QUICK, "epochs": 60}):
            if event.step % 40 == 0:
                peaks.append(tracemalloc.get_traced_memory()[0])
    finally:
        tracemalloc.stop()
    assert peaks[-1] - peaks[2] < 500_000
    assert event.run is not None
    assert event.run.frames <= 122


def test_accuracy_grows_and_the_least_network_learns_too() -> None:
    network = toy_network()
    graph = graph_of(network)
    found = search(network, **{**QUICK, "warm_up": 10, "epochs": 10, "rate": 0.05})
    least = {chain.group: chain.least for chain in found.run.chains}
    small = explorer.recover(explorer.shrink(found.supernet, graph, prefix_plan(graph, least)), network.data)
    assert found.run.losses["full"][-1] < 0.7 * np.nanmax(found.run.losses["full"])
    assert explorer.evaluate(small, network.data).accuracy > 0.5


def test_the_method_says_what_it_is() -> None:
    method = METHODS["dmcp"]
    assert method.name == "dmcp"
    assert "2020" in method.about
