"""The instances pane over a session without an engine: values of toys, and what a person does with them."""

import re
from dataclasses import replace
from html import unescape
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from explorer.errors import BadInput
from explorer.figures import instance_gallery
from explorer.panels.images.images_tab import ImagesTab
from explorer.panels.instances.foot import LISTED, NONE, listed_rows
from explorer.panels.instances.pane import InstancesPane
from explorer.panels.instances.views import VIEWS
from explorer.panels.instances.words import mean_words, picked_words, timing_words
from explorer.panels.instances.work import Alike, InstanceWork, Peaked, Peaks, Pictures
from explorer.records import Progress, TrainingCost
from explorer.strings import Strings
from explorer.values import Estimate, Latency
from tests.instance_runs import example_instances, example_recorded_instances
from tests.panels.fake_session import FakeSession

SAY = Strings("en")
NAMES = ("bag", "boot", "coat", "dress")
WAIT = 60


class Images:
    """80 pictures of their own number."""

    def __init__(self, labelled=True):
        self.pixels = torch.arange(80, dtype=torch.uint8)[:, None, None, None].expand(80, 1, 4, 4)
        self.labelled = labelled
        self.class_numbers = () if labelled else None

    def __len__(self):
        return len(self.pixels)


def fake(train=True, labelled=True, norms=True):
    session = FakeSession()
    if norms:
        session.graph = replace(session.graph, folds=(("conv", "norm"),))
    session.network.data = SimpleNamespace(
        name="toys", classes=NAMES, explore=Images(), train=Images(labelled) if train else None, final=None
    )
    return session


@pytest.fixture
def session():
    return fake()


@pytest.fixture
def pane(session):
    pane = InstancesPane(session, SAY)
    assert pane.work.idle(WAIT)
    yield pane
    pane.close()


def words(html):
    return " ".join(unescape(re.sub(r"<[^>]*>", " ", html)).split())


def column(pane, source, name):
    found = [document._model.select_one({"name": source}) for document in pane.documents]
    return next(model for model in found if model is not None).data[name]


def is_shown(widget):
    return "pe-shut" not in widget._dom_classes


# ---- whose subnetworks -----------------------------------------------------------------------------------


def test_without_a_recorded_run_the_most_active_channels_are_shown(session, pane):
    assert ("show_instances", "active") in session.called
    assert [name for _text, name in pane.source.options] == ["active"]
    assert "in theory" in words(pane.mean.value)
    assert "perfect predictor" in words(pane.summary.value)


def test_a_recorded_run_is_shown_first_and_the_source_can_be_chosen():
    session = fake()
    session.recorded_instances = example_recorded_instances(session.graph)
    pane = InstancesPane(session, SAY)
    assert session.instance_source == "recorded"
    assert [name for _text, name in pane.source.options] == ["active", "recorded"]
    assert "perfect predictor" not in words(pane.summary.value)
    pane.source.value = "active"
    assert session.instance_source == "active"
    session.instance_search = ended("fbs")
    assert pane.source.options[-1] == ("your FBS", "own")
    pane.source.value = "own"
    assert session.called[-1] == ("show_instances", "own")
    pane.close()


def ended(method):
    return Progress(method, {}, "ready", 10, 10, "train", {}, None, TrainingCost(), None)


def test_what_the_session_shows_already_stays():
    session = fake()
    session.show_instances("recorded")
    session.called.clear()
    InstancesPane(session, SAY).close()
    assert not [call for call in session.called if call[0] == "show_instances"]


def test_without_images_it_says_so_in_words():
    pane = InstancesPane(FakeSession(data=False), SAY)
    assert "load the network with images" in words(pane.empty.value)
    assert "load the network with images" in words(pane.summary.value)
    assert not is_shown(pane.figure)
    assert pane.training.popover.opener.disabled
    pane.view.value = "papers"
    assert is_shown(pane.figure), "what was published needs no images"
    pane.close()


def test_a_network_without_sites_says_why(session, monkeypatch):
    def refuse(*_arguments):
        raise BadInput("There is no convolution whose channels could be dropped.")

    monkeypatch.setattr(session, "show_instances", refuse)
    pane = InstancesPane(session, SAY)
    assert "no convolution" in words(pane.empty.value)
    assert session.error == "", "it is said where the images would be"
    pane.close()


