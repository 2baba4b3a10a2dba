"""The script by which the knobs of a chain are dragged; it draws in the browser what Python will answer."""

DRAG = """
export default (
  {chart, hover, ask, answer, chain, curve, bars, knobs, expected, likely, reach, at}, changed,
) => {
  const state = ask.dragging ??= {knob: null, wish: null, listening: null}
  const frame = () => Bokeh.index.find_one(chart).frame
  const shown = (name) => chain.data[name][0]
  const height = (probability) => at.foot + (at.top - at.foot) * probability

  // Retention probabilities, those of the widths, the expected width and its spread, as `Chain` has them.
  const worked_out = (transitions) => {
    const retention = [], probabilities = []
    let kept = 1, sum = 0, squares = 0
    for (const [k, p] of transitions.entries()) {
      probabilities.push(kept * (1 - p))
      kept *= p
      retention.push(kept)
      sum += kept
      squares += (2 * k + 1) * kept
    }
    probabilities.push(kept)
    const spread = shown("step") * Math.sqrt(Math.max(squares - sum * sum, 0))
    return {retention, probabilities, width: shown("least") + shown("step") * sum, spread}
  }

  // Where the text of the highest bar begins or ends: as `_beside` in chain_curve.
  const beside = (bar, line, room) => {
    const gap = at.gap / at.pixels
    let best = null
    for (const [x, align] of [
      [bar - gap, "left"], [bar + gap, "right"], [line + gap, "left"], [line - gap, "right"],
    ]) {
      const low = x - (align === "right" ? room : 0)
      const crossed = low < line + gap / 2 && line - gap / 2 < low + room
      const cost = Math.max(at.left - low, low + room - at.right, 0) + Number(crossed)
      if (best == null || cost < best.cost) best = {cost, x, align}
    }
    return best
  }

  // Draw the wish into the sources, in place: nothing of it is sent.
  const draw = ({group, place, probability}) => {
    if (shown("group") !== group) return
    knobs.data.p[place] = probability
    knobs.data.y[place] = height(probability)
    const {retention, probabilities, width, spread} = worked_out(knobs.data.p)
    for (const [k, kept] of retention.entries()) curve.data.y[2 * k + 2] = curve.data.y[2 * k + 3] = height(kept)
    const most = Math.max(...probabilities)
    for (const [k, p] of probabilities.entries()) bars.data.top[k] = at.low + at.tall * p / most
    const size = shown("size"), x = width / size, digits = shown("digits")
    const e = expected.data, right = x < 0.5 ? 1 : -1
    e.x[0] = x
    e.left[0] = Math.max(x - spread / size, 0)
    e.right[0] = Math.min(x + spread / size, 1)
    e.text[0] = shown("expected").replace("{e}", width.toFixed(digits)).replace("{s}", spread.toFixed(digits))
    e.align[0] = right > 0 ? "left" : "right"
    e.shift[0] = right * at.gap
    const highest = probabilities.indexOf(most), ends = shown("least") + shown("step") * highest
    const text = shown("likely").replace("{w}", ends).replace("{p}", Number(most.toPrecision(2)))
    const spot = beside(ends / size, x, at.letter * text.length / at.pixels)
    likely.data.x[0] = spot.x
    likely.data.text[0] = text
    likely.data.align[0] = spot.align
    for (const source of [curve, bars, knobs, expected, likely]) source.change.emit()
  }

  const send = (ended) => {
    const {group, place, probability} = state.wish
    state.wish.number = Math.max(Date.now(), ask.data.number[0] + 1)
    ask.data = {
      number: [state.wish.number], group: [group], place: [place], probability: [probability], ended: [ended],
    }
  }

  // The knob nearest to the pointer, if one is in reach.
  const caught = (sx, sy) => {
    const {x_scale, y_scale} = frame(), {x, y, p} = knobs.data
    let best = null, nearest = reach
    for (let place = 0; place < x.length; place++) {
      const away = Math.hypot(x_scale.compute(x[place]) - sx, y_scale.compute(y[place]) - sy)
      if (away <= nearest) {
        best = {group: shown("group"), place, from: sy, start: p[place]}
        nearest = away
      }
    }
    return best
  }

  const move = (sy) => {
    const {group, place, from, start} = state.knob, {y_scale} = frame()
    const rise = (y_scale.invert(sy) - y_scale.invert(from)) / (at.top - at.foot)
    const probability = Math.min(Math.max(Math.round(100 * (start + rise)) / 100, 0), 1)
    if (probability === state.wish?.probability) return
    state.wish = {group, place, probability}
    draw(state.wish)
    send(false)
  }

  const listen = (element) => {
    const spot = (event) => {
      const {left, top} = element.getBoundingClientRect()
      return [event.clientX - left, event.clientY - top]
    }
    element.addEventListener("pointerdown", (event) => {
      if (event.button !== 0 || !event.isPrimary) return
      state.knob = caught(...spot(event))
      if (state.knob == null) return
      state.wish = null
      element.setPointerCapture(event.pointerId)
      hover.active = false
      for (const {model} of Bokeh.index.query((view) => view.model.type === "Tooltip")) model.clear()
    })
    element.addEventListener("pointermove", (event) => {
      const [sx, sy] = spot(event)
      if (state.knob != null) {
        if (sy !== state.knob.from || state.wish != null) move(sy)
      } else if (!hover.active) hover.active = true  // not at once: it would explain where the drag began
      element.style.cursor = state.knob != null || caught(sx, sy) != null ? "ns-resize" : "default"
    })
    const let_go = () => {
      if (state.knob == null) return
      state.knob = null
      if (state.wish != null) send(true)
    }
    element.addEventListener("pointerup", let_go)
    element.addEventListener("pointercancel", let_go)
    // A finger on a knob drags it; anywhere else it scrolls the page.
    const hold = (event) => {
      const [touch] = event.touches
      if (event.touches.length === 1 && caught(...spot(touch)) != null) event.preventDefault()
    }
    element.addEventListener("touchstart", hold, {passive: false})
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
  else if (state.knob == null) state.wish = null
}
"""
