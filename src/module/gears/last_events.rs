//! [`LastEvents`]: how the last events of a registration have ended. Clients know each as an execution, with its results.
//!
//! They cost no more than to be put here: what a client sees of one is made when it is asked for.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;

use super::event_result::EventResult;
use super::executions::{FlowOutcome, GearsEnd};
use super::replies;
use crate::reply::Reply;

/// The last events of a registration that have ended, the oldest first.
#[derive(Debug, Default)]
pub(super) struct LastEvents(Mutex<VecDeque<LastEvent>>);

/// An event that has ended.
#[derive(Debug, Clone)]
pub(super) struct LastEvent {
    /// The number of the execution, on this node.
    pub(super) number: u64,
    end: KeptEnd,
}

#[derive(Debug, Clone)]
enum KeptEnd {
    Here(Arc<EventResult>, Duration),
    Everywhere(Arc<GearsEnd>),
}

impl LastEvents {
    /// Keeps an event of this node's, and no more than so many in all.
    pub(super) fn keep(&self, number: u64, end: Arc<EventResult>, took: Duration, most: Option<usize>) {
        self.push(LastEvent { number, end: KeptEnd::Here(end, took) }, most);
    }

    /// Keeps an event for which all nodes have worked.
    pub(super) fn keep_of_all(&self, number: u64, end: Arc<GearsEnd>, most: Option<usize>) {
        self.push(LastEvent { number, end: KeptEnd::Everywhere(end) }, most);
    }

    fn push(&self, event: LastEvent, most: Option<usize>) {
        let mut all = self.all();
        all.push_back(event);
        let too_many = most.map_or(0, |most| all.len().saturating_sub(most));
        all.drain(..too_many);
    }

    /// Finds an event by the number of its execution.
    pub(super) fn find(&self, number: u64) -> Option<LastEvent> {
        self.all().iter().find(|event| event.number == number).cloned()
    }

    /// Forgets an event.
    pub(super) fn forget(&self, number: u64) {
        self.all().retain(|event| event.number != number);
    }

    /// Returns all, the oldest first.
    pub(super) fn list(&self) -> Vec<LastEvent> {
        self.all().iter().cloned().collect()
    }

    fn all(&self) -> MutexGuard<'_, VecDeque<LastEvent>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl LastEvent {
    /// Returns the end, as that of an execution.
    pub(super) fn end(&self) -> Arc<GearsEnd> {
        match &self.end {
            KeptEnd::Everywhere(end) => end.clone(),
            KeptEnd::Here(end, took) => Arc::new(outcome_of(end).end(*took)),
        }
    }
}

/// Returns what has come of an event, as of an execution: of its results strings are no statuses or errors.
pub(super) fn outcome_of(end: &EventResult) -> FlowOutcome {
    match end {
        EventResult::Aborted => FlowOutcome { is_aborted: true, ..FlowOutcome::default() },
        EventResult::Lost(why) => FlowOutcome::failed(why),
        EventResult::Ran(outcome) => FlowOutcome {
            results: outcome
                .results
                .values()
                .map(|wire| plain(replies::written(&Bytes::copy_from_slice(wire))))
                .collect(),
            errors: outcome.errors.clone(),
            ..FlowOutcome::default()
        },
    }
}

/// Returns a result as a client of `RG.GETRESULTS` gets it.
pub(super) fn plain(result: Reply) -> Reply {
    let signed = |sign: &[u8], text: &[u8]| Reply::Bulk([sign, text].concat().into());
    match result {
        Reply::Simple(text) => signed(b"+", &text),
        Reply::Error(text) => signed(b"-", &text),
        Reply::Array(elements) => Reply::Array(elements.into_iter().map(plain).collect()),
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_ones_are_kept() {
        let kept = LastEvents::default();
        (0..5).for_each(|number| kept.keep(number, Arc::new(EventResult::failed("why")), Duration::ZERO, Some(3)));
        let numbers = |kept: &LastEvents| kept.list().iter().map(|event| event.number).collect::<Vec<_>>();
        assert_eq!(numbers(&kept), [2, 3, 4]);
        kept.forget(3);
        assert!(kept.find(3).is_none() && kept.find(4).is_some_and(|event| event.end().errors == ["why"]));
        kept.keep(5, Arc::new(EventResult::Aborted), Duration::ZERO, None);
        assert_eq!(numbers(&kept), [2, 4, 5]);
        assert!(kept.find(5).is_some_and(|event| event.end().is_aborted));
    }

    #[test]
    fn results_are_strings() {
        let of_trigger = Reply::Array(vec![Reply::Simple("OK".into()), Reply::Error("no".into()), Reply::Integer(1)]);
        assert_eq!(plain(of_trigger), Reply::Array(vec!["+OK".into(), "-no".into(), Reply::Integer(1)]));
    }
}
