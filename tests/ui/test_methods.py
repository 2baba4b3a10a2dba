"""The methods tab in a real JupyterLab: a method is chosen and replayed, its widths reach the bars; all fits."""

import pytest

from tests.ui.test_chain import SETTLED, TAB, picture
from tests.ui.test_explorer import fit, press

pytestmark = [pytest.mark.ui, pytest.mark.slow]

PANE = f"{TAB}.panes['slimming']"
OUTSIDE = """() => {
    const pane = document.querySelector('.pe-method:not(.pe-shut)'), box = pane.getBoundingClientRect()
    const parts = pane.querySelectorAll(':scope > :not(.pe-hidden, .pe-shut), button, input, select')
    return [...parts].filter((part) => {
        const {left, right, top, bottom, width} = part.getBoundingClientRect()
        return width > 1 && (left < box.left || right > box.right + 0.5 || top < box.top || bottom > box.bottom + 0.5)
    }).map((part) => part.innerText || part.className)
}"""


SHOWS = """([place, papers]) => {
    const pane = document.querySelector('.pe-method:not(.pe-shut)')
    return pane.querySelectorAll('.pe-chain-views button')[place].matches('.mod-active')
        && pane.querySelector('.pe-chain-papers').matches('.pe-shut') !== papers
}"""


@pytest.fixture
def slimming(open_notebook):
    """The explorer notebook, run, with Network Slimming chosen by keys in the methods tab."""
    notebook = open_notebook(width=1280, height=960)
    notebook.run_all()
    notebook.wait_drawn("bars")
    assert notebook.kernel(SETTLED)
    notebook.page.get_by_role("tab", name="Methods").click()
    notebook.wait_drawn("chain-curve")
    notebook.page.locator(".pe-method-choice select").select_option(label="Network Slimming")
    notebook.wait_drawn("method-slimming")
    return notebook


def test_it_is_replayed_by_keys_and_its_widths_reach_the_bars_and_every_view_fits(slimming):
    page, last = slimming.page, slimming.kernel(f"{PANE}.slider.max")
    slimming.wait_column("method-slimming-bars-kept", "top", slimming.kernel(bars("kept")))
    before = picture(slimming, ".pe-method .pe-chain-figure")
    press(slimming, ".pe-method .noUi-handle[aria-label='Step of the training']", *["ArrowLeft"] * 60)
    step = slimming.kernel(f"int({PANE}._recorded.run.steps[{last - 60}])")
    page.locator(".pe-method .pe-chain-step", has_text=f"step {step} of").wait_for()
    assert slimming.kernel(f"{PANE}._frame") == last - 60
    slimming.wait_column("method-slimming-bars-cut", "top", slimming.kernel(bars("cut")))
    assert picture(slimming, ".pe-method .pe-chain-figure") != before
    for width in (848, 1100, 1280):
        fit(slimming, width)
        for place, view in enumerate(("scales", "widths", "losses", "compare", "papers")):
            page.locator(".pe-method .pe-chain-views button").nth(place).click()
            page.wait_for_function(SHOWS, arg=[place, view == "papers"])
            assert page.evaluate(OUTSIDE) == [], (width, view)
            slimming.screenshot(f"slimming-{view}-{width}")
    page.locator(".pe-method .pe-chain-views button").nth(0).click()
    theme = "() => window.jupyterapp.commands.execute('apputils:change-theme', {theme: 'JupyterLab Dark'})"
    page.evaluate(theme)
    page.wait_for_function("() => document.body.dataset.jpThemeLight === 'false'")
    slimming.screenshot("slimming-scales-dark")
    page.locator(".pe-method").get_by_role("button", name="Use widths").click()
    page.wait_for_function("() => document.querySelector('.pe-status').innerText.includes('widths set')")
    found = f"dict({PANE}._recorded.run.widths)"
    assert slimming.kernel(f"{{group: Out[1].plan.widths[group] for group in {found}}}") == slimming.kernel(
        found
    )
    assert slimming.kernel(SETTLED)
    assert slimming.kernel("Out[1].session.error") == ""


def bars(role):
    return f"{PANE}._drawing.sources['bars', '{role}'].data['top']"
