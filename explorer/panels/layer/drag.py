"""The width in the browser: handle and threshold follow the pointer at once, channels are picked by hovering.

The marker among the errors is drawn by Python only, with its numbers.
"""

from collections.abc import Callable
from typing import Any

from bokeh.models import ColumnDataSource, CustomJS
from bokeh.plotting import figure

from explorer.figures import importance, lens
from explorer.figures.drag import SNAP
from explorer.figures.view import View

PAN = ("panstart", "pan", "panend")


class Gestures:
    """Sources that the browser writes (`heard`), and the scripts on the charts that write them.

    `target` names the group that a drag is of; without a row nothing can be dragged. `moved(gesture, group,
    width, ended)` and `hovered(channel)` are called with what arrives; gestures are numbered, since of messages
    that wait for a busy kernel only the last one comes.
    """

    def __init__(
        self,
        width: View,
        scores: View,
        errors: View,
        answers: View,
        moved: Callable[[int, str, int, bool], None],
        hovered: Callable[[int], None],
    ) -> None:
        self.target = ColumnDataSource({"group": [], "size": [], "snap": []}, name="layer-target")
        sent = ColumnDataSource({"gesture": [], "group": [], "width": [], "ended": []}, name="layer-drag")
        pointed = ColumnDataSource({"channel": []}, name="layer-hover")
        self.heard = ((sent, "data"), (pointed, "data"))
        self.echoed = (width.sources["bar"], scores.sources["bars"], scores.sources["threshold"])
        models = {"target": self.target, "bar": width.sources["bar"], "sent": sent}
        models |= {name: scores.sources[name] for name in ("bars", "threshold", "scale")}
        for kind, view in (("lens", width), ("threshold", scores), ("errors", errors)):
            _on(view.root, PAN, CustomJS(args={"kind": kind, **models}, code=_DRAG))
        models = {
            "answers": answers.sources["scale"],
            "chosen": answers.sources["chosen"],
            "pointed": pointed,
        }
        models["ranks"] = scores.sources["scale"]
        for kind, view in (("sorted", scores), ("channels", answers)):
            _on(view.root, ("mousemove", "tap"), CustomJS(args={"kind": kind, **models}, code=_HOVER))
        sent.on_change(
            "data", lambda _attr, _old, new: moved(*_row(new, "gesture", "group", "width", "ended"))
        )
        pointed.on_change("data", lambda _attr, _old, new: hovered(*_row(new, "channel")))


def _row(data: dict[str, list[Any]], *names: str) -> tuple[Any, ...]:
    return tuple(data[name][0] for name in names)


def _on(chart: figure, events: tuple[str, ...], script: CustomJS) -> None:
    for event in events:
        chart.js_on_event(event, script)


_DRAG = f"""
{importance.ECHO}
{lens.ECHO}
{SNAP}
export default ({{kind, target, bar, bars, threshold, scale, sent}}, event) => {{
  if (target.data.group.length == 0) return
  if (kind == "threshold" && threshold.data.x.length == 0) return
  if (event.event_name == "panstart") sent.gesture = {{number: Date.now(), width: 0}}
  const gesture = sent.gesture
  if (gesture == null) return
  const ended = event.event_name == "panend"
  if (ended) {{
    sent.gesture = null
    if (gesture.width == 0) return
  }} else {{
    const size = target.data.size[0]
    const width = snapped(kind == "threshold" ? widthAt(scale, event.x) : event.x * size, target.data.snap[0], size)
    if (width == gesture.width) return
    gesture.width = width
    lensTo(bar, width)
    show(bars, threshold, scale, width)
  }}
  sent.data = {{gesture: [gesture.number], group: [target.data.group[0]], width: [gesture.width], ended: [ended]}}
}}
"""

_HOVER = """
export default ({kind, answers, ranks, chosen, pointed}, event) => {
  const scale = kind == "sorted" ? ranks : answers
  if (scale.data.size.length == 0 || (kind == "sorted" && !scale.data.ordered[0])) return
  const place = Math.floor(event.x * scale.data.size[0])
  if (!(place >= 0 && place < scale.data.size[0])) return
  const channel = kind == "sorted" ? (scale.data.channels[0][place] ?? -1) : place
  const size = answers.data.size[0]
  const before = size && chosen.data.left.length ? Math.round(chosen.data.left[0] * size) : pointed.data.channel[0]
  if (channel < 0 || channel == before) return
  if (size) chosen.data = {left: [channel / size], right: [(channel + 1) / size]}
  pointed.data = {channel: [channel]}
}
"""
