"""Holds what the server has told the worker about itself."""

from __future__ import annotations

from typing import Any, Dict


class Settings:
    """Begins with the values of a single server, and changes with each HELLO or SETTINGS frame."""

    def __init__(self) -> None:
        # the node's id; RedisGears has '1' for a server without a cluster
        self.shard = "1"
        self.is_cluster = False
        # whether errors have a traceback (PythonAttemptTraceback)
        self.with_traceback = True
        # whether functions are profiled (ProfileExecutions)
        self.is_profiling = False

    def change(self, given: Dict[str, Any]) -> None:
        """Takes the settings that are given; leaves the others."""
        self.shard = str(given.get("shard", self.shard))
        self.is_cluster = bool(given.get("cluster", self.is_cluster))
        self.with_traceback = bool(given.get("traceback", self.with_traceback))
        self.is_profiling = bool(given.get("profile", self.is_profiling))
