//! [`Error`]: everything that can go wrong, each with a stable prefix that tools can match.
//!
//! A text says what was given, what is allowed, and which node. The prefixes are part of the interface:
//!
//! | prefix | meaning |
//! |---|---|
//! | `ERRCLUSTER` | the topology is not known, or the cluster has no slots yet |
//! | `RMRTIMEOUT` | the deadline passed; the text names the nodes that had not answered |
//! | `RMRNODE` | a node could not be reached, or was lost on the way |
//! | `RMRSHARD` | a shard's own error, verbatim after the colon |
//! | `RMRSLOTS` | slots that no node owns |
//! | `RMRTOOBIG` | the replies of one request grew past the limit |
//! | `RMRMIXED` | a reply of a type that the reducer cannot take |
//! | `RMRBUSY` | too many requests in flight |
//! | `RMRCANCELLED` | the caller has given the command up; only a `Promise` has this |
//! | `CROSSSLOT` | a command that must not be split, with keys of several slots |
//! | `UNROUTABLE` | a command that belongs to no single shard |
//! | `NOPERM` | the caller may not run this command or touch this key |
//! | `ERR` | everything else, bad arguments above all |

use bytes::Bytes;

/// The one error type of the crate.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The topology is not known, or names no shard.
    #[error("ERRCLUSTER {0}")]
    Topology(String),

    /// The deadline passed before everybody had answered.
    #[error(
        "RMRTIMEOUT {timeout_ms} ms: {answered}/{asked} nodes replied; waiting on {waiting_on}{}",
        if *.outcome_unknown { "; the command may have been sent, its outcome is unknown" } else { "" }
    )]
    Timeout {
        /// The time that the request had, in milliseconds.
        timeout_ms: u64,
        /// How many nodes had answered in full.
        answered: usize,
        /// How many nodes were asked.
        asked: usize,
        /// The nodes that were still to answer.
        waiting_on: String,
        /// The command may write and was on its way: it may or may not have run, or may run yet.
        outcome_unknown: bool,
    },

    /// A node could not be reached, or the connection to it was lost.
    #[error("RMRNODE {node}: {cause}{}", unknown_note(.outcome_unknown))]
    Node {
        /// The node, as `id@host:port`.
        node: String,
        /// What the operating system or the handshake said.
        cause: String,
        /// The command had left and no answer came: it may or may not have run.
        outcome_unknown: bool,
    },

    /// An error reply of a shard, kept as it was sent.
    #[error("RMRSHARD {node}: {}{}", String::from_utf8_lossy(.message), key_note(.key))]
    Shard {
        /// The node, as `id@host:port`.
        node: String,
        /// The shard's own words, its own prefix first.
        message: Bytes,
        /// The key that the command was routed by, escaped.
        key: Option<String>,
    },

    /// Slots that no node owns.
    #[error("RMRSLOTS {0}")]
    Slots(String),

    /// The replies of one request grew past the limit.
    #[error("RMRTOOBIG the replies grew past {limit} bytes; rmr.max-reply-bytes allows no more")]
    TooBig {
        /// The limit, in bytes.
        limit: usize,
    },

    /// A reply that the reducer cannot take.
    #[error("RMRMIXED {reducer} cannot take {found} from {node}")]
    Mixed {
        /// The reducer's name.
        reducer: &'static str,
        /// The type, and the value where it is short.
        found: String,
        /// The node, as `id@host:port`.
        node: String,
    },

    /// Too many requests in flight.
    #[error("RMRBUSY {limit} requests are in flight; rmr.max-inflight allows no more")]
    Busy {
        /// The limit.
        limit: usize,
    },

    /// The caller has given the command up.
    #[error(
        "RMRCANCELLED the command was given up{}",
        if *.outcome_unknown { "; it may have been sent, its outcome is unknown" } else { " before it was sent" }
    )]
    Cancelled {
        /// The command may have left: it may or may not have run, or may run yet.
        outcome_unknown: bool,
    },

    /// A command that belongs to no single shard.
    #[error("UNROUTABLE {0}")]
    Unroutable(String),

    /// Keys of several slots in a command that must not be split.
    #[error("CROSSSLOT {0}")]
    CrossSlot(String),

    /// A command that was sent in parts has failed in some of them.
    #[error("{cause}; {done} of {asked} parts were done")]
    Incomplete {
        /// The first failure.
        cause: Box<Error>,
        /// How many parts have succeeded.
        done: usize,
        /// How many there were.
        asked: usize,
    },

    /// The caller's rights do not reach.
    #[error("NOPERM {0}")]
    NoPermission(String),

    /// Bad arguments, or a request that cannot be served here.
    #[error("ERR {0}")]
    Invalid(String),
}

fn unknown_note(outcome_unknown: &bool) -> &'static str {
    if *outcome_unknown { "; the command was sent, its outcome is unknown" } else { "" }
}

fn key_note(key: &Option<String>) -> String {
    key.as_ref().map(|key| format!(" (key '{key}')")).unwrap_or_default()
}

impl Error {
    /// Whether a command had left that may write, and nobody knows whether it has run.
    pub fn is_outcome_unknown(&self) -> bool {
        match self {
            Self::Node { outcome_unknown, .. }
            | Self::Timeout { outcome_unknown, .. }
            | Self::Cancelled { outcome_unknown } => *outcome_unknown,
            Self::Incomplete { cause, .. } => cause.is_outcome_unknown(),
            _ => false,
        }
    }

    /// The error as one RESP error line without its leading `-`: no byte that would end the line early, and a shard's
    /// message byte for byte as it came.
    ///
    /// ```
    /// let error = rmr::Error::Invalid("two\r\nlines".into());
    /// assert_eq!(error.to_line(), b"ERR two  lines");
    /// ```
    pub fn to_line(&self) -> Vec<u8> {
        let mut line = match self {
            Self::Shard { node, message, key } => {
                let mut line = format!("RMRSHARD {node}: ").into_bytes();
                line.extend_from_slice(message);
                line.extend_from_slice(key_note(key).as_bytes());
                line
            }
            Self::Incomplete { cause, done, asked } => {
                let mut line = cause.to_line();
                line.extend_from_slice(format!("; {done} of {asked} parts were done").as_bytes());
                line
            }
            other => other.to_string().into_bytes(),
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
    use super::*;

    #[test]
    fn a_shards_words_are_kept() {
        let error = Error::Shard {
            node: "a1b2@10.0.0.3:6379".into(),
            message: Bytes::from_static(b"WRONGTYPE caf\xe9"),
            key: Some("list".into()),
        };
        assert_eq!(error.to_line(), b"RMRSHARD a1b2@10.0.0.3:6379: WRONGTYPE caf\xe9 (key 'list')");
    }

    #[test]
    fn an_unknown_outcome_is_said() {
        let error = |outcome_unknown| Error::Node { node: "n".into(), cause: "gone".into(), outcome_unknown };
        assert_eq!(error(false).to_string(), "RMRNODE n: gone");
        assert_eq!(error(true).to_string(), "RMRNODE n: gone; the command was sent, its outcome is unknown");
    }
}
