"""Plays the server for the tests: a template, workers, the frames of PROTOCOL.md, and a few commands on a dict."""

from __future__ import annotations

import os
import select
import socket
import struct
import subprocess
import sys
import threading
from typing import Any, Callable, Dict, List, NamedTuple, Optional, Sequence, Tuple

from rmr_worker import launcher
from rmr_worker.frames import Closed, Frame, FrameWriter, Kind, dumps, encode, read_frame
from rmr_worker.sinks import split_column

from .batches import Failed, bulk, list_events, parsed

HERE = os.path.dirname(os.path.abspath(__file__))
PROGRAM = os.path.dirname(HERE)

WAIT_S = 20

# As whom workers run where the tests are root: an interpreter in root's own folder can run as root only.
USER = "nobody" if launcher.can_use_library("nobody") else ""


class Output(NamedTuple):
    """Is what came of a request to a stage, of all its answers together."""

    entries: List[bytes]
    keys: List[bytes]
    form: str
    errors: List[str]
    enough: bool
    waiting: int
    aborted: bool
    answers: int


class Database:
    """Answers commands from a dict, as far as the tests need them."""

    def __init__(self) -> None:
        self.data: Dict[str, Any] = {}
        self.config: Dict[str, str] = {}
        self.timers: List[Any] = []
        self.log: List[Tuple[str, str, str]] = []
        self.calls: List[Tuple[int, List[bytes]]] = []
        self.events: List[str] = []
        self.builders = 0
        # Events for which clients wait, by the number of the execution: their commands, and replies in their place.
        self.linked: Dict[int, List[Any]] = {}
        self.overridden: Dict[int, bytes] = {}
        self.executions = 10_000
        self.commands: Dict[str, Callable[..., Any]] = {
            "GET": lambda key: self.data.get(key),
            "SET": self._set,
            "INCR": self._incr,
            "PING": lambda: "PONG",
            "ECHO": lambda text: text,
            "RAW": lambda: b"\xff\xfe",
            "NUMBERS": lambda: [1, "a", None, b"\xff", [2]],
            "XREAD": self._xread,
        }

    def run(self, words: List[bytes]) -> Any:
        name = words[0].decode().upper()
        if name not in self.commands:
            raise Failed("error", "No such file or directory")
        try:
            return self.commands[name](*(word.decode() for word in words[1:]))
        except TypeError:
            raise Failed("error", "Invalid argument") from None

    def _set(self, key: str, value: str) -> str:
        self.data[key] = value
        return "OK"

    def _incr(self, key: str) -> int:
        self.data[key] = str(int(self.data.get(key) or 0) + 1)
        return int(self.data[key])

    def _xread(self, count: str, size: str, streams: str, key: str, after: str) -> Any:
        found = [message for message in self.data.get(key, []) if message[0] > after][: int(size)]
        return [[key, found]] if found else None


