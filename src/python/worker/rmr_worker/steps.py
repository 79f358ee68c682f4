"""Implements the operations of a flow on the records of one shard.

Each operator is a generator over the records of the step before, so that one record passes through all steps before the
next is read. A step whose function returns a future or a coroutine keeps a line of records that wait, at most
LONGEST_LINE, and passes them on in their order. An operator that has to wait says so with `stage.stall` and returns;
the stage calls `flow` again with the same source when there is something to go on with.
"""

from __future__ import annotations

import copy
from collections import deque
from typing import TYPE_CHECKING, Any, Callable, Deque, Dict, Iterable, Iterator, Optional, Tuple, Type

from .errors import GearsError
from .futures import WAITABLE, Promise

if TYPE_CHECKING:
    from .stage import Stage

LONGEST_LINE = 1000

NOT_ON_EXTRACTOR = "coroutine are not allow on extractor"
NOT_ON_REDUCE = "coroutine are not allow on reduce"

# Zero values of these types need no copy for each accumulator.
UNCHANGEABLE = frozenset({int, float, bool, str, bytes, type(None)})


def key_of(extractor: Callable[[Any], Any], record: Any) -> str:
    """Returns the key by which a record is grouped: a str as it is, anything else as its repr."""
    key = extractor(record)
    if key.__class__ is str:
        return key
    if key.__class__ in WAITABLE:
        raise GearsError(NOT_ON_EXTRACTOR)
    return key if isinstance(key, str) else repr(key)


def fresh_zero(zero: Any) -> Callable[[], Any]:
    """Returns what makes a zero value of its own for each accumulator."""
    if type(zero) in UNCHANGEABLE:
        return lambda: zero
    return lambda: copy.deepcopy(zero)


class Operator:
    """Runs one step. What outlives a batch stands in its attributes."""

    def __init__(self, stage: "Stage", index: int) -> None:
        self.stage = stage
        self.index = index
        # the records of the step before: what is left of them is read after a stall
        self.source: Iterator[Any] = iter(())

    def flow(self, source: Iterator[Any]) -> Iterator[Any]:
        """Passes on what comes of the records of the source, as far as it can be told."""
        raise NotImplementedError

    def waits_for(self) -> Optional[Promise]:
        """Returns what the operator's first record waits for."""
        return None


class RecordOperator(Operator):
    """Passes each record on by itself; those that wait stand in line."""

    def __init__(self, stage: "Stage", index: int, function: Callable[[Any], Any]) -> None:
        super().__init__(stage, index)
        self.function = stage.watched(function, index)
        self.line: Deque[Tuple[Promise, Any]] = deque()

    def outputs(self, value: Any, record: Any) -> Iterable[Any]:
        """Returns what is passed on of a record whose function gave this value."""
        raise NotImplementedError

    def flow(self, source: Iterator[Any]) -> Iterator[Any]:
        line, function, fail = self.line, self.function, self.stage.fail
        yield from self.settled()
        for record in source:
            try:
                value = function(record)
            except BaseException as error:
                fail(error)
                continue
            if line or value.__class__ in WAITABLE:
                self.line.append((self.stage.promise(value), record))
                yield from self.settled()
                if len(line) >= LONGEST_LINE:
                    self.stage.stall(self, line[0][0])
                    return
            else:
                yield from self.outputs(value, record)

    def settled(self) -> Iterator[Any]:
        """Passes on the head of the line as far as it need not wait any longer."""
        line = self.line
        while line and line[0][0].is_done:
            promise, record = line.popleft()
            if promise.error is not None:
                self.stage.fail_text(promise.error)
            else:
                yield from self.outputs(promise.value, record)

    def waits_for(self) -> Optional[Promise]:
        return self.line[0][0] if self.line else None


class Map(RecordOperator):
    def outputs(self, value: Any, record: Any) -> Iterable[Any]:
        return (value,)

    def flow(self, source: Iterator[Any]) -> Iterator[Any]:
        # As above, without a call for each record.
        line, function, fail = self.line, self.function, self.stage.fail
        yield from self.settled()
        for record in source:
            try:
                value = function(record)
            except BaseException as error:
                fail(error)
                continue
            if line or value.__class__ in WAITABLE:
                self.line.append((self.stage.promise(value), record))
                yield from self.settled()
                if len(line) >= LONGEST_LINE:
                    self.stage.stall(self, line[0][0])
                    return
            else:
                yield value


class Filter(RecordOperator):
    def outputs(self, value: Any, record: Any) -> Iterable[Any]:
        return (record,) if value else ()


