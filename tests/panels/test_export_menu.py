"""The export menu: what a button writes and where, what it says meanwhile, and what when it cannot."""

from dataclasses import replace

import pytest
import torch

from explorer.panels.header.export_menu import ExportMenu
from explorer.strings import Strings
from explorer.zoo.constructor import Constructor
from tests.panels.fake_session import FakeSession


class Exported(FakeSession):
    """A fake session over a real, small cut: files need a real network."""

    def __init__(self, cut) -> None:
        super().__init__()
        self.network, self.graph = cut.network, cut.graph
        self.request, self.plan, self.estimate = cut.report.request, cut.plan, None
        self.cut = cut

    def pruned(self):
        return self.cut.model


@pytest.fixture(scope="module")
def cut():
    from tests.export.conftest import make_cut

    return make_cut("resnet20")


@pytest.fixture
def menu(cut, tmp_path):
    menu = ExportMenu(Exported(cut), Strings("en"))
    menu.folder.value = str(tmp_path / "out")
    yield menu
    menu.close()


def press(menu: ExportMenu, kind: str) -> list[str]:
    """Everything that the answer says after a press, until the work is done."""
    said: list[str] = []
    menu.answer.observe(lambda change: said.append(change["new"]), "value")
    menu.buttons[kind].click()
    assert menu._worker.idle(60)
    return said


NETWORK = ["pruned.py", "pruned.safetensors", "widths.json", "widths.svg"]


@pytest.mark.parametrize(
    ("kind", "names"),
    [
        ("network", NETWORK),
        ("onnx", ["pruned.onnx"]),
        ("archive", ["pruned.pt2"]),
        ("report", ["report.html"]),
        ("replay", ["replay.py"]),
        ("picture", ["widths.svg"]),
    ],
)
def test_every_button_writes_its_files_and_says_which(menu, tmp_path, kind, names):
    said = press(menu, kind)
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == [
        f"resnet20_{name}" for name in names
    ]
    assert f"Written to {tmp_path / 'out'}: " in said[-1]
    assert all(name in said[-1] for name in names)
    assert 'role="status"' in said[-1]
    assert "Writing…" in said[-2]


@pytest.mark.parametrize("kind", ["report", "replay", "picture"])
def test_a_networks_name_cannot_choose_another_folder(cut, tmp_path, kind):
    session = Exported(cut)
    session.network = replace(cut.network, name="../../evil")
    menu = ExportMenu(session, Strings("en"))
    assert menu.folder.value == "_evil_pruned"
    menu.folder.value = str(tmp_path / "in" / "out")
    assert "Written to" in press(menu, kind)[-1]
    assert {path.parent for path in tmp_path.rglob("*") if path.is_file()} == {tmp_path / "in" / "out"}
    menu.close()


def test_the_work_is_said_step_by_step(menu):
    strings = menu._strings
    stages = [strings(f"export_stage_{name}") for name in ("weights", "proof", "accuracy", "writing")]
    assert [stage for said in press(menu, "report") for stage in stages if stage in said] == stages


def test_a_folder_that_cannot_be_is_refused_in_words_before_any_work(menu, tmp_path):
    (tmp_path / "out").write_text("a file")
    menu._session.pruned = None
    (_started, refused) = press(menu, "network")
    assert "is not a folder" in refused
    assert 'role="alert"' in refused
    assert "is not a folder" in menu._session.error


def test_the_folder_is_named_after_the_network_and_never_empty(cut, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    menu = ExportMenu(Exported(cut), Strings("en"))
    assert menu.folder.value == "resnet20_pruned"
    menu.folder.value = "  "
    press(menu, "picture")
    assert (tmp_path / "resnet20_pruned" / "resnet20_widths.svg").is_file()
    menu.close()


def test_a_class_that_cannot_be_imported_is_written_as_an_archive_and_said_why(tmp_path):
    from tests.export.blocks import Residual
    from tests.export.conftest import cut_of, own_network

    reason = "Its class is <in> a notebook."
    menu = ExportMenu(
        Exported(cut_of(own_network(Residual(), torch.randn(1, 2, 6, 6), reason=reason))), Strings("en")
    )
    assert "a torch.export archive" in menu.surface.children[1].children[1].value
    menu.folder.value = str(tmp_path / "out")
    said = press(menu, "network")
    names = ["pruned.pt2", "pruned.safetensors", "widths.json", "widths.svg"]
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == [
        f"Residual_{name}" for name in names
    ]
    assert "stands in for the Python file. Its class is &lt;in&gt; a notebook." in said[-1]
    assert said[-1].count('<p role="status">') == 2
    menu.close()


def test_a_network_that_can_be_imported_has_a_python_file(cut):
    session = Exported(cut)
    session.network = replace(cut.network, source=None, constructor=Constructor("pack", "Net"))
    menu = ExportMenu(session, Strings("en"))
    assert "a Python file that rebuilds it" in menu.surface.children[1].children[1].value
    menu.close()


def test_a_missing_package_is_said_with_its_command_before_any_work(menu, monkeypatch):
    monkeypatch.setattr("explorer.export.onnx_file.find_spec", lambda name: None)
    menu._session.pruned = None
    (_started, refused) = press(menu, "onnx")
    assert "pip install" in refused
    assert 'role="alert"' in refused


def test_it_opens_and_closes_by_its_button(menu):
    assert "pe-shut" in menu.surface._dom_classes
    menu.opener.value = True
    assert "pe-shut" not in menu.surface._dom_classes
