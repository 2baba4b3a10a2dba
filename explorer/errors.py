"""The one exception family: every message says what was passed, what was expected and what to do next."""

from collections.abc import Collection, Iterable
from difflib import get_close_matches
from numbers import Integral
from os import PathLike
from pathlib import Path
from reprlib import repr as shortened


class ExplorerError(Exception):
    """Anything that the explorer refuses or cannot do, said in words for the person who asked."""


class UnknownName(ExplorerError, KeyError):
    """A name that is not in a list of names; the message gives the list, and `more` after it."""

    def __init__(self, kind: str, name: object, known: Iterable[str], more: str = "") -> None:
        names = list(known)
        close = get_close_matches(str(name), names, n=1)
        hint = f" Did you mean {close[0]!r}?" if close else ""
        self.message = f"There is no {kind} {name!r}. Known: {', '.join(names)}.{hint}{more}"
        super().__init__(self.message)

    def __str__(self) -> str:  # KeyError would show the message in quotes
        return self.message


class BadInput(ExplorerError, ValueError):
    """A value out of range, of the wrong shape or type."""


class NotReachable(BadInput):
    """A budget below what the network can be pruned to; the message names the minimum."""


class CannotTrace(ExplorerError):
    """The network's graph could not be read; the message says where and what to try."""


class Interrupted(ExplorerError):
    """The user stopped the work; what was reached before is kept."""


def require_name(kind: str, name: object, known: Collection[str]) -> None:
    """Raise UnknownName unless `name` is one of the known strings; anything that is no string is unknown."""
    if not isinstance(name, str) or name not in known:
        raise UnknownName(kind, name, known)


def require_path(what: str, value: object) -> Path:
    """The path that a person gave, with ~ put right; it need not be there. Raises BadInput for what cannot be one."""
    if not isinstance(value, str | PathLike):
        raise BadInput(
            f"{what} is {shortened(value)} ({type(value).__name__}); expected a path, such as 'out/net'."
        )
    try:
        path = Path(value).expanduser()
        path.lstat()
    except (FileNotFoundError, NotADirectoryError):
        return path
    except (OSError, RuntimeError, TypeError, ValueError) as error:  # too long, NUL in it, ~ of nobody, bytes
        why = str(getattr(error, "strerror", None) or error).rstrip(".")
        raise BadInput(f"{what} cannot be {shortened(value)}: {why}. Give another path.") from error
    return path


def require_whole(what: str, value: object, least: int) -> None:
    """Raise BadInput unless `value` is a whole number (Python's or numpy's, no bool) of at least `least`."""
    if isinstance(value, bool) or not isinstance(value, Integral) or int(value) < least:
        raise BadInput(f"{what} must be a whole number, at least {least}, not {value!r}.")
