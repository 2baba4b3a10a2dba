"""The training loop: events, snapshots, stop and resume, breakdowns, and that nothing of the user's is touched."""

import itertools
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

import explorer
from explorer.data import Images, identity
from explorer.methods import events, loop, search, search_key
from explorer.methods.loop import FRAMES, Event, Found, steps
from explorer.methods.report import BrokeDown, Report
from explorer.methods.snapshots import Snapshot
from explorer.records import TrainingCost
from tests.evaluate.toys import Toy, fingerprint, images_of
from tests.methods.searches import QUICK, graph_of, toy_network


@pytest.fixture(scope="module")
def network() -> explorer.Network:
    return toy_network()


def stopped_at(count: int) -> Iterator[bool]:
    """Goes on `count` times, then stops."""
    yield from itertools.repeat(False, count)
    yield from itertools.repeat(True)


def test_every_step_is_told(network: explorer.Network) -> None:
    told = list(events(network, graph_of(network), **QUICK))
    of = told[0].of
    assert of == 3 * 4
    assert [event.step for event in told] == [*range(of + 1), of]
    assert [event.phase for event in told] == ["", *["warm-up"] * 4, *["search"] * 8, "search"]
    assert [event.snapshot.step for event in told if event.snapshot] == [4, 8, 12]
    assert [event.found is not None for event in told] == [False] * (of + 1) + [True]
    spent = [event.training.macs for event in told]
    assert spent[0] == 0
    assert all(before < after for before, after in itertools.pairwise(spent[:-1]))
    assert told[-1].training.epochs == pytest.approx(spent[-1] / (64 * explorer.cost(graph_of(network)).macs))
    runs = [event.run for event in told if event.run]
    assert runs[-1].steps.tolist() == list(range(of + 1))
    assert [run.ended for run in runs] == [False] * (len(runs) - 1) + [True]
    assert set(told[3].losses) == {"full", "sub"}
    assert set(told[7].losses) == {"full", "sub", "chains", "cost"}


def alphas_of(event: Event) -> np.ndarray:
    assert event.run is not None
    return event.run.alphas


@pytest.mark.parametrize("stop_after", [2, 4, 7, 11])
def test_stopped_and_resumed_is_as_never_stopped(
    network: explorer.Network, tmp_path: Path, stop_after: int
) -> None:
    graph = graph_of(network)
    *_, straight = events(network, graph, **QUICK)
    answers = stopped_at(stop_after)
    *_, halted = events(network, graph, stop=lambda: next(answers), **QUICK)
    assert halted.found is None
    assert halted.snapshot is not None
    assert halted.snapshot.step == stop_after
    halted.snapshot.save(tmp_path / "search.pt")
    *_, resumed = events(network, graph, resume=Snapshot.load(tmp_path / "search.pt"), **QUICK)
    np.testing.assert_array_equal(alphas_of(resumed), alphas_of(straight))
    assert straight.found is not None
    assert resumed.found is not None
    assert resumed.found.plan == straight.found.plan
    assert resumed.training.macs == straight.training.macs
    for ours, theirs in zip(
        resumed.found.network.state_dict().values(),
        straight.found.network.state_dict().values(),
        strict=True,
    ):
        torch.testing.assert_close(ours, theirs, rtol=0, atol=0)


def test_same_seed_same_result_and_another_seed_another(network: explorer.Network) -> None:
    graph = graph_of(network)
    first, again, other = (list(events(network, graph, **{**QUICK, "seed": seed}))[-1] for seed in (0, 0, 1))
    np.testing.assert_array_equal(alphas_of(first), alphas_of(again))
    assert (alphas_of(first) != alphas_of(other)).any()


def test_nothing_of_the_users_is_touched(network: explorer.Network) -> None:
    before, state = fingerprint(network.model), torch.random.get_rng_state()
    found = search(network, **QUICK)
    assert fingerprint(network.model) == before
    assert torch.equal(torch.random.get_rng_state(), state)
    assert found.network is not network.model
    assert not found.network.training


