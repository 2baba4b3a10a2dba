"""The networks that ship: sizes, and that they are as accurate as their cards say."""

import json
import math
import subprocess
import sys
from importlib.resources import files

import pytest
import torch
from safetensors import safe_open

from explorer.zoo import load
from explorer.zoo.networks import NETWORKS

WEIGHTS = files("explorer.zoo") / "weights"
LEAST = {"resnet20": 0.925, "vgg": 0.92, "mobilenetv2": 0.91, "inception": 0.915}


def metadata(name: str) -> dict[str, str]:
    with safe_open(str(WEIGHTS / f"{name}.safetensors"), framework="pt") as content:
        return content.metadata()


def test_every_network_has_a_least_accuracy() -> None:
    assert set(LEAST) == set(NETWORKS)


def test_all_weights_together_are_small() -> None:
    assert sum(len((WEIGHTS / f"{name}.safetensors").read_bytes()) for name in NETWORKS) <= 10_000_000


@pytest.mark.parametrize("name", NETWORKS)
def test_the_recorded_accuracy_is_reached_and_on_the_card(name: str) -> None:
    accuracy = float(metadata(name)["accuracy"])
    assert LEAST[name] <= accuracy < 1
    card = (WEIGHTS / f"{name}.md").read_text()
    assert f"**{accuracy:.2%}** of the 10,000 test images" in card


@pytest.mark.slow
@pytest.mark.parametrize("name", NETWORKS)
@torch.inference_mode()
def test_the_accuracy_on_the_shipped_images_agrees_with_the_card(name: str) -> None:
    network = load(name)
    correct = seen = 0
    for images in (network.data.explore, network.data.final):
        for start in range(0, len(images), 250):
            rows = slice(start, start + 250)
            correct += int((network.model(images.inputs(rows)).argmax(1) == images.labels[rows]).sum())
            seen += len(images.labels[rows])
    recorded = float(metadata(name)["accuracy"])
    # 4,000 drawn without replacement from the 10,000 that the recorded accuracy is of.
    deviation = math.sqrt(recorded * (1 - recorded) / seen * (1 - seen / 10_000))
    assert seen == 4_000
    assert abs(correct / seen - recorded) < 3 * deviation


def test_the_bundled_path_imports_neither_torchvision_nor_a_user_interface() -> None:
    program = (
        "import json, sys; from explorer.zoo import load; network = load('resnet20'); "
        "network.data.explore.inputs(slice(0, 2)); print(json.dumps(sorted(sys.modules)))"
    )
    answer = subprocess.run([sys.executable, "-c", program], check=True, capture_output=True, text=True)
    modules = set(json.loads(answer.stdout))
    assert "torch" in modules
    assert not modules & {"torchvision", "bokeh", "ipywidgets", "IPython"}
