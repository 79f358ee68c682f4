//! The end of an inner command: a byte for the version, and one of four ends in the postcard format.
//!
//! Errors are the server's own, or those of another version of the module, with which nothing else is in common: they say
//! that nothing has run, unless their code leaves that open.

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use super::VERSION;
use crate::reply::Reply;
use crate::resp::{ServerErrorKind, error_code};

/// The end of an inner command. The order of the ends is part of the format.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Outcome<T> {
    /// The node has done what it was asked for.
    Done(T),
    /// The node does not do it, or not now, for this reason: nothing has run.
    Declined(String),
    /// The replies grew past the request's budget.
    TooBig,
    /// The command has failed, and it is open how much of it has run. The text is the node's whole error.
    Failed(String),
}

impl<T> Outcome<T> {
    /// Gives what was done another form, if it has one; the error says why not.
    pub(super) fn and_then<U>(self, read: impl FnOnce(T) -> Result<U, &'static str>) -> Outcome<U> {
        match self {
            // Bytes that are no answer may stand for something that has run.
            Self::Done(done) => read(done).map_or_else(|why| Outcome::Failed(why.into()), Outcome::Done),
            Self::Declined(why) => Outcome::Declined(why),
            Self::TooBig => Outcome::TooBig,
            Self::Failed(why) => Outcome::Failed(why),
        }
    }
}

impl<T: Serialize> Outcome<T> {
    /// Returns the reply that tells whoever has asked.
    pub(crate) fn to_reply(&self) -> Reply {
        let encoded = postcard::to_extend(self, vec![VERSION]).or_else(|error| {
            let failed = Outcome::<()>::Failed(format!("the result cannot be encoded: {error}"));
            postcard::to_extend(&failed, vec![VERSION])
        });
        match encoded {
            Ok(bytes) => Reply::Bulk(bytes.into()),
            Err(error) => Reply::Error(format!("ERR the result cannot be encoded: {error}").into()),
        }
    }
}

impl<'a, T: Deserialize<'a>> Outcome<T> {
    /// Reads the reply to an inner command.
    pub(crate) fn read(reply: &'a Reply) -> Self {
        match reply {
            Reply::Bulk(answer) => Self::decode(answer).unwrap_or_else(|why| Self::Failed(why.into())),
            Reply::Error(message) if leaves_open(message) => Self::Failed(text(message)),
            Reply::Error(message) => Self::Declined(text(message)),
            other => Self::Declined(other.describe()),
        }
    }

    fn decode(answer: &'a [u8]) -> Result<Self, &'static str> {
        let rest = answer.strip_prefix(&[VERSION]).ok_or("the answer to an inner command has another version")?;
        match postcard::take_from_bytes(rest) {
            Ok((outcome, [])) => Ok(outcome),
            _ => Err(DAMAGED),
        }
    }
}

impl Outcome<Bytes> {
    /// Reads the reply to an inner command that is answered with bytes for a floor above.
    pub(crate) fn of_bytes(reply: Reply) -> Self {
        let outcome = Outcome::<&serde_bytes::Bytes>::read(&reply);
        outcome.and_then(|done| match &reply {
            Reply::Bulk(answer) => Ok(answer.slice_ref(done)),
            _ => Err(DAMAGED),
        })
    }

    /// Returns the reply that tells whoever has asked.
    pub(crate) fn into_reply(self) -> Reply {
        match self {
            Self::Done(done) => Outcome::Done(serde_bytes::Bytes::new(&done)).to_reply(),
            other => other.and_then(|_| Err::<(), _>(DAMAGED)).to_reply(),
        }
    }
}

/// The text about an answer that cannot be read.
pub(super) const DAMAGED: &str = "the answer to an inner command is damaged";

/// Tells whether the error of an inner command leaves open how much of it was done. All others are given instead of it, by
/// another version of our module or, in its own words, by the server.
fn leaves_open(error: &[u8]) -> bool {
    error_code(error) == b"ERR" && ServerErrorKind::of(error) != ServerErrorKind::UnknownCommand
}

fn text(message: &Bytes) -> String {
    String::from_utf8_lossy(message).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(reply: Reply) -> Outcome<Bytes> {
        Outcome::of_bytes(reply)
    }

    #[test]
    fn only_errors_of_a_request_that_may_have_begun_leave_its_outcome_open() {
        for begun in ["ERR internal error", "ERR"] {
            assert_eq!(read(Reply::Error(begun.into())), Outcome::Failed(begun.into()));
        }
        let declined = ["RMRDECLINED no", "ERR unknown command 'RMR.INNER'", "NOPERM no", "LOADING wait", "BUSY"];
        for declined in declined.map(|declined| Reply::Error(declined.into())).into_iter().chain([Reply::Integer(2)]) {
            assert!(matches!(read(declined), Outcome::Declined(_)));
        }
        // Bytes that are no answer may stand for something that has run.
        for damaged in [&b"no answer"[..], b"", b"\x04", b"\x04\x09", b"\x04\x00\x05four", b"\x04\x02more"] {
            assert!(matches!(read(Reply::Bulk(Bytes::from_static(damaged))), Outcome::Failed(_)), "{damaged:?}");
        }
    }

    #[test]
    fn ends_read_back() {
        let ends = [
            Outcome::Done(Bytes::from_static(b"done")),
            Outcome::Done(Bytes::new()),
            Outcome::Declined("not now".into()),
            Outcome::TooBig,
            Outcome::Failed("lost".into()),
        ];
        for end in ends {
            let again = match &end {
                Outcome::Done(done) => Outcome::Done(done.clone()),
                other => read(other_reply(other)),
            };
            assert_eq!(again, end);
            assert_eq!(read(end.into_reply()), again);
        }
    }

    fn other_reply(end: &Outcome<Bytes>) -> Reply {
        match end {
            Outcome::Declined(why) => Outcome::<()>::Declined(why.clone()).to_reply(),
            Outcome::Failed(why) => Outcome::<()>::Failed(why.clone()).to_reply(),
            _ => Outcome::<()>::TooBig.to_reply(),
        }
    }

    #[test]
    fn the_wire_is_that_of_version_4() {
        let wire = |end: Outcome<Bytes>| match end.into_reply() {
            Reply::Bulk(bytes) => bytes.to_vec(),
            other => panic!("{other:?}"),
        };
        assert_eq!(wire(Outcome::Done("a".into())), b"\x04\x00\x01a");
        assert_eq!(wire(Outcome::Declined("b".into())), b"\x04\x01\x01b");
        assert_eq!(wire(Outcome::TooBig), b"\x04\x02");
        assert_eq!(wire(Outcome::Failed("c".into())), b"\x04\x03\x01c");
    }
}
