"""What every view has in common: a root to place, and named sources whose columns are replaced as a whole."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from bokeh.models import ColumnDataSource, LayoutDOM

Columns = dict[str, list[Any]]
"""One source's columns: lists of equal length (Bokeh sends a list in one message, an array in three)."""


@dataclass(frozen=True, eq=False)
class View:
    """Bokeh models that were built once. `sources` are named as in the tables that `columns` returns."""

    root: LayoutDOM
    sources: Mapping[str, ColumnDataSource]


def empty(names: Mapping[str, Sequence[str]]) -> dict[str, Columns]:
    """Tables without rows: table -> names of its columns."""
    return {table: {column: [] for column in columns} for table, columns in names.items()}


def sources(prefix: str, tables: Mapping[str, Columns]) -> dict[str, ColumnDataSource]:
    """One source for each table, named `prefix-table` in the Bokeh document."""
    return {name: ColumnDataSource(columns, name=f"{prefix}-{name}") for name, columns in tables.items()}


def update(view: View, tables: Mapping[str, Columns]) -> None:
    """Put the tables into the view's sources; a source whose columns are equal is left alone."""
    for name, columns in tables.items():
        source = view.sources[name]
        if source.data != columns:
            source.data = columns
