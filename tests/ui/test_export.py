"""The export menu in a real JupyterLab: it fits the smallest screen, by keyboard, and what it writes is there."""

import pytest

from tests.ui.test_explorer import POPOVERS, SETTLED, SMALLEST, fit

pytestmark = [pytest.mark.ui, pytest.mark.slow]

ANSWER = "text => document.querySelector('.pe-export-answer')?.innerText.includes(text)"
OUTSIDE = """selector => {
    const root = document.querySelector('.pruning-explorer').getBoundingClientRect()
    const surface = document.querySelector(selector)
    const clipped = [...surface.querySelectorAll('*')].filter(part => part.scrollWidth > part.clientWidth + 1
        && getComputedStyle(part).overflowX !== 'visible' && part.clientWidth > 1)
    const box = surface.getBoundingClientRect()
    const inside = box.left >= root.left && box.right <= root.right + 0.5 && box.bottom <= root.bottom + 0.5
    return [inside ? [] : ['the pop-over'], clipped.map(part => part.className),
        surface.scrollHeight > surface.clientHeight + 1 ? ['scrolls'] : []].flat()
}"""


def test_the_menu_fits_and_writes_onnx_by_keyboard(open_notebook):
    running = open_notebook(width=1280, height=960)
    running.run_all()
    running.wait_drawn("bars")
    assert running.kernel(SETTLED)
    fit(running, SMALLEST[0])
    running.page.locator(".pe-export .pe-opener").focus()
    running.page.keyboard.press("Enter")
    running.page.locator(POPOVERS).wait_for()
    assert running.page.evaluate(OUTSIDE, POPOVERS) == []
    running.screenshot("export-open")
    buttons = running.page.locator(f"{POPOVERS} button")
    assert buttons.count() == 6
    buttons.nth(1).focus()
    running.page.keyboard.press("Enter")
    running.page.wait_for_function(ANSWER, arg="resnet20_pruned.onnx", timeout=120_000)
    assert running.page.evaluate(OUTSIDE, POPOVERS) == []
    running.screenshot("export-written")
    assert running.kernel("__import__('pathlib').Path('resnet20_pruned/resnet20_pruned.onnx').is_file()")
