"""`explorer.recover` with a repair: the same network as the repair and the recovery one after the other."""

import pytest
import torch

import explorer
from explorer.data import Data, Images, identity
from explorer.errors import BadInput, Interrupted, UnknownName
from tests.evaluate.toys import fingerprint
from tests.networks import IMAGE
from tests.repair.nets import half_plan, images_like, plain

TRAIN = Images(images_like(IMAGE).pixels, torch.arange(64) % 4, identity)


@pytest.mark.parametrize("how", ["none", "merge", "refit", "refit_sequential"])
@pytest.mark.parametrize(("bn", "epochs"), [(False, 0), (True, 0), (True, 1)])
def test_a_repair_comes_first(how: str, bn: bool, epochs: int) -> None:
    model = plain().train()
    graph = explorer.trace(model, IMAGE)
    plan, before = half_plan(graph), fingerprint(model)
    first = explorer.repair(model, graph, plan, how, TRAIN)
    expected = explorer.recover(first, TRAIN, bn=bn, epochs=epochs)
    whole = first if how == "none" else model
    found = explorer.recover(whole, TRAIN, bn=bn, epochs=epochs, repair=how, graph=graph, plan=plan)
    assert not found.training
    for key, value in expected.state_dict().items():
        assert torch.equal(found.state_dict()[key], value), key
    assert fingerprint(model) == before


def test_what_a_repair_needs_is_said() -> None:
    model = plain()
    graph = explorer.trace(model, IMAGE)
    plan = half_plan(graph)
    with pytest.raises(BadInput, match="pass the network before the cut as model, and graph= and plan="):
        explorer.recover(model, TRAIN, repair="refit")
    with pytest.raises(UnknownName, match="no repair 'heal'"):
        explorer.recover(model, TRAIN, repair="heal", graph=graph, plan=plan)  # type: ignore[arg-type]
    judged = Data("toy", ("0", "1", "2", "3"), None, TRAIN, None)
    with pytest.raises(BadInput, match="Recovery needs training images, and these data have none"):
        explorer.recover(model, judged, bn=False, repair="refit", graph=graph, plan=plan)
    assert explorer.recover(model, None, bn=False, repair="merge", graph=graph, plan=plan) is not model


class Mine(Exception):
    pass


class Stop:
    """Lets a number of calls pass, then stops, or raises."""

    def __init__(self, after: int, error: type[BaseException] | None) -> None:
        self._left, self._error = after, error

    def __call__(self) -> bool:
        self._left -= 1
        if self._left < 0 and self._error is not None:
            raise self._error("enough")
        return self._left < 0


@pytest.mark.parametrize("how", ["refit", "refit_sequential"])
def test_a_repair_can_be_stopped_and_interrupted(how: str) -> None:
    model = plain()
    graph = explorer.trace(model, IMAGE)
    plan, before = half_plan(graph), fingerprint(model)
    for error, told, words in (
        (None, Interrupted, "Recovery was stopped; the network stays as it was"),
        (KeyboardInterrupt, Interrupted, "Recovery was interrupted"),
        (Mine, Mine, "enough"),
    ):
        for after in range(4):
            with pytest.raises(told, match=words):
                explorer.recover(
                    model, TRAIN, bn=False, repair=how, graph=graph, plan=plan, stop=Stop(after, error)
                )
    assert fingerprint(model) == before
