"""Knows the process that the worker is: its versions, its memory, and what scripts may change in it."""

from __future__ import annotations

import os
import platform
import resource
import sys
import threading
import traceback
from typing import Any, Dict

import cloudpickle  # type: ignore[import-untyped]

from .launcher import libc
from .pickling import OLDEST_CLOUDPICKLE, too_old

# An option of the GNU C library; other libraries have neither it nor the trouble.
M_ARENA_MAX = -8


def versions() -> Dict[str, Any]:
    """Returns what has to fit between shards, and what people want to know."""
    return {
        "python": list(sys.version_info[:3]),
        "implementation": platform.python_implementation(),
        "executable": sys.executable,
        "cloudpickle": cloudpickle.__version__,
    }


if too_old(cloudpickle.__version__):
    raise ImportError(
        "cloudpickle {} is too old, {}.{} is needed".format(cloudpickle.__version__, *OLDEST_CLOUDPICKLE),
        name="cloudpickle",
    )


def share_freed_memory() -> None:
    """Lets threads use what others have freed: else each keeps its own, and all of it counts against the limit."""
    if libc is not None and hasattr(libc, "mallopt"):
        libc.mallopt(M_ARENA_MAX, 1)


def give_back_memory() -> None:
    """Returns to the system what scripts have freed."""
    if libc is not None and hasattr(libc, "malloc_trim"):
        libc.malloc_trim(0)


def resident() -> int:
    """Returns the bytes of memory that this process has."""
    try:
        with open("/proc/self/statm") as numbers:
            return int(numbers.read().split()[1]) * resource.getpagesize()
    except OSError:
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def stacks() -> str:
    """Returns where each thread is just now: the answer to "it hangs"."""
    names = {thread.ident: thread.name for thread in threading.enumerate()}
    lines = []
    for number, frame in sys._current_frames().items():
        lines.append(f"thread {names.get(number, number)}:\n")
        lines += traceback.format_stack(frame)
    return "".join(lines)


class Surroundings:
    """Remembers what scripts may change outside of their globals, to undo it for the next script."""

    def __init__(self) -> None:
        self._path = list(sys.path)
        self._environment = dict(os.environ)
        self._folder = os.getcwd()
        self._main = dict(vars(sys.modules["__main__"]))

    def restore(self) -> bool:
        """Undoes it; returns False if something remains that cannot be undone: modules from a folder of a script's."""
        had_folders = sys.path != self._path
        sys.path[:] = self._path
        os.environ.clear()
        os.environ.update(self._environment)
        main = vars(sys.modules["__main__"])
        main.clear()
        main.update(self._main)
        try:
            # A worker's user may not be allowed to go to the server's folder, in which it begins.
            if os.getcwd() != self._folder:
                os.chdir(self._folder)
        except OSError:
            return False
        return not had_folders
