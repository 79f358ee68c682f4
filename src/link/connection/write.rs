//! Writing: all batches that are queued at one moment, in one write.

use std::io::IoSlice;
use std::pin::Pin;
use std::sync::atomic::Ordering;
use std::task::{Context, Poll, Waker, ready};

use tokio::io::AsyncWrite;

use super::Connection;

impl Connection {
    /// Tells whether something is to be sent after a pause, in which the other side has said something: perhaps that it is gone.
    pub(super) fn may_have_died(&self) -> bool {
        let is_idle = self.pending.is_empty() && self.begun.is_empty();
        is_idle && !self.waiting.is_empty() && self.stream.has_pending_input()
    }

    /// Writes what is queued, from whatever thread. Returns `false` if some of it has to wait, or there is more to be done.
    pub(in crate::link) fn write_now(&mut self) -> bool {
        let mut context = Context::from_waker(Waker::noop());
        // Requests are not written to a connection that ends: they leave by the next.
        self.ended.is_none() && !self.may_have_died() && matches!(self.poll_write(&mut context), Poll::Ready(Ok(())))
    }

    /// Writes until nothing is left to write, or the stream takes no more.
    pub(super) fn poll_write(&mut self, context: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        /// More than this many pieces do not get faster.
        const PIECES: usize = 64;
        self.queue_questions();
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
                written => {
                    self.stats.sent_bytes.fetch_add(written as u64, Ordering::Relaxed);
                    self.has_left(written);
                }
            }
        }
    }

    /// Moves the batches of which bytes have left to those that are pending.
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
            self.questions.see_left(&pending);
            self.pending.push_back(pending);
        }
    }
}
