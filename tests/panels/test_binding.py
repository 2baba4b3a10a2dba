"""Renders and gestures: what runs when, and that no two threads wait for each other's locks."""

import threading

import pytest
from traitlets import HasTraits, Int

from explorer.panels.kit.binding import Binding

WAIT = 20  # seconds: only a deadlock reaches it


class Locked(HasTraits):
    """A session of two traits that, like the real one, tells of changes and takes reports under its lock."""

    one = Int(0)
    two = Int(0)

    def __init__(self) -> None:
        super().__init__()
        self.lock = threading.RLock()
        self.reports: list[str] = []

    def report(self, error: BaseException) -> None:
        with self.lock:
            self.reports.append(str(error))


@pytest.fixture
def session():
    return Locked()


def test_traits_that_change_together_are_rendered_once(session):
    rendered = []
    Binding(session).render(lambda: rendered.append((session.one, session.two)), "one", "two")
    with session.hold_trait_notifications():
        session.one, session.two = 1, 2
    session.two = 3
    assert rendered == [(0, 0), (1, 2), (1, 3)]


def test_a_hidden_panel_renders_nothing_and_catches_up(session):
    rendered = []
    binding = Binding(session)
    binding.render(lambda: rendered.append(session.one), "one")
    binding.active = False
    session.one = 1
    session.one = 2
    assert rendered == [0]
    binding.active = True
    assert rendered == [0, 2]


def test_a_failing_render_does_not_wait_for_the_session_while_the_session_waits_for_it(session, caplog):
    rendering, session_held = threading.Event(), threading.Event()
    binding = Binding(session)
    failing = False

    def render() -> None:
        if failing:
            rendering.set()
            assert session_held.wait(WAIT)
            raise ValueError("broken")

    binding.render(render, "one")
    failing = True

    def change() -> None:
        assert rendering.wait(WAIT)
        with session.lock:
            session_held.set()
            session.two += 1
            session.one += 1  # waits until the failed render is over

    threads = [threading.Thread(target=target, daemon=True) for target in (binding.refresh, change)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(WAIT)
    assert not any(thread.is_alive() for thread in threads), "each waits for the other's lock"
    assert session.reports == ["broken", "broken"]
