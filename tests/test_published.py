"""Published structures are recounted, and every number has a source that is named."""

import numpy as np
import pytest
import torch
import torchvision

import explorer
from explorer.costs import totals
from explorer.published import CAVEATS, DENSE_MACS, DENSE_PARAMS, RESULTS, SOURCES, STRUCTURES


@pytest.fixture(scope="module")
def resnet50():
    with torch.device("meta"):
        shapes = torchvision.models.resnet50()
    return explorer.trace(shapes.to_empty(device="cpu"), torch.zeros(1, 3, 224, 224))


def counted(graph, widths):
    """MACs and parameters of torchvision's resnet50 with these widths; each name must decide one group."""
    found = graph.sizes.copy()
    left = dict(widths)
    for group in graph.prunable:
        (name,) = set(group.layers) & set(left)
        width, size = left.pop(name)
        assert size == group.size
        found[graph.index[group.id]] = width
    assert left == {}
    return tuple(int(totals(graph, found, kind)) for kind in ("macs", "params"))


def test_the_dense_network_costs_what_is_said(resnet50):
    sizes = {name: (size, size) for name, (_width, size) in STRUCTURES[0].widths.items()}
    assert counted(resnet50, sizes) == (DENSE_MACS, DENSE_PARAMS)


@pytest.mark.parametrize("structure", STRUCTURES, ids=lambda structure: structure.name)
def test_structures_cost_what_is_said_and_what_their_name_promises(resnet50, structure):
    assert counted(resnet50, structure.widths) == (structure.macs, structure.params)
    budget = float(structure.name[:-1]) * {"G": 1e9, "M": 1e6}[structure.name[-1]]
    assert structure.macs == pytest.approx(budget, rel=0.02)


def test_every_number_has_a_source_and_a_known_caveat():
    assert {result.source for result in RESULTS} | {s.source for s in STRUCTURES} == set(SOURCES)
    assert {result.caveat for result in RESULTS} <= set(CAVEATS)
    assert {r.caveat for r in RESULTS if r.source == "paper"} == {"second_hand"}
    keys = [(r.network, r.budget, r.by, r.source) for r in RESULTS]
    assert len(keys) == len(set(keys))
    assert all(40 < result.top1 < 80 for result in RESULTS)


def test_within_a_row_costs_are_alike():
    for result in RESULTS:
        budget = float(result.budget[:-1]) * (1000 if result.budget.endswith("G") else 1)
        assert result.macs == pytest.approx(budget, rel=0.1)


def test_early_stages_are_cut_harder_than_deep_ones():
    shares = np.array([[kept / size for kept, size in zip(s.outputs, (256, 512, 1024, 2048), strict=True)]
                       for s in STRUCTURES])  # fmt: skip
    assert (shares[:, :2].max(axis=1) < shares[:, 2:].max(axis=1)).all()
