//! One open connection: writes what is queued, reads what comes, and hands the replies to those who asked.
//!
//! Reading and writing happen in one task, in [`Connection::poll_run`], so that a batch costs one wake-up each way. All
//! batches that are queued at one moment leave in one write. Where a server's event loop tells what has come, its thread
//! reads it ([`Connection::read_now`]), for as long as that is little.

use std::collections::VecDeque;
use std::future::poll_fn;
use std::io::IoSlice;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::task::{Context, Poll, Waker, ready};
use std::time::Duration;

use bytes::{Buf, BytesMut};
use tokio::io::{AsyncReadExt, AsyncWrite};
use tokio::sync::mpsc;

use super::outgoing::{LARGE, Outgoing, Pending};
use super::stream::Stream;
use super::{Failure, Status};
use crate::resp::{ProtocolError, Scanner};

/// What the owner of a link wants of its connection.
pub(super) enum Message {
    Send(Outgoing),
    /// Something was queued past this channel, and has to be written.
    Look,
    /// Send on another connection from now on: the peer has not said anything for too long.
    Replace,
}

/// Why a connection ended.
pub(super) enum End {
    /// Nobody can send to it any more.
    Unused,
    /// It is of no use any more, for this reason.
    Broken(String),
    /// Another one is to take its place; what was asked may still be answered.
    Replaced,
}

pub(super) struct Connection {
    stream: Box<dyn Stream>,
    status: Arc<Status>,
    /// Requests in a row that ran out of time; the node's first byte ends the row.
    silence: Arc<AtomicU32>,
    /// Batches of which nothing has left. Those that are given up by now never do.
    waiting: VecDeque<(Vec<u8>, Pending)>,
    /// What is left to write of a batch that has left in part, and how much of it has.
    begun: Vec<u8>,
    begun_written: usize,
    input: BytesMut,
    /// The largest that `input` has been since it was last made anew.
    largest: usize,
    scanner: Scanner,
    /// Batches that have left, wholly or in part, in the order in which they are answered.
    pending: VecDeque<Pending>,
    /// Whether the node has answered anything here.
    has_worked: bool,
    /// Who tells what has come.
    told_by: ToldBy,
    /// Nobody can send to it any more.
    is_unused: bool,
    /// Why the connection is of no use any more, if that was seen past the task that owns it.
    ended: Option<String>,
    /// That task.
    owner: Waker,
}

/// Who tells a connection that there is something to be read.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum ToldBy {
    /// The runtime, and so the task that owns the connection reads it.
    Runtime,
    /// An event loop, whose thread reads it.
    Watcher,
    /// The runtime, until there is little to read; then an event loop again.
    RuntimeForNow,
}

impl Connection {
    pub(super) fn new(stream: Box<dyn Stream>, told_by: ToldBy, status: Arc<Status>, silence: Arc<AtomicU32>) -> Self {
        Self {
            stream,
            status,
            silence,
            waiting: VecDeque::new(),
            begun: Vec::new(),
            begun_written: 0,
            input: BytesMut::new(),
            largest: 0,
            scanner: Scanner::default(),
            pending: VecDeque::new(),
            has_worked: false,
            told_by,
            is_unused: false,
            ended: None,
            owner: Waker::noop().clone(),
        }
    }

    /// Queues a batch.
    pub(super) fn queue(&mut self, outgoing: Outgoing) {
        self.waiting.push_back(outgoing.begin());
    }

