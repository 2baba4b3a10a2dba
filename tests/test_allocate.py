"""Budgets: never exceeded, used up as far as the ranking goes, refused in words where they cannot be met."""

import re

import numpy as np
import pytest
import torch
import torchvision
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

import explorer
from explorer.allocate import ALLOCATIONS, allowed_widths, curve, in_multiples, order_of
from explorer.costs import COSTS, totals, widths_of
from explorer.values import ChannelGraph, Plan, Scores, full_plan
from tests.networks import BUNDLED, IMAGE, examples, graph_of, seeds


def random_scores(graph: ChannelGraph, seed: int, comparable: bool = True) -> Scores:
    rng = np.random.default_rng(seed)
    by_group = {group.id: rng.random(group.size) ** 3 * rng.random() for group in graph.prunable}
    gains = {group.id: np.sort(rng.random(group.size))[::-1] * rng.random() for group in graph.prunable}
    return Scores("test", by_group, comparable, gains)


def spent(graph: ChannelGraph, plan: Plan | None, cost: str) -> int:
    return int(totals(graph, widths_of(graph, plan), cost))


def two_layers() -> ChannelGraph:
    """Groups "0" (4 units) and "2" (3 units), and a classifier, for IMAGE without padding."""
    return explorer.trace(
        nn.Sequential(nn.Conv2d(3, 4, 1), nn.ReLU(), nn.Conv2d(4, 3, 1), nn.Flatten(), nn.Linear(192, 2)),
        IMAGE,
    )


ROUNDING = 1 + 1e-12  # of keep x dense cost, which is a whole number in intent
HAND = Scores(
    *("hand", {"0": [4, 1, 3, 2], "2": [10, 30, 20]}, False), gains={"0": [4, 3, 2, 1], "2": [30, 20, 10]}
)
allocations = pytest.mark.parametrize("allocation", ALLOCATIONS)
costs = pytest.mark.parametrize("cost", COSTS)


@examples(25)
@given(
    name=st.sampled_from(BUNDLED), seed=seeds, keep=st.floats(0.3, 1), cost=st.sampled_from(sorted(COSTS)),
    comparable=st.booleans(), minimum=st.integers(1, 4),
)  # fmt: skip
def test_global_is_the_longest_prefix_of_the_ranking_that_fits(
    name: str, seed: int, keep: float, cost: str, comparable: bool, minimum: int
) -> None:
    graph = graph_of(name)
    scores = random_scores(graph, seed, comparable)
    plan = explorer.allocate(graph, scores, keep, cost, minimum=minimum)
    budget = keep * spent(graph, None, cost) * ROUNDING
    assert spent(graph, plan, cost) <= budget

    ranked, kept = [], {}  # every unit above the minimum widths, best first, by a second implementation
    widths = widths_of(graph, None)
    for group in graph.prunable:
        values = scores.by_group[group.id].astype(np.float64)
        scaled = values if comparable else values / values.mean()
        order = np.argsort(-values, kind="stable").tolist()
        kept[group.id] = set(order[:minimum])
        widths[graph.index[group.id]] = minimum
        ranked += [(-scaled[unit], graph.index[group.id], unit) for unit in order[minimum:]]
    for _, place, unit in sorted(ranked):
        widths[place] += 1
        if totals(graph, widths, cost) > budget:
            break
        kept[graph.groups[place].id].add(unit)
    assert {name: set(np.flatnonzero(mask)) for name, mask in plan.keep.items()} == kept


