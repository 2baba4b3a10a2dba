"""The chain tab over a real session of a tiny network; runs and searches are values, nothing is trained."""

import re
from dataclasses import replace
from html import unescape
from itertools import count

import numpy as np
import pytest

import explorer
from explorer.chains import ChainEvidence, OrderCurve, draws
from explorer.costs import totals
from explorer.errors import BadInput
from explorer.methods import METHODS
from explorer.methods.base import Subject
from explorer.panels.chain.pane import ChainPane
from explorer.panels.chain.replay import Player, Replay, untrained
from explorer.panels.chain.views import drawn_shares
from explorer.records import Progress, TrainingCost
from explorer.runs import Recorded
from explorer.session import Session
from explorer.strings import Strings
from tests.chain_runs import example_run
from tests.session.conftest import WAIT, opened, residual, tiny_data

SAY = Strings("en")
FRAMES = 13


@pytest.fixture
def session():
    yield from opened(residual())


@pytest.fixture
def run(session):
    return example_run(session.graph, FRAMES)


@pytest.fixture
def pane(session, run):
    """On a recorded run; a layer with a chain is selected."""
    assert session.wait(WAIT)
    put_recorded(session, Recorded(run, command="python record.py"))
    session.select("3.first")
    yield from shown(session)


def shown(session, **options):
    pane = ChainPane(session, SAY, **options)
    yield pane
    pane.close()
    assert pane.player.idle(WAIT)


def words(html):
    return " ".join(unescape(re.sub(r"<[^>]*>", " ", html)).split())


def column(pane, source, name):
    found = [document._model.select_one({"name": source}) for document in pane.documents]
    return next(model for model in found if model is not None).data[name]


def transitions(pane):
    return column(pane, "chain-curve-knobs", "p")


def put(session, progress):
    """Have the session tell this of its search; None: it was dropped."""
    session.runs = session.runs.without("dmcp") if progress is None else session.runs.having(progress)


def put_recorded(session, recorded):
    session.runs = replace(session.runs, recorded={"dmcp": recorded})


def is_shown(widget):
    return "pe-shut" not in widget._dom_classes


def searching(run, state="running", **changes):
    """A report of a search that has seen that run."""
    settings = dict(run.settings if run else {"target": 0.4}) | {"cost": "macs"}
    told = Progress("dmcp", settings, state, 10, 120, "search", {}, 3.0, TrainingCost(), run)
    return replace(told, **changes)


def up_to(run, frames):
    """The run as it was after some of its frames."""
    losses = {name: values[:frames] for name, values in run.losses.items()}
    series = {name: values[:frames] for name, values in run.series.items()}
    return replace(run, steps=run.steps[:frames], series=series, losses=losses, widths={}, ended=False)


# ---- what is shown ---------------------------------------------------------------------------------------


def test_a_recorded_run_is_told_with_its_target_and_its_cost_and_shown_at_its_end(run, pane):
    assert words(pane.title.value) == (
        "Recorded search to 40 % of MACs cost 9.0 × an epoch of dense training, 78 s cost 9.0 epochs"
    )
    assert "9.0 epochs of training the dense network" in pane.title.value
    assert (pane.slider.value, pane.slider.max) == (FRAMES - 1, FRAMES - 1)
    chain = next(chain for chain in run.at(-1) if chain.group == "3.first")
    assert transitions(pane) == pytest.approx(chain.transitions)
    assert "step 120 of 120, expected" in words(pane.step.value)


def test_the_slider_goes_through_the_steps(session, run, pane):
    pane.slider.value = 5
    chain = next(chain for chain in run.at(5) if chain.group == "3.first")
    assert transitions(pane) == pytest.approx(chain.transitions)
    assert f"step 50 of 120, expected {100 * run.shares[5]:.0f} % of MACs" in words(pane.step.value)
    session.select("2.first")
    other = next(chain for chain in run.at(5) if chain.group == "2.first")
    assert transitions(pane) == pytest.approx(other.transitions)
    assert session.error == ""


def test_a_layer_teaches_how_many_widths_there_are_instead_of_subsets(pane):
    assert words(pane.note.value) == "3.first 8 widths instead of 2¹⁶ subsets"
    assert "the first 2 of 16 channels stay" in pane.note.value


