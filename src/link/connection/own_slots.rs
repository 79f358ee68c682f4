//! Asking a node for its own slots around the answers that depend on them: see `link/own_slots.rs` for why.
//!
//! The question stands behind the batches of a write that want to know, and in front of them where it has not been asked lately.
//! A batch that was answered is held until the question behind it is; all are then delivered in the order in which they were
//! sent.

use bytes::Buf;

use super::Connection;
use super::in_flight::PendingBatch;
use crate::link::batch::Failure;
use crate::resp::ProtocolError;

impl Connection {
    /// Puts a question behind the queued batches that want to know, and in front of them where there is need.
    pub(super) fn queue_questions(&mut self) {
        if !std::mem::take(&mut self.questions.is_due) {
            return;
        }
        let is_question = |(_, pending): &(Vec<u8>, PendingBatch)| pending.is_question();
        let behind_last_question = self.waiting.iter().rposition(is_question).map_or(0, |at| at + 1);
        let wants_to_know = |&at: &usize| self.waiting[at].1.asks_own_slots() && self.waiting[at].1.is_to_leave();
        let mut askers = (behind_last_question..self.waiting.len()).filter(wants_to_know);
        let Some(first) = askers.next() else { return };
        let last = askers.next_back().unwrap_or(first);
        let in_front = (!self.questions.is_fresh()).then(|| self.questions.next());
        let behind = self.questions.next();
        self.waiting.insert(last + 1, behind);
        if let Some(question) = in_front {
            self.waiting.insert(first, question);
        }
    }

    /// Ends the first batch, all of whose replies have come. `here`: whether who waits for it may go on in this thread.
    pub(super) fn finish_first(&mut self, here: bool) {
        let Some(mut first) = self.pending.pop_front() else { return };
        if first.asks_own_slots() && !first.is_given_up() {
            self.questions.held.push(first);
        } else {
            first.finish(None, here);
        }
    }

    /// Takes the answer to a question, and ends the batches that wait for it. Returns `false` if it has not come whole.
    pub(super) fn take_own_slots(&mut self, here: bool) -> Result<bool, ProtocolError> {
        /// Room for the description of a thousand nodes.
        const LONGEST: usize = 64 << 20;
        let is_whole = self.scanner.scan(&self.input)?;
        if self.scanner.cost() > LONGEST {
            return Err(ProtocolError::TOO_LONG);
        }
        if !is_whole {
            return Ok(false);
        }
        let end = self.scanner.forget();
        self.scanner.next_reply();
        let said = self.questions.watch.hear_after(&self.input[..end]);
        self.input.advance(end);
        self.pending.pop_front();
        self.questions.open -= 1;
        self.questions.left -= 1;
        for mut answered in self.questions.held.drain(..) {
            answered.finish_for(said.clone().map_err(Failure::OwnSlotsUnknown), here);
        }
        Ok(true)
    }

    /// Ends the batches that wait for the answer to a question: it will not come any more.
    pub(super) fn fail_held(&mut self, cause: &str) {
        for mut answered in self.questions.held.drain(..) {
            answered.finish_for(Err(Failure::Lost(cause.into())), false);
        }
        (self.questions.open, self.questions.left) = (0, 0);
    }

    /// Returns how many requests have left that are not answered.
    pub(super) fn in_flight(&self) -> usize {
        self.pending.len() - self.questions.left + self.questions.held.len()
    }
}

#[cfg(test)]
mod tests;