def test_search_key_says_what_a_search_depends_on(network: explorer.Network) -> None:
    graph = graph_of(network)
    key = search_key(network, graph, **QUICK)
    assert key == search_key(network, graph, **QUICK)
    assert key != search_key(network, graph, **{**QUICK, "target": 0.5})
    assert key != search_key(toy_network(images_of(64, seed=3)), graph, **QUICK)


def test_a_snapshot_of_something_else_is_refused(network: explorer.Network) -> None:
    graph = graph_of(network)
    kept = next(event.snapshot for event in events(network, graph, **QUICK) if event.snapshot)
    with pytest.raises(explorer.BadInput, match="another search"):
        events(network, graph, resume=kept, **{**QUICK, "seed": 5})
    with pytest.raises(explorer.BadInput, match="expected the snapshot"):
        events(network, graph, resume="search.pt", **QUICK)  # type: ignore[arg-type]


def test_a_file_that_is_no_snapshot_is_refused(tmp_path: Path) -> None:
    (tmp_path / "text.pt").write_text("hello")
    torch.save({"step": 1}, tmp_path / "part.pt")
    torch.save(nn.Linear(1, 1), tmp_path / "module.pt")  # would run code if it were believed
    Snapshot("dmcp", "key", 2, 6, 1.0, 1, {"rates": torch.ones(64)}).save(tmp_path / "flipped.pt")
    content = bytearray((tmp_path / "flipped.pt").read_bytes())
    content[content.index(torch.ones(64).numpy().tobytes()) + 2] ^= 1
    (tmp_path / "flipped.pt").write_bytes(content)
    for name in ("text.pt", "part.pt", "module.pt", "flipped.pt"):
        with pytest.raises(explorer.BadInput, match="not a snapshot"):
            Snapshot.load(tmp_path / name)
    with pytest.raises(explorer.BadInput, match="cannot be read"):
        Snapshot.load(tmp_path / "none.pt")


