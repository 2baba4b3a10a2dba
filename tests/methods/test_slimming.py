"""Network Slimming: its counting, its subgradient, what it leaves alone; a masked network is the narrow one."""

import itertools

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

import explorer
from explorer.data import Data
from explorer.methods import METHODS, events, search
from explorer.methods.base import Subject
from explorer.methods.loop import Training
from explorer.methods.slimming import capped, scaled_groups, shrink_scales, threshold, unit_scales
from tests.dynamic.toys import network_of
from tests.evaluate.toys import images_of

QUICK = {"epochs": 2, "fine_tune": 1, "batch": 16, "sparsity": 0.05}


def graph_of(network):
    return explorer.trace(network.model, network.example)


# ---- counting -------------------------------------------------------------------------------------------------


@given(st.lists(st.floats(0, 10), min_size=1, max_size=60, unique=True), st.floats(0.01, 0.99))
def test_as_many_stay_as_the_released_code_counts(scales, p):
    """N - int(N p) - 1 without ties; its own code sorts and compares strictly."""
    values, count = np.array(scales), int(round(len(scales) * p, 6))
    kept = int((values > threshold(values, p)).sum())
    assert kept == (len(scales) - count - 1 if count else len(scales))


def test_nothing_goes_where_everything_is_kept():
    assert (np.array([0.0, 1.0]) > threshold(np.array([0.0, 1.0]), 0.0)).all()


@given(st.lists(st.floats(0, 1), min_size=1, max_size=30), st.floats(0, 2), st.floats(0.01, 1))
def test_no_pass_takes_more_than_the_cap_of_a_layer_and_one_channel_stays(scales, limit, cap):
    values, kept = np.array(scales), np.ones(len(scales), dtype=bool)
    chosen = capped(values, kept, limit, cap)
    assert chosen.sum() >= max(1, np.ceil(round((1 - cap) * len(scales), 6)))
    if chosen.sum() > (values > limit).sum():  # the strongest of them
        assert values[chosen].min() >= values[~chosen].max(initial=0.0)


def test_the_subgradient_is_autograds():
    gammas = [torch.tensor([0.5, -2.0, 3.0], requires_grad=True), torch.tensor([-1.0], requires_grad=True)]
    (0.3 * sum(each.abs().sum() for each in gammas)).backward()
    expected = [each.grad.clone() for each in gammas]
    for each in gammas:
        each.grad = torch.ones_like(each)
    shrink_scales(gammas, 0.3)
    for each, grad in zip(gammas, expected, strict=True):
        torch.testing.assert_close(each.grad, 1 + grad)
    zero = torch.zeros(2, requires_grad=True)
    shrink_scales([zero], 0.3)
    assert zero.grad.tolist() == [0.0, 0.0]


# ---- which channels -------------------------------------------------------------------------------------------


class PreActivation(nn.Module):
    """Batch norms come first: the trunk that the blocks add to has none of its own."""

    def __init__(self):
        super().__init__()
        self.stem = nn.Conv2d(1, 8, 3, padding=1)
        self.bn1, self.conv1 = nn.BatchNorm2d(8), nn.Conv2d(8, 12, 3, padding=1)
        self.bn2, self.conv2 = nn.BatchNorm2d(12), nn.Conv2d(12, 8, 3, padding=1)
        self.classifier = nn.Linear(8, 4)

    def forward(self, x):
        x = self.stem(x)
        x = x + self.conv2(torch.relu(self.bn2(self.conv1(torch.relu(self.bn1(x))))))
        return self.classifier(x.mean((2, 3)))


def loaded(model):
    return explorer.load(
        model.eval(), data=Data("toys", tuple("abcd"), images_of(64, 1), images_of(40, 2), None)
    )


def test_the_trunk_of_a_pre_activation_network_is_left_alone():
    network = loaded(PreActivation())
    graph = graph_of(network)
    assert [each.group for each in scaled_groups(graph)] == ["conv1"]
    found = search(network, "slimming", keep=0.5, **QUICK)
    assert found.plan.widths["stem"] == 8
    assert found.plan.widths["conv1"] == 12 - 6 - 1


def test_a_network_without_batch_norm_is_refused_in_words():
    with pytest.raises(explorer.BadInput, match="no scales to train"):
        search(loaded(NoNorm()), "slimming", **QUICK)
    assert METHODS["slimming"].refusal(graph_of(loaded(NoNorm()))) == "slimming_refused"