@examples(25)
@given(name=st.sampled_from(BUNDLED), seed=seeds, keep=st.floats(0.3, 1), cost=st.sampled_from(sorted(COSTS)))
def test_uniform_is_the_largest_rate_that_fits(name: str, seed: int, keep: float, cost: str) -> None:
    graph = graph_of(name)
    plan = explorer.allocate(graph, random_scores(graph, seed), keep, cost, "uniform")
    budget = keep * spent(graph, None, cost) * ROUNDING
    assert spent(graph, plan, cost) <= budget
    rate = min((plan.widths[group.id] + 1) / group.size for group in graph.prunable)  # where some group grows
    if rate <= 1:
        wider = {group.id: max(1, int(rate * group.size + 1e-9)) for group in graph.prunable}
        assert all(wider[name] >= width for name, width in plan.widths.items())
        assert spent(graph, explorer.plan_widths(graph, random_scores(graph, seed), wider), cost) > budget


def test_uniform_keeps_the_same_share_of_every_group() -> None:
    graph = graph_of("resnet20")
    plan = explorer.allocate(graph, random_scores(graph, 0), 0.5, "channels", "uniform")
    assert {plan.widths[group.id] / group.size for group in graph.prunable} == {0.5}


def test_the_best_units_of_a_group_stay_and_ties_go_by_channel_order() -> None:
    plan = explorer.plan_widths(two_layers(), HAND, {"0": 2, "2": 1})
    assert plan.keep["0"].tolist() == [True, False, True, False]
    assert plan.keep["2"].tolist() == [False, True, False]
    assert order_of(np.array([1, 2, 1, 2], dtype=np.float32)).tolist() == [1, 3, 0, 2]


def test_global_divides_magnitudes_by_their_groups_mean() -> None:
    # "0": 1.6 1.2 0.8 0.4, "2": 1.5 1.0 0.5; beyond one of each: 1.2 ("0"), 1.0 ("2"), 0.8 ("0"), ...
    plan = explorer.allocate(two_layers(), HAND, 4 / 7, "channels")
    assert dict(plan.widths) == {"0": 2, "2": 2}


def test_global_takes_comparable_scores_raw() -> None:
    raw = Scores("hand", HAND.by_group, comparable=True)
    assert dict(explorer.allocate(two_layers(), raw, 4 / 7, "channels").widths) == {"0": 1, "2": 3}


@allocations
@costs
def test_keeping_everything_is_the_identity(allocation: str, cost: str) -> None:
    for name in BUNDLED:
        graph = graph_of(name)
        plan = explorer.allocate(graph, random_scores(graph, 1), 1, cost, allocation)
        assert plan == full_plan(graph)


@allocations
@costs
def test_keeping_more_never_takes_a_unit_away(allocation: str, cost: str) -> None:
    graph = graph_of("mobilenetv2")
    line = curve(graph, random_scores(graph, 2), cost, allocation)
    widths = np.array([line.widths_at(step) for step in range(line.steps)])
    share = totals(graph, widths, cost) / totals(graph, graph.sizes, cost)
    assert (np.diff(share) >= 0).all()
    assert (np.diff(widths, axis=0) >= 0).all()
    assert (line.lowest, line.highest) == (share[0], 1)
    for keep in (0.3, 0.5, 0.77, float(share[40])):
        chosen = widths[share <= keep][-1]
        assert list(line.plan(keep).widths.values()) == [chosen[graph.index[g.id]] for g in graph.prunable]


@allocations
@costs
def test_out_of_reach_names_a_minimum_that_can_be_reached(allocation: str, cost: str) -> None:
    graph = graph_of("vgg")
    scores = random_scores(graph, 3)
    with pytest.raises(explorer.NotReachable, match="out of reach") as caught:
        explorer.allocate(graph, scores, 1e-4, cost, allocation, minimum=8)
    named = float(re.search(r"below ([\d.]+)", str(caught.value))[1])
    assert min(explorer.allocate(graph, scores, named, cost, allocation, minimum=8).widths.values()) == 8
    with pytest.raises(explorer.NotReachable):
        explorer.allocate(graph, scores, named - 2e-4, cost, allocation, minimum=8)


