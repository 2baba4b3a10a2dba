"""The tables of all languages say the same things, and nothing in them is left over."""

import re
import string
from pathlib import Path

import pytest

import explorer
from explorer.errors import UnknownName
from explorer.methods import METHODS
from explorer.methods.settings import declared
from explorer.strings import LANGUAGES, Message, Strings

AGREEMENT = "_agreement"
PACKAGE = Path(explorer.__file__).parent
ENGLISH = Strings("en").table
SOURCES = "\n".join(
    path.read_text("utf-8")
    for path in PACKAGE.rglob("*.py")
    if path.parent.name != "strings" or path.name == "__init__.py"
)


def places(text: str) -> set[str]:
    """The names in braces."""
    return {name for _text, name, _format, _conversion in string.Formatter().parse(text) if name is not None}


@pytest.mark.parametrize("language", LANGUAGES)
def test_every_language_has_every_text_with_the_same_places(language):
    table = Strings(language).table
    assert set(table) == set(ENGLISH)
    wrong = {key: text for key, text in table.items() if places(text) != places(ENGLISH[key])}
    assert wrong == {}
    assert [key for key, text in table.items() if not text.strip()] == []


@pytest.mark.parametrize("language", [name for name in LANGUAGES if name != "en"])
def test_a_translation_translates(language):
    table = Strings(language).table
    words = {
        key for key in ENGLISH if len(re.findall(r"[A-Za-z]{3,}", re.sub(r"{\w+}", "", ENGLISH[key]))) > 3
    }
    assert [key for key in sorted(words) if table[key] == ENGLISH[key]] == []


def test_every_text_is_used():
    """A key stands in the source as it is, or without its "_help", or up to a name that is filled in."""
    beginnings = set(re.findall(r'f"(\w+_){', SOURCES)) | set(re.findall(r'"(\w+)_"', SOURCES))
    helped = {f"{key}_help" for key in ENGLISH if f'"{key}"' in SOURCES}
    beginnings |= {f"{kind}_" for kind in re.findall(r'\.named\(\s*"(\w+)"', SOURCES)}
    plain = [key for key in ENGLISH if not key.endswith((AGREEMENT, "_scored"))]
    of_methods = set()
    for name, method in METHODS.items():
        of_methods |= {f"{name}_about", *(f"{name}_loss_{loss}" for loss in method.losses)}
        of_methods |= {key for key in ENGLISH if key.startswith(f"{name}_phase_")}
        for setting in declared(method.settings):
            label = f"{name}_set_{setting.name}"
            of_methods |= {label, f"{label}_help", *(f"{label}_{choice}" for choice in setting.choices)}
    unused = [
        key
        for key in plain
        if key not in helped
        and f'"{key}"' not in SOURCES
        and f"'{key}'" not in SOURCES
        and not any(key.startswith(each) for each in beginnings)
        and key not in of_methods
    ]
    assert unused == []


def test_texts_for_images_without_labels_take_the_place_of_others_with_the_same_places():
    strings = Strings("en")
    own = {key.removesuffix(AGREEMENT): text for key, text in ENGLISH.items() if key.endswith(AGREEMENT)}
    assert {key: places(text) - places(ENGLISH[key]) for key, text in own.items()} == {
        key: set() for key in own
    }
    assert [key for key, text in own.items() if strings.agreeing()(key) != text] == []
    assert strings("accuracy") == "Accuracy"
    assert strings.agreeing()("keep") == strings("keep")


def test_messages_are_worded_where_they_are_shown():
    inner = Message.of("status_broken", count=3)
    outer = Message.of("status_two", first=Message("status_dense"), second=inner)
    said = Strings("en").say(outer)
    assert "3 images" in said
    assert ENGLISH["status_dense"] in said


def test_an_unknown_language_is_refused_with_the_known_ones():
    with pytest.raises(UnknownName, match="en"):
        Strings("klingon")
