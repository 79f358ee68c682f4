//! Lets a thread write to a connection itself, past the task that owns it: large batches at once, and others, which it has kept,
//! at the end of a round of its event loop.

use std::cell::RefCell;
use std::sync::Arc;

use super::channel::Channel;
use super::connection::EncodedBatch;

/// A batch of so many bytes is worth a write of its own, which whoever sends it does here and now: to wake the task that
/// owns the connection takes as long. Smaller ones are left to it, since those that come together share a write.
const OWN_WRITE: usize = 2 * 1024;

/// Sends a batch by this channel, or keeps it while the thread is corked. Returns `false` if no task serves the connection
/// any more.
pub(super) fn send(channel: &Arc<Channel>, batch: EncodedBatch) -> bool {
    let is_large = batch.len() >= OWN_WRITE;
    let due = CORKED.with_borrow_mut(|corked| match corked {
        None if is_large => Ok(vec![(channel.clone(), batch)]),
        None => Err(batch),
        Some(corked) => {
            corked.push((channel.clone(), batch));
            Ok(if is_large { std::mem::take(corked) } else { Corked::new() })
        }
    });
    match due {
        Ok(due) => {
            write_now(due);
            !channel.is_closed()
        }
        Err(batch) => channel.send(batch),
    }
}

/// Batches that are kept, each with where it goes.
type Corked = Vec<(Arc<Channel>, EncodedBatch)>;

thread_local! {
    static CORKED: RefCell<Option<Corked>> = const { RefCell::new(None) };
}

/// Keeps what this thread sends until [`uncork`], but for large batches. A server that takes many commands in one round of
/// its event loop so sends all that they have for a node in one write.
pub(crate) fn cork() {
    CORKED.with_borrow_mut(|corked| {
        corked.get_or_insert_default();
    });
}

/// Sends what [`cork`] has kept.
pub(crate) fn uncork() {
    CORKED.take().into_iter().for_each(write_now);
}

/// Sends batches: to a few nodes by writing here and now, which spares waking the runtime and gives the node all of a round
/// at once; to the others by the runtime, so that this thread is not kept.
fn write_now(batches: Corked) {
    /// Each write takes some microseconds.
    const MOST_WRITES: usize = 8;
    let mut joined: Vec<Arc<Channel>> = Vec::new();
    for (channel, batch) in batches {
        let is_known = joined.iter().any(|known| Arc::ptr_eq(known, &channel));
        if !is_known && joined.len() == MOST_WRITES {
            // A task that has ended drops the batch, which its requester hears.
            let _ = channel.send(batch);
        } else if channel.join(batch) && !is_known {
            joined.push(channel);
        }
    }
    joined.iter().for_each(|channel| channel.write());
}
