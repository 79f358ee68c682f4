//! One open connection: writes what is queued, reads what comes, and hands the replies to those who asked.
//!
//! Reading and writing happen in one task, in [`Connection::poll_run`], so that a batch costs one wake-up each way. All
//! batches that are queued at one moment leave in one write. Where a server's event loop tells what has come, its thread
//! reads it ([`Connection::read_now`]), for as long as that is little.
//!
//! Writing is in `write.rs`, reading in `read.rs`, the batches that both are for in `in_flight.rs`; how replies
//! of code of others are kept apart from those to others in `marker.rs` and `marked.rs`; how a node is asked for its own slots
//! in `questions.rs` and `own_slots.rs`; `task.rs` is the task that owns it.
//! The end of batches when the connection ends stands here.

mod in_flight;
mod marked;
mod marker;
mod own_slots;
mod questions;
mod read;
mod task;
mod write;

use std::collections::VecDeque;
use std::future::poll_fn;
use std::sync::Arc;
use std::sync::atomic::AtomicU32;
use std::task::{Context, Poll, Waker, ready};
use std::time::Duration;

use bytes::BytesMut;
pub(super) use in_flight::EncodedBatch;
use in_flight::PendingBatch;
use marker::MarkedReply;
pub(super) use marker::Marking;
use questions::Questions;
pub(super) use task::ConnectionTask;
use tokio::sync::mpsc;

use super::batch::Failure;
use super::own_slots::LatestOwnSlots;
use super::stats::LinkStats;
use super::stream::Stream;
use crate::resp::Scanner;

/// Tells the task that owns a connection what its link wants.
pub(super) enum Message {
    /// Send this batch.
    Send(EncodedBatch),
    /// Write what was queued past this channel.
    Flush,
    /// Send on another connection from now on: the peer has not said anything for too long.
    Replace,
}

/// The reason why a connection ended.
pub(super) enum End {
    /// Nobody can send to the connection any more.
    Unused,
    /// The connection is of no use any more, for this reason.
    Broken(String),
    /// Another one is to take its place; what was asked may still be answered.
    Replaced,
}

/// A connection past its handshake.
pub(super) struct Connection {
    stream: Box<dyn Stream>,
    stats: Arc<LinkStats>,
    /// Requests in a row that ran out of time; the node's first byte ends the row.
    silence: Arc<AtomicU32>,
    /// Batches of which nothing has left. Those that are given up by now never do.
    waiting: VecDeque<(Vec<u8>, PendingBatch)>,
    /// The bytes of a batch that has begun to leave, and the number that are written.
    begun: Vec<u8>,
    begun_written: usize,
    input: BytesMut,
    /// The largest that `input` has been since it was last made anew.
    largest: usize,
    scanner: Scanner,
    /// The progress of reading a reply with a marker behind it.
    marked: MarkedReply,
    /// Learns by which command the node repeats markers.
    marking: Arc<Marking>,
    /// Batches that have left, wholly or in part, in the order in which they are answered.
    pending: VecDeque<PendingBatch>,
    /// The questions for the node's own slots.
    questions: Questions,
    /// Tells whether the node has answered anything on this connection.
    has_worked: bool,
    /// The side that reads.
    read_by: ReadBy,
    /// Nobody can send to the connection any more.
    is_unused: bool,
    /// The reason why the connection is of no use any more, if somebody else than its task has seen it.
    ended: Option<String>,
    /// The waker of the task that owns the connection.
    owner: Waker,
}

/// The side that reads a connection.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum ReadBy {
    /// The runtime: the task that owns the connection.
    Runtime,
    /// The thread of an event loop, which tells what has come.
    Watcher,
    /// The runtime, until little is left to be read; then the event loop again.
    RuntimeUntilIdle,
}

impl Connection {
    /// Takes over a stream that the handshake is done with.
    pub(super) fn new(
        stream: Box<dyn Stream>,
        read_by: ReadBy,
        stats: Arc<LinkStats>,
        silence: Arc<AtomicU32>,
        marking: Arc<Marking>,
        own_slots: Arc<LatestOwnSlots>,
    ) -> Self {
        Self {
            stream,
            stats,
            silence,
            waiting: VecDeque::new(),
            begun: Vec::new(),
            begun_written: 0,
            input: BytesMut::new(),
            largest: 0,
            scanner: Scanner::default(),
            marked: MarkedReply::default(),
            marking,
            pending: VecDeque::new(),
            questions: Questions::new(own_slots),
            has_worked: false,
            read_by,
            is_unused: false,
            ended: None,
            owner: Waker::noop().clone(),
        }
    }

