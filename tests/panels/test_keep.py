import pytest

from explorer.panels.header.keep import Keep
from explorer.panels.overview.training import TrainingStrip
from explorer.records import Given
from explorer.strings import Strings
from explorer.values import Estimate, Recovery
from tests.panels.fake_session import FakeSession

STRINGS = Strings("en")


@pytest.fixture
def session():
    return FakeSession()


def keep(session):
    return Keep(session, STRINGS, TrainingStrip(session, STRINGS).opener)


def test_keep_moves_the_share_and_follows_the_session(session):
    panel = keep(session)
    panel.slider.value = 60
    assert session.request.keep == 0.6
    assert "60 %" in panel.value_text.value
    session.propose(keep=0.3)
    assert panel.slider.value == 30
    assert session.called == [("move_keep", 0.6)]  # no echo


def test_beyond_its_reach_the_handle_comes_back_also_when_nothing_changes(session):
    panel = keep(session)
    for _ in range(2):
        panel.slider.value = 1
        assert session.request.keep == 0.034
        assert panel.slider.value == 3
        assert session.error == ""


def test_what_cannot_be_reached_is_shaded_at_both_ends_and_said(session):
    panel = keep(session)
    assert 'class="pe-below" style="width:3.4%"' in panel.reach.value
    assert "pe-above" not in panel.reach.value
    assert "from 4 % to 100 %" in panel.reach.value
    session.reach = (0.1, 0.7)
    assert 'class="pe-above" style="width:30.0%"' in panel.reach.value
    assert "from 10 % to 70 %" in panel.reach.value


def test_cost_and_recovery_are_proposed(session):
    panel = keep(session)
    panel.cost.value = "params"
    panel.after.buttons["none"].value = True
    assert session.request.cost == "params"
    assert session.request.recovery == Recovery()


def test_after_training_no_other_recovery_is_pressed_but_train(session):
    panel = keep(session)
    session.propose(recovery=Recovery(bn=True, epochs=3))
    assert panel.after.value is None
    assert "pe-on" in panel.after.train._dom_classes
    session.propose(recovery=Recovery(bn=True))
    assert panel.after.value == "bn"
    assert [name for name, button in panel.after.buttons.items() if button.value] == ["bn"]
    assert "pe-on" not in panel.after.train._dom_classes


def test_widths_set_by_hand_read_custom_and_what_they_come_to(session):
    panel = keep(session)
    session.share, session.custom = 0.57, True
    assert "57 %" in panel.value_text.value
    assert ">custom<" in panel.value_text.value


def test_the_choice_that_is_made_stays_pressed(session):
    panel = keep(session)
    panel.after.buttons["bn"].value = False
    assert panel.after.buttons["bn"].value
    assert session.proposed == []


@pytest.mark.parametrize(
    ("code", "name"),
    [("refit", "refit"), ("refit_sequential", "refit"), ("merge", "merge"), ("refit+2", None)],
)
def test_a_recovery_asked_for_in_python_is_shown_by_its_choice(session, code, name):
    panel = keep(session)
    session.propose(recovery=Recovery.parse(code))
    assert panel.after.value == name


def test_beside_each_choice_stands_what_it_gives_and_greyed_what_it_gave(session):
    panel = keep(session)
    assert [number.value for number in panel.after.numbers.values()] == ["<span>–</span>"] * 4
    bn, refit = Estimate("bn", 1373, 2000, 2000), Estimate("refit", 1844, 2000, 2000)
    session.given = {"bn": Given(bn, current=True), "refit+bn": Given(refit, current=False)}
    assert panel.after.numbers["bn"].value == "<span>69</span>"
    assert panel.after.numbers["refit"].value == "<span>92</span>"
    assert "pe-other-cut" not in panel.after.numbers["bn"]._dom_classes
    assert "pe-other-cut" in panel.after.numbers["refit"]._dom_classes
    assert "Gives 68.7 % (66.6 to 70.6) on all 2,000" in panel.after.buttons["bn"].tooltip
    assert "Gave 92.2 % (90.9 to 93.3)" in panel.after.buttons["refit"].tooltip
    assert "shown once it is known" in panel.after.buttons["merge"].tooltip


def test_without_training_images_only_what_needs_none_can_be_chosen_and_it_says_why():
    panel = keep(FakeSession(train=False))
    assert list(panel.after.buttons) == ["none", "merge"]
    assert "Without training images" in panel.after.children[0].value
    assert "pe-shut" in panel.after.train._dom_classes


def test_a_refused_gesture_goes_to_the_error_and_the_widget_back(session, monkeypatch):
    panel = keep(session)

    def refuse(share):
        session.propose(keep=share)

    monkeypatch.setattr(session, "move_keep", refuse)
    panel.slider.value = 1
    assert "keep is 0.01" in session.error
    assert session.request.keep == 1.0
    assert panel.slider.value == 100
