"""Networks that are no classifiers, driven through the session to an export: in the words of their task."""

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

import explorer
from explorer.data.images import Data, Images, identity
from explorer.export.explored import write_html, write_network
from explorer.export.replay import replay_script
from explorer.session import Session
from explorer.strings import LANGUAGES, Strings
from explorer.values import Recovery
from tests.evaluate.test_tasks import IMAGES, answers, made
from tests.session.conftest import WAIT

GENERATOR = torch.Generator().manual_seed(3)


def score(outputs: Tensor, targets: Tensor) -> Tensor:
    return 40 - 10 * (outputs - targets).square().mean(1)


def near(model: torch.nn.Module) -> Tensor:
    exact = torch.from_numpy(answers(model)).float()
    return exact + 0.05 * torch.randn(exact.shape, generator=GENERATOR)


KINDS: dict[str, tuple[Any, Any, dict[str, Any], str]] = {
    "regression": (made(2), near, {}, "R2"),
    "several labels": (made(5), lambda model: (near(model) > 0).float(), {}, "labels right"),
    "pixels": (made(4, dense=True), lambda model: near(model).argmax(1), {}, "pixel accuracy"),
    "own": (made(2), near, {"score": score, "loss": lambda o, t: -score(o, t).mean()}, "score"),
    "no targets": (made(3, dense=True), lambda _model: None, {}, "1 - relative error"),
}


@pytest.fixture(params=KINDS)
def kind(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def network(kind: str) -> explorer.Network:
    model, targets, named, _measure = KINDS[kind]
    images = Images(IMAGES, targets(model), identity)
    return explorer.load(model, data=Data("mine", (), images, images, images), **named)


def test_a_session_counts_what_the_task_says_and_knows_what_a_cut_hits(
    kind: str, network: explorer.Network
) -> None:
    session = Session(network)
    try:
        session.propose(keep=0.6, recovery=Recovery())
        assert session.wait(WAIT)
        estimate = session.estimate
        assert estimate.measure == KINDS[kind][3]
        assert estimate.done
        dense = None if network.data.explore.labelled else network
        assert estimate.value == pytest.approx(
            explorer.evaluate(session.pruned(), network.data, dense=dense).value, rel=1e-4
        )
        assert session.outcomes is None
        assert not session.classifies
        assert session.scored.now.mean() == pytest.approx(estimate.value, rel=1e-4)
        if kind != "several labels":  # whose decisions this cut leaves alone
            assert (session.scored.now != session.scored.reference).any()
        for what in ("sensitivity", "bands"):
            session.sweep(what)
            assert session._sweeps.idle(WAIT)
        assert session.sensitivity is not None
        assert {point.estimate.measure for point in session.bands} == {estimate.measure}
        session.check_final()
        assert session.wait(WAIT)
        assert session.final_checks[-1].now.measure == estimate.measure
    finally:
        session.close()


def test_a_replay_finds_what_was_shown(network: explorer.Network) -> None:
    session = Session(network)
    try:
        session.propose(keep=0.6, recovery=Recovery())
        assert session.wait(WAIT)
        now = session.now()
        script = replay_script(network, session.graph, now.request, now.plan, now.recovery, now.estimate)
    finally:
        session.close()
    task = network.data.explore.task
    assert ("task=" in script) == (task.name != "your own task")
    names: dict[str, Any] = {}
    script = script.replace("model = ...", "model = MODEL").replace("data = ...", "data = DATA")
    script = script.replace("loss, score = ..., ...", "loss, score = LOSS, SCORE")
    raw = network.data.explore
    data = Data("mine", (), *(Images(raw.pixels, raw.labels, identity) for _ in range(2)), None)
    functions = {"LOSS": getattr(task, "loss", None), "SCORE": getattr(task, "score", None)}
    names |= {"MODEL": network.model, "DATA": data, **functions}
    exec(compile(script, "replay.py", "exec"), names)  # our own text
    assert names["found"] == names["shown"]


def test_a_report_is_written_in_the_words_of_the_task(network: explorer.Network, tmp_path: Path) -> None:
    session = Session(network)
    try:
        session.propose(keep=0.6, recovery=Recovery())
        assert session.wait(WAIT)
        write_html(tmp_path / "report.html", session)
        write_network(tmp_path, session)
        files = [path for path in tmp_path.rglob("*") if path.suffix in (".html", ".py", ".json")]
        written = "".join(path.read_text("utf-8") for path in files)
        assert len(files) > 1
    finally:
        session.close()
    assert session.estimate.measure in written or "agreement" in written
    assert "top-1 class" not in written


@pytest.mark.parametrize("language", LANGUAGES)
@pytest.mark.parametrize("measure", ["R2", "pixel accuracy", "mean IoU", "labels right", "score"])
def test_no_text_calls_a_measure_accuracy(language: str, measure: str) -> None:
    plain, words = Strings(language), Strings(language).scoring(measure)
    word = plain("word_accuracy")
    own = plain(f"word_{measure.replace(' ', '_')}")
    kept = ("word_", "measure_")
    left = {
        key: text
        for key, text in words.table.items()
        if word in re.sub(r"{\w+}", "", text.lower()).replace(own.lower(), "") and not key.startswith(kept)
    }
    assert left == {}
    assert words("accuracy") != plain("accuracy")
    assert ("%" in words("reference", accuracy="3.1")) == ("%" in plain("reference", accuracy="3.1"))
    assert "%" not in Strings(language).scoring("score")("final_accuracy", accuracy="31", low="30", high="32")


def test_images_without_classes_are_ordered_by_what_they_lost() -> None:
    from explorer.observe.flips import score_changes
    from explorer.records import Scored

    before, now = np.float32([0.5, 0.5, 0.5, 0.5]), np.float32([0.1, 0.5, 0.9, 0.4])
    found = score_changes(Scored(before, now, "R2"))
    assert (found.broken.tolist(), found.mended.tolist(), found.images) == ([0, 3], [2], 4)
