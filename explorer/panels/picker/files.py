"""A file to load from: its path where Python runs, or a file of the reader's own computer, sent in pieces.

Jupyter's server closes the connection on a message above 10 MB, and ipywidgets' FileUpload sends a file in one:
most checkpoints would be lost without a word. So the page sends a piece, and the next when Python asks for it.
"""

from base64 import b64decode
from collections.abc import Mapping
from html import escape
from pathlib import Path
from typing import Any

from bokeh.models import ColumnDataSource, CustomJS, Spacer
from ipywidgets import HTML, Button, HBox, Text, VBox

from explorer.errors import BadInput
from explorer.panels.kit.bokeh_document import BokehDocument
from explorer.panels.kit.words import amount_of
from explorer.panels.picker.choice import Upload
from explorer.strings import Strings

PIECE = 3 << 20  # bytes, a third more as text
LIMIT = 2 << 30  # bytes
_NOTHING: dict[str, list[Any]] = {"name": [""], "size": [0], "start": [-1], "content": [""], "number": [0]}


class FileField(VBox):
    """`suffixes` of the files, such as (".pt", ".pth"); `placeholder` stands in the empty field for a path."""

    def __init__(self, strings: Strings, suffixes: tuple[str, ...], placeholder: str, note: str) -> None:
        self._strings, self._note, self._suffixes = strings, note, suffixes
        self._upload: Upload | None = None  # what was sent, whole
        self._arriving: Upload | None = None
        self._asked = 0
        self.piece = ColumnDataSource(_NOTHING)
        self.wanted = ColumnDataSource({"start": [-1], "number": [0]})
        root = Spacer(width=0, height=0, tags=[self.piece, self.wanted])
        script = CustomJS(
            args={
                "root": root,
                "piece": self.piece,
                "wanted": self.wanted,
                "accept": ",".join(suffixes),
                "most": PIECE,
            },
            code=_SEND,
        )
        self.document = BokehDocument(root, (script,), heard=[(self.piece, "data")])
        self.piece.on_change("data", lambda _name, _old, new: self._hear(new))
        self.button = Button(description=strings("picker_upload"), tooltip=strings("picker_upload_help"))
        self.button.add_class("pe-upload")
        self.path = Text(placeholder=placeholder, tooltip=placeholder, continuous_update=False)
        self.path.add_class("pe-path")
        self.said = HTML()
        self.path.observe(lambda _change: self._typed(), "value")
        super().__init__([HBox([self.button, self.path, self.document]), self.said])
        self.add_class("pe-file")
        self._say(note)

    @property
    def value(self) -> Upload | Path | None:
        """The file that was chosen last; None while there is none, or while it still arrives."""
        if self._upload is not None:
            return self._upload
        typed = self.path.value.strip()
        return Path(typed) if typed else None

    @property
    def arriving(self) -> bool:
        """Whether pieces are still to come."""
        return self._arriving is not None

    def close(self) -> None:
        """Give up what was sent, and remove the widgets."""
        self._upload = self._arriving = None
        super().close()

    def _typed(self) -> None:
        if self.path.value:
            self._upload = self._arriving = None
            self._say(self._note)

    # ---- the page sends ---------------------------------------------------------------------------------

    def _hear(self, new: Mapping[str, list[Any]]) -> None:
        """A piece: the first one is empty and says what is coming; every answer asks for the next."""
        name, size, start, content = (new[key][0] for key in ("name", "size", "start", "content"))
        try:
            if start == 0 and not content:
                self._begin(str(name), int(size))
            elif self._arriving is None or start != self._written():
                return  # of a file that was given up
            else:
                self._arriving.append(b64decode(content))
            self._go_on(int(size))
        except (BadInput, OSError, ValueError) as error:
            self._arriving = None
            self._say(str(error), "alert")

    def _written(self) -> int:
        assert self._arriving is not None
        path = self._arriving.path
        return path.stat().st_size if path.exists() else 0

    def _begin(self, name: str, size: int) -> None:
        self._upload = self._arriving = None
        if not name.lower().endswith(self._suffixes):
            raise BadInput(self._strings("picker_upload_kind", name=name, kinds=", ".join(self._suffixes)))
        if not 0 < size <= LIMIT:
            limit = amount_of(LIMIT, "B")
            raise BadInput(
                self._strings("picker_upload_size", name=name, size=amount_of(size, "B"), limit=limit)
            )
        self.path.value = ""
        self._arriving = Upload(name)

    def _go_on(self, size: int) -> None:
        assert self._arriving is not None
        done, name = self._written(), self._arriving.name
        if done >= size:
            self._upload, self._arriving = self._arriving, None
            self._say(self._strings("picker_uploaded", name=name, size=amount_of(size, "B")))
            with self.document.batch():
                self.piece.data = _NOTHING
            return
        self._say(self._strings("picker_uploading", name=name, percent=f"{100 * done / size:.0f}"))
        self._asked += 1
        with self.document.batch():
            self.wanted.data = {"start": [done], "number": [self._asked]}

    def _say(self, sentence: str, role: str = "status") -> None:
        self.said.value = f'<span class="pe-soft" role="{role}">{escape(sentence)}</span>'


_SEND = """
export default ({root, piece, wanted, accept, most}) => {
  const find = () => {
    const button = Bokeh.index.find_one(root)?.root.el.closest(".pe-file")?.querySelector(".pe-upload")
    if (button == null) return root.document != null && requestAnimationFrame(find)
    if (button.dataset.peUpload) return
    button.dataset.peUpload = "true"
    prepare(button)
  }
  const prepare = (button) => {
    const input = document.createElement("input")
    let file = null, number = 0
    const say = (start, content) => {
      number += 1  // the same file again is a change too
      piece.data = {name: [file.name], size: [file.size], start: [start], content: [content], number: [number]}
    }
    const send = (start) => {
      if (file == null || start < 0) return
      const reader = new FileReader()
      reader.onload = () => say(start, reader.result.slice(reader.result.indexOf(",") + 1))
      reader.readAsDataURL(file.slice(start, start + most))
    }
    input.type = "file"
    input.accept = accept
    input.addEventListener("change", () => {
      file = input.files[0] ?? null
      input.value = ""
      if (file != null) say(0, "")
    })
    button.addEventListener("click", () => input.click())
    wanted.properties.data.change.connect(() => send(wanted.data.start[0]))
  }
  find()
}
"""
