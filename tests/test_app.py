import gc
import subprocess
import sys
import threading
import weakref
from pathlib import Path

import numpy as np
import pytest
import torch
from ipywidgets.widgets.widget import _instances as open_widgets
from torch import nn

from explorer.app import Explorer
from explorer.errors import BadInput, ExplorerError, UnknownName
from explorer.records import Outcomes
from tests.session.conftest import WAIT, tiny_data, tiny_model


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


def test_in_a_console_it_is_one_line_and_in_a_notebook_the_dashboard(dashboard):
    dashboard.set(keep=0.5)
    share = dashboard.session.cost.macs / dashboard.session.dense_cost.macs
    for line in (repr(dashboard), str(dashboard), f"{dashboard}"):
        assert len(line) < 110
        assert "\n" not in line
        assert f"{100 * share:.0f} %" in line
    shown = dashboard._repr_mimebundle_()
    assert shown["application/vnd.jupyter.widget-view+json"]["model_id"] == dashboard.model_id
    assert shown["text/plain"] == repr(dashboard)
    dashboard.close()
    assert len(repr(dashboard)) < 110


def test_set_widths_pins_groups(dashboard):
    group = dashboard.session.graph.prunable[0]
    dashboard.set(widths={group.id: 3})
    assert dashboard.plan.widths[group.id] == 3


def test_undo_and_redo_go_through_what_was_set(dashboard):
    dense = dashboard.plan
    dashboard.set(keep=0.5)
    half = dashboard.plan
    dashboard.undo()
    assert dashboard.plan == dense
    dashboard.redo()
    assert dashboard.plan == half != dense


def test_bad_input_raises_and_the_plan_stays(dashboard):
    before = dashboard.plan
    for keep in (0, 7, "half", 1e-9):
        with pytest.raises(ExplorerError):
            dashboard.set(keep=keep)
    assert dashboard.plan == before


def test_unknown_names_and_keywords_are_refused_at_once():
    with pytest.raises(UnknownName, match="resnet20"):
        Explorer("resnet21")
    with pytest.raises(UnknownName, match="language"):
        Explorer("resnet20", language="xx")
    with pytest.raises(BadInput, match=r"exmaple.*source, data, example, scale, language, weights"):
        Explorer("resnet20", exmaple=1)
    for scale in (0, True, "1"):
        with pytest.raises(BadInput, match="scale"):
            Explorer("resnet20", scale=scale)


def test_a_closed_explorer_leaves_no_thread_no_widget_and_no_network(tmp_path):
    gc.collect()
    threads, widgets = set(threading.enumerate()), set(open_widgets)
    model = tiny_model()
    dashboard = Explorer(model, data=tiny_data())
    dashboard.set(keep=0.5)
    assert dashboard.session.wait(WAIT)
    right, wrong = np.zeros(150, np.int16), np.ones(150, np.int16)
    dashboard.session.outcomes = Outcomes(right, wrong, np.zeros(150, np.int64))  # images to look at
    board = dashboard._board
    for _label, view in board.views.tabs.options:
        board.views.tabs.value = view
    board.views.tabs.value = "images"
    board.views.holder.children[2].part.value = "instances"
    assert dashboard.session.wait(WAIT)  # their views work once they are known
    menu = board.actions.export
    menu.folder.value = str(tmp_path)
    menu.buttons["replay"].click()
    dashboard.session.train(1)
    dashboard.session.sweep("sensitivity")
    new = set(threading.enumerate()) - threads
    workers = {each for each in new if each.name != "tqdm_monitor"}  # torch.fx's own, where tqdm is installed
    assert {worker.name for worker in workers} == {"explorer-worker"}
    # Evaluation, what refits need, the network at rest, what choices give, training, two kinds of searches, sweeps,
    # instances and their views, layer, images, export.
    assert len(workers) == 11

    dashboard.close()
    for worker in workers:
        worker.join(timeout=WAIT)
    assert not any(worker.is_alive() for worker in workers)
    assert set(open_widgets) <= widgets
    gone = weakref.ref(model), weakref.ref(dashboard.session)
    del dashboard, board, menu, model, worker, workers, new
    gc.collect()
    assert [reference() for reference in gone] == [None, None]


def test_closing_twice_is_closing_once(dashboard):
    dashboard.close()
    dashboard.close()
    with pytest.raises(ExplorerError, match="closed"):
        dashboard.set(keep=0.5)


def test_criteria_that_need_images_are_not_offered_without(dashboard):
    offered = {name for _label, name in dashboard._board.heading.rank.options}
    assert "l1" in offered
    assert "taylor" not in offered


def test_the_snapshot_is_a_picture_of_its_own(dashboard, monkeypatch):
    shown = []
    monkeypatch.setattr("IPython.display.display", shown.append)
    dashboard.set(keep=0.5)
    dashboard.snapshot()
    (picture,) = shown
    assert "<svg" in picture.data
    assert "Sequential" in picture.data


def test_what_can_be_written_is_written(dashboard, tmp_path):
    dashboard.set(keep=0.5)
    page = dashboard.report(tmp_path / "report.html")
    assert "<html" in page.read_text("utf-8")
    compile(dashboard.replay(), "replay.py", "exec")
    written = dashboard.export(tmp_path / "network")
    assert all(path.is_file() for path in written)
    assert ".pt2" in {path.suffix for path in written}  # no file of Python can make this module again
    with pytest.raises(BadInput, match="is not a folder"):
        dashboard.export(tmp_path / "report.html")


def test_display_sends_bokehjs_inline_before_the_widget(dashboard, monkeypatch):
    published = []
    monkeypatch.setattr("explorer.panels.kit.bokeh_document.publish_display_data", published.append)
    bundle = dashboard._repr_mimebundle_()
    script = published[0]["application/javascript"]
    assert len(script) > 1_000_000
    assert "cdn.bokeh.org" not in script.split("\n")[0]
    assert "application/vnd.jupyter.widget-view+json" in bundle


def test_the_frame_stands_before_torch_and_bokeh_are_loaded():
    program = """
import sys
from explorer.app import Explorer
assert not {"torch", "bokeh", "jupyter_bokeh"} & set(sys.modules)

class Shell:
    kernel = object()

class Seen:
    def __init__(self):
        self.loaded = []
    def __call__(self, data, display_id):
        self.update(data)
        return self
    def update(self, data):
        self.loaded.append(("torch" in sys.modules, "loading network and images" in data.data))

from explorer.panels.kit import frame
frame.get_ipython, frame.display = Shell, Seen()
try:
    Explorer("no such network")
except KeyError:
    pass
print(frame.display.loaded)
"""
    done = subprocess.run(
        [sys.executable, "-c", program],
        capture_output=True,
        text=True,
        cwd=Path(__file__).parents[1],
        check=True,
    )
    seen = [(False, False), (False, False), (True, True), (True, False)]  # frame, its stages, and it is gone
    assert done.stdout.strip() == str(seen)
