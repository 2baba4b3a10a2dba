import copy
from functools import cache

import numpy as np
import pytest
import torch
from torch import nn

import explorer
from explorer.dynamic.counting import macs
from explorer.dynamic.gathering import Gathered, Timing, _Slice, _Slices, grouped, timed
from explorer.dynamic.heads import Predictor, SaliencyModule
from explorer.dynamic.network import Dynamic, Passed
from explorer.dynamic.sites import find_sites
from explorer.errors import BadInput
from explorer.values import Latency
from tests.counting import counted_macs
from tests.networks import Written, conv, graph_of, pooled, untrained

NETWORKS = ("resnet20", "mobilenetv2", "vgg")
IMAGES = torch.rand((6, 1, 28, 28), generator=torch.Generator().manual_seed(5))
OTHERS = torch.rand((7, 1, 28, 28), generator=torch.Generator().manual_seed(6))


def made(model, graph, example, source, level=0.5):
    """A dynamic network with saliency modules that were never trained, so that they differ from image to image."""
    sites = find_sites(model, graph, example, normed=source != "active")
    heads, shifts = [], []
    layers = {layer.name: layer for layer in graph.layers}
    with torch.random.fork_rng():
        torch.manual_seed(1)
        for site in sites.every:
            inputs = len(layers[site.ahead or site.layer].in_units)
            if source == "manidp":
                heads.append(SaliencyModule(inputs, site.size))
                nn.init.normal_(heads[-1].excite.weight, std=0.3)
            elif source == "fbs":
                heads.append(Predictor(inputs, site.size))
                nn.init.normal_(heads[-1].linear.weight, std=0.2 / inputs**0.5)
                shifts.append(0.3 * torch.randn(site.size))
    return Dynamic("toy", model, graph, sites, source, heads, level, shifts).eval()


@cache
def bundled(name, source):
    model, graph = untrained(name), graph_of(name)
    dynamic = made(model, graph, torch.zeros(1, 1, 28, 28), source)
    with torch.inference_mode():
        dynamic.calibrate(
            dynamic.passed(OTHERS).saliency
        )  # no threshold is then one of the saliencies themselves
    return dynamic


def weighted(dynamic, inputs, keep, weights, shifts=None):
    """Logits of the model with every site's output behind batch norm weighted, by hooks of the test's own."""
    handles = []
    for k, site in enumerate(dynamic.sites.every):
        factor = weights[:, site.columns, None, None]
        shift = shifts[k][:, None, None] * keep[:, site.columns, None, None] if shifts else 0

        def hook(_module, _args, y, factor=factor, shift=shift):
            return y * factor + shift

        handles.append(dynamic.model.get_submodule(site.norm or site.layer).register_forward_hook(hook))
    with torch.inference_mode():
        logits = dynamic.model(inputs)
    for handle in handles:
        handle.remove()
    return logits


def dense_macs(dynamic):
    return explorer.cost(dynamic.graph).macs


def drawn(dynamic, count, seed=0):
    """A choice with empty, single and full sites among others."""
    draw = torch.Generator().manual_seed(seed)
    keep = torch.rand(count, dynamic.sites.channels, generator=draw) < 0.5
    for number, site in enumerate(dynamic.sites.every):
        kind = (number + seed) % 5
        if kind < 3:
            keep[:, site.columns] = kind == 0
        if kind == 2:
            keep[:, site.start] = True
    weights = keep * (0.5 + torch.rand(keep.shape, generator=draw))
    return Passed(torch.empty(0), weights, weights, keep, weights)


def assert_same(found, expected):
    scale = max(1.0, float(expected.abs().max()))
    assert found.shape == expected.shape
    tolerance = 1e-4 if found.dtype == torch.float32 else 1e-9
    torch.testing.assert_close(found, expected, rtol=0, atol=tolerance * scale)


@pytest.mark.parametrize("source", ["active", "manidp", "fbs"])
@pytest.mark.parametrize("name", NETWORKS)
@pytest.mark.parametrize("level", [0.3, 0.8])
def test_logits_are_those_of_the_masked_network(name, source, level):
    # In float64, since rounding moves a saliency across its threshold once in some ten thousand.
    dynamic, inputs = copy.deepcopy(bundled(name, source)).double(), IMAGES.double()
    gathered = Gathered(dynamic, level)
    with torch.inference_mode():
        passed = dynamic.passed(inputs, level)
    assert 0 < passed.keep.float().mean() < 1
    assert_same(gathered.run(inputs), passed.logits)
    for row in range(2):
        assert_same(gathered.run(inputs[row : row + 1]), passed.logits[row : row + 1])
    assert_same(gathered.run(inputs, passed), passed.logits)