@allocations
@costs
def test_widths_pin_groups_and_the_others_share_the_rest(allocation: str, cost: str) -> None:
    graph = graph_of("vgg")
    pins = {"stage1.0": 32, "stage3.3": 5}
    plan = explorer.allocate(graph, random_scores(graph, 4), 0.4, cost, allocation, widths=pins, minimum=7)
    assert {name: plan.widths[name] for name in pins} == pins
    assert all(width >= 7 for name, width in plan.widths.items() if name not in pins)
    assert spent(graph, plan, cost) <= 0.4 * spent(graph, None, cost)


@allocations
def test_all_groups_may_be_pinned(allocation: str) -> None:
    graph, pins = two_layers(), {"0": 2, "2": 2}
    assert dict(explorer.allocate(graph, HAND, 0.9, allocation=allocation, widths=pins).widths) == pins
    with pytest.raises(explorer.NotReachable):
        explorer.allocate(graph, HAND, 0.2, allocation=allocation, widths=pins)


def test_a_minimum_above_a_groups_size_keeps_it_whole() -> None:
    plan = explorer.allocate(
        graph_of("mobilenetv2"), random_scores(graph_of("mobilenetv2"), 5), 0.3, minimum=20
    )
    assert plan.widths["stem.0"] == 16
    assert min(width for name, width in plan.widths.items() if name != "stem.0") >= 20


def test_scores_of_zero_everywhere_are_ranked_by_place() -> None:
    zero = Scores("hand", {"0": [0] * 4, "2": [0] * 3}, comparable=False)
    assert sum(explorer.allocate(two_layers(), zero, 4 / 7, "channels").widths.values()) == 4


@allocations
@costs
def test_a_network_without_prunable_groups_can_only_be_kept(allocation: str, cost: str) -> None:
    graph = explorer.trace(nn.Sequential(nn.Flatten(), nn.Linear(192, 2)), IMAGE)
    nothing = Scores("hand", {}, comparable=True, gains={})
    assert explorer.allocate(graph, nothing, 1, cost, allocation) == full_plan(graph)
    assert curve(graph, nothing, cost, allocation).lowest == 1
    with pytest.raises(explorer.NotReachable, match="nothing can be pruned"):
        explorer.allocate(graph, nothing, 0.5, cost, allocation)


@pytest.mark.parametrize("keep", [0, -0.5, 1.01, float("nan"), float("inf"), True, "half", None])
def test_a_keep_out_of_range_is_refused(keep: object) -> None:
    with pytest.raises(explorer.BadInput, match="keep must be a share"):
        explorer.allocate(two_layers(), HAND, keep)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"cost": ["macs"]}, "no cost ['macs']. Known: macs, params, channels"),
        ({"allocation": []}, "no allocation []. Known: global, uniform"),
        ({"allocation": None}, "no allocation None"),
        ({"minimum": "a"}, "whole number"),
        ({"widths": [2, 3]}, "widths must be a mapping"),
        ({"widths": []}, "widths must be a mapping"),
        ({"widths": 5}, "widths must be a mapping"),
        ({"widths": {("0",): 2}}, "no channel group ('0',)"),
        ({"cost": "flops"}, "no cost 'flops'. Known: macs, params, channels"),
        ({"allocation": "globl"}, "Did you mean 'global'"),
        ({"minimum": 0}, "at least 1"),
        ({"minimum": 1.5}, "whole number"),
        ({"widths": {"9": 2}}, "no channel group '9'. Known: 0, 2, 4"),
        ({"widths": {"4": 2}}, "network's outputs"),
        ({"widths": {"0": 0}}, "0 cannot be removed: no other path"),
        ({"widths": {"0": -1}}, "out of range: 1 to 4, or 0"),
        ({"widths": {"0": 5}}, "out of range: 1 to 4"),
        ({"widths": {"0": 2.0}}, "whole number"),
        ({"widths": {"0": True}}, "whole number"),
    ],
)
def test_options_out_of_range_are_refused(options: dict, words: str) -> None:
    with pytest.raises(explorer.ExplorerError) as caught:
        explorer.allocate(two_layers(), HAND, 0.5, **options)
    assert words in str(caught.value)