class ForEach(RecordOperator):
    def outputs(self, value: Any, record: Any) -> Iterable[Any]:
        return (record,)


class FlatMap(RecordOperator):
    def outputs(self, value: Any, record: Any) -> Iterable[Any]:
        # RedisGears takes a list from its end; sort() relies on it.
        return value[::-1] if isinstance(value, list) else (value,)


class ToText(Operator):
    """Turns records into what str() makes of them."""

    def flow(self, source: Iterator[Any]) -> Iterator[Any]:
        fail = self.stage.fail
        for record in source:
            try:
                text = record if record.__class__ is str else str(record)
            except BaseException as error:
                fail(error)
                continue
            yield text


class Check(Operator):
    """Calls the extractor of a repartition that moves nothing, so that its exceptions are seen on one shard too."""

    def __init__(self, stage: "Stage", index: int, extractor: Callable[[Any], Any]) -> None:
        super().__init__(stage, index)
        self.extractor = stage.watched(extractor, index)

    def flow(self, source: Iterator[Any]) -> Iterator[Any]:
        for record in source:
            try:
                key_of(self.extractor, record)
            except BaseException as error:
                self.stage.fail(error)
                continue
            yield record


class Limit(Operator):
    """Skips some records, passes some, and wants no more after that."""

    def __init__(self, stage: "Stage", index: int, length: int, start: int) -> None:
        super().__init__(stage, index)
        self.left_to_skip = start
        self.left_to_pass = length

    def flow(self, source: Iterator[Any]) -> Iterator[Any]:
        if self.left_to_pass <= 0:
            self.stage.stop_reading()
            return
        for record in source:
            if self.left_to_skip > 0:
                self.left_to_skip -= 1
                continue
            self.left_to_pass -= 1
            if self.left_to_pass == 0:
                self.stage.stop_reading()
                yield record
                return
            yield record


class Accumulate(Operator):
    """Reduces all records to one, which it passes on at the end; none if there were no records."""

    def __init__(
        self, stage: "Stage", index: int, function: Callable[[Any, Any], Any],
        fresh: Optional[Callable[[], Any]] = None,
    ) -> None:
        super().__init__(stage, index)
        self.function = stage.watched(function, index)
        # what begins again whenever the accumulator is false, as RedisGears' aggregate does
        self.fresh = fresh
        self.accumulator: Any = None
        self.has_begun = False
        self.is_over = False
        self.promise: Optional[Promise] = None

    def flow(self, source: Iterator[Any]) -> Iterator[Any]:
        self._take_promised()
        function, fresh, fail = self.function, self.fresh, self.stage.fail
        accumulator = self.accumulator
        for record in source:
            try:
                value = function(accumulator if accumulator or fresh is None else fresh(), record)
            except BaseException as error:
                self.accumulator = accumulator
                fail(error)
                continue
            if value.__class__ in WAITABLE:
                self.accumulator = accumulator
                self.promise = self.stage.promise(value)
                self.stage.stall(self, self.promise)
                return
            accumulator = value
            self.has_begun = True
        self.accumulator = accumulator
        if self.has_begun and not self.is_over and self.stage.has_all_before(self):
            self.is_over = True
            self.accumulator = None
            yield accumulator

    def waits_for(self) -> Optional[Promise]:
        return self.promise

    def _take_promised(self) -> None:
        promise, self.promise = self.promise, None
        if promise is None:
            return
        if promise.error is not None:
            self.stage.fail_text(promise.error)
        else:
            self.accumulator = promise.value
            self.has_begun = True


class Count(Operator):
    """Counts records, without looking at them."""

    def __init__(self, stage: "Stage", index: int) -> None:
        super().__init__(stage, index)
        self.counted = 0
        self.is_over = False

    def flow(self, source: Iterator[Any]) -> Iterator[Any]:
        # A batch that is a mere number, or that no step has looked at, knows its length.
        self.counted += self.stage.taken_uncounted(self)
        counted = 0
        for counted, _ in enumerate(source, 1):
            pass
        self.counted += counted
        if self.counted and not self.is_over and self.stage.has_all_before(self):
            self.is_over = True
            yield self.counted


