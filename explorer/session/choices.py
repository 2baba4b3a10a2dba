"""From what a user has chosen to a plan, at once: checked requests, remembered rankings, drags as requests."""

import threading
from bisect import bisect_right
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from explorer.allocate import (
    ALLOCATIONS,
    Curve,
    allowed_widths,
    by_hand,
    curve,
    in_multiples,
    nearest_width,
    plan_widths,
)
from explorer.costs import COSTS, cost, totals, widths_of
from explorer.criteria import CRITERIA, score
from explorer.errors import BadInput, UnknownName, require_name, require_whole
from explorer.evaluate.recovery import require_trainable
from explorer.graph.checks import without_unread
from explorer.repair import Observed
from explorer.strings import Message
from explorer.values import ChannelGraph, Cost, Plan, Recovery, Request, Scores, full_plan
from explorer.zoo import Network

CURVES = 32  # rankings under one set of pins that are remembered
# what a change of sets all unpinned widths anew
MANUAL = {"keep", "widths", "stay", "allocation", "minimum", "multiple"}


@dataclass(frozen=True, eq=False)
class Answer:
    """What a request comes to. `reach`: smallest and largest share that Keep can have; `share`: the share now."""

    request: Request
    plan: Plan
    cost: Cost
    scores: Scores
    reach: tuple[float, float]
    share: float


def first_request(network: Network) -> Request:
    """What a session begins with: the best recovery that the images allow."""
    trains = network.data is not None and network.data.train is not None
    return Request(recovery=Recovery(bn=True, repair="refit") if trains else Recovery())


