"""The three questions of the picker: which network, with which weights, judged on which images."""

import re
from collections.abc import Mapping
from html import escape
from pathlib import Path
from threading import Thread
from typing import TYPE_CHECKING, Any

from ipywidgets import HTML, Combobox, DOMWidget, Dropdown, Text, ToggleButtons, VBox

from explorer.errors import BadInput
from explorer.panels.kit.bokeh_document import BokehDocument
from explorer.panels.kit.words import classed, shown
from explorer.panels.picker.choice import Choice, Upload
from explorer.panels.picker.files import FileField
from explorer.panels.picker.found import Namespace, image_sources, networks
from explorer.strings import Strings

if TYPE_CHECKING:
    from torch import Tensor

CHECKPOINTS = ".safetensors", ".pt", ".pth", ".bin"
ARCHIVES = (".pt2",)


class Row(VBox):
    """One question: kinds of answers as buttons, and below them what the chosen kind still needs to know.

    `key` and the kinds name the texts: `picker_<key>`, `picker_<key>_<kind>`, and its note `..._note`.
    """

    def __init__(self, strings: Strings, key: str, details: Mapping[str, DOMWidget | None]) -> None:
        self._strings, self._key = strings, key
        self._details = {kind: detail for kind, detail in details.items() if detail is not None}
        self.kind = ToggleButtons(
            options=[(strings(f"picker_{key}_{kind}"), kind) for kind in details],
            description=strings(f"picker_{key}"),
            style={"button_width": "auto"},
        ).add_class("pe-kinds")
        self.note = HTML().add_class("pe-note")
        super().__init__([self.kind, *self._details.values(), self.note])
        self.add_class("pe-picker-row")
        self.kind.observe(lambda _change: self.render(), "value")
        self.render()

    @property
    def documents(self) -> tuple[BokehDocument, ...]:
        """What file fields talk to the page with."""
        return tuple(detail.document for detail in self._details.values() if isinstance(detail, FileField))

    def say_note(self, key: str) -> None:
        """Put another note below the answer; "" for none."""
        self.note.value = escape(self._strings(key)) if key else ""
        shown(self.note, bool(key))

    def render(self) -> None:
        """Show what the chosen kind needs."""
        for kind, detail in self._details.items():
            shown(detail, kind == self.kind.value)
        key = f"picker_{self._key}_{self.kind.value}_note"
        self.say_note(key if key in self._strings.table else "")

    def _file(self, field: FileField) -> Upload | Path:
        """Raises BadInput while there is none."""
        if field.value is None:
            raise BadInput(self._strings("picker_arriving" if field.arriving else "picker_no_file"))
        return field.value


class _Variables(Dropdown):
    """The variables of the notebook that fit, found anew by `refresh`."""

    options: Any
    value: Any

    def refresh(self, found: Mapping[str, Any]) -> None:
        """`found`: by name. The chosen name stays chosen."""
        names = sorted(found)
        if list(self.options) != names:
            kept = self.value
            self.options = names
            self.value = kept if kept in names else (names[0] if names else None)
        shown(self, bool(names))


