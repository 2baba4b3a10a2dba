"""Export: what is seen as files in a folder of the reader's, written beside the explorer."""

from collections.abc import Callable, Sequence
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from ipywidgets import HTML, Button, HBox, Text

from explorer.panels.kit.binding import Binding
from explorer.panels.kit.popover import Popover
from explorer.strings import Message, Strings

if TYPE_CHECKING:
    from explorer.evaluate.worker import LatestWins
    from explorer.session import Session

KINDS = ("network", "onnx", "archive", "report", "replay", "picture")
Job = tuple[str, Path]


class Written(NamedTuple):
    """The files, and what of them is not as asked."""

    paths: Sequence[Path]
    notes: Sequence[Message] = ()


Said = str | Written
"""A stage of the work, or what was written."""


class ExportMenu(Popover):
    """A button for each kind of export, and what came of the last one. `buttons` are by kind.

    A network whose class cannot be imported is written as an archive instead of a file of Python: its button
    says so, and the answer why.
    """

    def __init__(self, session: "Session", strings: Strings) -> None:
        self._session, self._strings = session, strings
        self._worker: LatestWins[Job, Said] | None = None
        name = session.network.name
        self.folder = Text(
            value=f"{session.network.file_name}_pruned",
            description=strings("export_folder"),
            tooltip=strings("export_folder_help"),
            continuous_update=False,
            style={"description_width": "initial"},
        ).add_class("pe-export-folder")
        self.buttons = {kind: Button(description=strings(f"export_{kind}")) for kind in KINDS}
        self.answer = HTML().add_class("pe-export-answer")
        helps = {kind: strings(f"export_{kind}_help", name=name) for kind in KINDS}
        if session.network.source is None and session.network.constructor is None:
            helps["network"] = strings("export_network_archive")
        rows = [
            HBox([button, HTML(f'<span class="pe-soft">{escape(helps[kind])}</span>')]).add_class(
                "pe-export-row"
            )
            for kind, button in self.buttons.items()
        ]
        super().__init__(strings("export"), strings("export_help"), [self.folder, *rows, self.answer])
        self.add_class("pe-export")
        self.binding = Binding(session)
        for kind, button in self.buttons.items():
            button.on_click(lambda _button, kind=kind: self.binding.act(self._start, kind))

    def close(self) -> None:
        """Stop writing, and remove the widgets."""
        if "_worker" in vars(self) and self._worker is not None:
            self._worker.close()
        super().close()

    def _start(self, kind: str) -> None:
        from explorer.evaluate.worker import LatestWins

        if self._worker is None:
            self._worker = LatestWins(self._work, self._tell, self._failed)
        folder = Path(self.folder.value.strip() or f"{self._session.network.file_name}_pruned")
        self._say(self._strings("export_stage_weights"))
        self._worker.submit((kind, folder))

    # ---- the worker thread ------------------------------------------------------------------------------

    def _work(self, job: Job, publish: Callable[[Said], None], _check: Callable[[], None]) -> None:
        from explorer.export import FORMATS, check_folder, explored

        kind, folder = job
        folder = check_folder(folder).absolute()  # before the work, not after it
        session: Any = self._session
        name = session.network.file_name
        if kind in FORMATS:
            notes: list[Message] = []
            paths = explored.write_network(folder, session, publish, (kind,), notes.append)
            publish(Written(paths, notes))
        elif kind == "report":
            publish(Written([explored.write_html(folder / f"{name}_report.html", session, publish)]))
        elif kind == "replay":
            publish(Written(explored.write_replay(folder, session, publish)))
        else:
            publish(Written([explored.write_picture(folder / f"{name}_widths.svg", session, publish)]))

    def _tell(self, _job: Job, said: Said) -> None:
        if isinstance(said, str):
            self._say(self._strings(f"export_stage_{said}"))
            return
        names = ", ".join(path.name for path in said.paths)
        written = self._strings("export_written", folder=said.paths[0].parent, names=names)
        self._say(written, *(self._strings.say(note) for note in said.notes))

    def _failed(self, _job: Job, error: BaseException) -> None:
        self._session.report(error)
        self._say(self._session.error, role="alert")

    def _say(self, *sentences: str, role: str = "status") -> None:
        self.answer.value = "".join(f'<p role="{role}">{escape(sentence)}</p>' for sentence in sentences)
