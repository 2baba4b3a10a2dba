"""DMCP's structure beside the uniform one: equal cost, equal training, and what each number is."""

from dataclasses import replace

import pytest
from torch import nn

import explorer
from explorer.chains import ChainRun
from explorer.data import Data
from explorer.errors import BadInput, NotReachable, UnknownName
from explorer.evaluate.recovery import reestimate_bn
from explorer.methods.comparison import SHARED_BN_IMAGES, Retraining, compare
from explorer.methods.retraining import accuracy_of, retrained
from explorer.methods.structure import prefix_plan
from explorer.values import ChannelGraph
from explorer.zoo.network import Network
from tests.counting import counted_macs
from tests.evaluate.toys import fingerprint, livened
from tests.methods.toys import ended_run, small_network

FOUND = {"conv1": 7, "conv2": 22}


@pytest.fixture
def network() -> Network:
    return small_network()


@pytest.fixture
def graph(network: Network) -> ChannelGraph:
    return explorer.trace(network.model, network.example)


@pytest.fixture
def run(network: Network) -> ChainRun:
    return replace(ended_run(network), widths=FOUND)


@pytest.fixture
def supernet(network: Network) -> nn.Module:
    return livened(explorer.recover(network, network.data, bn=False), seed=3)


def test_contenders_and_their_costs(
    network: Network, graph: ChannelGraph, run: ChainRun, supernet: nn.Module
) -> None:
    found = compare(network, graph, run, supernet, seeds=())
    assert (found.network, found.target, found.images, found.epochs, found.start) == (
        "small",
        0.4,
        80,
        4,
        "scratch",
    )
    named = {each.name: each for each in found.contenders}
    assert {name: dict(each.widths) for name, each in named.items() if name != "uniform"} == {
        "dmcp": FOUND,
        "largest": {"conv1": 16, "conv2": 24},
        "smallest": {"conv1": 2, "conv2": 3},  # an eighth of each
    }
    dense = counted_macs(network.model, network.example)
    for each in found.contenders:
        smaller = explorer.shrink(supernet, graph, prefix_plan(graph, dict(each.widths)))
        assert each.share == pytest.approx(counted_macs(smaller, network.example) / dense, rel=1e-12)
        assert each.retrained == ()
    assert named["uniform"].share == pytest.approx(named["dmcp"].share, rel=0.02)
    assert dict(named["uniform"].widths) == {"conv1": 10, "conv2": 15}  # five eighths of both


def test_shared_weights_have_their_own_statistics(
    network: Network, graph: ChannelGraph, run: ChainRun, supernet: nn.Module
) -> None:
    assert network.data is not None
    assert network.data.train is not None
    found = compare(network, graph, run, supernet, seeds=())
    for each in found.contenders:
        smaller = explorer.shrink(supernet, graph, prefix_plan(graph, dict(each.widths)))
        reestimate_bn(smaller, network.data.train, SHARED_BN_IMAGES)
        assert each.shared == accuracy_of(smaller, network.data.explore)


@pytest.mark.parametrize("start", ["scratch", "supernet"])
def test_both_are_trained_alike(
    start: str, network: Network, graph: ChannelGraph, run: ChainRun, supernet: nn.Module
) -> None:
    assert network.data is not None
    assert network.data.train is not None
    before, told = fingerprint(supernet), list[Retraining]()
    found = compare(network, graph, run, supernet, (2, 7), 1, start, progress=told.append, name="mine")
    assert fingerprint(supernet) == before
    assert found.network == "mine"
    assert [(each.contender, each.seed, each.number, each.of) for each in told] == [
        ("dmcp", 2, 1, 4), ("uniform", 2, 2, 4), ("dmcp", 7, 3, 4), ("uniform", 7, 4, 4)
    ]  # fmt: skip
    uniform = found.contenders[1]
    smaller = explorer.shrink(supernet, graph, prefix_plan(graph, dict(uniform.widths)))
    reestimate_bn(smaller, network.data.train, SHARED_BN_IMAGES)
    again = retrained(smaller, network.data.train, 1, 7, start)
    assert uniform.retrained[1] == accuracy_of(again, network.data.explore)
    assert [len(each.retrained) for each in found.contenders] == [2, 2, 0, 0]


def test_what_is_remembered_is_not_trained_again(
    network: Network, graph: ChannelGraph, run: ChainRun, supernet: nn.Module
) -> None:
    class Enough(Exception):
        pass

    remembered: dict[str, float] = {}
    told: list[Retraining] = []

    def stop_at_the_third(at: Retraining) -> None:
        if at.number == 3:
            raise Enough

    with pytest.raises(Enough):
        compare(network, graph, run, supernet, (0, 1), 1, progress=stop_at_the_third, remembered=remembered)
    assert len(remembered) == 2
    resumed = compare(network, graph, run, supernet, (0, 1), 1, progress=told.append, remembered=remembered)
    assert [at.number for at in told] == [3, 4]
    assert resumed == compare(network, graph, run, supernet, (0, 1), 1)
    compare(network, graph, run, supernet, (0,), 2, progress=told.append, remembered=remembered)
    assert told[-1].number == 2, "other epochs are another training"


def test_widths_alone_will_do(network: Network, graph: ChannelGraph, supernet: nn.Module) -> None:
    found = compare(network, graph, FOUND, supernet, seeds=())
    assert found.target == found.contenders[0].share


def test_a_run_that_aimed_at_parameters_is_compared_at_its_macs(
    network: Network, graph: ChannelGraph, run: ChainRun, supernet: nn.Module
) -> None:
    found = compare(
        network, graph, replace(run, settings={**run.settings, "cost": "params"}), supernet, seeds=()
    )
    assert found.target == found.contenders[0].share
    assert found.contenders[1].share == pytest.approx(found.target, rel=0.02)


def test_bad_input_is_refused_before_any_training(
    network: Network, graph: ChannelGraph, run: ChainRun, supernet: nn.Module
) -> None:
    data = network.data
    assert data is not None
    without = replace(network, data=Data(data.name, data.classes, None, data.explore, None))
    for wrong, error, words in [
        ({"found": replace(run, widths={}, ended=False)}, BadInput, "has not ended"),
        ({"found": {"conv1": 99}}, BadInput, "units"),
        ({"start": "loaded"}, UnknownName, "Known: scratch, supernet"),
        ({"epochs": 0}, BadInput, "epochs must be"),
        ({"seeds": (0, -1)}, BadInput, "seed must be"),
        ({"network": without}, BadInput, "training images"),
        ({"supernet": nn.Linear(2, 2)}, BadInput, "not the one that was traced"),
    ]:
        arguments = {"network": network, "graph": graph, "found": run, "supernet": supernet, **wrong}
        with pytest.raises(error, match=words):
            compare(**arguments)  # type: ignore[arg-type]


def test_structures_of_unequal_cost_are_not_compared(
    network: Network, graph: ChannelGraph, supernet: nn.Module
) -> None:
    """MACs / 36 are 9 a + 9 a b + 4 b / 36: 675.6 for widths 5 and 14, and at best 693 for equal shares (7 and 10)."""
    with pytest.raises(NotReachable, match=r"18\.8 % of the MACs, and the nearest uniform one 19\.3 %"):
        compare(network, graph, {"conv1": 5, "conv2": 14}, supernet, seeds=())
