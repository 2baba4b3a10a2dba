"""A session over images without labels: agreement with the dense network instead of accuracy."""

from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn

import explorer
from explorer.data import Data, Images
from explorer.errors import BadInput
from explorer.session import Session
from explorer.strings import Strings
from explorer.values import Recovery
from tests.session.conftest import WAIT, opened, tiny_data, tiny_model


def decided() -> nn.Module:
    """A network that tells all classes apart on the noise."""
    model = tiny_model().eval()
    with torch.no_grad():
        model[7].weight.mul_(50)
        model[7].bias.sub_(model(tiny_data().explore.inputs()).mean(0))
        assert len(model(tiny_data().explore.inputs()).argmax(1).unique()) == 3
    return model


def without_labels(data: Data) -> Data:
    train, explore, final = (
        Images(images.pixels, None, images.normalize)
        for images in (data.train, data.explore, data.final)
        if images is not None
    )
    return Data("bare noise", (), train, explore, final)


@pytest.fixture
def session() -> Iterator[Session]:
    """With the dense network evaluated."""
    for made in opened(decided(), without_labels(tiny_data())):
        assert made.wait(WAIT)
        yield made


def answers(model: nn.Module, images: Images) -> tuple[np.ndarray, np.ndarray]:
    """Classes and probabilities, from the definitions."""
    with torch.inference_mode():
        logits = model.eval()(images.inputs()).double().numpy()
    shares = np.exp(logits - logits.max(1, keepdims=True))
    return logits.argmax(1), shares / shares.sum(1, keepdims=True)


def test_answers_have_the_networks_names_for_classes():
    network = explorer.load("resnet20", data=torch.zeros(3, 1, 28, 28, dtype=torch.uint8))
    assert network.data.explore.labels is None
    assert network.data.classes == explorer.load("resnet20").data.classes


def test_it_starts_with_the_dense_network_which_agrees_with_itself(session):
    assert session.agreeing
    for estimate in (session.estimate, session.reference):
        assert (estimate.counts, estimate.accuracy, estimate.divergence) == ("itself", 1.0, 0.0)
    assert session.request.criterion == "l1"


def test_a_cut_is_judged_by_agreement_and_divergence(session):
    session.propose(keep=0.5)
    assert session.wait(WAIT)
    images = session.network.data.explore
    before, p = answers(session.network.model, images)
    now, q = answers(session.pruned(), images)
    assert session.estimate.counts == "agreement"
    assert 0 < session.estimate.correct == int((before == now).sum()) < 150
    assert session.estimate.divergence == pytest.approx((p * np.log(p / q)).sum(1).mean(), rel=1e-3)
    outcomes = session.outcomes
    assert outcomes.labels.tolist() == outcomes.reference.tolist() == before.tolist()
    assert outcomes.now.tolist() == now.tolist()
    said = Strings("en").agreeing().say(session.status)
    assert f"{int((before != now).sum())} images answered otherwise than by the dense network" in said


def test_every_visit_keeps_its_divergence(session):
    session.propose(keep=0.5)
    assert session.wait(WAIT)
    first, second = session.visits
    assert first.estimate.counts == "itself"
    assert second.estimate == session.estimate
    assert session.outcomes_of(0, 1).labels.tolist() == session.outcomes.labels.tolist()


def test_the_ranking_takes_the_networks_own_answers_for_labels(session):
    data = session.network.data
    labels, _ = answers(session.network.model, data.train)
    labelled = replace(data.train, labels=torch.from_numpy(labels))
    session.propose(criterion="taylor")
    assert session.wait(WAIT)
    expected = explorer.score(session.network.model, session.graph, "taylor", data=labelled)
    assert session.scores.key == expected.key
    wrong = replace(data.train, labels=(torch.from_numpy(labels) + 1) % 3)
    other = explorer.score(session.network.model, session.graph, "taylor", data=wrong)
    assert other.key != expected.key


def test_training_is_refused_in_words_and_nothing_changes(session):
    before = session.request
    with pytest.raises(BadInput, match="Training needs labels"):
        session.train()
    with pytest.raises(BadInput, match="Training needs labels"):
        session.propose(recovery=Recovery(bn=True, epochs=1))
    assert (session.request, session.training) == (before, None)


def test_a_set_reference_is_measured_like_any_state(session):
    session.propose(keep=0.6)
    assert session.wait(WAIT)
    session.set_reference()
    session.propose(keep=0.4)
    assert session.wait(WAIT)
    assert session.reference.counts == "agreement"
    assert session.outcomes.labels.tolist() != session.outcomes.reference.tolist()


def test_a_final_check_compares_with_the_dense_network_too(session):
    session.propose(keep=0.5)
    session.check_final()
    assert session.wait(WAIT)
    (check,) = session.final_checks
    images = session.network.data.final
    before, now = (answers(model, images)[0] for model in (session.network.model, session.pruned()))
    assert (check.now.counts, check.now.correct) == ("agreement", int((before == now).sum()))
    assert (check.dense.counts, check.dense.correct) == ("itself", 30)
    session.propose(keep=1.0)
    session.check_final()
    assert session.wait(WAIT)
    assert session.final_checks[1].now.counts == "itself"


def test_sweeps_measure_agreement(session):
    session.sweep("sensitivity")
    assert session._sweeps.idle(WAIT)
    assert set(session.sensitivity) == {group.id for group in session.graph.prunable}
    session.sweep("bands")
    assert session._sweeps.idle(WAIT)
    assert {point.estimate.counts for point in session.bands} == {"agreement"}


def test_labels_and_no_images_at_all_are_as_before():
    for data in (tiny_data(), None):
        network = explorer.load(tiny_model(), data=data, example=torch.zeros(1, 1, 8, 8))
        session = Session(network)
        try:
            assert session.wait(WAIT)
            assert not session.agreeing
            assert session.estimate is None or session.estimate.counts == "accuracy"
        finally:
            session.close()
