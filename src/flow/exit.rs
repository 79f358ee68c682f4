//! [`Exit`]: where the records of a stage go that have taken all of its steps.

use super::outbox::Outbox;
use super::records::{BATCH_BYTES, BATCH_RECORDS, Records};
use super::router::Router;
use super::work::WorkFailed;

/// The place to which records go.
pub(super) enum Exit {
    /// The coordinator; with the records that are not yet a batch.
    Outbox(Records),
    /// The next stage.
    Router(Router),
    Nowhere,
}

impl Exit {
    /// Hands on records, as far as they are batches. Returns those that no share takes.
    pub(super) async fn hand_on(&mut self, outbox: &Outbox, records: &Records) -> Result<Records, WorkFailed> {
        match self {
            Self::Outbox(batch) => {
                batch.append(records);
                send(outbox, batch, false).await
            }
            Self::Router(router) => Ok(outbox.unless_cancelled(router.send(records)).await??),
            Self::Nowhere => Ok(Records::new()),
        }
    }

    /// Hands on all that is left. Returns the records that no share takes.
    pub(super) async fn hand_on_the_rest(&mut self, outbox: &Outbox) -> Result<Records, WorkFailed> {
        match self {
            Self::Outbox(batch) => send(outbox, batch, true).await,
            Self::Router(router) => Ok(outbox.unless_cancelled(router.flush()).await??),
            Self::Nowhere => Ok(Records::new()),
        }
    }

    /// Returns the memory that waits, in bytes.
    pub(super) fn memory(&self) -> usize {
        match self {
            Self::Outbox(batch) => batch.byte_len(),
            Self::Router(router) => router.memory(),
            Self::Nowhere => 0,
        }
    }
}

/// Sends the coordinator what is a batch; with `all` also what is less than one. The coordinator takes all.
async fn send(outbox: &Outbox, waiting: &mut Records, all: bool) -> Result<Records, WorkFailed> {
    while waiting.is_batch() || (all && !waiting.is_empty()) {
        let batch = waiting.take_batch(BATCH_RECORDS, BATCH_BYTES);
        let is_last = waiting.is_empty();
        outbox.unless_cancelled(outbox.put_batch(batch, all && is_last)).await?;
    }
    Ok(Records::new())
}
