"""Writes batches as the server does, and reads the replies that workers write."""

from __future__ import annotations

import binascii
import marshal
from typing import Any, Callable, Dict, List, NamedTuple, Sequence, Tuple


class Failed(Exception):
    """Is what a FAILED answer says, or an error among the results."""

    def __init__(self, code: str, text: str) -> None:
        super().__init__(text)
        self.code = code


def marshalled(value: Any) -> bytes:
    """Returns a value as the server writes it: str, or bytes where it is not UTF-8."""
    return marshal.dumps(value, 2)


def keys_batch(keys: Dict[str, Tuple[str, Any]]) -> Tuple[Tuple[Any, ...], List[bytes]]:
    """Returns head and sections of a batch of keys: name -> (letter of the type, value)."""
    sections = [
        b"".join(marshalled(key) for key in keys),
        b"".join(kind.encode() for kind, _ in keys.values()),
        b"".join(marshalled(value) for _, value in keys.values()),
    ]
    return ("keys", len(keys), True, tuple(map(len, sections))), sections


def names_batch(names: Sequence[str]) -> Tuple[Tuple[Any, ...], List[bytes]]:
    sections = [b"".join(marshalled(name) for name in names)]
    return ("names", len(names), False, tuple(map(len, sections))), sections


class EventBatch(NamedTuple):
    """Is a batch of events, of which a worker may do only the first."""

    head: Tuple[Any, ...]
    sections: List[bytes]
    events: Sequence[Any]
    maker: Callable[[Any], Any]

    def after(self, count: int) -> "EventBatch":
        """Returns the batch of those that follow."""
        rest: EventBatch = self.maker(self.events[count:])
        return rest


def key_events(events: Sequence[Tuple[str, Tuple[str, Any], str]]) -> EventBatch:
    """Returns a batch of events on keys: (name, (letter of the type, value), event)."""
    sections = [
        b"".join(marshalled(key) for key, _, _ in events),
        b"".join(kind.encode() for _, (kind, _), _ in events),
        b"".join(marshalled(value) for _, (_, value), _ in events),
        b"".join(marshalled(event) for _, _, event in events),
    ]
    return EventBatch(("keys", len(events), True, tuple(map(len, sections))), sections, events, key_events)


def name_events(events: Sequence[Tuple[str, str]]) -> EventBatch:
    """Returns a batch of events without values: (name, event)."""
    sections = [b"".join(marshalled(event[place]) for event in events) for place in (0, 1)]
    return EventBatch(("names", len(events), False, tuple(map(len, sections))), sections, events, name_events)


def list_events(events: Sequence[List[Any]]) -> EventBatch:
    """Returns a batch of events each of which is a list of records."""
    section = b"".join(marshalled(records) for records in events)
    return EventBatch(("lists", len(events), True, (len(section),)), [section], events, list_events)


def records_batch(entries: List[bytes]) -> Tuple[Tuple[Any, ...], List[bytes]]:
    section = b"".join(entries)
    return ("records", len(entries), False, (len(section),)), [section]


def strings(**keys: str) -> Dict[str, Tuple[str, Any]]:
    return {name: ("s", value) for name, value in keys.items()}


def bulk(entry: bytes) -> bytes:
    return b"$%d\r\n%b\r\n" % (len(entry), entry)


def parsed(reply: bytes) -> Any:
    """Returns a reply in RESP as Python: bulk strings as str, errors as Failed."""
    value, rest = _parsed(reply)
    assert not rest, rest
    return value


def _parsed(data: bytes) -> Tuple[Any, bytes]:
    line, rest = data.split(b"\r\n", 1)
    kind, text = line[:1], line[1:]
    if kind == b":":
        return int(text), rest
    if kind == b"$":
        size = int(text)
        return rest[:size].decode(errors="surrogateescape"), rest[size + 2 :]
    if kind == b"+":
        return "+" + text.decode(), rest
    if kind == b"-":
        return Failed("error", text.decode()), rest
    items = []
    for _ in range(int(text)):
        item, rest = _parsed(rest)
        items.append(item)
    return items, rest


def hash_slot(key: bytes) -> int:
    start = key.find(b"{")
    if start >= 0:
        end = key.find(b"}", start + 1)
        if end > start + 1:
            key = key[start + 1 : end]
    return binascii.crc_hqx(key, 0) % 16384
