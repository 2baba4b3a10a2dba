"""The training road: events, snapshots, stop and resume, breakdowns, and that nothing of the user's is touched."""

import itertools
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

import explorer
from explorer.data import Images, identity
from explorer.methods import METHODS, events, search, search_key
from explorer.methods.road import BrokeDown, Event, Snapshot
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


def test_the_cost_is_that_of_the_forwards(network: explorer.Network) -> None:
    """A warm-up step: the full, the least and two drawn networks; none costs more than the full one."""
    told = list(itertools.islice(events(network, graph_of(network), **QUICK), 2))
    dense = explorer.cost(graph_of(network)).macs
    assert 16 * dense < told[1].training.macs < 16 * 4 * dense


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
        resumed.found.supernet.state_dict().values(),
        straight.found.supernet.state_dict().values(),
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
    assert found.supernet is not network.model
    assert not found.supernet.training


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
    for name in ("text.pt", "part.pt", "module.pt"):
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
    steps = events(network, graph_of(network), **{**QUICK, "rate": 1e12, "warm_up": 3})
    with pytest.raises(BrokeDown, match=r"broke down after step \d+ of .* Try a lower rate") as caught:
        told.extend(steps)
    kept = [event.snapshot for event in told if event.snapshot]
    assert caught.value.snapshot is (kept[-1] if kept else None)
    for snapshot in kept:
        assert all(torch.isfinite(each).all() for each in snapshot.content["weights"].values())


def test_an_interrupt_keeps_the_checkpoint_and_the_next_call_goes_on(
    network: explorer.Network, tmp_path: Path
) -> None:
    file = tmp_path / "search.pt"

    def interrupt(event: Event) -> None:
        if event.step == 6:
            raise KeyboardInterrupt

    with pytest.raises(explorer.Interrupted, match="keeps its first 4 of 12 steps"):
        search(network, progress=interrupt, checkpoint=file, **QUICK)
    steps: list[int] = []
    found = search(network, progress=lambda event: steps.append(event.step), checkpoint=file, **QUICK)
    assert steps[0] == 5
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


@pytest.mark.parametrize("name", METHODS)
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
