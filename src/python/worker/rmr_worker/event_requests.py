"""Answers the requests to run events, and reports what comes of those that wait."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Callable, Dict, List, Optional, Tuple

from .errors import GearsForceStopped, Refused, error_text
from .events import Events, EventStage, column
from .frames import Frame, Kind
from .readers import batch_of, events_of

if TYPE_CHECKING:
    from .worker import Worker

ABORTED = "the execution was aborted"


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
            # With the last one the server may use the number again.
            if events.is_answered and not events.waiting:
                self._drop(events)
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
            # Each knows the other: without this both would stay until the collector looks, which it seldom does.
            del events.context

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
