"""The command that serves the notebook, and what it leaves alone."""

import json
import os
import subprocess
import sys

import pytest

from explorer import launch
from explorer.errors import BadInput
from explorer.launch import NOTEBOOK, SETTINGS, command, environment, notebook_for


@pytest.fixture
def installed(tmp_path, monkeypatch):
    """The package as a wheel installs it: no checkout around it, the notebook inside."""
    package = tmp_path / "site-packages" / "explorer"
    (package / "notebooks").mkdir(parents=True)
    (package / "notebooks" / NOTEBOOK).write_text("ours")
    monkeypatch.setattr(launch, "PACKAGE", package)
    return package


def test_a_checkout_opens_its_own_notebook(tmp_path):
    assert notebook_for(tmp_path) == launch.PACKAGE.parent / "notebooks" / NOTEBOOK
    assert list(tmp_path.iterdir()) == []


def test_an_installed_package_copies_the_notebook(installed, tmp_path):
    assert notebook_for(tmp_path) == tmp_path / NOTEBOOK
    assert (tmp_path / NOTEBOOK).read_text() == "ours"


def test_a_file_of_the_user_is_never_overwritten(installed, tmp_path):
    (tmp_path / NOTEBOOK).write_text("theirs")
    assert notebook_for(tmp_path).read_text() == "theirs"


def test_a_folder_that_does_not_exist_is_refused_in_words(installed, tmp_path):
    with pytest.raises(BadInput, match=r"nowhere is not a folder.*name a folder"):
        notebook_for(tmp_path / "nowhere")


def test_a_folder_that_cannot_be_written_is_refused_in_words(installed, tmp_path, monkeypatch):
    def refuse(*_):
        raise PermissionError

    monkeypatch.setattr(launch.shutil, "copyfile", refuse)
    with pytest.raises(BadInput, match="not writable"):
        notebook_for(tmp_path)


def test_the_command_opens_the_notebook_alone(tmp_path):
    arguments = command(tmp_path / "my notes.ipynb")
    assert arguments[:3] == [sys.executable, "-m", "jupyterlab"]
    assert f"--ServerApp.root_dir={tmp_path}" in arguments
    assert "--LabApp.default_url=/doc/tree/my%20notes.ipynb" in arguments
    assert not {"--no-browser", "--allow-root"} & set(arguments)


def test_options_reach_the_command(tmp_path):
    arguments = command(tmp_path / NOTEBOOK, browser=False, port=8123, extra=["--debug"], as_root=True)
    assert {"--no-browser", "--ServerApp.port=8123", "--allow-root"} <= set(arguments)
    assert arguments[-1] == "--debug"


def test_our_settings_come_first_and_the_users_stay():
    inherited = {"HOME": "/home/ada", "JUPYTER_CONFIG_PATH": "/etc/theirs"}
    settings = environment(inherited)
    assert settings["JUPYTER_CONFIG_PATH"].split(os.pathsep) == [str(SETTINGS), "/etc/theirs"]
    assert settings["HOME"] == "/home/ada"
    assert environment({})["JUPYTER_CONFIG_PATH"] == str(SETTINGS)
    assert inherited == {"HOME": "/home/ada", "JUPYTER_CONFIG_PATH": "/etc/theirs"}


def test_the_settings_turn_off_what_calls_outside():
    lab = json.loads((SETTINGS / "jupyter_lab_config.json").read_text())["LabApp"]
    assert lab["news_url"] is None
    assert lab["check_for_updates_class"] == "jupyterlab.NeverCheckForUpdate"
    assert lab["extension_manager"] == "readonly"


@pytest.mark.skipif(os.name != "posix", reason="only on POSIX does the process become the server")
def test_open_notebook_becomes_jupyterlab(tmp_path):
    code = (
        "from pathlib import Path; from explorer.launch import open_notebook; "
        f"open_notebook(Path({str(tmp_path)!r}), extra=['--version']); print('came back')"
    )
    root = str(launch.PACKAGE.parent)
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, "PYTHONPATH": root},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.startswith("4.")
    assert "came back" not in done.stdout
