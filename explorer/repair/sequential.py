"""Refit layer after layer: each to the dense network's answers, from what the repaired layers before it really give it.

After He, Zhang and Sun 2017 (ICCV), section 3.2: errors are seen and undone on the way, and a layer whose answer is
added to a shortcut also makes up for what the shortcut gets wrong.
"""

import math
from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from explorer.capture import run
from explorer.data import Images
from explorer.data.batches import fitting
from explorer.errors import BadInput
from explorer.graph.inputs import Batch
from explorer.repair.branches import Branch, Branches
from explorer.repair.moments import AT_ONCE, IMAGES, Check, Observed, nothing, rows_wanted
from explorer.repair.patches import Places, as_matrix, output_sides, patches
from explorer.repair.readers import Reader, as_convolution
from explorer.repair.refit import Cut, Refitted, Sink, cuts, refit, write
from explorer.repair.solving import damping, solved
from explorer.values import ChannelGraph, Plan

MORE = (
    4  # times as many patches as an instant refit wants, where memory allows: 1.5 points more at 20 % of MACs
)

Given = Mapping[str, Any]


class _Targets:
    """What the dense network's layers answer, and the sums that they are added to, at places that are drawn once.

    `answers` and `sums` are (N, P, kept outputs), by layer and by (number of the sum, weight). P is such that there are
    `more` times as many patches as a layer's unknowns want.
    """

    def __init__(
        self,
        model: nn.Module,
        graph: ChannelGraph,
        wanted: Mapping[str, Cut],
        readers: Mapping[str, Reader],
        inputs: Batch,
        more: int,
    ) -> None:
        self._readers, self._wanted, self._more = readers, wanted, more
        self._weights = {name: model.get_parameter(name).detach() for name in wanted}
        self.layers = {
            place: layer.weight for place, layer in enumerate(graph.layers) if layer.weight in wanted
        }
        self._given: dict[int, Given] = {}
        self.places: dict[str, Places] = {}
        self.answers: dict[str, Tensor] = {}
        self.sums: dict[tuple[int, str], Tensor] = {}
        with torch.no_grad(), Branches(model, wanted, self._at_sum):
            run(model, graph, inputs, self._observe, self._answered, self._given.__setitem__)

    def _observe(self, place: int, x: Tensor) -> Tensor:
        if (name := self.layers.get(place)) is not None:
            reader = self._readers[name]
            inputs, weight = as_convolution(x, self._weights[name])
            every = math.prod(output_sides(inputs, weight, self._given[place], reader.transposed))
            unknowns = int(self._wanted[name].inputs.sum()) * reader.taps
            count = min(every, math.ceil(self._more * rows_wanted(unknowns) / len(inputs)))
            generator = torch.Generator().manual_seed(place)
            self.places[name] = Places.drawn(len(inputs), every, count, generator)
        return x

    def _answered(self, place: int, answer: Tensor) -> None:
        if (name := self.layers.get(place)) is not None:
            self.answers[name] = self.at_places(name, answer)[..., self._wanted[name].outputs]

    def _at_sum(self, number: int, branch: Branch, other: Tensor) -> None:
        name = branch.weight
        sums = self.at_places(name, branch.output) + self.at_places(name, other)
        self.sums[number, name] = sums[..., self._wanted[name].outputs]

    def at_places(self, name: str, output: Tensor) -> Tensor:
        """(N, C, ...), or (N, ..., C) of a linear layer -> (N, P, C)."""
        return self.places[name].of(as_convolution(output, self._weights[name])[0])


class _Refitting:
    """The pass of the shrunk network in which its layers are refitted, one after the other.

    `moved` is what the means of the batch norms behind the layers are above those of the dense network, (outputs,).
    """

    def __init__(
        self,
        shrunk: nn.Module,
        graph: ChannelGraph,
        observed: Observed,
        targets: _Targets,
        moved: Mapping[str, Tensor],
        check: Check,
    ) -> None:
        self._shrunk, self._graph, self._readers, self._targets = shrunk, graph, observed.readers, targets
        self._moved, self._checked = moved, check
        self.stopped: Exception | None = None
        self._added = {name for _, name in targets.sums}
        self._waiting: dict[str, tuple[Tensor, int, Given]] = {}
        self.given: dict[int, Given] = {}

    def _check(self) -> None:
        try:
            self._checked()
        except Exception as error:
            self.stopped = error
            raise

    def observe(self, place: int, x: Tensor) -> Tensor:
        if (name := self._targets.layers.get(place)) is not None:
            self._check()
            given, answers = self.given[place], self._targets.answers.pop(name)
            self._fit(name, x, given, answers + self._moved[name] if name in self._moved else answers)
            if name in self._added:
                self._waiting[name] = x, x._version, given
        return x

    def at_sum(self, number: int, branch: Branch, other: Tensor) -> None:
        """Fit a branch to what the sum lacks, and compute it anew."""
        name = branch.weight
        if (number, name) not in self._targets.sums or name not in self._waiting:
            return
        self._check()
        x, version, given = self._waiting.pop(name)
        if x._version != version:  # overwritten since the layer read it
            return
        at_places = self._targets.at_places
        wanted = self._targets.sums.pop((number, name)) - at_places(name, other)
        if branch.norm is not None:
            scale, shift = _scale_and_shift(branch.norm)
            moves = scale.abs() > 1e-6 * scale.abs().max()
            safe = torch.where(moves, scale, 1)
            wanted = torch.where(moves, wanted - shift, at_places(name, branch.output) - shift) / safe
        self._fit(name, x, given, wanted)
        branch.output.copy_(branch.again())

    def _fit(self, name: str, x: Tensor, given: Given, answers: Tensor) -> None:
        reader, places = self._readers[name], self._targets.places[name]
        _refit_to(self._shrunk, self._graph, reader, x, given, places, answers)


