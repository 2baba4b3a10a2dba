"""Networks: those that ship with the package, and a user's own."""

from explorer.zoo.loading import load
from explorer.zoo.network import Network

__all__ = ["Network", "load"]
