"""Keeps what one script has made on this shard: its globals, its flows, its threads.

On the shard where the script ran the globals are the script's own. Elsewhere a session begins with what every script
finds there, and gets the rest along with the functions that need it.
"""

from __future__ import annotations

import cProfile
import inspect
import io
import linecache
import os
import pstats
import threading
import weakref
from typing import TYPE_CHECKING, Any, Callable, Dict, List, Optional

from .context import Context
from .errors import GearsError, Refused
from .pickling import SharedGlobals
from .plan import Plan, Registered

if TYPE_CHECKING:
    from .worker import Worker

NOT_AT_TOP_LEVEL = "register can only be called at the top level of a script"
NO_COROUTINE = "the onRegistered function can not be a coroutine"

ONE_RUN = "Can not run more then 1 executions in a single script"

# What RedisGears calls the module that a script is: not __main__, so that functions are pickled by value.
MODULE_NAME = "not_main"
FILE_NAME = "<string>"


class Session:
    """Holds the globals and flows of one script."""

    def __init__(self, worker: "Worker", name: str, number: int) -> None:
        self.worker = worker
        self.name = name
        # The context of the session's own threads and timers.
        self.context = Context(number, self)
        self.shared = SharedGlobals(worker.preloaded)
        self.shared.names["__name__"] = MODULE_NAME
        self.plans: Dict[str, Plan] = {}
        self._on_registered: Dict[str, Callable[[], Any]] = {}
        self._registrations: List[Dict[str, Any]] = []
        self._builders = 0
        self.timers: Dict[str, Callable[[], Any]] = {}
        self._threads: "weakref.WeakSet[threading.Thread]" = weakref.WeakSet()
        self._made: List[str] = []
        self._run: Optional[str] = None
        self._last_key = 0
        self._lock = threading.Lock()
        self._profile: Optional[pstats.Stats] = None

    # Scripts.

    def load(self, script: str, running: Context) -> Dict[str, Any]:
        """Runs the top level of a script; returns what it made, and which of its flows is to run now."""
        self._made, self._run, self._registrations = [], None, []
        remember_source(script)
        running.is_top_level = True
        try:
            exec(compile(script, FILE_NAME, "exec", dont_inherit=True), self.shared.names)
        except BaseException:
            self._forget_made()
            raise
        finally:
            running.is_top_level = False
        # A run() beside register() has no results: the command answers for the registrations.
        is_aside = bool(self._registrations)
        return {
            "flows": [self.described(key) for key in self._made],
            "run": None if is_aside else self._run,
            "aside": self._run if is_aside else None,
            "registrations": self._registrations,
            "builders": self._taken_builders(),
        }

    def start(self, plan: Plan, running: Context) -> Any:
        """Does what run() does: at the top level of a script once, and for later; elsewhere at once."""
        if running.is_top_level:
            if self._run is not None:
                raise GearsError(ONE_RUN)
            self._run = self._keep(plan)
            self._made.append(self._run)
            self.blob(self._run)  # so that what cannot travel is an error of the script
            return None
        key = self._keep(plan)
        return self.worker.start_flow(self, key, running)

    def register(self, plan: Plan, on_registered: Optional[Callable[[], Any]], running: Context) -> str:
        """Does what register() does: nothing yet but to remember it until the script has ended."""
        if not running.is_top_level:
            raise GearsError(NOT_AT_TOP_LEVEL)
        # Here and not at the script's end: other shards get the globals with the values that they have now.
        blob = self.shared.pickled(Registered(plan, on_registered))
        name = self.worker.channel.plan_id(self._taken_builders())
        key = self._keep(plan, on_registered)
        registration = {
            "id": name,
            "reader": plan.reader,
            "mode": plan.mode,
            "description": plan.description,
            "flow": dict(plan.described(), key=key, blob=blob),
            "on_registered": on_registered is not None,
            "arguments": plan.reader_arguments,
        }
        self._registrations.append(registration)
        return name

    def note_builder(self) -> None:
        """Counts a GearsBuilder(): in RedisGears each takes one of the numbers of which ids are made."""
        with self._lock:
            self._builders += 1

    def _taken_builders(self) -> int:
        with self._lock:
            count, self._builders = self._builders, 0
        return count

    def _forget_made(self) -> None:
        """Lets go of what a script has made that raised in the end."""
        for key in [*self._made, *(made["flow"]["key"] for made in self._registrations)]:
            self.plans.pop(key, None)
            self._on_registered.pop(key, None)
        self._made, self._run, self._registrations = [], None, []

    # Flows.

    def install(self, key: str, blob: bytes) -> None:
        """Takes a flow that was made on another shard, or before this worker; does nothing if it is here already."""
        if key in self.plans:
            return
        arrived = self.shared.unpickled(blob)
        if isinstance(arrived, Registered):
            if arrived.on_registered is not None:
                self._on_registered[key] = arrived.on_registered
            arrived = arrived.plan
        if not isinstance(arrived, Plan):
            raise Refused("protocol", "what was installed is no plan")
        self.plans[key] = arrived

    def registered(self, key: str) -> None:
        """Tells the script that a registration lives on this shard from now on."""
        if self.plan(key).mode == "sync":
            self.worker.channel.listen()
        function = self._on_registered.get(key)
        if function is None:
            return
        made = function()
        if inspect.iscoroutine(made):
            made.close()
            raise GearsError(NO_COROUTINE)

    def plan(self, key: str) -> Plan:
        try:
            return self.plans[key]
        except KeyError:
            raise Refused("unknown", f"session {self.name} has no flow {key}") from None

    def forget(self, plan: Plan) -> None:
        """Lets go of a flow that will not run again."""
        for key in [key for key, kept in list(self.plans.items()) if kept is plan]:
            self.plans.pop(key, None)

    def described(self, key: str) -> Dict[str, Any]:
        """Returns what the server has to know of a flow, with the bytes for the other shards."""
        return dict(self.plans[key].described(), key=key, blob=self.blob(key))

    def blob(self, key: str) -> bytes:
        """Returns a flow as bytes, if there are other shards to send it to."""
        return self.shared.pickled(self.plans[key]) if self.worker.settings.is_cluster else b""

    def _keep(self, plan: Plan, on_registered: Optional[Callable[[], Any]] = None) -> str:
        key = self._new_key()
        if on_registered is not None:
            self._on_registered[key] = on_registered
        self.plans[key] = plan
        return key

    def _new_key(self) -> str:
        """Returns a name that nothing else has, on this shard or on another."""
        with self._lock:
            self._last_key += 1
            return f"{self.worker.settings.shard}-{os.getpid()}-{self._last_key}"

    # Timers.

    def add_timer(self, period_s: int, function: Callable[[], Any], key: Optional[str]) -> bool:
        """Has the server call a function every so many seconds; returns False if the timer's key exists already."""
        timer = self._new_key()
        blob = self.shared.pickled(function) if key is not None else b""
        self.timers[timer] = function
        is_added = self.worker.channel.add_timer(self.name, timer, period_s, key, blob)
        if not is_added:
            del self.timers[timer]
        return is_added

    def install_timer(self, timer: str, blob: bytes) -> None:
        """Takes the function of a timer that the server has kept."""
        self.timers[timer] = self.shared.unpickled(blob)

    def fire(self, timer: str) -> None:
        if timer not in self.timers:
            raise Refused("unknown", f"session {self.name} has no timer {timer}")
        self.timers[timer]()

    # What is left of a session.

    def note_thread(self, thread: threading.Thread) -> None:
        self._threads.add(thread)

    def living_threads(self) -> int:
        return sum(1 for thread in list(self._threads) if thread.is_alive())

    # Profiles.

    def profiled(self, work: Callable[[], Any]) -> Any:
        """Runs user code and adds to the profile where its time went."""
        profile = cProfile.Profile()
        try:
            return profile.runcall(work)
        finally:
            with self._lock:
                if self._profile is None:
                    self._profile = pstats.Stats(profile)
                else:
                    self._profile.add(profile)

    def reset_profile(self) -> None:
        self._profile = None

    def shown_profile(self, order: str) -> str:
        """Returns the profile as pstats prints it; raises if there is nothing in it."""
        text = io.StringIO()
        with self._lock:
            if self._profile is None:
                raise GearsError("profile is empty")
            self._profile.stream = text  # type: ignore[attr-defined]
            self._profile.sort_stats(order or "tottime").print_stats()
        return text.getvalue()


def remember_source(script: str) -> None:
    """Lets tracebacks show the lines of the script that was loaded last."""
    linecache.cache[FILE_NAME] = (len(script), None, script.splitlines(True), FILE_NAME)


def forget_source() -> None:
    """Shows no lines any more: code of other scripts has the same file name."""
    linecache.cache.pop(FILE_NAME, None)
