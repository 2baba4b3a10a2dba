"""The subnetwork of each image in a real JupyterLab: all views fit, images are picked by keys and by a tap."""

import pytest

from tests.ui.lab import FIND
from tests.ui.test_explorer import fit

pytestmark = [pytest.mark.ui, pytest.mark.slow]

SETTLED = "Out[1].session.wait(timeout=300)"
VIEWS = ("gallery", "strip", "macs", "similarity", "channel", "effects", "published")
OUTSIDE = """() => {
    const tab = document.querySelector('.pe-images-tab'), box = tab.getBoundingClientRect()
    const parts = tab.querySelectorAll(
        ':scope > *, .pe-instances > :not(.pe-hidden, .pe-shut), .pe-instances :is(button, select)')
    return [...parts].filter((part) => {
        const {left, right, top, bottom, width} = part.getBoundingClientRect()
        return width > 1 && (left < box.left || right > box.right + 0.5 || top < box.top || bottom > box.bottom + 0.5)
    }).map((part) => part.innerText || part.className)
}"""


@pytest.fixture
def running(open_notebook):
    """The explorer notebook with the images tab open on the instances' part."""
    notebook = open_notebook(width=1280, height=960)
    notebook.run_all()
    notebook.wait_drawn("bars")
    assert notebook.kernel(SETTLED)
    notebook.page.get_by_role("tab", name="Images").click()
    notebook.page.locator(".pe-images-parts button", has_text="Per image").click()
    notebook.page.wait_for_function(
        f"() => (({FIND})('instance-gallery-cells')?.data.share.length ?? 0) > 0", timeout=120_000
    )
    return notebook


def open_view(notebook, place):
    notebook.page.locator(".pe-instance-views .pe-segments button").nth(place).click()


@pytest.mark.parametrize("width", [848, 1280])
def test_every_view_fits_into_the_tab(running, width):
    fit(running, width)
    for place, view in enumerate(VIEWS):
        open_view(running, place)
        if running.page.locator(".pe-instance-empty:not(.pe-shut)").count() == 0:
            running.wait_drawn(f"instance-{view}")
        running.page.wait_for_function(f"() => ({OUTSIDE})().length === 0")  # once the page is laid out anew
        running.screenshot(f"instances-{width}-{view}")


def test_a_tap_picks_an_image_the_bars_show_it_and_a_list_picks_another(running):
    page = running.page
    bars = page.locator(".pe-bars").first.screenshot()
    left, top = (running.column("instance-gallery-cells", name)[1] for name in ("left", "top"))
    page.mouse.click(*running.pixel("instance-gallery", left + 20, top - 20))
    page.get_by_role("button", name="Run it").wait_for()
    (image,) = running.kernel("list(Out[1].session.picked)")
    assert running.column("instance-gallery-cells", "title")[1].endswith(str(image))
    assert page.locator(".pe-bars").first.screenshot() != bars
    assert running.page.evaluate(OUTSIDE) == []

    second = page.locator(".pe-instance-picks select").nth(1)
    second.focus()
    page.keyboard.press("End")
    running.wait_drawn("instance-pair")
    assert running.kernel("len(Out[1].session.picked)") == 2
    running.screenshot("instances-pair")
    page.locator(".pe-instance-clear").click()
    page.locator(".pe-instance-clear.pe-shut").wait_for(state="attached")
    assert running.kernel("Out[1].session.picked") == []
    assert running.kernel("Out[1].session.error") == ""


def test_the_slider_answers_by_keys(running):
    before = running.kernel("[Out[1].session.instance_level, Out[1].session.instances.mean_share]")
    running.page.locator(".pe-instance-level .noUi-handle").focus()
    for _press in range(10):
        running.page.keyboard.press("ArrowLeft")
    running.page.wait_for_function(
        "text => document.querySelector('.pe-instance-percent').innerText === text",
        arg=f"\u2264 {round(100 * before[0]) - 10} %",
    )
    assert running.kernel(SETTLED)
    after = running.kernel("[Out[1].session.instance_level, Out[1].session.instances.mean_share]")
    assert after[0] == pytest.approx(before[0] - 0.1)
    assert after[1] < before[1]
    assert running.kernel("Out[1].session.error") == ""
