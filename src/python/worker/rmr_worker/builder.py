"""Implements GearsBuilder, with which scripts put flows together.

As in RedisGears there are two layers. `GearsContext` (gearsCtx) has the operations that take plain functions and checks
them; `GearsBuilder` adds those that are made of these, whose functions may be anything that can be called. All of them
change the builder and return it.
"""

from __future__ import annotations

from typing import Any, Callable, List, Optional

from . import arguments, context, event_arguments
from .errors import GearsError
from .plan import COLLECT, REPARTITION, Plan, Step

NOT_REGISTERED = "Can not create a gearsCtx on a python created thread"


def identity(record: Any) -> Any:
    return record


class GearsContext:
    """Collects the steps of one flow."""

    def __init__(self, reader: Any = "KeysReader", desc: Any = None) -> None:
        session = context.required(NOT_REGISTERED).session
        if not isinstance(reader, str):
            raise GearsError("reader argument must be a string")
        if desc is not None and not isinstance(desc, str):
            raise GearsError("desc argument must be a string")
        self._reader = reader
        self._description: Optional[str] = desc
        self._steps: List[Step] = []
        session.note_builder()

    def map(self, *given: Any) -> "GearsContext":
        return self._function_step("map", given)

    def foreach(self, *given: Any) -> "GearsContext":
        return self._function_step("foreach", given)

    def filter(self, *given: Any) -> "GearsContext":
        return self._function_step("filter", given)

    def flatmap(self, *given: Any) -> "GearsContext":
        return self._function_step("flatmap", given)

    def accumulate(self, *given: Any) -> "GearsContext":
        return self._function_step("accumulate", given)

    def repartition(self, *given: Any) -> "GearsContext":
        return self._function_step(REPARTITION, given)

    def collect(self, *given: Any) -> "GearsContext":
        _check_count("collect", given, 0)
        return self.add(COLLECT)

    def limit(self, *given: Any) -> "GearsContext":
        if len(given) not in (1, 2):
            raise GearsError("wrong number of args to limit function")
        if not all(isinstance(number, int) for number in given):
            raise GearsError("limit argument must be a number")
        return self.add("limit", given[0], given[1] if len(given) == 2 else 0)

    def localgroupby(self, *given: Any) -> "GearsContext":
        extractor, reducer = _group_arguments("groupby", given)
        return self.add("group", extractor, reducer)

    def groupby(self, *given: Any) -> "GearsContext":
        extractor, reducer = _group_arguments("groupby", given)
        return self.add(REPARTITION, extractor).add("group", extractor, reducer)

    def batchgroupby(self, *given: Any) -> "GearsContext":
        extractor, reducer = _group_arguments("batchgroupby", given)
        return self.add(REPARTITION, extractor).add("batch_group", extractor, reducer)

    def run(self, *given: Any, **named: Any) -> Any:
        """Starts the flow: at the top level of a script its results are what the command answers."""
        running = context.required(NOT_REGISTERED)
        mode = arguments.check_mode(named.get("mode", "async"))
        arguments.check_batch_reader(self._reader)
        argument = given[0] if given else None
        what = arguments.reader_arguments(self._reader, argument, named)
        plan = Plan(self._reader, what, list(self._steps), self._description, mode)
        return running.session.start(plan, running)

    def register(self, *given: Any, **named: Any) -> str:
        """Runs the flow whenever something happens, once the script has ended; returns the registration's id."""
        running = context.required(NOT_REGISTERED)
        mode = arguments.check_mode(named.get("mode", "async"), event_arguments.REGISTER_MODES)
        prefix = named.get("regex", named.get("prefix", given[0] if given else "*"))
        what = event_arguments.event_arguments(self._reader, prefix, mode, named)
        on_registered = event_arguments.check_on_registered(named.get("onRegistered"))
        plan = Plan(self._reader, what, list(self._steps), self._description, mode, waits_for_events=True)
        return running.session.register(plan, on_registered, running)

    def add(self, kind: str, *step_arguments: Any) -> "GearsContext":
        """Adds a step whose arguments have been checked."""
        self._steps.append(Step(kind, step_arguments))
        return self

    def _function_step(self, kind: str, given: Any) -> "GearsContext":
        _check_count(kind, given, 1)
        if not arguments.is_function(given[0]):
            raise GearsError(f"{kind} argument must be a function")
        return self.add(kind, given[0])


def _check_count(name: str, given: Any, wanted: int) -> None:
    if len(given) != wanted:
        raise GearsError(f"wrong number of args to {name} function")


def _group_arguments(name: str, given: Any) -> Any:
    _check_count(name, given, 2)
    for part, function in zip(("extractor", "reducer"), given):
        if not arguments.is_function(function):
            raise GearsError(f"{name} {part} argument must be a function")
    return given