def test_a_layer_without_a_chain_says_why(session, pane):
    session.select("", session.graph.layers[-1].name)
    (text,) = column(pane, "chain-curve-labels", "soft")
    assert text == f"{session.graph.layers[-1].name} has no chain: {session.graph.groups[-1].reason}"
    assert not is_shown(pane.fields)
    assert not is_shown(pane.note)


@pytest.mark.parametrize("view", ["map", "budget", "order", "compare", "papers"])
def test_a_view_is_built_when_it_is_first_chosen_and_says_what_it_shows(session, pane, view):
    assert len(pane.documents) == 1
    pane.view.value = view
    assert len(pane.documents) == 2
    assert pane.figure.children[0] is pane.documents[1]
    assert len(words(pane.summary.value)) > len("The chains of Sequential ")
    assert session.error == ""


def test_a_hidden_pane_is_idle_and_catches_up(session, run, pane):
    pane.binding.active = False
    put(session, searching(run))
    assert words(pane.title.value).startswith("Recorded")
    pane.binding.active = True
    assert words(pane.title.value).startswith("Searching: 40 % of MACs")


def test_a_network_without_a_run_shows_chains_that_can_be_touched_and_says_what_to_do(session):
    assert session.wait(WAIT)
    session.select("3.first")
    for pane in shown(session):
        assert words(pane.title.value) == "No search yet drag a point, or press Search…"
        assert is_shown(pane.empty)
        assert not is_shown(pane.replay_row)
        assert transitions(pane) == pytest.approx([1 / (1 + np.exp(-2.0))] * 7)
        before = pane.expected.value
        pane.fields.p.value = 0.1
        assert transitions(pane)[0] == pytest.approx(0.1)
        assert pane.expected.value != before


def test_without_training_images_the_reason_stands_where_the_search_would_begin():
    session = Session(explorer.load(residual(), data=replace(tiny_data(), train=None)))
    try:
        for pane in shown(session):
            reason = SAY("search_no_images")
            assert pane.search.popover.opener.disabled
            assert pane.search.popover.opener.tooltip == reason
            assert words(pane.empty.value).endswith(reason)
    finally:
        session.close()


def test_a_closed_pane_leaves_no_figure_behind(session, run):
    put_recorded(session, Recorded(run, command="python record.py"))
    pane = ChainPane(session, SAY)
    for view in ("map", "papers"):
        pane.view.value = view
    pane.close()
    assert len(pane.documents) == 3
    assert all(document.comm is None for document in pane.documents)


@pytest.mark.parametrize("view", ["order", "compare"])
def test_what_was_not_measured_is_said_instead_of_an_empty_figure(pane, view):
    pane.view.value = view
    assert not is_shown(pane.figure)
    assert words(pane.note.value) == SAY(f"chain_no_{view}")
    assert SAY(f"chain_no_{view}") in words(pane.summary.value)


# ---- transitions by hand ---------------------------------------------------------------------------------


def test_a_transition_by_hand_moves_the_tail_and_the_expected_cost(session, run, pane):
    pane.slider.value = 4
    before = np.array(column(pane, "chain-curve-curve", "y"))
    pane.fields.step.value = 3
    pane.fields.p.value = 0.25
    after = np.array(column(pane, "chain-curve-curve", "y"))
    moved = before != after
    assert not moved[: 2 * 3].any()  # both ends of the part that stays and of the steps before
    assert moved[2 * 3 :].all()
    chains = pane._replay.chains
    expected = np.prod(chains[-1].transitions[:3])
    assert chains[-1].retention[2] == pytest.approx(expected)
    # E[F] = F(E[widths]): against the mean of networks that were drawn
    widths = np.repeat(session.graph.sizes[None], 20_000, axis=0)
    widths[:, [session.graph.index[chain.group] for chain in chains]] = draws(chains, 20_000, seed=5)
    shares = totals(session.graph, widths, "macs") / totals(session.graph, session.graph.sizes, "macs")
    assert pane._replay.share(session.graph) == pytest.approx(
        shares.mean(), abs=4 * shares.std() / np.sqrt(len(shares))
    )
    assert f"{100 * pane._replay.share(session.graph):.0f} % of MACs" in words(pane.step.value)


