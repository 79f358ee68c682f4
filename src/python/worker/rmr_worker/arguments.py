"""Checks what scripts give to run(), in RedisGears' words; event_arguments has what they give to register()."""

from __future__ import annotations

from types import FunctionType
from typing import Any, Callable, Dict, Sequence

from .errors import GearsError

EVENT_READERS = ("KeysReader", "StreamReader", "CommandReader")

MODES = ("async", "async_local")


def is_function(value: Any) -> bool:
    """Says whether this is a plain function or lambda: only these have code that can travel as it is."""
    return isinstance(value, FunctionType)


def check_mode(mode: Any, allowed: Sequence[str] = MODES) -> str:
    if not isinstance(mode, str):
        raise GearsError("execution mode must be a string")
    if mode not in allowed:
        raise GearsError("unknown execution mode")
    return mode


def check_batch_reader(reader: Any) -> None:
    """Raises if there is no such reader, or none that can run at once."""
    if reader in READERS:
        return
    if reader in EVENT_READERS:
        raise GearsError("Given reader do not support run or not exists")
    raise GearsError("The given reader does not exists")


def reader_arguments(reader: str, argument: Any, given: Dict[str, Any]) -> Dict[str, Any]:
    """Returns what a reader is to read; names that it does not know are ignored, as ever."""
    return READERS[reader](argument, given)


def keys_arguments(argument: Any, given: Dict[str, Any]) -> Dict[str, Any]:
    if not isinstance(argument, str):
        raise GearsError("regex argument must be a string")
    is_exact = given.get("noScan", False)
    if not isinstance(is_exact, bool):
        raise GearsError("exactMatch value is not boolean")
    with_values = given.get("readValue", True)
    if not isinstance(with_values, bool):
        raise GearsError("readValue value is not boolean")
    return {"pattern": argument, "is_exact": is_exact, "with_values": with_values}


def names_arguments(argument: Any, given: Dict[str, Any]) -> Dict[str, Any]:
    generator = given.get("patternGenerator")
    if generator is None and not isinstance(argument, str):
        raise GearsError("regex argument must be a string")
    return {"pattern": argument, "is_exact": bool(given.get("noScan", False)), "pattern_generator": generator}


def python_arguments(argument: Any, given: Dict[str, Any]) -> Dict[str, Any]:
    if argument is None:
        raise GearsError("python reader function is not given")
    if not is_function(argument):
        raise GearsError("pyreader argument must be a function")
    return {"generator": argument}


def no_arguments(argument: Any, given: Dict[str, Any]) -> Dict[str, Any]:
    return {}


def stream_arguments(argument: Any, given: Dict[str, Any]) -> Dict[str, Any]:
    if not isinstance(argument, str):
        raise GearsError("regex argument must be a string")
    start = given.get("fromId", "0-0")
    if not isinstance(start, str):
        raise GearsError("fromId argument must be a string")
    return {"key": argument, "from_id": start}


# The readers that can run at once, each with the check of what it is given.
READERS: Dict[str, Callable[[Any, Dict[str, Any]], Dict[str, Any]]] = {
    "KeysReader": keys_arguments,
    "KeysOnlyReader": names_arguments,
    "PythonReader": python_arguments,
    "ShardsIDReader": no_arguments,
    "StreamReader": stream_arguments,
}