    /// Works until the connection ends. What was asked and not answered is then failed; of what has not left,
    /// [`take_unsent`](Self::take_unsent) says what becomes.
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
        /// How often it is seen whether anybody does.
        const LOOK: Duration = Duration::from_millis(250);
        self.told_by = ToldBy::Runtime;
        while self.has_requesters() {
            let broken = poll_fn(|context| match self.poll_write(context) {
                Poll::Ready(Err(error)) => Poll::Ready(error.to_string()),
                _ => self.poll_read_if_told(context),
            });
            if let Ok(cause) = tokio::time::timeout(LOOK, broken).await {
                self.fail_pending(&cause);
                return self.fail_waiting(&cause);
            }
        }
    }

    fn has_requesters(&self) -> bool {
        let waiting = self.waiting.iter().map(|(_, pending)| pending);
        self.pending.iter().chain(waiting).any(|pending| !pending.is_given_up())
    }

    fn fail_pending(&mut self, cause: &str) {
        for mut pending in self.pending.drain(..) {
            pending.finish(Some(Failure::Lost(cause.into())), false);
        }
    }

    fn fail_waiting(&mut self, cause: &str) {
        for (_, mut pending) in self.waiting.drain(..) {
            pending.finish(Some(Failure::Unreachable(cause.into())), false);
        }
    }

    /// What has not left a connection that has ended, to be sent by another: the connection may have died long ago. One
    /// that has never worked fails it instead, as the next would not work either.
    pub(super) fn take_unsent(&mut self, cause: &str) -> Vec<Outgoing> {
        if !self.has_worked {
            self.fail_waiting(cause);
        }
        self.waiting.drain(..).filter_map(|(wire, pending)| pending.take_back(wire)).collect()
    }

    fn poll_end(&mut self, inbox: &mut mpsc::UnboundedReceiver<Message>, context: &mut Context<'_>) -> Poll<End> {
        if let Some(cause) = self.ended.take() {
            return Poll::Ready(End::Broken(cause));
        }
        loop {
            match inbox.poll_recv(context) {
                Poll::Ready(Some(Message::Send(outgoing))) => self.queue(outgoing),
                Poll::Ready(Some(Message::Look)) => {}
                // A node that has said something since is not silent.
                Poll::Ready(Some(Message::Replace)) if self.stream.has_news() => {}
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
            if self.stream.has_news() {
                // Whoever tells what comes is about to hear of it, and wakes us then.
                return Poll::Pending;
            }
        }
        if let Poll::Ready(Err(error)) = self.poll_write(context) {
            return Poll::Ready(End::Broken(error.to_string()));
        }
        let read = self.poll_read_if_told(context);
        if self.is_unused && self.pending.is_empty() && self.waiting.is_empty() {
            return Poll::Ready(End::Unused);
        }
        read.map(End::Broken)
    }

    /// Whether something is to be sent after a pause, in which the other side has said something: perhaps that it is gone.
    fn may_have_died(&self) -> bool {
        let is_idle = self.pending.is_empty() && self.begun.is_empty();
        is_idle && !self.waiting.is_empty() && self.stream.has_news()
    }

    /// Writes what is queued, from whatever thread. `false` if some of it has to wait, or there is more to be done.
    pub(super) fn write_now(&mut self) -> bool {
        let mut context = Context::from_waker(Waker::noop());
        // What ends with the connection is not to be written to it: it leaves by the next.
        self.ended.is_none() && !self.may_have_died() && matches!(self.poll_write(&mut context), Poll::Ready(Ok(())))
    }

    fn poll_write(&mut self, context: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        /// More than this many pieces do not get faster.
        const PIECES: usize = 64;
        loop {
            self.waiting.retain(|(_, pending)| pending.is_to_leave());
            let rest = std::iter::once(&self.begun[self.begun_written..]).filter(|rest| !rest.is_empty());
            let mut pieces = rest.chain(self.waiting.iter().map(|(wire, _)| wire.as_slice()));
            let stream = Pin::new(&mut self.stream);
            let written = match (pieces.next(), pieces.next()) {
                (None, _) => return stream.poll_flush(context),
                (Some(only), None) => stream.poll_write(context, only),
                (Some(first), Some(second)) => {
                    let mut slices = [IoSlice::new(&[]); PIECES];
                    let mut count = 0;
                    for (slice, piece) in slices.iter_mut().zip([first, second].into_iter().chain(pieces)) {
                        *slice = IoSlice::new(piece);
                        count += 1;
                    }
                    stream.poll_write_vectored(context, &slices[..count])
                }
            };
            match ready!(written)? {
                0 => return Poll::Ready(Err(std::io::ErrorKind::WriteZero.into())),
                written => self.has_left(written),
            }
        }
    }

    /// So many bytes have left: moves the batches that they belong to.
    fn has_left(&mut self, mut written: usize) {
        loop {
            let rest = self.begun.len() - self.begun_written;
            if written < rest {
                self.begun_written += written;
                return;
            }
            written -= rest;
            self.begun_written = 0;
            self.begun.clear();
            if written == 0 {
                return;
            }
            let Some((wire, pending)) = self.waiting.pop_front() else { return };
            self.begun = wire;
            self.pending.push_back(pending);
        }
    }

    /// Reads what has come, in the thread of the event loop that has told of it. `false` if it needs not tell any more.
    /// `here`: whether who waits for it may go on in this thread.
    pub(super) fn read_now(&mut self, here: bool) -> bool {
        /// With more requests than this the runtime reads, while this thread takes further ones.
        const MANY: usize = 4;
        if self.is_watched() {
            if self.pending.len() > MANY {
                self.told_by = ToldBy::RuntimeForNow;
            } else {
                self.read_past_owner(here);
            }
            self.tell_owner();
        }
        self.is_watched()
    }

    /// Reads what has come, where the event loop has not told of it yet.
    pub(super) fn look(&mut self) {
        while self.is_watched() && self.read_past_owner(false) {}
        self.tell_owner();
    }

    /// Whether it is read where an event loop tells of what comes.
    fn is_watched(&self) -> bool {
        self.told_by == ToldBy::Watcher && self.ended.is_none()
    }

    /// Reads what has come, and leaves the rest of what is long to the runtime. `false` if nothing has come.
    fn read_past_owner(&mut self, here: bool) -> bool {
        let read = self.poll_read_once(&mut Context::from_waker(Waker::noop()), here);
        let has_come = read.is_ready();
        if let Poll::Ready(Err(cause)) = read {
            self.ended = Some(cause);
        }
        if self.is_in_long_reply() {
            self.told_by = ToldBy::RuntimeForNow;
        }
        has_come
    }

    /// Wakes the owner if it has to read from now on, or may have waited for this to send more, or to end.
    fn tell_owner(&self) {
        let is_idle = self.pending.is_empty();
        if !self.is_watched() || is_idle && (self.is_unused || !self.waiting.is_empty()) {
            self.owner.wake_by_ref();
        }
    }

    /// The event loop tells nothing of this connection.
    pub(super) fn leave_to_runtime(&mut self) {
        self.told_by = ToldBy::Runtime;
        self.owner.wake_by_ref();
    }

    fn is_in_long_reply(&self) -> bool {
        self.scanner.cost() > LARGE || self.pending.front().is_some_and(|first| first.is_long())
    }

    /// Reads, in the task that owns the connection, unless somebody else is told what comes.
    fn poll_read_if_told(&mut self, context: &mut Context<'_>) -> Poll<String> {
        if self.told_by == ToldBy::Watcher {
            return Poll::Pending;
        }
        if let Err(error) = self.stream.read_by_runtime() {
            return Poll::Ready(error.to_string());
        }
        let were_few = self.pending.len() <= 1;
        let read = self.poll_read(context);
        if self.told_by == ToldBy::RuntimeForNow && were_few && self.pending.is_empty() {
            self.told_by = ToldBy::Watcher;
            self.stream.read_by_watcher();
        }
        read
    }

    /// Reads until nothing more comes. Ready when the connection is of no use any more, with the reason.
    fn poll_read(&mut self, context: &mut Context<'_>) -> Poll<String> {
        loop {
            if let Err(cause) = ready!(self.poll_read_once(context, false)) {
                return Poll::Ready(cause);
            }
        }
    }

    /// Reads what has come. `here`: whether who waits for it may go on in this thread.
    fn poll_read_once(&mut self, context: &mut Context<'_>, here: bool) -> Poll<Result<(), String>> {
        const CHUNK: usize = 16 * 1024;
        const LARGEST_CHUNK: usize = 64 * 1024 * 1024;
        // What is passed over needs no room of its own.
        let is_wanted = self.pending.front().is_some_and(|first| !first.is_given_up());
        let missing = if is_wanted { self.scanner.missing() } else { 0 };
        self.input.reserve(missing.clamp(CHUNK, LARGEST_CHUNK));
        let read = pin!(self.stream.read_buf(&mut self.input));
        match ready!(read.poll(context)) {
            Ok(0) => return Poll::Ready(Err("the node closed the connection".into())),
            Ok(_) => {
                self.has_worked = true;
                self.silence.store(0, Ordering::Relaxed);
                self.largest = self.largest.max(self.input.len());
            }
            Err(error) => return Poll::Ready(Err(error.to_string())),
        }
        self.take_replies(here).map_err(|error| error.to_string())?;
        self.let_go_of_large_buffer();
        Poll::Ready(Ok(()))
    }

    /// A buffer that has grown for one reply would otherwise stay for as long as the connection does.
    fn let_go_of_large_buffer(&mut self) {
        const LARGE: usize = 1024 * 1024;
        if self.largest > LARGE && self.input.len() < LARGE {
            self.largest = 0;
            self.input = BytesMut::from(&self.input[..]);
        }
    }

    /// Takes every reply that has come whole, and passes over those that nobody wants, whole or not.
    fn take_replies(&mut self, here: bool) -> Result<(), ProtocolError> {
        // Replies to one batch are taken together: how many there are, and where they end.
        let (mut found, mut end) = (0, 0);
        loop {
            let Some(first) = self.pending.front_mut() else {
                return if self.input.is_empty() { Ok(()) } else { Err(ProtocolError::UNASKED) };
            };
            let is_whole = self.scanner.scan(&self.input)?;
            let is_wanted = first.wants_next() && !first.is_given_up();
            let has_room = first.has_room(self.scanner.cost());
            let is_found = is_whole && is_wanted && has_room;
            if is_found {
                first.count(self.scanner.cost());
                (found, end) = (found + 1, self.scanner.position());
            }
            let is_last = is_found && first.read + 1 == first.expected();
            if found > 0 && (is_last || !is_found) {
                let bytes = self.input.split_to(end).freeze();
                self.scanner.forget_first(end);
                first.take(&bytes, found)?;
                (found, end) = (0, 0);
            }
            if is_wanted && !has_room {
                first.finish(Some(Failure::TooBig), here);
            } else if is_wanted && !is_whole {
                return Ok(());
            } else if is_whole && !is_wanted && first.wants_next() {
                self.status.late_replies.fetch_add(1, Ordering::Relaxed);
            }
            if !is_found {
                self.input.advance(self.scanner.forget());
            }
            if !is_whole {
                return Ok(());
            }
            self.scanner.next_reply();
            first.read += 1;
            if first.read == first.expected() {
                first.finish(None, here);
                self.pending.pop_front();
            }
        }
    }
}

#[cfg(test)]
mod tests;
