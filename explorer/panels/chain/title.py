"""Which search is shown, what it aims at and what it cost, in one line."""

from typing import TYPE_CHECKING, cast

from explorer.panels.kit.words import percent, tag
from explorer.panels.methods.form import number
from explorer.records import Progress, TrainingCost
from explorer.strings import Strings

if TYPE_CHECKING:
    from explorer.panels.chain.replay import Replay


def title_html(
    strings: Strings,
    replay: "Replay",
    search: Progress | None,
    refused: bool,
    ships: bool = True,
    chosen: bool = False,
) -> str:
    """The line, with what it means in full as tooltips.

    `refused`: no search can begin here. `ships`: a recorded run is the package's, and none of a person's own.
    `chosen`: whose run it is stands beside already.
    """
    if search is not None and search.state == "running":
        target, cost = (search.settings[name] for name in ("target", "cost"))
        goal = share_words(strings, cast("float", target), cast("str", cost))
        name = tag(
            "pe-strong", strings("chain_title_running", share=goal), strings("chain_title_running_help")
        )
        return f'<div class="pe-line">{name}{_cost(strings, search.training, not chosen)}</div>'
    if search is not None and search.state == "failed":
        error = strings("chain_title_failed", error=search.error)
        return f'<div class="pe-line pe-chain-failed">{tag("pe-cut-off", error, error)}</div>'
    if replay.kind == "untrained":
        name = tag("pe-strong", strings("chain_title_untrained"), strings("chain_title_untrained_help"))
        todo = strings("chain_next_refused" if refused else "chain_next")
        return f'<div class="pe-line">{name}{tag("pe-soft pe-cut-off", todo)}</div>'
    state = "ready" if search is None else search.state
    if replay.kind == "recorded" and ships:
        state = "recorded"
    room = not (chosen and state == "stopped")
    goal = share_words(strings, replay.run.target, replay.run.cost)
    title, about = strings(f"chain_title_{state}", share=goal), strings(f"chain_title_{state}_help")
    if chosen:
        name = tag("pe-strong", goal, strings("chain_title_about", title=title, about=about))
    else:
        name = tag("pe-strong", title, about)
    return f'<div class="pe-line">{name}{_cost(strings, replay.run.training, room)}</div>'


def share_words(strings: Strings, share: float, cost: str) -> str:
    """ "40 % of MACs"."""
    return strings(f"chain_share_{cost}", percent=percent(share))


def time_words(strings: Strings, seconds: float) -> str:
    """ "78 s", "4 min"."""
    if seconds > 99:
        return strings("chain_minutes", minutes=round(seconds / 60))
    return strings("chain_seconds", seconds=max(1, round(seconds)))


def _cost(strings: Strings, training: TrainingCost, room: bool) -> str:
    """What the search cost; without `room`, beside other buttons, only in a wide pane."""
    words = {"epochs": number(training.epochs), "time": time_words(strings, training.seconds)}
    about = strings("chain_cost_help", **words)
    full = tag("pe-soft pe-cut-off pe-chain-full", strings("chain_cost", **words), about)
    short = tag("pe-soft pe-cut-off pe-chain-short", strings("chain_cost_short", **words), about)
    return full + short if room else full
