"""ManiDP: its terms by hand, whole steps against a loop written out, stop and resume, and what is refused."""

import copy
import itertools
import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn
from torch.nn import functional

import explorer
from explorer.data import Data, Images, identity
from explorer.dynamic.network import Dynamic
from explorer.errors import BadInput
from explorer.instances import InstanceRun
from explorer.methods import METHODS, events, search
from explorer.methods.instance_training import PHASES, RAMP
from explorer.methods.manidp import manifold_distance, sparsity_weights
from explorer.methods.repeatable import rows_of
from explorer.methods.report import BrokeDown
from tests.dynamic.toys import network_of
from tests.evaluate.toys import fingerprint, images_of

QUICK = {"epochs": 4, "batch": 16, "rate": 0.02}


def graph_of(network):
    return explorer.trace(network.model, network.example)


# ---- terms ------------------------------------------------------------------------------------------------


@given(
    st.lists(st.floats(0, 5, width=32), min_size=1, max_size=8),
    st.floats(0.0625, 3, width=32),
    st.floats(0, 1, width=32),
)
def test_sparsity_falls_from_its_strength_to_none_at_the_limit(losses, limit, strength):
    weights = sparsity_weights(torch.tensor(losses), limit, strength).tolist()
    for loss, weight in zip(losses, weights, strict=True):
        assert -1e-6 <= weight <= strength + 1e-6
        assert weight == pytest.approx(strength * max(0, limit - loss) / limit, abs=1e-5)
        assert loss < limit or weight == 0
    assert sparsity_weights(torch.zeros(3), limit, strength).tolist() == pytest.approx([strength] * 3)
    uniform = sparsity_weights(torch.tensor(losses), limit, strength, "uniform").tolist()
    assert uniform == pytest.approx([float(np.mean(weights))] * len(losses), abs=1e-6)


def test_sparsity_takes_no_gradient_from_the_loss():
    losses = torch.tensor([0.2, 0.4], requires_grad=True)
    assert not sparsity_weights(losses, 1.0, 0.1).requires_grad


def by_hand(features, saliency):
    def cosine(a, b):
        sizes = math.hypot(*a) * math.hypot(*b)
        return sum(x * y for x, y in zip(a, b, strict=True)) / sizes if sizes else 0.0

    rows = range(len(features))
    return (
        sum(
            (cosine(saliency[i], saliency[j]) - cosine(features[i], features[j])) ** 2
            for i in rows
            for j in rows
        )
        / len(features) ** 2
    )


def test_the_manifold_term_is_the_squared_distance_of_cosines():
    random = torch.Generator().manual_seed(0)
    features = torch.randn(5, 3, generator=random, dtype=torch.float64)
    saliency = torch.rand(5, 3, generator=random, dtype=torch.float64)
    found = manifold_distance(features, saliency)
    assert float(found) == pytest.approx(by_hand(features.tolist(), saliency.tolist()))
    order = torch.tensor([3, 0, 4, 1, 2])
    torch.testing.assert_close(manifold_distance(features[order], saliency[order]), found)
    torch.testing.assert_close(manifold_distance(3 * features, 0.1 * saliency), found)
    assert float(manifold_distance(saliency, 2 * saliency)) == pytest.approx(0, abs=1e-12)
    zeros = torch.zeros(2, 3, dtype=torch.float64)
    assert torch.isfinite(manifold_distance(zeros, saliency[:2]))


# ---- whole steps ------------------------------------------------------------------------------------------


