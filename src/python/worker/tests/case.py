"""Gives tests a template, which is started once, and workers forked from it."""

from __future__ import annotations

import atexit
import time
import unittest
from typing import Any, Callable, Dict, List, Optional, Sequence, Tuple

from .cluster import Cluster, Result
from .server import WAIT_S, Database, Kind, Template, Worker

_template: Optional[Template] = None


def template() -> Template:
    """Returns the template of all tests."""
    global _template
    if _template is None:
        _template = Template()
        atexit.register(_template.close)
    return _template


def await_true(condition: Callable[[], bool]) -> None:
    """Waits until something is so; fails if it does not come about."""
    until = time.monotonic() + WAIT_S
    while not condition():
        if time.monotonic() > until:
            raise AssertionError("what the test waits for has not come about")
        time.sleep(0.002)


class WorkerCase(unittest.TestCase):
    """Runs scripts in a worker of its own for each test."""

    def setUp(self) -> None:
        self.database = Database()
        self.worker = self.fork()
        self.server = Cluster([self.worker])

    def fork(self, database: Optional[Database] = None) -> Worker:
        worker = template().fork(database or self.database)
        self.addCleanup(worker.close)
        return worker

    def await_key(self, key: str) -> None:
        """Waits until a script has set a key."""
        await_true(lambda: key in self.database.data)

    def await_waiting(self, number: int, place: Tuple[int, int] = (1, 0)) -> int:
        """Waits until a request to a stage waits for a future; returns it.

        A slow machine may have spent the time that a reader in Python has for an answer before: then it is the next.
        """

        def is_waiting() -> bool:
            nonlocal number
            if self.worker.has_answered(number):
                head = self.worker.wait(number).head
                self.assertTrue(head[2], f"the stage has answered: {head}")
                number = self.worker.send(Kind.NEXT, place)
            return bool(self.worker.ask(Kind.STATS, ()).head["waiting"])

        await_true(is_waiting)
        return number

    def shards(self, count: int = 3) -> Cluster:
        return Cluster([self.fork() for _ in range(count)])

    def run_script(self, script: str, *data: Dict[str, Tuple[str, Any]], size: int = 1000) -> Result:
        return self.server.run(script, data or ({},), size)

    def results(self, script: str, *data: Dict[str, Tuple[str, Any]], size: int = 1000) -> List[Any]:
        """Returns the results of a script that has no errors."""
        result = self.run_script(script, *data, size=size)
        self.assertEqual(result.errors, [])
        return result.results

    def on_shards(self, script: str, data: Sequence[Dict[str, Tuple[str, Any]]]) -> List[Any]:
        """Returns the results of a script without errors on as many shards as there are data, sorted."""
        result = self.shards(len(data)).run(script, data)
        self.assertEqual(result.errors, [])
        return sorted(result.results, key=str)


def from_python(records: str, steps: str, run: str = "") -> str:
    """Returns a script whose records are the items of an expression."""
    return f"GB('PythonReader'){steps}.run(lambda: (x for x in {records}){run})"
