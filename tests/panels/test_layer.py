import numpy as np
import pytest
import torch
from torch import nn

import explorer
from explorer.figures.reader_errors import percent
from explorer.observe import maps
from explorer.panels.layer import strips as layer_strips
from explorer.panels.layer.pane import LayerPane
from explorer.panels.layer.work import Portrait
from explorer.session import Session
from explorer.strings import Strings
from explorer.values import Plan, Recovery
from tests.networks import Written, conv, pooled
from tests.panels.fake_session import CHAIN, FakeSession

SAY = Strings("en")
WAIT = 60


def small_network():
    """Four layers with a residual sum, for the real session."""
    torch.manual_seed(0)

    def forward(self, x):
        y = torch.relu(self.first(x))
        y = torch.relu(y + self.second(y))
        return self.head(pooled(self.third(y)))

    return Written(
        forward, first=conv(1, 6), second=conv(6, 6), third=conv(6, 8), head=nn.Linear(8, 3)
    ).eval()


@pytest.fixture
def session():
    return FakeSession(data=False)


@pytest.fixture
def pane(session):
    session.select("s2b0")
    pane = LayerPane(session, SAY)
    yield pane
    pane.close()


@pytest.fixture
def real(request):
    """The pane on a real session with 24 images to explore, and if asked for 40 to train, settled."""
    torch.manual_seed(0)
    images = torch.rand(24, 1, 8, 8), torch.arange(24) % 3
    if getattr(request, "param", "") == "train":
        norm, classes = (lambda x: x), ("a", "b", "c")
        train = explorer.Images(torch.rand(40, 1, 8, 8), torch.arange(40) % 3, norm)
        images = explorer.Data(
            "noise", classes, train=train, explore=explorer.Images(*images, norm), final=None
        )
    session = Session(explorer.load(small_network(), data=images))
    assert session.wait(WAIT)
    session.select(session.graph.groups[0].id, "first")
    pane = LayerPane(session, SAY)
    assert pane.lower.idle(WAIT)
    yield pane
    pane.close()
    session.close()


TRAINED_ON = pytest.mark.parametrize("real", ["train"], indirect=True)


def compared_after_a_refit(pane):
    """Show the next layer's maps of a cut that is refitted."""
    session = pane._session
    session.propose(recovery=Recovery.parse("refit"))
    session.drag({session.selection: 3})
    assert session.wait(WAIT)
    pane.lower.below.value = "next"
    assert pane.lower.idle(WAIT)


def column(pane, source, name):
    return pane.document._model.select_one({"name": source}).data[name]


def heard(pane, name):
    return next(model for model, _ in pane._drag.heard if model.name == name)


def drag(pane, width, ended, gesture=1, group="s2b0"):
    source = heard(pane, "layer-drag")
    source.data = {"gesture": [gesture], "group": [group], "width": [width], "ended": [ended]}


def test_the_selected_layer_is_named_with_its_shape(session, pane):
    assert pane.layer.label == "stage2.0.conv1"
    assert "3×3 · 16 → 32" in pane.shape.value
    assert (pane.width.value, pane.width.max) == (32, 32)
    assert "of 32" in pane.size.value


def test_the_list_selects_the_layer_that_was_chosen_of_a_tied_group(session, pane):
    pane.layer.value = dict(pane.layer.options)["stage3.0.shortcut.0"]
    assert (session.selection, session.layer) == ("sum3", "stage3.0.shortcut.0")
    assert "moves 4 layers" in pane.size.value


def test_the_number_field_drags_and_follows(session, pane):
    pane.width.value = 20
    assert session.called == [("drag", {"s2b0": 20})]
    assert column(pane, "lens-bar", "width") == [20 / 32]
    session.drag({"s2b0": 7})
    assert pane.width.value == 7
    assert len(session.called) == 2  # no echo


def test_the_number_field_steps_in_multiples_and_shows_what_became_of_another_number(
    session, pane, monkeypatch
):
    assert (pane.width.min, pane.width.step) == (1, 1)
    session.propose(multiple=8)
    assert (pane.width.min, pane.width.step) == (8, 8)
    assert column(pane, "layer-target", "snap") == [8]
    monkeypatch.setattr(session, "drag", lambda widths: None)  # it comes to the width that was there
    pane.width.value = 30
    assert pane.width.value == 32


def test_the_number_field_removes_nothing(session, pane):
    pane.width.value = 1
    pane.width.value = 0
    assert session.called == [("drag", {"s2b0": 1})]
    assert pane.width.value == 1


