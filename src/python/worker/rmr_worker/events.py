"""Runs the flows of registrations: the whole flow on this shard, once for each event.

The server sends events in batches, and they are done one after the other in one thread; but each has its own results,
errors and accumulators, and an error of one does not touch the others. One that waits for a future or a coroutine is
reported when it is done, by EVENT_ENDED. The answer comes early when events take long, so that the server can begin the
rest where there is room.
"""

from __future__ import annotations

import itertools
import time
from array import array
from typing import TYPE_CHECKING, Any, Callable, Dict, Iterator, List, NamedTuple, Optional, Tuple

from . import context, conversions, guard, record_wise
from .errors import GearsForceStopped, Refused, error_text
from .sinks import marshalled
from .stage import Stage
from .steps import RecordOperator

if TYPE_CHECKING:
    from .plan import Plan
    from .session import Session

# After an event that ends later than this the worker answers.
ANSWER_S = 0.005

# How results are written.
FORMS: Dict[str, Callable[[Any], bytes]] = {
    "replies": conversions.reply,
    "trigger": lambda record: conversions.reply(record, with_signs=True),
    "records": marshalled,
}

NO_ERRORS: List[str] = []


class Outcome(NamedTuple):
    """Says what came of an event."""

    results: int
    errors: List[str]


class ResultSink:
    """Keeps the results of an event that goes through a stage's operators."""

    def __init__(self) -> None:
        self.results: List[Any] = []

    def add_all(self, records: List[Any], fail: Callable[[BaseException], None]) -> int:
        self.results += records
        return 0

    def take(self) -> Any:
        return self.results


class EventStage(Stage):
    """Runs the operators for one event."""

    def __init__(self, events: "Events", index: int) -> None:
        super().__init__(events, 0, events.planned, is_last=True)
        self.index = index

    def begin(self, records: List[Any]) -> None:
        """Takes the records of the event."""
        self._is_ending = True
        self._records = records
        self._link(iter(records))

    def go_on(self, waiting: record_wise.Waiting, records: List[Any], results: List[Any], errors: List[str]) -> None:
        """Takes an event where the short way has ended."""
        self._is_ending = True
        self._records = records
        self._sink.results += results
        self._errors += errors
        # The program leaves out what does nothing here, and so does a local stage.
        stopped_at = self._operators[waiting.step]
        assert isinstance(stopped_at, RecordOperator)
        stopped_at.line.append((self.promise(waiting.value), waiting.record))
        sources = {first: source for source, first in waiting.left}
        chain: Iterator[Any] = iter(())
        for operator in self._operators:
            if operator.index in sources:
                chain = itertools.chain(sources[operator.index], chain)
            operator.source = chain
            chain = operator.flow(chain)
        self._chain = chain

    def outcome(self) -> Optional[Tuple[List[Any], List[str]]]:
        """Runs user code until the event is done; returns results and errors, or None if it has to wait."""
        while True:
            answer = self.advance()
            if answer is not None:
                return self._sink.results, answer.errors
            promise = self.waits_for()
            if promise is None or not promise.is_done:
                return None

    def _sink_of(self, planned: Any, is_last: bool) -> Any:
        return ResultSink()


