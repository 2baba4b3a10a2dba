"""Refit layer after layer: each to the dense network's answers, from what the repaired layers before it really give it.

After He, Zhang and Sun 2017 (ICCV), section 3.2: errors are seen and undone on the way, and a layer whose answer is added
to a shortcut also makes up for what the shortcut gets wrong.
"""

import math
from collections import Counter
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from explorer.capture import run
from explorer.data import Images
from explorer.data.batches import fitting
from explorer.repair.branches import Branch, Branches
from explorer.repair.moments import (
    AT_ONCE,
    FEWEST_ROWS,
    IMAGES,
    ROWS_PER_UNKNOWN,
    Check,
    Observed,
    Reader,
    as_convolution,
    nothing,
    positions_of,
)
from explorer.repair.patches import Places, as_matrix, patches
from explorer.repair.refit import Cut, Refitted, Sink, cuts, refit, write
from explorer.repair.solving import ridge_of, solved
from explorer.values import ChannelGraph, Plan

Given = Mapping[str, Any]


class _Targets:
    """What the dense network's layers answer, and the sums that they are added to, at places that are drawn once.

    `answers` and `sums` are (N, P, kept outputs), by layer and by (number of the sum, weight).
    """

    def __init__(
        self,
        model: nn.Module,
        graph: ChannelGraph,
        wanted: Mapping[str, Cut],
        observed: Observed,
        inputs: Tensor,
    ) -> None:
        self._observed, self._wanted, self._images = observed, wanted, len(inputs)
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
        name = self.layers.get(place)
        if name is not None:
            reader = self._observed.readers[name]
            inputs, weight = as_convolution(x, self._weights[name])
            every = positions_of(inputs, weight, self._given[place], reader.transposed)
            unknowns = int(self._wanted[name].inputs.sum()) * reader.taps
            count = min(every, math.ceil(max(FEWEST_ROWS, ROWS_PER_UNKNOWN * unknowns) / self._images))
            generator = torch.Generator().manual_seed(place)
            self.places[name] = Places.drawn(len(inputs), every, count, generator)
        return x

    def _answered(self, place: int, answer: Tensor) -> None:
        if (name := self.layers.get(place)) is not None:
            self.answers[name] = self.at_places(name, answer)[..., self._wanted[name].outputs]

    def _at_sum(self, number: int, branch: Branch, other: Tensor) -> None:
        sums = self.at_places(branch.weight, branch.output + other)
        self.sums[number, branch.weight] = sums[..., self._wanted[branch.weight].outputs]

    def at_places(self, name: str, output: Tensor) -> Tensor:
        """(N, C, ...), or (N, ..., C) of a linear layer -> (N, P, C)."""
        return self.places[name].of(as_convolution(output, self._weights[name])[0])


class _Refitting:
    """The pass of the shrunk network in which its layers are refitted, one after the other."""

    def __init__(
        self, shrunk: nn.Module, graph: ChannelGraph, observed: Observed, targets: _Targets, check: Check
    ) -> None:
        self._shrunk, self._graph, self._observed, self._targets = shrunk, graph, observed, targets
        self._check = check
        self._added = {name for _, name in targets.sums}
        self._waiting: dict[str, tuple[Tensor, Given]] = {}
        self.given: dict[int, Given] = {}

    def observe(self, place: int, x: Tensor) -> Tensor:
        if (name := self._targets.layers.get(place)) is not None:
            self._check()
            self._fit(name, x, self.given[place], self._targets.answers.pop(name))
            if name in self._added:
                self._waiting[name] = x, self.given[place]
        return x

    def at_sum(self, number: int, branch: Branch, other: Tensor) -> None:
        """Fit a branch to what the sum lacks, and compute it anew."""
        name = branch.weight
        if (number, name) not in self._targets.sums or name not in self._waiting:
            return
        self._check()
        at_places = self._targets.at_places
        wanted = self._targets.sums.pop((number, name)) - at_places(name, other)
        x, given = self._waiting.pop(name)
        if branch.norm is not None:
            scale, shift = _scale_and_shift(branch.norm)
            moves = scale.abs() > 1e-6 * scale.abs().max()
            before = (at_places(name, branch.output) - shift) / torch.where(moves, scale, 1)
            wanted = torch.where(moves, (wanted - shift) / torch.where(moves, scale, 1), before)
        self._fit(name, x, given, wanted)
        branch.output.copy_(branch.again())

    def _fit(self, name: str, x: Tensor, given: Given, answers: Tensor) -> None:
        reader, places = self._observed.readers[name], self._targets.places[name]
        _refit_to(self._shrunk, self._graph, reader, x, given, places, answers)


def _scale_and_shift(norm: Given) -> tuple[Tensor, Tensor]:
    """What a batch norm in eval mode does to its channels, (C,) each."""
    scale = (norm["running_var"] + norm.get("eps", 1e-5)).rsqrt()
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
    It begins with the instant refit, to which the solution is held. Returns what became of every layer.
    """
    means = {name: value.clone() for name, value in shrunk.named_buffers() if name.endswith("running_mean")}
    found = {each.layer: each for each in refit(model, shrunk, graph, plan, observed, check)}
    calls = Counter(layer.weight for layer in graph.layers)
    wanted = {
        name: cut
        for name, cut in cuts(graph, plan, observed.readers).items()
        if not found[observed.readers[name].layer].reason and calls[name] == 1
    }
    for name in wanted:  # what batch norm takes away is fitted anew
        if norm := dict(graph.folds).get(name.rpartition(".")[0]):
            shrunk.get_buffer(f"{norm}.running_mean").copy_(means[f"{norm}.running_mean"])
    used = images.mixed(count)
    many = fitting(model, used.inputs(slice(0, 1)), len(used))
    inputs = used.inputs(slice(0, many))
    refitting = _Refitting(shrunk, graph, observed, _Targets(model, graph, wanted, observed, inputs), check)
    with torch.no_grad(), Branches(shrunk, wanted, refitting.at_sum):
        run(shrunk, graph, inputs, refitting.observe, called=refitting.given.__setitem__)
    return list(found.values())


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
    total, products = now.new_zeros(groups, width), now.new_zeros(groups, width, width)
    missing, cross = now.new_zeros(groups, outputs), now.new_zeros(groups, outputs, width)
    bias = given.get("bias")
    for part in torch.arange(len(inputs)).split(chunk):
        rows = patches(inputs[part], weight, given, reader.transposed, Places(places.flat[part])).double()
        rows = rows.reshape(-1, groups, width).transpose(0, 1)
        wanted = answers[part].double().reshape(-1, groups, outputs).transpose(0, 1)
        if bias is not None:
            wanted = wanted - bias.double().reshape(groups, 1, outputs)
        left = wanted - rows @ now.transpose(1, 2)
        total += rows.sum(1)
        products += rows.transpose(1, 2) @ rows
        missing += left.sum(1)
        cross += left.transpose(1, 2) @ rows
    mean, left_mean = total / rows_seen, missing / rows_seen
    products, cross = products / rows_seen, cross / rows_seen
    if sink.exists:
        products = products - mean[:, :, None] * mean[:, None, :]
        cross = cross - left_mean[:, :, None] * mean[:, None, :]
    if not bool(torch.isfinite(products).all() and torch.isfinite(cross).all()):
        return
    steps = torch.stack([solved(products[g], cross[g], ridge_of(products[g])) for g in range(groups)])
    write(small, (now + steps).flatten(0, 1), reader)
    if sink.exists:
        sink.add((left_mean - (steps @ mean[:, :, None])[..., 0]).flatten())
