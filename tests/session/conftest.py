"""Small networks on noise, sessions over them, and what holds their threads until a test lets go."""

import itertools
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import torch
from torch import nn

import explorer
from explorer.data import Data, Images, Normalize
from explorer.session import Session
from tests.session.fake_search import FakeRoad

WAIT = 300  # seconds: generous, only a hang reaches it


def tiny_model() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(1, 6, 3, padding=1),
        nn.BatchNorm2d(6),
        nn.ReLU(),
        nn.Conv2d(6, 8, 3, padding=1),
        nn.ReLU(),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(8, 3),
    )


def tiny_data() -> Data:
    draw = torch.Generator().manual_seed(1)

    def images(count: int) -> Images:
        pixels = torch.rand((count, 1, 8, 8), generator=draw)
        return Images(pixels, torch.arange(count) % 3, Normalize(0.5, 0.5))

    return Data("noise", ("a", "b", "c"), images(96), images(150), images(30))


class Block(nn.Module):
    def __init__(self, width: int, hidden: int) -> None:
        super().__init__()
        self.first = nn.Conv2d(width, hidden, 3, padding=1)
        self.norm = nn.BatchNorm2d(hidden)
        self.second = nn.Conv2d(hidden, width, 3, padding=1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x + self.second(torch.relu(self.norm(self.first(x))))


def residual() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(1, 8, 3, padding=1),
        nn.ReLU(),
        Block(8, 12),
        Block(8, 16),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(8, 3),
    )


def opened(model: nn.Module, data: Data | None = None) -> Iterator[Session]:
    """A session over a network on noise (or other data), whose threads have ended when the test is over."""
    made = Session(explorer.load(model, data=data or tiny_data()))
    yield made
    made.close()
    for part in (made._worker, made._desk, made._sweeps, made._instance_desk, made._run_desk):
        part.idle(WAIT)


@pytest.fixture(autouse=True)
def search_cache(monkeypatch, tmp_path):
    """Searches leave nothing in this user's own cache."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    return tmp_path / "pruning-explorer" / "searches"


@pytest.fixture
def tiny_session() -> Iterator[Session]:
    """Over two convolutions, one with batch norm."""
    yield from opened(tiny_model())


@pytest.fixture
def session() -> Iterator[Session]:
    """Over two residual blocks, with the dense network evaluated."""
    for made in opened(residual()):
        assert made.wait(WAIT)
        yield made


@pytest.fixture
def slow_training(session, monkeypatch):
    """Holds the training after its first step until it is set."""
    go_on = threading.Event()
    work = session._live.train

    def held(plan, recovery, check, progress, seed=0):
        def told(step):
            progress(step)
            assert go_on.wait(WAIT)

        work(plan, recovery, check, told, seed)

    monkeypatch.setattr(session._live, "train", held)
    yield go_on
    go_on.set()


@pytest.fixture
def slow_ranking(session, monkeypatch):
    """Holds every new ranking until it is set."""
    go_on = threading.Event()

    def held(*arguments, **keywords):
        assert go_on.wait(WAIT)
        return explorer.score(*arguments, **keywords)

    monkeypatch.setattr("explorer.session.choices.score", held)
    yield go_on
    go_on.set()


@pytest.fixture
def road(session, monkeypatch):
    """In place of what searches: it makes the steps that the test allows, and all of them are told."""
    made = FakeRoad()
    monkeypatch.setattr("explorer.session.runs.events", made)
    monkeypatch.setattr(session._run_desk, "_clock", itertools.count().__next__)
    yield made
    made.let()


def instance_progress(session):
    """How far the training of instance subnetworks is that was begun last."""
    known = [each for each in session.runs.progress.values() if each.method in ("manidp", "fbs")]
    return known[-1] if known else None


PROGRESS = {"search": lambda session: session.runs.progress.get("dmcp"), "instance_search": instance_progress}


def until(session: Session, true: Callable[[Any], object], trait: str = "search") -> None:
    """Wait until what the session tells of a search, of a training of subnetworks, or by another trait, is so."""
    told = threading.Event()
    told_by = PROGRESS.get(trait, lambda session: getattr(session, trait))
    trait = "runs" if trait in PROGRESS else trait

    def look(_change: object = None) -> None:
        if true(told_by(session)):
            told.set()

    session.observe(look, trait)
    look()
    assert told.wait(WAIT)
    session.unobserve(look, trait)
