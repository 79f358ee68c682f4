//! [`CallSocket`]: the server's end of a worker's call socket: bytes that have come, and answers that are to leave.
//!
//! Nothing here waits, and nothing knows of the server. A call costs one system call to read it and one to answer it: what
//! has come is read in one piece, and all answers of a turn leave in one piece. Both buffers are kept from call to call.

use std::cell::RefCell;
use std::io::{self, ErrorKind, Read, Write};
use std::os::fd::{AsRawFd, OwnedFd, RawFd};
use std::os::unix::net::UnixStream;
use std::rc::Rc;

use bytes::Bytes;

use super::call::{self, BadCall, WorkerCall};
use crate::python::frame::{FrameKind, HEADER_BYTES, start_of};
use crate::python::marshal::Writer;

/// The size that a buffer has from the start, and keeps.
const USUAL: usize = 16 << 10;

/// The number of bytes that are read at once, if as many are expected.
const MOST_AT_ONCE: usize = 1 << 20;

/// The number of bytes that nobody has looked at, beyond which no more are read. A worker's thread calls once and waits
/// for its answer, so this is for workers that are not what they should be.
const ENOUGH: usize = 256 << 10;

/// The number of bytes that a worker has to take before it is answered more.
const MOST_UNSENT: usize = 256 << 10;

/// A socket that is read and written without waiting.
pub(super) struct CallSocket {
    stream: Rc<UnixStream>,
    lent: Rc<LentSocket>,
    input: CallInput,
    pub(super) answers: Answers,
    /// Calls that have come and are not looked at for now.
    aside: Vec<u8>,
}

/// A socket whose worker waits for the answer to a call, while the command that it has called for runs: by this an event can be
/// sent to the same worker, and calls that come for that can be answered first.
pub(super) struct LentSocket {
    stream: Rc<UnixStream>,
    /// The bytes that have come behind the call.
    rest: RefCell<Vec<u8>>,
    /// The reason why the worker is ended, if it is.
    why_ended: RefCell<Option<String>>,
}

/// Bytes that have come. All of the buffer is initialized, so that reading into it needs no preparation.
struct CallInput {
    buffer: Vec<u8>,
    from: usize,
    to: usize,
}

/// Answers that have not left yet.
pub(super) struct Answers {
    writer: Writer,
    /// The number of bytes that have left.
    sent: usize,
}

/// The outcome of an attempt to read or write.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Transfer {
    /// The bytes that were there are read, or those that were to leave have left.
    Done,
    /// The worker has to do something first.
    Blocked,
    /// The worker has closed its end.
    Closed,
}

impl CallSocket {
    /// Takes a socket, which does not wait from now on.
    pub(super) fn new(socket: OwnedFd) -> io::Result<Self> {
        let stream = UnixStream::from(socket);
        stream.set_nonblocking(true)?;
        let input = CallInput { buffer: vec![0; USUAL], from: 0, to: 0 };
        Ok(Self::of(Rc::new(stream), input))
    }

    fn of(stream: Rc<UnixStream>, input: CallInput) -> Self {
        let lent = LentSocket { stream: stream.clone(), rest: RefCell::default(), why_ended: RefCell::default() };
        let answers = Answers { writer: Writer::with_capacity(USUAL), sent: 0 };
        Self { stream, lent: Rc::new(lent), input, answers, aside: Vec::new() }
    }

    /// Returns what can be used of this socket while a command runs for its worker.
    pub(super) fn lent(&self) -> &Rc<LentSocket> {
        &self.lent
    }

    /// Lends what has come behind the next call, while that is answered.
    pub(super) fn lend_rest(&mut self) {
        if let Some(size) = call::size_of_first(self.input.unread()) {
            let rest = self.input.split_off(size);
            if !rest.is_empty() {
                *self.lent.rest.borrow_mut() = rest;
            }
        }
    }

    /// Takes back what is left of what was lent. Returns `false` if the worker was ended meanwhile.
    pub(super) fn take_rest_back(&mut self) -> bool {
        let mut rest = self.lent.rest.borrow_mut();
        if !rest.is_empty() {
            self.input.put_behind(&rest);
            *rest = Vec::new();
        }
        self.lent.why_ended.borrow().is_none()
    }

    pub(super) fn descriptor(&self) -> RawFd {
        self.stream.as_raw_fd()
    }