def test_what_was_changed_is_kept_by_layer_until_reset_or_another_step(session, run, pane):
    pane.fields.p.value = 0.25
    session.select("2.first")
    assert pane.fields.reset.disabled
    pane.fields.p.value = 0.5
    session.select("3.first")
    assert pane.fields.p.value == 0.25
    pane.fields.reset.click()
    assert set(pane._replay.changed) == {"2.first"}
    assert pane.fields.reset.disabled
    pane.slider.value = 7
    assert not pane._replay.changed


def test_a_point_that_is_dragged_is_answered(session, pane):
    sight = pane._sights["layer"]
    row = {"number": [5], "group": ["3.first"], "place": [1], "probability": [0.125], "ended": [False]}
    sight._ask.data = row
    assert transitions(pane)[1] == pytest.approx(0.125)
    assert sight._answer.data["number"] == [5]
    assert (pane.fields.step.value, pane.fields.p.value) == (2, 0.125)
    sight._ask.data = {**row, "number": [6], "group": ["gone"]}  # of a network that was left meanwhile
    assert sight._answer.data["number"] == [6]
    assert session.error == ""


# ---- into the bars ---------------------------------------------------------------------------------------


def test_bars_take_the_expected_widths_only_while_that_is_asked_for(session, run, pane):
    dense = dict(session.plan.widths)
    pane.slider.value = 8
    assert dict(session.plan.widths) == dense
    pane.bars.value = True
    assert dict(session.plan.widths) == {c.group: round(c.expected) for c in run.at(8)}
    session.press()
    for frame in (9, 10, 11):
        pane.slider.value = frame
    session.release()
    assert dict(session.plan.widths) == {c.group: round(c.expected) for c in run.at(11)}
    session.undo()  # the gesture as a whole
    assert dict(session.plan.widths) == {c.group: round(c.expected) for c in run.at(8)}
    assert session.request.widths == ()  # nothing is pinned


def test_the_widths_that_were_found_go_into_the_bars_with_one_press(session, run, pane):
    pane.use.click()
    assert dict(session.plan.widths) == dict(run.widths)


# ---- the replay ------------------------------------------------------------------------------------------


def played(pane, at=-1, act=None):
    """Have the pane's player run at once, with half a second between its looks; at look number `at`, `act()`."""

    def clock():
        now = next(ticks)
        if now == at:
            act()
        return 0.5 * now

    ticks = count()
    pane.player._tick, pane.player._begin, pane.player._clock = 0.0, 0.0, clock
    pane.play.click()
    assert pane.player.idle(WAIT)
    assert not pane.player.playing


def test_play_shows_frame_after_frame_from_the_first_to_the_last(pane):
    seen = []
    pane.slider.observe(lambda change: seen.append(change["new"]), "value")
    played(pane)
    assert seen == sorted(seen)
    assert len(seen) > 5
    assert seen[-1] == FRAMES - 1
    assert not pane.player.playing
    assert pane.play.tooltip == SAY("chain_play_help")


def test_play_ends_when_the_pane_is_hidden_or_a_person_takes_over(pane):
    played(pane, 4, lambda: setattr(pane.binding, "active", False))
    hidden_at = pane._replay.frame
    assert 0 < hidden_at < FRAMES - 1
    pane.binding.active = True
    assert pane.play.tooltip == SAY("chain_play_help")
    played(pane, 4, lambda: setattr(pane.slider, "value", 2))
    assert (pane.slider.value, pane._replay.frame) == (2, 2)
    played(pane, 4, lambda: setattr(pane.fields.p, "value", 0.5))
    assert pane._replay.changed
    assert pane.slider.value < FRAMES - 1


def test_play_ends_when_the_pane_is_closed(session, run):
    put_recorded(session, Recorded(run, command="python record.py"))
    pane = ChainPane(session, SAY)
    played(pane, 4, pane.close)
    assert pane._replay.frame < FRAMES - 1