def test_a_block_is_removed_and_brought_back_by_a_button(session, pane):
    assert pane.removal.tooltip == SAY("layer_remove_help")
    pane.removal.click()
    assert session.called == [("drag", {"s2b0": 0})]
    assert (pane.width.value, pane.width.disabled) == (0, True)
    assert pane.removal.tooltip == SAY("layer_bring_back_help")
    pane.removal.click()
    assert session.called[1:] == [("drag", {"s2b0": 32})]
    assert (pane.width.value, pane.width.min, pane.width.disabled) == (32, 1, False)


def test_only_what_the_image_can_pass_by_is_offered_for_removal(real):
    session = real._session
    ways = explorer.removable(session.graph)
    offered = {}
    for group in session.graph.prunable:
        session.select(group.id)
        offered[group.id] = "pe-shut" not in real.removal._dom_classes
    assert offered == {group.id: not ways[group.id] for group in session.graph.prunable}
    assert session.error == ""


def test_what_is_gone_with_another_block_is_not_brought_back_by_itself():
    session = FakeSession(data=False)
    session.select("s2b0")
    pane = LayerPane(session, SAY)
    gone = {**session.plan.keep, "s2b0": np.zeros(32, dtype=bool)}
    session.plan = Plan(session.graph.key, gone)  # and no width of the request says so
    assert "pe-shut" in pane.removal._dom_classes
    assert pane.width.disabled
    pane.close()


def test_pin_and_lock_are_asked_for_and_show_the_request(session, pane):
    pane.lock.value = True
    assert session.called == [("lock", "s2b0", True)]
    session.drag({"s2b0": 9})
    assert pane.pin.value
    assert ("pin", "s2b0", True) not in session.called
    pane.pin.value = False
    assert session.called[-1] == ("pin", "s2b0", False)


def test_a_layer_that_cannot_be_pruned_says_why(session, pane):
    session.select("classes")
    assert "cannot be pruned: the network&#x27;s output" in pane.reason.value
    assert column(pane, "lens-bar", "width") == []
    assert column(pane, "layer-target", "group") == []
    assert "pe-shut" in pane.width._dom_classes
    session.select("s2b0")
    assert "pe-shut" not in pane.width._dom_classes


def test_a_drag_in_the_browser_drags_and_is_drawn_by_python_at_its_end(session, pane):
    drag(pane, 12, ended=False)
    assert session.called == [("drag", {"s2b0": 12})]
    assert pane.width.value == 12
    assert column(pane, "lens-bar", "width") == [1.0]  # the browser's own echo is ahead
    assert "kept: 12" in column(pane, "importance-labels", "bold")
    drag(pane, 10, ended=True)
    assert session.called == [("drag", {"s2b0": 12}), ("drag", {"s2b0": 10})]
    assert column(pane, "lens-bar", "width") == [10 / 32]


def test_a_refused_drag_snaps_back(session, pane, monkeypatch):
    sent, reported = [], []
    monkeypatch.setattr(pane.document, "_ship", sent.extend)
    monkeypatch.setattr(session, "report", lambda error: reported.append(str(error)))

    def refuse(_widths):
        raise explorer.BadInput("this group is locked")

    monkeypatch.setattr(session, "drag", refuse)
    drag(pane, 12, ended=True)
    assert "this group is locked" in reported
    assert column(pane, "lens-bar", "width") == [1.0]
    names = {event.model.name for event in sent if hasattr(event, "attr")}
    assert {
        "lens-bar",
        "importance-bars",
        "importance-threshold",
    } <= names  # sent, though they did not change


def test_sorted_scores_name_the_layers_channels(session, pane):
    pane.chart.value = "sorted"
    order = np.argsort(-session.scores.by_group["s2b0"], kind="stable")
    assert column(pane, "importance-scale", "ordered") == [True]
    assert column(pane, "importance-scale", "channels") == [order.tolist()]


def test_before_the_scores_the_chart_says_so():
    session = FakeSession(CHAIN, scored=False, data=False)
    session.select("b")
    pane = LayerPane(session, SAY)
    assert "Channels are being scored…" in column(pane, "importance-labels", "plain")
    session.finish_scoring()
    assert "Channels are being scored…" not in column(pane, "importance-labels", "plain")
    pane.close()


def test_without_images_it_says_so_in_words(session, pane):
    assert any("No images were given" in text for text in column(pane, "activations-labels", "text"))
    pane.lower.below.value = "next"
    assert "No images were given" in pane.lower.next.value
    assert sum(column(pane, "importance-bars", "count")) == 32


