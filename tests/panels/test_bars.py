import math
from dataclasses import replace

import pytest
from bokeh.events import Tap

from explorer.errors import BadInput, NotReachable
from explorer.panels.kit.page import keys_script, press_source
from explorer.panels.overview.bars import FOLDED, Bars
from explorer.strings import Strings
from tests.panels.fake_session import CHAIN, FakeSession, propose_from_two_threads

STRINGS = Strings("en")
DEEP = (
    ("stem", "stem", 16, "3x3"),
    *(
        (f"layer{s}.{b}.conv{c}", f"g{s}.{b}.{c}", 32, "3x3")
        for s in (1, 2, 3)
        for b in range(5)
        for c in (1, 2)
    ),
    ("classifier", "classes", 10, ""),
)


@pytest.fixture
def session():
    return FakeSession()


def pane(session):
    return Bars(session, STRINGS)


def column(panel, source, name):
    return panel.document._model.select_one({"name": f"bars-{source}"}).data[name]


def number_of(panel, group):
    numbers = zip(column(panel, "rows", "group"), column(panel, "rows", "number"), strict=True)
    return next(number for name, number in numbers if name == group)


def from_browser(panel, source, data):
    """A change of a source as the page sends it, through the document's own gate."""
    model = panel.document._model.select_one({"name": source})
    content = {
        "event": "jsevent",
        "kind": "ModelChanged",
        "model": {"id": model.id},
        "attr": "data",
        "new": {"type": "map", "entries": list(data.items())},
    }
    panel.document._sync_model(panel.document, content, [])


def ask(panel, number, widths, layer=""):
    wanted = {"number": [number], "groups": [list(widths)], "widths": [list(widths.values())]}
    from_browser(panel, "bars-ask", {**wanted, "layer": [layer]})


def patches(panel, monkeypatch):
    """Names of the sources in every patch sent from now on."""
    sent = []
    monkeypatch.setattr(
        panel.document, "_ship", lambda events: sent.append([event.model.name for event in events])
    )
    return sent


def tap(panel, name, x=0.2):
    layout = panel._layout
    places = {row.name: row.middle for row in layout.rows}
    places |= {section.block.name: section.middle for section in layout.sections if section.block.blocks}
    root = panel._view.root
    root._trigger_event(Tap(root, x=x, y=places[name]))


def sections(panel):
    return [("*" if s.opened and s.block.blocks else "") + s.block.name for s in panel._layout.sections]


def test_bars_follow_the_plan(session):
    panel = pane(session)
    session.propose(keep=0.5)
    assert number_of(panel, "s1b0") == str(session.plan.widths["s1b0"]) != "16"


def test_bars_are_there_before_the_scores():
    panel = pane(FakeSession(CHAIN, scored=False))
    assert column(panel, "rows", "group") == ["a", "b", "classes"]


def test_a_tap_selects_the_layer_and_its_group(session):
    panel = pane(session)
    tap(panel, "stage3.0.shortcut.0")
    assert (session.selection, session.layer) == ("sum3", "stage3.0.shortcut.0")
    assert sum(not math.isnan(x) for x in column(panel, "rows", "chosen")) == 4


def test_a_drag_sets_the_width_and_is_answered_in_one_patch_with_the_bars(session, monkeypatch):
    panel = pane(session)
    sent = patches(panel, monkeypatch)
    ask(panel, 7, {"s2b1": 9})
    assert session.called == [("drag", {"s2b1": 9})]
    assert number_of(panel, "s2b1") == "9"
    assert column(panel, "answer", "number") == [7]
    (patch,) = [names for names in sent if "bars-answer" in names]
    assert patch[0] == "bars-answer"
    assert {"bars-rows", "bars-handles"} <= set(patch)


def test_handles_go_in_the_multiples_that_are_asked_for(session):
    panel = Bars(session, STRINGS)
    session.propose(multiple=8)
    assert set(map(tuple, column(panel, "handles", "snaps"))) >= {(8,)}
    session.propose(multiple=1)
    assert {snap for snaps in column(panel, "handles", "snaps") for snap in snaps} == {1}


def test_a_refused_drag_is_said_and_the_bars_are_sent_again_though_nothing_changed(session, monkeypatch):
    panel = pane(session)

    def refuse(_widths):
        raise NotReachable("conv1 cannot be removed: nothing leads around it.")

    monkeypatch.setattr(session, "drag", refuse)
    sent = patches(panel, monkeypatch)
    before = number_of(panel, "s2b1")
    ask(panel, 8, {"s2b1": 0})
    assert "cannot be removed" in session.error
    assert number_of(panel, "s2b1") == before
    assert [sorted(names) for names in sent] == [
        ["bars-answer", "bars-bands", "bars-folds", "bars-handles", "bars-rows"]
    ]