class Worker:
    """Is the server's end of one worker."""

    def __init__(self, flow: socket.socket, call: socket.socket, output: int, pid: int, database: Database) -> None:
        self.pid = pid
        self.database = database
        self.flow = flow
        self.output: List[str] = []
        self.started: List[Any] = []
        # What EVENT_ENDED has said: (execution, index) -> (results, errors)
        self.ended: Dict[Tuple[int, int], Tuple[List[bytes], List[str]]] = {}
        self._call = call
        self._synced: Dict[int, Frame] = {}
        # The flows that the command TRIGGER runs, by name.
        self.triggers: Dict[str, str] = {}
        self._writer = FrameWriter(flow)
        self._last = 0
        self._answers: Dict[int, Frame] = {}
        self._changed = threading.Condition()
        self._is_gone = False
        for target in (self._read_flow, self._read_call, lambda: self._read_output(output)):
            threading.Thread(target=target, daemon=True).start()

    # Requests.

    def ask(self, kind: int, head: Any, sections: Sequence[Any] = ()) -> Frame:
        return self.wait(self.send(kind, head, sections))

    def send(self, kind: int, head: Any, sections: Sequence[Any] = ()) -> int:
        with self._changed:
            self._last += 1
            number = self._last
        try:
            self._writer.write(kind, number, head, sections)
        except OSError:
            pass
        return number

    def wait(self, number: int) -> Frame:
        with self._changed:
            if not self._changed.wait_for(lambda: number in self._answers or self._is_gone, WAIT_S):
                raise AssertionError(f"no answer within {WAIT_S} s")
            if number not in self._answers:
                raise Closed
            frame = self._answers.pop(number)
        if frame.kind == Kind.FAILED:
            raise Failed(*frame.head)
        return frame

    def has_answered(self, number: int) -> bool:
        with self._changed:
            return number in self._answers

    def await_end(self) -> None:
        with self._changed:
            assert self._changed.wait_for(lambda: self._is_gone, WAIT_S)

    def close(self) -> None:
        for connection in (self.flow, self._call):
            try:
                connection.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass
            connection.close()

    # What a session needs.

    def hello(self, **settings: Any) -> Dict[str, Any]:
        head: Dict[str, Any] = self.ask(Kind.HELLO, settings).head
        return head

    def load(self, script: str, session: str = "s", context: int = 1, **more: Any) -> Dict[str, Any]:
        head = dict(more, session=session, context=context, script=script)
        loaded: Dict[str, Any] = self.ask(Kind.LOAD, head).head
        return loaded

    def open(self, key: str, execution: int, session: str = "s", **more: Any) -> Dict[str, Any]:
        opened: Dict[str, Any] = self.ask(Kind.OPEN, dict(more, session=session, key=key, execution=execution)).head
        return opened

    def run_stage(self, kind: int, head: Tuple[Any, ...], sections: Sequence[Any] = ()) -> Output:
        """Sends a RUN or END and takes all of its answers."""
        return self.take(self.send(kind, head, sections), head[:2])

    def take(self, number: int, place: Tuple[Any, ...]) -> Output:
        entries: List[bytes] = []
        keys: List[bytes] = []
        errors: List[str] = []
        answers = 0
        forms = set()
        while True:
            frame = self.wait(number)
            answers += 1
            form, count, more, enough, waiting, aborted, new_errors, (key_size, value_size) = frame.head
            errors += new_errors
            if key_size:
                keys += split_column(frame.sections[:key_size], count)
            new = split_column(frame.sections[key_size : key_size + value_size], count)
            entries += [bulk(entry) for entry in new] if form == "bulk" else new
            forms.add("replies" if form == "bulk" else form)
            if not more:
                break
            number = self.send(Kind.NEXT, place)
        return Output(entries, keys, forms.pop(), errors, enough, waiting, aborted, answers)

    # Events.

    def run_events(self, batch: Any, key: str, execution: int, **more: Any) -> List[Any]:
        """Runs events of a registration; returns (results, errors) of each that was begun, None of one that waits."""
        return self.take_events(self.send_events(batch, key, execution, **more))

    def send_events(self, batch: Any, key: str, execution: int, **more: Any) -> int:
        return self.send(Kind.EVENTS, events_head(batch, key, execution, **more), batch[1])

    def take_events(self, number: int) -> List[Any]:
        return taken_events(self.wait(number))

    def await_event(self, execution: int, index: int) -> Tuple[List[bytes], List[str]]:
        """Returns what has come of an event that waited."""
        with self._changed:
            assert self._changed.wait_for(lambda: (execution, index) in self.ended, WAIT_S)
            return self.ended.pop((execution, index))

    # What the worker asks.

    def _read_flow(self) -> None:
        try:
            while True:
                frame = read_frame(self.flow)
                if frame.kind == Kind.LOG:
                    self.database.log.append(frame.head)
                    continue
                with self._changed:
                    if frame.kind == Kind.START:
                        self.started.append(frame)
                    elif frame.kind == Kind.EVENT_ENDED:
                        execution, index, count, errors = frame.head
                        self.ended[execution, index] = split_column(frame.sections, count), errors
                    else:
                        self._answers[frame.id] = frame
                    self._changed.notify_all()
        except (Closed, OSError):
            with self._changed:
                self._is_gone = True
                self._changed.notify_all()

    def await_start(self) -> Frame:
        with self._changed:
            assert self._changed.wait_for(lambda: self.started, WAIT_S)
            frame: Frame = self.started.pop(0)
        return frame

    def answer_start(self, number: int, records: List[Any], errors: List[str]) -> None:
        values = b"".join(dumps(record) for record in records)
        self._writer.write(Kind.DONE, number, (len(records), errors), [values])

    def fail_start(self, number: int, text: str) -> None:
        self._writer.write(Kind.FAILED, number, ("error", text))

    def _read_call(self) -> None:
        try:
            while True:
                self._serve_call(read_frame(self._call))
        except (Closed, OSError):
            pass

    def _serve_call(self, frame: Frame) -> None:
        if frame.kind == Kind.SYNC_DONE:
            with self._changed:
                self._synced[frame.id] = frame
                self._changed.notify_all()
            return
        try:
            value = self._answer_call(frame)
            self._call.sendall(encode(Kind.DONE, frame.id, (value, True)))
        except Failed as failed:
            self._call.sendall(encode(Kind.FAILED, frame.id, (failed.code, str(failed))))

    def run_sync(self, batch: Any, key: str, execution: int, **more: Any) -> Any:
        """Runs an event as the server's main thread does where it serves a client of its own."""
        number = self._send_sync(batch, key, execution, **more)
        with self._changed:
            assert self._changed.wait_for(lambda: number in self._synced, WAIT_S)
        return self._take_sync(number)

    def _run_sync_within(self, name: str, word: str) -> Any:
        """Runs an event while a command of the worker waits for it, and serves the calls of it all."""
        self.database.executions += 1
        execution = self.database.executions
        key, batch = self.triggers[name], list_events([[[name, word]]])
        number = self._send_sync(batch, key, execution)
        while number not in self._synced:
            self._serve_call(read_frame(self._call))
        results, errors = self._take_sync(number)
        if errors:
            raise Failed("error", errors[0])
        return parsed(results[0])

    def _send_sync(self, batch: Any, key: str, execution: int, **more: Any) -> int:
        with self._changed:
            self._last += 1
            number = self._last
        self._call.sendall(encode(Kind.SYNC, number, events_head(batch, key, execution, **more), batch[1]))
        return number

    def _take_sync(self, number: int) -> Any:
        frame = self._synced.pop(number)
        outcome, failure = frame.head
        if failure is not None:
            raise Failed(*failure)
        if outcome is None:
            return None
        return split_column(frame.sections, outcome[0]), outcome[1]

    def _set_off(self, timer: str) -> str:
        """Runs a function of the worker while a command of the same worker waits, and serves its calls."""
        number = self.send(Kind.FIRE, ("s", timer))
        while not self.has_answered(number):
            if select.select([self._call], [], [], 0.005)[0]:
                self._serve_call(read_frame(self._call))
        self.wait(number)
        return "done"

    def _answer_call(self, frame: Frame) -> Any:
        database = self.database
        if frame.kind == Kind.EXECUTE:
            database.calls.append(frame.head)
            database.events.append(frame.head[1][0].decode())
            if frame.head[1][0] == b"SETOFF":
                return self._set_off(frame.head[1][1].decode())
            if frame.head[1][0] == b"TRIGGER":
                return self._run_sync_within(*(word.decode() for word in frame.head[1][1:]))
            return database.run(frame.head[1])
        if frame.kind == Kind.EXECUTE_MANY:
            return [self._one_of_many(words) for words in frame.head[1]]
        if frame.kind == Kind.ENTER_ATOMIC:
            database.events.append("enter")
            return None
        if frame.kind == Kind.LEAVE_ATOMIC:
            database.events.append("leave")
            return None
        if frame.kind == Kind.CONFIG_GET:
            return database.config.get(frame.head[1])
        if frame.kind == Kind.HASHTAG:
            return "06S"
        if frame.kind == Kind.ADD_TIMER:
            key = frame.head[4]
            if key is not None and key in database.data:
                return False
            database.data[key] = "timer"
            database.timers.append(frame.head)
            return True
        if frame.kind == Kind.PLAN_ID:
            database.builders += frame.head[1]
            return f"0-{database.builders}"
        if frame.kind == Kind.GET_COMMAND:
            if frame.head[0] not in database.linked:
                raise Failed("error", "Can not get command ctx")
            return database.linked[frame.head[0]]
        if frame.kind == Kind.OVERRIDE_REPLY:
            if frame.head[0] in database.overridden:
                raise Failed("error", "Can only override reply once")
            database.overridden[frame.head[0]] = frame.head[1]
            return None
        if frame.kind == Kind.CALL_NEXT:
            if frame.head[0] not in database.linked:
                raise Failed("error", "Can not get CommandHook ctx")
            return database.run([database.linked[frame.head[0]][0].encode(), *frame.head[1]])
        raise Failed("protocol", "unknown call")

    def _one_of_many(self, words: List[bytes]) -> List[Any]:
        try:
            return [True, self.database.run(words)]
        except Failed as failed:
            return [False, str(failed)]

    def _read_output(self, output: int) -> None:
        with os.fdopen(output, errors="replace") as lines:
            for line in lines:
                self.output.append(line.rstrip("\n"))