class GearsBuilder:
    """Builds a flow: GearsBuilder().map(f).filter(g).run()."""

    def __init__(self, reader: Any = "KeysReader", defaultArg: Any = "*", desc: Any = None) -> None:
        self.gearsCtx = GearsContext(reader, desc)
        self.reader = reader
        self.defaultArg = defaultArg

    def map(self, *given: Any) -> "GearsBuilder":
        """Puts f(record) in each record's place."""
        self.gearsCtx.map(*given)
        return self

    def foreach(self, *given: Any) -> "GearsBuilder":
        """Calls f(record) for each record and passes the record on."""
        self.gearsCtx.foreach(*given)
        return self

    def filter(self, *given: Any) -> "GearsBuilder":
        """Keeps the records for which f(record) is true."""
        self.gearsCtx.filter(*given)
        return self

    def flatmap(self, *given: Any) -> "GearsBuilder":
        """Spreads a list that f(record) returns into records, the last element first."""
        self.gearsCtx.flatmap(*given)
        return self

    def accumulate(self, *given: Any) -> "GearsBuilder":
        """Reduces a shard's records to one: a = f(a, record), where a is None at first."""
        self.gearsCtx.accumulate(*given)
        return self

    def localgroupby(self, *given: Any) -> "GearsBuilder":
        """Reduces a shard's records by key: a = f(key, a, record)."""
        self.gearsCtx.localgroupby(*given)
        return self

    def groupby(self, *given: Any) -> "GearsBuilder":
        """Reduces all records by key, each key on the shard that owns its slot."""
        self.gearsCtx.groupby(*given)
        return self

    def batchgroupby(self, *given: Any) -> "GearsBuilder":
        """Calls f(key, records) once for each key, on the shard that owns the key's slot."""
        self.gearsCtx.batchgroupby(*given)
        return self

    def repartition(self, *given: Any) -> "GearsBuilder":
        """Sends each record to the shard that owns the slot of the key f(record)."""
        self.gearsCtx.repartition(*given)
        return self

    def collect(self, *given: Any) -> "GearsBuilder":
        """Sends all records to the shard that began the execution."""
        self.gearsCtx.collect(*given)
        return self

    def limit(self, *given: Any) -> "GearsBuilder":
        """Skips `start` records of each shard and passes `length`."""
        self.gearsCtx.limit(*given)
        return self

    def aggregate(self, zero: Any, seqOp: Callable[..., Any], combOp: Callable[..., Any]) -> "GearsBuilder":
        """Reduces each shard's records with seqOp(a, record), then what comes of it with combOp(a, partial)."""
        self.gearsCtx.add("aggregate", zero, seqOp).add(COLLECT).add("aggregate", zero, combOp)
        return self

    def aggregateby(
        self, extractor: Callable[..., Any], zero: Any, seqOp: Callable[..., Any], combOp: Callable[..., Any]
    ) -> "GearsBuilder":
        """Reduces by key with seqOp(key, a, record), then each key's partial results with combOp(key, a, partial)."""
        self.gearsCtx.add("aggregate_by", extractor, zero, seqOp).add(REPARTITION, record_key)
        self.gearsCtx.add("combine_by", zero, combOp)
        return self

    def count(self) -> "GearsBuilder":
        """Counts all records; no records give no count."""
        self.gearsCtx.add("count").add(COLLECT).add("sum")
        return self

    def countby(self, extractor: Callable[..., Any] = identity) -> "GearsBuilder":
        """Counts records by key."""
        self.gearsCtx.add("count_by", extractor).add(REPARTITION, record_key).add("sum_by")
        return self

    def avg(self, extractor: Callable[..., Any] = float) -> "GearsBuilder":
        """Returns the mean of f(record) over all records."""
        self.gearsCtx.add("map", extractor)
        self.aggregate((0, 0), add_to_mean, join_means)
        self.gearsCtx.add("map", finish_mean)
        return self

    def distinct(self) -> "GearsBuilder":
        """Passes each of equal records once."""
        self.aggregate(set(), add_to_set, join_sets)
        self.gearsCtx.add("flatmap", list)
        return self

    def sort(self, reverse: bool = True) -> "GearsBuilder":
        """Sorts all records: ascending by default, since flatmap, which comes last, begins at the end."""
        self.aggregate([], add_to_list, join_lists)
        self.gearsCtx.add("map", sorted_backwards if reverse else sorted).add("flatmap", identity)
        return self

    def run(self, arg: Any = None, convertToStr: bool = True, collect: bool = True, **named: Any) -> Any:
        """Runs the flow now, on what there is."""
        self._finish(convertToStr, collect)
        return self.gearsCtx.run(arg if arg else self.defaultArg, **named)

    def register(self, prefix: Any = None, convertToStr: bool = True, collect: bool = True, **named: Any) -> str:
        """Runs the flow whenever something happens; returns the registration's id."""
        self._finish(convertToStr, collect)
        if prefix is None:
            # What defaultArg says to other readers, as a function to PythonReader, is no prefix.
            prefix = self.defaultArg if isinstance(self.defaultArg, str) else "*"
        return self.gearsCtx.register(prefix, **named)

    def _finish(self, convert_to_text: bool, collect: bool) -> None:
        """Adds what each flow ends with unless it is told not to."""
        if convert_to_text:
            self.gearsCtx.add("to_text")
        if collect:
            self.gearsCtx.collect()


# The functions of the operations above: known by their names on every shard.


def record_key(record: Any) -> Any:
    return record["key"]


def add_to_mean(mean: Any, number: Any) -> Any:
    return (mean[0] + number, mean[1] + 1)


def join_means(mean: Any, other: Any) -> Any:
    return (mean[0] + other[0], mean[1] + other[1])


def finish_mean(mean: Any) -> Any:
    return mean[0] / mean[1]


def add_to_set(found: Any, record: Any) -> Any:
    found.add(record)
    return found


def join_sets(found: Any, others: Any) -> Any:
    found.update(others)
    return found


def add_to_list(records: Any, record: Any) -> Any:
    records.append(record)
    return records


def join_lists(records: Any, others: Any) -> Any:
    records.extend(others)
    return records


def sorted_backwards(records: Any) -> Any:
    return sorted(records, reverse=True)
