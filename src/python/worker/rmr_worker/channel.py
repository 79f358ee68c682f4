"""Asks the server for commands, atomic blocks and settings, over the call socket.

A caller reads the answer itself, so that there is no hop from thread to thread. Where several threads call at once, one
of them reads for all: it hands the others their answers, and the reading to one of them when it has its own. So a call
can be made and answered while another one waits, as when a command sets off a function of the same worker.

Through an atomic block only its thread may call; the others wait, as other clients do.

The server, too, asks over this socket, where its main thread waits for what comes of an event (SYNC). Whoever reads
hands that on. While nobody does, a thread listens, which sleeps as soon as there is someone who calls: so a call costs
as little as without it. That thread runs the event itself, since each hop from thread to thread is time in which the
server stands still; it reads all the while, also the answers to its own calls. What such an event runs may call even
during another thread's atomic block: it is that thread's command which waits for it.
"""

from __future__ import annotations

import contextvars
import marshal
import os
import select
import socket
import sys
import threading
import traceback
from typing import Any, Callable, Dict, List, Optional, Sequence, Tuple

from . import context, conversions, guard
from .errors import GearsError, GearsForceStopped
from .frames import HEADER, Frame, Kind, dumps, encode

ALREADY_ATOMIC = "Already inside an atomic block"
FORKED = "commands can not be run in a process that a script has forked"
NO_EPOLL = "registrations of mode sync need epoll, which this system does not have"
SERVER_GONE = "the connection to the server is closed"

READ_BYTES = 1 << 16

# Tells of what arrives once, until it is asked for again.
ONE_ARRIVAL = getattr(select, "EPOLLIN", 0) | getattr(select, "EPOLLONESHOT", 0)


