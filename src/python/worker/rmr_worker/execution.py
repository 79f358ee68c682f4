"""Runs a flow's stages on this shard on behalf of one execution."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any, Dict, List, Optional

from . import readers
from .context import Context
from .errors import Refused
from .plan import Plan
from .stage import Stage

if TYPE_CHECKING:
    from .session import Session


class Execution:
    """Holds the stages of one run of a flow."""

    def __init__(self, session: "Session", plan: Plan, options: Dict[str, Any]) -> None:
        self.number: int = options["execution"]
        self.session = session
        self.worker = session.worker
        self.plan = plan
        # Whether records stay on this shard, so that all steps are one stage.
        self.is_local = bool(options.get("local", False)) or not self.worker.settings.is_cluster
        # Whether the results are for a client, and not for Python.
        results = options.get("results", "replies")
        self.wants_replies = results in ("replies", "trigger")
        # Whether they answer a command that the script implements.
        self.with_signs = results == "trigger"
        self.is_timed = bool(options.get("timed", False))
        self.shard: str = self.worker.settings.shard
        self.context = Context(self.number, session, self)
        self.context.is_async_allowed = bool(options.get("async", True))
        self.reading: Dict[str, Any] = {}
        self.is_aborted = False
        self._planned = plan.stages(self.is_local)
        self._stages: Dict[int, Stage] = {}
        self._lock = threading.Lock()

    @property
    def reads_itself(self) -> bool:
        return bool(self.reading["kind"] == "own")

    def prepare(self) -> Dict[str, Any]:
        """Finds out what this shard is to read, and says what the server has to do for it."""
        self.reading = readers.what_to_read(self.plan)
        return {"reader": self.reading, "stages": [{"then": stage.then} for stage in self._planned]}

    def stage(self, number: int) -> Stage:
        """Returns a stage; begins it if this is the first that is heard of it."""
        with self._lock:
            if number not in self._stages:
                if not 0 <= number < len(self._planned):
                    raise Refused("unknown", f"execution {self.number} has no stage {number}")
                is_last = number == len(self._planned) - 1
                self._stages[number] = Stage(self, number, self._planned[number], is_last)
            return self._stages[number]

    def dispose(self) -> None:
        """Lets go of what the stages have not read to its end."""
        with self._lock:
            stages = list(self._stages.values())
        for stage in stages:
            stage.dispose()

    def read_ns(self) -> int:
        """Returns how many ns the worker's own reader took."""
        with self._lock:
            return sum(stage.read_ns for stage in self._stages.values())

    def timing(self) -> Optional[List[int]]:
        """Returns how many ns the functions of each step that is shown took, if that was asked for."""
        if not self.is_timed:
            return None
        places = self.plan.shown_places()
        took = [0] * len(self.plan.shown_steps())
        with self._lock:
            for number, stage in self._stages.items():
                for step, spent in zip(self._planned[number].steps, stage.step_ns):
                    took[places[id(step)]] += spent
        return took
