"""A view in sentences, for screen readers."""

from collections.abc import Iterable
from html import escape


def section(title: str, sentences: Iterable[str]) -> str:
    """A heading and a list, as HTML."""
    return f"<h4>{escape(title)}</h4><ul>{''.join(f'<li>{escape(text)}</li>' for text in sentences)}</ul>"