class ByHand:
    """The toy's two blocks written out, with autograd and an optimiser of its own."""

    SITES = (("one.a", "one"), ("one.b", "one"), ("two.a", "two"), ("two.b", "two"))

    def __init__(self, dynamic, settings, images, of):
        self.net, self.settings, self.images, self.of = copy.deepcopy(dynamic), settings, images, of
        self.mean_loss = 0.0
        self.seen, self.tables = [], []
        matrices = [p for p in self.net.model.parameters() if p.dim() > 1]
        rest = [p for p in self.net.model.parameters() if p.dim() <= 1] + list(self.net.heads.parameters())
        self.sgd = torch.optim.SGD(
            [{"params": matrices, "weight_decay": settings.weight_decay}, {"params": rest, "weight_decay": 0}],
            lr=1.0, momentum=0.9, nesterov=True,
        )  # fmt: skip

    def forward(self, x):
        """Logits, saliencies and features of all four sites, weights as the thresholds say."""
        model, saliencies, features = self.net.model, [], []

        def gate(k, entering, y, rectified):
            s = self.net.heads[k](entering)
            saliencies.append(s)
            features.append((y.relu() if rectified else y).mean((2, 3)).detach())
            keep = (s >= self.thresholds[k]) & (s > 1e-6)
            return y * (s * keep)[:, :, None, None]

        x = torch.relu(model.stem(x))
        for start, block in ((0, model.one), (2, model.two)):
            inner = torch.relu(gate(start, x, block.a(x), True))
            x = torch.relu(gate(start + 1, inner, block.b(inner), False) + block.shortcut(x))
        return model.classifier(x.mean((2, 3))), saliencies, features

    def calibrate(self, level):
        """Saliencies as they are where images keep what they will keep at the end."""
        self.net.eval()
        self.thresholds = self.of_level(self.settings.level)
        with torch.no_grad():
            _logits, saliencies, _features = self.forward(self.images.inputs())
        steps = np.linspace(0, 1, 101)
        self.tables = [np.quantile(s.double().numpy(), steps).astype(np.float32) for s in saliencies]
        self.thresholds = self.of_level(level)

    def of_level(self, level):
        if not self.tables:
            return [-math.inf] * 4
        return [float(np.quantile(table, 1 - level)) for table in self.tables]

    def step(self, number, per_epoch):
        settings = self.settings
        rows = rows_of(settings.seed, number, per_epoch, torch.arange(len(self.images)), settings.batch)
        if number == 0:
            self.thresholds = [-math.inf] * 4
            self.net.eval()
            with torch.no_grad():
                logits, *_ = self.forward(self.images.inputs())
            self.mean_loss = float(functional.cross_entropy(logits, self.images.labels))
        phase, before = number * PHASES // self.of, (number - 1) * PHASES // self.of
        if number and phase != before:
            self.calibrate(self.level_of(phase))
        self.net.train()
        logits, saliencies, features = self.forward(self.images.inputs(rows))
        losses = functional.cross_entropy(logits, self.images.labels[rows], reduction="none")
        weights = settings.sparsity * ((self.mean_loss - losses.detach()) / self.mean_loss).clamp(min=0)
        lasso = (weights * sum(s.mean(1) for s in saliencies)).mean()
        alike = sum(manifold_distance(f, s) for f, s in zip(features, saliencies, strict=True))
        loss = losses.mean() + lasso + settings.similarity * alike
        done = (number + 1) / (self.of + 1)
        rate = done / 0.05 if done < 0.05 else (1 + math.cos(math.pi * (done - 0.05) / 0.95)) / 2
        for group in self.sgd.param_groups:
            group["lr"] = settings.rate * rate
        self.sgd.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(list(self.net.model.parameters()) + list(self.net.heads.parameters()), 5.0)
        self.sgd.step()
        self.seen += losses.detach().tolist()
        if (number + 1) % per_epoch == 0:
            self.mean_loss, self.seen = float(np.mean(self.seen)), []
        return losses.mean().item(), lasso.item(), alike.item()

    def level_of(self, phase):
        goal = self.settings.level
        return (1 + goal) / 2 + (1 - goal) / 2 * math.cos(math.pi * min(1, phase / (RAMP * PHASES)))


def test_whole_trainings_are_as_written_out_by_hand():
    network = network_of("residual")
    settings = METHODS["manidp"].settings(level=0.7, **QUICK)
    given = {"level": 0.7, **QUICK}
    run = METHODS["manidp"].begin(
        type("Subject", (), {"network": network, "graph": graph_of(network), "images": network.data.train})(),
        settings,
    )
    loop = ByHand(run._dynamic, settings, network.data.train, run.of)
    told = [event for event in events(network, graph_of(network), "manidp", **given) if event.losses]
    assert len(told) == run.of + 1 == 17
    for number, event in enumerate(told[:-1]):
        task, sparsity, similarity = loop.step(number, run.per_epoch)
        assert event.losses["task"] == pytest.approx(task, rel=2e-3), number
        assert event.losses["sparsity"] == pytest.approx(sparsity, rel=2e-3), number
        assert event.losses["similarity"] == pytest.approx(similarity, rel=2e-3), number
    ours, theirs = told[-1].found.network.state_dict(), loop.net.state_dict()
    for name in theirs:
        if name != "quantiles":
            torch.testing.assert_close(ours[name], theirs[name], rtol=1e-2, atol=2e-3)


