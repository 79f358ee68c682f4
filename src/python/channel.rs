//! One socket to a Python process: requests go out, answers find who has asked, and all else is handed to one receiver.
//!
//! A request is written by whoever asks, as far as the socket takes it without waiting; so most cost no hop to another
//! thread. A task writes the rest.

use std::collections::{HashMap, VecDeque};
use std::io::{self, IoSlice};
use std::os::fd::BorrowedFd;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::{Buf, Bytes};
use rustix::net::{SendAncillaryBuffer, SendAncillaryMessage, SendFlags, Shutdown, sendmsg, shutdown};
use tokio::io::Interest;
use tokio::net::UnixStream;
use tokio::sync::{Notify, oneshot};

use super::frame::{Frame, FrameKind, FrameReader, encode, start_of};
use super::marshal::Value;
use crate::error::Error;

/// The answer of a process to a request.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct WorkerAnswer {
    /// Says all that is small.
    pub(crate) head: Value,
    /// Holds columns of records, and other bytes that are moved without being looked at.
    pub(crate) sections: Bytes,
}

/// Says why there is no answer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum WorkerError {
    /// The process has said so.
    #[error("{text}")]
    Failed {
        /// The kind of failure, one of those that PROTOCOL.md lists: `error`, `aborted`, `unknown` ...
        code: String,
        /// The text that goes to the client.
        text: String,
    },
    /// The process has ended, and how.
    #[error("{0}")]
    Gone(String),
}

impl From<WorkerError> for Error {
    fn from(error: WorkerError) -> Self {
        Self::Refused(error.to_string())
    }
}

type AnswerSender = oneshot::Sender<Result<WorkerAnswer, WorkerError>>;

/// Is the server's end of a socket.
pub(super) struct FrameChannel {
    socket: UnixStream,
    largest: usize,
    /// Wakes the task that writes what is left over.
    is_left_over: Notify,
    state: Mutex<ChannelState>,
}

#[derive(Default)]
struct ChannelState {
    last: u64,
    waiting: HashMap<u64, AnswerSender>,
    left_over: VecDeque<Bytes>,
    /// The reason why nothing can be asked any more.
    end: Option<String>,
}

impl ChannelState {
    /// Forgets bytes that are sent.
    fn forget_first(&mut self, mut bytes: usize) {
        while let Some(first) = self.left_over.front_mut().filter(|_| bytes > 0) {
            let taken = first.len().min(bytes);
            first.advance(taken);
            bytes -= taken;
            if first.is_empty() {
                self.left_over.pop_front();
            }
        }
    }
}

/// Waits for the answer to one request.
pub(super) struct AskedRequest {
    id: u64,
    answer: oneshot::Receiver<Result<WorkerAnswer, WorkerError>>,
}

impl AskedRequest {
    pub(super) fn id(&self) -> u64 {
        self.id
    }

    pub(super) async fn answer(self) -> Result<WorkerAnswer, WorkerError> {
        self.answer.await.unwrap_or_else(|_| Err(WorkerError::Gone("the Python process has ended".into())))
    }
}

impl FrameChannel {
    /// Takes the server's end of a socket; within the runtime. No frame may be larger than so many bytes.
    pub(super) fn new(socket: std::os::unix::net::UnixStream, largest: usize) -> io::Result<Arc<Self>> {
        socket.set_nonblocking(true)?;
        let socket = UnixStream::from_std(socket)?;
        Ok(Arc::new(Self { socket, largest, is_left_over: Notify::new(), state: Mutex::default() }))
    }

    /// Sends a request. Its answer may be awaited or not.
    pub(super) fn ask(&self, kind: FrameKind, head: &[u8], sections: &[Bytes]) -> Result<AskedRequest, WorkerError> {
        let size = sections.iter().map(Bytes::len).sum::<usize>();
        if head.len().saturating_add(size) > self.largest {
            let text = format!("{} bytes are more than a Python process takes at once", head.len() + size);
            return Err(WorkerError::Failed { code: "resources".into(), text });
        }
        let asked = self.register()?;
        self.send(start_of(kind, asked.id, head, size).into(), sections);
        Ok(asked)
    }

    /// Notes that there will be a request, so that its number is known before it is sent.
    pub(super) fn register(&self) -> Result<AskedRequest, WorkerError> {
        let (sender, answer) = oneshot::channel();
        let mut state = self.state();
        if let Some(why) = &state.end {
            return Err(WorkerError::Gone(why.clone()));
        }
        state.last += 1;
        let id = state.last;
        state.waiting.insert(id, sender);
        Ok(AskedRequest { id, answer })
    }

    /// Answers a request of the process.
    pub(super) fn answer(&self, id: u64, answer: &Result<Value, (&str, &str)>, sections: &[Bytes]) {
        let (kind, head) = match answer {
            Ok(head) => (FrameKind::Done, head.to_marshal()),
            Err((code, text)) => (FrameKind::Failed, Value::Tuple(vec![(*code).into(), (*text).into()]).to_marshal()),
        };
        let size = sections.iter().map(Bytes::len).sum::<usize>();
        if head.len().saturating_add(size) > self.largest {
            let text = "the records are more than a Python process takes at once";
            let failure = Value::Tuple(vec!["resources".into(), text.into()]).to_marshal();
            return self.send(encode(FrameKind::Failed, id, &failure).into(), &[]);
        }
        self.send(start_of(kind, id, &head, size).into(), sections);
    }

