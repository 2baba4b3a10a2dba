"""What the network is worth now and what it costs: accuracy with its interval, costs beside the dense ones."""

from html import escape
from typing import TYPE_CHECKING

from ipywidgets import HTML, Button, HBox, VBox

from explorer.panels.kit.binding import Binding
from explorer.panels.kit.words import latency_help, part_of, percent, shown, tag, time_of
from explorer.strings import Strings
from explorer.values import Cost, Estimate, Latency

if TYPE_CHECKING:
    from explorer.session import Session


class Scorecard(HBox):
    """Accuracy, MACs, parameters; latency when asked for."""

    def __init__(self, session: "Session", strings: Strings) -> None:
        self._session, self._strings = session, strings
        self._nothing = strings("no_images" if session.network.data is None else "no_estimate")
        self.accuracy = HTML().add_class("pe-accuracy")
        self.costs = HTML().add_class("pe-costs")
        self.latency = HTML().add_class("pe-latency")
        self.measure = Button(description=strings("measure"), tooltip=strings("measure_help"))
        self.measure.add_class("pe-measure")
        binding = Binding(session)
        traits = ("estimate", "estimate_label", "estimate_share", "current", "reference", "stage")
        binding.render(self._render_accuracy, *traits, "reference_is_dense", "request")
        binding.render(self._render_costs, "cost")
        binding.render(self._render_latency, "latency")
        self.measure.on_click(lambda _button: binding.act(session.measure_latency))
        timing = VBox([self.latency, self.measure]).add_class("pe-timing")
        super().__init__([self.accuracy, self.costs, timing])
        self.add_class("pe-scorecard")

    def _render_accuracy(self) -> None:
        session, strings = self._session, self._strings
        earlier = working = ""
        if not session.current:
            share = percent(session.estimate_share)
            earlier = strings(f"earlier_{session.request.cost}", share=share)
            counting = session.stage.key in ("stage_ready", "stage_evaluating")
            working = (
                strings("counting") if counting else strings("working", stage=strings.say(session.stage))
            )
        self.accuracy.value = accuracy_html(
            strings,
            session.estimate,
            strings.say(session.estimate_label),
            _reference(strings, session.reference, session.reference_is_dense),
            self._nothing,
            earlier,
            working,
        )

    def _render_costs(self) -> None:
        self.costs.value = costs_html(self._strings, self._session.cost, self._session.dense_cost)

    def _render_latency(self) -> None:
        session = self._session
        cheaper = session.cost.macs < session.dense_cost.macs
        self.latency.value = latency_html(self._strings, session.latency, cheaper)
        shown(self.measure, not session.latency)


def accuracy_html(
    strings: Strings,
    estimate: Estimate | None,
    label: str,
    reference: str,
    nothing: str,
    earlier: str = "",
    working: str = "",
) -> str:
    """The accuracy, large, with interval, recovery, images counted, progress and the reference (HTML).

    `nothing` is what to say while there is no estimate. `earlier`: the estimate is greyed, this is the state
    that it belongs to, and `working` what is being done about it; empty if it is of this state.
    """
    state, number, bar = tag("pe-soft pe-state", nothing, nothing), tag("pe-big", "–"), ""
    if estimate is not None and estimate.seen:
        words = strings("of_images", state=label, counted=_counted(strings, estimate))
        state = tag("pe-soft pe-state", words, words)
        number = _number(strings, estimate)
        bar = "" if estimate.done or earlier else _progress(estimate)
    if estimate is not None and earlier:
        state = tag("pe-state pe-now", working, working)
        belongs = tag("pe-soft pe-earlier", earlier, strings("earlier_help"))
        number = f'<span class="pe-stale">{number}{belongs}</span>'
    head = tag("pe-label", strings("accuracy"), strings("accuracy_help")) + state
    beside = ("" if earlier else _divergence(strings, estimate)) + reference + bar
    return f'<div class="pe-line">{head}</div><div class="pe-line">{number}{beside}</div>'


