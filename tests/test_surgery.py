"""Masked and shrunk networks agree, for random plans on bundled and random networks; and the proof can fail."""

import copy

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

import explorer
from explorer.surgery import TOLERANCE, removed_positions
from explorer.values import Plan, Proof, full_plan
from tests.evaluate.toys import fingerprint
from tests.networks import (
    BUNDLED,
    IMAGE,
    Recipe,
    Written,
    conv,
    examples,
    graph_of,
    inputs_like,
    pooled,
    random_plan,
    recipes,
    seeds,
    trained,
    untrained,
)

GREY = torch.zeros(1, 1, 28, 28)


@examples(6)
@given(name=st.sampled_from(BUNDLED), seed=seeds)
def test_random_plans_on_bundled_networks_with_live_weights(name: str, seed: int) -> None:
    plan = random_plan(graph_of(name), seed)
    proof = explorer.prove(untrained(name), graph_of(name), plan, inputs_like(GREY, 2, seed))
    assert proof.ok
    assert proof.conclusive or plan == full_plan(graph_of(name))


@pytest.mark.parametrize("name", BUNDLED)
def test_random_plans_on_trained_networks(name: str) -> None:
    network = trained(name)
    images = network.data.explore.inputs(slice(0, 8))
    for seed in range(2):
        assert explorer.prove(
            network.model, graph_of(name), random_plan(graph_of(name), seed), images
        ).conclusive


@pytest.mark.parametrize("name", BUNDLED)
def test_in_float64_the_two_agree_to_1e_9(name: str) -> None:
    model = copy.deepcopy(untrained(name)).double()
    images = inputs_like(GREY.double(), 2)
    proof = explorer.prove(model, graph_of(name), random_plan(graph_of(name), 1), images)
    assert proof.tolerance == 1e-9
    assert proof.conclusive


