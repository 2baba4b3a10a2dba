"""Panels under test know nothing of the machine's memory: what a training form says must not depend on it."""

import pytest


@pytest.fixture(autouse=True)
def memory_is_ample(monkeypatch):
    monkeypatch.setattr("explorer.methods.memory_short", lambda graph, method, settings: None)