def test_activations_are_measured_on_the_worker_and_styled_by_the_plan(real):
    session = real._session
    assert session.error == ""
    assert len(column(real, "activations-boxes", "low")) == 6
    assert any("24 of 24 images" in text for text in column(real, "activations-labels", "text"))
    session.drag({session.selection: 2})
    kept = session.plan.keep[session.selection]
    drawn = [not np.isnan(top) for top in column(real, "activations-boxes", "kept")]
    assert drawn == kept.tolist()
    assert "activations over 24 of 24 images" in real.summary.value


def test_pointing_at_a_channel_shows_its_pictures(real):
    before = real.lower.strip.value
    heard(real, "layer-hover").data = {"channel": [3]}
    assert real.lower.idle(WAIT)
    assert real.lower.channel.value == 3
    assert real.lower.strip.value != before
    assert real.lower.strip.value.count("<img") == 1 + 2 + 5
    assert column(real, "activations-chosen", "left") == [3 / 6]


def test_the_channel_stays_within_the_layer(real):
    real.layer.value = 2
    real.lower.channel.value = 7
    real.layer.value = 0
    assert (real.lower.channel.value, real.lower.channel.max) == (5, 5)
    assert real.lower.idle(WAIT)
    assert real._session.error == ""


def test_the_next_layer_is_compared_when_the_accuracy_is_known(real):
    session = real._session
    session.select(session.graph.groups[0].id, "second")
    real.lower.below.value = "next"
    assert real.lower.idle(WAIT)
    assert "third · kept: 8 of 8" in real.lower.next.value
    assert "error 0.0 %" in real.lower.next.value
    session.drag({session.selection: 3})
    assert session.wait(WAIT)
    assert real.lower.idle(WAIT)
    assert "error 0.0 %" not in real.lower.next.value
    assert "pe-earlier-maps" not in real.lower.next.value
    assert "its output changed by" in real.summary.value


def test_maps_of_an_earlier_cut_look_like_it(real, monkeypatch):
    real.lower.below.value = "next"
    assert real.lower.idle(WAIT)
    assert "pe-earlier-maps" not in real.lower.next.value
    monkeypatch.setattr(real.lower, "_ask", lambda _wish: None)  # the new maps take their time
    real._session.drag({real._session.selection: 2})
    assert "pe-earlier-maps" in real.lower.next.value


@TRAINED_ON
def test_maps_of_an_earlier_recovery_look_like_it(real, monkeypatch):
    compared_after_a_refit(real)
    assert "pe-earlier-maps" not in real.lower.next.value
    monkeypatch.setattr(real.lower, "_ask", lambda _wish: None)
    real._session.propose(recovery=Recovery())
    assert "pe-earlier-maps" in real.lower.next.value


@TRAINED_ON
def test_maps_are_never_of_a_network_that_the_session_has_left(real, monkeypatch):
    compared_after_a_refit(real)
    session, taken, compared = real._session, [], []
    before, compare = session.pruned, maps.compare
    monkeypatch.setattr(maps, "compare", lambda *args: compared.append(len(args[1])) or compare(*args))

    def pruned():
        taken.append(session.request.recovery)
        network = before()
        if len(taken) == 1:
            session.propose(recovery=Recovery())
        return network

    monkeypatch.setattr(session, "pruned", pruned)
    real.lower.image.value = 1
    assert real.lower.idle(WAIT)
    assert session.wait(WAIT)
    assert real.lower.idle(WAIT)
    assert taken == [Recovery.parse("refit"), Recovery()]
    assert compared == [1]  # once, and of the bare cut
    assert "second · kept: 3 of 6" in real.lower.next.value
    assert "pe-earlier-maps" not in real.lower.next.value


def test_the_last_layer_has_no_next_one(real):
    real.layer.value = 3
    real.lower.below.value = "next"
    assert "the network&#x27;s answer" in real.lower.next.value
    assert real.lower.idle(WAIT)


def test_a_hidden_pane_computes_nothing_until_it_is_shown_again(real):
    real.binding.active = False
    real._session.select(real._session.selection, "third")
    assert real.layer.label != "third"
    assert 2 not in real.lower._looking.known
    real.binding.active = True
    assert real.lower.idle(WAIT)
    assert real.layer.label == "third"
    assert 2 in real.lower._looking.known


