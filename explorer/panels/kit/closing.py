"""Ends what a widget is made of: ipywidgets closes only the one widget that it is told to."""

from ipywidgets import Widget


def close_parts(widget: Widget) -> None:
    """Close the children, layouts and styles of a widget, and theirs; each first ends its own work.

    A widget that is left open stays in ipywidgets' registry, with all that its callbacks know. What is closed
    already is passed over.
    """
    for name in widget.keys:
        value = getattr(widget, name)
        for part in value if isinstance(value, tuple | list) else (value,):
            if isinstance(part, Widget) and part.comm is not None:
                part.close()
                close_parts(part)