def test_a_snapshot_that_cannot_be_written_leaves_the_former(
    network: explorer.Network, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept = next(event.snapshot for event in events(network, graph_of(network), **QUICK) if event.snapshot)
    kept.save(tmp_path / "search.pt")
    before = (tmp_path / "search.pt").read_bytes()

    def full(*_args: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(torch, "save", full)
    with pytest.raises(explorer.ExplorerError, match="No space left"):
        kept.save(tmp_path / "search.pt")
    assert (tmp_path / "search.pt").read_bytes() == before
    assert list(tmp_path.iterdir()) == [tmp_path / "search.pt"]


def test_a_loss_that_is_not_finite_keeps_the_last_sound_snapshot() -> None:
    network = toy_network()
    told: list[Event] = []
    search_to_come = events(network, graph_of(network), **{**QUICK, "rate": 1e12, "warm_up": 3})
    with pytest.raises(BrokeDown, match=r"broke down after step \d+ of .* Try a lower rate") as caught:
        told.extend(search_to_come)
    kept = [event.snapshot for event in told if event.snapshot]
    assert caught.value.snapshot is (kept[-1] if kept else None)


class Scripted:
    """A training, and its algorithm, without a network: six steps, two an epoch, that take half their planned seconds.

    `breaks`: the step that breaks down; `unsound`: after so many steps there is nothing sound to snapshot.
    """

    per_epoch, epoch_macs = 2, 100
    method = SimpleNamespace(name="scripted")

    def __init__(self, breaks: int | None = None, unsound: int | None = None, of: int = 6) -> None:
        self.of, self.breaks, self.unsound = of, breaks, unsound
        self.seconds, self.done, self.looks = 0.0, 0, 0
        self.algorithm = self

    def planned(self, done: int) -> float:
        return done + 2 * max(0, done - 4)

    def phase(self, _number: int) -> str:
        return "search"

    def step(self, number: int) -> Report:
        if number == self.breaks:
            raise BrokeDown("the loss is nan.")
        self.seconds += (self.planned(number + 1) - self.planned(number)) / 2
        self.done = number + 1
        report = Report()
        report.loss("full", 1.0)
        report.ran(1, 10)
        return report

    def content(self) -> dict[str, Any]:
        if self.done == self.unsound:
            raise BrokeDown("the weights are no longer finite numbers.")
        return {"done": self.done}

    def look(self, *_: object) -> None:
        self.looks += 1

    def finish(self, training: TrainingCost) -> Found:
        return Found("scripted", None, None, None, training)  # type: ignore[arg-type]

    def told(
        self, done: int = 0, seconds: float = 0.0, stop: int = -1, last: Snapshot | None = None
    ) -> Iterator[Event]:
        """The loop's events from step `done`, which took `seconds`; stopped at step `stop`."""
        run: Any = self
        self.done = done
        if done and last is None:
            last = Snapshot("scripted", "key", done, self.of, seconds, 0, {})
        return steps(run, "key", last, lambda: self.done == stop)


@pytest.mark.parametrize("done", [0, 4])
def test_what_is_left_is_told_from_what_it_took_so_far(monkeypatch: pytest.MonkeyPatch, done: int) -> None:
    """In proportion to what the steps are planned to take, whether or not the first ones were done before a stop."""
    run = Scripted()
    monkeypatch.setattr(loop, "time", SimpleNamespace(perf_counter=lambda: run.seconds))
    told = []
    for event in run.told(done, seconds=done / 2):
        told.append((event.step, event.training.seconds, event.seconds_left))
        run.seconds += 100  # what is done with an event is no part of the training
    by_hand = [(1, 0.5, 4.5), (2, 1, 4), (3, 1.5, 3.5), (4, 2, 3), (5, 3.5, 1.5), (6, 5, 0), (6, 5, 0)]
    assert told == ([(0, 0, None), *by_hand] if not done else by_hand[4:])


def test_a_long_run_has_few_frames_and_a_snapshot_per_epoch() -> None:
    run = Scripted(of=1001)
    snapshots = [event.snapshot.step for event in run.told() if event.snapshot]
    assert snapshots == list(range(2, 1001, 2))
    assert FRAMES - 10 <= run.looks <= FRAMES + 2


@pytest.mark.parametrize(
    ("breakage", "stop", "kept"),
    [
        ({"breaks": 1}, -1, 0),
        ({"breaks": 2}, -1, 2),
        ({"breaks": 3}, -1, 2),
        ({"breaks": 5}, -1, 4),
        ({"unsound": 2}, -1, 0),
        ({"unsound": 4}, -1, 2),
        ({"unsound": 1}, 1, 0),
        ({"unsound": 5}, 5, 4),
    ],
    ids=str,
)
def test_what_breaks_down_carries_the_last_sound_snapshot(
    breakage: dict[str, int], stop: int, kept: int
) -> None:
    """A step, the snapshot at an epoch's end, or the one at a stop; `kept` is the step of the last sound one."""
    told: list[Event] = []
    with pytest.raises(BrokeDown, match=f"Its first {kept} steps" if kept else "finite|nan") as caught:
        told.extend(Scripted(**breakage).told(stop=stop))
    snapshots = [event.snapshot for event in told if event.snapshot]
    assert [snapshot.step for snapshot in snapshots] == list(range(2, kept + 1, 2))
    assert caught.value.snapshot is (snapshots[-1] if kept else None)


@pytest.mark.parametrize(("breakage", "stop"), [({"breaks": 4}, -1), ({"unsound": 5}, 5)], ids=str)
def test_what_breaks_down_soon_after_it_was_resumed_carries_what_it_was_resumed_from(
    breakage: dict[str, int], stop: int
) -> None:
    resumed = Snapshot("scripted", "key", 4, 6, 2.0, 40, {})
    with pytest.raises(BrokeDown, match="Its first 4 steps are kept") as caught:
        list(Scripted(**breakage).told(4, 2.0, stop, resumed))
    assert caught.value.snapshot is resumed


def test_an_interrupt_keeps_the_checkpoint_and_the_next_call_goes_on(
    network: explorer.Network, tmp_path: Path
) -> None:
    file = tmp_path / "search.pt"

    def interrupt(event: Event) -> None:
        if event.step == 6:
            raise KeyboardInterrupt

    with pytest.raises(explorer.Interrupted, match="keeps its first 4 of 12 steps"):
        search(network, progress=interrupt, checkpoint=file, **QUICK)
    reached: list[int] = []
    found = search(network, progress=lambda event: reached.append(event.step), checkpoint=file, **QUICK)
    assert reached[0] == 5
    assert not file.exists()
    assert found.plan == search(network, **QUICK).plan


def test_an_interrupt_without_a_checkpoint_says_what_to_do(network: explorer.Network) -> None:
    def interrupt(_event: Event) -> None:
        raise KeyboardInterrupt

    with pytest.raises(explorer.Interrupted, match="checkpoint="):
        search(network, progress=interrupt, **QUICK)


class Frozen(nn.Module):
    """Everything that the classifier reads is normalised over its channels: nothing can be narrowed."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(1, 4, 3)
        self.classifier = nn.Linear(4, 4)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.classifier(torch.softmax(self.conv(x).mean((2, 3)), 1))


def unlabelled() -> explorer.Network:
    return explorer.load(Toy(), data=images_of(32).pixels)


@pytest.mark.parametrize("name", ["dmcp"])
@pytest.mark.parametrize(
    ("network", "settings", "message"),
    [
        (lambda: explorer.load(Toy(), example=torch.zeros(1, 1, 6, 6)), {}, "without training images"),
        (unlabelled, {}, "training images"),
        (lambda: toy_network(Images(images_of(64).pixels, None, identity)), {}, "labels"),
        (lambda: toy_network(images_of(10)), {}, "batch has 16 images, and there are 10"),
        (lambda: toy_network(model=Frozen()), {}, "nothing to search"),
        (toy_network, {"target": 0.01}, "out of reach"),
        (toy_network, {"target": 1.5}, "target must be a number from 0.01 to 1"),
        (toy_network, {"target": "half"}, "target must be a number"),
        (toy_network, {"epochs": 0}, "epochs must be a whole number, at least 1"),
        (toy_network, {"cost": "flops"}, "no cost 'flops'"),
        (toy_network, {"tempo": 1}, "no setting of dmcp 'tempo'"),
        (toy_network, {"held_out": 0.9}, "training images for the chains|training images for the weights"),
    ],
)
def test_what_cannot_be_searched_is_refused_before_any_work(name, network, settings, message) -> None:  # type: ignore[no-untyped-def]
    loaded = network()
    with pytest.raises(explorer.ExplorerError, match=message):
        events(loaded, graph_of(loaded), name, **{**QUICK, **settings})


def test_an_unknown_method_and_what_is_no_network_are_refused(network: explorer.Network) -> None:
    with pytest.raises(explorer.UnknownName, match="dmcp"):
        search(network, "dmpc")
    with pytest.raises(explorer.BadInput, match=r"explorer\.load"):
        search(network.model, **QUICK)  # type: ignore[arg-type]


def test_frozen_weights_leave_nothing_to_train() -> None:
    network = toy_network(model=Toy().requires_grad_(False))
    with pytest.raises(explorer.BadInput, match="requires_grad_"):
        events(network, graph_of(network), **QUICK)


@pytest.mark.parametrize("method", ["dmcp", "manidp"])
def test_however_many_epochs_a_training_begins_at_once(network: explorer.Network, method: str) -> None:
    """Nothing is counted step by step beforehand: 10**15 epochs would take years of it."""
    settings = {"epochs": 10**15, "batch": 16}
    first, second = itertools.islice(events(network, graph_of(network), method, **settings), 2)
    assert (first.step, second.step) == (0, 1)
    assert second.seconds_left is not None
    assert second.seconds_left > 10**9