@pytest.mark.parametrize(
    "by_group",
    [{}, {"0": [1, 2, 3, 4]}, {"0": [1, 2, 3], "2": [1, 2, 3]}, {"0": [1, 2, 3, np.nan], "2": [1, 2, 3]}],
)
def test_scores_that_do_not_fit_are_refused(by_group: dict) -> None:
    with pytest.raises(explorer.BadInput, match="scores"):
        explorer.allocate(two_layers(), Scores("hand", by_group, comparable=False), 0.5)


def test_arguments_of_the_wrong_kind_are_refused() -> None:
    with pytest.raises(explorer.BadInput, match="trace"):
        explorer.allocate("resnet20", HAND, 0.5)  # type: ignore[arg-type]
    with pytest.raises(explorer.BadInput, match="score"):
        explorer.allocate(two_layers(), {"0": [1]}, 0.5)  # type: ignore[arg-type]


def channel_counts(net: nn.Module) -> list[int]:
    """Output channels of every convolution."""
    return [module.out_channels for module in net.modules() if isinstance(module, nn.Conv2d)]


@examples(40)
@given(
    name=st.sampled_from(BUNDLED), seed=seeds, keep=st.floats(0.05, 1), cost=st.sampled_from(sorted(COSTS)),
    allocation=st.sampled_from(sorted(ALLOCATIONS)), multiple=st.sampled_from([1, 2, 3, 4, 8, 16, 32]),
    minimum=st.integers(1, 9),
)  # fmt: skip
def test_widths_in_multiples_stay_within_the_budget_or_are_refused_where_none_fits(
    name: str, seed: int, keep: float, cost: str, allocation: str, multiple: int, minimum: int
) -> None:
    graph = graph_of(name)
    least = widths_of(graph, None)
    for group in graph.prunable:  # in these networks a unit is one channel
        size = group.size
        fit = [w for w in range(1, size + 1) if (w % multiple == 0 or w == size) and w >= min(minimum, size)]
        least[graph.index[group.id]] = fit[0]
    budget = keep * spent(graph, None, cost) * ROUNDING
    options = {"cost": cost, "allocation": allocation, "minimum": minimum, "multiple": multiple}
    if totals(graph, least, cost) > budget:
        with pytest.raises(
            explorer.NotReachable, match=f"in multiples of {multiple} channels" if multiple > 1 else "widths"
        ):
            explorer.allocate(graph, random_scores(graph, seed), keep, **options)
        return
    plan = explorer.allocate(graph, random_scores(graph, seed), keep, **options)
    assert spent(graph, plan, cost) <= budget
    for group in graph.prunable:
        width = plan.widths[group.id]
        assert width >= min(minimum, group.size)
        assert width % multiple == 0 or width == group.size


@allocations
def test_keeping_everything_in_multiples_is_the_identity(allocation: str) -> None:
    graph = graph_of("mobilenetv2")
    scores = random_scores(graph, 6)
    assert explorer.allocate(graph, scores, 1, allocation=allocation, multiple=32) == full_plan(graph)
    line = curve(graph, scores, allocation=allocation, multiple=8)
    widths = np.array([line.widths_at(step) for step in range(line.steps)])
    assert (np.diff(widths, axis=0) >= 0).all()


def test_a_shrunk_residual_network_has_multiples_of_8_in_every_convolution() -> None:
    torch.manual_seed(0)
    model = torchvision.models.resnet18(num_classes=10).eval()
    graph = explorer.trace(model, torch.zeros(1, 3, 64, 64))
    for allocation in ALLOCATIONS:
        plan = explorer.allocate(graph, random_scores(graph, 7), 0.43, allocation=allocation, multiple=8)
        counts = channel_counts(explorer.shrink(model, graph, plan))
        assert all(count % 8 == 0 for count in counts)
        assert counts != channel_counts(model)
        assert spent(graph, plan, "macs") <= 0.43 * spent(graph, None, "macs")
        loose = explorer.allocate(graph, random_scores(graph, 7), 0.43, allocation=allocation)
        assert any(width % 8 for width in loose.widths.values()), "it is the multiple that does it"