class Choices:
    """Answers requests about one network. Safe to use from several threads; nothing here runs the network
    but the first use of a ranking.
    """

    def __init__(
        self, network: Network, graph: ChannelGraph, observed: Callable[[], Observed] | None = None
    ) -> None:
        """`observed` gives what layers read, where rankings need it; None: they look for themselves."""
        self._network, self._graph, self._observed = network, graph, observed
        self._dense = full_plan(graph)
        self._scoring = threading.Lock()
        self._known = threading.Lock()
        self._scores: dict[tuple[str, int, bool], Scores] = {}
        self._curves: dict[tuple[object, ...], Curve] = {}

    # ---- requests ---------------------------------------------------------------------------------------

    def checked(self, before: Request, changes: Mapping[str, Any]) -> Request:
        """The request with the changes. Raises ExplorerError for what no request may hold."""
        unknown = set(changes) - set(Request.__dataclass_fields__)
        if unknown:
            raise UnknownName("setting", unknown.pop(), Request.__dataclass_fields__)
        changes = {
            name: _pairs(value) if name in ("widths", "stay") else value for name, value in changes.items()
        }
        asked = replace(before, **changes)
        if set(changes) & MANUAL and "stay" not in changes:
            asked = replace(asked, stay=())
        asked = replace(asked, widths=_with_locked(before, asked))
        require_whole("multiple, a number of channels,", asked.multiple, 1)
        if asked.multiple != before.multiple:
            asked = replace(asked, widths=self._pins_in_multiples(asked))
        for kind, name, known in (
            ("criterion", asked.criterion, CRITERIA),
            ("allocation", asked.allocation, ALLOCATIONS),
            ("cost", asked.cost, COSTS),
        ):
            require_name(kind, name, known)
        if not isinstance(asked.keep, int | float) or isinstance(asked.keep, bool) or not 0 < asked.keep <= 1:
            raise BadInput(f"keep must be a share above 0 and up to 1 (0.5 keeps half), not {asked.keep!r}.")
        if not isinstance(asked.recovery, Recovery):
            raise BadInput(
                f"recovery must be a Recovery, such as Recovery.parse('bn'), not {asked.recovery!r}."
            )
        data = self._network.data
        if asked.recovery.epochs and data is not None and data.train is not None:
            require_trainable(data.train)
        require_whole("seed", asked.seed, 0)
        require_whole("minimum, a number of channels,", asked.minimum, 1)
        if data is None and asked.allocation == "error":
            raise BadInput(
                "Sharing a cut by what each layer can lose looks at images; this network was loaded without data."
            )
        if data is None and CRITERIA[asked.criterion].needs_data:
            raise BadInput(
                f"Ranking by {asked.criterion} looks at images; this network was loaded without data."
            )
        return asked

    def dragged(
        self, asked: Request, plan: Plan, widths: Mapping[str, int]
    ) -> tuple[Request, Message | None]:
        """The request after groups were set to widths by hand, which pins them, and what stopped a drag short.

        The others stay as they are in `plan`; with `hold` they make room instead, at the budget as it is, and
        one group goes no farther than they can. Each comes to the nearest of the multiples that are asked for.
        Raises BadInput for unknown or locked groups and widths out of range, NotReachable for a group that cannot
        be removed.
        """
        for name in widths:
            self._graph.group(name)
            if name in asked.locked:
                raise BadInput(f"The width of {name} is locked. Unlock it to move it.")
        allowed = allowed_widths(self._graph, asked.multiple)
        widths = {name: _fitting(allowed.get(name), width) for name, width in widths.items()}
        pins = {**dict(asked.widths), **widths}
        gone = without_unread(self._graph, [name for name, width in pins.items() if width == 0])
        if lost := sorted(gone & set(asked.locked)):
            raise BadInput(f"This would remove {', '.join(lost)} too, which is locked. Unlock it first.")
        if not asked.hold:
            return self.checked(asked, {"widths": pins, "stay": self._others(asked, plan, pins)}), None
        held = self.checked(asked, {"widths": pins})
        if len(widths) > 1 or self._curve(held).lowest <= asked.keep:
            return held, None
        (name,) = widths

        def set_to(width: int) -> Request:
            return self.checked(asked, {"widths": {**pins, name: width}})

        now = plan.widths[name]  # what is there now can be paid for
        wider = [now, *(width for width in allowed[name].tolist() if now < width < widths[name])]
        steps = bisect_right(wider, asked.keep, lo=1, key=lambda width: self._curve(set_to(width)).lowest)
        width = wider[steps - 1]
        return set_to(width), Message.of("status_hold_stops", name=name, width=width)

    def with_widths(self, asked: Request, plan: Plan, widths: Mapping[str, int]) -> Request:
        """The request after groups were given widths, which pins none; pinned ones get theirs as a pin.

        Widths are clipped to what a group can have: its size, and at least the request's minimum. Locked groups
        stay, as do all that are not named. Where multiples are asked for, they cost no more than the widths given.
        Raises BadInput for unknown groups and what is no whole number, NotReachable where no multiples cost as little.
        """
        pins, new = dict(asked.widths), dict[str, int]()
        for name, width in widths.items():
            self._require_prunable(name)
            require_whole(f"The width of {name}", width, 0)
            if name not in asked.locked:
                size = self._graph.group(name).size
                new[name] = min(size, max(asked.minimum, int(width)))
        if asked.multiple > 1:
            allowed = allowed_widths(self._graph, asked.multiple, asked.minimum)
            given = {**plan.widths, **new}
            found = in_multiples(self._graph, given, {name: allowed[name] for name in new}, cost=asked.cost)
            new = {name: found[name] for name in new}
        pins.update((name, width) for name, width in new.items() if name in pins)
        stay = self._others(asked, plan, pins)
        stay.update((name, width) for name, width in new.items() if name not in pins)
        return self.checked(asked, {"widths": pins, "stay": stay})

    def pinned(self, asked: Request, plan: Plan, group: str, on: bool) -> Request:
        """The request with a group pinned at its width of `plan`, or free again. Raises BadInput."""
        self._require_prunable(group)
        pins, stay = dict(asked.widths), dict(asked.stay)
        if not on:
            pins.pop(group, None)
            asked = self.locked(asked, plan, group, on=False)
            if stay and pins:
                return self.checked(asked, {"widths": pins, "stay": {**stay, group: plan.widths[group]}})
            return self.reachable(self.checked(asked, {"widths": pins}))
        pins[group] = plan.widths[group]
        following = self.checked(asked, {"widths": pins})
        if not stay and self.knows(asked) and self.answer(following).plan == plan:
            return following
        return self.checked(asked, {"widths": pins, "stay": self._others(asked, plan, pins)})

    def locked(self, asked: Request, plan: Plan, group: str, on: bool) -> Request:
        """The request with a group pinned and locked, or no longer locked. Raises BadInput."""
        if not on:
            return replace(asked, locked=tuple(name for name in asked.locked if name != group))
        pinned = asked if group in dict(asked.widths) else self.pinned(asked, plan, group, on=True)
        return replace(pinned, locked=tuple(sorted({*asked.locked, group})))

    def reachable(self, asked: Request) -> Request:
        """The request, with `keep` moved into what can be reached; as it is while the ranking is unknown."""
        if by_hand(self._graph, asked) or not self.knows(asked):
            return asked
        return replace(asked, keep=self.clamped(asked, asked.keep)[0])

    def clamped(self, asked: Request, keep: float) -> tuple[float, Message | None]:
        """The share nearest to `keep` that can be reached, and what stops it, if something does."""
        ranked = self._curve(replace(asked, stay=()))
        low, high = ranked.lowest, ranked.highest
        stop = min(max(keep, low), high)
        if keep >= low - 1e-9 and (keep <= high + 1e-9 or high >= 1 - 1e-9):
            return stop, None
        if not self._graph.prunable:
            return stop, Message("status_nothing_prunable")
        key = "status_keep_low" if keep < low else "status_keep_high"
        pins = ", ".join(name for name, _width in asked.widths)
        why = (
            Message.of("status_keep_pins", pins=pins)
            if pins
            else Message.of("status_keep_minimum", minimum=asked.minimum)
            if asked.multiple == 1
            else Message.of("status_keep_multiple", minimum=asked.minimum, multiple=asked.multiple)
        )
        return stop, Message.of(key, share=f"{100 * stop:.1f}", why=why)

    def share(self, asked: Request, plan: Plan) -> float:
        """What a plan costs, as a share of the dense network, by the request's cost."""
        dense = int(totals(self._graph, widths_of(self._graph, self._dense), asked.cost))
        now = int(totals(self._graph, widths_of(self._graph, plan), asked.cost))
        return now / dense if dense else 1.0

    # ---- answers ----------------------------------------------------------------------------------------

    def knows(self, asked: Request) -> bool:
        """Whether the ranking is computed, so that an answer takes about a millisecond."""
        return _ranking(asked) in self._scores

    def scored(self, asked: Request) -> Scores:
        """The ranking, computed at first use. What is known already never waits for what is being scored."""
        key = _ranking(asked)
        if key not in self._scores:
            with self._scoring:
                if key not in self._scores:
                    by_error = asked.allocation == "error"
                    looks = self._observed if by_error or asked.criterion == "obs" else None
                    observed = looks() if looks is not None else None
                    self._scores[key] = score(
                        *(self._network, self._graph, asked.criterion),
                        seed=asked.seed, errors=by_error, observed=observed,
                    )  # fmt: skip
        return self._scores[key]

    def answer(self, asked: Request) -> Answer:
        """Plan, costs and reach. In the answer's request, `keep` is the share where widths are set by hand.

        Raises NotReachable and BadInput.
        """
        ranked = self._curve(replace(asked, stay=()))
        manual = by_hand(self._graph, asked)
        if manual:
            plan = plan_widths(self._graph, ranked.scores, {**dict(asked.stay), **dict(asked.widths)})
        else:
            plan = ranked.plan(asked.keep)
        share = self.share(asked, plan)
        if manual:
            asked = replace(asked, keep=min(max(share, 1e-9), 1.0))
        reach = ranked.lowest, ranked.highest
        return Answer(asked, plan, cost(self._graph, plan), ranked.scores, reach, share)

    def _curve(self, asked: Request) -> Curve:
        scores = self.scored(asked)
        least = asked.minimum, asked.multiple
        key = asked.criterion, asked.seed, asked.cost, asked.allocation, asked.widths, *least
        with self._known:
            if key not in self._curves:
                while len(self._curves) >= CURVES:
                    self._curves.pop(next(iter(self._curves)))
                self._curves[key] = curve(
                    self._graph, scores, asked.cost, asked.allocation, dict(asked.widths), *least
                )
            return self._curves[key]

    def _pins_in_multiples(self, asked: Request) -> tuple[tuple[str, int], ...]:
        """The pins, each at the widest multiple up to its width, or the least. Raises BadInput where a locked group
        would move.
        """
        allowed, pins = allowed_widths(self._graph, asked.multiple), []
        for name, width in asked.widths:
            each = allowed.get(name)
            if each is not None and isinstance(width, int) and width not in (0, *each):
                if name in asked.locked:
                    raise BadInput(
                        f"The width of {name} is locked at {width}, which is no multiple of {asked.multiple} channels. "
                        "Unlock it, or choose another multiple."
                    )
                width = int(each[max(0, int(np.searchsorted(each, width)) - 1)])
            pins.append((name, width))
        return tuple(pins)

    def _others(self, asked: Request, plan: Plan, pins: Mapping[str, int]) -> dict[str, int]:
        """The widths of all groups that are not pinned.

        One that is gone only because what read it was removed has the width that it comes back to.
        """
        before = dict(asked.stay)
        return {
            name: width or before.get(name, self._graph.group(name).size)
            for name, width in plan.widths.items()
            if name not in pins
        }

    def _require_prunable(self, name: str) -> None:
        group = self._graph.group(name)
        if not group.prunable:
            raise BadInput(f"The width of {name} cannot be pinned: {group.reason}.")


