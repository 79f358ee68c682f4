"""Gives scripts the names that RedisGears gives them: as globals, and in the module redisgears."""

from __future__ import annotations

import asyncio
import copy
import cProfile
import io
import pstats
import sys
import threading
import types
from typing import TYPE_CHECKING, Any, Dict, List, Optional

from . import arguments, builder, context, conversions, futures
from .channel import Atomic
from .errors import GearsError, GearsFlatError, GearsForceStopped
from .frames import Kind

if TYPE_CHECKING:
    from .worker import Worker

NO_COMMAND = "Can not get command ctx"
NO_HOOK = "Can not get CommandHook ctx"

LEVELS = ("debug", "verbose", "notice", "warning")


class GearsSession:
    """Makes a session the current one for a block: `with GearsSession(getGearsSession()):`."""

    def __init__(self, session: Optional[context.Context]) -> None:
        self._session = session
        self._before: Optional[context.Context] = None

    def __enter__(self) -> None:
        self._before = context.current()
        context.enter(self._session)

    def __exit__(self, kind: Any, error: Any, trace: Any) -> None:
        context.enter(self._before)


class Runtime:
    """Implements the functions that scripts call."""

    def __init__(self, worker: "Worker") -> None:
        self._worker = worker
        self._channel = worker.channel
        self._loop = worker.loop

    # Commands.

    def execute(self, *words: Any) -> Any:
        """Runs a command on this shard."""
        return self._channel.execute(command(words)) if words else []

    def execute_many(self, commands: Any) -> List[Any]:
        """Runs commands, each a list or tuple of words, in one round trip; an error stands in its reply's place."""
        return self._channel.execute_many([command(words) for words in commands])

    def atomic(self) -> Atomic:
        """Keeps all other clients out for a block: `with atomic():`."""
        return Atomic(self._channel)

    def is_in_atomic_block(self) -> bool:
        return self._channel.is_in_atomic_block()

    # The command that an event is about.

    def command(self) -> Any:
        """Returns the command whose client waits for this event, as a list."""
        _required_event(NO_COMMAND)
        return self._channel.command()

    def override_reply(self, *given: Any) -> None:
        """Gives that client another reply than its command's."""
        if len(given) != 1:
            raise GearsError("Override reply must get a single argument")
        _required_event(NO_COMMAND)
        self._channel.override_reply(conversions.reply(given[0], with_signs=True))

    def call_next(self, *words: Any) -> Any:
        """Runs the command that a hook stands before, or the next hook, with these arguments."""
        _required_event(NO_HOOK)
        return self._channel.call_next([conversions.argument(word) for word in words])

    # The server.

    def hashtag(self) -> str:
        """Returns a text that hashes to the first slot of this shard."""
        return self._channel.hashtag()

    def log(self, *given: Any, **named: Any) -> None:
        """Writes a line into the server's log: log(message, level='notice')."""
        names = dict(zip(("msg", "level"), given), **named)
        if not isinstance(names.get("msg"), str):
            raise GearsError("log function must get a log message as input")
        level = names.get("level", "notice")
        running = context.current()
        session = running.session.name if running is not None else ""
        self._worker.write(Kind.LOG, 0, (level if level in LEVELS else "notice", session, names["msg"]))

    def config_get(self, *given: Any) -> Optional[str]:
        """Returns a setting that RedisGears does not know itself, or None."""
        if len(given) != 1:
            raise GearsError("get_config function must get a single key input")
        if not isinstance(given[0], str):
            raise GearsError("get_config key must be a string")
        return self._channel.config_get(given[0])

    def gears_config_get(self, key: Any, default: Any = None) -> Any:
        value = self.config_get(key)
        return default if value is None else value

    def register_time_event(self, *given: Any) -> bool:
        """Calls a function every so many seconds: registerTE(period, function[, key])."""
        running = context.required("can not create time event on a python created thread")
        if len(given) not in (2, 3):
            raise GearsError("not enough arguments for time event")
        period_s, function = given[:2]
        if not isinstance(period_s, int):
            raise GearsError("time argument must be a long")
        if not arguments.is_function(function):
            raise GearsError("callback must be a function")
        key = str(given[2]) if len(given) == 3 and given[2] is not None else None
        return running.session.add_timer(period_s, function, key)

    # Sessions and threads.

    def get_session(self) -> Optional[context.Context]:
        return context.current()

    def set_session(self, session: Optional[context.Context]) -> None:
        context.enter(session)

    def register_thread(self, session: Optional[context.Context] = None) -> None:
        """Makes execute() and the rest legal in a thread that a script has started."""
        known = session or context.of_this_thread() or self._worker.sessions.only_context()
        if known is None:
            raise GearsError("it is not known to which session this thread belongs")
        context.enter(known)

    # Futures and coroutines.

    def is_async_allowed(self) -> bool:
        running = context.current()
        return running is not None and running.is_async_allowed

    def create_future(self) -> futures.GearsFuture:
        return self._loop.future()

    def set_future_results(self, future: Any, value: Any) -> None:
        self._loop.set_result(future, value)

    def set_future_exception(self, future: Any, error: Any) -> None:
        self._loop.set_exception(future, error if isinstance(error, BaseException) else Exception(error))

    def run_coroutine(self, cr: Any, f: Any = None, delay: float = 0, s: Any = None) -> None:
        """Runs a coroutine; continues a gearsFuture with what comes of it."""
        running = s or context.required()
        if f is None and is_of_event(running):
            # Nothing waits for it, so that it may well outlive the event.
            running = running.session.context

        def on_value(value: Any) -> None:
            if f is not None:
                f.continueRun(value)

        def on_error(error: Any) -> None:
            if f is not None:
                f.continueFailed(error)
            else:
                self._worker.write(Kind.LOG, 0, ("warning", running.session.name, "coroutine failed: %s" % (error,)))

        self._loop.run(cr, running, on_value, on_error, delay)