@pytest.mark.parametrize(
    ("middle", "groups", "units", "steps"),
    [
        (nn.Identity(), 4, {"0": 8, "3": 6}, [2, 2]),  # a unit is a channel of each of four groups
        (nn.GroupNorm(4, 32), 1, {"0": 4, "3": 24}, [1, 8]),  # eight channels, and one
    ],
)
def test_units_of_several_channels_count_their_channels(
    middle: nn.Module, groups: int, units: dict[str, int], steps: list[int]
) -> None:
    model = nn.Sequential(
        nn.Conv2d(3, 32, 1), middle, nn.ReLU(), nn.Conv2d(32, 24, 3, groups=groups), nn.Flatten(),
        nn.Linear(24 * 36, 2),
    )  # fmt: skip
    graph = explorer.trace(model, IMAGE)
    assert {group.id: group.size for group in graph.prunable} == units
    assert [graph.steps(8)[graph.index[name]] for name in units] == steps
    plan = explorer.allocate(graph, random_scores(graph, 8), 0.5, "params", multiple=8)
    counts = channel_counts(explorer.shrink(model, graph, plan))
    assert counts != [32, 24]
    assert all(count % 8 == 0 for count in counts)


def test_pinned_widths_in_multiples_are_kept_or_refused() -> None:
    graph, scores = graph_of("vgg"), random_scores(graph_of("vgg"), 9)
    pins = {"stage1.0": 16}
    plan = explorer.allocate(graph, scores, 0.4, widths=pins, multiple=16)
    assert plan.widths["stage1.0"] == 16
    words = r"Width 5 of stage1.0 is no multiple of 8 channels. Pass 8 \(it goes in steps of 8 up to 32\)"
    with pytest.raises(explorer.BadInput, match=words):
        explorer.allocate(graph, scores, 0.4, widths={"stage1.0": 5}, multiple=8)


def test_widths_found_otherwise_are_brought_to_multiples_below_a_cost() -> None:
    graph = two_layers()
    allowed = allowed_widths(graph, 2)
    assert {name: each.tolist() for name, each in allowed.items()} == {"0": [2, 4], "2": [2, 3]}
    assert in_multiples(graph, {"0": 3, "2": 3}, allowed, 7, "channels") == {"0": 2, "2": 3}
    assert in_multiples(graph, {"0": 4, "2": 3}, allowed, 6, "channels") == {"0": 4, "2": 2}
    assert in_multiples(graph, {"0": 4, "2": 3}, {"0": allowed["0"]}, 6, "channels") == {"0": 2, "2": 3}
    with pytest.raises(explorer.NotReachable, match="cost 4 channels at least, more than 3"):
        in_multiples(graph, {"0": 1, "2": 1}, allowed, 3, "channels")


@pytest.mark.parametrize("multiple", [0, -8, 8.0, 1.5, True, "8", None])
def test_a_multiple_that_is_no_number_of_channels_is_refused(multiple: object) -> None:
    with pytest.raises(explorer.BadInput, match="multiple, a number of channels, must be a whole number"):
        explorer.allocate(two_layers(), HAND, 0.5, multiple=multiple)  # type: ignore[arg-type]


def test_a_multiple_beyond_all_sizes_leaves_the_dense_network_only() -> None:
    graph = two_layers()
    assert explorer.allocate(graph, HAND, 1, multiple=10**30) == full_plan(graph)
    with pytest.raises(explorer.NotReachable, match="lower the multiple"):
        explorer.allocate(graph, HAND, 0.9, multiple=10**30)
