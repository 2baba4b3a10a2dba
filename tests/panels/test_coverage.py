import pytest
from bokeh.events import Tap
from torch import nn

import explorer
from explorer.panels.overview.coverage import CAUSES, CoveragePane
from explorer.strings import LANGUAGES, Strings
from tests.networks import IMAGE, Written, conv, pooled
from tests.panels.fake_session import FakeSession

STRINGS = Strings("en")


def network():
    """Convs a and b, whose channels a softmax and a sort mix, c, which can be pruned, and a classifier."""

    def forward(m, x):
        return m.f(pooled(m.c(m.b(m.a(x).softmax(1)).sort(1)[0])))

    return Written(forward, a=conv(3, 8), b=conv(8, 8), c=conv(8, 8), f=nn.Linear(8, 4))


@pytest.fixture
def session():
    session = FakeSession()
    session.graph = explorer.trace(network(), IMAGE)
    return session


@pytest.fixture
def pane(session):
    return CoveragePane(session, STRINGS, 1.0)


def column(pane, table, name):
    return pane.map._model.select_one({"name": f"coverage-{table}"}).data[name]


def centre(pane, name):
    """The middle of the box of a layer."""
    place = [name in html for html in column(pane, "boxes", "html")].index(True)
    left, right, bottom, top = (
        column(pane, "boxes", side)[place] for side in ("left", "right", "bottom", "top")
    )
    return (left + right) / 2, (bottom + top) / 2


def tap(pane, x, y):
    root = pane.map._model
    root._trigger_event(Tap(root, x=x, y=y))


def words(pane):
    return [row.children[0].value for row in pane.causes]


def test_every_cause_has_a_row_with_a_list_of_its_layers(pane):
    assert len(pane.causes) == 3
    assert [text for text in words(pane) if "softmax mixes the channels" in text]
    layers = [[name for _label, name in row.children[1].options if name] for row in pane.causes]
    assert sorted(name for names in layers for name in names) == ["a", "b", "f"]
    assert all(row.children[1].options[0][0] == "layers: 1" for row in pane.causes)


def test_a_tap_on_a_box_selects_its_layer_and_outlines_it(pane, session):
    tap(pane, *centre(pane, "<b>c</b>"))
    assert (session.layer, session.selection) == ("c", "c")
    chosen = [top == top for top in column(pane, "boxes", "chosen")]
    assert sum(chosen) == 1
    assert "<b>c</b>" in column(pane, "boxes", "html")[chosen.index(True)]
    tap(pane, 1.0, 1.0)  # beside the boxes nothing happens
    assert session.layer == "c"


def test_a_layer_chosen_from_a_cause_is_selected_and_the_other_lists_are_reset(pane, session):
    (softmax,) = (row for row in pane.causes if "softmax" in row.children[0].value)
    (classes,) = (row for row in pane.causes if "outputs" in row.children[0].value)
    softmax.children[1].value = "a"
    assert session.layer == "a"
    classes.children[1].value = "f"
    assert session.layer == "f"
    assert softmax.children[1].value == ""


def test_of_blocks_that_are_alike_another_tap_selects_the_next_layer():
    session = FakeSession()
    model = nn.Sequential(
        *(conv(3 if place == 0 else 8, 8) for place in range(40)), nn.Flatten(), nn.Linear(512, 4)
    )
    session.graph = explorer.trace(model, IMAGE)
    pane = CoveragePane(session, STRINGS, 1.0)
    where = centre(pane, "<b>0</b>")
    seen = []
    for _tap in range(3):
        tap(pane, *where)
        seen.append(session.layer)
    assert seen == ["0", "1", "2"]


MIXING = (
    lambda x: x.sort(1)[0],
    lambda x: x.roll(1, 1),
    lambda x: x.cumsum(1),
    lambda x: x.softmax(1),
    lambda x: x.log_softmax(1),
    lambda x: x.flip(1).argsort(1).float(),
)


def test_causes_that_have_no_room_share_the_last_row():
    def forward(m, x):
        for place, mix in enumerate(MIXING):
            x = mix(getattr(m, f"c{place}")(x))
        return m.f(pooled(x))

    layers = {f"c{place}": conv(8 if place else 3, 8) for place in range(len(MIXING))}
    session = FakeSession()
    session.graph = explorer.trace(Written(forward, **layers, f=nn.Linear(8, 4)), IMAGE)
    pane = CoveragePane(session, STRINGS, 1.0)
    found = explorer.coverage(session.graph)
    assert len(found.hindrances) > CAUSES
    assert len(pane.causes) == CAUSES
    assert "other reasons" in words(pane)[-1]
    held = [name for row in pane.causes for _label, name in row.children[1].options if name]
    assert sorted(held) == sorted(name for each in found.hindrances for name in each.layers)


def test_the_text_says_how_much_and_how_small_and_the_summary_says_all(pane):
    html = pane.children[0].value
    assert "Prunable: 1 of 4 layers" in html
    assert "Smallest: MACs" in html
    assert "softmax mixes the channels" in pane.summary.value


@pytest.mark.parametrize("language", LANGUAGES)
def test_it_speaks_every_language(session, language):
    pane = CoveragePane(session, Strings(language), 1.25)
    assert "{" not in pane.summary.value + "".join(words(pane))