def _scale_and_shift(norm: Given) -> tuple[Tensor, Tensor]:
    """What a batch norm in eval mode does to its channels, (C,) each, in float64."""
    scale = (norm["running_var"].double() + norm.get("eps", 1e-5)).rsqrt()
    if norm.get("weight") is not None:
        scale = scale * norm["weight"]
    shift = -norm["running_mean"] * scale
    return scale, shift if norm.get("bias") is None else shift + norm["bias"]


def refit_sequential(
    model: nn.Module,
    shrunk: nn.Module,
    graph: ChannelGraph,
    plan: Plan,
    observed: Observed,
    images: Images,
    count: int = IMAGES,
    check: Check = nothing,
) -> list[Refitted]:
    """In place: every layer that lost inputs is refitted to the dense network's answers from what the layers before it,
    repaired already, really give it (He et al. 2017), so that errors are seen and undone on the way.

    One pass of the dense network and one of the shrunk one over `count` images, or fewer that memory holds at once.
    It begins with the instant refit, to which the solution is held, and which layers that are called several times
    keep. `check` is called before every layer and may raise. Returns what became of every layer.
    """
    wanted = cuts(graph, plan, observed.readers)
    before = _means(shrunk, graph, wanted)
    found = refit(model, shrunk, graph, plan, observed, check)
    moved = {name: mean - before[name] for name, mean in _means(shrunk, graph, wanted).items()}
    stays = {each.layer for each in found if each.reason}
    calls = Counter(layer.weight for layer in graph.layers)
    wanted = {
        name: cut
        for name, cut in wanted.items()
        if observed.readers[name].layer not in stays and calls[name] == 1
    }
    used = images.mixed(count)
    many = max(
        1, fitting(model, used.inputs(slice(0, 1)), 2 * len(used)) // 2
    )  # beside what the targets take
    inputs = used.inputs(slice(0, many))
    more = MORE if many == len(used) else 1
    targets = _Targets(model, graph, wanted, observed.readers, inputs, more)
    refitting = _Refitting(shrunk, graph, observed, targets, moved, check)
    try:
        with torch.no_grad(), Branches(shrunk, wanted, refitting.at_sum):
            run(shrunk, graph, inputs, refitting.observe, called=refitting.given.__setitem__)
    except BadInput:
        if refitting.stopped is not None:  # which is no fault of the images
            raise refitting.stopped from None
        raise
    return found


def _means(network: nn.Module, graph: ChannelGraph, names: Iterable[str]) -> dict[str, Tensor]:
    """Running means of the batch norms that directly follow these weights' convolutions, where they do."""
    norms = {f"{conv}.weight": norm for conv, norm in graph.folds}
    return {
        name: network.get_buffer(f"{norms[name]}.running_mean").clone() for name in names if name in norms
    }


def _refit_to(
    shrunk: nn.Module,
    graph: ChannelGraph,
    reader: Reader,
    x: Tensor,
    given: Given,
    places: Places,
    answers: Tensor,
) -> None:
    """Fit a layer's weight, and where it can its constant, to answers (N, P, outputs) at places of its input."""
    small = shrunk.get_parameter(reader.weight)
    sink = Sink(shrunk, graph, reader)
    inputs, weight = as_convolution(x, small)
    now = as_matrix(small.detach().double(), reader.transposed, int(given.get("groups", 1) or 1))
    groups, outputs, width = now.shape
    chunk = max(1, AT_ONCE // max(1, places.flat.shape[1] * width * groups))
    rows_seen = places.flat.numel()
    if rows_seen <= width:  # the instant refit has seen more
        return
    total, missing = now.new_zeros(groups, width), now.new_zeros(groups, outputs)
    products, cross = now.new_zeros(groups, width, width), now.new_zeros(groups, outputs, width)
    bias = given.get("bias")
    for part in torch.arange(len(inputs)).split(chunk):
        rows = patches(inputs[part], weight, given, reader.transposed, Places(places.flat[part])).double()
        rows = rows.reshape(-1, groups, width).transpose(0, 1)
        wanted = answers[part].double().reshape(-1, groups, outputs).transpose(0, 1)
        if bias is not None:
            wanted = wanted - bias.double().reshape(groups, 1, outputs)
        left = wanted - rows @ now.transpose(1, 2)
        total += rows.sum(1)
        products.baddbmm_(rows.transpose(1, 2), rows)
        missing += left.sum(1)
        cross.baddbmm_(left.transpose(1, 2), rows)
    mean, left_mean = total / rows_seen, missing / rows_seen
    products, cross = products.div_(rows_seen), cross.div_(rows_seen)
    if sink.exists:
        products.baddbmm_(mean[:, :, None], mean[:, None, :], alpha=-1)
        cross.baddbmm_(left_mean[:, :, None], mean[:, None, :], alpha=-1)
    damped = [damping(each.diagonal(), rows_seen) for each in products]
    steps = torch.stack([solved(products[g], cross[g], damped[g]) for g in range(groups)])
    if write(small, (now + steps).flatten(0, 1), reader):
        sink.add((left_mean - (steps @ mean[:, :, None])[..., 0]).flatten())
