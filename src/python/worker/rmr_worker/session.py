"""Keeps what one script has made on this shard: its globals, its flows, its threads.

On the shard where the script ran the globals are the script's own. Elsewhere a session begins with what every script
finds there, and gets the rest along with the functions that need it.
"""

from __future__ import annotations

import cProfile
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
from .plan import Plan

if TYPE_CHECKING:
    from .worker import Worker

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
        self.timers: Dict[str, Callable[[], Any]] = {}
        self._threads: "weakref.WeakSet[threading.Thread]" = weakref.WeakSet()
        self._made: List[str] = []
        self._run: Optional[str] = None
        self._last_key = 0
        self._lock = threading.Lock()
        self._profile: Optional[pstats.Stats] = None

    # Scripts.

    def load(self, script: str, running: Context) -> Dict[str, Any]:
        """Runs the top level of a script; returns the flows that it made and which of them is to run now."""
        self._made, self._run = [], None
        remember_source(script)
        running.is_top_level = True
        try:
            exec(compile(script, FILE_NAME, "exec", dont_inherit=True), self.shared.names)
        finally:
            running.is_top_level = False
        return {"flows": [self.described(key) for key in self._made], "run": self._run}

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

    # Flows.

    def install(self, key: str, blob: bytes) -> None:
        """Takes a flow that was made on another shard."""
        plan = self.shared.unpickled(blob)
        if not isinstance(plan, Plan):
            raise Refused("protocol", "what was installed is no plan")
        self.plans[key] = plan

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

    def _keep(self, plan: Plan) -> str:
        key = self._new_key()
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
