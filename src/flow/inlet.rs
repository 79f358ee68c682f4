//! [`Inlet`]: where a stage of a leaf takes the records in that other shards send it. A batch at most waits there.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;

use super::keyspace::{KeySlice, KeySource};
use super::records::Records;
use crate::error::Error;
use crate::topology::BoxFuture;

/// The way into a stage.
#[derive(Default)]
pub(super) struct Inlet {
    waiting: Mutex<WaitingRecords>,
    filled: Notify,
    emptied: Notify,
}

#[derive(Default)]
struct WaitingRecords {
    records: Records,
    is_closed: bool,
}

impl Inlet {
    fn lock(&self) -> MutexGuard<'_, WaitingRecords> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Puts a batch in, once there is room. Returns `false`, and puts nothing in, if nobody takes it any more.
    pub(super) async fn put(&self, batch: Records) -> bool {
        loop {
            let emptied = self.emptied.notified();
            {
                let mut waiting = self.lock();
                if waiting.is_closed {
                    return false;
                }
                if waiting.records.is_empty() {
                    waiting.records = batch;
                    break;
                }
            }
            emptied.await;
        }
        self.filled.notify_one();
        true
    }

    /// Says that nothing more comes.
    pub(super) fn close(&self) {
        self.lock().is_closed = true;
        self.filled.notify_one();
        self.emptied.notify_waiters();
    }

    /// Waits for records; none once all have been taken and nothing more comes.
    async fn take(&self) -> Records {
        loop {
            let filled = self.filled.notified();
            {
                let mut waiting = self.lock();
                if waiting.is_closed || !waiting.records.is_empty() {
                    let records = std::mem::take(&mut waiting.records);
                    drop(waiting);
                    self.emptied.notify_one();
                    return records;
                }
            }
            filled.await;
        }
    }
}

/// Reads what comes in.
pub(super) struct FromInlet {
    inlet: Arc<Inlet>,
    /// The records that were taken in and are not read.
    rest: Records,
}

impl FromInlet {
    pub(super) fn new(inlet: Arc<Inlet>) -> Self {
        Self { inlet, rest: Records::new() }
    }
}

impl KeySource for FromInlet {
    fn next(&mut self, most: usize) -> BoxFuture<'_, Result<KeySlice, Error>> {
        Box::pin(async move {
            if self.rest.is_empty() {
                self.rest = self.inlet.take().await;
            }
            let is_end = self.rest.is_empty();
            Ok(KeySlice { records: self.rest.take_first(most), is_end, ..KeySlice::default() })
        })
    }

    fn memory(&self) -> u64 {
        (self.rest.byte_len() + self.inlet.lock().records.byte_len()) as u64
    }
}
