"""Knows the sessions of a worker, and answers the requests that are about one of them."""

from __future__ import annotations

import gc
import sys
import threading
from typing import TYPE_CHECKING, Any, Callable, Dict, List, Optional, Tuple

from .context import Context
from .errors import Refused
from .frames import Reply
from .process import Surroundings, give_back_memory, resident
from .session import Session, forget_source

if TYPE_CHECKING:
    from .worker import Worker

# To give memory back, and to get it again for the next session, takes a third of a small execution: it waits until
# there is so much of it.
KEPT_BYTES = 1 << 20


def import_from(folders: List[str]) -> None:
    """Lets scripts import what is in these folders."""
    for folder in reversed(folders):
        if folder not in sys.path:
            sys.path.insert(0, folder)


class Sessions:
    """Makes sessions, finds them and lets go of them."""

    def __init__(self, worker: "Worker") -> None:
        self._worker = worker
        self._lock = threading.Lock()
        self._sessions: Dict[str, Session] = {}
        # The top levels and onRegistered functions that run just now.
        self.loading: Dict[int, Context] = {}
        self._surroundings = Surroundings()
        # The memory after it was given back last.
        self._settled = resident()

    def __len__(self) -> int:
        return len(self._sessions)

    def remember_surroundings(self) -> None:
        """Takes what is there now as what a script should find."""
        self._surroundings = Surroundings()

    def contexts(self, number: int) -> List[Context]:
        """Returns the contexts outside of executions that have this number."""
        with self._lock:
            known = [session.context for session in self._sessions.values()]
        return [running for running in [*known, *list(self.loading.values())] if running.number == number]

    def load(self, head: Dict[str, Any]) -> Reply:
        """Runs the top level of a script."""
        session = self._session(head["session"], head["context"])
        running = Context(head["context"], session)
        import_from(head.get("path", []))
        return self._with_context(running, lambda: session.load(head["script"], running)), []

    def install(self, head: Dict[str, Any], blob: bytes) -> Reply:
        """Takes a flow or the function of a timer that was made elsewhere."""
        session = self._session(head["session"], head["context"])
        running = Context(head["context"], session)
        import_from(head.get("path", []))
        if "timer" in head:
            self._worker.as_user(running, running, lambda: session.install_timer(head["timer"], blob))
        else:
            self._worker.as_user(running, running, lambda: session.install(head["key"], blob))
        return {}, []

    def registered(self, head: Dict[str, Any]) -> Reply:
        """Calls the onRegistered function of a registration that lives here from now on."""
        session = self.known(head["session"])
        running = Context(head["context"], session)
        self._with_context(running, lambda: session.registered(head["key"]))
        return {}, []

    def fire(self, name: str, timer: str) -> Reply:
        """Calls the function of a timer."""
        session = self.known(name)
        self._worker.as_user(session.context, session.context, lambda: session.fire(timer))
        return {}, []

    def drop_timer(self, name: str, timer: str) -> Reply:
        self.known(name).timers.pop(timer, None)
        return {}, []

    def forget(self, name: str) -> Reply:
        """Lets go of a session; says whether the worker is as good as new."""
        threads, tasks = self._let_go(name)
        is_restored = not self._sessions and self._surroundings.restore()
        forget_source()
        gc.collect()
        size = resident()
        if size > self._settled + KEPT_BYTES:
            give_back_memory()
            size = self._settled = resident()
        return {"threads": threads, "tasks": tasks, "reusable": not threads and is_restored, "rss": size}, []

    def _with_context(self, running: Context, work: Callable[[], Any]) -> Any:
        """Runs user code in a context of its own, by whose number it can be aborted."""
        self.loading[running.number] = running
        try:
            return self._worker.as_user(running, running, work)
        finally:
            self.loading.pop(running.number, None)

    def _let_go(self, name: str) -> Tuple[int, int]:
        """Drops a session; returns how many threads and coroutines of it are left."""
        with self._lock:
            session = self._sessions.pop(name, None)
        if session is None:
            raise Refused("unknown", f"there is no session {name}")
        self._worker.events.give_up_session(session)
        self._worker.loop.cancel(lambda running: running.session is session)
        return session.living_threads(), self._worker.loop.tasks_of(session)

    def _session(self, name: str, number: int) -> Session:
        with self._lock:
            if name not in self._sessions:
                self._sessions[name] = Session(self._worker, name, number)
            return self._sessions[name]

    def known(self, name: str) -> Session:
        """Returns a session that must be there."""
        with self._lock:
            session = self._sessions.get(name)
        if session is None:
            raise Refused("unknown", f"there is no session {name}")
        return session

    def only_context(self) -> Optional[Context]:
        """Returns the context of the worker's session, if there is just one."""
        with self._lock:
            sessions = list(self._sessions.values())
        return sessions[0].context if len(sessions) == 1 else None

    def profile(self, what: str, name: str, order: str = "") -> Reply:
        """Shows where the time of a session's functions goes, or begins anew to measure it."""
        session = self._sessions.get(name)
        if session is None:
            raise Refused("unknown", "session does not exists")
        if what == "reset":
            session.reset_profile()
            return "", []
        return session.shown_profile(order), []
