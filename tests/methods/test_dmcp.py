"""DMCP itself: what each of its two updates touches, what its search comes to, and bad luck."""

import gc
import itertools
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import explorer
from explorer.methods import METHODS, events, search
from explorer.methods.base import Subject
from explorer.methods.dmcp import DMCP, DMCPSettings
from explorer.methods.loop import Training, steps
from explorer.methods.report import BrokeDown
from explorer.methods.snapshots import Snapshot
from explorer.methods.structure import prefix_plan
from tests.evaluate.toys import images_of
from tests.methods.searches import QUICK, graph_of, step, toy_network


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
    step(run, 5, "weights")
    assert torch.equal(run._gates.alphas, alphas)
    between = weights_of(run)
    assert any(not torch.equal(between[name], before[name]) for name in before)
    step(run, 5, "chains")
    assert (run._gates.alphas != alphas).all()
    after = weights_of(run)
    counted = [name for name in between if not name.endswith("num_batches_tracked")]
    assert all(torch.equal(after[name], between[name]) for name in counted)


def test_weights_of_batch_norms_statistics_never_move() -> None:
    run = search_of(toy_network())
    before = {name: t for name, t in weights_of(run).items() if "running" in name}
    for number in range(6):
        step(run, number)
    after = weights_of(run)
    assert all(torch.equal(after[name], tensor) for name, tensor in before.items())


def test_warm_up_draws_uniformly_and_the_end_draws_from_the_chains() -> None:
    run = search_of(toy_network(), alpha=-40.0)  # chains that never go on: their draws are the least widths
    least = [chain.least for chain in run._chains]
    early = [widths.tolist() for number in range(run._warm) for widths in run._drawn(number)]
    late = [widths.tolist() for number in range(run.of - 3, run.of) for widths in run._drawn(number)]
    assert any(widths != least for widths in early)
    assert all(widths == least for widths in late)


def test_the_share_of_uniform_draws_falls_from_one_to_none_half_way() -> None:
    run = search_of(toy_network(), alpha=-40.0, epochs=200)  # chains that never go on, as above
    assert (run._warm, run.of) == (4, 804)
    least = [chain.least for chain in run._chains]
    by_chance = np.prod(
        [1 / len(chain.widths) for chain in run._chains]
    )  # a uniform draw of the least widths
    uniform = [[widths.tolist() != least for widths in run._drawn(number)] for number in range(4, 804)]
    for place, share in enumerate([7 / 8, 5 / 8, 3 / 8, 1 / 8, 0, 0, 0, 0]):  # at the middle of each eighth
        found = np.mean(uniform[100 * place : 100 * (place + 1)])
        assert found == pytest.approx(share * (1 - by_chance), abs=0.12 if share else 0)


def images_of_forwards(run: Any) -> list[list[list[int]]]:
    """Does all steps of a search: for every step, and every forward in it, the numbers of its images."""
    pixels = run.subject.images.pixels
    number_of = {first: number for number, first in enumerate(pixels[:, 0, 0, 0].tolist())}
    seen: list[list[list[int]]] = []
    run._supernet.model.conv1.register_forward_pre_hook(
        lambda _module, args: seen[-1].append([number_of[first] for first in args[0][:, 0, 0, 0].tolist()])
    )
    for number in range(run.of):
        seen.append([])
        step(run, number)
    return seen


def test_every_epoch_sees_every_image_once_in_an_order_of_its_own() -> None:
    run = search_of(toy_network(images_of(70)))
    seen = images_of_forwards(run)
    assert [len(forwards) for forwards in seen] == [4] * 5 + [5] * 10
    assert all(
        forwards == [forwards[0]] * len(forwards) for forwards in seen
    )  # all learn from the same batch
    batches = [forwards[0] for forwards in seen]
    assert {len(batch) for batch in batches} == {14}
    epochs = [np.concatenate(batches[start : start + 5]).tolist() for start in (0, 5, 10)]
    assert all(sorted(epoch) == list(range(70)) for epoch in epochs)
    assert len({tuple(epoch) for epoch in epochs}) == 3
    other = images_of_forwards(search_of(toy_network(images_of(70)), seed=1))
    assert other[0][0] != batches[0]


def test_held_out_images_are_the_chains_alone() -> None:
    run = search_of(toy_network(images_of(80)), held_out=0.3)
    seen = images_of_forwards(run)
    assert [len(forwards) for forwards in seen] == [4] * 4 + [5] * 8
    weights = {number for forwards in seen for batch in forwards[:4] for number in batch}
    chains = {number for forwards in seen for batch in forwards[4:] for number in batch}
    assert (len(weights), len(chains)) == (56, 24)
    assert not weights & chains


def test_every_forward_of_every_step_has_random_numbers_of_its_own() -> None:
    """So that dropout does not drop the same channels again and again."""
    run, drawn = search_of(toy_network()), list[float]()
    run._supernet.model.dropout.register_forward_pre_hook(
        lambda _module, _args: drawn.append(torch.rand(()).item())
    )
    for number in range(run.of):
        step(run, number)
    assert len(set(drawn)) == len(drawn) == 4 * 4 + 8 * 5


def toy_macs(widths: Any) -> int:
    """Of one image in the toy: two convolutions of 3 x 3 on 6 x 6 pixels and a classifier of four classes."""
    first, second = (int(width) for width in widths)
    return 36 * 9 * first + 36 * 9 * first * second + 4 * second


