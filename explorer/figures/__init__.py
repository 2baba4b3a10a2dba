"""Views as data: `columns(values)` gives lists, `build()` Bokeh models, `describe(values)` sentences."""
