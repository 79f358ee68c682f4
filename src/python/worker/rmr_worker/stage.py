"""Runs one stage of a flow: its operators on the batches that come in.

The server sends a batch (RUN), takes what comes of it in answers of bounded size (NEXT, while there is `more`), and
says when there is no more input (END). What an answer leaves behind stays in the chain of generators; a stage that
waits for a future or coroutine does so without a thread, and answers when it can.
"""

from __future__ import annotations

import itertools
import time
from typing import Any, Callable, Iterator, List, NamedTuple, Optional, Tuple

from . import futures, guard, operators, reducers, steps
from .errors import GearsForceStopped, error_text
from .plan import COLLECT, REPARTITION, STAY
from .plan import Stage as PlannedStage
from .readers import Batch, own_records, records_of
from .sinks import Columns, KeyedSink, RecordSink, ReplySink

# An answer ends with the entries that reach this size, or after this time where the worker reads itself.
ANSWER_BYTES = 256 << 10
ANSWER_NS = 100_000_000

# An answer ends at the latest when slow functions have taken this long: other shards that wait hear that they get on.
LONGEST_S = 1.0

# How many records are written into an answer together.
AT_ONCE = 64


class Answer(NamedTuple):
    """Says what came of a request."""

    columns: Columns
    # whether NEXT has more of the same input, or of the worker's own reader
    more: bool
    # whether the stage wants no more input: a limit is reached, or a local flow has an error
    enough: bool
    # how many records wait for futures and coroutines
    waiting: int
    errors: List[str]
    aborted: bool