def test_a_training_that_is_dropped_leaves_a_choice(session, pane):
    with session.hold_trait_notifications():
        session.instance_source, session.instances, session.instance_estimate = "", None, None
    assert "Choose above" in words(pane.empty.value)
    assert pane.source.value is None
    pane.source.value = "active"
    assert is_shown(pane.figure)


# ---- how much is kept ------------------------------------------------------------------------------------


def test_the_slider_asks_for_a_level_and_a_trial_looks_provisional(session, pane):
    exact = words(pane.mean.value)
    assert "about" not in exact.lower()
    assert "pe-instance-trial" not in pane.mean.value
    summary = pane.summary.value
    pane.level.value = 40
    assert session.called[-1] == ("set_instance_level", 0.4)
    assert "pe-instance-trial" in pane.mean.value
    assert "about" in words(pane.mean.value)
    assert words(pane.percent.value) == "40 %"
    assert pane.summary.value == summary, "screen readers are not read every step"


@pytest.mark.parametrize(
    ("trial", "estimate", "said"),
    [
        (
            False,
            Estimate("", 882, 1000, 1000),
            "Mean {} % of the MACs (theoretical), 88.2 % right (dense 92.6 %)",
        ),
        (
            False,
            Estimate("", 45, 50, 1000),
            "Mean {} % of the MACs (theoretical), 90.0 % right so far (50 of 1,000)",
        ),
        (True, None, "About {} % of the MACs (theoretical), accuracy is being counted…"),
    ],
)
def test_the_mean_in_words(session, trial, estimate, said):
    found = replace(example_instances(session.graph), trial=trial)
    dense = Estimate("", 926, 1000, 1000)
    share = round(100 * float(found.macs.mean()) / found.dense_macs)
    assert mean_words(SAY, found, estimate, dense, short=False) == said.format(share)


# ---- views -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("view", VIEWS)
def test_every_view_shows_itself_or_why_not_and_says_so(session, pane, view, monkeypatch):
    monkeypatch.setattr(Peaks, "run", peaked)
    pane.view.value = view
    assert pane.work.idle(WAIT)
    assert is_shown(pane.figure) != is_shown(pane.empty)
    assert is_shown(pane.figure) == (view != "effects"), "which needs a recorded run"
    assert "<li>" in pane.summary.value
    assert session.error == ""


def peaked(job, _session, _check):
    values = np.random.default_rng(0).random((job.count, job.site.size)).astype(np.float32)
    return Peaked(job.site.layer, job.images, values)


def test_the_gallery_goes_from_easy_to_hard_and_a_page_is_turned(session, pane):
    found = session.instances
    rows = instance_gallery.page(
        found, instance_gallery.room(pane._sights["gallery"].view.root.x_range.end), 0
    )
    shares = [float(text.split()[0]) for text in column(pane, "instance-gallery-cells", "share")]
    assert shares == sorted(shares)
    assert shares == [round(100 * share) for share in found.shares[rows]]
    assert column(pane, "instance-gallery-sheet", "url")[0].startswith("data:image/png")
    first = column(pane, "instance-gallery-cells", "title")
    assert is_shown(pane.turn)
    pane.turn.click()
    assert pane.work.idle(WAIT)
    assert not set(first) & set(column(pane, "instance-gallery-cells", "title"))


def test_the_strip_has_an_order_and_a_layer_without_a_choice_gives_way_to_the_next(session, pane):
    session.select("sum1", "stem")
    pane.view.value = "strip"
    assert "stage1.0.conv1" in words(pane.summary.value)
    by_class = column(pane, "instance-strip-images", "image")
    pane.option.value = "macs"
    found = session.instances
    assert column(pane, "instance-strip-images", "image") == found.images[found.order].tolist() != by_class


def test_a_channel_is_chosen_by_its_list(session, pane, monkeypatch):
    monkeypatch.setattr(Peaks, "run", peaked)
    pane.view.value = "channel"
    assert pane.work.idle(WAIT)
    pane.option.value = 3
    assert pane.work.idle(WAIT)
    assert any("channel 3" in text for text in column(pane, "instance-channel-labels", "bold"))
    pane.view.value = "gallery"
    assert not is_shown(pane.option)