    /// Queues a batch.
    pub(super) fn queue(&mut self, batch: EncodedBatch) {
        let (wire, pending) = batch.begin();
        self.questions.see_queued(&pending);
        self.waiting.push_back((wire, pending));
    }

    /// Works until the connection ends. Requests that were sent and not answered have failed then;
    /// [`take_unsent`](Self::take_unsent) gives back those that have not left.
    pub(super) fn poll_run(
        &mut self,
        inbox: &mut mpsc::UnboundedReceiver<Message>,
        context: &mut Context<'_>,
    ) -> Poll<End> {
        self.owner.clone_from(context.waker());
        let end = ready!(self.poll_end(inbox, context));
        if let End::Broken(cause) = &end {
            self.fail_pending(cause);
        }
        Poll::Ready(end)
    }

    /// Works on after it has been replaced, for those who still wait for an answer.
    pub(super) async fn run_out(mut self) {
        /// The time between two looks whether anybody still does.
        const CHECK_EVERY: Duration = Duration::from_millis(250);
        self.read_by = ReadBy::Runtime;
        while self.has_requesters() {
            let broken = poll_fn(|context| match self.poll_write(context) {
                Poll::Ready(Err(error)) => Poll::Ready(error.to_string()),
                _ => self.poll_read_by_runtime(context),
            });
            if let Ok(cause) = tokio::time::timeout(CHECK_EVERY, broken).await {
                self.fail_pending(&cause);
                return self.fail_waiting(&cause);
            }
        }
    }

    fn has_requesters(&self) -> bool {
        let waiting = self.waiting.iter().map(|(_, pending)| pending);
        self.pending.iter().chain(&self.questions.held).chain(waiting).any(|pending| !pending.is_given_up())
    }

    fn fail_pending(&mut self, cause: &str) {
        self.fail_held(cause);
        for mut pending in self.pending.drain(..) {
            pending.finish(Some(Failure::Lost(cause.into())), false);
        }
    }

    fn fail_waiting(&mut self, cause: &str) {
        for (_, mut pending) in self.waiting.drain(..) {
            pending.finish(Some(Failure::Unreachable(cause.into())), false);
        }
    }

    /// Takes the batches that have not left a connection that has ended, so that another can send them: the connection
    /// may have died long ago. A connection that has never worked fails them instead, since the next one would not work
    /// either.
    pub(super) fn take_unsent(&mut self, cause: &str) -> Vec<EncodedBatch> {
        if !self.has_worked {
            self.fail_waiting(cause);
        }
        self.waiting.drain(..).filter_map(|(wire, pending)| pending.take_back(wire)).collect()
    }

    /// Does all that can be done now: takes what is queued, writes, reads.
    fn poll_end(&mut self, inbox: &mut mpsc::UnboundedReceiver<Message>, context: &mut Context<'_>) -> Poll<End> {
        if let Some(cause) = self.ended.take() {
            return Poll::Ready(End::Broken(cause));
        }
        loop {
            match inbox.poll_recv(context) {
                Poll::Ready(Some(Message::Send(batch))) => self.queue(batch),
                Poll::Ready(Some(Message::Flush)) => {}
                // A node that has said something since is not silent.
                Poll::Ready(Some(Message::Replace)) if self.stream.has_pending_input() => {}
                Poll::Ready(Some(Message::Replace)) => return Poll::Ready(End::Replaced),
                Poll::Ready(None) => {
                    self.is_unused = true;
                    break;
                }
                Poll::Pending => break,
            }
        }
        if self.may_have_died() {
            // Whatever leaves now would be lost if that is the end.
            if let Poll::Ready(cause) = self.poll_read(context) {
                return Poll::Ready(End::Broken(cause));
            }
            if self.stream.has_pending_input() {
                // Whoever tells what comes is about to hear of it, and wakes us then.
                return Poll::Pending;
            }
        }
        if let Poll::Ready(Err(error)) = self.poll_write(context) {
            return Poll::Ready(End::Broken(error.to_string()));
        }
        let read = self.poll_read_by_runtime(context);
        if self.is_unused && self.pending.is_empty() && self.waiting.is_empty() {
            return Poll::Ready(End::Unused);
        }
        read.map(End::Broken)
    }
}

#[cfg(test)]
mod tests;
