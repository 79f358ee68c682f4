"""Lists frames as they stand on the wire, for both sides to test themselves against: vectors.txt.

    python3 -m tests.vectors > vectors.txt

Each line there is a name, the head as JSON where JSON has it, and the frame in hex.
"""

from __future__ import annotations

import json
from typing import Any, List, NamedTuple, Sequence, Tuple

from rmr_worker.frames import Kind, encode
from rmr_worker.sinks import Column

from .batches import key_events, keys_batch, list_events, name_events, names_batch, records_batch
from .server import events_head


class Vector(NamedTuple):
    """One frame and what it says."""

    name: str
    kind: int
    id: int
    head: Any
    sections: Sequence[bytes] = ()

    def line(self) -> str:
        return f"{self.name}\t{shown(self.head)}\t{encode(self.kind, self.id, self.head, self.sections).hex()}"


def shown(head: Any) -> str:
    """Returns a head as JSON; bytes as an object with their hex."""
    return json.dumps(head, default=lambda value: {"bytes": value.hex()}, sort_keys=False)


def column(*entries: bytes) -> bytes:
    made = Column()
    made.add_all(list(entries))
    return made.bytes()


def vectors() -> List[Vector]:
    head, sections = keys_batch(
        {"k1": ("s", "text"), "k2": ("h", {"f": "v", "g": "ü"}), "k3": ("l", ["a", b"\xff"]), "k4": ("z", None)}
    )
    names, name_sections = names_batch(["a", "ü"])
    records, record_sections = records_batch([b"i\x05\x00\x00\x00", b"u\x01\x00\x00\x00x"])
    flow = {
        "key": "1-77-1",
        "reader": "KeysReader",
        "description": None,
        "mode": "async",
        "needs": "all",
        "stages": [{"steps": ["to_text"], "then": "collect"}],
        "steps": [("map", "RedisGearsPy_ToPyRecordMapper", ""), ("collect", "collect", "")],
        "blob": b"\x80\x05",
    }
    answer: Tuple[Any, ...] = (False, False, 0, False, [])
    values = column(b"70", b"14")
    keyed = column(b"Smith")
    record = column(b"i\x03\x00\x00\x00")
    on_keys = key_events(
        [("k1", ("s", "text"), "set"), ("k2", ("h", {"f": b"\xff"}), "hset"), ("k3", ("e", None), "del")]
    )
    on_names = name_events([("a", "set"), ("ü", "del")])
    lists = list_events([[["t", "x"]], [["t"]]])
    one = list_events([[["get", "k"]]])
    replies = column(b"$1\r\na\r\n", b"$1\r\nc\r\n")
    registration = {
        "id": "0000000000000000000000000000000000000000-3",
        "reader": "KeysReader",
        "mode": "async",
        "description": None,
        "flow": flow,
        "on_registered": True,
        "arguments": {
            "prefix": "a:*",
            "event_types": ["set"],
            "key_types": None,
            "read_value": True,
            "commands": None,
        },
    }
    loaded = {"flows": [], "run": None, "aside": None, "registrations": [registration], "builders": 1}
    return [
        Vector("hello", Kind.HELLO, 1, {"shard": "1", "cluster": False, "traceback": True, "profile": False}),
        Vector("load", Kind.LOAD, 2, {"session": "s", "context": 7, "script": "GB().run()"}),
        Vector(
            "loaded",
            Kind.DONE,
            2,
            {"flows": [flow], "run": "1-77-1", "aside": None, "registrations": [], "builders": 1},
        ),
        Vector("script raised", Kind.FAILED, 2, ("error", "['Traceback (most recent call last):\\n']")),
        Vector("install", Kind.INSTALL, 3, {"session": "s", "context": 7, "key": "1-77-1"}, [b"\x80\x05"]),
        Vector("open", Kind.OPEN, 4, {"session": "s", "key": "1-77-1", "execution": 1 << 40, "local": False}),
        Vector(
            "opened",
            Kind.DONE,
            4,
            {
                "reader": {"kind": "keys", "pattern": "*", "is_exact": False, "with_values": True, "needs": "all"},
                "stages": [{"then": "collect"}],
            },
        ),
        Vector("run on keys", Kind.RUN, 5, (9, 0, *head), sections),
        Vector("run on names", Kind.RUN, 6, (9, 0, *names), name_sections),
        Vector("run on records", Kind.RUN, 7, (9, 1, *records), record_sections),
        Vector("run on a count", Kind.RUN, 8, (9, 0, "count", 4096, False, ())),
        Vector("next", Kind.NEXT, 9, (9, 0)),
        Vector("end", Kind.END, 10, (9, 0)),
        Vector("answer, results", Kind.DONE, 5, ("bulk", 2, *answer, (0, len(values))), [b"", values]),
        Vector("answer, keyed", Kind.DONE, 6, ("records", 1, *answer, (len(keyed), len(record))), [keyed, record]),
        Vector("answer, error", Kind.DONE, 7, ("bulk", 0, False, True, 0, False, ["an error"], (0, 0)), [b"", b""]),
        Vector("close", Kind.CLOSE, 11, (9, True)),
        Vector("abort", Kind.ABORT, 12, (9, 1000)),
        Vector("aborted", Kind.DONE, 12, {"left": True, "waited": 0}),
        Vector("forget", Kind.FORGET, 13, ("s",)),
        Vector("log", Kind.LOG, 0, ("notice", "s", "a line")),
        Vector("start", Kind.START, 1, {"context": 9, "session": "s", "flow": flow}),
        Vector("start answered", Kind.DONE, 1, (2, ["an error"]), [b"i\x01\x00\x00\x00N"]),
        Vector("execute", Kind.EXECUTE, 1, (9, [b"GET", b"k"])),
        Vector("executed", Kind.DONE, 1, ("v", False)),
        Vector("executed, all types", Kind.DONE, 2, (["ü", b"\xff", 5, -1, 1 << 40, -(1 << 40), None, ["x"]], True)),
        Vector("execute failed", Kind.FAILED, 1, ("error", "No such file or directory")),
        Vector("execute many", Kind.EXECUTE_MANY, 3, (9, [[b"GET", b"k"], [b"NOSUCH"]])),
        Vector("executed many", Kind.DONE, 3, ([[True, "v"], [False, "No such file or directory"]], False)),
        Vector("enter atomic", Kind.ENTER_ATOMIC, 4, (9,)),
        Vector("leave atomic", Kind.LEAVE_ATOMIC, 5, (9,)),
        Vector("config get", Kind.CONFIG_GET, 6, (9, "name")),
        Vector("hashtag", Kind.HASHTAG, 7, (9,)),
        Vector("add timer", Kind.ADD_TIMER, 8, (9, "s", "1-77-2", 60, "a key", b"\x80\x05")),
        Vector("timer added", Kind.DONE, 8, (True, False)),
        Vector("plan id", Kind.PLAN_ID, 9, (9, 2)),
        Vector("plan id answered", Kind.DONE, 9, ("0000000000000000000000000000000000000000-3", False)),
        Vector("loaded, registered", Kind.DONE, 15, loaded),
        Vector("registered", Kind.REGISTERED, 16, {"session": "s", "context": 9, "key": "1-77-1"}),
        Vector("events on keys", Kind.EVENTS, 17, events_head(on_keys, "1-77-1", 9), on_keys[1]),
        Vector("events on names", Kind.EVENTS, 18, events_head(on_names, "1-77-1", 10), on_names[1]),
        Vector("events, lists", Kind.EVENTS, 19, events_head(lists, "1-77-1", 11, results="trigger"), lists[1]),
        Vector("events answered", Kind.DONE, 17, ([(1, []), None, (1, ["an error"])], True), [replies]),
        Vector("event ended", Kind.EVENT_ENDED, 0, (9, 1, 1, []), [column(b":5\r\n")]),
        Vector("sync", Kind.SYNC, 1, events_head(one, "1-77-1", 12, results="trigger", is_async=False), one[1]),
        Vector("sync done", Kind.SYNC_DONE, 1, ((1, []), None), [column(b":5\r\n")]),
        Vector("sync waits", Kind.SYNC_DONE, 1, (None, None), [column()]),
        Vector("sync failed", Kind.SYNC_DONE, 1, (None, ("unknown", "there is no session s"))),
        Vector("get command", Kind.GET_COMMAND, 10, (12,)),
        Vector("override reply", Kind.OVERRIDE_REPLY, 11, (12, b"+OK\r\n")),
        Vector("call next", Kind.CALL_NEXT, 12, (12, [b"k"])),
        Vector("fire", Kind.FIRE, 14, ("s", "1-77-2")),
        Vector("fork", Kind.FORK, 1, ()),
        Vector("forked", Kind.DONE, 1, (1234,)),
        Vector("kill", Kind.KILL, 2, (1234,)),
        Vector("exited", Kind.EXITED, 1, {"pid": 1234, "code": None, "signal": 9, "peak": 20 << 20, "cpu_ms": 12}),
    ]


if __name__ == "__main__":
    for vector in vectors():
        print(vector.line())
