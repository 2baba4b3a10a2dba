"""Networks that are no classifiers in the browser: a denoiser with targets, and one judged by the user's own score."""

import json

import pytest

pytestmark = [pytest.mark.ui, pytest.mark.slow]

SETTLED = "Out[1].session.wait(timeout=300)"
NETWORK = """
import torch, explorer
from torch import nn
from explorer.app import Explorer
from explorer.data.images import Data, Images, identity

class Denoise(nn.Module):
    def __init__(self):
        super().__init__()
        self.a, self.b = nn.Conv2d(1, 16, 3, 1, 1), nn.Conv2d(16, 16, 3, 1, 1)
        self.c = nn.Conv2d(16, 1, 3, 1, 1)

    def forward(self, x):
        return x - self.c(torch.relu(self.b(torch.relu(self.a(x)))))

torch.manual_seed(0)
clean = explorer.load("resnet20").data.explore.pixels[:400].float() / 255
noisy = clean + 0.2 * torch.randn_like(clean)
model = Denoise()
images = Images(noisy, clean, identity)
optimizer = torch.optim.Adam(model.parameters(), 0.01)
for step in range(150):
    rows = torch.arange(step * 32, step * 32 + 32) % 400
    loss = (model(noisy[rows]) - clean[rows]).square().mean()
    optimizer.zero_grad(), loss.backward(), optimizer.step()
data = Data("noisy clothes", (), images, images.subset(200), None)
"""
KINDS = {
    "denoise": ("Explorer(model, data=data)", "R2", "R²"),
    "psnr": (
        (
            "Explorer(model, data=data, score=lambda o, t: -10 * (o - t).square().flatten(1).mean(1).log10(),"
            " loss=lambda o, t: (o - t).square().mean())"
        ),
        "score",
        "Score",
    ),
}


@pytest.mark.parametrize("kind", KINDS)
def test_a_network_of_another_task_is_cut_and_judged_in_its_words(kind, open_notebook, lab):
    shows, measure, label = KINDS[kind]
    cell = {"cell_type": "code", "execution_count": None, "id": "a", "metadata": {}, "outputs": []}
    kernel = {"kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"}}
    content = {
        "cells": [{**cell, "source": NETWORK + shows}],
        "metadata": kernel,
        "nbformat": 4,
        "nbformat_minor": 5,
    }
    (lab.folder / f"{kind}.ipynb").write_text(json.dumps(content), "utf-8")
    notebook = open_notebook(f"{kind}.ipynb", width=1280, height=1100)
    notebook.run_all()
    notebook.wait_drawn("bars")
    notebook.kernel("Out[1].set(keep=0.25)")
    assert notebook.kernel(SETTLED)
    estimate = "Out[1].session.estimate"
    shown = notebook.kernel(f"{estimate}.digits()")
    page = notebook.page
    page.wait_for_function(
        "text => document.querySelector('.pe-accuracy').innerText.includes(text)", arg=shown
    )
    card = page.locator(".pe-accuracy").inner_text()
    assert notebook.kernel(f"{estimate}.measure") == measure
    assert label in card
    assert ("%" in card) == (measure != "score")
    assert notebook.kernel("Out[1].session.error") == ""
    notebook.screenshot(f"task-{kind}")
    page.get_by_role("tab", name="Images").click()
    page.wait_for_function("() => document.querySelector('.pe-images-sentence')?.innerText.includes('200')")
    notebook.wait_drawn("gallery")
    notebook.screenshot(f"task-{kind}-images")
    worst = notebook.kernel("int((Out[1].session.scored.now - Out[1].session.scored.reference).argmin())")
    first = page.locator(".pe-images-open select option").nth(1)
    assert str(worst) in first.inner_text()
    page.get_by_role("tab", name="Trade-off").click()
    notebook.wait_drawn("tradeoff")
    notebook.screenshot(f"task-{kind}-tradeoff")
