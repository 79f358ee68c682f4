//! The client that waits for a request: exactly one reply, whatever happens.

use tokio::sync::oneshot;

use super::reply_writer::ReplyWriter;
use crate::error::Error;
use crate::module::server::blocked::BlockedHandle;
use crate::module::server::context::Ctx;
use crate::reply::Reply;

/// A client that is blocked until this is answered or dropped. Dropped without an answer, as by a task that panics or is
/// cancelled, it replies an error.
pub(super) struct BlockedClient {
    handle: BlockedHandle,
    is_resp3: bool,
    is_answered: bool,
}

/// Says what the time counts as in which a client is blocked.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum BlockedTime {
    /// The client waits for others, which is nothing for the slow log.
    Waits,
    /// Its command runs.
    Works,
}

impl BlockedClient {
    /// Blocks the client of a command. The receiver hears of its disconnection. `None` if the server blocks no such client.
    pub(super) fn block(ctx: Ctx<'_>, is_resp3: bool, time: BlockedTime) -> Option<(Self, oneshot::Receiver<()>)> {
        let (mut handle, cancelled) = BlockedHandle::block(ctx)?;
        if time == BlockedTime::Works {
            handle.measure();
        }
        Some((Self { handle, is_resp3, is_answered: false }, cancelled))
    }

    /// Answers the client, and lets it go.
    pub(super) fn answer(mut self, result: &Result<Reply, Error>) {
        self.send(result);
    }

    fn send(&mut self, result: &Result<Reply, Error>) {
        self.is_answered = true;
        ReplyWriter { to: self.handle.reply_to(), is_resp3: self.is_resp3 }.send(result);
    }
}

impl Drop for BlockedClient {
    fn drop(&mut self) {
        if !self.is_answered {
            self.send(&Err(Error::Internal("the request ended without a reply".into())));
        }
    }
}
