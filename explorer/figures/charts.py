"""All figures of the dashboard side by side in one root, so that one Bokeh document carries them."""

from bokeh.models import Column, GridBox, Spacer

from explorer.figures.view import View


def side_by_side(bars: View, importance: View, above: float, scale: float = 1.0) -> GridBox:
    """The bars on the left 46 %, the histogram on the right below `above` pixels left free for widgets."""
    head = Spacer(height=round(above * scale), sizing_mode="stretch_width")
    right = Column(children=[head, importance.root], sizing_mode="stretch_width")
    return GridBox(
        children=[(bars.root, 0, 0), (right, 0, 1)],
        cols=["46fr", "54fr"],
        sizing_mode="stretch_width",
        height=bars.root.height,
        spacing=(0, round(16 * scale)),
    )
