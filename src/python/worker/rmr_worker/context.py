"""Says on whose behalf the code runs that is running just now.

Commands have the rights of a user, log lines a session, aborts an execution: the server tells them apart by the number
of a context, which goes along with each call. Coroutines inherit the context in which they were made. Threads that a
script starts have none until they ask for it.
"""

from __future__ import annotations

import contextvars
import threading
from typing import TYPE_CHECKING, Any, Optional

from .errors import GearsError

if TYPE_CHECKING:
    from .session import Session


class Context:
    """Belongs to one top level of a script, or to one execution."""

    def __init__(self, number: int, session: "Session", execution: Any = None) -> None:
        self.number = number
        self.session = session
        self.execution = execution
        # The script's own top level, where run() says what the command answers.
        self.is_top_level = False
        # Whether a step may return a future or a coroutine.
        self.is_async_allowed = execution is not None

    @property
    def target(self) -> Any:
        """Returns what an abort of this code is aimed at."""
        return self if self.execution is None else self.execution


_current: "contextvars.ContextVar[Optional[Context]]" = contextvars.ContextVar("rmr_context", default=None)

NOT_REGISTERED = "Can not be used on a python created thread, call registerGearsThread first"


def current() -> Optional[Context]:
    return _current.get()


def required(refusal: str = NOT_REGISTERED) -> Context:
    """Returns the context; raises gears.error in a thread that has none."""
    context = _current.get()
    if context is None:
        raise GearsError(refusal)
    return context


def enter(context: Optional[Context]) -> None:
    """Makes this the context of the running thread or task."""
    _current.set(context)


def remember_in_threads() -> None:
    """Lets threads know in which context they were started, for when they call registerGearsThread."""
    start = threading.Thread.start

    def start_and_remember(thread: threading.Thread) -> None:
        context = _current.get()
        if context is not None:
            thread.rmr_context = context.session.context  # type: ignore[attr-defined]
            context.session.note_thread(thread)
        start(thread)

    threading.Thread.start = start_and_remember  # type: ignore[method-assign, assignment]


def of_this_thread() -> Optional[Context]:
    """Returns the context of the session that started the running thread."""
    return getattr(threading.current_thread(), "rmr_context", None)
