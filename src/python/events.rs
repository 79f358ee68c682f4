//! Events for the flows of registrations: requests of many at once, and what comes of each.
//!
//! A worker runs the flow of a registration once for each event of a request, one after the other. It may answer before it
//! has begun all; and events that wait for a future or coroutine end after the answer, each by itself.

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use super::WorkerError;
use super::batch::columns_of_keys;
use super::contexts::ContextGuard;
pub(crate) use super::event_ends::{EventOutcome, WaitingEvents, outcome};
use super::event_ends::{errors, results};
use super::frame::FrameKind;
use super::marshal::{Value, Writer};
use super::sessions::SessionHandle;
use crate::error::Error;
use crate::flow::Records;

/// Events as they stand in a frame.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct EventBatch {
    shape: EventShape,
    count: usize,
    /// Some string is not UTF-8.
    has_bytes: bool,
    sections: Vec<Bytes>,
}

/// The form in which a batch has its events.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
enum EventShape {
    /// Keys, types, values and names of events.
    Keys,
    /// Keys and names of events.
    Names,
    /// Lists of records.
    Lists,
    /// Records; for a flow that is opened on all shards.
    Records,
}

impl EventShape {
    fn word(self) -> &'static str {
        match self {
            Self::Keys => "keys",
            Self::Names => "names",
            Self::Lists => "lists",
            Self::Records => "records",
        }
    }
}

impl EventBatch {
    /// Writes events of keys with their values: records have been read with
    /// [typed](crate::flow::plan::ValuesRead::Typed) values, and names of events are in the same order.
    ///
    /// # Errors
    /// If a value is none.
    pub(crate) fn of_keys<'n>(records: &Records, names: impl Iterator<Item = &'n [u8]>) -> Result<Self, Error> {
        let (has_bytes, mut sections) = columns_of_keys(records)?;
        sections.push(column_of_names(names));
        Ok(Self { shape: EventShape::Keys, count: records.len(), has_bytes, sections })
    }

    /// Writes events of keys without their values: records have the names of events as values.
    pub(crate) fn of_names(records: &Records) -> Self {
        let mut keys = Writer::with_capacity(records.byte_len());
        records.keys().for_each(|key| keys.text_or_bytes(key));
        let has_bytes = keys.has_bytes();
        let sections = vec![keys.into_bytes().into(), column_of_names(records.values())];
        Self { shape: EventShape::Names, count: records.len(), has_bytes, sections }
    }

    /// Writes events each of which is one record, a list of words.
    pub(crate) fn of_words<'w, W>(events: impl ExactSizeIterator<Item = W>) -> Self
    where
        W: ExactSizeIterator<Item = &'w [u8]>,
    {
        let count = events.len();
        let mut lists = Writer::default();
        for words in events {
            lists.begin_list(1);
            lists.begin_list(words.len());
            words.for_each(|word| lists.text_or_bytes(word));
        }
        let has_bytes = lists.has_bytes();
        Self { shape: EventShape::Lists, count, has_bytes, sections: vec![lists.into_bytes().into()] }
    }

    /// Writes one event, the record of which is a list of words, for a flow that is [opened](super::stage) on all shards.
    pub(crate) fn of_record<'w>(words: impl ExactSizeIterator<Item = &'w [u8]>) -> Self {
        let mut record = Writer::default();
        record.begin_list(words.len());
        words.for_each(|word| record.text_or_bytes(word));
        Self::of_records(1, record)
    }

    /// Takes records, marshalled one after the other, for a flow that is [opened](super::stage) on all shards.
    pub(crate) fn of_records(count: usize, records: Writer) -> Self {
        let has_bytes = records.has_bytes();
        Self { shape: EventShape::Records, count, has_bytes, sections: vec![records.into_bytes().into()] }
    }

    /// Returns the head of the request that gives these events to a stage of an execution.
    pub(super) fn head_of_run(&self, execution: u64, stage: u64) -> Value {
        Value::Tuple(vec![
            execution.into(),
            stage.into(),
            self.shape.word().into(),
            (self.count as u64).into(),
            self.has_bytes.into(),
            self.sizes(),
        ])
    }

    fn sizes(&self) -> Value {
        Value::Tuple(self.sections.iter().map(|section| (section.len() as u64).into()).collect())
    }

    /// Takes events each of which is a marshalled list of records already.
    pub(crate) fn of_lists(count: usize, lists: Writer) -> Self {
        let has_bytes = lists.has_bytes();
        Self { shape: EventShape::Lists, count, has_bytes, sections: vec![lists.into_bytes().into()] }
    }

    /// Makes one event of records, for a worker that runs the whole flow for it.
    fn as_one_event(&self) -> Self {
        debug_assert_eq!(self.shape, EventShape::Records);
        let mut list = Writer::default();
        list.begin_list(self.count);
        let sections = vec![[&list.into_bytes()[..], &self.sections[0]].concat().into()];
        Self { shape: EventShape::Lists, count: 1, has_bytes: self.has_bytes, sections }
    }

    /// Returns how many events there are.
    pub(crate) fn len(&self) -> usize {
        self.count
    }

    /// Returns the sections of a request with these events.
    pub(crate) fn sections(&self) -> &[Bytes] {
        &self.sections
    }

    /// Returns the head of a request for the flow of this key, of a session.
    pub(crate) fn head(&self, run: &EventsRun<'_>) -> Value {
        Value::dict([
            ("execution", run.execution.into()),
            ("session", run.session.into()),
            ("key", run.key.into()),
            ("results", run.results.word().into()),
            ("async", run.may_wait.into()),
            ("shape", self.shape.word().into()),
            ("count", (self.count as u64).into()),
            ("has_bytes", self.has_bytes.into()),
            ("sizes", self.sizes()),
        ])
    }
}