class NetworkRow(Row):
    """Bundled, of torchvision, a variable of the notebook, or a torch.export archive."""

    def __init__(self, strings: Strings, bundled: tuple[str, ...], variables: Namespace) -> None:
        self._variables = variables
        self._listing: Thread | None = None
        self.bundled = Dropdown(options=bundled, tooltip=strings("picker_network_bundled"))
        self.torchvision = (
            Combobox(  # told of every key, or names that are listed meanwhile take away what is typed
                placeholder=strings("picker_torchvision_hint"), tooltip=strings("picker_torchvision_help")
            )
        )
        self.notebook = _Variables(tooltip=strings("picker_network_notebook"))
        self.archive = FileField(strings, ARCHIVES, strings("picker_path"), strings("picker_archive_note"))
        details = {
            "bundled": self.bundled,
            "torchvision": self.torchvision,
            "notebook": self.notebook,
            "archive": self.archive,
        }
        super().__init__(strings, "network", details)

    def render(self) -> None:
        """Names are listed when they are first asked for, in the background: torchvision takes seconds to load."""
        super().render()
        if self.kind.value == "torchvision" and self._listing is None:
            self._listing = Thread(target=self._list_names, name="explorer-names", daemon=True)
            self._listing.start()
        if self.kind.value == "notebook":
            self.notebook.refresh(networks(self._variables()))
            self.say_note("" if self.notebook.options else "picker_no_networks")

    def follow(self, choice: Choice) -> None:
        """Show what a choice loads."""
        source = choice.source
        if isinstance(source, Upload | Path) or str(source).endswith(ARCHIVES):
            self.kind.value = "archive"
            if not isinstance(source, Upload):
                self.archive.path.value = str(source)
        elif not isinstance(source, str):
            self.kind.value = "notebook"
            self.render()  # it may have been the kind already, and the variable be new
            name = _name_of(source, self._variables())
            if name in self.notebook.options:
                self.notebook.value = name
        elif source in self.bundled.options:
            self.kind.value, self.bundled.value = "bundled", source
        else:
            self.kind.value, self.torchvision.value = "torchvision", source.removeprefix("torchvision:")

    def source(self) -> Any:
        """What `explorer.load` takes. Raises BadInput in words while something is missing."""
        kind, strings = self.kind.value, self._strings
        if kind == "bundled":
            return self.bundled.value
        if kind == "archive":
            return self._file(self.archive)
        if kind == "torchvision":
            name = self.torchvision.value.strip()
            if not name:
                raise BadInput(strings("picker_no_name_yet"))
            listed = (
                ":" in name or name in self.torchvision.options
            )  # or "package.module:name", as load takes it
            if self.torchvision.options and not listed:
                raise BadInput(strings("picker_no_name", name=name))
            return name
        found = networks(self._variables())
        if self.notebook.value not in found:
            raise BadInput(strings("picker_no_networks"))
        return found[self.notebook.value]

    def _list_names(self) -> None:
        from explorer.zoo.torchvision_models import classifier_names

        self.torchvision.options = classifier_names()


class WeightsRow(Row):
    """As they come with the network, untrained, or from a checkpoint."""

    def __init__(self, strings: Strings) -> None:
        self.checkpoint = FileField(
            strings, CHECKPOINTS, strings("picker_path"), strings("picker_checkpoint_note")
        )
        self._of = "bundled"
        details = {"default": None, "untrained": None, "checkpoint": self.checkpoint}
        super().__init__(strings, "weights", details)

    def offer_for(self, network: str) -> None:
        """Offer the kinds that there are for a kind of network; the chosen one stays if it can."""
        for kind in ("notebook", "archive"):
            classed(self, f"pe-weights-{kind}", kind == network)
        self._of = network
        if network == "archive" or (network == "notebook" and self.kind.value == "untrained"):
            self.kind.value = "default"
        self.render()

    def render(self) -> None:
        """Where the default weights come from depends on the network."""
        super().render()
        if self.kind.value == "default":
            self.say_note(f"picker_default_{self._of}")

    def follow(self, choice: Choice) -> None:
        """Show which weights a choice loads."""
        if choice.weights is None:
            self.kind.value = "untrained"
        elif isinstance(choice.weights, str) and choice.weights == "default":
            self.kind.value = "default"
        else:
            self.kind.value = "checkpoint"
            if not isinstance(choice.weights, Upload):
                self.checkpoint.path.value = str(choice.weights)

    def weights(self) -> str | Upload | Path | None:
        """What `explorer.load` takes. Raises BadInput in words while there is no file."""
        if self.kind.value == "checkpoint":
            return self._file(self.checkpoint)
        return "default" if self.kind.value == "default" else None