    /// Reads what has come, with one system call.
    pub(super) fn read(&mut self) -> Transfer {
        let room = self.input.room();
        loop {
            return match (&*self.stream).read(room) {
                Ok(0) => Transfer::Closed,
                Ok(count) => {
                    self.input.to += count;
                    Transfer::Done
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => Transfer::Blocked,
                Err(error) if error.kind() == ErrorKind::Interrupted => continue,
                Err(_) => Transfer::Closed,
            };
        }
    }

    /// Returns the next call, and where its answer goes; `None` until all of it has come. It stays until
    /// [`has_answered`](Self::has_answered).
    ///
    /// # Errors
    /// If what has come is no call.
    pub(super) fn next_call(&mut self) -> Result<Option<(WorkerCall<'_>, &mut Answers)>, BadCall> {
        Ok(call::find(self.input.unread())?.map(|call| (call, &mut self.answers)))
    }

    /// Tells whether a whole call, or what cannot be one, waits to be looked at.
    pub(super) fn has_call(&self) -> bool {
        call::is_there(self.input.unread())
    }

    /// Lets go of the call of this size.
    pub(super) fn has_answered(&mut self, size: usize) {
        self.input.consume(size);
    }

    /// Does not look at the call of this size until [`bring_back`](Self::bring_back).
    pub(super) fn set_aside(&mut self, size: usize) {
        let unread = self.input.unread();
        self.aside.extend_from_slice(&unread[..size.min(unread.len())]);
        self.input.consume(size);
    }

    /// Puts the calls that were set aside before those that have come since.
    pub(super) fn bring_back(&mut self) {
        if !self.aside.is_empty() {
            let aside = std::mem::take(&mut self.aside);
            self.input.put_before(aside);
        }
    }

    /// Sends an event, for the end of which the worker is waited for.
    pub(super) fn send_event(&mut self, id: u64, head: &[u8], sections: &[Bytes]) {
        let size = sections.iter().map(Bytes::len).sum();
        self.answers.writer.raw(&start_of(FrameKind::Sync, id, head, size));
        sections.iter().for_each(|section| self.answers.writer.raw(section));
    }

    /// Tells whether what the worker sends may be read: not while there is enough that nobody has looked at.
    pub(super) fn takes_more(&self) -> bool {
        self.input.unread().len() < ENOUGH || !self.has_call()
    }

    /// Tells whether the worker lets too many answers lie, or half of one, so that it gets no more for now: what is sent while
    /// a call is answered comes before its answer.
    pub(super) fn is_full(&self) -> bool {
        self.answers.sent > 0 || self.answers.unsent().len() > MOST_UNSENT
    }

    /// Sends answers, with one system call where the worker takes all of them.
    pub(super) fn send(&mut self) -> Transfer {
        loop {
            let unsent = self.answers.unsent();
            if unsent.is_empty() {
                self.answers.clear();
                return Transfer::Done;
            }
            match (&*self.stream).write(unsent) {
                Ok(count) => self.answers.sent += count,
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Transfer::Blocked,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(_) => return Transfer::Closed,
            }
        }
    }
}

impl LentSocket {
    /// Takes the socket for an event that the call has caused, with what has come.
    pub(super) fn within(&self) -> CallSocket {
        let mut input = CallInput { buffer: vec![0; USUAL], from: 0, to: 0 };
        input.put_behind(&self.rest.take());
        CallSocket::of(self.stream.clone(), input)
    }

    /// Takes it back, with what was not looked at.
    pub(super) fn take_back(&self, socket: &CallSocket) {
        self.rest.borrow_mut().extend_from_slice(socket.input.unread());
    }

    /// Says why the worker is ended, whose call will not be answered.
    pub(super) fn end(&self, why: &str) {
        *self.why_ended.borrow_mut() = Some(why.to_owned());
    }

    /// Returns why the worker is ended, if it is.
    pub(super) fn why_ended(&self) -> Option<String> {
        self.why_ended.borrow().clone()
    }
}

impl CallInput {
    fn unread(&self) -> &[u8] {
        &self.buffer[self.from..self.to]
    }

    fn consume(&mut self, count: usize) {
        self.from += count.min(self.to - self.from);
        if self.from == self.to {
            (self.from, self.to) = (0, 0);
            if self.buffer.len() > ENOUGH {
                self.buffer = vec![0; USUAL];
            }
        }
    }

    fn put_before(&mut self, mut first: Vec<u8>) {
        first.extend_from_slice(self.unread());
        (self.from, self.to) = (0, first.len());
        first.resize(first.len().max(USUAL), 0);
        self.buffer = first;
    }

