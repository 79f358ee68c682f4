"""Names the exceptions of RedisGears, and turns what user code raises into the text that a client sees."""

from __future__ import annotations

import os
import traceback
from types import TracebackType
from typing import Optional

OWN_FOLDER = os.path.dirname(os.path.abspath(__file__))


class GearsError(Exception):
    """Says that the worker or the server refused something. Scripts know it as `gears.error`."""


class GearsFlatError(Exception):
    """Carries an error text that reaches the client as it is, without a traceback: `gears.flat_error`."""


class GearsForceStopped(BaseException):
    """Ends user code whose execution was aborted: `gears.forcestopped`.

    No subclass of Exception, so that `except Exception` in a loop does not keep an aborted execution alive.
    """


# Tracebacks show an exception's class as module and name; scripts were written against these.
for _exception, _name in ((GearsError, "error"), (GearsFlatError, "flat_error"), (GearsForceStopped, "forcestopped")):
    _exception.__module__ = "gears"
    _exception.__name__ = _name
    _exception.__qualname__ = _name


class Refused(Exception):
    """Answers a request of the server that cannot be done: an unknown execution, a version that does not fit.

    The code tells the server which kind it is, the text is for people.
    """

    def __init__(self, code: str, text: str) -> None:
        super().__init__(text)
        self.code = code


def error_text(error: BaseException, with_traceback: bool = True) -> str:
    """Returns the text under which an exception of user code stands in the errors array."""
    if isinstance(error, GearsFlatError):
        return str(error)
    if with_traceback:
        try:
            # A script that cannot be compiled has no lines of its own in the traceback.
            trace = None if isinstance(error, SyntaxError) else users_part(error.__traceback__)
            return str(traceback.format_exception(type(error), error, trace))
        except Exception:  # an exception whose __str__ raises, for one
            pass
    return plain_text(error)


def plain_text(error: BaseException) -> str:
    """Returns type and value of an exception, for when there is no traceback to be had."""
    try:
        value = str(error)
    except Exception:
        value = "<no text: its __str__ raises>"
    return f"Error type: {type(error)}, Value: {value}"


def users_part(trace: Optional[TracebackType]) -> Optional[TracebackType]:
    """Returns the traceback from the first line that is not the worker's own; all of it if there is no such line."""
    start = trace
    while start is not None and is_own_file(start.tb_frame.f_code.co_filename):
        start = start.tb_next
    return start if start is not None else trace


def is_own_file(name: str) -> bool:
    return os.path.dirname(os.path.abspath(name)) == OWN_FOLDER
