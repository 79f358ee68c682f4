//! Batches in flight: encoded until they leave, then pending until they are answered.

use std::collections::VecDeque;
use std::sync::Arc;

use bytes::Bytes;
use tokio::sync::oneshot;

use super::marker::{Marker, Marking};
use crate::command::Command;
use crate::describe::special::may_run_code;
use crate::link::batch::{Batch, Delivery, Failure, Mode};
use crate::link::budget::{Budget, LARGE};
use crate::link::own_slots::SlotsAround;
use crate::link::watch;
use crate::reply::Reply;
use crate::resp::{ProtocolError, decode};

/// The markers of a batch that are still to come, each with the number of its command.
type Markers = VecDeque<(usize, Marker)>;

/// A batch on its way to the connection, as the bytes that travel.
pub(in crate::link) struct EncodedBatch {
    wire: Vec<u8>,
    commands: usize,
    mode: Mode,
    markers: Markers,
    budget: Arc<Budget>,
    /// The node is asked for its own slots, too.
    asks_own_slots: bool,
    /// The receiver of the delivery. Without one the batch leaves all the same, and its replies are passed over.
    answer: Option<oneshot::Sender<Delivery>>,
}

impl EncodedBatch {
    /// Encodes a batch, whose delivery goes to `answer`, with a marker behind each command that runs code of others.
    pub(in crate::link) fn new(batch: &Batch, marking: &Marking, answer: oneshot::Sender<Delivery>) -> Self {
        const ASKING: &[u8] = b"*1\r\n$6\r\nASKING\r\n";
        const READONLY: &[u8] = b"*1\r\n$8\r\nREADONLY\r\n";
        const READWRITE: &[u8] = b"*1\r\n$9\r\nREADWRITE\r\n";

        let commands = batch.picks.len();
        let places = || batch.picks.iter().map(|&pick| pick as usize);
        let frame = if batch.mode == Mode::Asking { ASKING.len() } else { 0 };
        let mut wire = Vec::with_capacity(64 + batch.commands.wire_len(places()) + commands * frame);
        let mut markers = Markers::new();
        if batch.mode == Mode::Replica {
            wire.extend_from_slice(READONLY);
        }
        if batch.mode != Mode::Asking && !batch.may_run_code() {
            batch.commands.write_to(places(), &mut wire);
        } else {
            for (number, place) in places().enumerate() {
                if batch.mode == Mode::Asking {
                    wire.extend_from_slice(ASKING);
                }
                batch.commands.write_to(std::iter::once(place), &mut wire);
                if may_run_code(batch.commands.at(place)) {
                    let marker = Marker::draw();
                    marker.push_to(&mut wire, marking.by());
                    markers.push_back((number, marker));
                }
            }
        }
        if batch.mode == Mode::Replica {
            wire.extend_from_slice(READWRITE);
        }
        let (budget, asks_own_slots) = (batch.budget.clone(), batch.asks_own_slots);
        Self { wire, commands, mode: batch.mode, markers, budget, asks_own_slots, answer: Some(answer) }
    }

    /// Encodes one command of the link's own; without an `answer` nobody hears of its reply.
    pub(in crate::link) fn one(
        command: &Command,
        budget: Arc<Budget>,
        answer: Option<oneshot::Sender<Delivery>>,
    ) -> Self {
        let mut wire = Vec::with_capacity(command.wire_len());
        command.write_to(&mut wire);
        let (mode, markers) = (Mode::Plain, Markers::new());
        Self { wire, commands: 1, mode, markers, budget, asks_own_slots: false, answer }
    }

    /// Has the node asked for its own slots, too, if so wanted.
    pub(in crate::link) fn asking_own_slots(self, asks_own_slots: bool) -> Self {
        Self { asks_own_slots, ..self }
    }

    /// Splits into the bytes that travel and the batch that waits for its replies.
    pub(super) fn begin(self) -> (Vec<u8>, PendingBatch) {
        let Self { wire, commands, mode, markers, budget, asks_own_slots, answer } = self;
        let about = if asks_own_slots { About::CommandsAndOwnSlots } else { About::Commands };
        let (replies, is_unanswered) = (Vec::with_capacity(commands), answer.is_none());
        let pending =
            PendingBatch { read: 0, commands, mode, markers, replies, cost: 0, budget, about, is_unanswered, answer };
        (wire, pending)
    }

    /// Returns the number of bytes that travel.
    pub(in crate::link) fn len(&self) -> usize {
        self.wire.len()
    }

    /// Tells whether nobody waits for the answer any more.
    pub(super) fn is_given_up(&self) -> bool {
        self.answer.as_ref().is_some_and(oneshot::Sender::is_closed)
    }

    /// Ends the batch without having sent it.
    pub(super) fn fail(self, failure: Failure) {
        if let Some(answer) = self.answer {
            // A requester that has gone needs no answer.
            let _ = answer.send(Delivery::failed(failure));
        }
    }
}

/// The subject of a question to a node.
#[derive(Clone, Copy, PartialEq, Eq)]
enum About {
    Commands,
    /// Its own slots are asked for behind the batch.
    CommandsAndOwnSlots,
    /// The node was asked about its own slots.
    OwnSlots,
}