class Stage:
    """Holds the operators of a stage, and what they keep between batches."""

    def __init__(self, execution: Any, number: int, planned: PlannedStage, is_last: bool) -> None:
        # an Execution, or the Events that are like one
        self.execution = execution
        self.number = number
        self.step_ns = [0] * len(planned.steps)
        self.read_ns = 0
        # Whether an error stays on this shard, where it keeps the reader from reading on.
        self._ends_at_error = planned.then == STAY and number == 0
        self._operators = [
            operators.operator(self, index, step.kind, step.arguments) for index, step in enumerate(planned.steps)
        ]
        self._sink: Any = self._sink_of(planned, is_last)
        self._chain: Optional[Iterator[Any]] = None
        self._records: List[Any] = []
        self._size = 0
        self._uncounted = 0
        self._own_reader: Optional[Iterator[Any]] = None
        self._is_read = not (number == 0 and execution.reads_itself)
        self._is_ending = False
        self._is_full = False
        self._enough = False
        self._stalled: Optional[Tuple[int, futures.Promise]] = None
        self._errors: List[str] = []
        self._aborted = False

    # What the worker calls.

    def feed(self, batch: Batch) -> None:
        """Takes a batch as the input of the next run."""
        first = self._operators[0] if self._operators else None
        if isinstance(first, reducers.Count):
            self._uncounted += batch.size
            self._records = []
        else:
            self._records = records_of(batch, self.execution.plan, isinstance(first, steps.ToText))
        self._link(iter(self._records))

    def end(self) -> None:
        """Takes note that there is no more input; where the worker reads itself, that it may begin."""
        self._is_ending = True
        self._link(self._own_source() if not self._is_read else iter(()))

    def advance(self) -> Optional[Answer]:
        """Runs user code until an answer is full, the input is done, or a record has to wait (None)."""
        self._is_full = False
        if self._stalled is not None:
            index, self._stalled = self._stalled[0], None
            self._link(self._operators[index].source, index)
        while True:
            self._fill()
            if self._stalled is not None:
                return None
            if self._is_full:
                break
            if not self._is_read:
                # The worker's own reader has had its time; NEXT goes on with it.
                self._link(self._own_source())
                break
            if not self._is_ending or self._has_ended():
                break
            if self._stalled is not None:
                return None
        return self._answer()

    def has_more(self) -> bool:
        """Says whether the server has not yet taken all that came of the last input."""
        return self._chain is not None

    def waits_for(self) -> Optional[futures.Promise]:
        return self._stalled[1] if self._stalled is not None else None

    def dispose(self) -> None:
        """Ends the generators that have not come to their end."""
        self._chain = None
        close = getattr(self._own_reader, "close", None)
        if close is not None:
            close()

    def stop_by_abort(self, error: BaseException) -> Answer:
        """Returns the last answer of a stage whose code an abort has ended."""
        self._chain = None
        self._is_read = True
        self._aborted = True
        self._enough = True
        self._errors.append(error_text(error, self.execution.worker.settings.with_traceback))
        return self._answer()

    # What operators call.

    def fail(self, error: BaseException) -> None:
        """Takes an exception that a user's function has raised."""
        if isinstance(error, GearsForceStopped):
            raise error
        mine = guard.activity()
        if mine is not None:
            mine.future = None
        self.fail_text(error_text(error, self.execution.worker.settings.with_traceback))

    def fail_text(self, text: str) -> None:
        """Takes the error of a record. A flow that sends its errors nowhere reads no further after the first."""
        self._errors.append(text)
        if self._ends_at_error:
            self.stop_reading()

    def stop_reading(self) -> None:
        """Makes the records that are being read the last ones."""
        self._enough = True
        self._is_read = True
        # An iterator over a list ends where the list does.
        self._records.clear()

    def promise(self, value: Any) -> futures.Promise:
        """Returns the promise of a value, which may be there already."""
        if value.__class__ in futures.WAITABLE:
            if not self.execution.context.is_async_allowed:
                self.discard(value)
                return futures.Promise.broken(futures.NOT_ALLOWED)
            return futures.promise_of(value, self.execution.context, self.execution.worker.loop)
        return futures.Promise.kept(value)

    def discard(self, value: Any) -> None:
        """Lets go of a coroutine or future that nothing will wait for."""
        close = getattr(value, "close", None)
        if close is not None:
            close()

    def stall(self, operator: steps.Operator, promise: futures.Promise) -> None:
        """Takes note that an operator cannot go on before this is done."""
        self._stalled = (operator.index, promise)

    def has_all_before(self, operator: steps.Operator) -> bool:
        """Says whether an operator has seen all of the stage's input."""
        return (
            self._is_ending
            and self._is_read
            and not any(earlier.waits_for() for earlier in self._operators[: operator.index])
        )

    def taken_uncounted(self, operator: steps.Operator) -> int:
        """Returns how many records the batches had of which there is only the number."""
        if operator.index != 0:
            return 0
        count, self._uncounted = self._uncounted, 0
        return count

    def watched(self, function: Callable[..., Any], index: int) -> Callable[..., Any]:
        """Returns a function that notes how long it takes, if the server wants to know that."""
        if not self.execution.is_timed:
            return function
        spent = self.step_ns

        def timed(*arguments: Any) -> Any:
            start = time.perf_counter_ns()
            try:
                return function(*arguments)
            finally:
                spent[index] += time.perf_counter_ns() - start

        return timed

    # The rest is the stage's own.

    def _sink_of(self, planned: PlannedStage, is_last: bool) -> Any:
        if planned.then == REPARTITION:
            return KeyedSink(planned.extractor)
        if is_last and planned.then in (COLLECT, STAY) and self.execution.wants_replies:
            return ReplySink(planned.then == STAY, self.execution.with_signs)
        return RecordSink()

    def _link(self, source: Iterator[Any], first: int = 0) -> None:
        """Makes the chain of generators anew, from one operator on."""
        chain = source
        for operator in self._operators[first:]:
            operator.source = chain
            chain = operator.flow(chain)
        self._chain = chain

    def _fill(self) -> None:
        """Adds what the chain gives to the answer, until it is full or the chain is done."""
        if self._chain is None:
            return
        chain, add_all = self._chain, self._sink.add_all
        until = time.monotonic() + LONGEST_S
        while True:
            records = list(itertools.islice(chain, AT_ONCE))
            self._size += add_all(records, self.fail)
            if len(records) < AT_ONCE:
                self._chain = None
                return
            if self._size >= ANSWER_BYTES or time.monotonic() > until:
                self._is_full = True
                return

    def _own_source(self) -> Iterator[Any]:
        """Reads from the worker's own reader until it is done or has had its time."""
        clock = time.perf_counter_ns
        resumed = clock()
        until = resumed + ANSWER_NS
        try:
            if self._own_reader is None:
                self._own_reader = own_records(self.execution)
            while not self._is_read:
                try:
                    record = next(self._own_reader)
                except StopIteration:
                    self._is_read = True
                    return
                finally:
                    self.read_ns += clock() - resumed
                yield record
                resumed = clock()
                if resumed > until:
                    return
        except GeneratorExit:
            raise
        except BaseException as error:
            self._is_read = True
            self.fail(error)

    def _has_ended(self) -> bool:
        """Says whether the input is done with; lets the operators go on, or waits, if not."""
        waiting = [promise for promise in (operator.waits_for() for operator in self._operators) if promise]
        if not waiting:
            return True
        if any(promise.is_done for promise in waiting):
            self._link(iter(()))
        else:
            self._stalled = (0, waiting[0])
            self._operators[0].source = iter(())
        return False

    def _answer(self) -> Answer:
        errors, self._errors = self._errors, []
        self._size = 0
        waiting = sum(len(getattr(operator, "line", ())) for operator in self._operators)
        return Answer(self._sink.take(), self._chain is not None, self._enough, waiting, errors, self._aborted)
