import threading

from explorer.panels.keep import Keep
from explorer.panels.scorecard import Scorecard
from explorer.panels.status import Status
from explorer.panels.training import TrainingStrip
from explorer.strings import Strings
from explorer.values import Estimate
from tests.panels.fake_session import FakeSession

STRINGS = Strings("en")


def test_panels_take_changes_from_other_threads():
    session = FakeSession()
    training = TrainingStrip(session, STRINGS)
    keep, scorecard = Keep(session, STRINGS, training.opener), Scorecard(session, STRINGS)
    Status(session, STRINGS, training)

    def change(start):
        for step in range(start, 60, 2):
            session.propose(keep=(100 - step) / 100)

    threads = [threading.Thread(target=change, args=(start,)) for start in (0, 1)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=60)
    assert not any(thread.is_alive() for thread in threads)
    session.propose(keep=0.5)
    session.estimate = Estimate("x", 1, 4, 4)
    assert keep.slider.value == 50
    assert "25.0" in scorecard.accuracy.value
    assert session.error == ""