@pytest.mark.parametrize("name", BUNDLED)
def test_one_channel_of_every_group_is_enough_to_run(name: str) -> None:
    graph = graph_of(name)
    plan = Plan(graph.key, {group.id: np.arange(group.size) == group.size // 2 for group in graph.prunable})
    assert explorer.prove(untrained(name), graph, plan, inputs_like(GREY, 2)).ok


@examples(30)
@given(recipe=recipes, seed=seeds)
def test_random_plans_on_random_networks(recipe: Recipe, seed: int) -> None:
    model = recipe.build()
    graph = explorer.trace(model, IMAGE)
    plan = random_plan(graph, seed)
    proof = explorer.prove(model.double(), graph, plan, inputs_like(IMAGE.double(), 2, seed))
    assert proof.ok
    shrunk = explorer.shrink(model.float(), graph, plan)
    assert list(shrunk.state_dict()) == list(model.state_dict())
    for layer, again in zip(graph.layers, explorer.trace(shrunk, IMAGE).layers, strict=True):
        stays = [
            g < 0 or (group := graph.groups[g]).id not in plan.keep or plan.keep[group.id][u]
            for g, u in layer.out_units
        ]
        assert again.out_shape[0] == sum(stays)


@examples(6)
@given(recipe=recipes, seed=seeds)
def test_random_networks_can_be_trained_after_shrinking(recipe: Recipe, seed: int) -> None:
    model = recipe.build()
    graph = explorer.trace(model, IMAGE)
    shrunk = explorer.shrink(model, graph, random_plan(graph, seed)).train()
    shrunk(inputs_like(IMAGE, 4)).square().mean().backward()
    assert all(p.grad is not None and p.grad.shape == p.shape for p in shrunk.parameters())


def readers(name: str) -> list[tuple[str, int]]:
    return sorted({(s.tensor, s.dim) for g in graph_of(name).groups for s in g.slots if s.reads})


@pytest.mark.parametrize("name", BUNDLED)
def test_a_reader_whose_columns_are_rolled_by_one_fails_the_proof(name: str) -> None:
    graph, model = graph_of(name), untrained(name)
    plan = random_plan(graph, 3, least=3)
    images = inputs_like(GREY, 2)
    assert len(readers(name)) == sum(layer.kind != "depthwise conv" for layer in graph.layers) - 1
    shrunk = explorer.shrink(model, graph, plan)
    unnoticed = []
    with torch.inference_mode():
        expected = explorer.mask(model, graph, plan)(images)
        for tensor, dim in readers(name):
            weight = shrunk.get_parameter(tensor)
            right = weight.clone()
            weight.copy_(right.roll(1, dim))
            wrong = shrunk(images)
            weight.copy_(right)
            proof = Proof(float((wrong - expected).abs().max()), float(expected.abs().max()), 1.0, True, 1e-4)
            if proof.ok:
                unnoticed.append(tensor)
    assert unnoticed == []


@pytest.mark.parametrize("name", BUNDLED)
def test_noise_in_what_produces_removed_channels_does_not_reach_the_masked_logits(name: str) -> None:
    graph = graph_of(name)
    plan = random_plan(graph, 4, share=0.5)
    noisy = copy.deepcopy(untrained(name))
    tensors = {**dict(noisy.named_parameters()), **dict(noisy.named_buffers())}
    reads = set(readers(name))
    changed = 0
    with torch.no_grad():
        for (tensor, dim), gone in removed_positions(graph, plan).items():
            if (tensor, dim) not in reads:
                rows = tensors[tensor].index_select(dim, gone.nonzero().flatten())
                noise = torch.rand_like(rows) + 0.5  # positive: variances must stay so
                tensors[tensor].index_copy_(dim, gone.nonzero().flatten(), rows + noise)
                changed += 1
        images = inputs_like(GREY, 2)
        quiet = explorer.mask(untrained(name), graph, plan)(images)
        loud = explorer.mask(noisy, graph, plan)(images)
        unmasked = noisy(images)
    assert changed > len(graph.prunable)
    assert (loud - quiet).abs().max() <= 1e-6 * quiet.abs().max()
    assert not torch.allclose(unmasked, untrained(name)(images), rtol=0.01)


def residual_net() -> nn.Module:
    return Written(
        lambda m, x: m.f(pooled(torch.relu(m.n((y := m.c(x)) + m.d(y))))),
        c=conv(3, 8), d=conv(8, 8), n=nn.BatchNorm2d(8), f=nn.Linear(8, 4),
    )  # fmt: skip


def test_masking_zeroes_the_readers_columns_and_nothing_else() -> None:
    model = residual_net()
    graph = explorer.trace(model, IMAGE)
    plan = explorer.plan_widths(graph, explorer.score(model, graph, "l1"), {"c": 5})
    gone = torch.from_numpy(~plan.keep["c"])
    masked = explorer.mask(model, graph, plan).state_dict()
    for name, tensor in model.state_dict().items():
        expected = tensor.clone()
        if name in ("d.weight", "f.weight"):
            expected[:, gone] = 0
        assert torch.equal(masked[name], expected)


def test_shrinking_keeps_values_keys_attributes_and_requires_grad() -> None:
    model = residual_net().train()
    model.c.weight.requires_grad_(False)
    graph = explorer.trace(model, IMAGE)
    plan = explorer.plan_widths(graph, explorer.score(model, graph, "l1"), {"c": 5})
    kept = torch.tensor(plan.keep["c"].tolist())
    shrunk = explorer.shrink(model, graph, plan)
    assert list(shrunk.state_dict()) == list(model.state_dict())
    assert torch.equal(shrunk.d.weight, model.d.weight[kept][:, kept])
    assert torch.equal(shrunk.n.running_var, model.n.running_var[kept])
    assert (shrunk.c.out_channels, shrunk.d.in_channels, shrunk.d.out_channels) == (5, 5, 5)
    assert (shrunk.n.num_features, shrunk.f.in_features, shrunk.f.out_features) == (5, 5, 4)
    assert not shrunk.c.weight.requires_grad
    assert shrunk.d.weight.requires_grad
    assert not shrunk.training
    assert type(shrunk) is type(model)


def test_a_shrunk_network_loads_its_state_into_another_one() -> None:
    model, graph = residual_net(), explorer.trace(residual_net(), IMAGE)
    plan = random_plan(graph, 5, share=0.5)
    first, second = explorer.shrink(model, graph, plan), explorer.shrink(residual_net(), graph, plan)
    second.load_state_dict(first.state_dict())
    assert torch.equal(first(IMAGE + 1), second(IMAGE + 1))


def test_tied_weights_stay_tied() -> None:
    model = Written(
        lambda m, x: m.f(pooled(m.b(torch.relu(m.a(m.c(x)))))),
        c=conv(3, 8), a=conv(8, 8), b=conv(8, 8), f=nn.Linear(8, 4),
    )  # fmt: skip
    model.b.weight = model.a.weight
    live = explorer.live_weights(model, IMAGE)
    graph = explorer.trace(live, IMAGE)
    plan = random_plan(graph, 6, share=0.5)
    shrunk = explorer.shrink(live, graph, plan)
    assert shrunk.a.weight is shrunk.b.weight
    assert shrunk.a.weight.shape == (4, 4, 3, 3)
    assert explorer.prove(live, graph, plan, inputs_like(IMAGE, 2)).conclusive


def test_a_tied_encoder_and_decoder_are_pruned_together() -> None:
    model = Written(
        lambda m, x: m.f(pooled(m.t(torch.relu(m.c(x))))),
        c=conv(3, 8), t=nn.ConvTranspose2d(8, 3, 3, padding=1), f=nn.Linear(3, 4),
    )  # fmt: skip
    model.t.weight = model.c.weight
    live = explorer.live_weights(model, IMAGE)
    graph = explorer.trace(live, IMAGE)
    plan = explorer.allocate(graph, explorer.score(live, graph, "l1"), 0.5, cost="channels")
    assert explorer.prove(live, graph, plan, inputs_like(IMAGE, 2)).conclusive


def test_the_full_plan_changes_nothing() -> None:
    model, graph = untrained("vgg"), graph_of("vgg")
    images = inputs_like(GREY, 2)
    for same in (
        explorer.mask(model, graph, full_plan(graph)),
        explorer.shrink(model, graph, full_plan(graph)),
    ):
        assert torch.equal(same(images), model(images))
    proof = explorer.prove(model, graph, full_plan(graph), images)
    assert proof.ok
    assert not proof.conclusive  # nothing was cut, so nothing was proven


@pytest.mark.parametrize("action", ["mask", "shrink", "prove", "live_weights"])
def test_the_users_model_is_untouched(action: str) -> None:
    model = residual_net().train()
    model(torch.randn(2, 3, 8, 8)).sum().backward()
    handle = model.c.register_forward_hook(lambda *_: None)
    graph = explorer.trace(model, IMAGE)
    plan = random_plan(graph, 0, share=0.5)
    before = fingerprint(model)
    if action == "live_weights":
        explorer.live_weights(model, IMAGE)
    elif action == "prove":
        explorer.prove(model, graph, plan, inputs_like(IMAGE, 2))
    else:
        small = getattr(explorer, action)(model, graph, plan)
        with torch.no_grad():
            for tensor in small.state_dict().values():
                tensor.zero_()
    assert fingerprint(model) == before
    handle.remove()


def test_live_weights_change_constants_and_statistics_and_obey_the_seed() -> None:
    model = residual_net()
    live = explorer.live_weights(model, IMAGE)
    assert live.n.weight.std() > 0.1
    assert torch.equal(live.c.weight, model.c.weight)
    with torch.no_grad():
        y = live.c(inputs_like(IMAGE, 64))
        ratio = live.n.running_var / (y + live.d(y)).var((0, 2, 3))
    assert 0.3 < float(ratio.mean()) < 3
    again = explorer.live_weights(model, IMAGE).state_dict()
    assert all(torch.equal(tensor, again[name]) for name, tensor in live.state_dict().items())
    assert not torch.equal(explorer.live_weights(model, IMAGE, seed=1).n.weight, live.n.weight)
    assert live.n.momentum == 0.1


def test_a_proof_is_not_ok_when_the_outputs_are_not_finite() -> None:
    model = copy.deepcopy(untrained("vgg"))
    with torch.no_grad():
        model.classifier.bias[0] = torch.nan
    plan = random_plan(graph_of("vgg"), 0, share=0.5)
    proof = explorer.prove(model, graph_of("vgg"), plan, inputs_like(GREY, 2))
    assert not proof.finite
    assert not proof.ok


def test_a_proof_is_not_ok_when_the_outputs_are_all_zero() -> None:
    assert not Proof(0.0, 0.0, 0.0, True, TOLERANCE[torch.float32]).ok


def magnifying(depth: int = 45) -> nn.Module:
    """Convolutions of several kernels without norms, whose weights magnify differences (chaos)."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        layers: list[nn.Module] = []
        width = 3
        for place in range(depth):
            kernel, more = (1, 3, 5)[place % 3], 8 + 4 * (place % 3)
            layers += [nn.Conv2d(width, more, kernel, padding=kernel // 2), nn.Tanh()]
            nn.init.normal_(layers[-2].weight, std=5 / (width * kernel**2) ** 0.5)
            width = more
        return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(width, 5)).eval()


def test_where_float32_magnifies_rounding_float64_decides() -> None:
    model, images = magnifying(), inputs_like(torch.zeros(1, 3, 8, 8), 2)
    graph = explorer.trace(model, images[:1])
    plan = random_plan(graph, 1)
    with torch.inference_mode():
        masked, shrunk = (
            explorer.mask(model, graph, plan)(images),
            explorer.shrink(model, graph, plan)(images),
        )
    assert float((masked - shrunk).abs().max() / masked.abs().max()) > TOLERANCE[torch.float32]
    proof = explorer.prove(model, graph, plan, images)
    assert (proof.precision, proof.tolerance, proof.note) == ("float64", 1e-9, "")
    assert proof.conclusive
    assert next(model.parameters()).dtype == torch.float32


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
def test_wrong_surgery_fails_in_every_precision(dtype: torch.dtype, monkeypatch: pytest.MonkeyPatch) -> None:
    def wrong(*given: object) -> nn.Module:
        shrunk = right(*given)
        with torch.no_grad():  # no more than a few parts in ten thousand: what halves would not notice
            shrunk.classifier.weight[0] *= 1 + 2e-3
        return shrunk

    right = explorer.surgery.shrink
    model, images = copy.deepcopy(untrained("vgg")).to(dtype), inputs_like(GREY, 2).to(dtype)
    plan = random_plan(graph_of("vgg"), 0)
    proof = explorer.prove(model, graph_of("vgg"), plan, images)
    assert proof.conclusive
    assert proof.precision == ("float32" if dtype == torch.float32 else "float64")
    monkeypatch.setattr(explorer.surgery, "shrink", wrong)
    proof = explorer.prove(model, graph_of("vgg"), plan, images)
    assert not proof.ok
    assert proof.precision == "float64"


def test_outputs_that_overflow_in_float32_are_proven_in_float64() -> None:
    model = Written(lambda m, x: m.f(pooled(m.d(m.c(x)))), c=conv(3, 8), d=conv(8, 8), f=nn.Linear(8, 4))
    with torch.no_grad():
        model.c.weight *= 1e20
        model.d.weight *= 1e20
    graph = explorer.trace(model, IMAGE)
    plan = random_plan(graph, 1)
    proof = explorer.prove(model, graph, plan, inputs_like(IMAGE, 2))
    assert proof.conclusive
    assert proof.precision == "float64"


@pytest.mark.parametrize(
    ("cast", "said"),
    [
        (lambda m, x: m.d(m.c(x).float()), "does not run in it"),
        (lambda m, x: m.d(m.c(x).float().double().to(x.dtype)), "goes on in float32 by itself"),
    ],
    ids=["a forward that does not run", "a forward that rounds"],
)
def test_a_forward_that_casts_is_proven_in_float32_with_words(
    cast: object, said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = Written(lambda m, x: m.f(pooled(cast(m, x))), c=conv(3, 8), d=conv(8, 8), f=nn.Linear(8, 4))
    graph = explorer.trace(model, IMAGE)
    plan = random_plan(graph, 1)
    monkeypatch.setitem(TOLERANCE, torch.float32, -1.0)  # always in doubt
    proof = explorer.prove(model, graph, plan, inputs_like(IMAGE, 2))
    assert (proof.precision, proof.tolerance) == ("float32", -1.0)
    assert "float64 could not decide, since" in proof.note
    assert said in proof.note
    assert proof.max_difference < 1e-5 * proof.scale


def test_a_network_that_returns_no_floating_point_tensor_is_refused_in_words() -> None:
    model = Written(lambda m, x: m.f(pooled(m.c(x))).argmax(1), c=conv(3, 8), f=nn.Linear(8, 4))
    with pytest.raises(explorer.BadInput, match="no floating-point tensor"):
        explorer.live_weights(model, IMAGE)


@pytest.mark.parametrize("error", [NotImplementedError, ValueError, TypeError, IndexError])
def test_what_the_users_forward_raises_is_said_in_words(error: type[Exception]) -> None:
    def forward(m: nn.Module, x: torch.Tensor) -> torch.Tensor:
        raise error("too small")

    with pytest.raises(explorer.BadInput, match=r"cannot take inputs of shape .*too small"):
        explorer.live_weights(Written(forward, c=conv(3, 8)), IMAGE)


def test_live_weights_refuse_an_example_of_integers() -> None:
    with pytest.raises(explorer.BadInput, match=r"torch\.int64"):
        explorer.live_weights(residual_net(), IMAGE.long())
