"""Checks what scripts give to register(), in RedisGears' words."""

from __future__ import annotations

from typing import Any, Callable, Dict, List, Optional

from .arguments import MODES, is_function
from .errors import GearsError

REGISTER_MODES = (*MODES, "sync")

NO_REGISTER = "given reader does not exists or does not support register"

KEY_TYPES = frozenset({"string", "hash", "list", "set", "zset", "stream", "module", "empty"})

ON_FAILED = ("continue", "abort", "retry")


def event_arguments(reader: str, prefix: Any, mode: str, given: Dict[str, Any]) -> Dict[str, Any]:
    """Returns what a reader is to wait for; names that it does not know are ignored, as ever."""
    if reader not in EVENT_READERS:
        raise GearsError(NO_REGISTER)
    return EVENT_READERS[reader](prefix, mode, given)


def check_on_registered(function: Any) -> Optional[Callable[[], Any]]:
    if function is None or is_function(function):
        return function  # type: ignore[no-any-return]
    raise GearsError("OnRegistered argument must be a function")


def keys_arguments(prefix: Any, mode: str, given: Dict[str, Any]) -> Dict[str, Any]:
    _check_prefix(prefix)
    event_types = _names(given.get("eventTypes"), "given eventTypes is not iterable", "given event type is not string")
    key_types = _names(given.get("keyTypes"), "given keyTypes is not iterable", "given key type is not string")
    if key_types is not None and not KEY_TYPES.issuperset(key_types):
        raise GearsError("unknown key type")
    read_value = given.get("readValue", True)
    if not isinstance(read_value, bool):
        raise GearsError("readValue is not boolean")
    return {
        "prefix": prefix,
        "event_types": event_types,
        "key_types": key_types,
        "read_value": read_value,
        "commands": _names(given.get("commands"), "given commands is not iterable", "given command type is not string"),
    }


def stream_arguments(prefix: Any, mode: str, given: Dict[str, Any]) -> Dict[str, Any]:
    _check_prefix(prefix)
    batch = _number(given.get("batch", 1), "batch argument must be a number")
    duration_ms = _number(given.get("duration", 0), "duration argument must be a number")
    on_failed = given.get("onFailedPolicy", "continue")
    if not isinstance(on_failed, str):
        raise GearsError("onFailedPolicy must be a string (Continue/Abort/Retry)")
    on_failed = on_failed.lower()
    if on_failed not in ON_FAILED:
        raise GearsError("onFailedPolicy must be Continue/Abort/Retry")
    if mode == "sync" and on_failed != "continue":
        raise GearsError("ExecutionMode sync can only be combined with OnFailedPolicy Continue")
    retry_interval_s = _number(given.get("onFailedRetryInterval", 1), "retryInterval argument must be a number")
    trim = given.get("trimStream", True)
    if not isinstance(trim, bool):
        raise GearsError("pyTrimmStream argument must be a boolean")
    return {
        "prefix": prefix,
        # A batch of no messages would never be full, or always.
        "batch": max(1, batch),
        "duration_ms": duration_ms,
        "on_failed": on_failed,
        "retry_interval_s": retry_interval_s,
        "trim": trim,
    }


def command_arguments(prefix: Any, mode: str, given: Dict[str, Any]) -> Dict[str, Any]:
    trigger, hook, key_prefix = given.get("trigger"), given.get("hook"), given.get("keyprefix")
    for name, value in (("trigger", trigger), ("hook", hook), ("keyprefix", key_prefix)):
        if value is not None and not isinstance(value, str):
            raise GearsError(f"{name} argument is not string")
    in_order = given.get("inorder", False)
    if not isinstance(in_order, bool):
        raise GearsError("inorder argument is be boolean")
    if trigger is None and hook is None:
        raise GearsError("no trigger or hook argument was given")
    if trigger is not None and (hook is not None or key_prefix is not None):
        raise GearsError("trigger argument can not be given with keyprefix or hook")
    return {
        "trigger": trigger,
        "hook": hook.lower() if hook is not None else None,
        "key_prefix": key_prefix,
        "in_order": in_order,
    }


# The readers that wait for events, each with the check of what it is given.
EVENT_READERS: Dict[str, Callable[[Any, str, Dict[str, Any]], Dict[str, Any]]] = {
    "KeysReader": keys_arguments,
    "StreamReader": stream_arguments,
    "CommandReader": command_arguments,
}


def _check_prefix(prefix: Any) -> None:
    if not isinstance(prefix, str):
        raise GearsError("regex argument must be a string")


def _names(given: Any, not_iterable: str, not_text: str) -> Optional[List[str]]:
    """Returns names in lower case, as they are compared; None where all are meant."""
    if given is None:
        return None
    try:
        names = list(given)
    except TypeError:
        raise GearsError(not_iterable) from None
    if not all(isinstance(name, str) for name in names):
        raise GearsError(not_text)
    return [name.lower() for name in names]


def _number(given: Any, refusal: str) -> int:
    if not isinstance(given, (int, float)) or not 0 <= given < 1 << 63:
        raise GearsError(refusal)
    return int(given)
