"""What the network is worth now and what it costs: accuracy with its interval, costs beside the dense ones."""

from html import escape

from ipywidgets import HTML, Button, HBox, VBox

from explorer.panels.binding import Binding
from explorer.panels.strings import STRINGS
from explorer.panels.words import amount_of, duration, part_of, percent, tag, time_of
from explorer.session import Session
from explorer.values import Cost, Estimate, Latency


class Scorecard(HBox):
    """Accuracy, MACs, parameters, file, memory; latency when asked for."""

    def __init__(self, session: Session) -> None:
        self._session = session
        self._nothing = STRINGS["no_images" if session.network.data is None else "no_estimate"]
        self.accuracy = HTML().add_class("pe-accuracy")
        self.costs = HTML().add_class("pe-costs")
        self.latency = HTML().add_class("pe-latency")
        self.measure = Button(description=STRINGS["measure"], tooltip=STRINGS["measure_help"])
        self.measure.add_class("pe-measure")
        binding = Binding(session)
        binding.render(self._render_accuracy, "estimate", "estimate_label", "current", "reference", "stage")
        binding.render(self._render_costs, "cost")
        binding.render(self._render_latency, "latency")
        self.measure.on_click(lambda _button: binding.act(session.measure_latency))
        super().__init__(
            [self.accuracy, self.costs, VBox([self.measure, self.latency]).add_class("pe-timing")]
        )
        self.add_class("pe-scorecard")

    def _render_accuracy(self) -> None:
        session = self._session
        self.accuracy.value = accuracy_html(
            session.estimate,
            session.estimate_label,
            session.reference,
            self._nothing,
            None if session.current else session.stage,
        )

    def _render_costs(self) -> None:
        self.costs.value = costs_html(self._session.cost, self._session.dense_cost)

    def _render_latency(self) -> None:
        session = self._session
        self.latency.value = latency_html(session.latency, session.cost.macs < session.dense_cost.macs)


def accuracy_html(
    estimate: Estimate | None,
    label: str,
    reference: Estimate | None,
    nothing: str,
    stage: str | None = None,
) -> str:
    """The accuracy, large, with interval, recovery, progress and reference.

    `nothing` is what to say while there is no estimate. `stage`: the estimate is of an earlier state and
    greyed; what the session does meanwhile. None: the estimate is of this state.
    """
    state, number, beside = tag("pe-soft pe-state", nothing, nothing), tag("pe-big", "–"), ""
    if estimate is not None and estimate.seen:
        state = tag("pe-soft pe-state", label, label)
        number = _number(estimate)
        bar = "" if estimate.done else _progress(estimate)
        beside = f'<span class="pe-soft pe-counted">{escape(_counted(estimate))}{bar}</span>'
    if estimate is not None and stage is not None:
        busy = _busy(stage)
        state = tag("pe-state pe-now", busy, busy)
        number = f'<span class="pe-stale">{number}</span>'
        beside = tag("pe-soft pe-earlier", STRINGS["earlier"], STRINGS["earlier_help"])
    if reference is not None and reference.seen:
        beside += _reference(reference)
    head = tag("pe-label", STRINGS["accuracy"]) + state
    number += f'<span class="pe-beside">{beside}</span>'
    return f'<div class="pe-line">{head}</div><div class="pe-line">{number}</div>'


def _busy(stage: str) -> str:
    """The session's stage as the answer to where the new number is."""
    return STRINGS["counting"] if stage in ("ready", "evaluating") else f"{stage}…"


def _number(estimate: Estimate) -> str:
    low, high = 100 * estimate.low, 100 * estimate.high
    interval = STRINGS["interval_help"].format(low=f"{low:.1f}", high=f"{high:.1f}")
    accuracy = tag("pe-big", f"{100 * estimate.accuracy:.1f}") + tag("pe-unit", "%")
    return accuracy + tag("pe-soft pe-interval", f"± {(high - low) / 2:.1f}", interval)


def _reference(dense: Estimate) -> str:
    """The dense network's accuracy, marked until all images are seen; its interval in the tooltip."""
    text = STRINGS["reference" if dense.done else "reference_partly"]
    interval = {"low": f"{100 * dense.low:.1f}", "high": f"{100 * dense.high:.1f}"}
    help_text = STRINGS["reference_help"].format(counted=_counted(dense), **interval)
    return tag("pe-soft", text.format(accuracy=f"{100 * dense.accuracy:.1f}"), help_text)


def _counted(estimate: Estimate) -> str:
    key = "progress_all" if estimate.done else "progress"
    return STRINGS[key].format(seen=f"{estimate.seen:,}", of=f"{estimate.of:,}")


def _progress(estimate: Estimate) -> str:
    share = 100 * estimate.seen / estimate.of if estimate.of else 0.0
    return (
        f'<span class="pe-progress" role="progressbar" aria-valuemin="0" aria-valuemax="{estimate.of}" '
        f'aria-valuenow="{estimate.seen}"><span style="width:{share:.0f}%"></span></span>'
    )


def costs_html(cost: Cost, dense: Cost) -> str:
    """MACs and parameters as shares, file and memory small."""
    shares = _share("macs", cost.macs, dense.macs) + _share("params", cost.params, dense.params)
    small = _small("file", cost.file_bytes, dense.file_bytes)
    small += _small("memory", cost.peak_bytes, dense.peak_bytes)
    return f'<div class="pe-row">{shares}<div class="pe-cell">{small}</div></div>'


def _share(name: str, now: int, whole: int) -> str:
    label = tag("pe-label", STRINGS[name], STRINGS[f"{name}_help"])
    share = tag("pe-number", percent(now / whole if whole else 1.0))
    amounts = tag("pe-soft", part_of(now, whole))
    lines = f'<div class="pe-line">{label}</div><div class="pe-line">{share}{amounts}</div>'
    return f'<div class="pe-cell pe-{name}">{lines}</div>'


def _small(name: str, now: int, whole: int) -> str:
    label = tag("pe-label", STRINGS[name], STRINGS[f"{name}_help"])
    amount = tag("", amount_of(now, "B"), part_of(now, whole, "B"))
    return f'<div class="pe-line pe-{name}">{label}{amount}</div>'


def latency_html(latency: tuple[Latency, ...], cheaper: bool) -> str:
    """Now and dense, from pairs (dense, now) for each batch size; the spread in the tooltip.

    `cheaper`: the MACs fell. Where the time did not, the line says so.
    """
    if not latency:
        return tag("pe-soft", STRINGS["latency_none"])
    pairs = zip(latency[::2], latency[1::2], strict=True)
    return "".join(f'<div class="pe-line">{_pair(dense, now, cheaper)}</div>' for dense, now in pairs)


def _pair(dense: Latency, now: Latency, cheaper: bool) -> str:
    spread = {"low": now.low, "high": now.high, "dense_low": dense.low, "dense_high": dense.high}
    words = {name: duration(seconds) for name, seconds in spread.items()}
    help_text = STRINGS["latency_help"].format(runs=now.runs, batch=now.batch, **words)
    text = time_of(now.median, dense.median)
    if cheaper and now.median >= dense.low:
        text = STRINGS["latency_same"].format(now=time_of(now.median))
        help_text = STRINGS["latency_same_help"] + help_text
    return tag("", STRINGS["latency"].format(batch=now.batch, times=text), help_text)
