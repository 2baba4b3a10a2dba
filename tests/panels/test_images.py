"""The images tab on a small real network, so that maps and answers can be computed by hand."""

import re
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from bokeh.events import Tap
from torch import nn

import explorer
from explorer.data import Data, Images, identity
from explorer.figures import class_changes, gallery
from explorer.panels.images.pane import NONE, ImagesPane
from explorer.records import Outcomes
from explorer.strings import Strings
from explorer.values import Estimate, Plan, Recovery, full_plan
from tests.panels.fake_session import FakeSession

STRINGS = Strings("en")
CLASSES = ("shirt", "coat", "bag")
# image                   0  1  2  3  4  5  6  7
LABELS = np.array(       [1, 0, 0, 1, 1, 0, 2, 2])  # fmt: skip
BEFORE = np.array(       [1, 0, 1, 1, 0, 0, 2, 2], dtype=np.int16)  # fmt: skip
NOW = np.array(          [0, 0, 0, 2, 1, 1, 2, 2], dtype=np.int16)  # fmt: skip
BROKEN, MENDED = [5, 0, 3], [2, 4]  # by class, then by position
TIMEOUT = 60


class Net(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Conv2d(1, 4, 3)
        self.second = nn.Conv2d(4, 5, 3)
        self.classifier = nn.Linear(5, 3)

    def forward(self, images):
        maps = self.second(self.first(images).relu()).relu()
        return self.classifier(maps.mean((2, 3)))


class Session(FakeSession):
    """The fake session with a real network, of whose first layer's channels number 1 and 2 are removed."""

    def __init__(self) -> None:
        super().__init__(scored=False)
        torch.manual_seed(0)
        model = Net().eval()
        pixels = torch.randint(0, 255, (len(LABELS), 1, 8, 8), dtype=torch.uint8)
        images = Images(pixels, torch.from_numpy(LABELS), identity)
        data = Data("toys", CLASSES, None, images, None)
        self.network = SimpleNamespace(name="net", model=model, data=data)
        self.graph = explorer.trace(model, torch.zeros(1, 1, 8, 8))
        first, second = (self.graph.layers[place].out_units[0, 0] for place in (0, 1))
        keep = {self.graph.groups[first].id: [True, False, False, True]}
        keep[self.graph.groups[second].id] = [True] * 5
        self.plan = Plan(self.graph.key, keep)
        self.reference_plan = full_plan(self.graph)
        self.layer = "first"

    def pruned(self):
        return explorer.shrink(self.network.model, self.graph, self.plan)


@pytest.fixture
def session():
    return Session()


@pytest.fixture
def pane(session):
    session.outcomes = Outcomes(BEFORE, NOW, LABELS)
    pane = ImagesPane(session, STRINGS)
    settle(pane)
    yield pane
    pane.close()


def settle(pane):
    assert pane.worker.idle(TIMEOUT)
    assert pane._session.error == ""


def cells(pane):
    """The images that the gallery shows."""
    return [
        int(name.split()[1])
        for name in pane.document._model.select_one({"name": "gallery-cells"}).data["name"]
    ]


def text(widget):
    return re.sub("<[^>]*>", "", widget.value)


def seen(widget):
    return "pe-shut" not in widget._dom_classes


def test_the_sentence_counts_both_ways(pane):
    assert "Broken: 3 of 8 images. Mended: 2." in text(pane.sentence)
    assert "against the dense network" in text(pane.sentence)


def test_broken_images_are_shown_by_class_and_mended_ones_on_demand(pane):
    assert cells(pane) == BROKEN
    assert text(pane.where) == "1–3 of 3"
    pane.direction.value = "mended"
    settle(pane)
    assert cells(pane) == MENDED


def test_a_class_filters_from_the_list_and_from_the_chart(pane):
    pane.of_class.value = 1
    settle(pane)
    assert cells(pane) == [0, 3]
    rows = class_changes.columns(pane._flips.classes, CLASSES, STRINGS)["rows"]
    chart = pane.document._model.select_one({"name": "class-changes"})
    tap = Tap(chart, x=30, y=rows["middle"][2])
    pane._changes.root._trigger_event(tap)
    settle(pane)
    assert pane.of_class.value == 2
    assert cells(pane) == []
    assert text(pane.where) == "0 of 0"
    pane._changes.root._trigger_event(tap)  # the same class again: all classes
    settle(pane)
    assert pane.of_class.value == NONE
    assert cells(pane) == BROKEN


def test_pages_are_turned_by_buttons_and_hold_what_fits(pane):
    pane._range.end = gallery.SIDE  # one image beside the other does not fit, three below do
    pane.direction.value = "broken"
    settle(pane)
    assert cells(pane) == BROKEN
    many = np.arange(8) % 2
    pane._session.outcomes = Outcomes(many.astype(np.int16), (many + 1).astype(np.int16), many)
    settle(pane)
    assert cells(pane) == [0, 2, 4]
    assert pane.before.disabled
    pane.after.click()
    settle(pane)
    assert cells(pane) == [6, 1, 3]
    pane.after.click()
    settle(pane)
    assert cells(pane) == [5, 7]
    assert pane.after.disabled
    assert text(pane.where) == "7–8 of 8"
    pane.before.click()
    settle(pane)
    assert cells(pane) == [6, 1, 3]


def test_a_tap_and_the_list_look_into_an_image(pane):
    left = gallery.CELL[0] + 3
    pane._gallery.root._trigger_event(Tap(pane._gallery.root, x=left, y=gallery.HEIGHT - gallery.TITLE - 5))
    settle(pane)
    assert text(pane.title) == "Image 0: coat"
    assert (seen(pane.look), seen(pane._body), seen(pane._choice)) == (True, False, False)
    pane.after.click()
    settle(pane)
    assert text(pane.title) == "Image 3: coat"
    assert text(pane.where) == "3 of 3"
    pane.back.click()
    assert (seen(pane.look), seen(pane._body)) == (False, True)
    labels = [label for label, _image in pane.opener.options]
    assert labels == [
        "look into…",
        "Image 5: shirt → coat",
        "Image 0: coat → shirt",
        "Image 3: coat → bag",
    ]
    pane.opener.value = 5
    settle(pane)
    assert text(pane.title) == "Image 5: shirt"


def test_the_list_offers_the_images_of_all_pages(pane):
    pane._range.end = gallery.SIDE
    many = np.arange(8) % 2
    pane._session.outcomes = Outcomes(many.astype(np.int16), (many + 1).astype(np.int16), many)
    settle(pane)
    assert cells(pane) == [0, 2, 4]
    assert sorted(image for _label, image in pane.opener.options) == [NONE, *range(8)]
    pane.opener.value = 7
    settle(pane)
    assert text(pane.title) == "Image 7: coat"


def test_the_focus_goes_where_the_way_on_is(pane, monkeypatch):
    focused = []
    for name in ("back", "opener"):
        monkeypatch.setattr(getattr(pane, name), "focus", lambda name=name: focused.append(name))
    pane.opener.value = 5
    assert focused == ["back"]
    pane.after.click()  # the button that was pressed keeps it
    assert focused == ["back"]
    pane.back.click()
    assert focused == ["back", "opener"]


def test_an_image_that_is_mended_meanwhile_stays_open_and_says_so(pane, session):
    pane.opener.value = 5
    settle(pane)
    now = NOW.copy()
    now[5] = 0
    session.outcomes = Outcomes(BEFORE, now, LABELS)
    settle(pane)
    assert text(pane.title) == "Image 5: shirt"
    assert text(pane.where) == "not among 2"
    assert pane.before.disabled
    pane.after.click()
    settle(pane)
    assert text(pane.title) == "Image 0: coat"


def test_a_look_shows_the_answers_and_maps_of_both_networks(pane, session):
    pane.opener.value = 3
    settle(pane)
    _job, look = pane._look
    model = session.network.model
    inputs = session.network.data.explore.inputs(slice(3, 4))
    with torch.no_grad():
        maps = model.first(inputs)[0]
        kept = maps.clone()
        kept[[1, 2]] = 0  # a removed channel of the first layer is as if it were zero
        dense = model(inputs)[0].softmax(0)
        now = model.classifier(model.second(kept.relu()).relu().mean((1, 2))).softmax(0)
    assert [label for label, _share in look.dense] == dense.argsort(descending=True).tolist()
    assert [share for _label, share in look.dense] == pytest.approx(
        dense.sort(descending=True).values.tolist(), abs=1e-5
    )
    assert [label for label, _share in look.now] == now.argsort(descending=True).tolist()
    assert [share for _label, share in look.now] == pytest.approx(
        now.sort(descending=True).values.tolist(), abs=1e-5
    )
    assert look.maps.before == pytest.approx(maps.numpy(), abs=1e-5)
    assert look.maps.kept.tolist() == [True, False, False, True]
    strongest = maps.abs().mean((1, 2)).argsort(descending=True).tolist()
    assert re.findall("<b>(\\d+)</b>", pane.look.value) == [str(channel) for channel in strongest]
    assert pane.look.value.count("pe-gone") == 2
    gone = [channel for channel in strongest if channel in (1, 2)]
    assert f"Removed of these: {gone[0]}, {gone[1]}." in pane.summary.value


def test_another_layer_is_looked_into_when_it_is_selected(pane, session):
    pane.opener.value = 3
    settle(pane)
    session.layer = "second"
    settle(pane)
    assert pane._look[1].maps.before.shape == (5, 4, 4)
    assert "second: 5 strongest of 5 feature maps" in text(pane.look)


@pytest.mark.parametrize("layer", ["first", ""])
def test_a_look_is_never_into_a_network_that_the_session_has_left(pane, session, layer):
    session.layer = layer
    cut = session.plan

    def pruned():
        """The session goes on to the dense network before the pruned one is taken."""
        del session.pruned
        session.plan = full_plan(session.graph)
        return session.pruned()

    session.pruned = pruned
    pane.opener.value = 3
    settle(pane)
    job, look = pane._look
    assert job.cut.plan == session.plan != cut
    assert look.now == look.dense
    assert "pe-images-old" not in pane._dom_classes
    session.plan = cut
    settle(pane)
    job, look = pane._look
    assert job.cut.plan == cut
    assert look.now != look.dense


def test_another_recovery_is_another_look(pane, session):
    pane.opener.value = 3
    settle(pane)
    first = pane._look[1]
    taken = []
    with torch.no_grad():
        session.network.model.classifier.bias += torch.tensor([0.0, 0.0, 1.0])  # as if it were recovered
    session.pruned = lambda: taken.append(session.request) or Session.pruned(session)
    session.recovery = Recovery()
    session.request = replace(session.request, recovery=session.recovery)
    settle(pane)
    assert [request.recovery for request in taken] == [session.recovery]
    assert dict(pane._look[1].now)[2] > dict(first.now)[2]


def test_the_summary_tells_classes_and_images(pane):
    summary = text(pane.summary)
    assert "coat: broken 2, mended 1, of 3 images; accuracy −33.3 points" in summary
    assert "Image 3: before coat, now bag." in summary


def test_earlier_outcomes_stay_and_say_so_while_new_ones_are_counted(pane, session):
    session.outcomes = None
    assert "pe-images-old" in pane._dom_classes
    assert "earlier state" in text(pane.sentence)
    assert cells(pane) == BROKEN
    session.outcomes = Outcomes(BEFORE, BEFORE.copy(), LABELS)
    assert "pe-images-old" not in pane._dom_classes
    assert "No image changed sides" in text(pane.empty)


def test_without_outcomes_it_says_why(session):
    pane = ImagesPane(session, STRINGS)
    assert "about to be counted" in text(pane.empty)
    session.estimate = Estimate("s", 300, 640, 2000)
    assert "640 of 2,000 images" in text(pane.empty)
    session.plan = session.reference_plan
    assert "Nothing is cut" in text(pane.empty)
    session.reference_is_dense = False
    assert "the reference state itself" in text(pane.empty)
    assert not seen(pane._body)
    assert pane.worker is None
    assert "load the network with images" in text(ImagesPane(FakeSession(data=False), STRINGS).empty)


def test_a_hidden_pane_does_nothing_until_it_is_shown(session):
    pane = ImagesPane(session, STRINGS)
    pane.binding.active = False
    session.outcomes = Outcomes(BEFORE, NOW, LABELS)
    assert pane.worker is None
    pane.binding.active = True
    settle(pane)
    assert cells(pane) == BROKEN
    pane.close()


def test_a_fault_of_the_worker_reaches_the_status_line(pane, session):
    session.pruned = lambda: 1 / 0
    pane.opener.value = 5
    assert pane.worker.idle(TIMEOUT)
    assert "ZeroDivisionError" in session.error
