"""Reads and writes the frames that server and worker exchange.

A frame is a header, a head and sections. The head is one value in Python's marshal format (version 2: without
references, so that a few lines in any language read and write it). Sections are bytes whose meaning and sizes the head
gives; they are never copied through the head. PROTOCOL.md lists the heads of each kind.
"""

from __future__ import annotations

import marshal
import socket
import struct
import threading
from typing import Any, Iterable, List, NamedTuple, Sequence, Tuple

# The sizes of body (head and sections) and head, the id of the request, the kind.
HEADER = struct.Struct("<IIQB")

# Version 2 of marshal has no references to earlier values, so that values can be strung together.
MARSHAL_VERSION = 2

LARGEST_BODY = 1 << 31


class Kind:
    """Numbers the kinds of frames."""

    # answers, in both directions: the id is that of the request
    DONE = 1
    FAILED = 2

    # flow socket, from the server
    HELLO = 10
    LOAD = 11
    INSTALL = 12
    FORGET = 13
    OPEN = 14
    RUN = 15
    NEXT = 16
    END = 17
    CLOSE = 18
    ABORT = 19
    SETTINGS = 20
    STATS = 21
    PROFILE = 22
    STACKS = 23
    FIRE = 24
    DROP_TIMER = 25
    REGISTERED = 26
    EVENTS = 27

    # flow socket, from the worker
    LOG = 30
    START = 31
    EVENT_ENDED = 32

    # call socket, from the worker
    EXECUTE = 40
    EXECUTE_MANY = 41
    ENTER_ATOMIC = 42
    LEAVE_ATOMIC = 43
    CONFIG_GET = 44
    HASHTAG = 45
    ADD_TIMER = 46
    PLAN_ID = 47
    GET_COMMAND = 49
    OVERRIDE_REPLY = 53
    CALL_NEXT = 54

    # call socket: an event that the server's main thread waits for, and what has come of it
    SYNC = 60
    SYNC_DONE = 48

    # control socket of the template: the first two from the server
    FORK = 50
    KILL = 51
    EXITED = 52


class Frame(NamedTuple):
    """One frame as it was read."""

    kind: int
    id: int
    head: Any
    sections: memoryview


# What a request is answered with: a head and sections.
Reply = Tuple[Any, List[bytes]]


class Closed(Exception):
    """Says that the other side is gone."""


def dumps(value: Any) -> bytes:
    """Returns a value in the form in which heads and records travel."""
    return marshal.dumps(value, MARSHAL_VERSION)


def strung_together(count: int, values: Any) -> Any:
    """Returns a list from the bytes of its items, which stand one after the other as marshal writes them."""
    return marshal.loads(b"".join((b"[", count.to_bytes(4, "little"), values)))


def encode(kind: int, number: int, head: Any, sections: Sequence[Any] = ()) -> bytes:
    """Returns a frame as bytes."""
    packed = dumps(head)
    size = len(packed) + sum(map(len, sections))
    if size >= LARGEST_BODY:
        raise ValueError(f"a frame of {size} bytes is larger than the {LARGEST_BODY} that are allowed")
    return b"".join((HEADER.pack(size, len(packed), number, kind), packed, *sections))


def read_exactly(source: socket.socket, size: int) -> bytearray:
    """Reads that many bytes; raises Closed if the other side ends before."""
    data = bytearray(size)
    view = memoryview(data)
    done = 0
    while done < size:
        count = source.recv_into(view[done:])
        if count == 0:
            raise Closed
        done += count
    return data


def read_frame(source: socket.socket, start: bytes = b"") -> Frame:
    """Reads one frame, whose first bytes may have been read already; waits for it."""
    header = start + read_exactly(source, HEADER.size - len(start))
    size, head_size, number, kind = HEADER.unpack(header)
    body = memoryview(read_exactly(source, size))
    return Frame(kind, number, marshal.loads(body[:head_size]), body[head_size:])


class FrameWriter:
    """Writes whole frames to a socket that several threads share."""

    def __init__(self, target: socket.socket) -> None:
        self._target = target
        self._lock = threading.Lock()

    def write(self, kind: int, number: int, head: Any, sections: Iterable[Any] = ()) -> None:
        """Sends a frame; raises OSError if the other side is gone."""
        data = encode(kind, number, head, tuple(sections))
        with self._lock:
            self._target.sendall(data)