def test_a_player_tells_its_end_and_can_be_stopped():
    told = []
    player = Player(lambda share: told.append(share) or share < 1, lambda: told.append("end"), 0.0, 0.0)
    clock = count()
    player._clock = lambda: 2.5 * next(clock)
    player.start()
    assert player.idle(WAIT)
    assert told == [0.5, 1.0, "end"]
    stopped = Player(lambda _share: stopped.stop() or True, lambda: told.append("never"), 0.0, 0.0)
    stopped.start()
    assert stopped.idle(WAIT)
    assert told[-1] == "end"


def test_a_search_that_runs_is_followed_unless_a_person_holds_it_back(session, run, pane):
    put(session, searching(up_to(run, 3)))
    assert (pane.slider.value, pane.slider.max) == (2, 2)
    put(session, searching(up_to(run, 6)))
    assert pane.slider.value == 5
    pane.slider.value = 1
    put(session, searching(up_to(run, 9)))
    assert (pane.slider.value, pane.slider.max) == (1, 8)
    pane.slider.value = 8  # the newest again
    put(session, searching(run, state="ready", seconds_left=0.0))
    assert pane.slider.value == FRAMES - 1
    assert "Your search to 40 % of MACs" in pane.title.value
    put(session, None)
    assert words(pane.title.value).startswith("Recorded")


def test_a_chain_in_somebodys_hand_is_not_taken_away_by_the_next_frame(session, run, pane):
    put(session, searching(up_to(run, 3)))
    pane.fields.p.value = 0.25
    put(session, searching(up_to(run, 6)))
    assert pane.fields.p.value == 0.25
    assert pane.slider.value == 2
    assert "held at step 20; latest 50" in words(pane.step.value)


@pytest.mark.parametrize("state", ["running", "ready"])
def test_reset_follows_the_search_again(session, run, pane, state):
    put(session, searching(up_to(run, 3)))
    pane.fields.p.value = 0.25
    session.select("2.first")
    pane.fields.p.value = 0.5
    put(session, searching(run if state == "ready" else up_to(run, 6), state=state))
    pane.fields.reset.click()
    assert pane.slider.value == 2  # the other layer's chain is still changed
    session.select("3.first")
    pane.fields.reset.click()
    assert pane.slider.value == pane.slider.max == (12 if state == "ready" else 5)
    assert "held" not in words(pane.step.value)
    if state == "running":
        put(session, searching(up_to(run, 9)))
        assert pane.slider.value == 8


def test_reset_stays_at_a_step_that_a_person_chose(pane):
    pane.slider.value = 4
    pane.fields.p.value = 0.25
    pane.fields.reset.click()
    assert (pane.slider.value, pane._replay.held) == (4, True)


def test_the_slider_at_an_earlier_step_of_a_search_that_runs_says_so(session, run, pane):
    put(session, searching(up_to(run, 6)))
    pane.slider.value = 1
    assert "held at step 10; latest 50" in words(pane.step.value)
    pane.slider.value = 5
    assert words(pane.step.value).startswith("step 50 of 120, expected")
    pane.slider.value = 1
    put(session, searching(up_to(run, 6), state="stopped"))
    assert words(pane.step.value).startswith("step 10 of 120, expected")


def test_one_chooses_between_the_own_run_and_the_recorded_one(session, run, monkeypatch):
    assert session.wait(WAIT)  # before the channels are scored, no widths are set
    monkeypatch.setattr(session, "trained_network", lambda _method: session.network)
    curves = tuple(OrderCurve(which, "after", (0.5, 1.0), (0.2, 0.9), 100) for which in ("first", "last"))
    put_recorded(session, Recorded(run, ChainEvidence(order=curves), command="python record.py"))
    own = replace(
        run, widths=dict.fromkeys(run.widths, 3), settings={"target": 0.7, "cost": "macs", "warm_up": 1}
    )
    for pane in shown(session, open_supernet=lambda: None):
        assert not is_shown(pane.whose)
        put(session, searching(own, state="ready"))
        assert is_shown(pane.whose)
        assert words(pane.title.value).startswith("70 % of MACs")
        assert is_shown(pane.supernet)
        pane.whose.value = "recorded"
        assert words(pane.title.value).startswith("40 % of MACs")
        assert "Recorded search to 40 % of MACs" in pane.title.value
        assert not is_shown(pane.supernet)  # there is one, but of the other run
        pane.use.click()
        assert dict(session.plan.widths) == dict(run.widths)
        pane.view.value = "order"
        assert column(pane, "chain-order-first", "y")
        assert not is_shown(pane.measure)
        pane.whose.value = "session"
        assert is_shown(pane.measure)
        put(session, searching(up_to(own, 3), state="stopped", resumable=True))
        assert words(pane.title.value).endswith("78 s")  # no short words of the cost: buttons have their room
        pane.whose.value = "recorded"
        put(session, searching(None))  # another search begins
        assert not is_shown(pane.whose)
        aimed = {**own.settings, "target": 0.6}
        put(session, searching(up_to(replace(own, settings=aimed), 2), settings=aimed))
        assert words(pane.title.value).startswith("Searching: 60 % of MACs")


