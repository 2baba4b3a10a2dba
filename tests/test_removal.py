"""Groups at width 0: which may go, what goes with them, and that mask, shrink and costs agree on the rest."""

import copy
import pickle
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from safetensors.torch import save
from torch import Tensor, nn

import explorer
from explorer.allocate import curve
from explorer.emptied import EmptyBatchNorm
from explorer.evaluate.folding import fold
from explorer.evaluate.live import LiveEvaluation
from explorer.export import Measured, Report, export
from explorer.graph.checks import without_unread
from explorer.values import ChannelGraph, Plan, Recovery, Request, Scores, Slot, full_plan
from tests.counting import counted_macs
from tests.networks import (
    BUNDLED,
    IMAGE,
    Recipe,
    Residual,
    SqueezeExcitation,
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
    unit,
    untrained,
)
from tests.test_costs import macs_by_hooks, measured_peak

GREY = torch.zeros(1, 1, 28, 28)


def emptying_plan(graph: ChannelGraph, seed: int, plan: Plan | None = None) -> Plan:
    """A plan, by default a random one, but every removable group is at 0 with probability 1/2, if it can be."""
    plan = plan or random_plan(graph, seed)
    rng = np.random.default_rng(seed)
    for name, reason in explorer.removable(graph).items():
        if not reason and rng.random() < 0.5:
            wider, plan = (
                plan,
                Plan(graph.key, {**plan.keep, name: np.zeros(graph.group(name).size, dtype=bool)}),
            )
            try:
                explorer.cost(graph, plan)
            except explorer.NotReachable:
                plan = wider
    return plan


def zeros_of(plan: Plan) -> set[str]:
    return {name for name, width in plan.widths.items() if width == 0}


def positions(slot: Slot) -> Tensor:
    return torch.from_numpy(np.flatnonzero(slot.unit >= 0))


def any_scores(graph: ChannelGraph) -> Scores:
    return Scores("test", {group.id: np.arange(group.size) for group in graph.prunable}, comparable=False)


def check_costs(model: nn.Module, graph: ChannelGraph, plan: Plan, example: Tensor) -> None:
    small, found = explorer.shrink(model, graph, plan), explorer.cost(graph, plan)
    assert found.macs == macs_by_hooks(small, example) == counted_macs(small, example)
    assert found.params == sum(parameter.numel() for parameter in small.parameters())
    assert found.file_bytes == len(save(small.state_dict()))
    assert found.peak_bytes == measured_peak(small, example)
    assert list(small.state_dict()) == list(model.state_dict())


@examples(30)
@given(recipe=recipes, seed=seeds)
def test_mask_and_shrink_agree_on_random_networks_with_removed_groups(recipe: Recipe, seed: int) -> None:
    model = recipe.build().double()
    graph = explorer.trace(model, IMAGE.double())
    assert explorer.prove(model, graph, emptying_plan(graph, seed), inputs_like(IMAGE.double(), 2, seed)).ok


@examples(20)
@given(recipe=recipes, seed=seeds)
def test_costs_of_random_networks_with_removed_groups_are_what_is_counted(recipe: Recipe, seed: int) -> None:
    model = recipe.build()
    graph = explorer.trace(model, IMAGE)
    check_costs(model, graph, emptying_plan(graph, seed), IMAGE)


@examples(10)
@given(recipe=recipes, seed=seeds)
def test_random_networks_with_removed_groups_can_be_trained(recipe: Recipe, seed: int) -> None:
    model = recipe.build()
    graph = explorer.trace(model, IMAGE)
    plan = emptying_plan(graph, seed)
    unread = without_unread(graph, zeros_of(plan)) - zeros_of(plan)
    plan = Plan(graph.key, {**plan.keep, **{name: plan.keep[name] & False for name in unread}})
    small = explorer.shrink(model, graph, plan).train()
    small(inputs_like(IMAGE, 4)).square().mean().backward()
    assert [name for name, p in small.named_parameters() if p.numel() and p.grad is None] == []


@examples(20)
@given(recipe=recipes)
def test_a_group_may_go_exactly_if_the_logits_still_depend_on_the_image(recipe: Recipe) -> None:
    model = recipe.build().double()
    graph = explorer.trace(model, IMAGE.double())
    reasons = explorer.removable(graph)
    images = inputs_like(IMAGE.double(), 2)
    for group in graph.prunable:
        masked = copy.deepcopy(model)
        with torch.no_grad():
            for slot in group.slots:
                if slot.reads:
                    masked.get_parameter(slot.tensor).index_fill_(slot.dim, positions(slot), 0)
            first, second = masked(images)
        assert (reasons[group.id] == "") == bool((first - second).abs().max() > 1e-12), group.id


