"""Asks the server for commands, atomic blocks and settings, over the call socket.

One thread at a time has the socket, from its request to the answer; the others wait. That loses nothing, since the
server's main thread answers one call at a time too, and it makes atomic() a matter of keeping the lock. The caller
reads the answer itself, so that there is no hop from thread to thread.
"""

from __future__ import annotations

import os
import socket
import threading
from typing import Any, List, Optional

from . import context, conversions, guard
from .errors import GearsError, GearsForceStopped
from .frames import HEADER, Frame, Kind, decode, encode

ALREADY_ATOMIC = "Already inside an atomic block"
SERVER_GONE = "the connection to the server is closed"

READ_BYTES = 1 << 16


class Channel:
    """Sends calls and waits for their answers."""

    def __init__(self, connection: socket.socket) -> None:
        self._socket = connection
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
        with guard.shielded, self._lock:
            if self._process != os.getpid():
                raise GearsError("commands can not be run in a process that a script has forked")
            self._last += 1
            number = self._last
            try:
                self._socket.sendall(encode(kind, number, head))
                frame = self._read()
                while frame.id != number:
                    frame = self._read()
            except OSError:
                raise GearsError(SERVER_GONE) from None
        if frame.kind == Kind.DONE:
            # The server says whether anything in the reply was not UTF-8, so that most need no second look.
            value, has_bytes = frame.head
            return conversions.unpacked(value) if has_bytes else value
        code, text = frame.head
        if code == "aborted":
            raise GearsForceStopped
        raise GearsError(text)

    def _read(self) -> Frame:
        data = self._unread
        while len(data) < HEADER.size:
            data += self._receive()
        end = HEADER.size + HEADER.unpack_from(data)[0]
        if len(data) < end:
            pieces = [data]
            missing = end - len(data)
            while missing > 0:
                piece = self._receive()
                pieces.append(piece)
                missing -= len(piece)
            data = b"".join(pieces)
        self._unread = data[end:]
        return decode(data[: HEADER.size], data[HEADER.size : end])

    def _receive(self) -> bytes:
        data = self._socket.recv(READ_BYTES)
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