@pytest.mark.parametrize("name", NETWORKS)
@pytest.mark.parametrize("seed", range(5))
def test_any_choice_even_of_no_channel_gives_what_hooks_give(name, seed):
    dynamic = bundled(name, "active")
    for count in (1, 4):
        chosen = drawn(dynamic, count, seed)
        expected = weighted(dynamic, IMAGES[:count], chosen.keep, chosen.weights)
        assert_same(Gathered(dynamic).run(IMAGES[:count], chosen), expected)


def test_all_and_nothing():
    dynamic = bundled("resnet20", "active")
    gathered = Gathered(dynamic)
    shape = (2, dynamic.sites.channels)
    for every in (torch.ones(shape), torch.zeros(shape)):
        chosen = Passed(every, every, every, every > 0, every)
        assert_same(gathered.run(IMAGES[:2], chosen), weighted(dynamic, IMAGES[:2], every > 0, every))
    with torch.inference_mode():
        full = untrained("resnet20")(IMAGES[:2])
    ones = torch.ones(shape)
    assert_same(gathered.run(IMAGES[:2], Passed(ones, ones, ones, ones > 0, ones)), full)


def test_a_kept_channel_of_no_saliency_still_gets_its_shift():
    dynamic = bundled("resnet20", "fbs")
    keep = torch.ones(2, dynamic.sites.channels, dtype=torch.bool)
    none = torch.zeros(keep.shape)
    expected = weighted(dynamic, IMAGES[:2], keep, none, [shift.detach() for shift in dynamic.shifts])
    assert_same(Gathered(dynamic).run(IMAGES[:2], Passed(none, none, none, keep, none)), expected)


def odd_network():
    """Grouped and dilated convolutions, other paddings, one that multiplies channels, and no batch norm."""
    torch.manual_seed(0)
    model = Written(
        lambda m, x: m.head(pooled(m.f(m.e(torch.relu(m.d(m.c(torch.relu(m.b(torch.relu(m.a(x)))))))))) ),
        a=conv(3, 8), b=nn.Conv2d(8, 8, 3, padding="same", dilation=2, bias=False), c=conv(8, 12, groups=4),
        d=nn.Conv2d(12, 24, 3, padding=1, groups=12, padding_mode="circular"), e=nn.Conv2d(24, 6, 3, stride=2),
        f=nn.Conv2d(6, 10, (1, 3), padding="valid"), head=nn.Linear(10, 4),
    )  # fmt: skip
    model.eval()
    return model, explorer.trace(model, torch.zeros(1, 3, 11, 13))


@pytest.mark.parametrize("seed", range(5))
def test_grouped_and_padded_convolutions(seed):
    model, graph = odd_network()
    dynamic = made(model, graph, torch.zeros(1, 3, 11, 13), "active")
    assert {"b", "c", "d", "e", "f"} <= dynamic.sites.by_layer.keys()
    inputs = torch.randn((3, 3, 11, 13), generator=torch.Generator().manual_seed(seed))
    chosen = drawn(dynamic, 3, seed)
    expected = weighted(dynamic, inputs, chosen.keep, chosen.weights)
    assert_same(Gathered(dynamic).run(inputs, chosen), expected)


@pytest.mark.parametrize("name", NETWORKS)
def test_it_executes_the_multiply_adds_that_are_counted(name):
    dynamic = bundled(name, "active")
    gathered = Gathered(dynamic)
    with torch.inference_mode():
        passed = dynamic.passed(IMAGES[:1], 0.4)
    counted = macs(dynamic.graph, dynamic.sites, passed.keep.numpy())

    def run(_module, inputs):  # the run itself, since the counter sees nothing in inference mode
        return Gathered.run.__wrapped__(gathered, inputs, passed)

    assert counted_macs(Written(run), IMAGES[:1]) == counted[0] < dense_macs(dynamic)