class NoNorm(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv, self.classifier = nn.Conv2d(1, 8, 3), nn.Linear(8, 4)

    def forward(self, x):
        return self.classifier(torch.relu(self.conv(x)).mean((2, 3)))


def test_a_unit_is_as_strong_as_its_strongest_channel():
    network = network_of("residual")
    graph = graph_of(network)
    gammas = dict(network.model.named_parameters())
    shared = next(each for each in scaled_groups(graph) if len(each.units) > 1)
    by_hand = torch.stack([gammas[name].detach().abs() for name in shared.units]).max(0).values
    np.testing.assert_allclose(unit_scales(shared, gammas), by_hand.double().numpy())


# ---- training -------------------------------------------------------------------------------------------------


def test_the_threshold_is_one_for_all_layers():
    network = network_of("residual")
    graph = graph_of(network)
    found = search(network, "slimming", keep=0.6, **QUICK)
    total = sum(each.size for each in scaled_groups(graph))
    kept = sum(found.plan.widths[each.group] for each in scaled_groups(graph))
    assert kept == total - int(total * 0.4) - 1
    assert dict(found.run.widths) == {
        each.group: found.plan.widths[each.group] for each in scaled_groups(graph)
    }


def test_several_passes_cut_a_little_each_and_no_layer_by_more_than_the_cap():
    network = network_of("residual")
    found = search(network, "slimming", **{**QUICK, "keep": 0.4, "passes": 3, "cap": 0.5})
    widths = found.run.series["widths"]
    assert all(
        (after <= before).all() for before, after in itertools.pairwise(widths[widths.shape[0] // 3 :])
    )
    ends = [int(row.sum()) for row in widths]
    assert len({*ends}) >= 3
    for size, width in zip((size for _group, size in found.run.facts["groups"]), widths[-1], strict=True):
        assert width >= np.ceil(np.ceil(np.ceil(size / 2) / 2) / 2)


def test_what_was_cut_is_read_by_nobody_and_the_narrow_network_answers_the_same():
    network = network_of("residual")
    graph = graph_of(network)
    found = search(network, "slimming", keep=0.5, **QUICK)
    small = explorer.shrink(found.network, graph, found.plan)
    inputs = network.data.explore.inputs()
    with torch.no_grad():
        torch.testing.assert_close(small(inputs), found.network(inputs), rtol=1e-4, atol=1e-5)
    assert explorer.prove(found.network, graph, found.plan, inputs).ok
    for each in scaled_groups(graph):
        gone = ~found.plan.keep[each.group]
        assert (unit_scales(each, dict(found.network.named_parameters()))[gone] == 0).all()


def test_training_goes_on_as_that_of_the_narrow_network():
    """A step after the cut, beside a step of the shrunk network from the same weights, by hand."""
    network = network_of("residual")
    graph = graph_of(network)
    settings = METHODS["slimming"].settings(keep=0.5, rate=0.02, weight_decay=0.0, **QUICK)
    run = METHODS["slimming"].begin(Subject(network, graph, network.data.train), settings)
    training = Training(METHODS["slimming"], run.subject, run)
    cut = settings.epochs * run.per_epoch
    for number in range(cut):
        training.step(number)
    plan = run._plan()
    small = explorer.shrink(run._model, graph, plan).train()
    for number in range(cut, run.of):
        rows = run.batch(number)
        x, y = network.data.train.inputs(rows), network.data.train.labels[rows]
        for parameter in small.parameters():
            parameter.grad = None
        loss = nn.functional.cross_entropy(small(x), y)
        assert training.step(number).losses["task"] == pytest.approx(loss.item(), rel=1e-3)
        if (
            number == cut
        ):  # momentum of before is in ours: one step is enough to see that both are the same network
            break


def test_stronger_prices_leave_smaller_scales_and_none_leaves_training_alone():
    network = network_of("residual")
    sums = []
    for strength in (0.0, 0.05, 0.2):
        *_, last = events(
            network, graph_of(network), "slimming", **{**QUICK, "sparsity": strength, "fine_tune": 0}
        )
        sums.append(float(last.losses["scales"]))
    assert sums[0] > sums[1] > sums[2]


def test_from_scratch_all_scales_begin_at_a_half():
    network = network_of("residual")
    subject = Subject(network, graph_of(network), network.data.train)
    run = METHODS["slimming"].begin(subject, METHODS["slimming"].settings(start="scratch", **QUICK))
    assert {value for gamma in run._gammas.values() for value in gamma.tolist()} == {0.5}