def _required_event(refusal: str) -> None:
    """Raises unless code of an event is running; whether a client waits for it the server knows."""
    running = context.current()
    if running is None or not is_of_event(running):
        raise GearsError(refusal)


def is_of_event(running: context.Context) -> bool:
    return running.execution is not None and running.execution.plan.waits_for_events


def command(words: Any) -> List[bytes]:
    """Returns a command as the server wants it."""
    if not words or not isinstance(words[0], str):
        raise GearsError("the given command must be a string")
    return [conversions.argument(word) for word in words]


def flat_error(*given: Any) -> None:
    """Raises an error whose text reaches the client as it is."""
    if len(given) != 1:
        raise GearsError("not enough arguments for time flat error")
    raise GearsFlatError(given[0])


def module(runtime: Runtime) -> types.ModuleType:
    """Returns the module redisgears."""
    made = types.ModuleType("redisgears", "Runs flows on the data of a Redis server.")
    names: Dict[str, Any] = {
        "executeCommand": runtime.execute,
        "executeCommands": runtime.execute_many,
        "atomicCtx": runtime.atomic,
        "getMyHashTag": runtime.hashtag,
        "registerTimeEvent": runtime.register_time_event,
        "callNext": runtime.call_next,
        "getCommand": runtime.command,
        "overrideReply": runtime.override_reply,
        "gearsCtx": builder.GearsContext,
        "PyFlatExecution": builder.GearsContext,
        "gearsFutureCtx": futures.StepFuture,
        "log": runtime.log,
        "setGearsSession": runtime.set_session,
        "getGearsSession": runtime.get_session,
        "registerGearsThread": runtime.register_thread,
        "isInAtomicBlock": runtime.is_in_atomic_block,
        "isAsyncAllow": runtime.is_async_allowed,
        "config_get": runtime.config_get,
        "flatError": flat_error,
        "GearsError": GearsError,
        "GearsForceStopped": GearsForceStopped,
        "GearsFlatError": GearsFlatError,
    }
    vars(made).update(names)
    return made


def names(runtime: Runtime, redisgears: types.ModuleType, loop: asyncio.AbstractEventLoop) -> Dict[str, Any]:
    """Returns the globals with which every session begins."""
    return {
        "GearsBuilder": builder.GearsBuilder,
        "GB": builder.GearsBuilder,
        "gearsCtx": builder.GearsContext,
        "execute": runtime.execute,
        "execute_many": runtime.execute_many,
        "atomic": runtime.atomic,
        "isInAtomicBlock": runtime.is_in_atomic_block,
        "hashtag": runtime.hashtag,
        "log": runtime.log,
        "Log": runtime.log,
        "configGet": runtime.config_get,
        "ConfigGet": runtime.config_get,
        "gearsConfigGet": runtime.gears_config_get,
        "GearsConfigGet": runtime.gears_config_get,
        "gearsFuture": futures.StepFuture,
        "GearsFuture": futures.GearsFuture,
        "GearsSession": GearsSession,
        "Future": asyncio.Future,
        "Thread": threading.Thread,
        "loop": loop,
        "createFuture": runtime.create_future,
        "setFutureResults": runtime.set_future_results,
        "setFutureException": runtime.set_future_exception,
        "runCoroutine": runtime.run_coroutine,
        "isAsyncAllow": runtime.is_async_allowed,
        "registerTE": runtime.register_time_event,
        "flat_error": flat_error,
        "GearsFlatError": GearsFlatError,
        "call_next": runtime.call_next,
        "get_command": runtime.command,
        "override_reply": runtime.override_reply,
        "setGearsSession": runtime.set_session,
        "getGearsSession": runtime.get_session,
        "registerGearsThread": runtime.register_thread,
        "redisgears": redisgears,
        "rg": redisgears,
        "copy": copy,
        "asyncio": asyncio,
        "io": io,
        "cProfile": cProfile,
        "pstats": pstats,
    }


def install(worker: "Worker") -> Dict[str, Any]:
    """Makes the module redisgears importable, gives __main__ the names that programs import from it, returns these."""
    runtime = Runtime(worker)
    redisgears = module(runtime)
    sys.modules["redisgears"] = redisgears
    preloaded = names(runtime, redisgears, worker.loop.loop)
    vars(sys.modules["__main__"]).update(preloaded)
    return preloaded
