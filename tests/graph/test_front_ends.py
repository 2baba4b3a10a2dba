"""The second front end: what torch.fx cannot follow, torch.export reads, with the same groups and surgery."""

import copy
import sys
import threading
from typing import Any

import pytest
import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor, nn

import explorer
from tests.counting import counted_macs
from tests.networks import IMAGE, Written, conv, groups_of, inputs_like, pooled, random_plan


def branches_on_shape(m: Any, x: Tensor) -> Any:
    if float(x.shape[2]) > 3:  # torch.fx cannot make a float of a size
        x = torch.relu_(m.n(m.c(x)))
    for _ in range(int(x.shape[3]) // 4):
        x = m.d(x) + 0.1
    y = m.f(pooled(m.g(m.e(x))))
    return (y, m.aux(pooled(x))) if m.training else y


def branching() -> nn.Module:
    model = Written(
        branches_on_shape,
        c=conv(3, 8), n=nn.BatchNorm2d(8), d=conv(8, 8, groups=8), e=conv(8, 12), g=nn.GroupNorm(4, 12),
        f=nn.Linear(12, 4), aux=nn.Linear(8, 4),
    )  # fmt: skip
    return explorer.live_weights(model, IMAGE)


def test_branches_over_shapes_are_read_by_torch_export_and_cut_like_any_other() -> None:
    model = branching()
    graph = explorer.trace(model, IMAGE)
    assert graph.front_end == "torch.export"
    assert [layer.name for layer in graph.layers] == ["c", "d", "d#2", "e", "f"]
    assert graph.group("c").layers == ("c", "d", "d#2")
    assert ("aux.weight", 1, True) in {(s.tensor, s.dim, s.reads) for s in graph.group("c").slots}
    plan = random_plan(graph, 1, share=0.5)
    assert explorer.prove(model, graph, plan, inputs_like(IMAGE, 4)).conclusive
    shrunk = explorer.shrink(model, graph, plan)
    assert (shrunk.d.groups, shrunk.g.num_groups, shrunk.aux.in_features) == (4, 2, 4)
    assert explorer.cost(graph, plan).macs == counted_macs(shrunk, IMAGE)
    assert [y.shape for y in shrunk.train()(torch.zeros(2, 3, 8, 8))] == [(2, 4), (2, 4)]


def test_the_two_front_ends_agree_on_a_network_that_both_can_read() -> None:
    def by_export(m: Any, x: Tensor) -> Tensor:
        return both(m, x * float(x.shape[2]))

    def both(m: Any, x: Tensor) -> Tensor:
        y = F.max_pool2d(F.silu(m.c(x)), 2)
        y = torch.cat([y, m.d(y)], 1) * torch.sigmoid(m.s(y.mean((2, 3), keepdim=True)))
        return m.f(F.adaptive_avg_pool2d(y, 1).flatten(1))

    def build(forward: Any) -> nn.Module:
        return Written(forward, c=conv(3, 8), d=conv(8, 6), s=nn.Conv2d(8, 14, 1), f=nn.Linear(14, 4))

    first, second = (explorer.trace(build(forward), IMAGE) for forward in (both, by_export))
    assert (first.front_end, second.front_end) == ("torch.fx", "torch.export")
    assert [(g.id, g.size, g.layers, g.prunable) for g in first.groups] == [
        (g.id, g.size, g.layers, g.prunable) for g in second.groups
    ]
    assert explorer.cost(first) == explorer.cost(second)


def test_a_width_that_is_a_number_after_export_freezes_with_the_users_line() -> None:
    def forward(m: Any, x: Tensor) -> Tensor:
        y = m.c(x) * float(x.shape[2])
        return m.f(y.view(1, y.size(1) * 64))

    model = Written(forward, c=conv(3, 8), f=nn.Linear(512, 4))
    reason = groups_of(model)["c"].reason
    assert "view" in reason
    assert "test_front_ends.py:" in reason


def test_a_width_that_the_forward_reads_while_it_is_exported_freezes() -> None:
    model = Written(
        lambda m, x: m.f(pooled(m.c(x)) * float(m.c.out_channels) / float(x.shape[2])),
        c=conv(3, 8), f=nn.Linear(8, 4),
    )  # fmt: skip
    assert "c.out_channels" in groups_of(model)["c"].reason


def test_where_both_fail_the_error_has_both_lines_and_nothing_else_is_printed(
    capfd: pytest.CaptureFixture[str],
) -> None:
    def forward(m: Any, x: Tensor) -> Tensor:
        return m.c(-x) if x.sum() > 0 else m.c(x)

    line = forward.__code__.co_firstlineno + 1
    with pytest.raises(explorer.CannotTrace, match="Control flow that depends on the data") as caught:
        explorer.trace(Written(forward, c=conv(3, 8)), IMAGE)
    said = str(caught.value)
    assert said.count(f"test_front_ends.py:{line}") == 2
    assert "torch.fx says" in said
    assert "torch.export says" in said
    assert capfd.readouterr() == ("", "")


def test_two_inputs_are_read_costed_and_proven() -> None:
    class Two(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.a, self.b, self.f = conv(3, 8), nn.Linear(5, 8), nn.Linear(8, 4)

        def forward(self, image: Tensor, more: Tensor) -> dict[str, Tensor]:
            return {"logits": self.f(pooled(self.a(image)) * torch.sigmoid(self.b(more)))}

    example = (IMAGE, torch.zeros(1, 5))
    model = explorer.live_weights(Two(), example)
    graph = explorer.trace(model, example)
    assert graph.group("a").layers == ("a", "b")
    assert graph.more_inputs == ((5,),)
    plan = random_plan(graph, 0, share=0.5)
    images = inputs_like(IMAGE, 3), torch.randn(3, 5)
    assert explorer.prove(model, graph, plan, images).conclusive
    assert explorer.cost(graph, plan).macs == counted_macs(explorer.shrink(model, graph, plan), *example)


def test_a_network_that_another_thread_runs_does_not_notice_a_trace() -> None:
    model, errors, stop = branching(), list[BaseException](), threading.Event()
    running = threading.Event()

    def evaluate() -> None:
        try:
            while not stop.is_set():
                copy_(inputs)
                running.set()
        except BaseException as error:  # noqa: BLE001
            errors.append(error)

    copy_, inputs = copy.deepcopy(model).eval(), torch.zeros(1, 3, 8, 8)
    thread = threading.Thread(target=evaluate)
    thread.start()
    interval = sys.getswitchinterval()
    try:
        sys.setswitchinterval(1e-5)
        running.wait()
        for _ in range(5):
            explorer.trace(nn.Sequential(*(conv(3, 3) for _ in range(40)), nn.Flatten()), IMAGE)
    finally:
        sys.setswitchinterval(interval)
        stop.set()
        thread.join()
    assert errors == []
