"""Every state that was seen to the end, and how one came from another: what the trade-off shows."""

from dataclasses import replace

from explorer.errors import BadInput
from explorer.records import Visit
from explorer.values import Cost, Estimate, Latency, Plan, Recovery, Request


class Visits:
    """The visits by number, and where we are among them. To be called under the session's lock."""

    def __init__(self) -> None:
        self.at: int | None = None
        self._visits: list[Visit] = []
        self._numbers: dict[str, int] = {}  # state key -> number

    @property
    def all(self) -> tuple[Visit, ...]:
        """Oldest first: visit number k is at place k."""
        return tuple(self._visits)

    def visit(self, request: Request, plan: Plan, recovery: Recovery, cost: Cost, estimate: Estimate) -> None:
        """We are at this state now; if it is new, it comes from where we were."""
        number = self._numbers.setdefault(estimate.state_key, len(self._visits))
        if number == len(self._visits):
            self._visits.append(Visit(number, self.at, request, plan, recovery, cost, estimate))
        self.at = number

    def settle(self, before: str, recovery: Recovery, estimate: Estimate) -> None:
        """The visit of the state `before` is one after another recovery from now on, of the same request."""
        if (number := self._numbers.get(before)) is not None:
            self._numbers[estimate.state_key] = number
            self._visits[number] = replace(self._visits[number], recovery=recovery, estimate=estimate)

    def arrive(self, state_key: str) -> Visit | None:
        """We are back at a state; None if it was never seen to the end."""
        if (number := self._numbers.get(state_key)) is None:
            return None
        self.at = number
        return self._visits[number]

    def get(self, number: int) -> Visit:
        """Raises BadInput for a number that no visit has."""
        if isinstance(number, bool) or not isinstance(number, int) or not 0 <= number < len(self._visits):
            raise BadInput(
                f"There is no visited state {number!r}: they go from 0 to {len(self._visits) - 1}."
            )
        return self._visits[number]

    def name(self, number: int, name: str) -> None:
        """Give a visit a name ("" takes it away). Raises BadInput."""
        self._visits[number] = replace(self.get(number), name=str(name).strip())

    def timed(self, state_key: str, latency: tuple[Latency, ...]) -> None:
        """Note the latency of a visited state."""
        if (number := self._numbers.get(state_key)) is not None:
            self._visits[number] = replace(self._visits[number], latency=latency)
