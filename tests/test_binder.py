"""The folder from which Binder builds: exact CPU pins that fit what the package asks for."""

import os
import re
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from packaging.version import Version

ROOT = Path(__file__).resolve().parents[1]
BINDER = ROOT / "binder"
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
LINES = [
    line
    for line in (BINDER / "requirements.txt").read_text().splitlines()
    if line and not line.startswith("#")
]
PINS = {pin.name: pin for pin in map(Requirement, (line for line in LINES if not line.startswith("-")))}


@pytest.mark.parametrize("name", PINS)
def test_every_pin_is_exact(name):
    assert re.fullmatch(r"==[\w.+]+", str(PINS[name].specifier))


@pytest.mark.parametrize("needed", PROJECT["dependencies"])
def test_every_dependency_is_pinned_to_a_version_that_fits(needed):
    dependency = Requirement(needed)
    pinned = Version(str(PINS[dependency.name].specifier).removeprefix("=="))
    assert dependency.specifier.contains(pinned)


@pytest.mark.parametrize("name", ["torch", "torchvision"])
def test_no_cuda_build_satisfies_the_torch_pins(name):
    specifier = PINS[name].specifier
    pinned = Version(str(specifier).removeprefix("=="))
    assert pinned.local == "cpu"
    assert specifier.contains(pinned)
    assert not specifier.contains(Version(pinned.public))
    assert not specifier.contains(Version(f"{pinned.public}+cu130"))


def test_the_cpu_index_is_named():
    assert [line for line in LINES if line.startswith("-")] == [
        "--extra-index-url https://download.pytorch.org/whl/cpu"
    ]


def test_the_python_version_is_one_that_the_package_supports():
    found = re.fullmatch(r"python-(\d+\.\d+)", (BINDER / "runtime.txt").read_text().strip())
    assert found is not None
    assert SpecifierSet(PROJECT["requires-python"]).contains(found[1])


def test_the_package_is_installed_without_replacing_a_pin():
    (install,) = [line for line in (BINDER / "postBuild").read_text().splitlines() if "pip install" in line]
    assert "--no-deps" in install.split()
    assert install.split()[-1] == "."


@pytest.mark.parametrize("name", ["postBuild", "start"])
def test_scripts_can_be_executed(name):
    assert os.access(BINDER / name, os.X_OK)
    assert (BINDER / name).read_text().startswith("#!/bin/bash\n")


def test_the_server_starts_with_our_settings():
    start = (BINDER / "start").read_text()
    (folder,) = re.findall(r"\$folder/([\w/]+)", start)
    assert (ROOT / folder / "labconfig" / "default_setting_overrides.json").is_file()
    assert start.rstrip().endswith('exec "$@"')


def test_the_readme_opens_the_notebook_alone():
    (path,) = set(re.findall(r"mybinder\.org/v2/[^)\s]*urlpath=([^)\s]+)", (ROOT / "README.md").read_text()))
    assert path.replace("%2F", "/") == "doc/tree/notebooks/explorer.ipynb"
    assert (ROOT / "notebooks" / "explorer.ipynb").is_file()