    fn split_off(&mut self, size: usize) -> Vec<u8> {
        let at = (self.from + size).min(self.to);
        let rest = self.buffer[at..self.to].to_vec();
        self.to = at;
        rest
    }

    fn put_behind(&mut self, more: &[u8]) {
        let end = self.to + more.len();
        if self.buffer.len() < end {
            self.buffer.resize(end, 0);
        }
        self.buffer[self.to..end].copy_from_slice(more);
        self.to = end;
    }

    /// Returns where the next bytes go: room for the rest of the call that has begun, but for no more than is there already
    /// or a megabyte, so that a size that is only announced takes no memory.
    fn room(&mut self) -> &mut [u8] {
        let missing = call::missing(self.unread()).clamp(USUAL / 2, MOST_AT_ONCE);
        if self.buffer.len() - self.to < missing {
            self.buffer.copy_within(self.from..self.to, 0);
            (self.from, self.to) = (0, self.to - self.from);
            if self.buffer.len() - self.to < missing {
                let doubled = self.buffer.len() * 2;
                self.buffer.resize(doubled.max(self.to + missing), 0);
            }
        }
        &mut self.buffer[self.to..]
    }
}

impl Answers {
    /// Answers a call with the value that `write` appends. Where it fails nothing of that stays, and why it has failed is
    /// the answer.
    pub(super) fn answer(&mut self, id: u64, write: impl FnOnce(&mut Writer) -> Result<(), CallError>) {
        let start = self.begin(FrameKind::Done, id);
        self.writer.begin_tuple(2);
        match write(&mut self.writer) {
            Ok(()) => {
                let has_bytes = self.writer.has_bytes();
                self.writer.bool(has_bytes);
                self.end(start);
            }
            Err(error) => {
                self.writer.truncate(start);
                self.fail(id, &error);
            }
        }
    }

    /// Does the same, unless the call is to be answered later: then nothing stays, and this returns `false`.
    pub(super) fn answer_or_wait(&mut self, id: u64, write: impl FnOnce(&mut Writer) -> Result<(), NoValue>) -> bool {
        let start = self.writer.len();
        let mut waits = false;
        self.answer(id, |writer| {
            write(writer).map_err(|why| match why {
                NoValue::Failed(error) => error,
                NoValue::NotNow => {
                    waits = true;
                    CallError::Aborted
                }
            })
        });
        if waits {
            self.writer.truncate(start);
        }
        !waits
    }

    fn fail(&mut self, id: u64, error: &CallError) {
        let start = self.begin(FrameKind::Failed, id);
        self.writer.begin_tuple(2);
        let (code, text) = match error {
            CallError::Error(text) => ("error", &text[..]),
            CallError::Aborted => ("aborted", &b"aborted"[..]),
        };
        self.writer.text(code);
        self.writer.text(&String::from_utf8_lossy(text));
        self.end(start);
    }

    /// Begins a frame, whose sizes are not known yet. Returns where.
    fn begin(&mut self, kind: FrameKind, id: u64) -> usize {
        let start = self.writer.len();
        let mut header = [0; HEADER_BYTES];
        header[8..16].copy_from_slice(&id.to_le_bytes());
        header[16] = kind as u8;
        self.writer.raw(&header);
        self.writer.forget_bytes();
        start
    }

    fn end(&mut self, start: usize) {
        let size = (self.writer.len() - start - HEADER_BYTES) as u32;
        let header = &mut self.writer.written_mut()[start..];
        header[..4].copy_from_slice(&size.to_le_bytes());
        header[4..8].copy_from_slice(&size.to_le_bytes());
    }

    fn unsent(&self) -> &[u8] {
        &self.writer.written()[self.sent..]
    }

    fn clear(&mut self) {
        self.sent = 0;
        if self.writer.len() > ENOUGH {
            self.writer = Writer::with_capacity(USUAL);
        } else {
            self.writer.reset();
        }
    }
}

/// The reason why a call has no value and never will.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum CallError {
    /// Code of the user gets this as an exception.
    Error(Vec<u8>),
    /// The code that has called is to end.
    Aborted,
}

/// The reason why a call has no value now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum NoValue {
    Failed(CallError),
    /// The call cannot be answered now, and has changed nothing.
    NotNow,
}

impl CallError {
    pub(super) fn of(text: impl Into<Vec<u8>>) -> Self {
        Self::Error(text.into())
    }
}

impl From<CallError> for NoValue {
    fn from(error: CallError) -> Self {
        Self::Failed(error)
    }
}
