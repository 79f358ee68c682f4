"""Lets records wait: for a future that anything in the session continues, or for a coroutine.

A step that returns one of these gets a Promise in the record's place. Coroutines run on one asyncio loop in a thread of
its own; between two awaits they are user code like any other, which can be aborted and may not await inside atomic().
"""

from __future__ import annotations

import asyncio
import threading
import types
import weakref
from typing import Any, Callable, FrozenSet, Generator, List, Optional, Set, Tuple

from . import context, guard
from .errors import GearsError, GearsForceStopped

NOT_IN_A_STEP = "Future object can only be created inside certain execution steps"
NOT_ALLOWED = "Creating async record is not allowed"
TWICE_ON_A_STEP = "Can not create async record twice on the same step"
NOT_RETURNED = "Can not handle future untill it returned from the callback"
CONTINUED_TWICE = "Can not continue with the same future twice"
NO_OBJECT = "Continue function expect an object"
NEVER_CONTINUED = "Async record did not called continue"
NOT_IN_THIS_STEP = "Step does not support async"
AWAIT_IN_ATOMIC = "await is not allow inside atomic block"


class Promise:
    """Holds what a record is waiting for: a value, or the text of an error."""

    __slots__ = ("is_done", "value", "error", "_lock", "_waiter")

    def __init__(self) -> None:
        self.is_done = False
        self.value: Any = None
        self.error: Optional[str] = None
        self._lock = threading.Lock()
        self._waiter: Optional[Callable[[], None]] = None

    @classmethod
    def kept(cls, value: Any) -> "Promise":
        """Returns a promise that is done already."""
        promise = cls()
        promise.value = value
        promise.is_done = True
        return promise

    @classmethod
    def broken(cls, error: str) -> "Promise":
        """Returns a promise that has failed already."""
        promise = cls()
        promise.error = error
        promise.is_done = True
        return promise

    def resolve(self, value: Any) -> bool:
        """Gives the value; returns False if the promise was done before."""
        return self._finish(value, None)

    def reject(self, error: str) -> bool:
        return self._finish(None, error)

    def when_done(self, waiter: Callable[[], None]) -> None:
        """Calls this once the promise is done, in whatever thread that happens; at once if it is."""
        with self._lock:
            if not self.is_done:
                self._waiter = waiter
                return
        waiter()

    def _finish(self, value: Any, error: Optional[str]) -> bool:
        with self._lock:
            if self.is_done:
                return False
            self.value, self.error = value, error
            self.is_done = True
            waiter, self._waiter = self._waiter, None
        if waiter is not None:
            waiter()
        return True


class StepFuture:
    """Is what gearsFuture() returns: a step returns it, and any code of the session continues it later."""

    def __init__(self) -> None:
        running = context.required(NOT_IN_A_STEP)
        mine = guard.activity()
        if mine is None or not mine.is_in_step:
            raise GearsError(NOT_IN_A_STEP)
        if not running.is_async_allowed:
            raise GearsError(NOT_ALLOWED)
        if mine.future is not None and mine.future() is not None:
            raise GearsError(TWICE_ON_A_STEP)
        self._promise = Promise()
        self._is_returned = False
        self._maker = mine
        mine.future = weakref.ref(self)

    def continueRun(self, *value: Any) -> None:
        """Lets the record go on as this value."""
        if len(value) != 1:
            raise GearsError(NO_OBJECT)
        with guard.shielded:
            self._check()
            if not self._promise.resolve(value[0]):
                raise GearsError(CONTINUED_TWICE)

    def continueFailed(self, *error: Any) -> None:
        """Turns the record into an error."""
        if len(error) != 1:
            raise GearsError(NO_OBJECT)
        with guard.shielded:
            self._check()
            if not self._promise.reject(str(error[0])):
                raise GearsError(CONTINUED_TWICE)

    def taken(self) -> Promise:
        """Returns the promise to the step that got this future from its function."""
        self._is_returned = True
        self._maker.future = None
        return self._promise

    def _check(self) -> None:
        # Another thread may be quicker than the step that returns the future; the step's own thread may not be.
        if not self._is_returned and guard.activity() is self._maker:
            raise GearsError(NOT_RETURNED)

    def __del__(self) -> None:
        promise = getattr(self, "_promise", None)
        if promise is not None:
            promise.reject(NEVER_CONTINUED)


class GearsFuture(asyncio.Future):  # type: ignore[type-arg]
    """Is what can be awaited in coroutines of a session: results of a run(), or whatever a script sets."""


