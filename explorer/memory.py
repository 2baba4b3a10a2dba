"""How much memory is left to this process, and whether an error says that there was too little."""

import math
from contextlib import suppress
from pathlib import Path

SYSTEM = Path("/")
GIB = 1024**3
SAID = ("not enough memory", "can't allocate memory", "cannot allocate memory", "out of memory", "bad_alloc")


def available() -> float:
    """Bytes that can still be taken, the least of what the machine and its cgroup say; infinity where neither does."""
    found = [math.inf]
    with suppress(OSError, ValueError, IndexError):
        lines = (SYSTEM / "proc/meminfo").read_text().splitlines()
        found += [int(line.split()[1]) * 1024 for line in lines if line.startswith("MemAvailable:")]
    for folder, limit, used in (
        ("sys/fs/cgroup", "memory.max", "memory.current"),
        ("sys/fs/cgroup/memory", "memory.limit_in_bytes", "memory.usage_in_bytes"),
    ):
        with suppress(OSError, ValueError, IndexError):  # no such cgroup, or "max": no limit
            place = SYSTEM / folder
            most, taken = (int((place / name).read_text()) for name in (limit, used))
            stat = dict(line.split()[:2] for line in (place / "memory.stat").read_text().splitlines())
            cached = int(stat.get("inactive_file", 0))  # pages of files, which the system gives back
            found.append(max(0, most - taken + cached))
    return min(found)


def is_lack(error: BaseException) -> bool:
    """Whether an exception says that memory ran out; torch raises a plain RuntimeError for it."""
    said = str(error).lower()
    return isinstance(error, MemoryError) or (
        isinstance(error, RuntimeError) and any(words in said for words in SAID)
    )
