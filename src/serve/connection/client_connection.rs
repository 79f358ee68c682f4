//! [`ClientConnection`]: what is known of a client while it is connected, and what it is told.

use std::sync::Arc;
use std::time::Instant;

use super::node_connection::NodeConnection;
use super::open_transaction::{OpenTransaction, WatchedKeys};
use crate::engine::RequestBuilder;
use crate::error::Error;
use crate::link::ReadFrom;
use crate::reply::Reply;
use crate::resp::{Protocol, ServerErrorKind};
use crate::serve::clients::{ClientEntry, Present};
use crate::serve::metrics::CountedCommand;
use crate::serve::pubsub::Subscriptions;
use crate::serve::refusal::{NOAUTH, is_refusal};
use crate::serve::reply_buffer::ReplyBuffer;
use crate::serve::request_reader::RequestReader;
use crate::serve::state::ProxyState;
use crate::serve::users::ProxyUser;

/// The replies that a client wants, by `CLIENT REPLY`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum ReplyMode {
    On,
    Off,
    /// Not the reply to the next command.
    SkipNext,
}

/// The connection of a client.
pub(super) struct ClientConnection<S> {
    pub(super) state: Arc<ProxyState>,
    pub(super) stream: S,
    pub(super) entry: Arc<ClientEntry>,
    pub(super) requests: RequestReader,
    pub(super) replies: ReplyBuffer,
    pub(super) protocol: Protocol,
    pub(super) reply_mode: ReplyMode,
    /// The copy of a key that the client reads.
    pub(super) reads: ReadFrom,
    pub(super) user: Arc<ProxyUser>,
    /// Says whether the client is a user whom the nodes serve, as far as is known.
    pub(super) is_known: bool,
    /// The time at which the commands that are run now were read.
    pub(super) batch_began: Instant,
    /// The command that the next reply answers.
    pub(super) counted: CountedCommand,
    pub(super) transaction: Option<OpenTransaction>,
    pub(super) watched: Option<WatchedKeys>,
    pub(super) subscriptions: Option<Box<Subscriptions>>,
    /// A connection to a node that nobody else uses, for the next command that needs one.
    pub(super) idle: Option<NodeConnection>,
}

/// Says that the connection is over, once what is to be said has been written.
pub(super) struct Over;

impl<S> ClientConnection<S> {
    /// Starts with a client that has said nothing.
    pub(super) fn new(state: Arc<ProxyState>, stream: S, present: &Present) -> Self {
        let requests = RequestReader::new(state.options.request_limits());
        Self {
            stream,
            entry: present.entry.clone(),
            requests,
            replies: ReplyBuffer::default(),
            protocol: Protocol::Resp2,
            reply_mode: ReplyMode::On,
            reads: ReadFrom::default(),
            user: state.users.anonymous().clone(),
            is_known: false,
            batch_began: Instant::now(),
            counted: CountedCommand::default(),
            transaction: None,
            watched: None,
            subscriptions: None,
            idle: None,
            state,
        }
    }

    /// Says how the client's commands go to the nodes.
    pub(super) fn request(&self) -> RequestBuilder {
        self.user.engine.request().protocol(self.protocol).reads(self.reads)
    }

    /// Tells what has become of a command. No error begins with `MOVED` or `ASK`: clients would take the proxy for a node of
    /// a cluster then.
    pub(super) fn answer(&mut self, result: Result<Reply, Error>) {
        match result {
            Ok(Reply::Error(words)) if ServerErrorKind::of(&words).is_redirect() => {
                self.push_error(&[b"TRYAGAIN ", &*words].concat());
            }
            Ok(reply) => self.push(&reply),
            Err(Error::Shard { message, .. }) if !message.kind().is_redirect() => self.push_error(message.as_bytes()),
            Err(error @ Error::Shard { .. }) => self.push_error(&[b"TRYAGAIN ", &*error.to_line()].concat()),
            Err(error) if is_shut_out(&error) => {
                self.is_known = false;
                self.state.users.have_closed();
                self.push_error(NOAUTH.as_bytes());
            }
            Err(error) => self.push_error(&error.to_line()),
        }
    }

    /// Takes the client for somebody whom the nodes serve, or for a stranger.
    pub(super) fn trust(&mut self, is_known: bool) {
        self.is_known = is_known;
        self.requests.trust(is_known);
    }

    /// Refuses a command, which fails the transaction that it is part of.
    pub(super) fn refuse(&mut self, words: &str) {
        if let Some(transaction) = &mut self.transaction {
            transaction.fail();
        }
        self.push_error(words.as_bytes());
    }

    pub(super) fn push(&mut self, reply: &Reply) {
        if let Reply::Error(text) = reply {
            self.counted.failed(text);
        }
        if self.is_wanted() {
            self.replies.push(reply, self.protocol);
        }
    }

    pub(super) fn push_error(&mut self, text: &[u8]) {
        self.counted.failed(text);
        if self.is_wanted() {
            self.replies.push_error(text);
        }
    }

    /// Returns whether the client wants the reply that is about to be pushed.
    fn is_wanted(&mut self) -> bool {
        match self.reply_mode {
            ReplyMode::On => true,
            ReplyMode::Off => false,
            ReplyMode::SkipNext => {
                self.reply_mode = ReplyMode::On;
                false
            }
        }
    }
}

/// Tells whether the node that a command was sent to has said that it does not serve the user.
fn is_shut_out(error: &Error) -> bool {
    matches!(error, Error::Node { cause, .. } if is_refusal(cause))
}