@examples(20)
@given(recipe=recipes, seed=seeds)
def test_swept_is_exactly_what_no_gradient_reaches_any_more(recipe: Recipe, seed: int) -> None:
    model = recipe.build().double()
    graph = explorer.trace(model, IMAGE.double())
    plan = emptying_plan(graph, seed, full_plan(graph))  # narrow layers could fall silent behind their ReLU
    masked = explorer.mask(model, graph, plan)
    masked(inputs_like(IMAGE.double(), 16)).square().sum().backward()
    read = {
        group.id
        for group in graph.prunable
        for slot in group.slots
        if slot.reads
        and masked.get_parameter(slot.tensor).grad.index_select(slot.dim, positions(slot)).abs().max() > 0
    }
    prunable = {group.id for group in graph.prunable}
    emptied = zeros_of(plan)
    assert read - emptied == (prunable - without_unread(graph, emptied) if emptied else prunable)


@pytest.mark.parametrize("name", BUNDLED)
def test_bundled_networks_lose_their_inner_groups_where_a_path_is_left(name: str) -> None:
    graph, model = graph_of(name), untrained(name)
    expected = {
        "resnet20": {f"stage{s}.{b}.conv1" for s in (1, 2, 3) for b in (0, 1, 2)},
        "vgg": set(),
        "mobilenetv2": {f"blocks.{b}.expand.0" for b in (1, 3, 4, 6)},
        "inception": {group.id for group in graph.prunable} - {"stem.0"},
    }
    allowed = {group for group, reason in explorer.removable(graph).items() if not reason}
    assert allowed == expected[name]
    for group in sorted(allowed)[::3]:
        plan = explorer.plan_widths(graph, any_scores(graph), {group: 0})
        assert explorer.prove(model, graph, plan, inputs_like(GREY, 2)).conclusive
        check_costs(model, graph, plan, GREY)
        assert explorer.cost(graph, plan).macs < explorer.cost(graph).macs


def removable_in(model: nn.Module) -> dict[str, str]:
    return dict(explorer.removable(explorer.trace(model, IMAGE)))


def test_the_reason_says_why_a_group_must_stay() -> None:
    model = Written(
        lambda m, x: m.f(pooled(m.r(m.c(x)))), c=conv(3, 8), r=Residual(unit(8, 8)), f=nn.Linear(8, 4)
    )
    model.r.body = nn.Sequential(unit(8, 6), conv(6, 8))
    assert removable_in(model) == {
        "c": "no other path leads from the image to the network's output",
        "r.body.0.0": "",
        "f": "its channels are the network's outputs (classes)",
    }
    with pytest.raises(explorer.BadInput, match=r"explorer\.trace"):
        explorer.removable("resnet20")  # type: ignore[arg-type]


def test_an_image_that_is_added_or_concatenated_is_a_path() -> None:
    inner = nn.Sequential(unit(3, 6), conv(6, 3))
    added = Written(lambda m, x: m.f(pooled(m.c(m.b(x) + x))), b=inner, c=conv(3, 8), f=nn.Linear(8, 4))
    assert removable_in(added)["b.0.0"] == ""
    beside = Written(
        lambda m, x: m.f(pooled(m.c(torch.cat([m.b(x), x], 1)))),
        b=unit(3, 6),
        c=conv(9, 8),
        f=nn.Linear(8, 4),
    )
    assert removable_in(beside)["b.0"] == ""
    graph = explorer.trace(beside, IMAGE)
    live = explorer.live_weights(beside, IMAGE)
    plan = explorer.plan_widths(graph, any_scores(graph), {"b.0": 0})
    assert explorer.prove(live, graph, plan, inputs_like(IMAGE, 2)).conclusive


def test_every_output_must_be_reached() -> None:
    def forward(m: Any, x: Tensor) -> tuple[Tensor, Tensor]:
        first, second = m.a(x), m.b(x)
        return m.f(pooled(torch.cat([first, second], 1))), m.g(pooled(second))

    model = Written(forward, a=unit(3, 8), b=unit(3, 8), f=nn.Linear(16, 4), g=nn.Linear(8, 4))
    reasons = removable_in(model)
    assert reasons["a.0"] == ""
    assert "no other path" in reasons["b.0"]


