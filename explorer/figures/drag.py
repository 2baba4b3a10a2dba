"""Dragging the bars' ends: at once in the browser, asked of Python at the same time, confirmed by its answer.

The script moves what the pointer holds in the sources that are drawn, and sends the wanted widths through
"ask", one row: `number` of the request, `groups` and their `widths`, and the `layer` whose end is held (""
for a folded block's). Python puts the number into "answer" with
what became of it; until then the browser draws its own wish over anything older that arrives. Requests that wait
for the kernel are combined by the transport: the latest wins.
"""

from bokeh.models import ColumnDataSource, CustomJS, HoverTool
from bokeh.plotting import figure

from explorer.figures.view import View

REACH = 12  # pixels from a handle in which it is caught
BEYOND = 14  # pixels left of the bars' start that ask for width 0
# JavaScript: `snapped(width, step, size)` is the width next to a place between widths that a group goes to: whole
# steps or its size, as `allocate.nearest_width` has it.
SNAP = """
const snapped = (width, step, size) => {
  const below = Math.min(Math.max(Math.round(width / step), 1) * step, size)
  return size - width < Math.abs(width - below) ? size : below
}
"""


def make_draggable(chart: figure, view: View, scale: float) -> tuple[ColumnDataSource, ColumnDataSource]:
    """Attach the script to the chart of `bar_drawing.build`; returns the sources "ask" and "answer".

    It listens to the pointer itself: Bokeh's pan begins after five pixels, which are more than one channel, and
    not at all if the pointer is held still for a moment first.
    """
    ask = ColumnDataSource({"number": [0], "groups": [[]], "widths": [[]], "layer": [""]}, name="bars-ask")
    answer = ColumnDataSource({"number": [0]}, name="bars-answer")
    drawn = {name: view.sources[name] for name in ("rows", "bands", "folds", "handles")}
    hover = chart.select_one(HoverTool)
    pixels = {"reach": REACH * scale, "beyond": BEYOND * scale}
    args = {"chart": chart, "hover": hover, "ask": ask, "answer": answer, **drawn, **pixels}
    script = CustomJS(args=args, code=SNAP + _DRAG)
    chart.js_on_change("inner_width", script)
    for source in (*drawn.values(), answer):
        source.js_on_change("data", script)
    return ask, answer


