"""Implements the operations that pass records on one by one.

Each operator is a generator over the records of the step before, so that one record passes through all steps before the
next is read. A step whose function returns a future or a coroutine keeps a line of records that wait, at most
LONGEST_LINE, and passes them on in their order. An operator that has to wait says so with `stage.stall` and returns;
the stage calls `flow` again with the same source when there is something to go on with.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Any, Callable, Deque, Iterable, Iterator, Optional, Tuple

from .errors import GearsError
from .futures import NOT_IN_THIS_STEP, WAITABLE, Promise, StepFuture

if TYPE_CHECKING:
    from .stage import Stage

LONGEST_LINE = 1000

NOT_ON_EXTRACTOR = "coroutine are not allow on extractor"


def key_of(extractor: Callable[[Any], Any], record: Any) -> str:
    """Returns the key by which a record is grouped: a str as it is, anything else as its repr."""
    key = extractor(record)
    if key.__class__ is str:
        return key
    if key.__class__ in WAITABLE:
        raise refused(key, NOT_ON_EXTRACTOR)
    return key if isinstance(key, str) else repr(key)


def refused(waitable: Any, why: str) -> GearsError:
    """Returns the error of a function whose record cannot wait: for a coroutine the one that is given."""
    return GearsError(NOT_IN_THIS_STEP if isinstance(waitable, StepFuture) else why)


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
                yield from self.queued(value, record)
                if len(line) >= LONGEST_LINE:
                    self.stage.stall(self, line[0][0])
                    return
            else:
                yield from self.outputs(value, record)

    def queued(self, value: Any, record: Any) -> Iterator[Any]:
        """Puts a record at the end of the line; passes on the line's head."""
        self.line.append((self.stage.promise(value), record))
        yield from self.settled()

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
                yield from self.queued(value, record)
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