def test_towers_that_can_go_one_by_one_cannot_go_together() -> None:
    graph = graph_of("inception")
    towers = ["block4.tower1.0", "block4.tower2.1.0", "block4.tower3.2.0", "block4.tower4.1.0"]
    explorer.plan_widths(graph, any_scores(graph), dict.fromkeys(towers[1:], 0))
    for ask in (explorer.plan_widths, lambda g, s, w: explorer.allocate(g, s, 0.9, widths=w)):
        with pytest.raises(explorer.NotReachable, match=r"together: each could go alone.*Keep at least 1"):
            ask(graph, any_scores(graph), dict.fromkeys(towers, 0))
    whole = full_plan(graph)
    emptied = {name: np.zeros(graph.group(name).size, dtype=bool) for name in towers}
    with pytest.raises(explorer.NotReachable, match="together"):
        explorer.cost(graph, Plan(graph.key, {**whole.keep, **emptied}))


def test_what_lies_upstream_goes_as_far_as_nothing_else_reads_it() -> None:
    graph = graph_of("inception")
    plan = explorer.plan_widths(graph, any_scores(graph), {"block2.tower3.2.0": 0})
    assert zeros_of(plan) == {f"block2.tower3.{layer}.0" for layer in (0, 1, 2)}
    plan = explorer.plan_widths(graph, any_scores(graph), {"block2.tower3.0.0": 0})
    assert zeros_of(plan) == {"block2.tower3.0.0"}  # its reader answers with a constant, which is read
    pinned = {"block2.tower3.2.0": 0, "block2.tower3.1.0": 4}
    assert explorer.plan_widths(graph, any_scores(graph), pinned).widths["block2.tower3.1.0"] == 0


def test_what_a_head_reads_in_training_only_stays() -> None:
    def forward(m: Any, x: Tensor) -> Any:
        inner = m.a(x)
        logits = m.f(pooled(torch.cat([m.b(inner), m.c(x)], 1)))
        return (logits, m.g(pooled(inner))) if m.training else logits

    model = Written(forward, a=unit(3, 6), b=unit(6, 8), c=unit(3, 4), f=nn.Linear(12, 4), g=nn.Linear(6, 4))
    graph = explorer.trace(model, IMAGE)
    plan = explorer.plan_widths(graph, any_scores(graph), {"b.0": 0})
    assert zeros_of(plan) == {"b.0"}
    assert [len(logits) for logits in explorer.shrink(model, graph, plan).train()(inputs_like(IMAGE, 2))] == [
        2,
        2,
    ]


def test_a_squeeze_excitation_goes_with_the_channels_that_it_scales() -> None:
    body = nn.Sequential(unit(8, 6), SqueezeExcitation(6), conv(6, 8))
    model = Written(lambda m, x: m.f(pooled(m.r(m.c(x)))), c=conv(3, 8), r=Residual(body), f=nn.Linear(8, 4))
    live = explorer.live_weights(model, IMAGE)
    graph = explorer.trace(live, IMAGE)
    plan = explorer.plan_widths(graph, any_scores(graph), {"r.body.0.0": 0})
    assert zeros_of(plan) == {"r.body.0.0", "r.body.1.reduce"}
    check_costs(live, graph, plan, IMAGE)
    alone = explorer.plan_widths(graph, any_scores(graph), {"r.body.1.reduce": 0})
    assert zeros_of(alone) == {"r.body.1.reduce"}  # the scale is then sigmoid(bias)
    assert explorer.prove(live, graph, alone, inputs_like(IMAGE, 2)).conclusive


@pytest.mark.parametrize("allocation", ["global", "uniform"])
def test_a_curve_keeps_the_removed_block_at_0_and_all_others_above(allocation: str) -> None:
    graph = graph_of("inception")
    line = curve(graph, any_scores(graph), allocation=allocation, widths={"block1.tower3.1.0": 0}, minimum=2)
    gone = {"block1.tower3.0.0", "block1.tower3.1.0"}
    for keep in (line.lowest, 0.6, 1.0):
        widths = line.plan(keep).widths
        assert {widths[name] for name in gone} == {0}
        assert min(width for name, width in widths.items() if name not in gone) >= 2
    assert sum(widths.values()) == sum(group.size for group in graph.prunable if group.id not in gone)
    dense, plan = explorer.cost(graph), line.plan(0.6)
    assert explorer.cost(graph, plan).macs <= 0.6 * dense.macs


@pytest.mark.parametrize(
    ("name", "group"), [("resnet20", "stem"), ("vgg", "stage2.0"), ("resnet20", "stage2.0.conv2")]
)
def test_width_0_is_refused_with_the_reason_where_it_would_cut_the_only_path(name: str, group: str) -> None:
    graph = graph_of(name)
    words = (
        rf"{group} cannot be removed: no other path .* Keep at least 1 of its {graph.group(group).size} units"
    )
    with pytest.raises(explorer.NotReachable, match=words):
        explorer.allocate(graph, any_scores(graph), 0.5, widths={group: 0})


