"""What a search needs of memory: said beforehand, and held against processes that run one."""

import importlib
import subprocess
import sys
from itertools import islice
from pathlib import Path

import pytest

import explorer
from explorer import methods
from explorer.costs import training_bytes
from explorer.memory import GIB
from explorer.methods import events, search
from tests.methods.searches import QUICK, graph_of, toy_network

KIB = 1024


def peak() -> int:
    """Bytes; `ru_maxrss` would begin with what the parent held when it started this process."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM:")) * KIB


def taken(name: str, method: str) -> tuple[int, int]:
    """Bytes that a process took for three steps beyond what it had taken before them, and the estimate."""
    network = explorer.load(name)
    graph = explorer.trace(network.model, network.example)
    settings = {"batch": 96, "epochs": 1} | ({"warm_up": 0} if method == "dmcp" else {})
    methods.available = lambda: 0.0  # type: ignore[assignment]
    short = methods.memory_short(graph, method, settings)
    assert short is not None
    before = peak()
    for _ in islice(events(network, graph, method, **settings), 3):
        pass
    return peak() - before, round(short[0] * GIB)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "method"), [("resnet20", "dmcp"), ("mobilenetv2", "dmcp"), ("resnet20", "manidp")]
)
def test_the_estimate_is_about_what_a_process_takes_for_a_search(name: str, method: str) -> None:
    code = f"from tests.methods.test_memory import taken; print(*taken({name!r}, {method!r}))"
    root = Path(__file__).parents[2]
    done = subprocess.run([sys.executable, "-c", code], cwd=root, capture_output=True, text=True, check=True)
    used, estimate = map(int, done.stdout.split())
    assert estimate / 1.75 < used < 1.25 * estimate  # the more steps, the nearer


def test_a_search_says_beforehand_what_it_needs_where_memory_is_short(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    network = toy_network()
    graph = graph_of(network)
    assert methods.memory_short(graph, "dmcp", QUICK) is None
    importlib.import_module("torch._dynamo")  # the code that optimisers load
    whole, half = (training_bytes(graph, batch) for batch in (16, 8))
    assert half < whole < 2 * half  # the weights are there once
    monkeypatch.setattr(methods, "available", lambda: whole - 1)
    assert methods.memory_short(graph, "dmcp", QUICK | {"batch": 8}) is None
    asked, checked = [], methods.checked
    monkeypatch.setattr(methods, "checked", lambda *given: asked.append(given) or checked(*given))
    with pytest.warns(UserWarning, match=r"needs about .* GiB of memory more, and .* left.*batch than 16"):
        search(network, **QUICK)
    assert len(asked) == 1
    monkeypatch.delitem(sys.modules, "torch._dynamo")
    monkeypatch.setattr(methods, "available", lambda: whole + 1)
    assert methods.memory_short(graph, "dmcp", QUICK) is not None