def test_a_fault_of_the_worker_reaches_the_status_line(real, monkeypatch):
    monkeypatch.setattr("explorer.observe.channels.maps", lambda *_: 1 / 0)
    real.lower.channel.value = 2
    assert real.lower.idle(WAIT)
    assert "ZeroDivisionError" in real._session.error


def show_errors(pane):
    pane.chart.value = "error"
    assert pane.errors.idle(WAIT)


@TRAINED_ON
def test_the_marker_follows_the_width_and_the_curves_stay(real, monkeypatch):
    session = real._session
    show_errors(real)
    assert session.error == ""
    curves = column(real, "errors-curves", "cut")
    assert len(curves) == 6
    assert column(real, "errors-marker", "x") == [1.0]
    monkeypatch.setattr(real.errors, "_ask", lambda wish: pytest.fail(f"{wish} is known"))
    drag(real, 2, ended=False, group=session.selection)
    assert column(real, "errors-marker", "x") == [2 / 6]
    assert column(real, "errors-curves", "cut") == curves
    assert column(real, "errors-marker", "cut") == [curves[1]]


@TRAINED_ON
def test_the_errors_are_those_of_the_layers_that_read_the_group(real):
    from explorer.repair.errors import errors_of

    session = real._session
    session.drag({session.selection: 3})
    show_errors(real)
    group = session.graph.group(session.selection)
    order = np.argsort(-session.scores.by_group[group.id], kind="stable")
    found = errors_of(session.network.model, session.graph, group, order, session.observed(lambda: None))
    assert found.layers == ("second", "third")
    told = [SAY("layer_error_cut", error=percent(float(found.cut[3])))]
    assert set(told) <= set(column(real, "errors-labels", "plain"))
    assert "second, third" in real.caption.value
    assert percent(float(found.refitted[3])) in real.summary.value


@TRAINED_ON
def test_another_group_and_another_ranking_have_other_curves(real):
    session = real._session
    show_errors(real)
    first = column(real, "errors-curves", "cut")
    session.select("third")
    assert real.errors.idle(WAIT)
    assert len(column(real, "errors-curves", "cut")) == 8
    session.select(session.graph.groups[0].id)
    scores = {name: -values for name, values in session.scores.by_group.items()}
    session.scores = explorer.Scores("l1", scores, False)
    assert real.errors.idle(WAIT)
    assert column(real, "errors-curves", "cut") != first


def test_the_errors_take_the_place_of_the_importance(real):
    figures = {name: real.document._model.select_one({"name": name}) for name in ("importance", "errors")}
    assert [figure.visible for figure in figures.values()] == [True, False]
    show_errors(real)
    assert [figure.visible for figure in figures.values()] == [False, True]
    assert SAY("layer_error_no_images") in column(
        real, "errors-labels", "plain"
    )  # there are none to train on
    assert SAY("layer_error_no_images") in real.summary.value
    assert real._session.error == ""


@TRAINED_ON
def test_a_fault_in_the_errors_is_said_in_the_chart_and_in_the_status_line(real, monkeypatch):
    monkeypatch.setattr(real._session, "observed", lambda _check: 1 / 0)
    show_errors(real)
    assert "ZeroDivisionError" in real._session.error
    assert SAY("layer_error_failed") in column(real, "errors-labels", "plain")


@TRAINED_ON
def test_a_recovered_cut_has_three_rows_of_maps_with_their_errors(real):
    compared_after_a_refit(real)
    session = real._session
    found = real.lower._found.comparison
    assert len(found.maps) == 3
    assert found.errors[1] < found.errors[0]
    html = real.lower.next.value
    assert html.count('class="pe-maps"') == 3
    assert all(f"{percent(error)} %" in html for error in found.errors)
    assert all(f"{percent(error)} %" in real.summary.value for error in found.errors)
    session.propose(recovery=Recovery())
    assert session.wait(WAIT)
    assert real.lower.idle(WAIT)
    assert real.lower.next.value.count('class="pe-maps"') == 2


def test_captions_say_what_a_picture_is():
    kernel = np.array([[1.0, -1.0]], dtype=np.float32)
    image = np.zeros((1, 2, 2), dtype=np.uint8)
    html = layer_strips.portrait_html(
        Portrait(kernel, image, np.ones((2, 2), dtype=np.float32), True, ((7, image),), (1.5,)), SAY
    )
    assert "before batch norm" in html
    assert 'alt="Image 7, largest activation 1.5"' in html
    assert layer_strips.portrait_html(Portrait(kernel), SAY).count("<img") == 1