class EventLoop:
    """Runs the coroutines of all sessions in one thread."""

    def __init__(self, is_in_atomic_block: Callable[[], bool], leave_atomic: Callable[[int], None]) -> None:
        self.loop = asyncio.new_event_loop()
        self.loop.set_task_factory(self._task_of)
        self._is_in_atomic_block = is_in_atomic_block
        self._leave_atomic = leave_atomic
        self._tasks: "Set[asyncio.Task[Any]]" = set()

    def start(self) -> None:
        threading.Thread(target=self._run, daemon=True, name="rmr loop").start()

    def _run(self) -> None:
        guard.announce_thread()
        asyncio.set_event_loop(self.loop)
        self.loop.run_forever()

    def future(self) -> GearsFuture:
        return GearsFuture(loop=self.loop)

    def set_result(self, future: Any, value: Any) -> None:
        """Resolves an asyncio future from any thread."""
        self.loop.call_soon_threadsafe(lambda: None if future.done() else future.set_result(value))

    def set_exception(self, future: Any, error: BaseException) -> None:
        self.loop.call_soon_threadsafe(lambda: None if future.done() else future.set_exception(error))

    def run(
        self,
        coroutine: Any,
        running: context.Context,
        on_value: Callable[[Any], Any],
        on_error: Callable[[Any], Any],
        delay_s: float = 0,
    ) -> None:
        """Runs a coroutine to its end on behalf of a context, and says what came of it.

        One that the top level of a script or an onRegistered function starts outlives it, and belongs to the session.
        """
        if running.execution is None:
            running = running.session.context
        with guard.shielded:
            self.loop.call_soon_threadsafe(self._begin, coroutine, running, on_value, on_error, delay_s)

    def _begin(
        self,
        coroutine: Any,
        running: context.Context,
        on_value: Callable[[Any], Any],
        on_error: Callable[[Any], Any],
        delay_s: float,
    ) -> None:
        async def to_the_end() -> None:
            try:
                if delay_s:
                    await asyncio.sleep(delay_s)
                value = await coroutine
            except asyncio.CancelledError:
                on_error("the execution was aborted")
                raise
            except BaseException as error:
                on_error(error)
            else:
                on_value(value)

        context.enter(running)
        self.loop.create_task(to_the_end())

    def tasks_of(self, session: Any) -> int:
        """Counts the coroutines of a session that are not done."""
        return len([task for task in self._copied_tasks() if context_of(task).session is session])

    def cancel(self, matches: Callable[[context.Context], bool]) -> None:
        """Cancels the coroutines that run on behalf of some contexts."""
        for task in self._copied_tasks():
            if matches(context_of(task)):
                self.loop.call_soon_threadsafe(task.cancel)

    def _copied_tasks(self) -> "List[asyncio.Task[Any]]":
        while True:
            try:
                return list(self._tasks)
            except RuntimeError:  # the loop's thread has changed the set meanwhile
                continue

    def _task_of(self, loop: asyncio.AbstractEventLoop, coroutine: Any, **more: Any) -> "asyncio.Task[Any]":
        """Makes a task of a coroutine; one of a session's, wherever it was started, is known and watched."""
        running = context.current()
        if running is None:
            return asyncio.Task(coroutine, loop=loop, **more)

        async def watched() -> Any:
            return await self._watched(coroutine, running)

        task = asyncio.Task(watched(), loop=loop, **more)
        task.rmr_context = running  # type: ignore[attr-defined]
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    @types.coroutine
    def _watched(self, coroutine: Any, running: context.Context) -> Generator[Any, Any, Any]:
        """Runs a coroutine piece by piece, so that each piece can be aborted and none awaits inside atomic()."""
        mine = guard.activity()
        assert mine is not None
        value: Any = None
        error: Optional[BaseException] = None
        while True:
            has_ended, result = self._piece(mine, running, coroutine, value, error)
            if has_ended:
                return result
            value, error = None, None
            if self._is_in_atomic_block():
                error = Exception(AWAIT_IN_ATOMIC)
                if result is not None:
                    result._asyncio_future_blocking = False
                continue
            try:
                value = yield result
            except BaseException as raised:
                error = raised

    def _piece(
        self,
        mine: guard.Activity,
        running: context.Context,
        coroutine: Any,
        value: Any,
        error: Optional[BaseException],
    ) -> Tuple[bool, Any]:
        """Runs a coroutine to its next await; returns whether that was its end, and what it gives."""
        goes_on = False
        try:
            try:
                mine.begin(running.target)
                waits_for = coroutine.send(value) if error is None else coroutine.throw(error)
                goes_on = True
                return False, waits_for
            except StopIteration as end:
                return True, end.value
            finally:
                guard.leave(mine)
        except GearsForceStopped:
            raise GearsError("the execution was aborted") from None
        finally:
            # An abort may come between the call that ends a block and the end of its text.
            guard.leave(mine)
            if not goes_on and self._is_in_atomic_block():
                self._leave_atomic(running.number)


# What a step may return in place of a value.
WAITABLE: FrozenSet[Any] = frozenset({types.CoroutineType, StepFuture, GearsFuture, asyncio.Future, asyncio.Task})


def context_of(task: "asyncio.Task[Any]") -> context.Context:
    running: context.Context = task.rmr_context  # type: ignore[attr-defined]
    return running


def promise_of(value: Any, running: context.Context, loop: EventLoop) -> Promise:
    """Returns the promise of a future or coroutine that a step has returned."""
    if isinstance(value, StepFuture):
        return value.taken()
    promise = Promise()

    def on_error(error: Any) -> None:
        promise.reject(str(error))

    if isinstance(value, asyncio.Future):
        awaited = value

        def when_done(_: Any) -> None:
            if awaited.cancelled():
                on_error("the future was cancelled")
            elif awaited.exception() is not None:
                on_error(awaited.exception())
            else:
                promise.resolve(awaited.result())

        loop.loop.call_soon_threadsafe(awaited.add_done_callback, when_done)
        return promise
    loop.run(value, running, promise.resolve, on_error)
    return promise
