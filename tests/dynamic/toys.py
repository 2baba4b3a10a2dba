"""Networks with sites of every kind, live batch norm, and images that they can be told apart by."""

import torch
from torch import Tensor, nn

import explorer
from explorer.data import Data
from explorer.dynamic.heads import SaliencyModule
from explorer.dynamic.network import Dynamic
from explorer.dynamic.sites import find_sites
from explorer.methods.manidp import inputs_of
from tests.evaluate.toys import CLASSES, images_of, livened


def _conv(inputs: int, outputs: int, size: int = 3, stride: int = 1, groups: int = 1) -> nn.Sequential:
    conv = nn.Conv2d(inputs, outputs, size, stride, padding=size // 2, groups=groups, bias=False)
    return nn.Sequential(conv, nn.BatchNorm2d(outputs))


class Block(nn.Module):
    def __init__(self, inputs: int, outputs: int, stride: int = 1) -> None:
        super().__init__()
        self.a, self.b = _conv(inputs, outputs, stride=stride), _conv(outputs, outputs)
        same = inputs == outputs and stride == 1
        self.shortcut = nn.Identity() if same else _conv(inputs, outputs, 1, stride)

    def forward(self, x: Tensor) -> Tensor:
        return torch.relu(self.b(torch.relu(self.a(x))) + self.shortcut(x))


class Residual(nn.Module):
    """A stem, a block over an identity and one over a projection: sites at the blocks' four convolutions."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = _conv(1, 6)
        self.one, self.two = Block(6, 6), Block(6, 8, stride=2)
        self.classifier = nn.Linear(8, CLASSES)

    def forward(self, x: Tensor) -> Tensor:
        x = self.two(self.one(torch.relu(self.stem(x))))
        return self.classifier(x.mean((2, 3)))


class Inverted(nn.Module):
    """MobileNetV2's block: a 1 x 1 expansion feeds only the depthwise convolution, a projection adds to the sum."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = _conv(1, 4)
        self.expand, self.depthwise, self.project = _conv(4, 8, 1), _conv(8, 8, groups=8), _conv(8, 4, 1)
        self.act = nn.ReLU6()
        self.head = _conv(4, 6, 1)
        self.classifier = nn.Linear(6, CLASSES)

    def forward(self, x: Tensor) -> Tensor:
        x = self.act(self.stem(x))
        x = x + self.project(self.act(self.depthwise(self.act(self.expand(x)))))
        return self.classifier(self.act(self.head(x)).mean((2, 3)))


class Chain(nn.Module):
    """A plain chain; behind its second layer a sigmoid, which turns dropped channels into one half."""

    def __init__(self) -> None:
        super().__init__()
        self.one, self.two, self.three = _conv(1, 5), _conv(5, 6), _conv(6, 7)
        self.four = _conv(7, 4)
        self.classifier = nn.Linear(4, CLASSES)

    def forward(self, x: Tensor) -> Tensor:
        x = torch.sigmoid(self.two(torch.relu(self.one(x))))
        x = torch.relu(self.four(torch.relu(self.three(x))))
        return self.classifier(x.mean((2, 3)))


class Bare(nn.Module):
    """Two convolutions without batch norm."""

    def __init__(self) -> None:
        super().__init__()
        self.one, self.two = nn.Conv2d(1, 4, 3, padding=1), nn.Conv2d(4, 5, 3, padding=1)
        self.classifier = nn.Linear(5, CLASSES)

    def forward(self, x: Tensor) -> Tensor:
        return self.classifier(torch.relu(self.two(torch.relu(self.one(x)))).mean((2, 3)))


class Shuffled(nn.Module):
    """Parallel towers that are concatenated, a grouped convolution, and pre-activation around a sum."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.left, self.right = _conv(1, 4), _conv(4, 4), _conv(4, 8, 1)
        self.grouped, self.last = _conv(12, 8, groups=4), _conv(8, 8)
        self.classifier = nn.Linear(8, CLASSES)

    def forward(self, x: Tensor) -> Tensor:
        x = torch.relu(self.stem(x))
        x = torch.relu(torch.cat([self.left(x), self.right(x)], 1))
        y = self.grouped(x)
        return self.classifier(torch.relu(y + self.last(torch.relu(y))).mean((2, 3)))


MODELS = {"residual": Residual, "inverted": Inverted, "chain": Chain, "shuffled": Shuffled}


def network_of(kind: str, train: int = 64) -> explorer.Network:
    """Loaded, with live batch norm and images of four classes; weights are always the same."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = livened({**MODELS, "bare": Bare}[kind]())
    data = Data("toys", tuple("abcd"), images_of(train, 1), images_of(40, 2), None)
    return explorer.load(model.eval(), data=data)


def gated(network: explorer.Network, level: float = 0.6, seed: int = 0) -> Dynamic:
    """ManiDP's network, untrained: saliencies that differ between images, thresholds from the training images."""
    graph = explorer.trace(network.model, network.example)
    sites = find_sites(network.model, graph, network.example, normed=True)
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        heads = [SaliencyModule(inputs_of(network.model, site), site.size) for site in sites.every]
        for head in heads:
            nn.init.normal_(head.excite.weight, std=0.6)
    dynamic = Dynamic(network.name, network.model, graph, sites, "manidp", heads, level).eval()
    assert network.data is not None
    assert network.data.train is not None
    with torch.no_grad():
        dynamic.calibrate(dynamic.passed(network.data.train.inputs(), 1.0).saliency)
    return dynamic
