"""Plays the server for the tests: a template, workers, the frames of PROTOCOL.md, and a few commands on a dict."""

from __future__ import annotations

import marshal
import os
import socket
import struct
import subprocess
import sys
import threading
from typing import Any, Callable, Dict, List, NamedTuple, Optional, Sequence, Tuple

from rmr_worker.frames import Closed, Frame, FrameWriter, Kind, dumps, encode, read_frame
from rmr_worker.sinks import split_column

HERE = os.path.dirname(os.path.abspath(__file__))
PROGRAM = os.path.dirname(HERE)

WAIT_S = 20


class Failed(Exception):
    """Is what a FAILED answer says."""

    def __init__(self, code: str, text: str) -> None:
        super().__init__(text)
        self.code = code


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


class Result(NamedTuple):
    """Is what a client would get: results and errors."""

    results: List[Any]
    errors: List[str]


class Database:
    """Answers commands from a dict, as far as the tests need them."""

    def __init__(self) -> None:
        self.data: Dict[str, Any] = {}
        self.config: Dict[str, str] = {}
        self.log: List[Tuple[str, str, str]] = []
        self.calls: List[Tuple[int, List[bytes]]] = []
        self.events: List[str] = []
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
        self._call = call
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
                raise AssertionError("no answer within {} s".format(WAIT_S))
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
                frame = read_frame(self._call)
                try:
                    value = self._answer_call(frame)
                    self._call.sendall(encode(Kind.DONE, frame.id, (value, True)))
                except Failed as failed:
                    self._call.sendall(encode(Kind.FAILED, frame.id, (failed.code, str(failed))))
        except (Closed, OSError):
            pass

    def _answer_call(self, frame: Frame) -> Any:
        database = self.database
        if frame.kind == Kind.EXECUTE:
            database.calls.append(frame.head)
            database.events.append(frame.head[1][0].decode())
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


def bulk(entry: bytes) -> bytes:
    return b"$%d\r\n%b\r\n" % (len(entry), entry)


class Template:
    """Is the server's end of a template process."""

    def __init__(self, *words: str, interpreter: str = sys.executable) -> None:
        self.control, theirs = socket.socketpair()
        self.process = subprocess.Popen(
            [interpreter, "-B", PROGRAM, "server={}".format(os.getpid()), *words], stdin=theirs
        )
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
        self.control.shutdown(socket.SHUT_RDWR)
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


# Batches as the server writes them.


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


def records_batch(entries: List[bytes]) -> Tuple[Tuple[Any, ...], List[bytes]]:
    section = b"".join(entries)
    return ("records", len(entries), False, (len(section),)), [section]


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


class Cluster:
    """Runs flows as the server does: stage by stage, records between shards, results at the first."""

    def __init__(self, workers: List[Worker]) -> None:
        self.workers = workers
        self._execution = 100
        for number, worker in enumerate(workers):
            shard = "1" if len(workers) == 1 else "shard-{}".format(number)
            worker.hello(shard=shard, cluster=len(workers) > 1)

    def run(self, script: str, data: Sequence[Dict[str, Tuple[str, Any]]] = ({},), size: int = 1000) -> Result:
        """Loads a script on the first shard and runs its flow on all, each with its own keys."""
        loaded = self.workers[0].load(script)
        key = loaded["run"]
        flow = next(flow for flow in loaded["flows"] if flow["key"] == key)
        for worker in self.workers[1:]:
            worker.ask(Kind.INSTALL, {"session": "s", "context": 1, "key": key}, [flow["blob"]])
        return self.execute(key, data, size)

    def execute(self, key: str, data: Sequence[Dict[str, Tuple[str, Any]]] = ({},), size: int = 1000) -> Result:
        self._execution += 1
        number = self._execution
        opened = [worker.open(key, number) for worker in self.workers]
        stages = opened[0]["stages"]
        errors: List[str] = []
        inputs: List[List[bytes]] = [[] for _ in self.workers]
        active = list(range(len(self.workers)))
        outputs: List[List[Output]] = []
        for place, stage in enumerate(stages):
            outputs = [[] for _ in self.workers]
            for shard in active:
                worker = self.workers[shard]
                batches = (
                    self._reader_batches(opened[shard]["reader"], data[shard], size) if place == 0
                    else [records_batch(inputs[shard])] if inputs[shard] else []
                )
                for head, sections in batches:
                    outputs[shard].append(worker.run_stage(Kind.RUN, (number, place, *head), sections))
                    if outputs[shard][-1].enough:
                        break
                outputs[shard].append(worker.run_stage(Kind.END, (number, place)))
            for found in outputs:
                for output in found:
                    errors += output.errors
            inputs = [[] for _ in self.workers]
            if stage["then"] == "repartition":
                for found in outputs:
                    for output in found:
                        for record_key, entry in zip(output.keys, output.entries):
                            inputs[hash_slot(record_key) * len(self.workers) // 16384].append(entry)
            else:
                inputs[0] = [entry for found in outputs for output in found for entry in output.entries]
                if stage["then"] == "stay":
                    inputs[0] = [entry for output in outputs[0] for entry in output.entries]
                active = [0]
        for worker in self.workers:
            worker.ask(Kind.CLOSE, (number,))
        return Result([parsed(entry) for entry in inputs[0]], errors)

    def _reader_batches(self, reader: Dict[str, Any], keys: Dict[str, Tuple[str, Any]], size: int) -> List[Any]:
        if reader["kind"] == "own":
            return []
        names = list(keys)
        pages = [names[start : start + size] for start in range(0, len(names), size)]
        if reader["needs"] == "count":
            return [(("count", len(page), False, ()), []) for page in pages]
        if reader["kind"] == "names" or not reader["with_values"]:
            return [names_batch(page) for page in pages]
        return [keys_batch({name: keys[name] for name in page}) for page in pages]


def hash_slot(key: bytes) -> int:
    import binascii

    start = key.find(b"{")
    if start >= 0:
        end = key.find(b"}", start + 1)
        if end > start + 1:
            key = key[start + 1 : end]
    return binascii.crc_hqx(key, 0) % 16384


def strings(**keys: str) -> Dict[str, Tuple[str, Any]]:
    return {name: ("s", value) for name, value in keys.items()}
