//! [`ServerError`]: an error reply as it was sent, told apart by its code.
//!
//! Servers begin an error with a code in capitals (`MOVED`, `LOADING`, `ERR`) and go on in words for people. The code says
//! which kind of error it is. It does not say that the *server* gave it: a script or a module may end in an error of its
//! own that begins alike, after it has done half of its work. So [`ServerError::retry`] also reads the words with which
//! servers refuse a command before they run it, and takes an error in any other words for an answer.

use std::fmt;

use bytes::Bytes;

/// An error reply of a server: its bytes, their code, and what they mean for a retry.
///
/// ```
/// use rmr::resp::{Retry, ServerError, ServerErrorKind};
///
/// let error = ServerError::new("LOADING Redis is loading the dataset in memory");
/// assert_eq!((error.code(), error.kind()), ("LOADING", ServerErrorKind::Loading));
/// assert_eq!(error.retry(), Retry::Later);
/// assert_eq!(ServerError::new("LOADING docks are closed").retry(), Retry::Never);
/// ```
#[derive(Clone, PartialEq, Eq)]
pub struct ServerError(Bytes);

/// The kinds of errors that rmr tells apart, by their codes; for `ERR` also by the server's words.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum ServerErrorKind {
    /// `MOVED`: another node owns the slot.
    Moved,
    /// `ASK`: another node has this one key already.
    Ask,
    /// `TRYAGAIN`: the keys of one command are on two nodes while their slot moves, or writes are paused.
    TryAgain,
    /// `CLUSTERDOWN`: nobody serves the slot, or the cluster has no majority.
    ClusterDown,
    /// `LOADING`: the server reads its data set.
    Loading,
    /// `MASTERDOWN`: a replica without its primary.
    MasterDown,
    /// `READONLY`: a write was sent to a replica.
    ReadOnly,
    /// `CROSSSLOT`: keys of several slots in one command.
    CrossSlot,
    /// `NOSCRIPT`: the server does not have the script of this digest.
    NoScript,
    /// `WRONGTYPE`: the key holds another type of value.
    WrongType,
    /// `NOAUTH`: the server asks for a password.
    NoAuth,
    /// `NOPERM`: the user may not run this command or touch this key.
    NoPermission,
    /// `ERR unknown command`.
    UnknownCommand,
    /// `ERR wrong number of arguments`.
    WrongArity,
    /// `ERR The command has no key arguments`, from `COMMAND GETKEYS`.
    NoKeyArguments,
    /// Errors of any other kind.
    Other,
}

/// Says what an error of a server means for the command that it answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Retry {
    /// The error is the answer; the command may have run.
    Never,
    /// The command has not run, and belongs on the node that the error names.
    Redirect,
    /// The command has not run. The server cannot serve it now and will soon.
    Later,
    /// The command has not run. The node has become a replica, and the topology says who is the primary.
    AtThePrimary,
}

/// The words with which servers refuse a command, before they run it, for a cause that passes.
const NOT_NOW: [&[u8]; 8] = [
    b"TRYAGAIN Multiple keys request",
    b"TRYAGAIN writes are paused",
    b"CLUSTERDOWN Hash slot not served",
    b"CLUSTERDOWN The cluster is down",
    b"LOADING Redis is loading",
    b"LOADING Valkey is loading",
    b"MASTERDOWN Link with MASTER is down",
    b"MASTERDOWN Link with PRIMARY is down",
];

impl ServerError {
    /// Wraps the text of an error reply, its code first.
    pub fn new(message: impl Into<Bytes>) -> Self {
        Self(message.into())
    }

    /// Returns the first word, in most errors a code in capitals; empty if it is not text.
    pub fn code(&self) -> &str {
        std::str::from_utf8(code(&self.0)).unwrap_or_default()
    }

    /// Returns the kind that the code stands for.
    pub fn kind(&self) -> ServerErrorKind {
        ServerErrorKind::of(&self.0)
    }

    /// Returns what the error means for a retry of its command.
    pub fn retry(&self) -> Retry {
        Retry::after(&self.0)
    }

    /// Returns the error byte for byte as it was sent.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// Returns the error byte for byte as it was sent, without a copy.
    pub fn into_bytes(self) -> Bytes {
        self.0
    }
}