def test_a_reader_without_inputs_answers_with_its_bias_and_the_shift_behind_it() -> None:
    network = trained("resnet20")
    graph = graph_of("resnet20")
    plan = explorer.plan_widths(graph, any_scores(graph), {"stage2.1.conv1": 0})
    block = explorer.shrink(network.model, graph, plan).stage2[1]
    assert (block.conv1.weight.shape, block.conv2.weight.shape) == ((0, 32, 3, 3), (32, 0, 3, 3))
    norm = block.bn2
    shift = norm.bias - norm.running_mean * norm.weight / (norm.running_var + norm.eps).sqrt()
    x = torch.randn(2, 32, 14, 14)
    torch.testing.assert_close(block(x), torch.relu(x + shift[:, None, None]))


def shrunk_resnet() -> tuple[nn.Module, ChannelGraph, Plan]:
    network, graph = trained("resnet20"), graph_of("resnet20")
    plan = explorer.plan_widths(
        graph, any_scores(graph), {"stage2.1.conv1": 0, "stage1.0.conv1": 0, "stem": 12}
    )
    return explorer.shrink(network.model, graph, plan), graph, plan


def test_a_removed_block_survives_copies_pickles_and_folding() -> None:
    small, graph, _ = shrunk_resnet()
    images = trained("resnet20").data.explore.inputs(slice(0, 8))
    expected = small(images)
    for same in (copy.deepcopy(small), pickle.loads(pickle.dumps(small)), fold(small, graph.folds)):
        torch.testing.assert_close(same(images), expected, rtol=1e-4, atol=1e-4)
    assert isinstance(small.stage2[1].bn1, EmptyBatchNorm)


def test_a_network_with_removed_blocks_is_recovered_and_evaluated() -> None:
    network = trained("resnet20")
    data = explorer.Data(
        "few",
        network.data.classes,
        train=network.data.train.subset(256),
        explore=network.data.explore.subset(200),
        final=None,
    )
    small, graph, plan = shrunk_resnet()
    again = explorer.recover(small, data, bn=True, epochs=1)
    assert torch.isfinite(again(data.explore.inputs(slice(0, 8)))).all()
    assert not torch.equal(again.stage2[1].bn2.bias, small.stage2[1].bn2.bias)
    live = LiveEvaluation(network.model, graph, data)
    last = list(live.estimates(plan, Recovery(bn=True)))[-1]
    assert last.done
    assert last.accuracy == explorer.evaluate(explorer.recover(small, data, bn=True), data).accuracy > 0.3


def test_an_exported_network_with_removed_blocks_is_rebuilt_by_its_script(tmp_path: Path) -> None:
    network, (small, graph, plan) = trained("resnet20"), shrunk_resnet()
    request = Request("l1", widths=(("stage1.0.conv1", 0), ("stage2.1.conv1", 0)), recovery=Recovery())
    images = network.data.explore.inputs(slice(0, 8))
    measured = [Measured(None, None, explorer.cost(graph, each), ()) for each in (None, plan)]
    report = Report(request, *measured, explorer.prove(network.model, graph, plan, images))
    paths = export(tmp_path, network, graph, plan, small, report)
    text = paths["script"].read_text(encoding="utf-8")
    assert "Removed whole: stage1.0.conv1, stage2.1.conv1." in text
    namespace: dict[str, Any] = {"__name__": "exported", "__file__": str(paths["script"])}
    exec(compile(text, "exported", "exec"), namespace)
    torch.testing.assert_close(namespace["load"]()(images), small(images), rtol=1e-6, atol=1e-5)
    assert paths["weights"].stat().st_size == explorer.cost(graph, plan).file_bytes
    for command in (["check", "--select", "E,F,I,W,D100,UP"], ["format", "--check"]):
        options = [*command, "--isolated", "--line-length", "110", str(paths["script"])]
        done = subprocess.run(
            [sys.executable, "-m", "ruff", *options], capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stdout + done.stderr


def test_an_exported_network_without_removed_blocks_carries_no_empty_layers(tmp_path: Path) -> None:
    network, graph = trained("vgg"), graph_of("vgg")
    plan = explorer.plan_widths(graph, any_scores(graph), {"stage1.0": 20})
    measured = [Measured(None, None, explorer.cost(graph, each), ()) for each in (None, plan)]
    proof = explorer.prove(network.model, graph, plan, network.data.explore.inputs(slice(0, 2)))
    report = Report(Request("l1", recovery=Recovery()), *measured, proof)
    small = explorer.shrink(network.model, graph, plan)
    paths = export(tmp_path, network, graph, plan, small, report)
    assert "Empty" not in paths["script"].read_text(encoding="utf-8")
