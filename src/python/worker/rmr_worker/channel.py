"""Asks the server for commands, atomic blocks and settings, over the call socket.

A caller reads the answer itself, so that there is no hop from thread to thread. Where several threads call at once, one
of them reads for all: it hands the others their answers, and the reading to one of them when it has its own. So a call
can be made and answered while another one waits, as when a command sets off a function of the same worker.

Through an atomic block only its thread may call; the others wait, as other clients do.
"""

from __future__ import annotations

import marshal
import os
import socket
import threading
from typing import Any, Dict, List, Optional, Tuple

from . import context, conversions, guard
from .errors import GearsError, GearsForceStopped
from .frames import HEADER, Kind, dumps

ALREADY_ATOMIC = "Already inside an atomic block"
FORKED = "commands can not be run in a process that a script has forked"
SERVER_GONE = "the connection to the server is closed"

READ_BYTES = 1 << 16

# The kind and the head of an answer.
Answered = Tuple[int, Any]


class Channel:
    """Sends calls and waits for their answers."""

    def __init__(self, connection: socket.socket) -> None:
        self._send = connection.sendall
        self._receive = connection.recv
        # Guards all that follows.
        self._lock = threading.Lock()
        self._atomic_is_over = threading.Condition(self._lock)
        self._last = 0
        self._atomic_thread: Optional[int] = None
        self._is_reading = False
        self._answers: Dict[int, Answered] = {}
        # What wakes the threads that wait for another one to read.
        self._sleepers: Dict[int, threading.Lock] = {}
        # Touched by the thread that reads only.
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

    def plan_id(self, builders: int) -> str:
        """Returns the id of a registration; tells how many builders have been made since the last time."""
        return str(self._call(Kind.PLAN_ID, (context.required().number, builders)))

    def enter_atomic(self) -> None:
        """Takes the server for this thread alone."""
        if self.is_in_atomic_block():
            raise GearsError(ALREADY_ATOMIC)
        number = context.required().number
        with guard.shielded:
            try:
                self._call(Kind.ENTER_ATOMIC, (number,), is_entering=True)
            except BaseException:
                self._end_atomic()
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
                self._end_atomic()

    def is_in_atomic_block(self) -> bool:
        return self._atomic_thread == threading.get_ident()

    def _end_atomic(self) -> None:
        with self._lock:
            if self._atomic_thread == threading.get_ident():
                self._atomic_thread = None
                self._atomic_is_over.notify_all()

    def _call(self, kind: int, head: Any, is_entering: bool = False) -> Any:
        packed = dumps(head)
        mine = guard.activity()
        if mine is not None:
            mine.shield()
        try:
            number, reads = self._sent(kind, packed, is_entering)
            answer, value = self._read_for_all(number) if reads else self._answer_to(number)
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

    def _sent(self, kind: int, packed: bytes, is_entering: bool) -> Tuple[int, bool]:
        """Sends a call, once no other thread is in an atomic block.

        Returns the number of the call, and whether this thread is the one to read now.
        """
        with self._lock:
            if is_entering or self._atomic_thread is not None:
                me = threading.get_ident()
                while self._atomic_thread not in (None, me):
                    self._atomic_is_over.wait()
                if is_entering:
                    self._atomic_thread = me
            self._last = number = self._last + 1
            self._send(HEADER.pack(len(packed), len(packed), number, kind) + packed)
            reads = not self._is_reading
            self._is_reading = True
            return number, reads

    def _answer_to(self, number: int) -> Answered:
        """Waits for another thread to read the answer to a call, or for the turn to read it."""
        while True:
            with self._lock:
                answer = self._answers.pop(number, None)
                if answer is not None:
                    return answer
                reads = not self._is_reading
                self._is_reading = True
                if not reads:
                    self._sleepers[number] = sleeper = threading.Lock()
                    sleeper.acquire()
            if reads:
                return self._read_for_all(number)
            sleeper.acquire()

    def _read_for_all(self, number: int) -> Answered:
        """Reads answers until the one to a call of this thread, and then lets another thread read."""
        try:
            while True:
                found, answer = self._read_answer()
                if found == number:
                    return answer
                with self._lock:
                    self._answers[found] = answer
                    sleeper = self._sleepers.pop(found, None)
                if sleeper is not None:
                    sleeper.release()
        finally:
            with self._lock:
                self._is_reading = False
                next_one = self._sleepers.popitem()[1] if self._sleepers else None
            if next_one is not None:
                next_one.release()

    def _read_answer(self) -> Tuple[int, Answered]:
        data = self._unread
        while len(data) < HEADER.size:
            data += self._read()
        size, _, number, kind = HEADER.unpack_from(data)
        end = HEADER.size + size
        if len(data) < end:
            data = self._rest_of(data, end)
        self._unread = data[end:]
        return number, (kind, marshal.loads(data[HEADER.size : end]))

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