# ---- picks -----------------------------------------------------------------------------------------------


def test_images_are_picked_by_keys_compared_and_let_go(session, pane):
    easy, hard = (int(session.instances.images[session.instances.order[place]]) for place in (0, -1))
    assert not is_shown(pane.run)
    pane.picks.first.value = easy
    assert session.picked == (easy,)
    assert is_shown(pane.run)
    assert "loss" in words(pane.words.value)
    pane.picks.second.value = hard
    assert session.picked == (easy, hard)
    assert not is_shown(pane.run)
    assert column(pane, "instance-pair-bars", "layer"), "two are compared in the gallery's place"
    assert "share" in words(pane.words.value)
    pane.picks.clear.click()
    assert session.picked == ()
    assert pane.picks.first.value == NONE
    assert not is_shown(pane.picks.second)


def test_a_tap_picks_beside_the_picked_one_and_lets_go(session, pane):
    one, two, three = session.instances.images[:3].tolist()
    pane._tap(one)
    pane._tap(two)
    assert session.picked == (one, two)
    pane._tap(three)
    assert session.picked == (one, three)
    pane._tap(one)
    assert session.picked == (three,)


def test_the_lists_hold_some_images_of_every_cost_and_the_picked_ones(session):
    found = example_instances(session.graph, count=200)
    picked = [int(image) for image in found.images if int(image) % 3 == 0][:2]
    rows = listed_rows(found, picked)
    assert LISTED <= len(rows) <= LISTED + 2
    assert {found.row(image) for image in picked} <= set(rows)
    assert (np.diff(found.macs[rows]) >= 0).all()
    assert {int(found.order[0]), int(found.order[-1])} <= set(rows)


def test_what_two_images_share_by_hand(session):
    found = example_instances(session.graph, count=4)
    keep = np.zeros_like(found.keep)
    keep[0, :30], keep[1, 20:40] = True, True
    found = replace(found, keep=keep)
    one, two = (int(image) for image in found.images[:2])
    assert picked_words(SAY, found, (one, two), NAMES, short=True) == "share 25 %"
    said = picked_words(SAY, found, (one, two), NAMES, short=False)
    assert "share 10 of the 40 channels that either keeps" in said
    assert "Only the first keeps 20, only the second 10." in said


def test_a_measured_run_has_an_honest_verdict():
    def took(milliseconds):
        return Latency(1, milliseconds / 1000, milliseconds / 1000, milliseconds / 1000, 30)

    timing = SimpleNamespace(
        dense=took(0.42),
        masked=took(0.91),
        gathered=took(1.43),
        again=took(0.8),
        share=0.41,
        verdict="slower",
    )
    said = timing_words(SAY, 12, timing)
    assert said.startswith("Slower for real: 1.43 ms, dense 0.42 ms")
    assert "41 % of MACs" in said


def test_run_it_tells_what_it_measures_until_another_image_is_picked(session, pane, monkeypatch):
    from explorer.panels.instances import work as instances_work

    timing = SimpleNamespace(verdict="same", share=0.5)
    for name in ("dense", "masked", "gathered", "again"):
        setattr(timing, name, Latency(1, 0.001, 0.001, 0.001, 30))
    monkeypatch.setattr(instances_work.TimedRun, "run", lambda *_arguments: timing)
    one, two = (int(image) for image in session.instances.images[:2])
    session.pick(one)
    assert not is_shown(pane.note)
    pane.run.click()
    assert pane.work.idle(WAIT)
    assert "No faster for real" in words(pane.note.value)
    assert "No faster for real" in words(pane.summary.value)
    session.pick(two)
    assert not is_shown(pane.note)


# ---- the worker ------------------------------------------------------------------------------------------


