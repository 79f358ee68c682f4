"""Implements the operations that need all of their input: they pass something on at its end.

Which end that is, where records before them still wait for futures, `stage.has_all_before` knows.
"""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING, Any, Callable, Dict, Iterator, Optional

from .futures import WAITABLE, Promise
from .steps import Operator, key_of, refused

if TYPE_CHECKING:
    from .stage import Stage

NOT_ON_REDUCE = "coroutine are not allow on reduce"

# Zero values of these types need no copy for each accumulator.
UNCHANGEABLE = frozenset({int, float, bool, str, bytes, type(None)})


def fresh_zero(zero: Any) -> Callable[[], Any]:
    """Returns what makes a zero value of its own for each accumulator."""
    if type(zero) in UNCHANGEABLE:
        return lambda: zero
    return lambda: copy.deepcopy(zero)


class Reducer(Operator):
    """Waits for one future or coroutine at a time: what a record comes to is needed for the next one."""

    def __init__(self, stage: "Stage", index: int) -> None:
        super().__init__(stage, index)
        self.promise: Optional[Promise] = None

    def keep(self, value: Any) -> None:
        """Takes what a future has come to."""
        raise NotImplementedError

    def waits_for(self) -> Optional[Promise]:
        return self.promise

    def wait_for(self, value: Any) -> None:
        """Stops here until a future is done."""
        self.promise = self.stage.promise(value)
        self.stage.stall(self, self.promise)

    def take_promised(self) -> None:
        """Takes what has come of the future that was waited for, if one was."""
        promise, self.promise = self.promise, None
        if promise is None:
            return
        if promise.error is not None:
            self.stage.fail_text(promise.error)
        else:
            self.keep(promise.value)


class Accumulate(Reducer):
    """Reduces all records to one, which it passes on at the end; none if there were no records."""

    def __init__(
        self,
        stage: "Stage",
        index: int,
        function: Callable[[Any, Any], Any],
        fresh: Optional[Callable[[], Any]] = None,
    ) -> None:
        super().__init__(stage, index)
        self.function = stage.watched(function, index)
        # what begins again whenever the accumulator is false, as RedisGears' aggregate does
        self.fresh = fresh
        self.accumulator: Any = None
        self.has_begun = False
        self.is_over = False

    def keep(self, value: Any) -> None:
        self.accumulator = value
        self.has_begun = True

    def flow(self, source: Iterator[Any]) -> Iterator[Any]:
        self.take_promised()
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
                self.wait_for(value)
                return
            accumulator = value
            self.has_begun = True
        self.accumulator = accumulator
        if self.has_begun and not self.is_over and self.stage.has_all_before(self):
            self.is_over = True
            self.accumulator = None
            yield accumulator


class Count(Operator):
    """Counts records, without looking at them."""

    def __init__(self, stage: "Stage", index: int) -> None:
        super().__init__(stage, index)
        self.counted = 0
        self.is_over = False

    def flow(self, source: Iterator[Any]) -> Iterator[Any]:
        # A batch that is a mere number, or that no step has looked at, knows its length.
        self.counted += self.stage.taken_uncounted(self)
        self.counted += sum(1 for _ in source)
        if self.counted and not self.is_over and self.stage.has_all_before(self):
            self.is_over = True
            yield self.counted


class Group(Reducer):
    """Reduces the records of each key: a = f(key, a, record), or without a function of the user's a count or a sum."""

    def __init__(
        self,
        stage: "Stage",
        index: int,
        extractor: Callable[[Any], Any],
        function: Callable[[Any, Any, Any], Any],
        fresh: Optional[Callable[[], Any]] = None,
    ) -> None:
        super().__init__(stage, index)
        self.extractor = stage.watched(extractor, index)
        self.function = stage.watched(function, index)
        self.fresh = fresh
        self.groups: Dict[str, Any] = {}
        self.promised_key = ""

    def keep(self, value: Any) -> None:
        self.groups[self.promised_key] = value

    def value_of(self, record: Any) -> Any:
        return record

    def flow(self, source: Iterator[Any]) -> Iterator[Any]:
        self.take_promised()
        extractor, function, fresh, fail, groups = (
            self.extractor,
            self.function,
            self.fresh,
            self.stage.fail,
            self.groups,
        )
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
                self.promised_key = key
                self.wait_for(value)
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
                        raise refused(value, NOT_ON_REDUCE)
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
