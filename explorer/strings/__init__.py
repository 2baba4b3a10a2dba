"""Every text that people see in the dashboard, in one table per language.

`en.py` is the table that decides which keys there are; the others translate it. Messages of the session are
keys with values, so that they are worded only where they are shown.
"""

import re
import tomllib
from collections.abc import Mapping
from copy import copy
from dataclasses import dataclass
from functools import cache
from importlib import import_module
from importlib.resources import files

from explorer.errors import require_name

NO_SHARE = re.compile(r"(\{(?:accuracy|value|low|high)\}\)?) ?%")  # a figure of an estimate, as a share
LANGUAGES = {"en": "English", "ja": "日本語", "ko": "한국어"}


@dataclass(frozen=True)
class Message:
    """A text that is still to be worded: its key, and the values for the places in it."""

    key: str
    values: tuple[tuple[str, object], ...] = ()

    @classmethod
    def of(cls, key: str, **values: object) -> "Message":
        return cls(key, tuple(values.items()))


def method_texts(language: str) -> dict[str, str]:
    """The texts of methods, each in a file of its own, by the method's name: "dmcp_set_target" and the like."""
    return {
        f"{method}_{key}": text
        for method, languages in _method_tables().items()
        for key, text in languages[language].items()
    }


@cache
def _method_tables() -> dict[str, dict[str, dict[str, str]]]:
    folder = files(__name__) / "methods"
    return {
        file.name.removesuffix(".toml"): tomllib.loads(file.read_text("utf-8"))
        for file in sorted(folder.iterdir(), key=lambda file: file.name)
        if file.name.endswith(".toml")
    }


class Strings:
    """The texts of one language: `strings("keep")`, `strings("layer_of", size=8)`. Raises UnknownName."""

    def __init__(self, language: str = "en") -> None:
        require_name("language", language, LANGUAGES)
        self.language = language
        self.table: Mapping[str, str] = import_module(f"explorer.strings.{language}").TABLE | method_texts(
            language
        )

    def __call__(self, key: str, **values: object) -> str:
        """The text with its places filled. Raises KeyError for a key or a place that is not there."""
        text = self.table[key]
        return text.format(**values) if values else text

    def agreeing(self) -> "Strings":
        """The same language for images without labels: texts named `..._agreement` in place of the plain ones."""
        other = copy(self)
        ending = "_agreement"
        own = {key.removesuffix(ending): text for key, text in self.table.items() if key.endswith(ending)}
        other.table = {**self.table, **own}
        return other

    def scoring(self, measure: str) -> "Strings":
        """The same words where images have no classes, for a measure (see `Estimate.measure`): its name in place of
        accuracy's, texts named `..._scored` in place of those that speak of classes. A user's own score is no share.
        """
        other, ending, kind = copy(self), "_scored", measure.removeprefix("1 - ").replace(" ", "_")
        kind = "agreed" if kind == "agreement" else kind
        plain, own = self("word_accuracy"), self(f"word_{kind}")
        said = {plain: own, plain.capitalize(): own[:1].upper() + own[1:]}
        name = re.compile(rf"(?<!\{{)(?:{'|'.join(said)})")  # and no place for a number
        table = {
            key: name.sub(lambda found: said[found[0]], text)
            for key, text in self.table.items()
            if not key.startswith("word_")
        }
        table |= {key.removesuffix(ending): text for key, text in table.items() if key.endswith(ending)}
        table["accuracy_help"] = self(f"measure_{kind}")
        if measure == "score":
            table["tradeoff_y"] = table["accuracy"]
            table = {key: NO_SHARE.sub(r"\1", text) for key, text in table.items()}
        other.table = {**self.table, **table}
        return other

    def say(self, message: Message) -> str:
        """A message in words; values that are messages are worded too."""
        values = {
            name: self.say(value) if isinstance(value, Message) else value for name, value in message.values
        }
        return self(message.key, **values)

    def named(self, kind: str, name: str, otherwise: str) -> str:
        """The words for one of a growing set of names, such as ("criterion", "taylor"); else `otherwise`."""
        return self.table.get(f"{kind}_{name}", otherwise)