def test_the_worker_does_the_latest_job_of_every_kind_once(session):
    session.show_instances("active")
    found, told = session.instances, []
    work = InstanceWork(session, lambda: told.append(1))
    pictures, alike = Pictures((3, 5)), Alike(found, found.sites.every[0])
    assert work.ask(pictures) is None
    assert work.ask(alike) is None
    assert work.idle(WAIT)
    three, five = work.ask(pictures)
    assert (three.max(), five.max()) == (3, 5)
    assert work.ask(alike).layer == found.sites.every[0].layer
    assert len(told) == 2
    work.close()


def test_a_job_that_fails_is_told_and_not_tried_again_by_itself(session, monkeypatch):
    work = InstanceWork(session, lambda: None)
    assert work.ask(Pictures((1_000,))) is None
    assert work.idle(WAIT)
    assert "IndexError" in session.error
    work.close()


# ---- training --------------------------------------------------------------------------------------------


def test_a_training_begins_with_the_settings_of_the_chosen_method(session, pane):
    training = pane.training
    training.fields["manidp"]["similarity"].value = 0.3
    training.start.click()
    name, method, settings = session.called[-1]
    assert (name, method) == ("start_search", "manidp")
    assert (settings["level"], settings["similarity"], settings["weight"]) == (0.75, 0.3, "adaptive")
    assert settings["batch"] == 20  # there are 80 images, fewer than in a usual batch
    training.method.value = "fbs"
    assert is_shown(training.forms["fbs"])
    assert not is_shown(training.forms["manidp"])
    training.fields["fbs"]["density"].value = 50
    training.start.click()
    name, method, settings = session.called[-1]
    assert (method, settings["density"]) == ("fbs", 0.5)


def test_a_wrong_setting_is_refused_in_words(session, pane):
    pane.training.fields["manidp"]["level"].value = 400
    assert "“keep per image, %” takes numbers from 5 to 100" in pane.training.answer.value
    calls = len(session.called)
    pane.training.start.click()
    assert len(session.called) == calls


def test_what_a_training_needs_is_said_where_memory_is_short(session, pane, monkeypatch):
    pane.training.tell()
    assert "GiB" not in pane.training.cost.value
    monkeypatch.setattr("explorer.methods.memory_short", lambda graph, method, settings: (1.25, 0.5))
    pane.training.tell()
    assert {"1.2", "0.5"} <= set(re.findall(r"[0-9]+[.][0-9]", pane.training.cost.value))


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"train": False}, "training images"),
        ({"labelled": False}, "labels"),
        ({"norms": False}, "batch norm"),
    ],
)
def test_why_none_can_begin(options, said):
    pane = InstancesPane(fake(**options), SAY)
    assert pane.training.popover.opener.disabled
    assert said in pane.training.popover.opener.tooltip
    pane.close()


def test_a_training_that_runs_is_stopped_or_goes_on(session, pane):
    session.instance_search = replace(ended("manidp"), state="running")
    training = pane.training
    assert is_shown(training.stop)
    assert not is_shown(training.popover)
    training.stop.click()
    session.instance_search = replace(ended("manidp"), state="stopped", resumable=True)
    assert is_shown(training.resume)
    training.resume.click()
    training.drop.click()
    assert session.called[-3:] == [
        ("stop_search", "manidp"),
        ("resume_search", "manidp"),
        ("drop_search", "manidp"),
    ]


# ---- the tab ---------------------------------------------------------------------------------------------


def test_the_tab_builds_a_part_when_it_is_shown_and_the_other_is_idle():
    session = fake()
    tab = ImagesTab(session, SAY)
    assert set(tab.panes) == {"broken"}
    assert not session.called
    tab.part.value = "instances"
    broken, instances = tab.panes["broken"], tab.panes["instances"]
    assert instances.work.idle(WAIT)
    assert tab.aside.children == (instances.aside,)
    assert (broken.binding.active, instances.binding.active) == (False, True)
    assert (is_shown(broken), is_shown(instances)) == (False, True)
    tab.binding.active = False
    assert not instances.binding.active
    tab.binding.active = True
    assert (broken.binding.active, instances.binding.active) == (False, True)
    tab.part.value = "broken"
    assert tab.aside.children == ()
    assert len(tab.documents) == len(broken.documents) + len(instances.documents)
    for part in (broken, instances, tab):
        part.close()
