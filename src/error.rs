//! [`Error`]: everything that can go wrong, each with a stable prefix that tools can match.
//!
//! A text says what was given, what is allowed, and which node. Programs ask [`Error::kind`], [`Error::is_timeout`],
//! [`Error::is_retryable`], [`Error::node`]; on the wire each kind has a prefix, put in front by [`Error::to_line`] alone:
//!
//! | prefix | meaning |
//! |---|---|
//! | `ERRCLUSTER` | the topology is not known, or the cluster has no slots yet |
//! | `RMRTIMEOUT` | the deadline passed; the text names the nodes that had not answered |
//! | `RMRNODE` | a node could not be reached, or was lost on the way |
//! | `RMRSHARD` | a shard's own error, verbatim after the colon |
//! | `RMRSLOTS` | slots that no node owns, or that are in an answer twice, in part or never since they move |
//! | `RMRTOOBIG` | the replies of one request, what a reducer keeps of them, or the memory of a flow grew past the limit |
//! | `RMRMIXED` | a reply of a type that the reducer cannot take |
//! | `RMRBUSY` | too many requests in flight |
//! | `RMRCANCELLED` | the caller has given the command up; only a `Promise` has this |
//! | `CROSSSLOT` | a command that must not be split, with keys of several slots |
//! | `UNROUTABLE` | a command that belongs to no single shard |
//! | `NOPERM` | the caller may not run this command or touch this key |
//! | `ERR` | everything else, bad arguments above all |

use std::fmt;
use std::ops::Deref;
use std::sync::Arc;

use crate::resp::{Retry, ServerError};

