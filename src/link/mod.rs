//! Links: connections to one node, over which commands go out and replies come back.
//!
//! A [`Link`] takes a [`Batch`], all that one request has for one node, and gives back a [`Delivery`]. The link over a
//! socket is [`SocketLink`](socket::SocketLink); the module adds one that serves the coordinator's own share in process. The
//! engine cannot tell them apart. Whoever reads keys of a whole cluster may want to know for which slots each delivery holds:
//! see `own_slots.rs`.
//!
//! # How control passes
//!
//! In a program all of it happens in the runtime. In a server the main thread itself sends and reads what is small, which
//! spares two changes of thread for each request. Four thread-locals say what the thread is about: `CORKED` (`cork.rs`),
//! `IS_HERE` and `IN_EVENT_LOOP` (`watch.rs`), and the module's `READY`, the requests that go on in this round.
//!
//! ```text
//! main thread: one round of the event loop           runtime
//!
//! a command of a client: cork()     CORKED = Some
//!   its request is polled: Link::send  CORKED += batch
//!   no answer yet: the client is parked
//! a link's socket is readable
//!   SocketReader::read -> Connection::read_now
//!     a lot to read --------------------------------> ReadBy::RuntimeUntilIdle: ConnectionTask reads
//!     PendingBatch::finish -> wake()   IS_HERE = true
//!       the request's waker: may_go_on_here()?
//!         yes                          READY += request
//!         no ---------------------------------------> the request goes on here, and answers its client
//! before the event loop sleeps, for each in READY
//!   cork(), in_event_loop(poll)        IN_EVENT_LOOP = true
//!     leave_event_loop_if_long: long ---------------> the request goes on here
//!     done: the client is answered; else parked again
//! uncork()                             CORKED = None
//!   Channel::join, Channel::write
//!     the socket takes no more ---------------------> Message::Flush: ConnectionTask writes the rest
//! the server is asked for its own slots, if shares in process wait for that
//!   wake()                             READY += their requests, which go on as above
//! ```

mod batch;
mod budget;
mod call;
mod channel;
mod connection;
#[cfg_attr(not(feature = "module"), allow(dead_code, reason = "only a server has rounds of an event loop"))]
mod cork;
mod dedicated;
mod dial;
mod handshake;
mod node_link;
mod options;
mod own_slots;
mod pool;
mod session;
mod shared_connection;
mod socket;
mod stats;
mod stream;
mod tls;
#[cfg_attr(not(feature = "module"), allow(dead_code, reason = "only a server has an event loop"))]
mod watch;

pub use crate::peer::{ReducedShare, Reduction};
pub use batch::{Batch, Delivery, Failure, Mode, ReadFrom};
pub use budget::Budget;
pub use handshake::{CredentialSource, Credentials};
pub use node_link::Link;
pub use options::LinkOptions;
#[cfg(feature = "placement")]
pub(crate) use options::{LinkFront, NodeCheck};
pub use own_slots::SlotsAround;
pub(crate) use pool::Links;
pub(crate) use session::Session;
pub(crate) use stats::StatsByNode;
pub use stats::{LinkState, LinkStats};
#[cfg(any(feature = "module", feature = "placement"))]
pub(crate) use stream::Stream;
pub use tls::TlsSource;
pub(crate) use watch::{Watcher, leave_event_loop_if_long};
#[cfg(feature = "module")]
pub(crate) use {
    cork::{cork, uncork},
    handshake::CLIENT_NAME,
    own_slots::{OwnSlotsWatch, QUESTION as OWN_SLOTS_QUESTION},
    stream::has_pending_input,
    watch::{SocketReader, in_event_loop, may_go_on_here, wake},
};

pub use crate::resp::Protocol;

/// The prefix of the error with which the link to the node that we live in hands a command back, to be sent over a
/// socket: only there does the node say where the key has gone (`MOVED`, `ASK`).
///
/// No script can end in it: the line breaks of its errors are made spaces.
pub(crate) const NOT_IN_PROCESS: &[u8] = b"RMRNOTINPROCESS\r";
