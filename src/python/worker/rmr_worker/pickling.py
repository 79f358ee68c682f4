"""Pickles the functions of a flow for the other shards, and brings them to life there in the session's globals.

Functions are pickled by value with cloudpickle, with the globals they use. The dict itself is not: on each shard all
functions of a session get that session's own, so that what one of them sets the others see. Names that every session
has (execute, GB, loop) are not sent either.
"""

from __future__ import annotations

import io
import pickle
import threading
import types
from typing import Any, Dict, Optional

import cloudpickle  # type: ignore[import-untyped]
from cloudpickle import cloudpickle_fast as internals

from .errors import GearsError

# The oldest version whose picklers share globals between functions as this module relies on.
OLDEST_CLOUDPICKLE = (2, 0)

# What version 3 has pickled names its parts in the one module that version 3 has; version 2 has them in two.
for _name, _part in vars(internals).items():
    vars(cloudpickle.cloudpickle).setdefault(_name, _part)

_GLOBALS = "globals"
_MISSING = object()

# Since version 3 this module only passes on to another; its name serves both.
_set_function_state = internals._function_setstate


class _Pickler(cloudpickle.CloudPickler):  # type: ignore[misc]
    def __init__(self, target: io.BytesIO, session_globals: Dict[str, Any], known: Dict[int, str]) -> None:
        super().__init__(target)
        # cloudpickle puts the dict that stands here for a function's globals into the pickle.
        self._stand_in = {"__name__": session_globals.get("__name__", "")}
        self.globals_ref[id(session_globals)] = self._stand_in
        self._session_globals = session_globals
        self._known = known

    def persistent_id(self, value: Any) -> Any:
        if value is self._stand_in or value is self._session_globals:
            return _GLOBALS
        return self._known.get(id(value))


class SharedGlobals:
    """Is the dict in which the functions of a session look up their names on one shard."""

    def __init__(self, preloaded: Dict[str, Any]) -> None:
        self.names = dict(preloaded)
        self._preloaded = preloaded
        # Small numbers and the like are the same object everywhere, and travel as they are.
        self._known = {
            id(value): name for name, value in preloaded.items() if not isinstance(value, (int, str, type(None)))
        }
        self._arrived: Dict[str, Any] = {}
        self._lock = threading.Lock()

    def pickled(self, value: Any) -> bytes:
        """Returns a plan or function as bytes; raises gears.error if a function of it cannot travel."""
        target = io.BytesIO()
        try:
            _Pickler(target, self.names, self._known).dump(value)
        except Exception as error:
            raise GearsError(
                f"Error occured when serialized a python callback, callback={_names_in(value)} error={error}"
            ) from None
        return target.getvalue()

    def unpickled(self, data: bytes) -> Any:
        """Returns a plan or function that lives in these globals."""
        with self._lock:
            return _Unpickler(io.BytesIO(data), self).load()

    def take(self, arriving: Dict[str, Any]) -> Dict[str, Any]:
        """Returns those of a function's globals that are to be set here.

        Code is always the newest. Other values are, unless code of this shard has bound the name anew since they
        came: such a name belongs to this shard.
        """
        taken = {}
        for name, value in arriving.items():
            here = self.names.get(name, _MISSING)
            if here is _MISSING or is_code(value) or here is self._arrived.get(name, _MISSING):
                taken[name] = value
                self._arrived[name] = value
        return taken


class _Unpickler(pickle.Unpickler):
    def __init__(self, source: io.BytesIO, shared: SharedGlobals) -> None:
        super().__init__(source)
        self._shared = shared

    def persistent_load(self, name: Any) -> Any:
        return self._shared.names if name == _GLOBALS else self._shared._preloaded[name]

    def find_class(self, module: str, name: str) -> Any:
        if name == "_function_setstate":
            return self._set_state
        return super().find_class(module, name)

    def _set_state(self, function: Any, state: Any) -> None:
        attributes, slots = state
        if function.__globals__ is self._shared.names:
            slots = dict(slots, __globals__=self._shared.take(slots["__globals__"]))
        _set_function_state(function, (attributes, slots))


def is_code(value: Any) -> bool:
    return isinstance(value, (types.FunctionType, type, types.ModuleType))


def _names_in(plan: Any) -> str:
    """Returns the names of the functions of a plan or a timer, for a text that says which one cannot travel."""
    if callable(plan):
        return str(getattr(plan, "__name__", plan))
    plan = getattr(plan, "plan", plan)
    names = [
        getattr(argument, "__name__", "")
        for step in getattr(plan, "steps", ())
        for argument in step.arguments
        if callable(argument)
    ]
    return ", ".join(names)


def too_old(version: Optional[str]) -> bool:
    """Says whether a version of cloudpickle is older than what is needed."""
    numbers = [int(part) for part in (version or "0").split(".")[:2] if part.isdigit()]
    return tuple(numbers) < OLDEST_CLOUDPICKLE
