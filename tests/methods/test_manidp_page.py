"""docs/manidp.md says what the code does and what was recorded: settings, names, and every number of its tables."""

import json
import re
from importlib import import_module
from pathlib import Path

import numpy as np
import pytest

import explorer
from explorer.methods import METHODS
from explorer.methods.recording import read_network, read_recorded
from explorer.methods.settings import declared

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "manidp.md").read_text(encoding="utf-8")
DYNAMIC = {"choosing", "counting", "gathering", "heads", "network", "sites"}


@pytest.fixture(scope="module")
def subject():
    network = explorer.load("resnet20")
    return network, explorer.trace(network.model, network.example)


@pytest.fixture(scope="module")
def recorded(subject):
    found = read_recorded(*subject, "manidp").evidence
    assert found is not None, "the run of these weights ships with the package"
    return found


def rows_of(table):
    """The cells of a recorded table's rows, by the name in the first one."""
    text = PAGE.split(f"<!-- recorded: {table} -->\n")[1].split("<!-- end -->")[0]
    lines = [[cell.strip() for cell in line.strip("|").split("|")] for line in text.splitlines()[2:]]
    return {re.match(r"`(\w+)`", cells[0]).group(1): cells[1:] for cells in lines}


def numbers(cells):
    """All numbers of a row, percentages as they are printed."""
    return [float(found) for found in re.findall(r"-?\d+(?:\.\d+)?", " ".join(cells))]


def interval(right, seen):
    """The 95 % Wilson interval in percent: where the share lies 1.96 standard deviations from the one observed."""
    p = np.linspace(0, 1, 1_000_001)
    inside = p[np.abs(p - right / seen) <= 1.959964 * np.sqrt(p * (1 - p) / seen)]
    return 100 * inside[0], 100 * inside[-1]


@pytest.mark.parametrize("method", ["manidp", "fbs"])
def test_the_settings_are_those_of_the_method(method):
    text = PAGE.split(f'`explorer.search(net, "{method}", ...)`:')[1].split("\n\n")[1]
    rows = re.findall(r"^\| (\**)`(\w+)`\** \| `(.+?)` \|", text, re.MULTILINE)
    told = [(name, json.loads(default), bool(bold)) for bold, name, default in rows]
    assert told == [(each.name, each.default, each.shown) for each in declared(METHODS[method].settings)]


def test_every_place_in_the_table_of_formulas_exists():
    table = PAGE.split("## What is implemented")[1].split("\n\n**")[0]
    places = re.findall(r"`([a-z]+)\.(\w+(?:\.\w+)?)`", table)
    assert len(places) >= 12
    for module, names in places:
        found = import_module(f"explorer.{'dynamic' if module in DYNAMIC else 'methods'}.{module}")
        for name in names.split("."):
            assert hasattr(found, name), f"{module}.{names}"
            found = getattr(found, name)


def test_the_files_and_tests_that_it_names_exist():
    links = re.findall(r"\]\((decisions/[\w.-]+)\)", PAGE)
    files = re.findall(r"`((?:tests|notebooks|scripts)/[\w/]+\.\w+)`", PAGE)
    files += re.findall(r"python (scripts/\w+\.py)", PAGE)
    assert links
    assert len(files) >= 4
    modules = re.findall(r"python -m ((?:benchmarks|scripts)\.\w+)", PAGE)
    missing = [name for name in links if not (ROOT / "docs" / name).exists()]
    missing += [name for name in files if not (ROOT / name).exists()]
    missing += [name for name in modules if not (ROOT / f"{name.replace('.', '/')}.py").exists()]
    assert not missing


def test_the_table_of_trainings_is_the_recorded_file(recorded):
    rows = rows_of("effects")
    assert list(rows) == [effect.name for effect in recorded.effects]
    for effect in recorded.effects:
        count, right = len(effect.right), int(effect.right.sum())
        order = np.argsort(effect.losses, kind="stable")
        fifth = count // 5
        expected = [
            100 * np.mean(effect.macs), 100 * effect.macs.min(), 100 * effect.macs.max(),
            100 * right / count, *interval(right, count), effect.correlation,
            100 * np.mean(effect.macs[order[:fifth]]), 100 * np.mean(effect.macs[order[-fifth:]]),
            np.nanmean(effect.agreements), effect.apart,
        ]  # fmt: skip
        places = [1, 1, 1, 2, 1, 1, 2, 1, 1, 2, 2]
        if np.isnan(effect.correlation):
            assert " - " in f" {' '.join(rows[effect.name])} "
            del expected[6], places[6]
        found = numbers(rows[effect.name])
        assert len(found) == len(expected), effect.name
        for told, value, digits in zip(found, expected, places, strict=True):
            assert abs(told - value) <= 0.51 * 10**-digits, (effect.name, told, value)


def test_the_table_of_rivals_is_the_recorded_file(recorded):
    rows = rows_of("rivals")
    assert list(rows) == [rival.name for rival in recorded.rivals]
    for rival in recorded.rivals:
        right = round(rival.accuracy * rival.images)
        expected = [100 * rival.share, 100 * rival.accuracy, *interval(right, rival.images)]
        for told, value, digits in zip(numbers(rows[rival.name]), expected, [1, 2, 1, 1], strict=True):
            assert abs(told - value) <= 0.51 * 10**-digits, (rival.name, told, value)


def test_the_first_row_is_of_the_declared_settings(recorded):
    settings = {each.name: each.default for each in declared(METHODS["manidp"].settings)}
    first = recorded.effects[0]
    assert first.name == "whole"
    assert {name: first.settings[name] for name in settings} == settings


def test_the_findings_are_those_of_the_recorded_file(recorded):
    """What the page says in words below its tables."""
    known = {effect.name: effect for effect in recorded.effects}
    gap = {name: each.by_quintile[1] - each.by_quintile[0] for name, each in known.items()}
    by_strength = [known[name] for name in ("no_similarity", "whole", "strong_similarity")]
    assert gap["whole"] > 0.05
    assert known["whole"].correlation > 0.3
    assert sorted(by_strength, key=lambda each: each.agreement) == by_strength
    assert sorted(by_strength, key=lambda each: gap[each.name]) == by_strength
    assert sorted(by_strength, key=lambda each: each.apart) == by_strength
    assert gap["whole"] == pytest.approx(gap["uniform"], abs=0.01)
    assert 1.7 < gap["strong_sparsity"] / gap["strong_uniform"] < 2.7
    for adaptive, uniform in (("whole", "uniform"), ("strong_sparsity", "strong_uniform")):
        assert known[uniform].correlation > known[adaptive].correlation
    assert known["no_sparsity"].correlation > 0.3
    assert np.ptp(known["fbs"].macs) == 0
    assert known["strong_sparsity"].mean_share < known["whole"].mean_share / 2
    assert 0.005 < known["whole"].accuracy - known["strong_sparsity"].accuracy < 0.015
    beside = {rival.name: rival for rival in recorded.rivals}
    assert beside["static"].share == pytest.approx(known["whole"].mean_share, abs=0.01)
    images = beside["static"].images
    low, high = interval(round(beside["static"].accuracy * images), images)
    assert low < 100 * known["whole"].accuracy < high
    assert (
        max(beside["longer"].accuracy, *(each.accuracy for each in known.values())) < beside["dense"].accuracy
    )


def test_the_thresholds_that_are_zero_are_those_that_it_names(subject):
    dynamic = read_network(*subject, "manidp")
    found = dynamic.thresholds().tolist()
    first = [t for t, site in zip(found, dynamic.sites.every, strict=True) if site.layer.endswith("conv1")]
    assert first == [0.0] * 9
