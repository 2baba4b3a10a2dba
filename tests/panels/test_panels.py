from explorer.panels.header.keep import Keep
from explorer.panels.header.scorecard import Scorecard
from explorer.panels.header.status import Status
from explorer.panels.overview.training import TrainingStrip
from explorer.strings import Strings
from explorer.values import Estimate
from tests.panels.fake_session import FakeSession, propose_from_two_threads

STRINGS = Strings("en")


def test_panels_take_changes_from_other_threads():
    session = FakeSession()
    training = TrainingStrip(session, STRINGS)
    keep, scorecard = Keep(session, STRINGS, training.opener), Scorecard(session, STRINGS)
    Status(session, STRINGS, training)

    propose_from_two_threads(session)
    session.propose(keep=0.5)
    session.estimate = Estimate("x", 1, 4, 4)
    assert keep.slider.value == 50
    assert "25.0" in scorecard.accuracy.value
    assert session.error == ""
