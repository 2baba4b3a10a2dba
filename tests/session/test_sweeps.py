"""The desk of sweeps: what it tells, in which order, and that nothing comes after the end."""

import threading

import pytest
import torch

import explorer
from explorer.data import Data
from explorer.errors import BadInput, ExplorerError, UnknownName
from explorer.evaluate.sweeps import bands, sensitivity
from explorer.session.sweeps import SweepDesk
from explorer.values import Recovery, Scores
from explorer.zoo import Network
from tests.evaluate.toys import Toy, images_of, livened

LONG = 60  # seconds that a test waits before it fails


class Listener:
    """A desk over a small network, and all that it told."""

    def __init__(self, pause=lambda: None, data: bool = True) -> None:
        model = livened(Toy()).eval()
        images = Data("toys", ("a", "b", "c", "d"), images_of(40, seed=1), images_of(60), None)
        example = torch.zeros(1, 1, 6, 6)
        self.network = Network("toy", model, example, images if data else None, lambda x: x, None)
        self.graph = explorer.trace(model, example)
        self.scores = explorer.score(model, self.graph, "l1")
        self.lock = threading.RLock()
        self.told: list[tuple[str, object, bool]] = []
        self.errors: list[BaseException] = []
        self.first = threading.Event()
        self.desk = SweepDesk(self.network, self.graph, self._tell, self.errors.append, pause, self.lock)

    def _tell(self, kind, found, running):
        self.told.append((kind, found, running))
        if found:
            self.first.set()


@pytest.fixture
def listener():
    made = Listener()
    yield made
    made.desk.close()


def test_sensitivity_is_told_group_by_group_and_ends(listener):
    listener.desk.start("sensitivity", listener.scores, "macs", Recovery())
    assert listener.desk.idle(LONG)
    network, graph = listener.network, listener.graph
    expected = dict(sensitivity(network, graph, network.data, listener.scores, Recovery()))
    assert [len(found) for _kind, found, _running in listener.told] == [0, 1, 2, 2]
    assert [running for _kind, _found, running in listener.told] == [True, True, True, False]
    assert listener.told[-1] == ("sensitivity", expected, False)
    assert listener.errors == []


def test_bands_are_those_of_the_cost_and_recovery_asked_for(listener):
    listener.desk.start("bands", listener.scores, "params", Recovery(bn=True))
    assert listener.desk.idle(LONG)
    network, graph = listener.network, listener.graph
    expected = tuple(bands(network, graph, network.data, listener.scores, "params", Recovery(bn=True)))
    assert listener.told[-1] == ("bands", expected, False)


def gated():
    """A listener whose sweep stops at a gate after its first result."""
    gate = threading.Event()
    made: list[Listener] = []

    def pause() -> None:
        if made and made[0].first.is_set():
            assert gate.wait(LONG)

    made.append(Listener(pause))
    return made[0], gate


def test_after_stop_it_says_once_more_what_it_found_and_then_nothing():
    listener, gate = gated()
    listener.desk.start("bands", listener.scores, "macs", Recovery())
    assert listener.first.wait(LONG)
    listener.desk.stop()
    told = list(listener.told)
    assert told[-1] == ("bands", told[-2][1], False)
    gate.set()
    assert listener.desk.idle(LONG)
    assert listener.told == told
    listener.desk.stop()
    assert listener.told == told
    listener.desk.close()


def test_a_new_sweep_takes_the_place_of_the_last():
    listener, gate = gated()
    listener.desk.start("bands", listener.scores, "macs", Recovery())
    assert listener.first.wait(LONG)
    listener.desk.start("sensitivity", listener.scores, "macs", Recovery())
    gate.set()
    assert listener.desk.idle(LONG)
    kinds = [kind for kind, _found, _running in listener.told]
    assert kinds == ["bands"] * kinds.count("bands") + ["sensitivity"] * kinds.count("sensitivity")
    assert [t[0] for t in listener.told if not t[2]] == ["bands", "sensitivity"]
    listener.desk.close()


def test_it_waits_while_there_is_something_better_to_do():
    gate = threading.Event()
    asked = threading.Event()

    def pause() -> None:
        asked.set()
        assert gate.wait(LONG)

    listener = Listener(pause)
    listener.desk.start("sensitivity", listener.scores, "macs", Recovery())
    assert asked.wait(LONG)
    assert listener.told == [("sensitivity", {}, True)]
    gate.set()
    assert listener.desk.idle(LONG)
    assert listener.told[-1][2] is False
    listener.desk.close()


def test_what_goes_wrong_ends_the_sweep_and_is_reported(listener):
    wrong = Scores("hand", {"no such group": [1.0]}, comparable=False)
    listener.desk.start("bands", wrong, "macs", Recovery())
    assert listener.desk.idle(LONG)
    assert listener.told == [("bands", (), True), ("bands", (), False)]
    assert [type(error) for error in listener.errors] == [BadInput]


def test_refusals(listener):
    with pytest.raises(UnknownName, match="Known: sensitivity, bands"):
        listener.desk.start("band", listener.scores, "macs", Recovery())
    without = Listener(data=False)
    with pytest.raises(BadInput, match="load the network with data"):
        without.desk.start("bands", without.scores, "macs", Recovery())
    without.desk.close()
    listener.desk.close()
    with pytest.raises(ExplorerError, match="closed"):
        listener.desk.start("bands", listener.scores, "macs", Recovery())
    assert listener.told == []