def test_slices_are_used_again_and_forgotten_beyond_the_limit():
    dynamic = bundled("resnet20", "manidp")
    gathered = Gathered(dynamic, 0.5)
    first = gathered.run(IMAGES)
    made_once = dict(gathered._slices._slices)
    assert torch.equal(gathered.run(IMAGES), first)
    assert gathered._slices._slices.keys() == made_once.keys()
    assert all(gathered._slices._slices[key] is made_once[key] for key in made_once)
    gathered._slices._limit = 20_000
    for row in range(len(IMAGES)):
        gathered.run(IMAGES[row : row + 1])
        kept = gathered._slices._slices.values()
        assert gathered._slices._size == sum(each.weight.nbytes for each in kept)
        assert gathered._slices._size <= 20_000 or len(kept) == 1
    assert_same(gathered.run(IMAGES), first)
    gathered.forget()
    assert not gathered._slices._slices


def test_the_slice_that_was_used_least_recently_is_forgotten_first():
    slices = _Slices(limit=80)  # two of 40 bytes

    def made_for(name):
        return slices.get((0, name, b""), lambda: _Slice(torch.zeros(10), None, None, None))

    first, second = made_for(b"first"), made_for(b"second")
    assert made_for(b"first") is first
    made_for(b"third")
    assert made_for(b"first") is first
    assert made_for(b"second") is not second


def test_the_dynamic_network_is_left_as_it_was_and_may_change_afterwards():
    dynamic = made(untrained("resnet20"), graph_of("resnet20"), torch.zeros(1, 1, 28, 28), "fbs")
    before = {name: value.clone() for name, value in dynamic.state_dict().items()}
    gathered = Gathered(dynamic)
    answer = gathered.run(IMAGES)
    assert all(torch.equal(value, before[name]) for name, value in dynamic.state_dict().items())
    assert not any("forward" in module.__dict__ for module in dynamic.modules())
    with torch.no_grad():
        for parameter in dynamic.parameters():
            parameter.zero_()
    assert torch.equal(gathered.run(IMAGES), answer)


def test_inputs_that_the_network_cannot_take_are_refused():
    with pytest.raises(BadInput, match="cannot take inputs"):
        Gathered(bundled("vgg", "manidp")).run(torch.zeros(1, 3, 28, 28))


def test_batches_of_images_with_like_subnetworks():
    draw = np.random.default_rng(0)
    kinds = draw.random((5, 60)) < 0.5
    of = draw.integers(0, 5, 42)
    keep = kinds[of] ^ (draw.random((42, 60)) < 0.03)
    batches = grouped(keep, 8)
    assert sorted(np.concatenate(batches).tolist()) == list(range(42))
    assert [len(batch) for batch in batches] == [8, 8, 8, 8, 8, 2]
    given = np.array_split(np.arange(42), 6)
    widths = [np.mean([keep[batch].any(0).sum() for batch in way]) for way in (batches, given)]
    assert widths[0] < 0.8 * widths[1]
    assert grouped(keep[:0], 8) == []
    assert [batch.tolist() for batch in grouped(keep[:2], 1)] in ([[0], [1]], [[1], [0]])


def latency(low, high):
    return Latency(1, (low + high) / 2, low, high, 30)


@pytest.mark.parametrize(
    ("found", "verdict"), [((1.0, 1.9), "faster"), ((3.1, 4.0), "slower"), ((1.5, 2.1), "same")]
)
def test_the_verdict_needs_the_middle_halves_apart(found, verdict):
    dense = latency(2.0, 3.0)
    assert Timing(dense, dense, latency(*found), dense, 0.5).verdict == verdict


@pytest.mark.parametrize("source", ["active", "manidp"])
def test_timing_measures_all_ways_as_often(source):
    dynamic = bundled("resnet20", source)
    found = timed(dynamic, IMAGES[:1], 0.5, runs=4)
    for each in (found.dense, found.masked, found.gathered, found.again):
        assert (each.batch, each.runs) == (1, 4)
        assert 0 < each.low <= each.median <= each.high
    with torch.inference_mode():
        keep = dynamic.passed(IMAGES[:1], 0.5).keep.numpy()
    own = macs(dynamic.graph, dynamic.sites, keep, dynamic.module_macs)
    assert found.share == pytest.approx(own[0] / dense_macs(dynamic))


def test_timing_without_runs_or_images_is_refused():
    with pytest.raises(BadInput, match="runs"):
        timed(bundled("vgg", "active"), IMAGES[:1], runs=0)
    with pytest.raises(BadInput, match="at least one image"):
        timed(bundled("vgg", "active"), IMAGES[:0])
