"""Values: frozen, keyed by content, and never looking into the caller's arrays again."""

import dataclasses
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from explorer.errors import BadInput
from explorer.values import (
    Estimate,
    Plan,
    Proof,
    Recovery,
    Request,
    Scores,
    State,
    content_key,
    wilson_interval,
)
from tests.networks import examples


def test_plans_of_equal_content_are_equal_whatever_the_order() -> None:
    first = Plan("g", {"a": np.array([True, False]), "b": np.array([True])})
    second = Plan("g", {"b": [True], "a": [True, False]})
    assert first == second
    assert hash(first) == hash(second)
    assert len({first, second, Plan("h", first.keep), Plan("g", {"a": [True, True], "b": [True]})}) == 3


def test_values_keep_what_they_were_given() -> None:
    kept, scores = np.array([True, False]), np.array([1, 2], dtype=np.float32)
    plan, ranked = Plan("g", {"a": kept}), Scores("l1", {"a": scores}, comparable=False)
    keys = plan.key, ranked.key
    kept[:] = False
    scores[:] = 0
    assert plan.keep["a"].tolist() == [True, False]
    assert ranked.by_group["a"].tolist() == [1, 2]
    assert (Plan("g", plan.keep).key, Scores("l1", ranked.by_group, comparable=False).key) == keys


def test_values_cannot_be_written() -> None:
    plan = Plan("g", {"a": np.array([True, False])})
    with pytest.raises(ValueError, match="read-only"):
        plan.keep["a"][0] = False
    with pytest.raises(TypeError):
        plan.keep["a"] = np.array([True])  # type: ignore[index]
    with pytest.raises(dataclasses.FrozenInstanceError):
        plan.graph_key = "h"  # type: ignore[misc]


def test_widths_of_a_plan() -> None:
    assert dict(Plan("g", {"a": [True, False, True], "b": [False, True]}).widths) == {"a": 2, "b": 1}


def test_keys_tell_shapes_types_and_order_apart() -> None:
    parts = [
        (np.zeros(4),), (np.zeros((2, 2)),), (np.zeros(4, dtype=np.float32),), (np.zeros(2), np.zeros(2)), ("ab", "c"),
        ("a", "bc"), ("abc",), (1,), ("1",), (),
    ]  # fmt: skip
    assert len({content_key(*part) for part in parts}) == len(parts)
    assert content_key(np.arange(6).reshape(2, 3).T) == content_key(np.arange(6).reshape(2, 3).T.copy())


@examples(50)
@given(st.integers(1, 5000), st.floats(0, 1))
def test_the_interval_holds_the_share_and_stays_in_the_unit_interval(seen: int, share: float) -> None:
    correct = round(share * seen)
    low, high = wilson_interval(correct, seen)
    assert 0 <= low <= correct / seen + 1e-12
    assert correct / seen - 1e-12 <= high <= 1
    assert low < high


def test_the_interval_by_hand() -> None:
    # Wilson, 8 of 10 at 95 %: (0.8 + 0.19207 +- 0.30056) / 1.38415
    assert wilson_interval(8, 10) == pytest.approx((0.49016, 0.94331), abs=1e-4)
    assert wilson_interval(0, 0) == (0, 1)


def test_an_estimate_before_its_first_image_has_no_accuracy() -> None:
    empty = Estimate("s", 0, 0, 10)
    assert math.isnan(empty.accuracy)
    assert (empty.low, empty.high, empty.done) == (0, 1, False)
    assert Estimate("s", 9, 10, 10).accuracy == 0.9
    assert Estimate("s", 9, 10, 10).done


def test_an_estimate_reads_as_a_sentence_and_stays_a_value() -> None:
    estimate = Estimate("0123456789abcdef", 1852, 2000, 2000)
    assert str(estimate) == "92.6 % (91.4 to 93.7), 2,000 of 2,000 images"
    assert repr(estimate) == "<Estimate 92.6 % (91.4 to 93.7), 2,000 of 2,000 images, state 01234567>"
    assert str(Estimate("s", 0, 0, 10)) == "unknown, 0 of 10 images"
    assert {estimate, dataclasses.replace(estimate)} == {estimate}


RECOVERIES = {
    "none": "no recovery", "bn": "re-estimated BN", "1": "trained 1 epoch", "12": "trained 12 epochs",
    "merge": "merged neurons", "merge+bn": "merged neurons, re-estimated BN", "refit": "refit by least squares",
    "refit+3": "refit by least squares, trained 3 epochs",
    "refit_sequential+bn": "refit layer after layer, re-estimated BN",
}  # fmt: skip


@pytest.mark.parametrize("text", RECOVERIES)
def test_a_recovery_is_written_as_it_is_read(text: str) -> None:
    assert Recovery.parse(text).code == text


@pytest.mark.parametrize(
    "text", ["", "+", "refit+", "+bn", "bn+refit", "none+bn", "refit+0", "refit+merge", "heal", "-1", 3, None]
)
def test_other_recoveries_are_refused_in_words(text: object) -> None:
    with pytest.raises(BadInput, match=r"is not known\. Use none, bn, a number of epochs"):
        Recovery.parse(text)  # type: ignore[arg-type]


def test_labels_of_recoveries() -> None:
    assert {text: Recovery.parse(text).label for text in RECOVERIES} == RECOVERIES


def test_states_that_differ_have_different_keys() -> None:
    states = [
        State("w", "p", recovery, seed)
        for recovery in (
            Recovery(),
            Recovery(bn=True),
            Recovery(epochs=1),
            Recovery(bn=True, epochs=1),
            Recovery(repair="merge"),
            Recovery(repair="refit"),
            Recovery(repair="refit_sequential"),
            Recovery(bn=True, repair="refit"),
        )
        for seed in (0, 1)
    ]
    assert len({state.key for state in states}) == len(states)
    assert State("w", "p", Recovery()).key == State("w", "p", Recovery()).key


def test_a_request_is_hashable_and_compares_by_content() -> None:
    assert len({Request(keep=0.5), Request(keep=0.5), Request(keep=0.5, widths=(("a", 3),))}) == 2


@pytest.mark.parametrize(
    ("difference", "scale", "effect", "finite", "ok", "conclusive"),
    [
        (1e-6, 1.0, 0.5, True, True, True),
        (1e-4, 1.0, 0.5, True, True, True),
        (1.1e-4, 1.0, 0.5, True, False, False),
        (1e-6, 1.0, 1e-5, True, True, False),
        (0.0, 0.0, 0.0, True, False, False),
        (1e-6, 1.0, 0.5, False, False, False),
        (math.nan, 1.0, 0.5, True, False, False),
    ],
)
def test_what_a_proof_says(
    difference: float, scale: float, effect: float, finite: bool, ok: bool, conclusive: bool
) -> None:
    proof = Proof(difference, scale, effect, finite, 1e-4)
    assert (proof.ok, proof.conclusive) == (ok, conclusive)