def _number(strings: Strings, estimate: Estimate) -> str:
    if estimate.counts == "itself":
        why = tag("pe-soft pe-interval", strings("counts_itself"), strings("counts_itself_help"))
        return tag("pe-big", "100") + tag("pe-unit", "%") + why
    digits = estimate.digits
    interval = strings("interval_help", low=digits(estimate.low), high=digits(estimate.high))
    number = tag("pe-big", digits(estimate.value)) + tag("pe-unit", estimate.unit.strip())
    half = (estimate.high - estimate.low) / 2
    spread = digits(half) if estimate.percent else f"{half:.2g}"
    return number + tag("pe-soft pe-interval", f"± {spread}", interval)


def _divergence(strings: Strings, estimate: Estimate | None) -> str:
    """How far the probabilities are from the dense network's, where labels are not known."""
    if estimate is None or estimate.counts != "agreement" or estimate.divergence is None:
        return ""
    nats = nats_of(estimate.divergence)
    return tag("pe-soft pe-reference", strings("divergence", nats=nats), strings("divergence_help"))


def nats_of(divergence: float) -> str:
    """A divergence in two digits at least: "0.031", "2.40"; what is more than nothing never reads 0."""
    if 0 < divergence < 0.0005:
        return "<0.001"
    return f"{divergence:.{2 if divergence >= 0.995 else 3}f}"


def _reference(strings: Strings, reference: Estimate | None, dense: bool) -> str:
    """The reference's accuracy, marked until all images are seen; its interval in the tooltip.

    Nothing where it is 100 % by definition.
    """
    if reference is None or not reference.seen or reference.counts == "itself":
        return ""
    text = strings(
        "reference" if reference.done else "reference_partly", accuracy=reference.digits(reference.value)
    )
    help_text = strings(
        "reference_help" if dense else "reference_own_help",
        counted=_counted(strings, reference),
        low=reference.digits(reference.low),
        high=reference.digits(reference.high),
    )
    return tag("pe-soft pe-reference", text, help_text)


def _counted(strings: Strings, estimate: Estimate) -> str:
    key = "progress_all" if estimate.done else "progress"
    return strings(key, seen=f"{estimate.seen:,}", of=f"{estimate.of:,}")


def _progress(estimate: Estimate) -> str:
    share = 100 * estimate.seen / estimate.of
    return (
        f'<span class="pe-bar" role="progressbar" aria-valuemin="0" aria-valuemax="{estimate.of}" '
        f'aria-valuenow="{estimate.seen}"><span style="width:{share:.0f}%"></span></span>'
    )


def costs_html(strings: Strings, cost: Cost, dense: Cost) -> str:
    """MACs and parameters as shares of the dense network's, with the amounts."""
    macs = _share(strings, "macs", cost.macs, dense.macs)
    params = _share(strings, "params", cost.params, dense.params)
    return f'<div class="pe-row">{macs}{params}</div>'


def _share(strings: Strings, name: str, now: int, whole: int) -> str:
    label = tag("pe-label", strings(name), strings(f"{name}_help"))
    share = percent(now / whole if whole else 1.0)
    return _cell(name, label, share, tag("pe-soft", part_of(strings, now, whole)))


def _cell(name: str, label: str, number: str, beside: str) -> str:
    lines = f'<div class="pe-line">{label}</div><div class="pe-line">{tag("pe-number", number)}{beside}</div>'
    return f'<div class="pe-cell pe-{name}">{lines}</div>'


def latency_html(strings: Strings, latency: tuple[Latency, ...], cheaper: bool) -> str:
    """The first batch size's latency as a share of the dense network's, and the time; (dense, now) pairs.

    `cheaper`: the MACs fell. Where the time did not, it says so; the spread is in the tooltip.
    """
    if not latency:
        label = tag("pe-label", strings("latency"), strings("latency_none_help"))
        return f'<div class="pe-line">{label}</div>'
    dense, now = latency[:2]
    help_text = latency_help(strings, dense, now)
    beside = time_of(strings, now.median)
    if cheaper and now.median >= dense.low:
        beside, help_text = strings("latency_same"), strings("latency_same_help") + help_text
    label = tag("pe-label", strings("latency"), help_text)
    amounts = f'<span class="pe-soft" title="{escape(help_text)}">{escape(beside)}</span>'
    return _cell("latency-now", label, percent(now.median / dense.median), amounts)