def test_the_level_falls_from_all_channels_to_what_was_asked_for():
    network = network_of("residual")
    *_, last = events(network, graph_of(network), "manidp", level=0.7, **QUICK)
    run = last.found.run
    assert isinstance(run, InstanceRun)
    assert run.levels[1] == 1
    assert all(a >= b for a, b in itertools.pairwise(run.levels))
    assert run.levels[-1] == pytest.approx(0.7)
    ended = np.flatnonzero(np.isclose(run.levels, 0.7))[0]
    assert ended <= math.ceil(RAMP * run.of) + 1
    assert run.ended
    assert last.found.plan is None
    assert last.found.network.level == 0.7


def test_features_pull_saliencies_but_not_the_other_way():
    """Without the cross-entropy's gradient: nothing of the similarity term reaches the last convolution."""
    network = network_of("residual")
    run = METHODS["manidp"].begin(
        type("Subject", (), {"network": network, "graph": graph_of(network), "images": network.data.train})(),
        METHODS["manidp"].settings(**QUICK),
    )
    passed = run._dynamic.train().passed(network.data.train.inputs(slice(0, 16)), 1.0)
    run._mean_task = torch.tensor(1.0)
    similarity = run._terms(passed, torch.ones(16))["similarity"][1]
    similarity.backward()
    assert run._dynamic.model.two.b[0].weight.grad is None
    assert run._dynamic.model.two.a[0].weight.grad.abs().max() > 0  # upstream, by what enters the last module
    assert run._dynamic.heads[3].excite.weight.grad.abs().max() > 0


@pytest.mark.parametrize("method", ["manidp", "fbs"])
@pytest.mark.parametrize("stop_after", [1, 4, 9])
def test_stopped_and_resumed_is_as_never_stopped(method, stop_after, tmp_path):
    network = network_of("inverted")
    graph = graph_of(network)
    *_, straight = events(network, graph, method, **QUICK)
    answers = itertools.chain(itertools.repeat(False, stop_after), itertools.repeat(True))
    *_, halted = events(network, graph, method, stop=lambda: next(answers), **QUICK)
    assert halted.found is None
    halted.snapshot.save(tmp_path / "training.pt")
    snapshot = type(halted.snapshot).load(tmp_path / "training.pt")
    *_, resumed = events(network, graph, method, resume=snapshot, **QUICK)
    ours, theirs = resumed.found.network.state_dict(), straight.found.network.state_dict()
    for name, tensor in theirs.items():
        torch.testing.assert_close(ours[name], tensor, rtol=0, atol=0)
    np.testing.assert_array_equal(resumed.found.run.shares, straight.found.run.shares)
    assert resumed.training.macs == straight.training.macs


@pytest.mark.parametrize("method", ["manidp", "fbs"])
def test_nothing_of_the_users_is_touched(method):
    network = network_of("residual")
    before, state = fingerprint(network.model), torch.get_rng_state()
    found = search(network, method, **QUICK)
    assert fingerprint(network.model) == before
    assert torch.equal(torch.get_rng_state(), state)
    assert isinstance(found.network, Dynamic)
    assert not found.network.training
    assert not any(p.grad is not None and p.grad.any() for p in found.network.parameters())


# ---- what is refused --------------------------------------------------------------------------------------


@pytest.mark.parametrize("method", ["manidp", "fbs"])
def test_what_cannot_be_trained_is_refused_in_words(method):
    bare = network_of("bare")
    with pytest.raises(BadInput, match="directly followed by batch norm"):
        next(events(bare, graph_of(bare), method))
    network = network_of("residual")
    with pytest.raises(BadInput, match="A batch has 128 images, and there are 64"):
        next(events(network, graph_of(network), method))
    train = network.data.train
    one = Images(train.pixels, torch.full((64,), 2), identity)
    alike = replace(network, data=Data("one", tuple("abcd"), one, network.data.explore, None))
    with pytest.raises(BadInput, match=r"of one class \(2\)"):
        next(events(alike, graph_of(network), method, **QUICK))
    with pytest.raises(BadInput, match="must be a number from"):
        next(
            events(
                network,
                graph_of(network),
                method,
                epochs=1,
                **{"level": 2.0} if method == "manidp" else {"density": 2.0},
            )
        )
    bad = images_of(64)
    with torch.no_grad():
        bad.labels[3] = 9
    wrong = replace(network, data=Data("labels", tuple("abcdefghij"), bad, network.data.explore, None))
    with pytest.raises(BadInput, match="Label 9 is out of range"):
        list(events(wrong, graph_of(network), method, **QUICK))


def test_numbers_that_are_not_finite_break_it_down_and_keep_the_last_snapshot():
    network = network_of("residual")
    with pytest.raises(BrokeDown, match="broke down after step"):
        list(events(network, graph_of(network), "manidp", epochs=8, batch=16, rate=1e18))