/// Writes each name once: there are few.
fn column_of_names<'n>(names: impl Iterator<Item = &'n [u8]>) -> Bytes {
    let mut column = Writer::default();
    names.for_each(|name| column.name(name));
    column.into_bytes().into()
}

/// Says which flow events are for, and how it is to run.
#[derive(Debug, Clone, Copy)]
pub(crate) struct EventsRun<'a> {
    /// The number by which the calls of these events are known.
    pub(crate) execution: u64,
    pub(crate) session: &'a str,
    /// The flow's name between workers.
    pub(crate) key: &'a str,
    pub(crate) results: EventResults,
    /// Futures and coroutines are allowed.
    pub(crate) may_wait: bool,
}

/// The form in which the results of events are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum EventResults {
    /// Replies in RESP2.
    Replies,
    /// Replies in RESP2, where a string that begins with `+` or `-` is a status or an error.
    Trigger,
}

impl EventResults {
    fn word(self) -> &'static str {
        match self {
            Self::Replies => "replies",
            Self::Trigger => "trigger",
        }
    }
}

/// The answer of a worker to a request with events.
#[derive(Debug)]
pub(crate) struct EventsAnswer {
    /// One outcome for each event that was begun, in order; [`None`] for one that waits for a future or coroutine.
    pub(crate) outcomes: Vec<Option<EventOutcome>>,
    /// The events that wait.
    pub(crate) waiting: Option<WaitingEvents>,
}

impl EventsAnswer {
    /// Reads the outcomes of an answer; [`None`] if it is none.
    fn read(head: &Value, section: &Bytes, most: usize) -> Option<Vec<Option<EventOutcome>>> {
        let outcomes = head.items()?.first()?.items()?;
        let counts = outcomes.iter().map(|outcome| match outcome {
            Value::None => Some(None),
            outcome => Some(Some((outcome.items()?.first()?.as_count()? as usize, errors(outcome.items()?.get(1)?)?))),
        });
        let counts: Vec<Option<(usize, Vec<Bytes>)>> = counts.collect::<Option<_>>()?;
        let all = counts.iter().flatten().try_fold(0_usize, |sum, (count, _)| sum.checked_add(*count))?;
        let mut results = results(all, section)?;
        let mut outcome = |(count, errors)| EventOutcome { results: results.take_first(count), errors };
        (counts.len() <= most).then(|| counts.into_iter().map(|counted| counted.map(&mut outcome)).collect())
    }
}

/// Expects that an event which the main thread runs may wait for a future or coroutine. Before it is run.
pub(crate) fn expect(session: &SessionHandle, context: &ContextGuard) -> WaitingEvents {
    session.worker().ends.expect(context.number())
}

/// Runs the flow of this key once for each event. The number of the context is that of the execution.
///
/// # Errors
/// That the worker has ended, or refuses the events.
pub(crate) async fn run(
    session: &SessionHandle,
    context: &ContextGuard,
    key: &str,
    results: EventResults,
    batch: &EventBatch,
) -> Result<EventsAnswer, WorkerError> {
    let execution = context.number();
    let worker = session.worker();
    let waiting = worker.ends.expect(execution);
    let run = EventsRun { execution, session: session.id(), key, results, may_wait: true };
    let answer = worker.ask(FrameKind::Events, &batch.head(&run), batch.sections()).await?;
    let outcomes = EventsAnswer::read(&answer.head, &answer.sections, batch.len());
    let outcomes =
        outcomes.ok_or_else(|| WorkerError::Gone("the Python process has answered to something else".into()))?;
    let some_wait = outcomes.iter().any(Option::is_none);
    Ok(EventsAnswer { outcomes, waiting: some_wait.then_some(waiting) })
}

/// Runs the whole flow of this key once for all records of a batch, and waits for its end.
///
/// # Errors
/// That the worker has ended, or refuses the event.
pub(super) async fn run_once(
    session: &SessionHandle,
    context: &ContextGuard,
    key: &str,
    results: EventResults,
    batch: &EventBatch,
) -> Result<EventOutcome, WorkerError> {
    let answer = run(session, context, key, results, &batch.as_one_event()).await?;
    match (answer.outcomes.into_iter().next(), answer.waiting) {
        (Some(Some(outcome)), _) => Ok(outcome),
        (Some(None), Some(mut waiting)) => match waiting.next().await {
            Some((_, outcome)) => Ok(outcome),
            None => Err(WorkerError::Gone("the Python process has ended".into())),
        },
        _ => Err(WorkerError::Gone("the Python process has answered to something else".into())),
    }
}