def _ranking(asked: Request) -> tuple[str, int, bool]:
    """What a request's scores are remembered by."""
    return asked.criterion, asked.seed, asked.allocation == "error"


def _fitting(allowed: NDArray[np.int64] | None, width: int) -> int:
    """The allowed width next to it; what is out of range or no width at all is left for the checks."""
    whole = isinstance(width, int | np.integer) and not isinstance(width, bool)
    if allowed is None or not whole or not 1 <= width <= allowed[-1]:
        return width
    return nearest_width(allowed, width)


def _with_locked(before: Request, asked: Request) -> tuple[tuple[str, int], ...]:
    """The pins, locked groups among them at the width that they have. Raises BadInput where one would move."""
    pins, had = dict(asked.widths), dict(before.widths)
    for name in asked.locked:
        if name in had and pins.setdefault(name, had[name]) != had[name]:
            raise BadInput(f"The width of {name} is locked at {had[name]}. Unlock it to move it.")
    return tuple(sorted(pins.items()))


def _pairs(widths: Any) -> tuple[tuple[str, int], ...]:
    """Widths as a request holds them: {group: width} or pairs -> sorted pairs, numpy's integers as int."""
    try:
        pairs = dict(widths).items()
        return tuple(
            sorted((name, int(width) if isinstance(width, np.integer) else width) for name, width in pairs)
        )
    except (TypeError, ValueError) as error:
        raise BadInput(f"widths must be {{group: width}}, such as {{'stem': 8}}, not {widths!r}.") from error
