"""The supernet of a search in its network's place, and the search that is still there when one comes back."""

import pytest
import torch
from torch import nn

from explorer.app import Explorer
from explorer.errors import BadInput, ExplorerError
from tests.session.conftest import WAIT, tiny_data, tiny_model, until
from tests.session.fake_instances import trained
from tests.session.fake_search import FakeRoad


@pytest.fixture
def road(monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    made = FakeRoad()
    monkeypatch.setattr("explorer.session.runs.events", made)
    yield made
    made.let()


@pytest.fixture
def dashboard(road):
    result = Explorer(tiny_model(), data=tiny_data())
    assert result.session._worker.idle(WAIT)
    yield result
    result.close()


@pytest.fixture
def searched(dashboard, road):
    """With a search that has ended, whose supernet has other weights than the network."""
    supernet = tiny_model()
    with torch.no_grad():
        supernet[0].weight.mul_(2)
    road.supernet = supernet
    dashboard.session.start_search()
    road.let()
    assert dashboard.wait(WAIT)
    return dashboard


def test_without_a_supernet_it_says_how_to_come_by_one(dashboard):
    with pytest.raises(BadInput, match="start_search"):
        dashboard.open_supernet()
    dashboard.close()
    with pytest.raises(ExplorerError, match="closed"):
        dashboard.open_supernet()


def test_the_supernet_is_explored_in_the_order_of_its_channels(searched, road):
    run = searched.session.runs.progress.get("dmcp").run
    searched.open_supernet()
    session = searched.session
    assert torch.equal(session.network.model[0].weight, road.supernet[0].weight)
    assert searched._picker.opener.description == "Sequential supernet"
    assert session.request.criterion == "order"
    assert not session.can_undo
    assert session.plan.widths == {group.id: group.size for group in session.graph.prunable}
    session.use_widths({"0": 2})
    assert session.plan.keep["0"].tolist() == [True, True, False, False, False, False]
    assert searched.wait(WAIT)
    assert session.runs.recorded.get("dmcp").run is run, "the chains that made it are seen with it"
    assert session.runs.progress.get("dmcp") is None


def test_undo_brings_the_network_back_with_its_search(searched):
    searched.set(keep=0.6)
    search, plan = searched.session.runs.progress.get("dmcp"), searched.plan
    searched.open_supernet()
    searched.undo()
    session = searched.session
    assert session.network.name == "Sequential"
    assert session.request.criterion == "l1"
    assert searched.plan == plan
    assert session.runs.progress.get("dmcp") is search
    assert session.trained_network() is not None
    searched.redo()
    assert searched.session.network.name == "Sequential supernet"
    assert searched.session.runs.recorded.get("dmcp").run is search.run


def test_a_search_that_runs_when_its_network_is_left_can_go_on_later(dashboard, road):
    left = dashboard.session
    left.start_search()
    road.let(2)
    until(left, lambda search: search.step >= 2)  # that has a snapshot
    dashboard.load(nn.Sequential(nn.Conv2d(1, 4, 3)), example=torch.zeros(1, 1, 8, 8))
    assert dashboard.session.runs.progress.get("dmcp") is None
    road.let(1)
    left._run_desk._worker._thread.join(WAIT)
    assert not left._run_desk._worker._thread.is_alive()
    dashboard.undo()
    assert (
        dashboard.session.runs.progress.get("dmcp").state,
        dashboard.session.runs.progress.get("dmcp").resumable,
    ) == ("stopped", True)
    dashboard.session.resume_search()
    road.let()
    assert dashboard.wait(WAIT)
    assert dashboard.session.runs.progress.get("dmcp").state == "ready"
    assert road.begun[1][0] == 2


def test_a_search_that_was_dropped_stays_dropped_wherever_one_goes(searched):
    searched.open_supernet()
    searched.undo()
    assert searched.session.runs.progress.get("dmcp").state == "ready"
    searched.session.drop_search()
    searched.redo()
    searched.undo()
    assert searched.session.network.name == "Sequential"
    assert searched.session.runs.progress.get("dmcp") is None
    assert searched.session.trained_network() is None


def test_a_training_of_subnetworks_is_there_again_with_its_network(dashboard, road):
    road.supernet = trained(dashboard.session)
    dashboard.session.start_search("manidp")
    road.let()
    assert dashboard.wait(WAIT)
    search = dashboard.session.runs.progress.get("manidp")
    dashboard.load(nn.Sequential(nn.Conv2d(1, 4, 3)), example=torch.zeros(1, 1, 8, 8))
    assert dashboard.session.runs.progress.get("manidp") is None
    dashboard.undo()
    session = dashboard.session
    assert session.runs.progress.get("manidp") is search
    session.show_instances("own")
    assert session.dynamic() is road.supernet
