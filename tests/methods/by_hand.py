"""DMCP written by hand for one small residual network, in plain torch.

An oracle for `explorer.search`, and its rival in `benchmarks/search_against_loop.py`: each weight is sliced with two
numbers, and gates are multiplied in behind each batch norm.
"""

import copy
import math
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import batch_norm, conv2d, cross_entropy, kl_div, linear, logsigmoid, relu

import explorer
from explorer.chains import DIVISIONS, steps_of
from explorer.data import Data, Images
from explorer.methods import METHODS
from explorer.methods.base import Subject
from explorer.methods.dmcp import DMCPSettings
from tests.methods.searches import step as step_of

WIDTHS = (16, 32, 64)
MOMENTUM, BETAS, CLIP = 0.9, (0.9, 0.99), 5.0
STILL = 1e-6  # a rate at which weights stay as they are


class Block(nn.Module):
    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(outputs)
        self.conv2 = nn.Conv2d(outputs, outputs, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(outputs)
        if inputs != outputs:
            self.shortcut = nn.Conv2d(inputs, outputs, 1, stride, bias=False)
            self.bn = nn.BatchNorm2d(outputs)

    def forward(self, x: Tensor) -> Tensor:
        inner = relu(self.bn1(self.conv1(x)))
        skip = self.bn(self.shortcut(x)) if hasattr(self, "shortcut") else x
        return relu(self.bn2(self.conv2(inner)) + skip)


class ThreeStages(nn.Module):
    """A stem and three residual stages of two convolutions: 2.55 MMACs on 28 x 28 pixels, six chains."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(1, WIDTHS[0], 3, 2, 1, bias=False)
        self.bn = nn.BatchNorm2d(WIDTHS[0])
        before = (WIDTHS[0], *WIDTHS[:-1])
        self.stages = nn.Sequential(
            *(Block(a, b, 1 if a == b else 2) for a, b in zip(before, WIDTHS, strict=True))
        )
        self.classifier = nn.Linear(WIDTHS[-1], 10)

    def forward(self, x: Tensor) -> Tensor:
        x = self.stages(relu(self.bn(self.stem(x))))
        return self.classifier(x.mean((2, 3)))


# ---- by hand ----------------------------------------------------------------------------------------------


def normalised(x: Tensor, bn: nn.BatchNorm2d, width: int) -> Tensor:
    return batch_norm(x, None, None, bn.weight[:width], bn.bias[:width], training=True)


def convolved(x: Tensor, conv: nn.Conv2d, width: int) -> Tensor:
    return conv2d(x, conv.weight[:width, : x.shape[1]], None, conv.stride, conv.padding)


class Loop:
    """A search of `of` steps on `ThreeStages`, the chains still for the first `warm` of them.

    Widths and gates are by the name of the layer that a chain belongs to. `norms`: the total norm of the weights'
    gradients at every step, before it was clipped.
    """

    def __init__(self, model: ThreeStages, settings: DMCPSettings, warm: int, of: int) -> None:
        self.model, self.settings, self.warm, self.of = model, settings, warm, of
        self.norms: list[float] = []
        self.full = {"stem": WIDTHS[0]}
        for place, width in enumerate(WIDTHS):
            self.full[f"stages.{place}.conv1"] = width
            if place:
                self.full[f"stages.{place}.shortcut"] = width
        self.steps = {name: steps_of(width, DIVISIONS) for name, width in self.full.items()}
        self.least = {name: least for name, (least, _, _) in self.steps.items()}
        self.alphas = {
            name: torch.full((states,), settings.alpha, dtype=torch.float64, requires_grad=True)
            for name, (_, _, states) in self.steps.items()
        }
        layers = [each for each in model.modules() if isinstance(each, nn.Conv2d | nn.Linear)]
        norms = [each for each in model.modules() if isinstance(each, nn.BatchNorm2d)]
        still = [*(each.weight for each in norms), *(each.bias for each in norms), model.classifier.bias]
        self.sgd = torch.optim.SGD(
            [
                {"params": [each.weight for each in layers], "weight_decay": settings.weight_decay},
                {"params": still, "weight_decay": 0.0},
            ],
            lr=settings.rate,
            momentum=MOMENTUM,
            nesterov=True,
        )
        self.adam = torch.optim.Adam(self.alphas.values(), lr=settings.alpha_rate, betas=BETAS)
        self.dense = float(self.macs({name: torch.tensor(float(c)) for name, c in self.full.items()}))

    def logits(self, x: Tensor, widths: Mapping[str, int], gates: Mapping[str, Tensor] | None) -> Tensor:
        model = self.model

        def behind(x: Tensor, chain: str) -> Tensor:
            return x if gates is None else x * gates[chain]

        chain = "stem"
        x = relu(behind(normalised(convolved(x, model.stem, widths[chain]), model.bn, widths[chain]), chain))
        for place, block in enumerate(model.stages):
            inner = f"stages.{place}.conv1"
            y = normalised(convolved(x, block.conv1, widths[inner]), block.bn1, widths[inner])
            y = relu(behind(y, inner))
            if hasattr(block, "shortcut"):
                chain = f"stages.{place}.shortcut"
                x = behind(
                    normalised(convolved(x, block.shortcut, widths[chain]), block.bn, widths[chain]), chain
                )
            y = behind(normalised(convolved(y, block.conv2, widths[chain]), block.bn2, widths[chain]), chain)
            x = relu(y + x)
        x = x.mean((2, 3))
        return linear(x, model.classifier.weight[:, : x.shape[1]], model.classifier.bias)

    def macs(self, widths: Mapping[str, Tensor]) -> Tensor:
        outer, side = widths["stem"], 14
        total = 9 * outer * side**2
        for place in range(len(WIDTHS)):
            inner, before = widths[f"stages.{place}.conv1"], outer
            if place:
                outer, side = widths[f"stages.{place}.shortcut"], -(-side // 2)
                total = total + before * outer * side**2
            total = total + 9 * (before * inner + inner * outer) * side**2
        return total + 10 * outer

    def rate(self, number: int) -> float:
        """Of the weights: up from 0 in the first 20th of the search, then along a cosine down to a tenth."""
        done = (number + 1) / (self.of + 1)
        if done < 1 / 20:
            return self.settings.rate * 20 * done
        return self.settings.rate * (0.55 + 0.45 * math.cos(math.pi * (20 * done - 1) / 19))

    def alpha_rate(self, number: int) -> float:
        """Of the chains: along a cosine down to a tenth, from where they begin to learn."""
        done = (number - self.warm) / (self.of - self.warm)
        return self.settings.alpha_rate * (0.55 + 0.45 * math.cos(math.pi * done))

    def step(self, number: int, x: Tensor, labels: Tensor, drawn: list[dict[str, int]]) -> dict[str, float]:
        for group in self.sgd.param_groups:
            group["lr"] = self.rate(number)
        self.sgd.zero_grad()
        logits = self.logits(x, self.full, None)
        loss = cross_entropy(logits, labels)
        loss.backward()
        teacher, apart = logits.detach().softmax(1), []
        for widths in (self.least, *drawn):
            away = kl_div(self.logits(x, widths, None).log_softmax(1), teacher, reduction="batchmean")
            away.backward()
            apart.append(away.item())
        self.norms.append(nn.utils.clip_grad_norm_(self.model.parameters(), CLIP).item())
        self.sgd.step()
        losses = {"full": loss.item(), "sub": float(np.mean(apart))}
        return losses if number < self.warm else losses | self.chain_step(number, x, labels)

    def chain_step(self, number: int, x: Tensor, labels: Tensor) -> dict[str, float]:
        gates, expected = {}, {}
        for name, (least, step, _) in self.steps.items():
            retention = logsigmoid(self.alphas[name]).cumsum(0).exp()
            expected[name] = least + step * retention.sum()
            units = torch.cat([torch.ones(least), retention.repeat_interleave(step)])
            gates[name] = units.view(1, -1, 1, 1).to(x.dtype)
        task = cross_entropy(self.logits(x, self.full, gates), labels)
        cost = torch.log(self.macs(expected) / self.dense / self.settings.target) ** 2
        alphas = list(self.alphas.values())
        found = torch.autograd.grad(task + self.settings.strength * cost, alphas)
        for alpha, gradient in zip(alphas, found, strict=True):
            alpha.grad = gradient
        self.adam.param_groups[0]["lr"] = self.alpha_rate(number)
        self.adam.step()
        return {"chains": task.item(), "cost": cost.item()}


# ---- beside the method ------------------------------------------------------------------------------------


def network_of(count: int, dtype: torch.dtype = torch.float32) -> explorer.Network:
    """`ThreeStages` with so many images of noise; the same every time."""
    made = torch.Generator().manual_seed(0)
    pixels, labels = torch.randn(count, 1, 28, 28, generator=made), torch.arange(count) % 10
    images = Images(pixels, labels, partial(Tensor.to, dtype=dtype))
    data = Data("noise", tuple("0123456789"), train=images, explore=images.subset(16), final=None)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = ThreeStages().to(dtype)
    return explorer.load(model, data=data)


class Beside:
    """The method's run and the loop on the same weights. With other settings than the rates given here, which keep
    these weights as they are, the two stay together in float64 only, and if no step is left out."""

    def __init__(self, count: int, batch: int, dtype: torch.dtype = torch.float32, **settings: Any) -> None:
        network = network_of(count, dtype)
        graph = explorer.trace(network.model, network.example)
        still = {"warm_up": 0, "rate": STILL, "alpha_rate": STILL, "weight_decay": 0.0, "strength": 2.0}
        chosen = DMCPSettings(**{**still, **settings, "batch": batch})
        self.run = METHODS["dmcp"].begin(Subject(network, graph, network.data.train), chosen)
        self.images = network.data.train
        model = copy.deepcopy(network.model)
        model.train()
        self.loop = Loop(model, chosen, chosen.warm_up * self.run.per_epoch, self.run.of)
        assert self.loop.dense == explorer.cost(graph).macs
        self.groups = [group for group, *_ in self.run.facts["chains"]]

    def calls(
        self, number: int
    ) -> tuple[Callable[[], Mapping[str, float]], Callable[[], Mapping[str, float]]]:
        """Step `number` of the method and of the loop, on the images and widths that the method will draw."""
        rows = self.run.batch(number)
        drawn = [dict(zip(self.groups, widths.tolist(), strict=True)) for widths in self.run._drawn(number)]
        x, labels = self.images.inputs(rows), self.images.labels[rows]
        return lambda: step_of(self.run, number).losses, partial(self.loop.step, number, x, labels, drawn)
