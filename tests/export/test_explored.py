"""What of a session is exported: the recovery that was done, numbers that were seen, final images left alone."""

import json
from dataclasses import replace
from types import SimpleNamespace

import pytest
import torch

import explorer
from explorer.data import Data, Images, Normalize
from explorer.errors import BadInput, UnknownName
from explorer.export import explored, make_report
from explorer.export.explored import Explored
from explorer.records import FinalCheck, Moment, Visit
from explorer.strings import Message
from explorer.values import Estimate, Latency, Recovery, Request, State, full_plan

BN = Recovery(bn=True)


class Untouchable:
    """Final images that may be counted, but must not be looked at."""

    labelled = True

    def __len__(self):
        return 60

    def __getattr__(self, name):
        raise AssertionError(f"the final images were asked for their {name}")


def images(count: int) -> Images:
    draw = torch.Generator().manual_seed(count)
    pixels = torch.randint(256, (count, 1, 28, 28), generator=draw, dtype=torch.uint8)
    return Images(pixels, torch.randint(10, (count,), generator=draw), Normalize(0.25, 0.5))


@pytest.fixture
def session(cut):
    """A session's values after BN was re-estimated; nobody has looked at the final images."""
    classes = tuple("abcdefghij")
    network = replace(cut.network, data=Data("toys", classes, images(64), images(80), Untouchable()))
    request = Request("random", keep=0.4, recovery=BN, seed=3)
    model = explorer.recover(cut.model, network.data.train)
    key = State(network.weights_key, cut.plan.key, BN, 3).key
    estimate = Estimate(key, explorer.evaluate(model, network.data).correct, 80, 80)
    cost = explorer.cost(cut.graph, cut.plan)
    session = SimpleNamespace(
        network=network,
        graph=cut.graph,
        request=request,
        plan=cut.plan,
        recovery=BN,
        cost=cost,
        estimate=estimate,
        visits=(Visit(0, None, request, cut.plan, BN, cost, estimate),),
        final_checks=(),
        latency=tuple(Latency(1, seconds, seconds, seconds, 20) for seconds in (0.004, 0.002)),
        pruned=lambda: model,
    )
    session.now = lambda: Moment(
        session.request, session.plan, session.recovery, session.cost, session.estimate, session.latency
    )
    return session


def test_a_report_without_a_final_check_leaves_final_images_alone(session, tmp_path):
    stages = []
    path = explored.write_html(tmp_path / "r.html", session, stages.append)
    text = path.read_text("utf-8")
    assert stages == ["weights", "proof", "accuracy", "writing"]
    assert "Nobody has looked at the final images." in text
    assert f"accuracy, {session.estimate.of} explore images" in text
    assert "(this one)" in text
    assert "2 ms (2 to 2)" in text


@pytest.mark.parametrize("path", ["", "."])
def test_a_report_needs_the_name_of_a_file_before_any_work(session, path):
    with pytest.raises(BadInput, match=r"is a folder.*'report\.html'"):
        explored.write_html(path, session, lambda stage: pytest.fail(stage))


def test_a_final_check_of_this_state_is_in_the_files_and_no_other(session, tmp_path):
    cost = explorer.cost(session.graph, session.plan)
    dense = Estimate("dense", 55, 60, 60)
    other = FinalCheck(1, BN, cost, Estimate("another state", 12, 60, 60), dense)
    session.final_checks = (other,)
    paths = explored.write_network(tmp_path, session)
    widths = next(path for path in paths if path.suffix == ".json")
    assert json.loads(widths.read_text())["now"]["final"] is None
    session.final_checks = (
        other,
        FinalCheck(2, BN, cost, Estimate(session.estimate.state_key, 48, 60, 60), dense),
    )
    explored.write_network(tmp_path, session)
    found = json.loads(widths.read_text())
    assert found["now"]["final"]["correct"] == 48
    assert found["dense"]["final"]["correct"] == 55
    assert found["recovery"]["label"] == "re-estimated BN"
    assert len(paths) == 4


def test_formats_and_notes_reach_the_export(session, tmp_path):
    said = []
    session.network = replace(session.network, source=None, no_constructor="It is in a notebook.")
    (archive,) = explored.write_network(tmp_path / "one", session, formats=("archive",), say=said.append)
    assert (archive.name, said) == ("resnet20_pruned.pt2", [])
    paths = explored.write_network(tmp_path / "two", session, say=said.append)
    assert {path.suffix for path in paths} == {".pt2", ".json", ".svg", ".safetensors"}
    assert said == [Message.of("export_no_script", reason="It is in a notebook.")]


def test_an_unknown_format_is_refused_before_any_work(session, tmp_path):
    session.now = session.pruned = None
    with pytest.raises(UnknownName, match="no format 'tflite'"):
        explored.write_network(tmp_path / "new", session, formats=("tflite",))


def test_only_an_estimate_of_this_state_is_taken(session):
    assert Explored.of(session).estimate == session.estimate
    assert Explored.of(session).at == 0
    session.estimate = replace(session.estimate, state_key="an earlier state")
    assert Explored.of(session).estimate is None


def test_a_state_is_read_at_one_moment(session):
    moment = session.now()
    session.now = lambda: moment
    session.request = session.plan = session.cost = session.estimate = session.latency = None  # it moves on
    found = Explored.of(session)
    assert (found.plan, found.cost, found.estimate) == (moment.plan, moment.cost, moment.estimate)
    assert (found.request, found.latency) == (moment.request, moment.latency)
    assert moment.plan.key in found.replay()


def test_replay_and_picture_need_no_weights(session, tmp_path):
    session.pruned = None
    one, every = explored.write_replay(tmp_path, session)
    assert f'"correct": {session.estimate.correct}' in one.read_text()
    assert "STATES = [" in every.read_text()
    picture = explored.write_picture(tmp_path / "p.svg", session).read_text()
    assert f"{100 * session.estimate.accuracy:.1f} %" in picture
    session.visits = ()
    assert [path.name for path in explored.write_replay(tmp_path / "b", session)] == ["resnet20_replay.py"]


def test_a_session_that_moves_on_meanwhile_is_read_again(session, cut, tmp_path):
    dense, calls = full_plan(cut.graph), []

    def pruned():
        calls.append(session.plan)
        if len(calls) == 1:
            session.plan, session.recovery = dense, Recovery()
        return explorer.shrink(session.network.model, cut.graph, session.plan)

    session.pruned = pruned
    explored.write_network(tmp_path, session)
    assert calls == [cut.plan, dense]
    text = (tmp_path / "resnet20_widths.json").read_text()
    assert json.loads(text)["recovery"]["label"] == "no recovery"  # nothing was cut


def test_the_recovery_is_the_one_that_is_shown(session, tmp_path):
    session.recovery = Recovery.parse("refit_sequential")  # what a refit is at rest
    session.request = replace(session.request, recovery=Recovery.parse("refit+bn"))
    assert Explored.of(session).request.recovery == session.recovery
    assert Explored.of(session).estimate is None
    one, _every = explored.write_replay(tmp_path, session)
    assert 'repair="refit_sequential"' in one.read_text()
    picture = explored.write_picture(tmp_path / "p.svg", session).read_text()
    assert "refit layer after layer" in picture


def test_make_report_looks_at_final_images_only_if_it_may(session, cut):
    proof = cut.report.proof
    asked = session.network, cut.graph, cut.plan, cut.model, session.request, proof, ()
    report = make_report(*asked, final=False)
    assert (report.dense.final, report.now.final) == (None, None)
    assert report.now.explore.seen == 80
    with pytest.raises(AssertionError, match="final images were asked"):
        make_report(*asked)
