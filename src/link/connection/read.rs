//! Reading: by the task that owns the connection, or by the thread of an event loop while there is little to read.

use std::pin::pin;
use std::sync::atomic::Ordering;
use std::task::{Context, Poll, Waker, ready};

use bytes::{Buf, BytesMut};
use tokio::io::AsyncReadExt;

use super::{Connection, ReadBy};
use crate::link::batch::Failure;
use crate::link::budget::LARGE;
use crate::resp::ProtocolError;

impl Connection {
    /// Reads what has come, in the thread of the event loop that has told of it. Returns `false` if the event loop needs not
    /// tell any more. `here`: whether who waits for it may go on in this thread.
    pub(in crate::link) fn read_now(&mut self, here: bool) -> bool {
        /// The number of requests beyond which the runtime reads, while this thread takes further requests.
        const MANY: usize = 4;
        if self.is_watched() {
            if self.in_flight() > MANY {
                self.read_by = ReadBy::RuntimeUntilIdle;
            } else {
                self.read_past_owner(here);
            }
            self.tell_owner();
        }
        self.is_watched()
    }

    /// Reads what has come, where the event loop has not told of it yet.
    pub(in crate::link) fn drain_ready(&mut self) {
        while self.is_watched() && self.read_past_owner(false) {}
        self.tell_owner();
    }

    /// Tells whether the thread of an event loop reads.
    fn is_watched(&self) -> bool {
        self.read_by == ReadBy::Watcher && self.ended.is_none()
    }

    /// Reads what has come, and leaves the rest of what is long to the runtime. Returns `false` if nothing has come.
    fn read_past_owner(&mut self, here: bool) -> bool {
        let read = self.poll_read_once(&mut Context::from_waker(Waker::noop()), here);
        let has_come = read.is_ready();
        if let Poll::Ready(Err(cause)) = read {
            self.ended = Some(cause);
        }
        if self.is_in_long_reply() {
            self.read_by = ReadBy::RuntimeUntilIdle;
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

    /// Leaves reading to the runtime for good: the event loop tells nothing of this connection.
    pub(in crate::link) fn leave_to_runtime(&mut self) {
        self.read_by = ReadBy::Runtime;
        self.owner.wake_by_ref();
    }

    fn is_in_long_reply(&self) -> bool {
        self.scanner.cost() > LARGE || self.pending.front().is_some_and(|first| first.is_long())
    }

    /// Reads, in the task that owns the connection, unless the thread of an event loop reads.
    pub(super) fn poll_read_by_runtime(&mut self, context: &mut Context<'_>) -> Poll<String> {
        if self.read_by == ReadBy::Watcher {
            return Poll::Pending;
        }
        if let Err(error) = self.stream.read_by_runtime() {
            return Poll::Ready(error.to_string());
        }
        let were_few = self.in_flight() <= 1;
        let read = self.poll_read(context);
        if self.read_by == ReadBy::RuntimeUntilIdle && were_few && self.pending.is_empty() {
            self.read_by = ReadBy::Watcher;
            self.stream.read_by_watcher();
        }
        read
    }

    /// Reads until nothing more comes. Ready when the connection is of no use any more, with the reason.
    pub(super) fn poll_read(&mut self, context: &mut Context<'_>) -> Poll<String> {
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
        // A reply that is passed over needs no room of its own.
        let is_wanted = self.pending.front().is_some_and(|first| !first.is_given_up());
        let missing = if is_wanted { self.scanner.missing() } else { 0 };
        self.input.reserve(missing.clamp(CHUNK, LARGEST_CHUNK));
        let read = pin!(self.stream.read_buf(&mut self.input));
        match ready!(read.poll(context)) {
            Ok(0) => return Poll::Ready(Err("the node closed the connection".into())),
            Ok(read) => {
                self.stats.received_bytes.fetch_add(read as u64, Ordering::Relaxed);
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

    /// Gives up a buffer that has grown for one reply; otherwise it would stay for as long as the connection does.
    fn let_go_of_large_buffer(&mut self) {
        const LARGE_BUFFER: usize = 1024 * 1024;
        if self.largest > LARGE_BUFFER && self.input.len() < LARGE_BUFFER {
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
            if first.is_question() {
                match self.take_own_slots(here)? {
                    true => continue,
                    false => return Ok(()),
                }
            }
            if let Some(marker) = first.next_marker() {
                if found > 0 {
                    let bytes = self.input.split_to(end).freeze();
                    self.scanner.forget_first(end);
                    first.take(&bytes, found)?;
                    (found, end) = (0, 0);
                }
                match self.take_marked(marker, here)? {
                    true => continue,
                    false => return Ok(()),
                }
            }
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
                self.stats.late_replies.fetch_add(1, Ordering::Relaxed);
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
                self.finish_first(here);
            }
        }
    }
}