/// The one error type of the crate.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The topology is not known, or names no shard.
    #[error("{0}")]
    Topology(String),

    /// The deadline passed before everybody had answered.
    #[error(
        "{timeout_ms} ms: {answered}/{asked} nodes replied; waiting on {waiting_on}{}",
        if *.outcome_unknown { "; the command may have been sent, its outcome is unknown" } else { "" }
    )]
    Timeout {
        /// The time that the request had, in milliseconds.
        timeout_ms: u64,
        /// The number of nodes that had answered in full.
        answered: usize,
        /// The number of nodes that were asked.
        asked: usize,
        /// The nodes that were still to answer.
        waiting_on: String,
        /// The command may write and was on its way: it may or may not have run, or may run yet.
        outcome_unknown: bool,
    },

    /// A node could not be reached, or the connection to it was lost.
    #[error("{node}: {cause}{}", unknown_note(.outcome_unknown))]
    Node {
        /// The node, as `id@host:port`.
        node: String,
        /// The words of the operating system or of the handshake.
        cause: String,
        /// The command had left and no answer came: it may or may not have run.
        outcome_unknown: bool,
    },

    /// An error reply of a shard, kept as it was sent.
    #[error("{node}: {message}{}", key_note(.key))]
    Shard {
        /// The node, as `id@host:port`.
        node: String,
        /// The shard's own words, its own code first.
        #[source]
        message: ServerError,
        /// The key that the command was routed by, escaped.
        key: Option<String>,
    },

    /// A reply that does not fit the command that it answers.
    #[error("{node} {why}")]
    BadReply {
        /// The node, as `id@host:port`.
        node: String,
        /// The fault of the node, as the rest of a sentence.
        why: String,
    },

    /// Slots that no node owns, or whose keys are in an answer twice, in part or never since they move.
    #[error("{0}")]
    Slots(String),

    /// The replies of one request grew past the limit.
    #[error("the replies grew past {limit} bytes; rmr.max-reply-bytes allows no more")]
    TooBig {
        /// The limit, in bytes.
        limit: usize,
    },

    /// The memory of a reducer grew past the limit.
    #[error("{reducer} would have to keep more than {limit} bytes; give it fewer or shorter keys and values")]
    KeepsTooMuch {
        /// The reducer's name.
        reducer: &'static str,
        /// The limit, in bytes.
        limit: usize,
    },

    /// A flow would take more memory than it may.
    #[error("the flow would take more than {limit} bytes on {node}; rmr.flow-memory allows no more")]
    FlowMemory {
        /// The limit, in bytes.
        limit: u64,
        /// The node, as `id@host:port`; or "this node".
        node: String,
    },

    /// A reply that the reducer cannot take.
    #[error("{reducer} cannot take {found} from {node}")]
    Mixed {
        /// The reducer's name.
        reducer: &'static str,
        /// The type, and the value where it is short.
        found: String,
        /// The node, as `id@host:port`.
        node: String,
    },

    /// A reply that does not convert to the type that a program asked for.
    #[error("expected {wanted}, but the reply is {found}")]
    Conversion {
        /// The type.
        wanted: &'static str,
        /// The reply's type, and the value where it is short.
        found: String,
    },

    /// A result that the numbers of Redis cannot say.
    #[error("{0}")]
    Overflow(String),

    /// Too many requests in flight.
    #[error("{limit} requests are in flight; rmr.max-inflight allows no more")]
    Busy {
        /// The limit.
        limit: usize,
    },

    /// The caller has given the command up.
    #[error(
        "the command was given up{}",
        if *.outcome_unknown { "; it may have been sent, its outcome is unknown" } else { " before it was sent" }
    )]
    Cancelled {
        /// The command may have left: it may or may not have run, or may run yet.
        outcome_unknown: bool,
    },

    /// A command that belongs to no single shard.
    #[error("{0}")]
    Unroutable(String),

    /// Keys of several slots in a command that must not be split.
    #[error("{0}")]
    CrossSlot(String),

    /// A command that was sent in parts has failed in some of them. Its source is the first failure, as a `Box<Error>`.
    #[error("{cause}; {done} of {asked} parts were done")]
    Incomplete {
        /// The first failure.
        #[source]
        cause: Box<Error>,
        /// The number of parts that have succeeded.
        done: usize,
        /// The number of all parts.
        asked: usize,
    },

    /// A flow has ended since a key's command has failed. Its source is that failure, as a `Box<Error>`.
    #[error("{cause}; {done} keys were done")]
    Stopped {
        /// The failure.
        #[source]
        cause: Box<Error>,
        /// The number of keys whose commands have succeeded.
        done: u64,
    },

    /// The caller's rights do not reach.
    #[error("{0}")]
    NoPermission(String),

    /// Bad arguments: nobody could serve them.
    #[error("{0}")]
    Invalid(String),

    /// A good request that is not served here: this server, connection or command does not allow it.
    #[error("{0}")]
    Refused(String),

    /// Something that the program or the server was given cannot be used: a file, a certificate, a thread.
    #[error("{what}: {cause}")]
    Unusable {
        /// The thing that was given, as the first half of a sentence.
        what: String,
        /// The reason why it cannot be used.
        #[source]
        cause: Cause,
    },

    /// Code that was given to rmr has panicked.
    #[error("the {who} panicked: {message}")]
    Panicked {
        /// The code: `reducer`, `shard function`, `node provider` or `callback`.
        who: &'static str,
        /// The message of the panic.
        message: String,
    },

    /// A fault in rmr, or in a shard function that broke its promise.
    #[error("{0}")]
    Internal(String),
}

/// An error of another crate that an [`Error`] was made of. [`Error::source`](std::error::Error::source) returns the error
/// inside, which can be downcast.
#[derive(Clone)]
pub struct Cause(Arc<dyn std::error::Error + Send + Sync>);

impl<E: std::error::Error + Send + Sync + 'static> From<E> for Cause {
    fn from(error: E) -> Self {
        Self(Arc::new(error))
    }
}

impl Deref for Cause {
    type Target = dyn std::error::Error + Send + Sync;

    fn deref(&self) -> &Self::Target {
        &*self.0
    }
}

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

impl fmt::Debug for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.0, f)
    }
}