def test_the_supernet_of_an_own_search_is_not_said_to_be_recorded(session, run):
    put_recorded(session, Recorded(run))
    for pane in shown(session):
        assert words(pane.title.value).startswith("Your search to 40 % of MACs")
        assert SAY("chain_title_recorded_help") not in pane.title.value
        put(session, searching(run))
        assert not is_shown(pane.whose)


def test_another_search_begins_at_its_own_newest_frame(session, run, pane):
    put(session, searching(run))
    pane.slider.value = 5
    other = replace(up_to(run, 2), settings={**run.settings, "target": 0.3})
    put(session, searching(other))
    assert (pane.slider.value, pane.slider.max) == (1, 1)
    assert not pane._replay.held


def test_a_failed_search_says_why(session, run, pane):
    put(session, searching(run, state="failed", error="the loss is not finite"))
    assert words(pane.title.value) == "The search failed: the loss is not finite"


# ---- searches --------------------------------------------------------------------------------------------


def test_the_settings_are_the_methods_and_start_what_they_say(session, pane, monkeypatch):
    asked = []
    monkeypatch.setattr(session, "start_search", lambda method, **settings: asked.append((method, settings)))
    search = pane.search
    usual = METHODS["dmcp"].settings()
    names = "target", "cost", "warm_up", "epochs", "start", "seed"
    few = {"batch": 24}  # there are 96 images, fewer than in a usual batch
    assert search.values == {**{name: getattr(usual, name) for name in names}, **few}
    search.popover.opener.value = True
    search.fields["dmcp"]["target"].value = 25
    search.fields["dmcp"]["start"].value = "scratch"
    search.start.click()
    said = {"target": 0.25, "cost": "macs", "warm_up": 2, "epochs": 4, "start": "scratch", "seed": 0}
    assert asked == [("dmcp", {**said, **few})]
    assert not search.popover.opener.value


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("seed", 1.5, "“seed” takes whole numbers from 0 up."),
        ("seed", -1, "“seed” takes whole numbers from 0 up."),
        ("target", 0, "“target, %” takes numbers from 1 to 100."),
        ("target", -5, "“target, %” takes numbers from 1 to 100."),
        ("target", 140, "“target, %” takes numbers from 1 to 100."),
        ("epochs", 0, "“search epochs” takes whole numbers from 1 up."),
    ],
)
def test_what_a_setting_cannot_be_is_said_and_neither_changed_nor_begun(
    session, pane, monkeypatch, name, value, said
):
    monkeypatch.setattr(session, "start_search", lambda _method, **_settings: pytest.fail("began"))
    search = pane.search
    search.popover.opener.value = True
    field, usual = search.fields["dmcp"][name], search.fields["dmcp"][name].value
    field.value = value
    assert words(search.answer.value) == said
    assert not is_shown(search.cost)
    search.start.click()
    assert (field.value, words(search.answer.value)) == (value, said)
    field.value = usual
    assert search.answer.value == ""
    assert is_shown(search.cost)


def test_a_large_seed_is_taken_as_it_is(pane):
    pane.search.fields["dmcp"]["seed"].value = 123456789
    assert pane.search.values["seed"] == 123456789
    assert type(pane.search.values["seed"]) is int
    assert pane.search.answer.value == ""


