//! The outcomes of events: one for each event, and later ones for those that wait for a future or coroutine.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};

use super::marshal::Value;
use crate::flow::Records;

/// The outcome of one event.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct EventOutcome {
    /// The results in the order in which they came, as values of records.
    pub(crate) results: Records,
    pub(crate) errors: Vec<Bytes>,
}

pub(super) fn errors(list: &Value) -> Option<Vec<Bytes>> {
    list.items()?.iter().map(|error| Some(Bytes::copy_from_slice(error.as_bytes()?))).collect()
}

pub(super) fn results(count: usize, section: &[u8]) -> Option<Records> {
    if count == 0 { Some(Records::new()) } else { Records::of_columns(count, &[], section) }
}

/// Reads the outcome of an event that the main thread has waited for: `(count, errors)`.
pub(crate) fn outcome(said: &Value, section: &[u8]) -> Option<EventOutcome> {
    let [count, list] = said.items()? else { return None };
    Some(EventOutcome { results: results(count.as_count()? as usize, section)?, errors: errors(list)? })
}

/// The end of an event that has waited: its place in its request, and what has come of it.
type EndedEvent = (usize, EventOutcome);

/// Knows who waits for the ends of events of a worker, by the numbers of executions.
#[derive(Debug, Default)]
pub(super) struct EventEnds(Mutex<HashMap<u64, UnboundedSender<EndedEvent>>>);

impl EventEnds {
    /// Expects the ends of events of an execution. Before they are sent to the worker.
    pub(super) fn expect(self: &Arc<Self>, execution: u64) -> WaitingEvents {
        let (sender, ended) = unbounded_channel();
        self.table().insert(execution, sender);
        WaitingEvents { execution, ended, ends: self.clone() }
    }

    /// Takes the end of an event: `(execution, index, count, errors)`.
    pub(super) fn take(&self, head: &Value, sections: &Bytes) {
        let Some([execution, index, count, list]) = head.items() else { return };
        let end = || {
            let results = results(count.as_count()? as usize, sections)?;
            Some((index.as_count()? as usize, EventOutcome { results, errors: errors(list)? }))
        };
        let table = self.table();
        let sender = execution.as_count().and_then(|execution| table.get(&execution));
        if let Some((sender, end)) = sender.zip(end()) {
            // The waiting task may have given up.
            let _ = sender.send(end);
        }
    }

    /// Says that no more will end: the worker has.
    pub(super) fn close(&self) {
        self.table().clear();
    }

    fn table(&self) -> MutexGuard<'_, HashMap<u64, UnboundedSender<EndedEvent>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Events of one execution that may wait for a future or coroutine.
#[derive(Debug)]
pub(crate) struct WaitingEvents {
    execution: u64,
    ended: UnboundedReceiver<EndedEvent>,
    ends: Arc<EventEnds>,
}

impl WaitingEvents {
    /// Waits for the end of one more event. There is none any more if the process has ended.
    pub(crate) async fn next(&mut self) -> Option<(usize, EventOutcome)> {
        self.ended.recv().await
    }
}

impl Drop for WaitingEvents {
    fn drop(&mut self) {
        self.ends.table().remove(&self.execution);
    }
}
