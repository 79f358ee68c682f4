"""Asks the server for commands, atomic blocks and settings, over the call socket.

One thread at a time has the socket, from its request to the answer; the others wait. That loses nothing, since the
server's main thread answers one call at a time too, and it makes atomic() a matter of keeping the lock. The caller
reads the answer itself, so that there is no hop from thread to thread.
"""

from __future__ import annotations

import marshal
import os
import socket
import threading
from typing import Any, List, Optional, Tuple

from . import context, conversions, guard
from .errors import GearsError, GearsForceStopped
from .frames import HEADER, Kind, dumps

ALREADY_ATOMIC = "Already inside an atomic block"
FORKED = "commands can not be run in a process that a script has forked"
SERVER_GONE = "the connection to the server is closed"

READ_BYTES = 1 << 16


class Channel:
    """Sends calls and waits for their answers."""

    def __init__(self, connection: socket.socket) -> None:
        self._send = connection.sendall
        self._receive = connection.recv
        # Held through an atomic block, so that calls of other threads wait as other clients do.
        self._lock = threading.RLock()
        self._atomic_thread: Optional[int] = None
        self._last = 0
        self._unread = b""
        self._process = os.getpid()

    def execute(self, words: List[bytes]) -> Any:
        """Runs a command on this shard; raises gears.error with the text of its error."""
        return self._call(Kind.EXECUTE, (context.required().number, words))

    def execute_many(self, commands: List[List[bytes]]) -> List[Any]:
        """Runs commands in one round trip. Returns their replies, errors as exceptions in their place."""
        replies = self._call(Kind.EXECUTE_MANY, (context.required().number, commands))
        return [item if is_reply else GearsError(item) for is_reply, item in replies]

    def config_get(self, name: str) -> Optional[str]:
        """Returns a setting from the dictionary of those that RedisGears does not know itself."""
        value: Optional[str] = self._call(Kind.CONFIG_GET, (context.required().number, name))
        return value

    def hashtag(self) -> str:
        """Returns a text that hashes to a slot of this shard."""
        return str(self._call(Kind.HASHTAG, (context.required().number,)))

    def add_timer(self, session: str, timer: str, period_s: int, key: Optional[str], blob: bytes) -> bool:
        """Has a function of the session called again and again; returns False if the key of the timer exists."""
        number = context.required().number
        return bool(self._call(Kind.ADD_TIMER, (number, session, timer, period_s, key, blob)))

    def enter_atomic(self) -> None:
        """Takes the server for this thread alone."""
        if self.is_in_atomic_block():
            raise GearsError(ALREADY_ATOMIC)
        number = context.required().number
        with guard.shielded:
            self._lock.acquire()
            try:
                self._call(Kind.ENTER_ATOMIC, (number,))
                self._atomic_thread = threading.get_ident()
            except BaseException:
                self._lock.release()
                raise

    def leave_atomic(self) -> None:
        """Gives the server back."""
        self.leave_atomic_for(context.required().number)

    def leave_atomic_for(self, number: int) -> None:
        """Gives the server back on behalf of a context, whose code has left the block without saying so."""
        with guard.shielded:
            if not self.is_in_atomic_block():
                return
            try:
                self._call(Kind.LEAVE_ATOMIC, (number,))
            finally:
                self._atomic_thread = None
                self._lock.release()

    def is_in_atomic_block(self) -> bool:
        return self._atomic_thread == threading.get_ident()

    def _call(self, kind: int, head: Any) -> Any:
        packed = dumps(head)
        mine = guard.activity()
        if mine is not None:
            mine.shield()
        try:
            with self._lock:
                self._last = number = self._last + 1
                try:
                    self._send(HEADER.pack(len(packed), len(packed), number, kind) + packed)
                    answer, value = self._answer_to(number)
                except OSError:
                    raise GearsError(FORKED if self._process != os.getpid() else SERVER_GONE) from None
        finally:
            if mine is not None:
                mine.unshield()
        if answer == Kind.DONE:
            # The server says whether anything in the reply was not UTF-8, so that most need no second look.
            return conversions.unpacked(value[0]) if value[1] else value[0]
        code, text = value
        if code == "aborted":
            raise GearsForceStopped
        raise GearsError(text)

    def _answer_to(self, number: int) -> Tuple[int, Any]:
        """Reads until the answer to a call; returns its kind and head."""
        data = self._unread
        while True:
            if len(data) < HEADER.size:
                data += self._read()
                continue
            size, _, found, kind = HEADER.unpack_from(data)
            end = HEADER.size + size
            if len(data) < end:
                data = self._rest_of(data, end)
            self._unread = data[end:]
            # An answer to another call is to one that was aborted before it could read it.
            if found == number:
                return kind, marshal.loads(data[HEADER.size : end])
            data = self._unread

    def _rest_of(self, data: bytes, end: int) -> bytes:
        pieces = [data]
        missing = end - len(data)
        while missing > 0:
            piece = self._read()
            pieces.append(piece)
            missing -= len(piece)
        return b"".join(pieces)

    def _read(self) -> bytes:
        data = self._receive(READ_BYTES)
        if not data:
            raise OSError(SERVER_GONE)
        return data


class Atomic:
    """Implements `with atomic():`."""

    def __init__(self, channel: Channel) -> None:
        self._channel = channel

    def __enter__(self) -> "Atomic":
        self._channel.enter_atomic()
        return self

    def __exit__(self, kind: Any, error: Any, trace: Any) -> None:
        self._channel.leave_atomic()
