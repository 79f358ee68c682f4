"""Answers the server's requests in one worker process.

The main thread reads the flow socket and hands each request to a thread of the pool, so that it is always there for the
next one: an abort arrives however long a script computes. No user code runs in the main thread, and nothing is written
there that could wait for the server.
"""

from __future__ import annotations

import faulthandler
import gc
import os
import resource
import select
import socket
import threading
from typing import Any, Callable, Dict, List, Optional, Tuple

from . import PROTOCOL_VERSION, context, guard, runtime
from .channel import Channel
from .errors import GearsError, GearsForceStopped, Refused, error_text
from .event_requests import EventRequests
from .execution import Execution
from .frames import Closed, Frame, FrameWriter, Kind, Reply, read_frame, strung_together
from .futures import EventLoop
from .pool import STACK_BYTES, Pool
from .process import resident, share_freed_memory, stacks, versions
from .readers import batch_of
from .session import Session
from .sessions import Sessions
from .settings import Settings
from .stage import Answer, Stage

# How often the collector looks for cycles. Batches make thousands of records that hold none.
COLLECTOR = (50_000, 20, 20)

# The longest that an abort waits for user code to leave, unless the server says otherwise.
PATIENCE_MS = 1000

LOOK_MS = 1000

# The requests that run code of a script, besides those to stages.
USER_CODE = frozenset({Kind.LOAD, Kind.INSTALL, Kind.OPEN, Kind.CLOSE, Kind.REGISTERED, Kind.FIRE})


