"""docs/dmcp.md says what the code does: its settings, and the names that it sends readers to."""

import json
import re
from importlib import import_module
from pathlib import Path

from explorer.methods import METHODS
from explorer.methods.settings import declared

PAGE = (Path(__file__).parents[2] / "docs" / "dmcp.md").read_text()


def test_the_settings_are_those_of_the_method():
    rows = re.findall(r"^\| (\**)`(\w+)`\** \| `(.+?)` \|", PAGE, re.MULTILINE)
    told = [(name, json.loads(default), bool(bold)) for bold, name, default in rows]
    assert told == [(each.name, each.default, each.shown) for each in declared(METHODS["dmcp"].settings)]


def test_every_place_in_the_table_of_formulas_exists():
    table = PAGE.split("## What is implemented")[1].split("\n\n**")[0]
    places = re.findall(r"`([a-z]+)\.(\w+(?:\.\w+)?)`", table)
    assert len(places) >= 6
    for module, names in places:
        package = "explorer" if module == "chains" else "explorer.methods"
        found = import_module(f"{package}.{module}")
        for name in names.split("."):
            assert hasattr(found, name), f"{module}.{names}"
            found = getattr(found, name)
