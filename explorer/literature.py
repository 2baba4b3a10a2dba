"""What others published on a method: tables with their sources and caveats, one file for each method."""

import tomllib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from html import escape
from importlib.resources import files
from typing import Any


@dataclass(frozen=True)
class Table:
    """Rows of texts under `columns`; `source` says where they were read, `caveat` what to mind."""

    title: str
    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    source: str
    caveat: str = ""

    def __post_init__(self) -> None:
        if any(len(row) != len(self.columns) for row in self.rows):
            raise ValueError(f"A row of {self.title!r} is not of its {len(self.columns)} columns.")


@cache
def read(method: str) -> dict[str, Any]:
    """All that the file of a method says; empty where it has none."""
    file = files("explorer") / "methods" / "literature" / f"{method}.toml"
    return tomllib.loads(file.read_text("utf-8")) if file.is_file() else {}


@cache
def tables(method: str) -> tuple[Table, ...]:
    """The tables of a method; none where no file has any."""
    found = read(method).get("tables", ())
    return tuple(
        Table(**{**each, "columns": tuple(each["columns"]), "rows": tuple(map(tuple, each["rows"]))})
        for each in found
    )


def as_html(found: Sequence[Table]) -> str:
    """All tables, each with its caveat and source below."""
    return f'<div class="pe-papers">{"".join(map(_table_html, found))}</div>'


def _table_html(table: Table) -> str:
    def row(cells: Sequence[str], kind: str) -> str:
        return f"<tr>{''.join(f'<{kind}>{escape(cell)}</{kind}>' for cell in cells)}</tr>"

    rows = "".join(row(each, "td") for each in table.rows)
    link = (
        f'<a href="https://{escape(table.source)}" target="_blank" rel="noopener">{escape(table.source)}</a>'
    )
    return (
        f"<h4>{escape(table.title)}</h4>"
        f"<table><thead>{row(table.columns, 'th')}</thead><tbody>{rows}</tbody></table>"
        f"<p>{escape(table.caveat)} {link}</p>"
    )


def sentences(found: Sequence[Table]) -> list[str]:
    """Every row in words."""
    return [
        f"{table.title}: "
        + ", ".join(f"{name} {cell}" for name, cell in zip(table.columns, row, strict=True) if cell)
        for table in found
        for row in table.rows
    ]