class ImagesRow(Row):
    """Bundled, a named data set, a folder, a variable of the notebook, or none: then the size of an input, where it
    is not known.
    """

    def __init__(self, strings: Strings, variables: Namespace) -> None:
        from explorer.data.named import NAMED  # loads torch

        self._variables = variables
        titles = [(f"{row.title} ({row.megabytes:,} MB)", name) for name, row in NAMED.items()]
        self.named = Dropdown(options=titles, tooltip=strings("picker_images_named"))
        self.folder = Text(placeholder=strings("picker_folder_hint"), continuous_update=False)
        self.notebook = _Variables(tooltip=strings("picker_images_notebook"))
        self.size = Text(
            description=strings("picker_size"),
            placeholder="3 x 224 x 224",
            tooltip=strings("picker_size_help"),
            continuous_update=False,
            style={"description_width": "initial"},
        ).add_class("pe-size")
        details = {
            "bundled": None,
            "named": self.named,
            "folder": self.folder,
            "notebook": self.notebook,
            "none": self.size,
        }
        super().__init__(strings, "images", details)

    def render(self) -> None:
        """The variables are looked for when they are asked for."""
        super().render()
        if self.kind.value == "notebook":
            self.notebook.refresh(image_sources(self._variables()))
            self.say_note("picker_images_notebook_note" if self.notebook.options else "picker_no_images")

    def follow(self, choice: Choice) -> None:
        """Show which images a choice is judged on."""
        from explorer.data import Data
        from explorer.data.named import is_named

        if choice.data is None:
            self.kind.value = "bundled" if choice.images and _is_bundled(choice.source) else "none"
        elif is_named(choice.data):
            self.kind.value, self.named.value = "named", choice.data
        elif isinstance(choice.data, str | Path):
            self.kind.value, self.folder.value = "folder", str(choice.data)
        elif name := _name_of(choice.data, self._variables()):
            self.kind.value = "notebook"
            self.render()
            if name in self.notebook.options:
                self.notebook.value = name
        elif isinstance(choice.data, Data) and choice.data.name == "Fashion-MNIST":
            self.kind.value = "bundled"
        if choice.example is not None and hasattr(choice.example, "shape"):  # several are not typed
            self.size.value = " x ".join(str(side) for side in choice.example.shape[1:])

    def given(self, source: Any) -> dict[str, Any]:
        """`data`, `example` and `images` of a Choice of this source. Raises BadInput in words."""
        strings, kind = self._strings, self.kind.value
        if kind == "bundled":
            return {} if _is_bundled(source) else {"data": _bundled_images()}
        if kind == "named":
            return {"data": self.named.value}
        if kind == "folder":
            if not self.folder.value.strip():
                raise BadInput(strings("picker_no_folder"))
            return {"data": Path(self.folder.value.strip())}
        if kind == "notebook":
            found = image_sources(self._variables())
            if self.notebook.value not in found:
                raise BadInput(strings("picker_no_images"))
            return {"data": found[self.notebook.value]}
        example = self._example()
        if example is None and not isinstance(source, str | Path | Upload):
            raise BadInput(strings("picker_no_size", name=type(source).__name__))
        return {"example": example, "images": False}

    def _example(self) -> "Tensor | None":
        """Noise of the size that was typed; None for an empty field."""
        import torch

        text = self.size.value.strip()
        if not text:
            return None
        if not re.fullmatch(r"[1-9]\d{0,4}(\s*[x×*,\s]\s*[1-9]\d{0,4}){0,3}", text):
            raise BadInput(self._strings("picker_bad_size", text=text))
        sides = [int(side) for side in re.findall(r"\d+", text)]
        return torch.randn(1, *sides, generator=torch.Generator().manual_seed(0))


def _is_bundled(source: Any) -> bool:
    from explorer.zoo.networks import NETWORKS

    return isinstance(source, str) and source in NETWORKS


def _bundled_images() -> Any:
    """With pixels from 0 to 1: how another network wants them is not known."""
    from explorer.data import fashion_mnist, identity

    return fashion_mnist(identity)


def _name_of(value: Any, variables: Mapping[str, Any]) -> str | None:
    """The variable that holds this very object."""
    return next(
        (name for name, each in variables.items() if each is value and not name.startswith("_")), None
    )
