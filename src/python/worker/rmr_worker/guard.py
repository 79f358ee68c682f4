"""Throws GearsForceStopped into a thread that runs code of an aborted execution, and only there.

Python raises an asynchronous exception between any two bytecodes. Inside user code that is what is wanted; inside a
read of a socket it would lose half of a frame. So each thread that runs user code has an Activity: `abort` throws
only while the execution is the one in question and the thread is not within `shielded`; a thread that is, which may be
nearly always, raises the exception itself when it leaves.
"""

from __future__ import annotations

import ctypes
import threading
import time
from types import TracebackType
from typing import Any, List, Optional, Type

from .errors import GearsForceStopped

_threads = threading.local()
_activities: List["Activity"] = []

_set_async_exception = ctypes.pythonapi.PyThreadState_SetAsyncExc
_set_async_exception.argtypes = (ctypes.c_ulong, ctypes.py_object)

# How soon a thread that caught the exception, or was shielded, is tried again: at first, and then less and less often,
# so that it is not hit again while it leaves.
FIRST_RETRY_S = 0.001
LAST_RETRY_S = 0.02


def _breathe() -> None:
    """Does nothing: on entering a function Python raises what another thread has thrown."""


class Activity:
    """Says what a thread of the worker runs just now."""

    def __init__(self) -> None:
        self.thread = threading.get_ident()
        self.lock = threading.Lock()
        self.depth = 0
        # whether to raise on leaving the shield
        self.is_wanted = False
        # whether something was thrown that may not have been raised yet
        self.is_thrown = False
        self.execution: Any = None
        # whether a step's function runs, and not a coroutine or a script
        self.is_in_step = False
        # the future that the running step has made and not yet returned (a weak reference)
        self.future: Any = None

    def begin(self, execution: Any, is_in_step: bool = False) -> None:
        """Notes that this thread runs user code of an execution from here on."""
        with self.lock:
            self.depth = 0
            self.is_wanted = False
            self.execution = execution
        self.is_in_step = is_in_step
        self.future = None

    def end(self) -> None:
        """Notes that the user code has returned. Nothing is thrown any more once this returns."""
        while True:
            try:
                with self.lock:
                    self.execution = None
                if self.is_thrown:
                    # Not PyThreadState_SetAsyncExc with null, after which Python 3.11 looks for exceptions for ever.
                    _breathe()
                    self.is_thrown = False
                return
            except GearsForceStopped:  # thrown just before the lock was ours
                continue

    def shield(self) -> None:
        """Keeps what is thrown away until as many calls of `unshield`."""
        with self.lock:
            # What was thrown before the lock was ours is raised here, before the depth has changed.
            _breathe()
            self.depth += 1

    def unshield(self) -> None:
        """Raises what was kept away meanwhile."""
        with self.lock:
            if self.depth > 0:
                self.depth -= 1
            is_wanted = self.is_wanted and self.depth == 0
            if is_wanted:
                self.is_wanted = False
        if is_wanted:
            raise GearsForceStopped

    def try_throw(self, execution: Any) -> bool:
        """Throws if this thread runs code of the execution; returns whether it runs such code at all."""
        with self.lock:
            if self.execution is not execution:
                return False
            if self.depth == 0:
                self.is_thrown = True
                _set_async_exception(self.thread, ctypes.py_object(GearsForceStopped))
            else:
                self.is_wanted = True
            return True


def leave(mine: Activity) -> None:
    """Notes that the user code of a thread has returned, even if something is thrown at this very moment."""
    while True:
        try:
            mine.end()
            return
        except GearsForceStopped:
            continue


class _Shield:
    """Keeps asynchronous exceptions out of a block. One object serves all threads."""

    def __enter__(self) -> None:
        mine = activity()
        if mine is not None:
            mine.shield()

    def __exit__(
        self, kind: Optional[Type[BaseException]], error: Optional[BaseException], trace: Optional[TracebackType]
    ) -> None:
        mine = activity()
        if mine is not None:
            mine.unshield()


shielded = _Shield()


def activity() -> Optional[Activity]:
    """Returns the Activity of this thread; None in threads that user code has made."""
    return getattr(_threads, "activity", None)


def announce_thread() -> Activity:
    """Gives this thread an Activity, so that what it runs can be aborted."""
    mine = Activity()
    _threads.activity = mine
    _activities.append(mine)
    return mine


def abort(execution: Any, patience_s: float) -> bool:
    """Throws GearsForceStopped into all code of an execution until it is left; returns False if it will not leave."""
    deadline = time.monotonic() + patience_s
    pause_s = FIRST_RETRY_S
    while True:
        still_there = [mine for mine in list(_activities) if mine.try_throw(execution)]
        if not still_there:
            return True
        if time.monotonic() > deadline:
            return False
        time.sleep(pause_s)
        pause_s = min(2 * pause_s, LAST_RETRY_S)