/// A batch that is on its way, or being answered.
pub(super) struct PendingBatch {
    /// The number of replies that have been read, those to our own words around the batch included.
    pub(super) read: usize,
    commands: usize,
    mode: Mode,
    markers: Markers,
    replies: Vec<Reply>,
    /// The bytes that they take.
    cost: usize,
    budget: Arc<Budget>,
    about: About,
    /// Leaves whether or not anybody waits for the answer.
    is_unanswered: bool,
    /// Taken once answered; the rest of the replies is then passed over.
    answer: Option<oneshot::Sender<Delivery>>,
}

impl PendingBatch {
    /// Undoes [`EncodedBatch::begin`] for a batch of which nothing has left. Returns `None` if nobody waits for its answer.
    pub(super) fn take_back(self, wire: Vec<u8>) -> Option<EncodedBatch> {
        let asks_own_slots = self.asks_own_slots();
        let Self { commands, mode, markers, budget, answer, .. } = self;
        answer.map(|answer| EncodedBatch {
            wire,
            commands,
            mode,
            markers,
            budget,
            asks_own_slots,
            answer: Some(answer),
        })
    }

    /// Makes the question for the node's own slots.
    pub(super) fn question(budget: Arc<Budget>) -> Self {
        Self {
            read: 0,
            commands: 1,
            mode: Mode::Plain,
            markers: Markers::new(),
            replies: Vec::new(),
            cost: 0,
            budget,
            about: About::OwnSlots,
            is_unanswered: true,
            answer: None,
        }
    }

    /// Tells whether this is the question for the node's own slots.
    pub(super) fn is_question(&self) -> bool {
        self.about == About::OwnSlots
    }

    /// Tells whether the batch waits for the answer to such a question.
    pub(super) fn asks_own_slots(&self) -> bool {
        self.about == About::CommandsAndOwnSlots
    }

    /// Returns how many replies the batch gets in all.
    pub(super) fn expected(&self) -> usize {
        match self.mode {
            Mode::Plain => self.commands,
            Mode::Asking => self.commands * 2,
            Mode::Replica => self.commands + 2,
        }
    }

    pub(super) fn is_given_up(&self) -> bool {
        self.answer.as_ref().is_none_or(oneshot::Sender::is_closed)
    }

    /// Tells whether the next reply is one to the requester's own command.
    pub(super) fn wants_next(&self) -> bool {
        match self.mode {
            Mode::Plain => true,
            Mode::Asking => self.read % 2 == 1,
            Mode::Replica => self.read > 0 && self.read <= self.commands,
        }
    }

    /// Returns the marker that stands behind the command whose reply is next, if it has one.
    pub(super) fn next_marker(&self) -> Option<Marker> {
        let &(number, marker) = self.markers.front()?;
        let next = match self.mode {
            Mode::Plain => Some(self.read),
            Mode::Asking => (self.read % 2 == 1).then_some(self.read / 2),
            Mode::Replica => self.read.checked_sub(1),
        };
        (next == Some(number)).then_some(marker)
    }

    /// Counts a reply, with the marker behind it.
    pub(super) fn has_passed_marker(&mut self) {
        self.markers.pop_front();
        self.read += 1;
    }

    /// Keeps an error that is to one command, however many lines it has had.
    pub(super) fn take_error(&mut self, message: Vec<u8>) {
        self.replies.push(Reply::Error(message.into()));
    }

    /// Tells whether it is still to leave.
    pub(super) fn is_to_leave(&self) -> bool {
        self.is_unanswered || !self.is_given_up()
    }

    /// Tells whether the request may take a reply of so many bytes.
    pub(super) fn has_room(&self, cost: usize) -> bool {
        self.budget.has_room(cost)
    }

    /// Counts a reply of so many bytes.
    pub(super) fn count(&mut self, cost: usize) {
        self.budget.take(cost);
        self.cost += cost;
    }

    /// Tells whether a lot has come so far.
    pub(super) fn is_long(&self) -> bool {
        self.cost > LARGE
    }

    /// Decodes this many replies from the bytes and keeps them.
    pub(super) fn take(&mut self, bytes: &Bytes, count: usize) -> Result<(), ProtocolError> {
        let mut at = 0;
        for _ in 0..count {
            self.replies.push(decode(bytes, &mut at)?);
        }
        Ok(())
    }

    /// Answers. `here`: whether who waits for it may go on in this thread.
    pub(super) fn finish(&mut self, failure: Option<Failure>, here: bool) {
        self.deliver(Delivery { failure, ..Delivery::default() }, here);
    }

    /// Answers, with what is known of the slots that the answers hold for.
    pub(super) fn finish_for(&mut self, own_slots: Result<SlotsAround, Failure>, here: bool) {
        let (own_slots, failure) = match own_slots {
            Ok(around) => (Some(around), None),
            Err(failure) => (None, Some(failure)),
        };
        self.deliver(Delivery { own_slots, failure, ..Delivery::default() }, here);
    }

    fn deliver(&mut self, around: Delivery, here: bool) {
        if let Some(answer) = self.answer.take() {
            let replies = std::mem::take(&mut self.replies);
            let is_short = self.budget.used() <= LARGE;
            watch::wake(here && is_short, || {
                // A requester that has gone needs no answer.
                let _ = answer.send(Delivery { replies, ..around });
            });
        }
    }
}
