"""Keeps the threads that run user code.

A step may sleep or wait for a command, so that a fixed number of threads would let some sessions starve others; there
are as many as have work, up to a limit, and they stay for the next request.
"""

from __future__ import annotations

import contextvars
import os
import sys
import threading
import traceback
from collections import deque
from typing import Callable, Deque

from . import guard

LARGEST_POOL = 32

# Room for Python's 1000 nested calls by way of C functions: with less some versions crash instead of raising
# RecursionError. Stacks count against the limit of memory as a whole.
STACK_BYTES = 8 << 20


class Pool:
    """Runs tasks in daemon threads."""

    def __init__(self, largest: int = LARGEST_POOL) -> None:
        self._largest = largest
        self._tasks: Deque[Callable[[], None]] = deque()
        self._changed = threading.Condition()
        self._idle = 0
        self._process = os.getpid()
        self._threads = 0

    def submit(self, task: Callable[[], None]) -> None:
        """Runs a task soon. Tasks begin in the order in which they are given."""
        with self._changed:
            self._tasks.append(task)
            if self._idle >= len(self._tasks):
                self._changed.notify()
            elif self._threads < self._largest:
                self._grow()

    def _grow(self) -> None:
        try:
            thread = threading.Thread(target=self._work, daemon=True, name="rmr pool")
            # In no context: else it would be taken for one of the session whose code has given the task.
            contextvars.Context().run(thread.start)
            self._threads += 1
        except RuntimeError:  # no memory for its stack, or too many processes: those that are there must do
            if self._threads == 0:
                raise

    def _work(self) -> None:
        guard.announce_thread()
        while True:
            with self._changed:
                self._idle += 1
                while not self._tasks:
                    self._changed.wait()
                self._idle -= 1
                task = self._tasks.popleft()
            try:
                task()
            except BaseException:
                # Tasks answer for what user code raises; this is a fault of the worker, to be read in the log.
                traceback.print_exc(file=sys.stderr)
            if os.getpid() != self._process:
                # A process that a script has forked, and that came back from the script: it has no other threads.
                os._exit(0)
