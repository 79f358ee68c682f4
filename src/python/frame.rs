//! Frames: what all sockets to Python processes carry.
//!
//! ```text
//! u32 size of the body | u32 size of the head | u64 id | u8 kind | head | sections          (little endian)
//! ```
//!
//! The body is the head, one marshalled value, and the sections, bytes whose meaning and sizes the head gives.
//! [`FrameReader`] takes bytes as they come, from a socket that is read without waiting.

use bytes::{Buf, Bytes, BytesMut};

use super::marshal::{self, BadMarshal, Value};

/// The number of bytes before the head.
pub(crate) const HEADER_BYTES: usize = 17;

/// The length that every body is shorter than.
pub(crate) const LARGEST_BODY: usize = 1 << 31;

macro_rules! frame_kinds {
    ($($(#[$doc:meta])* $name:ident = $number:literal,)+) => {
        /// The kinds of frames; `worker/PROTOCOL.md` says what their heads are.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        pub(crate) enum FrameKind {
            $($(#[$doc])* $name = $number,)+
        }

        impl FrameKind {
            /// Returns the kind of a number; none for one that nobody has.
            fn of(number: u8) -> Option<Self> {
                match number {
                    $($number => Some(Self::$name),)+
                    _ => None,
                }
            }
        }
    };
}

frame_kinds! {
    /// Answers a request.
    Done = 1,
    /// Answers a request that failed: code and text.
    Failed = 2,
    /// Settings for a new worker, which answers with its versions; the template sends its own when it is ready.
    Hello = 10,
    /// A script to run.
    Load = 11,
    /// A flow, or the function of a timer, that another shard's worker has made.
    Install = 12,
    /// The end of a session.
    Forget = 13,
    /// The begin of an execution.
    Open = 14,
    /// A batch for a stage.
    Run = 15,
    /// The rest of an answer.
    Next = 16,
    /// The end of the batches of a stage.
    End = 17,
    /// The end of an execution.
    Close = 18,
    /// An execution, or what runs of a context, is to end.
    Abort = 19,
    /// Settings that have changed.
    Settings = 20,
    /// The figures of the worker about itself.
    Stats = 21,
    /// The time that a session's functions have taken.
    Profile = 22,
    /// The place in the code at which each thread of the worker is.
    Stacks = 23,
    /// The function of a timer is to be called.
    Fire = 24,
    /// A timer has ended.
    DropTimer = 25,
    /// A registration lives on this shard from now on.
    Registered = 26,
    /// The events for the flow of a registration.
    Events = 27,
    /// A line for the log.
    Log = 30,
    /// A flow that a script awaits.
    Start = 31,
    /// An event that has waited for a future or coroutine is done with.
    EventEnded = 32,
    /// A command.
    Execute = 40,
    /// Commands, in one round trip.
    ExecuteMany = 41,
    /// The worker wants the server for itself.
    EnterAtomic = 42,
    /// The worker gives the server back.
    LeaveAtomic = 43,
    /// A setting that is read.
    ConfigGet = 44,
    /// A text that hashes to this shard.
    Hashtag = 45,
    /// A new timer.
    AddTimer = 46,
    /// The id of a new registration.
    PlanId = 47,
    /// An event that the main thread waits for is done with.
    SyncDone = 48,
    /// The command that an event is about.
    GetCommand = 49,
    /// A worker is to be forked.
    Fork = 50,
    /// A worker is to be ended.
    Kill = 51,
    /// A worker has ended.
    Exited = 52,
    /// Another reply to the command that an event is about.
    OverrideReply = 53,
    /// The command that a hook stands before.
    CallNext = 54,
    /// An event that the main thread waits for.
    Sync = 60,
}

/// A frame as it was read.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Frame {
    /// Says what it is.
    pub(crate) kind: FrameKind,
    /// Ties an answer to its request.
    pub(crate) id: u64,
    /// Says all that is small.
    pub(crate) head: Value,
    /// Holds what is moved without being looked at.
    pub(crate) sections: Bytes,
}

/// Says why bytes are no frame. The socket is of no use any more: nobody knows where the next one begins.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum BadFrame {
    /// The sizes cannot be.
    #[error("the worker sent a frame of {body} bytes with a head of {head}")]
    Size {
        /// The size of the body that it announced.
        body: usize,
        /// The size of the head.
        head: usize,
    },
    /// The kind is none.
    #[error("the worker sent a frame of the unknown kind {0}")]
    Kind(u8),
    /// The head is no value.
    #[error(transparent)]
    Head(#[from] BadMarshal),
}

/// Returns the bytes that stand before the sections of a frame, and then the sections follow.
///
/// # Panics
/// If head and sections together have 2 GiB.
pub(crate) fn start_of(kind: FrameKind, id: u64, head: &[u8], sections: usize) -> Vec<u8> {
    let body = head.len() + sections;
    assert!(body < LARGEST_BODY, "a frame of {body} bytes is larger than the {LARGEST_BODY} that are allowed");
    let mut bytes = Vec::with_capacity(HEADER_BYTES + head.len());
    bytes.extend_from_slice(&(body as u32).to_le_bytes());
    bytes.extend_from_slice(&(head.len() as u32).to_le_bytes());
    bytes.extend_from_slice(&id.to_le_bytes());
    bytes.push(kind as u8);
    bytes.extend_from_slice(head);
    bytes
}

/// Returns a whole frame without sections, from the bytes of its head.
pub(crate) fn encode(kind: FrameKind, id: u64, head: &[u8]) -> Vec<u8> {
    start_of(kind, id, head, 0)
}

/// Finds frames in bytes as they come.
#[derive(Debug, Default)]
pub(crate) struct FrameReader {
    unread: BytesMut,
}

impl FrameReader {
    /// Returns where the next bytes go, with room for what the frame that has begun still lacks, and for 16 KiB at least.
    pub(crate) fn room(&mut self) -> &mut BytesMut {
        const LEAST: usize = 16 << 10;
        let missing = match self.sizes() {
            Some((body, _)) if body < LARGEST_BODY => HEADER_BYTES + body - self.unread.len().min(HEADER_BYTES + body),
            _ => 0,
        };
        self.unread.reserve(missing.clamp(LEAST, LARGEST_AT_ONCE));
        &mut self.unread
    }

    /// Returns the next frame; none until the rest of it is there.
    pub(crate) fn next(&mut self) -> Result<Option<Frame>, BadFrame> {
        let Some((body, head)) = self.sizes() else { return Ok(None) };
        if body >= LARGEST_BODY || head > body {
            return Err(BadFrame::Size { body, head });
        }
        let kind = FrameKind::of(self.unread[16]).ok_or(BadFrame::Kind(self.unread[16]))?;
        if self.unread.len() < HEADER_BYTES + body {
            return Ok(None);
        }
        let mut frame = self.unread.split_to(HEADER_BYTES + body).freeze();
        frame.advance(8);
        let id = frame.get_u64_le();
        frame.advance(1);
        let head = marshal::read(&frame.split_to(head))?;
        Ok(Some(Frame { kind, id, head, sections: frame }))
    }

    /// Returns the size of the body of the frame that has begun; 0 where there is none.
    pub(crate) fn announced(&self) -> usize {
        self.sizes().map_or(0, |(body, _)| body)
    }

    /// Returns the sizes of body and head of the frame that has begun.
    fn sizes(&self) -> Option<(usize, usize)> {
        let mut header = self.unread.get(..HEADER_BYTES)?;
        Some((header.get_u32_le() as usize, header.get_u32_le() as usize))
    }
}

/// The most memory that is set aside for a frame that has only been announced.
const LARGEST_AT_ONCE: usize = 1 << 20;

#[cfg(test)]
mod tests;
