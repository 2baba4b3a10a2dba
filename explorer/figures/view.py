"""What every view has in common: a root to place, and named sources whose columns are replaced as a whole."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from bokeh.models import ColumnDataSource, LayoutDOM, Range1d
from bokeh.plotting import figure

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


def canvas(name: str, height: float, x: tuple[float, float], scale: float) -> figure:
    """A figure without axes, grid, tools or colours of its own: x as given, y in pixels from 0 to `height`."""
    chart = figure(
        name=name,
        height=round(height * scale),
        sizing_mode="stretch_width",
        x_range=Range1d(*x),
        y_range=Range1d(0, height),
        toolbar_location=None,
        tools="",
        min_border=0,
        outline_line_color=None,
        background_fill_color=None,
        border_fill_color=None,
    )
    chart.axis.visible = False
    chart.grid.visible = False
    return chart


def append_row(table: Columns, row: Mapping[str, Any]) -> None:
    """Put a value behind every column of a table that is being filled."""
    for column, value in row.items():
        table[column].append(value)


def update(view: View, tables: Mapping[str, Columns]) -> None:
    """Put the tables into the view's sources; a source whose columns are equal is left alone."""
    for name, columns in tables.items():
        source = view.sources[name]
        if source.data != columns:
            source.data = columns