/// The kinds of [`Error`], without what it says.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ErrorKind {
    /// [`Error::Topology`]
    Topology,
    /// [`Error::Timeout`]
    Timeout,
    /// [`Error::Node`]
    Node,
    /// [`Error::Shard`]
    Shard,
    /// [`Error::BadReply`]
    BadReply,
    /// [`Error::Slots`]
    Slots,
    /// [`Error::TooBig`], [`Error::KeepsTooMuch`], [`Error::FlowMemory`]
    TooBig,
    /// [`Error::Mixed`]
    Mixed,
    /// [`Error::Conversion`]
    Conversion,
    /// [`Error::Overflow`]
    Overflow,
    /// [`Error::Busy`]
    Busy,
    /// [`Error::Cancelled`]
    Cancelled,
    /// [`Error::Unroutable`]
    Unroutable,
    /// [`Error::CrossSlot`]
    CrossSlot,
    /// [`Error::NoPermission`]
    NoPermission,
    /// [`Error::Invalid`]
    Invalid,
    /// [`Error::Refused`]
    Refused,
    /// [`Error::Unusable`]
    Unusable,
    /// [`Error::Panicked`]
    Panicked,
    /// [`Error::Internal`]
    Internal,
}

impl ErrorKind {
    /// Returns the word that stands before the text on the wire.
    pub fn prefix(self) -> &'static str {
        match self {
            Self::Topology => "ERRCLUSTER",
            Self::Timeout => "RMRTIMEOUT",
            Self::Node => "RMRNODE",
            Self::Shard => "RMRSHARD",
            Self::Slots => "RMRSLOTS",
            Self::TooBig => "RMRTOOBIG",
            Self::Mixed => "RMRMIXED",
            Self::Busy => "RMRBUSY",
            Self::Cancelled => "RMRCANCELLED",
            Self::CrossSlot => "CROSSSLOT",
            Self::Unroutable => "UNROUTABLE",
            Self::NoPermission => "NOPERM",
            Self::BadReply
            | Self::Conversion
            | Self::Overflow
            | Self::Invalid
            | Self::Refused
            | Self::Unusable
            | Self::Panicked
            | Self::Internal => "ERR",
        }
    }
}

fn unknown_note(outcome_unknown: &bool) -> &'static str {
    if *outcome_unknown { "; the command was sent, its outcome is unknown" } else { "" }
}

fn key_note(key: &Option<String>) -> String {
    key.as_ref().map(|key| format!(" (key '{key}')")).unwrap_or_default()
}

impl Error {
    /// Says that the provider of this name knows no node.
    pub(crate) fn no_node(provider: &str) -> Self {
        Self::Topology(format!("the provider '{provider}' knows no node"))
    }

    /// Returns the kind; of a command that was done in part, the kind of its first failure.
    pub fn kind(&self) -> ErrorKind {
        match self {
            Self::Topology(_) => ErrorKind::Topology,
            Self::Timeout { .. } => ErrorKind::Timeout,
            Self::Node { .. } => ErrorKind::Node,
            Self::Shard { .. } => ErrorKind::Shard,
            Self::BadReply { .. } => ErrorKind::BadReply,
            Self::Slots(_) => ErrorKind::Slots,
            Self::TooBig { .. } | Self::KeepsTooMuch { .. } | Self::FlowMemory { .. } => ErrorKind::TooBig,
            Self::Mixed { .. } => ErrorKind::Mixed,
            Self::Conversion { .. } => ErrorKind::Conversion,
            Self::Overflow(_) => ErrorKind::Overflow,
            Self::Busy { .. } => ErrorKind::Busy,
            Self::Cancelled { .. } => ErrorKind::Cancelled,
            Self::Unroutable(_) => ErrorKind::Unroutable,
            Self::CrossSlot(_) => ErrorKind::CrossSlot,
            Self::Incomplete { cause, .. } | Self::Stopped { cause, .. } => cause.kind(),
            Self::NoPermission(_) => ErrorKind::NoPermission,
            Self::Invalid(_) => ErrorKind::Invalid,
            Self::Refused(_) => ErrorKind::Refused,
            Self::Unusable { .. } => ErrorKind::Unusable,
            Self::Panicked { .. } => ErrorKind::Panicked,
            Self::Internal(_) => ErrorKind::Internal,
        }
    }

    /// Returns whether a command had left that may write, and nobody knows whether it has run.
    pub fn is_outcome_unknown(&self) -> bool {
        match self {
            Self::Node { outcome_unknown, .. }
            | Self::Timeout { outcome_unknown, .. }
            | Self::Cancelled { outcome_unknown } => *outcome_unknown,
            Self::Incomplete { cause, .. } | Self::Stopped { cause, .. } => cause.is_outcome_unknown(),
            _ => false,
        }
    }

