"""The script that writes the tables of docs/manidp.md: what it replaces, and what it leaves."""

from importlib import import_module
from pathlib import Path

import pytest

from explorer.instances import Effect, InstanceEvidence, Rival
from explorer.methods.effects import WAYS

SCRIPTS = Path(__file__).parents[2] / "scripts"
PAGE = """before
<!-- recorded: effects -->
an old row
<!-- end -->
between
<!-- recorded: rivals -->
<!-- end -->
after
"""


@pytest.fixture
def script(monkeypatch):
    monkeypatch.syspath_prepend(str(SCRIPTS))
    return import_module("manidp_tables")


@pytest.fixture
def recorded():
    macs, losses = [0.3, 0.4, 0.5, 0.4, 0.4], [0.1, 0.2, 2.0, 0.4, 0.3]
    effect = Effect(
        "uniform", {}, 0, macs, losses, [True, True, False, True, True], (0.5, float("nan")), 0.25
    )
    return InstanceEvidence((effect,), (Rival("dense", 1.0, 0.5, 100),))


def test_tables_are_replaced_and_the_text_around_them_stays(script, recorded):
    text = script.filled(PAGE, recorded)
    # Ranks of MACs 1, 3, 5, 3, 3 and of losses 1, 2, 5, 4, 3: Pearson's 8 / sqrt(8 * 10) = 0.894
    row = (
        "| `uniform`: uniform weight | 40.0% (30.0% to 50.0%) | 80.00% (37.6% to 96.4%) | 0.89 | 30.0% | 50.0% | "
        "0.50 | 0.25 |"
    )
    lines = text.splitlines()
    assert row in lines
    assert "| `dense`: dense | 100.0% | 50.00% (40.4% to 59.6%) |" in lines
    assert "an old row" not in text
    assert [line for line in lines if not line.startswith(("|", "<!--"))] == ["before", "between", "after"]
    assert script.filled(text, recorded) == text


def test_a_page_without_places_for_the_tables_is_refused(script, recorded):
    with pytest.raises(ValueError, match="no place for the table effects"):
        script.filled(PAGE.replace("effects", "others"), recorded)
    with pytest.raises(ValueError, match="no place for the table rivals"):
        script.filled(PAGE.rpartition("<!-- end -->")[0], recorded)


def test_every_way_of_training_that_is_recorded_has_its_words(script):
    assert {"whole", *WAYS} <= set(script.CALLED)