@pytest.mark.parametrize("cost", ["macs", "params"])
def test_a_target_below_the_least_widths_is_told_before_the_start(session, run, pane, cost):
    widths = session.graph.sizes.copy()
    widths[[session.graph.index[chain.group] for chain in run.chains]] = [c.least for c in run.chains]
    least = 100 * totals(session.graph, widths, cost) / totals(session.graph, session.graph.sizes, cost)
    assert least > 1.5
    fields, answer = pane.search.fields["dmcp"], pane.search.answer
    fields["cost"].value = cost
    fields["target"].value = least - 0.2
    assert SAY(f"chain_share_{cost}", percent=f"{np.ceil(10 * least) / 10:.1f} %") in words(answer.value)
    fields["target"].value = np.ceil(10 * least) / 10
    assert answer.value == ""


def test_a_refusal_is_said_beside_the_settings(session, pane, monkeypatch):
    def refuse(_method, **_settings):
        raise BadInput("A search is running.")

    monkeypatch.setattr(session, "start_search", refuse)
    pane.search.popover.opener.value = True
    pane.search.start.click()
    assert "A search is running." in pane.search.answer.value
    assert pane.search.popover.opener.value


def test_the_cost_that_is_told_beforehand_is_that_of_the_steps(session):
    method = METHODS["dmcp"]
    settings = method.settings(warm_up=3, epochs=2, batch=8)
    steps = method.begin(Subject(session.network, session.graph, session.network.data.train), settings)
    images = len(session.network.data.train)
    planned = steps.planned(steps.of) * images / steps.per_epoch
    told = METHODS["dmcp"].epochs(session.graph, 0, {"warm_up": 3, "epochs": 2})
    assert told == pytest.approx(planned / steps.epoch_macs)


def test_stop_and_resume_stand_where_they_can_be_used(session, run, pane):
    search = pane.search
    put(session, searching(run))
    assert [is_shown(each) for each in (search.stop, search.resume, search.popover)] == [True, False, False]
    put(session, searching(up_to(run, 3), state="stopped", resumable=True))
    assert [is_shown(each) for each in (search.stop, search.resume, search.popover)] == [False, True, True]


def test_a_supernet_is_opened_where_there_is_one(session, run):
    put_recorded(session, Recorded(run, command="python record.py"))
    opened_now = []
    for pane in shown(session, open_supernet=lambda: opened_now.append(True)):
        assert not is_shown(pane.supernet)  # this run was recorded without
        put(session, searching(run, state="ready"))
        assert is_shown(pane.supernet)
        pane.supernet.click()
        assert opened_now == [True]


def test_order_is_measured_on_request_and_its_progress_is_told(session, run, pane, monkeypatch):
    told = []

    def order_curves(before, after, graph, data, check, progress):
        assert before is session.network
        assert graph is session.graph
        progress(3, 48)
        told.append(pane.measure.description)
        return tuple(OrderCurve(which, "after", (0.5, 1.0), (0.2, 0.9), 100) for which in ("first", "last"))

    monkeypatch.setattr("explorer.methods.order_claim.order_curves", order_curves)
    monkeypatch.setattr(session, "trained_network", lambda _method: session.network)
    put(session, searching(run, state="ready"))
    pane.view.value = "order"
    assert is_shown(pane.measure)
    pane.measure.click()
    assert pane.work.idle(WAIT)
    assert told == [SAY("chain_measuring", done=3, of=48)]
    assert not is_shown(pane.measure)
    assert column(pane, "chain-order-first", "y")
    assert session.error == ""


# ---- values ----------------------------------------------------------------------------------------------


def test_networks_are_drawn_with_the_chains_widths(session, run):
    chains = tuple(replace(chain, alphas=np.full(chain.states, -50.0)) for chain in run.chains)
    least = session.graph.sizes.copy()
    least[[session.graph.index[chain.group] for chain in chains]] = [chain.least for chain in chains]
    dense = totals(session.graph, session.graph.sizes, "params")
    shares = drawn_shares(session.graph, chains, "params", count=5)
    assert shares == pytest.approx([totals(session.graph, least, "params") / dense] * 5)


def test_a_replay_of_chains_before_any_search_has_their_cost(session):
    run = untrained("toy", session.graph, alpha=50.0, divisions=8, target=0.4)
    replay = Replay.of("untrained", run)
    assert (replay.last, replay.step) == (0, 0)
    assert replay.share(session.graph) == pytest.approx(1.0)
    assert replay.widths() == dict(session.plan.widths)
