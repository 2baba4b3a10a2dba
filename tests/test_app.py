import pytest
import torch
from torch import nn

from explorer.app import Explorer
from explorer.errors import BadInput, ExplorerError, UnknownName


def small():
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(1, 8, 3), nn.ReLU(), nn.Conv2d(8, 12, 3), nn.ReLU(), nn.Flatten(), nn.Linear(12 * 16, 3)
    )


@pytest.fixture
def dashboard():
    result = Explorer(small(), example=torch.zeros(1, 1, 8, 8))
    yield result
    result.close()


def test_set_cuts_at_once_and_network_is_the_smaller_one(dashboard):
    assert all(kept.all() for kept in dashboard.plan.keep.values())
    dashboard.set(keep=0.5)
    widths = sorted(dashboard.plan.widths.values())
    assert widths[0] < 8 or widths[1] < 12
    assert dashboard.network()[0].out_channels in widths
    assert dashboard.estimate is None  # there are no images


def test_set_widths_pins_groups(dashboard):
    group = dashboard.session.graph.prunable[0]
    dashboard.set(widths={group.id: 3})
    assert dashboard.plan.widths[group.id] == 3


def test_bad_input_raises_and_the_plan_stays(dashboard):
    before = dashboard.plan
    for keep in (0, 7, "half", 1e-9):
        with pytest.raises(ExplorerError):
            dashboard.set(keep=keep)
    assert dashboard.plan == before


def test_unknown_names_and_keywords_are_refused_at_once():
    with pytest.raises(UnknownName, match="resnet20"):
        Explorer("resnet21")
    with pytest.raises(BadInput, match=r"exmaple.*source, data, example and scale"):
        Explorer("resnet20", exmaple=1)
    with pytest.raises(BadInput, match="scale"):
        Explorer("resnet20", scale=0)


def test_criteria_that_need_images_are_not_offered_without(dashboard):
    offered = {name for _label, name in dashboard.children[1].rank.options}
    assert "l1" in offered
    assert "taylor" not in offered


def test_display_sends_bokehjs_inline_before_the_widget(dashboard, monkeypatch):
    published = []
    monkeypatch.setattr("explorer.panels.bokeh_document.publish_display_data", published.append)
    bundle = dashboard._repr_mimebundle_()
    script = published[0]["application/vnd.bokehjs_load.v0+json"]
    assert len(script) > 1_000_000
    assert "cdn.bokeh.org" not in script.split("\n")[0]
    assert "application/vnd.jupyter.widget-view+json" in bundle
