import pytest
pytestmark = [pytest.mark.ui, pytest.mark.slow]
@pytest.mark.parametrize(("width","dark"), [(1280, False), (1532, True)])
def test_shots(open_notebook, width, dark):
    n = open_notebook(width=width, height=720, dark=dark)
    n.run_all(); n.wait_drawn("bars")
    assert n.kernel("Out[1].session.wait(timeout=300)")
    n.page.get_by_role("tab", name="Methods").click()
    n.wait_drawn("chain-curve")
    n.screenshot(f"m-dmcp-{width}-{dark}")
    TAB = "[pane for pane in Out[1]._board.views.holder.children if 'pe-methods-tab' in pane._dom_classes][0]"
    for m in ("slimming","manidp"):
        n.kernel(f"{TAB}.turn_to('{m}')")
        n.wait_drawn(f"method-{m}")
        k = n.kernel(f"len({TAB}.panes['{m}'].view.options)")
        for i in range(k):
            n.kernel(f"{TAB}.panes['{m}'].view.set_trait('value', {i})")
            n.page.wait_for_timeout(700)
            n.screenshot(f"m-{m}-{i}-{width}-{dark}")
    n.kernel(f"{TAB}.turn_to('slimming')")
    n.kernel(f"{TAB}.panes['slimming'].form.popover.opener.set_trait('value', True)")
    n.page.wait_for_timeout(700)
    n.screenshot(f"m-form-{width}-{dark}")
