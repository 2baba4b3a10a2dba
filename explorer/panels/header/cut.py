"""What the weights of the network that is shown come from, so that work done later can tell whether it still is."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import nn

    from explorer.session import Session
    from explorer.values import Plan, Recovery


@dataclass(frozen=True)
class Cut:
    """A plan, and what is done to the weights after cutting."""

    plan: Plan
    recovery: Recovery
    seed: int

    @classmethod
    def of(cls, session: Session) -> Cut:
        """The session's cut now."""
        return cls(session.plan, session.recovery, session.request.seed)

    def network(self, session: Session) -> nn.Module | None:
        """The session's pruned network, for a worker thread; None if the session shows another cut by now."""
        if Cut.of(session) != self:
            return None
        pruned = session.pruned()
        return pruned if Cut.of(session) == self else None
