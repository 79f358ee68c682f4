//! How to talk to one node.
//!
//! A [`Link`] takes a [`Batch`], all that one request has for one node, and gives back a [`Delivery`]. The link over a
//! socket is [`SocketLink`]; the module adds one that serves the coordinator's own share in process. The engine cannot
//! tell them apart.

mod alone;
mod connection;
mod dial;
mod driver;
mod handshake;
mod lane;
mod outgoing;
mod pool;
mod socket;
mod stream;
mod tls;
#[cfg_attr(not(feature = "module"), allow(dead_code, reason = "only a server has an event loop"))]
mod watch;

use std::sync::Arc;
use std::sync::atomic::{AtomicU8, AtomicU64, AtomicUsize, Ordering};

#[cfg(feature = "module")]
pub(crate) use handshake::CLIENT_NAME;
pub use handshake::{CredentialSource, Credentials};
#[cfg(feature = "module")]
pub(crate) use lane::{cork, uncork};
pub use pool::{LinkOptions, Links};
#[cfg(feature = "module")]
pub(crate) use stream::{Stream, has_news};
pub use tls::TlsSource;
#[cfg(feature = "module")]
pub(crate) use watch::{Reader, in_event_loop, may_go_on_here};
pub(crate) use watch::{Watcher, leave_event_loop_if_long};

use crate::command::{CommandRef, CommandSet};
use crate::peer::{ReducedShare, Reduction};
use crate::reply::Reply;
pub use crate::resp::Protocol;
use crate::topology::BoxFuture;

/// All that one request has for one node; it travels in one write.
#[derive(Debug, Clone)]
pub struct Batch {
    /// The commands of the whole request.
    pub commands: Arc<CommandSet>,
    /// Which of them are for this node, in the order in which they run.
    pub picks: Vec<u32>,
    /// How the node is asked.
    pub mode: Mode,
    /// The protocol whose types the replies are to have.
    pub protocol: Protocol,
    /// The database to run in, for the node that we live in. Connections are in that of their endpoint.
    pub database: i32,
    /// The bytes of replies that the request may still take.
    pub budget: Arc<Budget>,
    /// What the replies are to come to, if the node itself may reduce them. A link that cannot have that done gives the
    /// replies.
    pub reduction: Option<Reduction>,
}

impl Batch {
    /// The commands for this node, in order.
    pub fn picked(&self) -> impl ExactSizeIterator<Item = CommandRef<'_>> {
        self.picks.iter().map(|&pick| self.commands.at(pick as usize))
    }
}

/// What a connection must be told around a batch. The words go with the batch in one write and are taken back at its
/// end, so that requests that share the connection do not see them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Mode {
    /// Nothing.
    #[default]
    Plain,
    /// Each command is preceded by `ASKING`, as an `ASK` redirect demands.
    Asking,
    /// A replica may answer for the keys of its primary: `READONLY` before, `READWRITE` after.
    Replica,
}

/// What came back: the replies of the first commands of the batch, and why the rest has none.
#[derive(Debug, Default)]
pub struct Delivery {
    /// One reply for each command that was answered, in order. Fewer than asked only with a failure.
    pub replies: Vec<Reply>,
    /// Why the rest was not answered.
    pub failure: Option<Failure>,
    /// In place of all replies: what the node has reduced them to.
    pub partial: Option<ReducedShare>,
}

impl Delivery {
    /// Nothing but a failure.
    pub fn failed(failure: Failure) -> Self {
        Self { failure: Some(failure), ..Self::default() }
    }

    /// What the node has reduced its share to.
    pub fn reduced(partial: ReducedShare) -> Self {
        Self { partial: Some(partial), ..Self::default() }
    }
}

/// Why a node did not answer.
#[derive(Debug, Clone)]
pub enum Failure {
    /// The node could not be reached, or refused us at the handshake; nothing was sent.
    Unreachable(String),
    /// The connection broke after the commands had left, wholly or in part.
    Lost(String),
    /// The replies grew past the request's budget.
    TooBig,
    /// The node does not reduce, or not now; nothing has run.
    Declined,
}