    /// Sends a registered request together with descriptors, which the other side gets with its first byte.
    ///
    /// # Errors
    /// If the socket does not take it at once: the process does not read.
    pub(super) fn send_with_files(&self, frame: &[u8], files: &[BorrowedFd<'_>]) -> io::Result<()> {
        /// Room for the three descriptors of a worker.
        const MOST_FILES: usize = 3;
        let mut room = [std::mem::MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MOST_FILES))];
        let mut control = SendAncillaryBuffer::new(&mut room);
        if !control.push(SendAncillaryMessage::ScmRights(files)) {
            return Err(io::Error::other("more descriptors than a worker has"));
        }
        let state = self.state();
        if !state.left_over.is_empty() {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        let flags = SendFlags::NOSIGNAL | SendFlags::DONTWAIT;
        match sendmsg(&self.socket, &[IoSlice::new(frame)], &mut control, flags)? {
            sent if sent == frame.len() => Ok(()),
            _ => Err(io::Error::other("the socket took half of a frame")),
        }
    }

    /// Says whether a request is not answered yet.
    pub(super) fn is_waiting(&self) -> bool {
        !self.state().waiting.is_empty()
    }

    /// Ends the connection: also for a child of the server, which may hold a copy of this end.
    pub(super) fn shut_down(&self) {
        let _ = shutdown(&self.socket, Shutdown::Both);
    }

    /// Reads frames until the other side ends; says what was wrong if it did not just end.
    ///
    /// Every answer goes to who waits for it, every other frame to `receive`, which must not wait.
    pub(super) async fn read(&self, mut receive: impl FnMut(Frame)) -> Option<String> {
        let mut reader = FrameReader::default();
        loop {
            if let Err(error) = self.socket.readable().await {
                return Some(error.to_string());
            }
            match self.socket.try_read_buf(reader.room()) {
                Ok(0) => return None,
                Ok(_) => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => continue,
                Err(error) if error.kind() == io::ErrorKind::ConnectionReset => return None,
                Err(error) => return Some(error.to_string()),
            }
            loop {
                match reader.next() {
                    Ok(None) => break,
                    Ok(Some(frame)) => self.take(frame, &mut receive),
                    Err(error) => return Some(error.to_string()),
                }
            }
            if reader.announced() > self.largest {
                return Some(format!("it sent a frame of {} bytes", reader.announced()));
            }
        }
    }

    /// Writes what the socket has not taken at once; never returns.
    pub(super) async fn write_left_over(&self) {
        loop {
            self.is_left_over.notified().await;
            while self.has_left_over() {
                if self.socket.ready(Interest::WRITABLE).await.is_err() {
                    return;
                }
                let try_send =
                    |slices: &[IoSlice<'_>]| self.socket.try_io(Interest::WRITABLE, || self.send_slices(slices));
                self.write(&mut self.state(), try_send);
            }
        }
    }

    /// Fails all who wait, and all who ask from now on.
    pub(super) fn end(&self, why: &str) {
        let mut state = self.state();
        state.end.get_or_insert_with(|| why.to_owned());
        state.left_over.clear();
        let waiting = std::mem::take(&mut state.waiting);
        drop(state);
        for sender in waiting.into_values() {
            let _ = sender.send(Err(WorkerError::Gone(why.to_owned())));
        }
    }

    fn send(&self, start: Bytes, sections: &[Bytes]) {
        let mut state = self.state();
        if state.end.is_some() {
            return;
        }
        let was_idle = state.left_over.is_empty();
        state.left_over.push_back(start);
        state.left_over.extend(sections.iter().filter(|section| !section.is_empty()).cloned());
        if was_idle {
            self.write(&mut state, |slices| self.send_slices(slices));
            if !state.left_over.is_empty() {
                self.is_left_over.notify_one();
            }
        }
    }

    /// Writes as much as the socket takes. Bytes that cannot be written are of no use any more: the reading side will say why.
    fn write(&self, state: &mut ChannelState, send: impl Fn(&[IoSlice<'_>]) -> io::Result<usize>) {
        /// More than these are written by another system call.
        const MOST_SLICES: usize = 16;
        while !state.left_over.is_empty() {
            let slices: Vec<_> = state.left_over.iter().take(MOST_SLICES).map(|bytes| IoSlice::new(bytes)).collect();
            match send(&slices) {
                Ok(sent) => state.forget_first(sent),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return,
                Err(_) => state.left_over.clear(),
            }
        }
    }

    fn send_slices(&self, slices: &[IoSlice<'_>]) -> io::Result<usize> {
        let flags = SendFlags::NOSIGNAL | SendFlags::DONTWAIT;
        Ok(sendmsg(&self.socket, slices, &mut SendAncillaryBuffer::default(), flags)?)
    }

    fn take(&self, frame: Frame, receive: &mut impl FnMut(Frame)) {
        let sender = match frame.kind {
            FrameKind::Done | FrameKind::Failed => self.state().waiting.remove(&frame.id),
            _ => None,
        };
        match sender {
            None => receive(frame),
            Some(sender) => drop(sender.send(answer_in(frame))),
        }
    }

    fn has_left_over(&self) -> bool {
        !self.state().left_over.is_empty()
    }

    fn state(&self) -> MutexGuard<'_, ChannelState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for FrameChannel {
    fn drop(&mut self) {
        self.shut_down();
    }
}

fn answer_in(frame: Frame) -> Result<WorkerAnswer, WorkerError> {
    if frame.kind == FrameKind::Done {
        return Ok(WorkerAnswer { head: frame.head, sections: frame.sections });
    }
    let said = |place: usize| frame.head.items()?.get(place)?.as_text();
    let code = said(0).unwrap_or("protocol").to_owned();
    Err(WorkerError::Failed { code, text: said(1).unwrap_or("the Python process does not say what failed").to_owned() })
}
