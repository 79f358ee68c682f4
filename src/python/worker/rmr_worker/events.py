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
from .frames import Frame, Kind
from .readers import batch_of, events_of
from .sinks import marshalled
from .stage import Stage
from .steps import RecordOperator

if TYPE_CHECKING:
    from .plan import Plan
    from .session import Session
    from .worker import Worker

# After an event that ends later than this the worker answers.
ANSWER_S = 0.005

ABORTED = "the execution was aborted"

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


class EventRequests:
    """Answers the requests to run events, and knows the events that wait."""

    def __init__(self, worker: "Worker", submit: Callable[[Callable[[], None]], None]) -> None:
        self._worker = worker
        self._submit = submit
        # Those that have something running or waiting.
        self._known: Dict[int, Events] = {}
        # Guarded by the worker's lock, as its executions are.
        self._lock = worker.lock

    def serve(self, frame: Frame) -> None:
        """Runs the events of a frame and answers."""

        def answer(head: Any, sections: List[bytes]) -> None:
            self._worker.write(Kind.DONE, frame.id, head, sections)

        self._serve(frame, answer, lambda failure: self._worker.write(Kind.FAILED, frame.id, failure))

    def serve_sync(self, frame: Frame) -> None:
        """Runs the event of a frame for which the server's main thread waits, and answers."""
        channel = self._worker.channel

        def answer(head: Any, sections: List[bytes]) -> None:
            channel.answer(Kind.SYNC_DONE, frame.id, (head[0][0], None), sections)

        self._serve(frame, answer, lambda failure: channel.answer(Kind.SYNC_DONE, frame.id, (None, failure)))

    def _serve(
        self, frame: Frame, answer: Callable[[Any, List[bytes]], None], refuse: Callable[[Tuple[str, str]], None]
    ) -> None:
        events: Optional[Events] = None
        failure: Optional[Tuple[str, str]] = None
        try:
            events = self._begun(frame.head)
            head, sections = self._ran(events, frame.head, frame.sections)
        except BaseException as error:
            failure = self._worker.failure(error)
        if failure is not None:
            if events is not None:
                self._end(events)
            refuse(failure)
            return
        assert events is not None
        answer(head, sections)
        self.after_answer(events)

    def _begun(self, head: Dict[str, Any]) -> Events:
        session = self._worker.sessions.known(head["session"])
        events = Events(session, session.plan(head["key"]), head)
        with self._lock:
            if events.number in self._known:
                raise Refused("protocol", f"execution {events.number} has events that have not ended")
            self._known[events.number] = events
        return events

    def _ran(self, events: Events, head: Dict[str, Any], sections: memoryview) -> Tuple[Any, List[bytes]]:
        shape = head["shape"]
        batch = batch_of((shape, head["count"], head["has_bytes"], head["sizes"]), sections)
        records = events_of(batch)
        try:
            self._worker.as_user(events, events.context, lambda: events.run(records, shape == "lists"), is_in_step=True)
        except GearsForceStopped as error:
            events.stop_by_abort(error, batch.size)
        answer = events.answer()
        with self._lock:
            # With the answer the server may use the number again.
            if not events.waiting:
                self._drop(events)
        return answer

    def after_answer(self, events: Events) -> None:
        """Sees to it that what waits goes on: only now, so that no EVENT_ENDED comes before the answer."""
        with self._lock:
            events.is_answered = True
            waiting = list(events.waiting.values())
        for stage in waiting:
            self._watch(events, stage)
        self._end_if_done(events)

    def _watch(self, events: Events, stage: EventStage) -> None:
        promise = stage.waits_for()
        if promise is not None:
            promise.when_done(lambda: self._submit(lambda: self._resume(events, stage)))
        with self._lock:
            is_aborted = events.is_aborted
        if is_aborted:
            self.give_up(events)

    def _resume(self, events: Events, stage: EventStage) -> None:
        with self._lock:
            if events.is_aborted or events.waiting.get(stage.index) is not stage:
                return
        results: List[Any] = []
        try:
            done = self._worker.as_user(events, events.context, stage.outcome, is_in_step=True)
            if done is None:
                self._watch(events, stage)
                return
            results, errors = done
        except BaseException as error:
            errors = [error_text(error, self._worker.settings.with_traceback)]
        self._report(events, stage.index, *events.written(results, errors))
        self._end_if_done(events)

    def _report(self, events: Events, index: int, entries: List[bytes], errors: List[str]) -> None:
        """Says once what came of an event that waited."""
        with self._lock:
            stage = events.waiting.pop(index, None)
        if stage is not None:
            head = (events.number, index, len(entries), errors)
            self._worker.write(Kind.EVENT_ENDED, 0, head, [column(entries)])

    def _end_if_done(self, events: Events) -> None:
        with self._lock:
            if events.is_answered and not events.waiting:
                self._drop(events)

    def _end(self, events: Events) -> None:
        with self._lock:
            events.waiting.clear()
            self._drop(events)

    def _drop(self, events: Events) -> None:
        """Forgets a request, whose number may be another's by now; the lock is held."""
        if self._known.get(events.number) is events:
            del self._known[events.number]

    # What the worker asks.

    def find(self, number: int) -> Optional[Events]:
        """Returns the request with this number if it has something running or waiting; the lock is held."""
        return self._known.get(number)

    def waiting(self) -> int:
        """Counts the events that wait; the lock is held."""
        return sum(len(events.waiting) for events in self._known.values())

    def give_up(self, events: Events) -> int:
        """Ends the events of a request that wait; returns their number."""
        with self._lock:
            events.is_aborted = True
            stages = list(events.waiting.values())
            # Those of a request that is not answered yet end after its answer.
            is_answered = events.is_answered
        if is_answered:
            for stage in stages:
                self._report(events, stage.index, [], [ABORTED])
            self._end_if_done(events)
        return len(stages)

    def give_up_session(self, session: Any) -> None:
        """Ends the events of a session that wait."""
        with self._lock:
            known = [events for events in self._known.values() if events.session is session]
        for events in known:
            self.give_up(events)
