"""What the explorer shows, as observable state; panels read it and ask it for changes."""

from explorer.session.jobs import LATENCY_BATCHES
from explorer.session.session import Session
from explorer.session.wording import in_words

__all__ = ["LATENCY_BATCHES", "Session", "in_words"]