class Group(Operator):
    """Reduces the records of each key: a = f(key, a, record), or without a function of the user's a count or a sum."""

    def __init__(
        self, stage: "Stage", index: int, extractor: Callable[[Any], Any], function: Callable[[Any, Any, Any], Any],
        fresh: Optional[Callable[[], Any]] = None,
    ) -> None:
        super().__init__(stage, index)
        self.extractor = stage.watched(extractor, index)
        self.function = stage.watched(function, index)
        self.fresh = fresh
        self.groups: Dict[str, Any] = {}
        self.promise: Optional[Promise] = None
        self.promised_key = ""

    def value_of(self, record: Any) -> Any:
        return record

    def flow(self, source: Iterator[Any]) -> Iterator[Any]:
        self._take_promised()
        extractor, function, fresh, fail, groups = self.extractor, self.function, self.fresh, self.stage.fail, self.groups
        value_of = self.value_of
        for record in source:
            try:
                key = key_of(extractor, record)
                accumulator = groups.get(key)
                if not accumulator and fresh is not None:
                    accumulator = fresh()
                value = function(key, accumulator, value_of(record))
            except BaseException as error:
                fail(error)
                continue
            if value.__class__ in WAITABLE:
                self.promise, self.promised_key = self.stage.promise(value), key
                self.stage.stall(self, self.promise)
                return
            groups[key] = value
        if groups and self.stage.has_all_before(self):
            yield from self.drained()

    def drained(self) -> Iterator[Any]:
        """Passes the groups on, and forgets them."""
        groups, self.groups = self.groups, {}
        while groups:
            key = next(iter(groups))
            yield {"key": key, "value": groups.pop(key)}

    def waits_for(self) -> Optional[Promise]:
        return self.promise

    def _take_promised(self) -> None:
        promise, self.promise = self.promise, None
        if promise is None:
            return
        if promise.error is not None:
            self.stage.fail_text(promise.error)
        else:
            self.groups[self.promised_key] = promise.value


def partial_key(record: Any) -> Any:
    return record["key"]


class Combine(Group):
    """Reduces what Group has passed on, here or on other shards, once more by its keys."""

    def value_of(self, record: Any) -> Any:
        return record["value"]


class CountBy(Group):
    """Counts the records of each key."""

    def flow(self, source: Iterator[Any]) -> Iterator[Any]:
        extractor, fail, groups = self.extractor, self.stage.fail, self.groups
        for record in source:
            try:
                key = key_of(extractor, record)
            except BaseException as error:
                fail(error)
                continue
            groups[key] = groups.get(key, 0) + 1
        if groups and self.stage.has_all_before(self):
            yield from self.drained()


class BatchGroup(Group):
    """Keeps the records of each key and reduces them at once: f(key, records)."""

    def flow(self, source: Iterator[Any]) -> Iterator[Any]:
        for record in source:
            try:
                self.groups.setdefault(key_of(self.extractor, record), []).append(record)
            except BaseException as error:
                self.stage.fail(error)
        if self.groups and self.stage.has_all_before(self):
            for group in self.drained():
                try:
                    value = self.function(group["key"], group["value"])
                    if value.__class__ in WAITABLE:
                        self.stage.discard(value)
                        raise GearsError(NOT_ON_REDUCE)
                except BaseException as error:
                    self.stage.fail(error)
                    continue
                yield {"key": group["key"], "value": value}


def add(total: Any, number: Any) -> Any:
    return number + (total if total else 0)


def add_by(key: str, total: Any, number: Any) -> Any:
    return (total if total else 0) + number


def no_reducer(key: str, total: Any, record: Any) -> Any:
    return None


PLAIN: Dict[str, Type[Operator]] = {
    "map": Map,
    "filter": Filter,
    "foreach": ForEach,
    "flatmap": FlatMap,
    "to_text": ToText,
    "repartition": Check,
    "limit": Limit,
    "accumulate": Accumulate,
    "count": Count,
    "group": Group,
    "batch_group": BatchGroup,
}


def operator(stage: "Stage", index: int, kind: str, arguments: Tuple[Any, ...]) -> Operator:
    """Returns the operator of a step."""
    if kind in PLAIN:
        return PLAIN[kind](stage, index, *arguments)
    if kind == "aggregate":
        zero, function = arguments
        return Accumulate(stage, index, function, fresh_zero(zero))
    if kind == "sum":
        return Accumulate(stage, index, add)
    if kind == "aggregate_by":
        extractor, zero, function = arguments
        return Group(stage, index, extractor, function, fresh_zero(zero))
    if kind == "combine_by":
        zero, function = arguments
        return Combine(stage, index, partial_key, function, fresh_zero(zero))
    if kind == "count_by":
        return CountBy(stage, index, arguments[0], no_reducer)
    if kind == "sum_by":
        return Combine(stage, index, partial_key, add_by)
    raise ValueError("there is no step {!r}".format(kind))