_DRAG = """
export default ({chart, hover, ask, answer, rows, bands, folds, handles, reach, beyond}, changed) => {
  const state = ask.dragging ??= {handle: null, wish: null, listening: null}
  const frame = () => Bokeh.index.find_one(chart).frame
  const scale = () => frame().x_scale
  const drawn = (value) => !Number.isNaN(value)
  const place = (column, value) => {
    if (drawn(column[0][column[1]])) column[0][column[1]] = value
  }

  // The handle under the pointer: the nearest end in whose row it is; of equally near ones a layer's own,
  // which stand before those of bands.
  const caught = (sx, y) => {
    const {low, high, x} = handles.data
    let best = null, nearest = Infinity
    for (let i = 0; i < x.length; i++) {
      const away = Math.abs(scale().compute(x[i]) - sx)
      if (low[i] <= y && y < high[i] && away <= reach && away < nearest) {
        best = i
        nearest = away
      }
    }
    if (best == null) return null
    const handle = {sx: scale().compute(x[best])}
    for (const name of ["group", "groups", "sizes", "snaps", "base", "step", "unit", "fold", "layer"]) {
      handle[name] = handles.data[name][best]
    }
    return handle
  }

  // Widths of all groups of the handle when its end is at that pixel.
  const wanted = ({group, sizes, snaps, base, step, unit}, sx) => {
    if (group !== "" && sx < scale().compute(0) - beyond) return [0]
    const at = scale().invert(sx) / unit
    const share = Math.min(Math.max(at, 0), 1)
    return sizes.map((size, i) => {
      const width = group === "" ? share * size : (at - base) / step
      return snapped(width, snaps[i], size)
    })
  }

  // Draw the wish into the sources, in place: nothing of it is sent.
  const draw = ({handle, widths, share}) => {
    const table = new Map(handle.groups.map((group, i) => [group, widths[i]]))
    const r = rows.data, b = bands.data, h = handles.data, f = folds.data
    const lengths = new Map()
    for (let i = 0; i < r.group.length; i++) {
      const width = table.get(r.group[i])
      if (width == null || !drawn(r.kept[i]) && !drawn(r.chosen[i])) continue
      const channels = r.base[i] + r.step[i] * width, length = channels * r.unit[i]
      if (!lengths.has(r.group[i])) lengths.set(r.group[i], length)
      place([r.kept, i], length)
      place([r.chosen, i], length)
      if (r.number[i] !== "") {
        r.number[i] = String(channels)
        r.crossed[i] = width === 0 ? r.dense[i] : NaN
      }
    }
    for (let i = 0; i < b.group.length; i++) {
      const length = lengths.get(b.group[i])
      if (length == null) continue
      b.width[i] = length
      place([b.kept, i], length)
      place([b.chosen, i], length)
    }
    for (let i = 0; i < h.group.length; i++) {
      const own = handle.fold >= 0 && h.fold[i] === handle.fold
      const width = table.get(h.group[i])
      if (!own && width == null) continue
      const x = own ? share * h.unit[i] : (h.base[i] + h.step[i] * width) * h.unit[i]
      h.x[i] = x
      place([h.kept, i], x)
      place([h.chosen, i], x)
    }
    const fold = handle.fold < 0 ? -1 : f.start.indexOf(handle.fold)
    if (fold >= 0) {
      f.low[fold] = f.median[fold] = f.high[fold] = share * f.dense[fold]
      f.number[fold] = `${Math.round(100 * share)}%`
    }
    for (const source of [rows, bands, handles, folds]) source.change.emit()
  }

  const move = (sx) => {
    const widths = wanted(state.handle, sx)
    const share = Math.min(Math.max(scale().invert(sx) / state.handle.unit, 0), 1)
    const same = state.wish != null && widths.every((width, i) => width === state.wish.widths[i])
    if (same && state.handle.fold < 0) return
    const number = same ? state.wish.number : Math.max(Date.now(), ask.data.number[0] + 1)
    state.wish = {handle: state.handle, widths, share, number}
    draw(state.wish)
    const {groups, layer} = state.handle
    if (!same) ask.data = {number: [number], groups: [groups], widths: [widths], layer: [layer]}
  }

  const listen = (element) => {
    const spot = (event) => {
      const {left, top} = element.getBoundingClientRect()
      return [event.clientX - left, frame().y_scale.invert(event.clientY - top)]
    }
    element.addEventListener("pointerdown", (event) => {
      if (event.button !== 0 || !event.isPrimary) return
      const [sx, y] = spot(event)
      state.handle = caught(sx, y)
      if (state.handle == null) return
      state.handle.from = sx
      state.wish = null
      element.setPointerCapture(event.pointerId)
      hover.active = false
      for (const {model} of Bokeh.index.query((view) => view.model.type === "Tooltip")) model.clear()
    })
    element.addEventListener("pointermove", (event) => {
      const [sx, y] = spot(event)
      if (state.handle != null) {
        if (sx !== state.handle.from || state.wish != null) move(state.handle.sx + sx - state.handle.from)
      } else if (!hover.active) hover.active = true  // not at once: it would explain where the drag began
      element.style.cursor = state.handle != null || caught(sx, y) != null ? "ew-resize" : "default"
    })
    const let_go = () => {
      if (state.handle == null) return
      state.handle = null
      if (answer.data.number[0] === state.wish?.number) state.wish = null
    }
    element.addEventListener("pointerup", let_go)
    element.addEventListener("pointercancel", let_go)
  }

  const element = Bokeh.index.find_one(chart)?.canvas_view?.events_el
  if (element != null && element !== state.listening) {
    state.listening = element
    element.style.touchAction = "pan-y"
    listen(element)
  }
  // New columns of Python's: a wish that they do not answer yet is drawn again.
  if (changed === chart || state.wish == null) return
  if (answer.data.number[0] !== state.wish.number) draw(state.wish)
  else if (state.handle == null) state.wish = null
}
"""