@pytest.mark.parametrize(
    ("held_out", "batch", "chain_batch"), [(0.0, 16, 16), (0.3, 14, 12)], ids=["same batch", "held out"]
)
def test_the_macs_of_a_step_are_those_of_its_forwards(held_out: float, batch: int, chain_batch: int) -> None:
    """Of the full, the least and two drawn networks, and after warm-up of the full one behind its gates."""
    run = search_of(toy_network(images_of(80)), held_out=held_out)
    least = [chain.least for chain in run._chains]
    assert toy_macs([6, 8]) == explorer.cost(graph_of(toy_network())).macs
    total = 0
    for number in range(run.of):
        drawn = run._drawn(number)
        joint = chain_batch if number >= run._warm else 0
        macs = batch * sum(map(toy_macs, [[6, 8], least, *drawn])) + joint * toy_macs([6, 8])
        assert step(run, number).macs == macs
        total += macs
    assert run.epoch_macs == 80 * toy_macs([6, 8])
    planned = run.planned(run.of)  # for one image, and with mean widths
    assert planned * batch == pytest.approx(total, rel=0.1)


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
    small = explorer.shrink(found.network, graph, found.plan)
    assert explorer.evaluate(small, network.data).seen == 32
    assert explorer.prove(found.network, graph, found.plan, network.example.repeat(4, 1, 1, 1)).ok


def test_from_scratch_starts_with_other_weights() -> None:
    network = toy_network()
    loaded, scratch = (search_of(network, start=start) for start in ("loaded", "scratch"))
    name = "conv1.weight"
    assert torch.equal(loaded._supernet.parameters[name], network.model.get_parameter(name))
    assert not torch.equal(scratch._supernet.parameters[name], network.model.get_parameter(name))


def test_the_supernets_statistics_are_those_of_its_own_weights() -> None:
    """Not the loaded network's: means and variances of the training images, of which all are one batch here."""
    network = toy_network()
    net = search(network, **QUICK).network
    assert network.data is not None
    assert network.data.train is not None
    with torch.no_grad():
        x = network.data.train.inputs()
        for conv, norm in ((net.conv1, net.bn1), (net.conv2, net.bn2)):
            x = conv(x)
            variance, mean = torch.var_mean(x, (0, 2, 3))
            torch.testing.assert_close(norm.running_mean, mean)
            torch.testing.assert_close(norm.running_var, variance)
            biased = variance * (1 - 1 / (64 * 36))  # what a forward in train mode divides by
            x = (x - mean.view(-1, 1, 1)) / (biased + norm.eps).sqrt().view(-1, 1, 1)
            x = torch.relu(x * norm.weight.view(-1, 1, 1) + norm.bias.view(-1, 1, 1))


def bytes_of_tensors() -> int:
    """Of all tensors that Python can reach, those that share memory counted once."""
    gc.collect()
    storages = [each.untyped_storage() for each in gc.get_objects() if type(each) in (Tensor, nn.Parameter)]
    return sum({storage.data_ptr(): storage.nbytes() for storage in storages}.values())


def growth() -> tuple[int, int]:
    """Bytes of tensors after step 48 beyond those after step 8, and of a frame's alphas."""
    network = toy_network()
    graph = graph_of(network)
    held = {}
    for event in events(network, graph, **{**QUICK, "epochs": 12}):
        if event.step in (8, 48):
            held[event.step] = bytes_of_tensors()
    assert event.run is not None
    return held[48] - held[8], event.run.alphas.shape[1] * 4


def test_memory_is_flat_over_epochs() -> None:
    """What a step leaves behind is a frame of the run: its alphas in float32.

    In a process of its own, since all tensors are counted, those of threads that other tests left at work too.
    """
    code = "from tests.methods.test_dmcp import growth; print(*growth())"
    root = Path(__file__).parents[2]
    done = subprocess.run([sys.executable, "-c", code], cwd=root, capture_output=True, text=True, check=True)
    grown, alphas = map(int, done.stdout.split())
    assert grown <= 40 * alphas < 16 * 36 * 4  # far from a batch of images, let alone 40


def test_weights_that_break_down_before_a_stop_leave_the_last_sound_snapshot() -> None:
    run, asked, kept = search_of(toy_network()), itertools.count(), list[Snapshot]()

    def stop() -> bool:
        if next(asked) < 6:
            return False
        run._supernet.parameters["conv1.weight"].data.fill_(torch.nan)
        return True

    told = steps(Training(METHODS["dmcp"], run.subject, run), "key", stop=stop)
    with pytest.raises(BrokeDown, match=r"after step 6 of 12: .* Its first 4 steps are kept") as caught:
        kept.extend(event.snapshot for event in told if event.snapshot)
    assert caught.value.snapshot is kept[0]
    assert all(torch.isfinite(each).all() for each in kept[0].content["tensors"].values())


def test_accuracy_grows_and_the_least_network_learns_too() -> None:
    network = toy_network()
    graph = graph_of(network)
    found = search(network, **{**QUICK, "warm_up": 10, "epochs": 10, "rate": 0.05})
    least = {chain.group: chain.least for chain in found.run.chains}
    small = explorer.recover(explorer.shrink(found.network, graph, prefix_plan(graph, least)), network.data)
    assert found.run.losses["full"][-1] < 0.7 * np.nanmax(found.run.losses["full"])
    assert explorer.evaluate(small, network.data).accuracy > 0.5


def test_the_method_says_what_it_is() -> None:
    method = METHODS["dmcp"]
    assert method.name == "dmcp"
    assert "2020" in method.about
