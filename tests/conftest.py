"""What all tests share: few threads, repeatable examples, the folder for screenshots."""

import os
from pathlib import Path

import pytest
import torch
from hypothesis import settings

torch.set_num_threads(1)  # results do not depend on the machine's cores

settings.register_profile("local", deadline=None)
settings.register_profile("ci", deadline=None, derandomize=True, print_blob=True)
settings.load_profile("ci" if os.environ.get("CI") else "local")


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--screenshots",
        type=Path,
        default=None,
        metavar="DIR",
        help="folder for the browser tests' screenshots (default: pytest's temporary folder)",
    )