class Worker:
    """Holds sessions and executions, and what they share."""

    def __init__(self, flow: socket.socket, call: socket.socket) -> None:
        self.settings = Settings()
        self.channel = Channel(call, lambda frame: self._syncs.submit(lambda: self._run_sync(frame)), self._run_sync)
        self.loop = EventLoop(self.channel.is_in_atomic_block, self.channel.leave_atomic_for)
        self.preloaded: Dict[str, Any] = {}
        self._flow = flow
        self._writer = FrameWriter(flow)
        self._pool = Pool()
        # What is no user code has threads of its own, so that it need not wait for user code.
        self._errands = Pool(4)
        self._aborts = Pool(16)
        # What the server's main thread waits for must not wait for those who wait for the server.
        self._syncs = Pool()
        self.lock = threading.Lock()
        self.sessions = Sessions(self)
        self.events = EventRequests(self, self._pool.submit)
        self._executions: Dict[int, Execution] = {}
        # The requests that wait for a future or coroutine.
        self._waiting: Dict[Stage, int] = {}
        self._started: Dict[int, Any] = {}
        self._last_started = 0
        self._profiling = threading.Lock()

    def prepare(self) -> None:
        """Does what comes before the first request."""
        context.remember_in_threads()
        self.preloaded = runtime.install(self)
        self.sessions.remember_surroundings()
        self.loop.start()

    # Frames.

    def handle(self, frame: Frame) -> None:
        """Hands a frame to whom it concerns; called by the main thread."""
        if frame.kind in (Kind.DONE, Kind.FAILED):
            self._errands.submit(lambda: self._finish_started(frame))
        elif frame.kind in (Kind.HELLO, Kind.SETTINGS):
            self.settings.change(frame.head)
            head = dict(versions(), protocol=PROTOCOL_VERSION, pid=os.getpid()) if frame.kind == Kind.HELLO else {}
            self._errands.submit(lambda: self.write(Kind.DONE, frame.id, head))
        elif frame.kind == Kind.ABORT:
            self._aborts.submit(lambda: self._answer(frame.id, lambda: self._abort(*frame.head)))
        elif frame.kind in (Kind.RUN, Kind.NEXT, Kind.END):
            self._pool.submit(lambda: self._run(frame))
        elif frame.kind == Kind.EVENTS:
            self._pool.submit(lambda: self.events.serve(frame))
        else:
            work = self._work_of(frame)
            pool = self._pool if frame.kind in USER_CODE else self._errands
            pool.submit(lambda: self._answer(frame.id, work))

    def _run_sync(self, frame: Frame) -> None:
        """Runs an event for which the server's main thread waits."""
        self.channel.while_awaited(lambda: self.events.serve_sync(frame))

    def write(self, kind: int, number: int, head: Any, sections: Any = ()) -> None:
        """Sends a frame to the server; does nothing if it is gone."""
        try:
            self._writer.write(kind, number, head, sections)
        except OSError:
            pass

    def _work_of(self, frame: Frame) -> Callable[[], Reply]:
        head = frame.head
        requests: Dict[int, Callable[[], Reply]] = {
            Kind.LOAD: lambda: self.sessions.load(head),
            Kind.INSTALL: lambda: self.sessions.install(head, bytes(frame.sections)),
            Kind.FORGET: lambda: self.sessions.forget(*head),
            Kind.OPEN: lambda: self._open(head),
            Kind.CLOSE: lambda: self._close(*head),
            Kind.STATS: self._stats,
            Kind.REGISTERED: lambda: self.sessions.registered(head),
            Kind.FIRE: lambda: self.sessions.fire(*head),
            Kind.DROP_TIMER: lambda: self.sessions.drop_timer(*head),
            Kind.PROFILE: lambda: self.sessions.profile(*head),
            Kind.STACKS: lambda: (stacks(), []),
        }
        if frame.kind not in requests:
            return lambda: _refuse("protocol", f"there is no request of kind {frame.kind}")
        return requests[frame.kind]

    def _answer(self, number: int, work: Callable[[], Reply]) -> None:
        kind = Kind.FAILED
        sections: List[bytes] = []
        try:
            head, sections = work()
            kind = Kind.DONE
        except BaseException as error:
            head = self.failure(error)
        # Only here: by now what the exception has held of the script is free.
        self.write(kind, number, head, sections)

    def failure(self, error: BaseException) -> Tuple[str, str]:
        """Returns code and text of a FAILED answer."""
        if isinstance(error, Refused):
            return error.code, str(error)
        return "error", error_text(error, self.settings.with_traceback)

    def _fail(self, number: int, code: str, text: str) -> None:
        self.write(Kind.FAILED, number, (code, text))

    # Flows that scripts start while they run.

    def start_flow(self, session: Session, key: str, running: context.Context) -> Any:
        """Asks the server to run a flow; returns the future of its results."""
        flow = session.described(key)
        future = self.loop.future()
        with guard.shielded:
            with self.lock:
                self._last_started += 1
                number = self._last_started
                self._started[number] = future
            self.write(Kind.START, number, {"context": running.number, "session": session.name, "flow": flow})
        return future

    def _finish_started(self, frame: Frame) -> None:
        with self.lock:
            future = self._started.pop(frame.id, None)
        if future is None:
            return
        if frame.kind == Kind.FAILED:
            self.loop.set_exception(future, GearsError(frame.head[1]))
            return
        count, errors = frame.head
        self.loop.set_result(future, (strung_together(count, frame.sections), errors))

    # Executions.

    def _open(self, head: Dict[str, Any]) -> Reply:
        session = self.sessions.known(head["session"])
        execution = Execution(session, session.plan(head["key"]), head)
        prepared = self.as_user(execution, execution.context, execution.prepare)
        with self.lock:
            self._executions[execution.number] = execution
        return prepared, []

    def _run(self, frame: Frame) -> None:
        """Serves RUN (execution, stage, batch...), NEXT and END (execution, stage)."""
        number, place = frame.head[0], frame.head[1]
        failure: Optional[Tuple[str, str]] = None
        try:
            execution = self._execution(number)
            if execution.is_aborted:
                raise Refused("aborted", "the execution was aborted")
            stage = execution.stage(place)
            if stage.waits_for() is not None:
                raise Refused("protocol", "the stage has not answered the request before")
            if frame.kind != Kind.NEXT and stage.has_more():
                raise Refused("protocol", "the stage has more to say of its last input")
            if frame.kind == Kind.RUN:
                stage.feed(batch_of(frame.head[2:], frame.sections))
            elif frame.kind == Kind.END:
                stage.end()
        except BaseException as error:
            failure = self.failure(error)
        if failure is not None:
            self._fail(frame.id, *failure)
        else:
            self._advance(frame.id, execution, stage)

    def _advance(self, request: int, execution: Execution, stage: Stage) -> None:
        """Lets a stage run, and answers; or sees to it that it goes on once what it waits for is there."""
        try:
            answer = self.as_user(execution, execution.context, stage.advance, is_in_step=True)
        except GearsForceStopped as error:
            answer = stage.stop_by_abort(error)
        except BaseException as error:
            self._fail(request, "error", error_text(error, self.settings.with_traceback))
            return
        if answer is not None:
            self._write_answer(request, answer._replace(aborted=answer.aborted or execution.is_aborted))
            return
        promise = stage.waits_for()
        assert promise is not None
        with self.lock:
            is_aborted = execution.is_aborted
            if not is_aborted:
                self._waiting[stage] = request
        if is_aborted:
            self._fail(request, "aborted", "the execution was aborted")
        else:
            promise.when_done(lambda: self._pool.submit(lambda: self._resume(execution, stage)))

    def _resume(self, execution: Execution, stage: Stage) -> None:
        with self.lock:
            request = self._waiting.pop(stage, None)
        if request is not None:
            self._advance(request, execution, stage)

    def _write_answer(self, request: int, answer: Answer) -> None:
        columns = answer.columns
        head = (
            columns.form,
            columns.size,
            answer.more,
            answer.enough,
            answer.waiting,
            answer.aborted,
            answer.errors,
            (len(columns.keys), len(columns.values)),
        )
        self.write(Kind.DONE, request, head, columns.sections())

    def _close(self, number: int, forgets_flow: bool = False) -> Reply:
        with self.lock:
            execution = self._executions.pop(number, None)
        if execution is None:
            raise Refused("unknown", f"there is no execution {number}")
        self._give_up_waiting(execution)
        self.loop.cancel(lambda running: running.execution is execution)
        # Generators that were not read to their end have blocks to leave, in which there may be commands.
        self.as_user(execution, execution.context, execution.dispose)
        if forgets_flow:
            execution.session.forget(execution.plan)
        return {"timing": execution.timing(), "read": execution.read_ns()}, []

    def _give_up_waiting(self, execution: Execution) -> int:
        """Answers the requests of an execution that wait for futures; returns their number."""
        with self.lock:
            execution.is_aborted = True
            stages = [stage for stage in self._waiting if stage.execution is execution]
            requests = [self._waiting.pop(stage) for stage in stages]
        for request in requests:
            self._fail(request, "aborted", "the execution was aborted")
        return len(requests)

    def _abort(self, number: int, patience_ms: int = PATIENCE_MS) -> Reply:
        """Ends the user code of an execution, or of a session outside of any; says whether it has left."""
        with self.lock:
            execution = self._executions.get(number)
            events = self.events.find(number)
        running = [target for target in (execution, events) if target is not None]
        targets: List[Any] = running or self.sessions.contexts(number)
        if not targets:
            raise Refused("unknown", f"there is no execution {number}")
        waited = self._give_up_waiting(execution) if execution is not None else 0
        if events is not None:
            waited += self.events.give_up(events)
        self.loop.cancel(lambda running: running.target in targets)
        has_left = [guard.abort(target, patience_ms / 1000) for target in targets]
        return {"left": all(has_left), "waited": waited}, []

    def _execution(self, number: int) -> Execution:
        with self.lock:
            execution = self._executions.get(number)
        if execution is None:
            raise Refused("unknown", f"there is no execution {number}")
        return execution

    # User code.

    def as_user(self, target: Any, running: context.Context, work: Callable[[], Any], is_in_step: bool = False) -> Any:
        """Runs user code on behalf of a context, so that it can be aborted."""
        mine = guard.activity()
        assert mine is not None, "user code runs in threads of the pool only"
        # Python has one profiler at a time; what runs beside it is not seen.
        is_profiled = self.settings.is_profiling and self._profiling.acquire(blocking=False)
        context.enter(running)
        try:
            try:
                mine.begin(target, is_in_step)
                return running.session.profiled(work) if is_profiled else work()
            finally:
                guard.leave(mine)
        finally:
            # An abort may come between the call that ends a block and the end of its text.
            guard.leave(mine)
            context.enter(None)
            if is_profiled:
                self._profiling.release()
            if self.channel.is_in_atomic_block():
                self.channel.leave_atomic_for(running.number)

    # What is known of the worker.

    def _stats(self) -> Reply:
        with self.lock:
            counts = {
                "sessions": len(self.sessions),
                "executions": len(self._executions),
                "waiting": len(self._waiting) + self.events.waiting(),
            }
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
        return dict(counts, rss=resident(), peak=peak, threads=threading.active_count()), []


def _refuse(code: str, text: str) -> Reply:
    raise Refused(code, text)


def serve(flow: socket.socket, call: socket.socket) -> int:
    """Runs a worker until the server closes the flow socket or ends."""
    faulthandler.enable()
    gc.set_threshold(*COLLECTOR)
    share_freed_memory()
    threading.stack_size(STACK_BYTES)
    worker = Worker(flow, call)
    worker.prepare()
    os.register_at_fork(after_in_child=lambda: _forget_sockets(flow, call))
    parent = os.getppid()
    poll = select.poll()
    poll.register(flow, select.POLLIN)
    try:
        while True:
            # The template's end is seen by the kernel; this is for systems where it is not.
            while not poll.poll(LOOK_MS):
                if os.getppid() != parent:
                    return 1
            worker.handle(read_frame(flow))
    except (Closed, OSError):
        return 0


def _forget_sockets(flow: socket.socket, call: socket.socket) -> None:
    """Closes the sockets in a process that a script has forked, so that only the worker holds them."""
    for connection in (flow, call):
        os.close(connection.detach())