impl ServerErrorKind {
    pub(crate) fn of(message: &[u8]) -> Self {
        match code(message) {
            b"MOVED" => Self::Moved,
            b"ASK" => Self::Ask,
            b"TRYAGAIN" => Self::TryAgain,
            b"CLUSTERDOWN" => Self::ClusterDown,
            b"LOADING" => Self::Loading,
            b"MASTERDOWN" => Self::MasterDown,
            b"READONLY" => Self::ReadOnly,
            b"CROSSSLOT" => Self::CrossSlot,
            b"NOSCRIPT" => Self::NoScript,
            b"WRONGTYPE" => Self::WrongType,
            b"NOAUTH" => Self::NoAuth,
            b"NOPERM" => Self::NoPermission,
            b"ERR" if message.starts_with(b"ERR unknown command") => Self::UnknownCommand,
            b"ERR" if message.starts_with(b"ERR wrong number of arguments") => Self::WrongArity,
            b"ERR" if message.starts_with(b"ERR The command has no key arguments") => Self::NoKeyArguments,
            _ => Self::Other,
        }
    }

    /// Returns whether the error names another node.
    pub fn is_redirect(self) -> bool {
        matches!(self, Self::Moved | Self::Ask)
    }
}

impl Retry {
    pub(crate) fn after(message: &[u8]) -> Self {
        match ServerErrorKind::of(message) {
            kind if kind.is_redirect() => Self::Redirect,
            ServerErrorKind::ReadOnly if message.starts_with(b"READONLY You can't write against") => Self::AtThePrimary,
            _ if NOT_NOW.iter().any(|words| message.starts_with(words)) => Self::Later,
            _ => Self::Never,
        }
    }
}

/// Returns the first word of an error.
pub(crate) fn code(message: &[u8]) -> &[u8] {
    message.split(|&byte| byte == b' ').next().unwrap_or_default()
}

impl fmt::Display for ServerError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&String::from_utf8_lossy(&self.0))
    }
}

impl fmt::Debug for ServerError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ServerError({:?})", String::from_utf8_lossy(&self.0))
    }
}

impl std::error::Error for ServerError {}

impl From<Bytes> for ServerError {
    fn from(message: Bytes) -> Self {
        Self(message)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_are_told_apart_by_their_code() {
        let kind = |message: &'static str| ServerError::new(message).kind();
        assert_eq!(kind("MOVED 3999 127.0.0.1:6381"), ServerErrorKind::Moved);
        assert_eq!(kind("ASK 3999 127.0.0.1:6381"), ServerErrorKind::Ask);
        assert_eq!(kind("TRYAGAIN"), ServerErrorKind::TryAgain);
        assert_eq!(kind("NOSCRIPT No matching script."), ServerErrorKind::NoScript);
        assert_eq!(kind("ERR unknown command 'NOSUCH'"), ServerErrorKind::UnknownCommand);
        assert_eq!(kind("ERR wrong number of arguments for 'auth' command"), ServerErrorKind::WrongArity);
        assert_eq!(kind("ERR The command has no key arguments"), ServerErrorKind::NoKeyArguments);
        for other in ["", "ERR", "MOVEDX 1 a:1", "moved 1 a:1", " MOVED 1 a:1"] {
            assert_eq!(kind(other), ServerErrorKind::Other, "{other}");
        }
    }

    #[test]
    fn only_the_servers_own_words_are_a_reason_to_retry() {
        let retry = |message: &'static str| ServerError::new(message).retry();
        assert_eq!(retry("MOVED 3999 127.0.0.1:6381"), Retry::Redirect);
        assert_eq!(retry("READONLY You can't write against a read only replica."), Retry::AtThePrimary);
        for words in NOT_NOW {
            let longer = [words, b" and more"].concat();
            assert_eq!(ServerError::new(longer).retry(), Retry::Later);
        }
        for answer in ["READONLY of mine", "TRYAGAIN of mine", "LOADING", "WRONGTYPE Operation", "ERR no"] {
            assert_eq!(retry(answer), Retry::Never, "{answer}");
        }
    }

    #[test]
    fn an_error_that_is_no_text_is_kept() {
        let error = ServerError::new(&b"\xff\xfe caf\xe9"[..]);
        assert_eq!(
            (error.code(), error.kind(), error.as_bytes()),
            ("", ServerErrorKind::Other, &b"\xff\xfe caf\xe9"[..])
        );
    }
}