/// The prefix of the error with which the link to the node that we live in hands a command back, to be sent over a
/// socket: only there does the node say where the key has gone (`MOVED`, `ASK`).
pub const NOT_IN_PROCESS: &[u8] = b"RMRNOTINPROCESS";

/// One node, ready to be sent to.
pub trait Link: Send + Sync {
    /// Sends a batch. It is on its way when this returns, before the future is polled. Dropping the future gives the
    /// request up: what has not left is not sent, a late reply is dropped.
    fn send(&self, batch: Batch) -> BoxFuture<'static, Delivery>;

    /// Whether the node is to be asked to reduce its share. It may decline.
    fn reduces(&self) -> bool {
        false
    }

    /// What there is to tell about the link.
    fn status(&self) -> &Status;

    /// A request's time is over: takes what has come from the node and was not read yet, because whoever is to read it has
    /// other things to do.
    fn look(&self, _protocol: Protocol) {}

    /// A request's time was over before this node answered. A link that hears this again and again, and nothing from
    /// the node meanwhile, should connect anew.
    fn note_timeout(&self, _protocol: Protocol) {}
}

/// A link's figures. Atomics only: they are read by `INFO` and in crash reports.
#[derive(Debug, Default)]
pub struct Status {
    state: AtomicU8,
    /// Batches sent and not yet answered.
    pub in_flight: AtomicUsize,
    /// Connections opened so far.
    pub connects: AtomicU64,
    /// Connections that broke or could not be opened.
    pub failures: AtomicU64,
    /// Replies that came after their request had been given up.
    pub late_replies: AtomicU64,
}

/// What a link is doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum LinkState {
    /// Not needed so far, or not since the connection was last closed.
    Idle,
    /// Dialling.
    Connecting,
    /// Connected.
    Connected,
    /// The last attempt to connect failed; the next request tries again.
    Failed,
    /// The node that we live in: no connection is needed.
    Local,
}

impl LinkState {
    /// In lower case, as `RMR.TOPOLOGY` shows it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Idle => "idle",
            Self::Connecting => "connecting",
            Self::Connected => "connected",
            Self::Failed => "failed",
            Self::Local => "local",
        }
    }
}

impl Status {
    /// What the link is doing now.
    pub fn state(&self) -> LinkState {
        match self.state.load(Ordering::Relaxed) {
            1 => LinkState::Connecting,
            2 => LinkState::Connected,
            3 => LinkState::Failed,
            4 => LinkState::Local,
            _ => LinkState::Idle,
        }
    }

    /// Says what the link is doing now.
    pub fn set_state(&self, state: LinkState) {
        self.state.store(state as u8, Ordering::Relaxed);
    }
}

/// Bounds the memory that one request's replies may take, over all nodes.
#[derive(Debug)]
pub struct Budget {
    limit: usize,
    used: AtomicUsize,
}

impl Budget {
    /// Room for this many bytes.
    pub fn new(limit: usize) -> Self {
        Self { limit, used: AtomicUsize::new(0) }
    }

    /// Takes a part. `false` when there is not that much left.
    pub fn take(&self, bytes: usize) -> bool {
        self.used.fetch_add(bytes, Ordering::Relaxed).saturating_add(bytes) <= self.limit
    }

    /// Whether that much is left.
    pub fn has_room(&self, bytes: usize) -> bool {
        self.used().saturating_add(bytes) <= self.limit
    }

    /// The bytes that there was room for at first.
    pub fn limit(&self) -> usize {
        self.limit
    }

    /// The bytes that there is room for still.
    pub fn left(&self) -> usize {
        self.limit.saturating_sub(self.used())
    }

    /// The bytes taken so far.
    pub fn used(&self) -> usize {
        self.used.load(Ordering::Relaxed)
    }
}