class Channel:
    """Sends calls and waits for their answers."""

    def __init__(
        self, connection: socket.socket, hand_on: Callable[[Frame], None], run: Callable[[Frame], None]
    ) -> None:
        self._connection = connection
        # What takes a request of the server's to another thread, and what runs it in this one.
        self._hand_on_request = hand_on
        self._run_request = run
        self._send = connection.sendall
        self._receive = connection.recv
        # Guards all that follows.
        self._lock = threading.Lock()
        self._atomic_is_over = threading.Condition(self._lock)
        self._last = 0
        self._atomic_thread: Optional[int] = None
        self._is_reading = False
        # The thread that reads while it runs an event, and so does not give that up with the answer to a call.
        self._keeps_reading: Optional[int] = None
        self._answers: Dict[int, Frame] = {}
        # What wakes the threads that wait for another one to read.
        self._sleepers: Dict[int, threading.Lock] = {}
        # The threads that run what the server's main thread waits for, and whether they are in an atomic block.
        self._awaited: Dict[int, bool] = {}
        # Wakes the thread that listens.
        self._arrivals: Optional[select.epoll] = None
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

    def command(self) -> Any:
        """Returns the command whose client waits for the running event."""
        return self._call(Kind.GET_COMMAND, (context.required().number,))

    def override_reply(self, reply: bytes) -> None:
        """Gives the client that waits for the running event this in place of its command's reply."""
        self._call(Kind.OVERRIDE_REPLY, (context.required().number, reply))

    def call_next(self, words: List[bytes]) -> Any:
        """Runs what the running event's hook stands before, with these arguments."""
        return self._call(Kind.CALL_NEXT, (context.required().number, words))

    def listen(self) -> None:
        """Takes requests of the server's from now on also while there is no call."""
        if not hasattr(select, "epoll"):
            raise GearsError(NO_EPOLL)
        with self._lock:
            if self._arrivals is not None:
                return
            self._arrivals = select.epoll()
            self._arrivals.register(self._connection, 0 if self._is_reading else ONE_ARRIVAL)
        thread = threading.Thread(target=self._take_requests, daemon=True, name="rmr requests")
        # In no context, since it belongs to no session.
        contextvars.Context().run(thread.start)

    def while_awaited(self, work: Callable[[], None]) -> None:
        """Runs what the server's main thread waits for."""
        me = threading.get_ident()
        self._awaited[me] = False
        try:
            work()
        finally:
            del self._awaited[me]

    def answer(self, kind: int, number: int, head: Any, sections: Sequence[bytes] = ()) -> None:
        """Answers a request of the server's; does nothing if it is gone."""
        data = encode(kind, number, head, sections)
        with self._lock:
            try:
                self._send(data)
            except OSError:
                pass

    def enter_atomic(self) -> None:
        """Takes the server for this thread alone."""
        if self.is_in_atomic_block():
            raise GearsError(ALREADY_ATOMIC)
        if threading.get_ident() in self._awaited:
            # It has it already: the server's main thread does nothing else.
            self._awaited[threading.get_ident()] = True
            return
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
            if threading.get_ident() in self._awaited:
                self._awaited[threading.get_ident()] = False
                return
            try:
                self._call(Kind.LEAVE_ATOMIC, (number,))
            finally:
                self._end_atomic()

    def is_in_atomic_block(self) -> bool:
        me = threading.get_ident()
        return self._atomic_thread == me or self._awaited.get(me, False)

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
            if self._keeps_reading == threading.get_ident():
                answer = self._read_up_to(number)
            else:
                answer = self._read_for_all(number) if reads else self._answer_to(number)
        except OSError:
            raise GearsError(FORKED if self._process != os.getpid() else SERVER_GONE) from None
        finally:
            if mine is not None:
                mine.unshield()
        if answer.kind == Kind.DONE:
            value, has_bytes = answer.head
            # The server says whether anything in the reply was not UTF-8, so that most need no second look.
            return conversions.unpacked(value) if has_bytes else value
        code, text = answer.head
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
                while self._atomic_thread not in (None, me) and me not in self._awaited:
                    self._atomic_is_over.wait()
                if is_entering:
                    self._atomic_thread = me
            self._last = number = self._last + 1
            self._send(HEADER.pack(len(packed), len(packed), number, kind) + packed)
            return number, self._begins_reading()

    def _begins_reading(self) -> bool:
        """Makes this thread the one that reads, unless there is one; the lock is held."""
        if self._is_reading:
            return False
        self._is_reading = True
        if self._arrivals is not None:
            self._arrivals.modify(self._connection, 0)
        return True

    def _answer_to(self, number: int) -> Frame:
        """Waits for another thread to read the answer to a call, or for the turn to read it."""
        while True:
            with self._lock:
                answer = self._answers.pop(number, None)
                if answer is not None:
                    return answer
                reads = self._begins_reading()
                if not reads:
                    self._sleepers[number] = sleeper = threading.Lock()
                    sleeper.acquire()
            if reads:
                return self._read_for_all(number)
            sleeper.acquire()

    def _read_for_all(self, number: int) -> Frame:
        """Reads answers until the one to a call of this thread, and then lets another thread read."""
        try:
            return self._read_up_to(number)
        finally:
            self._end_reading()

    def _read_up_to(self, number: int) -> Frame:
        """Reads answers until the one to a call of this thread."""
        while True:
            frame = self._read_frame()
            if frame.id == number and frame.kind != Kind.SYNC:
                return frame
            self._hand_on(frame)

    def _hand_on(self, frame: Frame) -> None:
        """Gives an answer to the thread that waits for it, and a request to those who do it."""
        if frame.kind == Kind.SYNC:
            self._hand_on_request(frame)
            return
        with self._lock:
            self._answers[frame.id] = frame
            sleeper = self._sleepers.pop(frame.id, None)
        if sleeper is not None:
            sleeper.release()

    def _end_reading(self) -> None:
        """Lets another thread read."""
        while self._has_unread_frame():
            # Else nobody would look at it before there is more.
            self._hand_on(self._read_frame())
        with self._lock:
            self._is_reading = False
            next_one = self._sleepers.popitem()[1] if self._sleepers else None
            if next_one is None and self._arrivals is not None:
                self._arrivals.modify(self._connection, ONE_ARRIVAL)
        if next_one is not None:
            next_one.release()

    def _take_requests(self) -> None:
        """Reads whenever something arrives that no other thread reads."""
        arrivals = self._arrivals
        assert arrivals is not None
        guard.announce_thread()
        while True:
            arrivals.poll()
            with self._lock:
                reads = not self._is_reading
                # It has told of an arrival, and tells of no more by itself.
                self._is_reading = True
            if not reads:
                continue
            try:
                frame = self._read_frame()
                if frame.kind == Kind.SYNC:
                    self._run(frame)
                else:
                    self._hand_on(frame)
            except OSError:
                # The server is gone. Those who call find that out themselves.
                with self._lock:
                    self._is_reading, self._arrivals = False, None
                return
            self._end_reading()

    def _run(self, frame: Frame) -> None:
        """Runs an event in this thread, which goes on reading."""
        self._keeps_reading = threading.get_ident()
        try:
            self._run_request(frame)
        except BaseException:
            # As in a pool: this is a fault of the worker.
            traceback.print_exc(file=sys.stderr)
        finally:
            self._keeps_reading = None
        if os.getpid() != self._process:
            # A process that a script has forked, and that came back from the script: it has no other threads.
            os._exit(0)

    def _has_unread_frame(self) -> bool:
        data = self._unread
        return len(data) >= HEADER.size and len(data) >= HEADER.size + HEADER.unpack_from(data)[0]

    def _read_frame(self) -> Frame:
        data = self._unread
        while len(data) < HEADER.size:
            data += self._read()
        size, head_size, number, kind = HEADER.unpack_from(data)
        end = HEADER.size + size
        if len(data) < end:
            data = self._rest_of(data, end)
        self._unread = data[end:]
        # What follows the head is none of marshal's business.
        head = marshal.loads(data[HEADER.size : end])
        return Frame(kind, number, head, memoryview(data)[HEADER.size + head_size : end])

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
