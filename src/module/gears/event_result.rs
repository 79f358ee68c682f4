//! [`EventResult`]: how an event has ended, and what a client gets that has waited for it.

use bytes::Bytes;

use super::replies;
use crate::flow::Records;
use crate::python::events::EventOutcome;
use crate::reply::Reply;

/// The end of an event.
#[derive(Debug)]
pub(in crate::module::gears) enum EventResult {
    /// Its flow has come to its end, perhaps with errors.
    Ran(EventOutcome),
    /// Its process has ended, or there was none; whether its flow has run nobody can tell.
    Lost(String),
    /// The event was aborted.
    Aborted,
}

impl EventResult {
    /// Returns the end of an event that could not run.
    pub(in crate::module::gears) fn failed(why: impl Into<String>) -> Self {
        Self::Ran(EventOutcome { errors: vec![Bytes::from(why.into())], ..EventOutcome::default() })
    }

    /// Returns the end of an event of which nobody has said how it has ended.
    pub(in crate::module::gears) fn none() -> Self {
        Self::Lost("internal error: the event was lost".into())
    }

    /// Returns what a client gets: what is made of the results, or the first error.
    pub(in crate::module::gears) fn reply(&self, of_results: impl FnOnce(&Records) -> Reply) -> Reply {
        match self {
            Self::Aborted => replies::error("ERR the execution was aborted"),
            Self::Lost(why) => replies::error(why),
            Self::Ran(EventOutcome { results, errors }) => match errors.first() {
                Some(error) => replies::error(String::from_utf8_lossy(error)),
                None => of_results(results),
            },
        }
    }
}