def test_a_drag_to_the_width_that_is_there_already_is_answered_too(session):
    panel = pane(session)
    ask(panel, 1, {"s2b1": 9})
    ask(panel, 2, {"s2b1": 9})
    assert column(panel, "answer", "number") == [2]


def test_a_pointer_held_down_brackets_what_is_asked(session):
    panel = pane(session)
    from_browser(panel, "pressed", {"down": [True]})
    ask(panel, 1, {"s2b1": 9})
    from_browser(panel, "pressed", {"down": [False]})
    assert [name for name, *_ in session.called] == ["press", "drag", "release"]


def test_pins_and_locks_are_marked(session):
    panel = pane(session)
    session.drag({"s2b1": 9})
    assert "@pin" in column(panel, "rows", "mark")
    assert "stage2.1.conv1 is pinned." in panel.summary.value


def test_nothing_to_fold_means_no_list_of_blocks_and_a_name_selects_its_layer(session):
    panel = pane(session)
    assert panel.opened.layout.display == "none"
    tap(panel, "stage2.1.conv1", x=-0.3)
    assert session.layer == "stage2.1.conv1"


def test_names_and_the_list_open_and_fold_blocks():
    panel = pane(FakeSession(DEEP))
    assert panel.opened.layout.display == ""
    assert sections(panel) == ["stem", "layer1", "layer2", "layer3", "classifier"]
    tap(panel, "layer2", x=-0.3)
    assert sections(panel) == ["stem", "layer1", "*layer2", "layer3", "classifier"]
    label = next(name for name, span in panel.opened.options if span == panel.opened.value)
    assert label == "layer2"
    tap(panel, "layer2", x=-0.3)
    assert panel.opened.value == FOLDED
    panel.opened.value = dict(panel.opened.options)["layer3"]
    assert sections(panel) == ["stem", "layer1", "layer2", "*layer3", "classifier"]


def test_a_layer_selected_elsewhere_opens_its_block_once():
    session = FakeSession(DEEP)
    panel = pane(session)
    session.select("g2.3.1", "layer2.3.conv1")
    assert "*layer2" in sections(panel)
    panel.opened.value = FOLDED
    session.propose(keep=0.5)
    assert "layer2" in sections(panel)


def test_the_scale_is_chosen_by_itself_or_by_hand(session):
    panel = pane(session)
    assert not panel.percent.value
    panel.percent.value = True
    assert column(panel, "scale", "text") == ["100 % of each"]
    dense = column(panel, "rows", "dense")
    assert {length for length in dense if not math.isnan(length)} == {1.0}
    narrow = FakeSession((("wide", "a", 256, "3x3"), ("narrow", "b", 16, "3x3")))
    assert pane(narrow).percent.value


def test_sensitivity_is_asked_for_shown_and_can_be_stopped(session):
    panel = pane(session)
    panel.sensitivity.value = True
    session.sweeping = "sensitivity"
    assert "stop" in panel.sensitivity.description
    panel.sensitivity.value = False
    assert session.called == [("sweep", "sensitivity"), ("sweep", "")]
    session.sweeping = ""
    assert not panel.sensitivity.value
    panel.sensitivity.value = True
    assert session.called[2:] == [("sweep", "sensitivity")]
    session.sensitivity = {group.id: 1.5 for group in session.graph.prunable}
    assert len(column(panel, "heat", "heat")) == 21  # every layer but the classifier
    assert "loses 1.5 points" in panel.summary.value
    assert pane(FakeSession(data=False)).sensitivity.disabled


def test_the_column_of_sensitivity_can_be_hidden_and_shown_again_without_measuring(session):
    session.sensitivity = {group.id: 1.5 for group in session.graph.prunable}
    panel = pane(session)
    assert panel.sensitivity.value
    assert panel.sensitivity.tooltip == STRINGS("bars_sensitivity_hide_help")
    wide = column(panel, "margins", "right")[0]
    panel.sensitivity.value = False
    assert column(panel, "heat", "heat") == []
    assert column(panel, "margins", "right")[0] < wide
    assert panel.sensitivity.tooltip == STRINGS("bars_sensitivity_help")
    panel.sensitivity.value = True
    assert len(column(panel, "heat", "heat")) == 21
    assert session.called == []


