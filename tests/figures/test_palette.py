import pytest
from bokeh.models import Rect

from explorer.figures import bar_drawing
from explorer.figures.palette import DARK, LIGHT, paint, theme_script

SURFACES = {"light": (LIGHT, "#ffffff"), "dark": (DARK, "#111111")}


def luminance(colour):
    parts = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def contrast(one, other):
    """WCAG 2.2, "contrast ratio"."""
    light, dark = sorted((luminance(one), luminance(other)), reverse=True)
    return (light + 0.05) / (dark + 0.05)


@pytest.mark.parametrize("theme", SURFACES)
def test_text_is_readable_on_its_theme_and_forms_are_visible(theme):
    table, surface = SURFACES[theme]
    assert min(contrast(table[role], surface) for role in ("ink", "soft", "kept")) >= 4.5
    assert min(contrast(table[role], surface) for role in ("cut", "fixed")) >= 2.9


def test_both_themes_know_the_same_roles():
    assert LIGHT.keys() == DARK.keys()


def test_paint_colours_and_notes_the_role():
    glyph = paint(Rect(), fill_color="kept", line_color="cut")
    assert glyph.tags == ["fill_color=kept", "line_color=cut"]
    assert glyph.fill_color == LIGHT["kept"]


def test_the_theme_script_reaches_every_painted_model():
    root = bar_drawing.build().root
    painted = theme_script(root).args["painted"]
    assert {type(model).__name__ for model in painted} >= {"Quad", "Segment", "Text", "Scatter"}
    properties = {tag.split("=")[0] for model in painted for tag in model.tags}
    assert properties == {"fill_color", "hatch_color", "line_color", "text_color"}