    /// Returns whether the deadline passed.
    pub fn is_timeout(&self) -> bool {
        self.kind() == ErrorKind::Timeout
    }

    /// Returns whether the same command can be sent again and may then succeed: its cause is one that passes, and the
    /// command that failed has not run. Other commands of the same request, or of an earlier step, may have been done.
    /// A command that was done in part is not sent again as a whole.
    ///
    /// ```
    /// use rmr::Error;
    ///
    /// let lost = |outcome_unknown| Error::Node { node: "a:1".into(), cause: "gone".into(), outcome_unknown };
    /// assert!(lost(false).is_retryable() && !lost(true).is_retryable());
    /// assert!(!Error::Invalid("no".into()).is_retryable());
    /// ```
    pub fn is_retryable(&self) -> bool {
        match self {
            Self::Topology(_) | Self::Slots(_) | Self::Busy { .. } => true,
            Self::Timeout { .. } | Self::Node { .. } => !self.is_outcome_unknown(),
            Self::Shard { message, .. } => matches!(message.retry(), Retry::Later | Retry::AtThePrimary),
            _ => false,
        }
    }

    /// Returns the node that failed, as `id@host:port`. `None` if the error is nobody's, or that of several nodes.
    pub fn node(&self) -> Option<&str> {
        match self {
            Self::Node { node, .. }
            | Self::Shard { node, .. }
            | Self::BadReply { node, .. }
            | Self::Mixed { node, .. } => Some(node),
            Self::Timeout { answered, asked, waiting_on, .. } if asked.checked_sub(*answered) == Some(1) => {
                Some(waiting_on)
            }
            Self::Incomplete { cause, .. } | Self::Stopped { cause, .. } => cause.node(),
            _ => None,
        }
    }

    /// Returns how much the error says, among those that several nodes give to one command: an unknown outcome most, a node
    /// that only had nothing to do least.
    fn weight(&self) -> u8 {
        match self {
            _ if self.is_outcome_unknown() => 3,
            Self::Shard { message, .. } => match message.code() {
                "UNKILLABLE" | "BUSY" | "MISCONF" | "NOREPLICAS" => 2,
                "NOTBUSY" => 0,
                _ => 1,
            },
            _ => 1,
        }
    }

    /// Returns the error that says most; the first of several.
    pub(crate) fn that_says_most<'a>(errors: impl Iterator<Item = &'a Self>) -> Option<&'a Self> {
        errors.min_by_key(|error| std::cmp::Reverse(error.weight()))
    }

    /// Returns the error as one RESP error line without its leading `-`: the prefix of its kind, no byte that would end
    /// the line early, and a shard's message byte for byte as it came.
    ///
    /// ```
    /// let error = rmr::Error::Invalid("two\r\nlines".into());
    /// assert_eq!(error.to_line(), b"ERR two  lines");
    /// assert_eq!(error.to_string(), "two\r\nlines");
    /// ```
    pub fn to_line(&self) -> Vec<u8> {
        let mut line = match self {
            Self::Shard { node, message, key } => {
                let mut line = format!("{} {node}: ", ErrorKind::Shard.prefix()).into_bytes();
                line.extend_from_slice(message.as_bytes());
                line.extend_from_slice(key_note(key).as_bytes());
                line
            }
            Self::Incomplete { cause, done, asked } => {
                let mut line = cause.to_line();
                line.extend_from_slice(format!("; {done} of {asked} parts were done").as_bytes());
                line
            }
            Self::Stopped { cause, done } => {
                let mut line = cause.to_line();
                line.extend_from_slice(format!("; {done} keys were done").as_bytes());
                line
            }
            other => format!("{} {other}", other.kind().prefix()).into_bytes(),
        };
        for byte in &mut line {
            if matches!(byte, b'\r' | b'\n' | 0) {
                *byte = b' ';
            }
        }
        line
    }
}

#[cfg(test)]
mod tests {
    use std::error::Error as _;

    use super::*;

    fn of_shard(message: &'static [u8]) -> Error {
        Error::Shard { node: "a1b2@10.0.0.3:6379".into(), message: ServerError::new(message), key: Some("list".into()) }
    }

