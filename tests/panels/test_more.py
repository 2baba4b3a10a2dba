import pytest

from explorer.panels.header.more import More
from explorer.strings import Strings
from tests.panels.fake_session import CHAIN, FakeSession

STRINGS = Strings("en")
ALLOCATIONS = {"global": "by ranking", "uniform": "uniformly"}


@pytest.fixture
def session():
    return FakeSession(CHAIN)


def test_how_the_budget_is_spent_is_proposed_and_followed(session):
    panel = More(session, STRINGS, ALLOCATIONS)
    panel.share.value = "uniform"
    panel.minimum.value = 4
    panel.hold.value = True
    request = session.request
    assert (request.allocation, request.minimum, request.hold) == ("uniform", 4, True)
    session.propose(allocation="global", minimum=2, hold=False)
    assert (panel.share.value, panel.minimum.value, panel.hold.value) == ("global", 2, False)


def test_the_minimum_goes_up_to_the_narrowest_group(session):
    panel = More(session, STRINGS, ALLOCATIONS)
    panel.minimum.value = 100
    assert panel.minimum.value == 8


def test_widths_in_multiples_are_proposed_and_followed(session):
    panel = More(session, STRINGS, ALLOCATIONS)
    assert panel.multiple.options == (1, 2, 4, 8, 16, 32)
    panel.multiple.value = 8
    assert session.request.multiple == 8
    session.propose(multiple=6)  # in Python any number can be asked for
    assert (panel.multiple.value, panel.multiple.options) == (6, (1, 2, 4, 6, 8, 16, 32))


def test_memory_file_and_latencies_are_shares_with_amounts(session):
    panel = More(session, STRINGS, ALLOCATIONS)
    session.propose(keep=0.25)
    assert ">50 %<" in panel.costs.value  # the fake session's memory is the root of the share
    assert ">201 of 401 kB<" in panel.costs.value
    assert ">not measured<" in panel.costs.value
    session.measure_latency()
    assert "not measured<" not in panel.costs.value
    assert ">0.84 of 0.85 ms<" in panel.costs.value
    assert ">21.4 of 33.1 ms<" in panel.costs.value
    assert "Latency, batch of 64" in panel.costs.value
