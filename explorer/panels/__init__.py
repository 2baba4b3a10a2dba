"""Panels: ipywidgets bound to the session by its traits, propose() and select(). They never talk to each other."""
