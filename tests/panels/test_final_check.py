from explorer.panels.header.final_check import FinalLook
from explorer.records import FinalCheck
from explorer.strings import Strings
from explorer.values import Cost, Estimate, Recovery
from tests.panels.fake_session import FakeSession

STRINGS = Strings("en")


def test_a_look_shows_both_accuracies_with_intervals_and_counts():
    session = FakeSession()
    panel = FinalLook(session, STRINGS)
    panel.look.click()
    assert session.called == [("check_final",)]
    cost = Cost(session.dense_cost.macs // 2, 1, 1, 1, (), ())
    now, dense = Estimate("a", 415, 500, 500), Estimate("d", 460, 500, 500)
    session.final_checks = tuple(FinalCheck(n, Recovery(bn=True), cost, now, dense) for n in (1, 2))
    assert panel.opener.description == "Final check (2)"
    assert "re-estimated BN, 50 % of MACs" in panel.answer.value
    assert "83.0 % (79.5 to 86.0)" in panel.answer.value
    assert "92.0 % (89.3 to 94.1)" in panel.answer.value
    assert "Looks so far: 2" in panel.answer.value


def test_without_final_images_it_is_disabled_and_says_why():
    session = FakeSession()
    session.network.data.final = None
    for without in (session, FakeSession(data=False)):
        opener = FinalLook(without, STRINGS).opener
        assert opener.disabled
        assert "no final images" in opener.tooltip


def test_the_surface_opens_with_the_button():
    panel = FinalLook(FakeSession(), STRINGS)
    assert "pe-shut" in panel.surface._dom_classes
    panel.opener.value = True
    assert "pe-shut" not in panel.surface._dom_classes