    #[test]
    fn a_shards_words_are_kept() {
        let error = of_shard(b"WRONGTYPE caf\xe9");
        assert_eq!(error.to_line(), b"RMRSHARD a1b2@10.0.0.3:6379: WRONGTYPE caf\xe9 (key 'list')");
    }

    #[test]
    fn of_several_the_one_is_shown_that_says_most_and_of_these_the_first() {
        let shard = |node: &str, words: &'static str| Error::Shard {
            node: node.into(),
            message: ServerError::new(words),
            key: None,
        };
        let lost = Error::Node { node: "e".into(), cause: "gone".into(), outcome_unknown: true };
        let mut errors = vec![
            shard("a", "NOTBUSY No scripts in execution right now."),
            shard("b", "ERR x"),
            shard("c", "UNKILLABLE Sorry"),
            shard("d", "UNKILLABLE Sorry"),
            lost,
        ];
        let mut shown = Vec::new();
        while let Some(most) = Error::that_says_most(errors.iter()).and_then(Error::node).map(str::to_owned) {
            errors.retain(|error| error.node() != Some(&most));
            shown.push(most);
        }
        assert_eq!(shown.concat(), "ecdba");
    }

    #[test]
    fn an_unknown_outcome_is_said() {
        let error = |outcome_unknown| Error::Node { node: "n".into(), cause: "gone".into(), outcome_unknown };
        assert_eq!(error(false).to_string(), "n: gone");
        assert_eq!(error(true).to_string(), "n: gone; the command was sent, its outcome is unknown");
        assert_eq!(error(true).to_line(), b"RMRNODE n: gone; the command was sent, its outcome is unknown");
    }

    #[test]
    fn the_prefix_is_that_of_the_kind_and_stands_on_the_wire_only() {
        let in_part = Error::Incomplete { cause: Box::new(of_shard(b"OOM full")), done: 2, asked: 3 };
        let shown = "a1b2@10.0.0.3:6379: OOM full (key 'list'); 2 of 3 parts were done";
        assert_eq!(in_part.to_string(), shown);
        assert_eq!(in_part.to_line(), format!("RMRSHARD {shown}").as_bytes());
        let refused = Error::Refused("not here".into());
        assert_eq!((refused.to_string(), refused.to_line()), ("not here".into(), b"ERR not here".to_vec()));
        let nobody = Error::no_node("test");
        assert_eq!(nobody.to_line(), b"ERRCLUSTER the provider 'test' knows no node");
    }

    #[test]
    fn what_may_have_run_is_not_for_a_retry() {
        let late = |outcome_unknown, asked| Error::Timeout {
            timeout_ms: 5,
            answered: 1,
            asked,
            waiting_on: "a:1".into(),
            outcome_unknown,
        };
        assert!(late(false, 2).is_timeout() && late(false, 2).is_retryable() && !late(true, 2).is_retryable());
        assert_eq!((late(true, 2).node(), late(true, 3).node()), (Some("a:1"), None));
        assert!(of_shard(b"TRYAGAIN Multiple keys request during rehashing of slot").is_retryable());
        assert!(!of_shard(b"TRYAGAIN says a script").is_retryable());
        let in_part = Error::Incomplete { cause: Box::new(late(false, 2)), done: 1, asked: 2 };
        assert!(in_part.is_timeout() && !in_part.is_retryable());
        assert_eq!(in_part.node(), Some("a:1"));
    }

    #[test]
    fn a_cause_can_be_asked_for() {
        let file = std::io::Error::other("no such file");
        let error = Error::Unusable { what: "the file x cannot be used".into(), cause: file.into() };
        assert_eq!(error.to_string(), "the file x cannot be used: no such file");
        assert!(error.source().is_some_and(|cause| cause.downcast_ref::<std::io::Error>().is_some()));
        let error = of_shard(b"OOM");
        let cause = error.source().and_then(|cause| cause.downcast_ref::<ServerError>());
        assert_eq!(cause.map(ServerError::code), Some("OOM"));
        let in_part = Error::Incomplete { cause: Box::new(error), done: 1, asked: 2 };
        assert!(in_part.source().is_some_and(|cause| cause.downcast_ref::<Box<Error>>().is_some()));
        assert!(Error::Invalid("no".into()).source().is_none());
    }
}
