"""Makes records: of the columns that the server has read, and of what readers in Python give."""

from __future__ import annotations

import types
from typing import TYPE_CHECKING, Any, Dict, Iterator, List, NamedTuple, Sequence, Tuple

from . import conversions
from .errors import GearsError, Refused
from .frames import strung_together

if TYPE_CHECKING:
    from .execution import Execution
    from .plan import Plan

# What RedisGears calls the types of keys, by the letter that stands in the column of types.
TYPE_NAMES: Dict[int, str] = {
    ord("s"): "string",
    ord("h"): "hash",
    ord("l"): "list",
    ord("t"): "set",
    ord("z"): "zset",
    ord("m"): "module",
    ord("x"): "unknown",
    ord("e"): "empty",
}

OTHER_SHARDS_KEY = "Operation not permitted"

STREAM_PAGE = 500


class Batch(NamedTuple):
    """Records as they stand in a frame.

    The shape is `keys` (columns of keys, types and values), `names` (a column of keys), `records` (what a worker has
    sent on) or `count` (nothing but how many).
    """

    shape: str
    size: int
    # whether some key or value is not UTF-8 and stands there as bytes
    has_bytes: bool
    sections: List[memoryview]


def batch_of(head: Sequence[Any], sections: memoryview) -> Batch:
    """Returns the batch of a RUN frame: (shape, count, has_bytes, sizes) and the sections of these sizes."""
    shape, size, has_bytes, sizes = head
    parts = []
    start = 0
    for length in sizes:
        parts.append(sections[start : start + length])
        start += length
    return Batch(shape, size, has_bytes, parts)


def records_of(batch: Batch, plan: "Plan", as_text: bool) -> List[Any]:
    """Returns the records of a batch; with `as_text` those of keys as the texts that str() would make of them."""
    if batch.shape == "count":
        return [None] * batch.size
    if batch.shape == "records":
        records: List[Any] = strung_together(batch.size, batch.sections[0])
        return records
    if plan.waits_for_events:
        made = events_of(batch)
        return [str(record) for record in made] if as_text else made
    keys = strung_together(batch.size, batch.sections[0])
    if batch.has_bytes:
        keys = conversions.unpacked(keys)
    if batch.shape == "names":
        return keys if plan.reader == "KeysOnlyReader" else [{"key": key, "event": None} for key in keys]
    values = strung_together(batch.size, batch.sections[2])
    if batch.has_bytes:
        values = conversions.unpacked(values)
    kinds = bytes(batch.sections[1])
    if kinds == kinds[:1] * batch.size:
        return of_one_type(keys, values, TYPE_NAMES[kinds[0]] if kinds else "", as_text)
    return of_types(keys, values, [TYPE_NAMES[kind] for kind in kinds], as_text)


def events_of(batch: Batch) -> List[Any]:
    """Returns the events of a batch: of shape `lists` the records of each, else each as a record."""
    if batch.shape not in ("keys", "names", "lists"):
        raise Refused("protocol", f"events can be keys, names or lists, not {batch.shape}")
    size, sections = batch.size, batch.sections
    keys = strung_together(size, sections[0])
    if batch.has_bytes:
        keys = conversions.unpacked(keys)
    if batch.shape == "lists":
        return keys  # type: ignore[no-any-return]
    events = strung_together(size, sections[-1])
    if batch.shape == "names":
        return [{"key": key, "event": event} for key, event in zip(keys, events)]
    values = strung_together(size, sections[2])
    if batch.has_bytes:
        values = conversions.unpacked(values)
    return [
        {"key": key, "value": value, "type": TYPE_NAMES[kind], "event": event}
        for key, kind, value, event in zip(keys, bytes(sections[1]), values, events)
    ]


def of_one_type(keys: List[Any], values: List[Any], name: str, as_text: bool) -> List[Any]:
    if as_text:
        rest = f", 'type': {name!r}, 'event': None}}"
        return [f"{{'key': {key!r}, 'value': {value!r}{rest}" for key, value in zip(keys, values)]
    return [{"key": key, "value": value, "type": name, "event": None} for key, value in zip(keys, values)]


def of_types(keys: List[Any], values: List[Any], names: List[str], as_text: bool) -> List[Any]:
    records = [
        {"key": key, "value": value, "type": name, "event": None} for key, value, name in zip(keys, values, names)
    ]
    return [str(record) for record in records] if as_text else records


def what_to_read(plan: "Plan") -> Dict[str, Any]:
    """Returns what the server is to read for a plan on this shard; `own` where the worker reads itself.

    The server reads keys and their names. Runs the user's patternGenerator, if there is one.
    """
    given = plan.reader_arguments
    if plan.waits_for_events:
        return {"kind": "events"}
    if plan.reader == "KeysReader":
        return {
            "kind": "keys",
            "pattern": given["pattern"],
            "is_exact": given["is_exact"],
            "with_values": given["with_values"],
            "needs": plan.needs(),
        }
    if plan.reader == "KeysOnlyReader":
        pattern, is_exact = pattern_of(given)
        return {"kind": "names", "pattern": pattern, "is_exact": is_exact, "with_values": False, "needs": plan.needs()}
    return {"kind": "own"}


def pattern_of(given: Dict[str, Any]) -> Tuple[str, bool]:
    generator = given["pattern_generator"]
    if generator is None:
        return given["pattern"], given["is_exact"]
    pattern, is_exact = generator()
    if not isinstance(pattern, str):
        raise GearsError("regex argument must be a string")
    return pattern, bool(is_exact)


def own_records(execution: "Execution") -> Iterator[Any]:
    """Returns the records of a reader that is Python."""
    given = execution.plan.reader_arguments
    if execution.plan.reader == "ShardsIDReader":
        return iter([execution.shard])
    if execution.plan.reader == "StreamReader":
        return stream_records(execution, given["key"], given["from_id"])
    return python_records(given["generator"])


def python_records(generator: Any) -> Iterator[Any]:
    """Returns what a generator yields; whatever else the function returns is the only record."""
    made = generator()
    if isinstance(made, types.GeneratorType):
        return made
    return iter([made])


def stream_records(execution: "Execution", key: str, after: str) -> Iterator[Any]:
    """Reads the messages of a stream page by page; none on shards that do not have it."""
    while True:
        try:
            found = execution.worker.channel.execute(
                [b"XREAD", b"COUNT", b"%d" % STREAM_PAGE, b"STREAMS", conversions.encoded(key), after.encode()]
            )
        except GearsError as error:
            if str(error) == OTHER_SHARDS_KEY and not execution.is_local:
                return
            raise
        if not found:
            return
        for number, parts in found[0][1]:
            fields = [bytes(part) if isinstance(part, bytearray) else part for part in parts[::2]]
            yield {"id": number, "value": dict(zip(fields, parts[1::2])), "key": key}
            after = number