def test_a_sweep_that_cannot_begin_leaves_the_button_up(session, monkeypatch):
    def refuse(_kind):
        raise BadInput("No images.")

    panel = pane(session)
    monkeypatch.setitem(session.__dict__, "sweep", refuse)
    panel.sensitivity.value = True
    assert session.error == "No images."
    assert not panel.sensitivity.value


def test_a_drag_selects_what_it_drags(session):
    panel = pane(session)
    session.select("sum1", "stem")
    ask(panel, 1, {"s2b1": 9}, layer="stage2.1.conv1")
    assert (session.selection, session.layer) == ("s2b1", "stage2.1.conv1")
    ask(panel, 2, {"s1b0": 9, "s1b1": 9})  # a folded block's end
    assert session.layer == "stage2.1.conv1"
    layers = dict(zip(*(column(panel, "handles", name) for name in ("group", "layer")), strict=True))
    assert layers["s2b1"] == "stage2.1.conv1"
    assert set(column(pane(FakeSession(DEEP)), "handles", "layer")) >= {"stem", ""}


def test_a_drag_of_what_is_not_selected_is_still_answered_with_its_own_bars(session, monkeypatch):
    panel = pane(session)
    sent = patches(panel, monkeypatch)
    ask(panel, 7, {"s2b1": 9}, layer="stage2.1.conv1")
    (patch,) = [names for names in sent if "bars-answer" in names]
    assert "bars-rows" in patch
    assert number_of(panel, "s2b1") == "9"


def test_hovering_says_how_a_block_is_removed_where_it_can_be(session, monkeypatch):
    reasons = {group.id: "" if group.id == "s2b1" else "in the trunk" for group in session.graph.groups}
    monkeypatch.setattr("explorer.graph.checks.removable", lambda _graph: reasons)
    panel = pane(session)
    said = [html for html in column(panel, "hover", "html") if STRINGS("bars_removable") in html]
    assert len(said) == 1
    assert "stage2.1.conv1" in said[0]
    session.drag({"s2b1": 0})
    assert not any(STRINGS("bars_removable") in html for html in column(panel, "hover", "html"))


def test_hidden_bars_wait_and_catch_up(session):
    panel = pane(session)
    panel.binding.active = False
    session.propose(keep=0.5)
    assert number_of(panel, "s1b0") == "16"
    panel.binding.active = True
    assert number_of(panel, "s1b0") == str(session.plan.widths["s1b0"])


def test_bars_take_changes_from_several_threads(session):
    panel = pane(session)

    propose_from_two_threads(session)
    session.propose(keep=0.5)
    assert number_of(panel, "s1b0") == str(session.plan.widths["s1b0"])
    assert session.error == ""


def test_the_page_scripts_know_what_they_need(session):
    panel = pane(session)
    script = keys_script(Strings("ko"), [panel.figure])
    assert script.args["keep"] == Strings("ko")("keep")
    assert script.args["language"] == "ko"
    assert press_source().data == {"down": [False]}


def test_picked_images_show_in_the_bars_and_in_the_summary_until_they_are_cleared(session):
    panel = pane(session)
    bare = panel._view.sources["rows"].data
    session.show_instances()
    assert column(panel, "cells", "left") == []
    session.pick(0)
    found = session.instances
    kept = int(found.kept(0)["stage2.1.conv1"].sum())
    assert number_of(panel, "s2b1") == str(kept)
    assert f"stage2.1.conv1: the picked image keeps {kept} of 32 channels." in panel.summary.value
    session.pick(0, 6)
    assert number_of(panel, "s2b1") == f"{kept}, {int(found.kept(3)['stage2.1.conv1'].sum())}"
    assert "both picked images keep" in panel.summary.value
    assert len(column(panel, "key", "text")) == 3
    session.pick()
    assert column(panel, "cells", "left") == []
    assert panel._view.sources["rows"].data == bare
    assert "picked" not in panel.summary.value


def test_bars_follow_the_instances_of_another_level(session):
    panel = pane(session)
    session.show_instances()
    session.pick(0)
    before = len(column(panel, "cells", "left"))
    keep = session.instances.keep.copy()
    keep[0] = False
    session.instances = replace(session.instances, keep=keep)
    assert before > 0
    assert column(panel, "cells", "left") == []
    assert number_of(panel, "s2b1") == "0"


def test_a_pick_that_is_not_among_the_instances_leaves_the_plan_in_the_bars(session):
    panel = pane(session)
    session.show_instances()
    session.pick(1)  # only every second image has run
    assert column(panel, "cells", "left") == []
    assert number_of(panel, "s2b1") == "32"