def events_head(
    batch: Any, key: str, execution: int, session: str = "s", results: str = "replies", is_async: bool = True
) -> Dict[str, Any]:
    """Returns the head of a request to run events."""
    shape, count, has_bytes, sizes = batch[0]
    head = {"execution": execution, "session": session, "key": key, "results": results, "async": is_async}
    return dict(head, shape=shape, count=count, has_bytes=has_bytes, sizes=sizes)


def taken_events(frame: Frame) -> List[Any]:
    outcomes, has_waiting = frame.head
    assert has_waiting == (None in outcomes), frame.head
    entries = split_column(frame.sections, sum(outcome[0] for outcome in outcomes if outcome is not None))
    taken: List[Any] = []
    for outcome in outcomes:
        if outcome is None:
            taken.append(None)
        else:
            taken.append((entries[: outcome[0]], outcome[1]))
            del entries[: outcome[0]]
    assert not entries
    return taken


class Template:
    """Is the server's end of a template process."""

    def __init__(self, *words: str, program: str = PROGRAM) -> None:
        self.control, theirs = socket.socketpair()
        given = [sys.executable, "-B", program, f"server={os.getpid()}", f"user={USER}", *words]
        self.process = subprocess.Popen(given, stdin=theirs.fileno())
        theirs.close()
        self.exits: Dict[int, Any] = {}
        self._answers: Dict[int, Frame] = {}
        self._last = 0
        self._changed = threading.Condition()
        self.hello = read_frame(self.control)
        self._workers: List[Worker] = []
        threading.Thread(target=self._read, daemon=True).start()

    def fork(self, database: Optional[Database] = None) -> Worker:
        flow, their_flow = socket.socketpair()
        call, their_call = socket.socketpair()
        output, their_output = os.pipe()
        files = [their_flow.fileno(), their_call.fileno(), their_output]
        self._last += 1
        rights = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, struct.pack("3i", *files))]
        self.control.sendmsg([encode(Kind.FORK, self._last, ())], rights)
        frame = self._wait(self._last)
        for end in (their_flow, their_call):
            end.close()
        os.close(their_output)
        worker = Worker(flow, call, output, frame.head[0], database or Database())
        self._workers.append(worker)
        return worker

    def kill(self, pid: int) -> None:
        self._last += 1
        self.control.sendall(encode(Kind.KILL, self._last, (pid,)))
        self._wait(self._last)

    def exit_of(self, worker: Worker) -> Dict[str, Any]:
        with self._changed:
            assert self._changed.wait_for(lambda: worker.pid in self.exits, WAIT_S)
            end: Dict[str, Any] = self.exits[worker.pid]
        return end

    def close(self) -> None:
        for worker in self._workers:
            worker.close()
        # Another thread reads from it, which a mere close would not end.
        try:
            self.control.shutdown(socket.SHUT_RDWR)
        except OSError:  # the template has ended
            pass
        self.control.close()
        self.process.wait(WAIT_S)

    def _wait(self, number: int) -> Frame:
        with self._changed:
            assert self._changed.wait_for(lambda: number in self._answers, WAIT_S)
            frame = self._answers.pop(number)
        if frame.kind == Kind.FAILED:
            raise Failed(*frame.head)
        return frame

    def _read(self) -> None:
        try:
            while True:
                frame = read_frame(self.control)
                with self._changed:
                    if frame.kind == Kind.EXITED:
                        self.exits[frame.head["pid"]] = frame.head
                    else:
                        self._answers[frame.id] = frame
                    self._changed.notify_all()
        except (Closed, OSError):
            pass