class Events:
    """Is one request to run events. To the operators of its events it is the execution."""

    is_timed = False
    reads_itself = False
    is_local = True
    wants_replies = False
    with_signs = False

    def __init__(self, session: "Session", plan: "Plan", head: Dict[str, Any]) -> None:
        self.number: int = head["execution"]
        self.session = session
        self.worker = session.worker
        self.plan = plan
        # Where records stay on their shard all steps are one stage.
        (self.planned,) = plan.stages(is_local=True)
        self.shard = self.worker.settings.shard
        if head["results"] not in FORMS:
            raise Refused("protocol", f"results can be {', '.join(FORMS)}, not {head['results']}")
        self._form = FORMS[head["results"]]
        self.context = context.Context(self.number, session, self)
        self.context.is_async_allowed = bool(head["async"])
        self.is_aborted = False
        self.is_answered = False
        # The events that wait, by their index in the request.
        self.waiting: Dict[int, EventStage] = {}
        self._outcomes: List[Optional[Outcome]] = []
        self._results: List[Any] = []
        self._errors: List[str] = []
        self._records: List[Any] = []

    def run(self, events: List[Any], are_lists: bool) -> None:
        """Runs events until they are done or have taken long: an event is its record, or a list of records."""
        program = record_wise.program_of(self.plan)
        run, fail, results, outcomes = record_wise.run, self._fail, self._results, self._outcomes
        succeeded = Outcome(1, NO_ERRORS)
        clock = time.perf_counter
        until = clock() + ANSWER_S
        for index, event in enumerate(events):
            records = self._records = event if are_lists else [event]
            begun = len(results)
            if program is None:
                self._by_stage(index, records)
            else:
                waiting = run(program, records, results, fail)
                if waiting is not None:
                    self._wait(index, waiting, records, begun)
                elif self._errors:
                    errors, self._errors = self._errors, []
                    outcomes.append(Outcome(len(results) - begun, errors))
                else:
                    count = len(results) - begun
                    outcomes.append(succeeded if count == 1 else Outcome(count, NO_ERRORS))
            if clock() > until:
                return

    def stop_by_abort(self, error: BaseException, count: int) -> None:
        """Ends the event during which an abort has come."""
        self.is_aborted = True
        del self._results[sum(outcome.results for outcome in self._outcomes if outcome is not None) :]
        self.waiting.pop(len(self._outcomes), None)
        if len(self._outcomes) < count:
            self._outcomes.append(Outcome(0, [*self._errors, self._text(error)]))

    def answer(self) -> Tuple[Any, List[bytes]]:
        """Returns what came of the events that were begun."""
        entries: List[bytes] = []
        outcomes: List[Optional[Tuple[int, List[str]]]] = [
            None if outcome is None else tuple(outcome)  # type: ignore[misc]
            for outcome in self._outcomes
        ]
        try:
            entries = [self._form(result) for result in self._results]
        except Exception:  # one cannot be written: whose is it?
            entries = []
            start = 0
            for index, outcome in enumerate(self._outcomes):
                if outcome is not None:
                    end = start + outcome.results
                    written, errors = self.written(self._results[start:end], outcome.errors)
                    outcomes[index] = (len(written), errors)
                    entries += written
                    start = end
        return (outcomes, bool(self.waiting)), [column(entries)]

    def written(self, results: List[Any], errors: List[str]) -> Tuple[List[bytes], List[str]]:
        """Returns the results of an event as entries; what cannot be written is an error."""
        entries = []
        for result in results:
            try:
                entries.append(self._form(result))
            except Exception as error:
                errors = [*errors, self._text(error)]
        return entries, errors

    def _by_stage(self, index: int, records: List[Any]) -> None:
        stage = EventStage(self, index)
        stage.begin(records)
        self._advance(stage)

    def _wait(self, index: int, waiting: record_wise.Waiting, records: List[Any], begun: int) -> None:
        """Lets an event wait that ran the short way."""
        stage = EventStage(self, index)
        so_far, errors = self._results[begun:], self._errors
        self._errors = []
        del self._results[begun:]
        stage.go_on(waiting, records, so_far, errors)
        self._advance(stage)

    def _advance(self, stage: EventStage) -> None:
        done = stage.outcome()
        if done is None:
            self.waiting[stage.index] = stage
            self._outcomes.append(None)
        else:
            results, errors = done
            self._results += results
            self._outcomes.append(Outcome(len(results), errors))

    def _fail(self, error: BaseException) -> None:
        """Takes an exception that a function of the running event has raised."""
        if isinstance(error, GearsForceStopped):
            raise error
        mine = guard.activity()
        if mine is not None:
            mine.future = None
        self._errors.append(self._text(error))
        # As in a stage: a flow whose errors go nowhere reads no further after the first.
        self._records.clear()

    def _text(self, error: BaseException) -> str:
        return error_text(error, self.worker.settings.with_traceback)


def column(entries: List[bytes]) -> bytes:
    """Returns entries as a column: their lengths, then they themselves."""
    return b"".join((array("I", map(len, entries)).tobytes(), *entries))
