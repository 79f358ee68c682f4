//! Reading the reply to a command that a marker stands behind: see `marker.rs` for why it does.

use std::sync::atomic::Ordering;

use bytes::Buf;

use super::Connection;
use super::marker::{Behind, LONGEST_LINE, MarkedReply, Marker, before_refusal, error_of};
use crate::link::batch::Failure;
use crate::resp::{ELEMENT_COST, ProtocolError};

impl Connection {
    /// Takes the reply to the next command of the first batch, and the marker behind it. Returns `false` if they have not
    /// come whole.
    pub(super) fn take_marked(&mut self, marker: Marker, here: bool) -> Result<bool, ProtocolError> {
        loop {
            let is_whole = match self.marked {
                MarkedReply::Open => {
                    self.marked = match self.input.first() {
                        None => return Ok(false),
                        Some(b'-') => MarkedReply::InError(0),
                        Some(_) => MarkedReply::InReply,
                    };
                    continue;
                }
                MarkedReply::InReply => match self.take_reply(here)? {
                    true => continue,
                    false => false,
                },
                MarkedReply::Whole(_) => self.pass_marker(marker)?,
                MarkedReply::InError(searched) => self.take_error(marker, searched, here)?,
            };
            if is_whole {
                self.go_on_behind_marker(here)?;
            }
            return Ok(is_whole);
        }
    }

    /// Takes a reply that is no error. Returns `false` if it has not come whole.
    fn take_reply(&mut self, here: bool) -> Result<bool, ProtocolError> {
        let is_whole = self.scanner.scan(&self.input)?;
        let cost = self.scanner.cost();
        let is_wanted = self.has_room_for_next(cost, here);
        if is_whole {
            let reply = self.input.split_to(self.scanner.forget());
            self.scanner.next_reply();
            if let Some(first) = self.pending.front_mut().filter(|_| is_wanted) {
                first.count(cost);
            }
            self.marked = MarkedReply::Whole(is_wanted.then(|| reply.freeze()));
        } else if !is_wanted {
            self.input.advance(self.scanner.forget());
        }
        Ok(is_whole)
    }

    /// Passes the marker, or the server's refusal to repeat it: what is no error is one reply for certain.
    fn pass_marker(&mut self, marker: Marker) -> Result<bool, ProtocolError> {
        let length = match marker.look(&self.input) {
            Behind::Unknown => return Ok(false),
            Behind::Other => return Err(ProtocolError::UNASKED),
            Behind::Marker(length) => length,
            Behind::Refusal(length) => {
                self.marking.was_refused(&self.input[..length]);
                length
            }
        };
        self.input.advance(length);
        Ok(true)
    }

    /// Takes an error with all that stands before the marker. Returns `false` if the marker has not come.
    fn take_error(&mut self, marker: Marker, searched: usize, here: bool) -> Result<bool, ProtocolError> {
        if let Some((start, end)) = marker.find(&self.input, searched) {
            let raw = self.input.split_to(start);
            self.input.advance(end - start);
            self.put_error(&raw, here);
            return Ok(true);
        }
        if let Some(end) = before_refusal(&self.input, searched) {
            self.marking.was_refused(&self.input[end..]);
            let raw = self.input.split_to(end);
            self.put_error(&raw, here);
            self.go_on_behind_marker(here)?;
            return Err(ProtocolError::WITHOUT_END);
        }
        if !self.has_room_for_next(self.input.len(), here) {
            // It may end in a part of the marker, or of its refusal.
            self.input.advance(self.input.len().saturating_sub(LONGEST_LINE));
        }
        self.marked = MarkedReply::InError(self.input.len());
        Ok(false)
    }

    fn put_error(&mut self, raw: &[u8], here: bool) {
        let cost = ELEMENT_COST + raw.len();
        if self.has_room_for_next(cost, here)
            && let Some(first) = self.pending.front_mut()
        {
            first.count(cost);
            first.take_error(error_of(raw));
        }
    }

    /// Tells whether somebody waits for the next reply, and may take so many bytes. One that costs too much ends its batch.
    fn has_room_for_next(&mut self, cost: usize, here: bool) -> bool {
        let Some(first) = self.pending.front_mut() else { return false };
        if !first.is_given_up() && !first.has_room(cost) {
            first.finish(Some(Failure::TooBig), here);
        }
        !first.is_given_up()
    }

    fn go_on_behind_marker(&mut self, here: bool) -> Result<(), ProtocolError> {
        let marked = std::mem::take(&mut self.marked);
        let Some(first) = self.pending.front_mut() else { return Ok(()) };
        match marked {
            _ if first.is_given_up() => {
                self.stats.late_replies.fetch_add(1, Ordering::Relaxed);
            }
            MarkedReply::Whole(Some(reply)) => first.take(&reply, 1)?,
            _ => {}
        }
        first.has_passed_marker();
        if first.read == first.expected() {
            self.finish_first(here);
        }
        Ok(())
    }
}
