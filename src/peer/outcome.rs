//! How an inner command ends. On the wire that is a bulk string, or an error whose first word says which end it is.

use bytes::Bytes;

use super::reduce::ReduceAnswer;
use super::reduction::{ReducedShare, Reduction};
use crate::reply::Reply;
use crate::resp::{ServerErrorKind, error_code};

const DECLINED: &str = "RMRDECLINED";
const FAILED: &str = "RMRINNER";
const TOO_BIG: &str = "RMRTOOBIG";

/// The end of a request to reduce a share.
#[derive(Debug)]
pub(crate) enum ReduceOutcome {
    /// The node has reduced its share.
    Done(ReducedShare),
    /// The node does not reduce, or not now, for this reason: nothing has run, and the share is sent as plain commands.
    Declined(String),
    /// The replies grew past the request's budget.
    TooBig,
    /// It is open how much of the share has run. To the coordinator the text is the node's whole error.
    Failed(String),
}

impl ReduceOutcome {
    /// Reads the reply to a request about so many commands.
    pub(crate) fn of_reply(reply: Reply, reduction: &Reduction, commands: usize) -> Self {
        match reply {
            Reply::Bulk(answer) => match ReduceAnswer::decode(&answer, reduction, commands) {
                Ok(share) => Self::Done(share),
                Err(why) => Self::Failed(why.into()),
            },
            Reply::Error(message) if has_begun(&message) => Self::Failed(text(&message)),
            Reply::Error(message) if message.starts_with(TOO_BIG.as_bytes()) => Self::TooBig,
            Reply::Error(message) => Self::Declined(text(&message)),
            other => Self::Declined(other.describe()),
        }
    }

    /// Returns the reply that tells the coordinator.
    pub(crate) fn into_reply(self) -> Reply {
        let failed = |why: &str| Reply::Error(format!("{FAILED} {why}").into());
        match self {
            Self::Done(share) => match ReduceAnswer::encode(&share) {
                Ok(answer) => Reply::Bulk(answer.into()),
                Err(error) => failed(&format!("the result cannot be encoded: {error}")),
            },
            Self::Declined(why) => Reply::Error(format!("{DECLINED} {why}").into()),
            Self::TooBig => Reply::Error(format!("{TOO_BIG} the replies grew too big").into()),
            Self::Failed(why) => failed(&why),
        }
    }
}

/// Tells whether the error of an inner command leaves open how much of it was done. All others are given instead of it, by
/// our module or, in its own words, by the server.
fn has_begun(error: &[u8]) -> bool {
    match error_code(error) {
        code if code == FAILED.as_bytes() => true,
        b"ERR" => ServerErrorKind::of(error) != ServerErrorKind::UnknownCommand,
        _ => false,
    }
}

fn text(message: &Bytes) -> String {
    String::from_utf8_lossy(message).into_owned()
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::time::Duration;

    use super::*;
    use crate::reduce::Builtin;

    fn read(reply: Reply) -> ReduceOutcome {
        let reduction = Reduction { combine: Arc::new(Builtin::Sum), places: Vec::new(), time_left: Duration::ZERO };
        ReduceOutcome::of_reply(reply, &reduction, 1)
    }

    #[test]
    fn only_errors_of_a_share_that_has_begun_leave_its_outcome_open() {
        for begun in ["RMRINNER the request ran out of time", "ERR internal error"] {
            assert!(matches!(read(Reply::Error(begun.into())), ReduceOutcome::Failed(why) if why == begun));
        }
        let declined = ["RMRDECLINED no", "ERR unknown command 'RMR.INNER'", "NOPERM no", "LOADING wait", "BUSY"];
        for declined in declined.map(|declined| Reply::Error(declined.into())).into_iter().chain([Reply::Integer(2)]) {
            assert!(matches!(read(declined), ReduceOutcome::Declined(_)));
        }
        // Bytes that are no answer may stand for a share that has run.
        assert!(matches!(read(Reply::Bulk("no answer".into())), ReduceOutcome::Failed(_)));
    }

    #[test]
    fn ends_read_back() {
        assert!(matches!(read(ReduceOutcome::TooBig.into_reply()), ReduceOutcome::TooBig));
        let declined = read(ReduceOutcome::Declined("not now".into()).into_reply());
        assert!(matches!(declined, ReduceOutcome::Declined(why) if why == "RMRDECLINED not now"));
        let failed = read(ReduceOutcome::Failed("lost".into()).into_reply());
        assert!(matches!(failed, ReduceOutcome::Failed(why) if why == "RMRINNER lost"));
        let combine: Arc<dyn crate::combine::AnyCombine> = Arc::new(Builtin::Sum);
        let share = ReducedShare { reduced: combine.open(), failed: vec![(0, "ERR".into())], mixed: None };
        let done = read(ReduceOutcome::Done(share).into_reply());
        assert!(matches!(done, ReduceOutcome::Done(share) if share.failed == [(0, Bytes::from_static(b"ERR"))]));
    }
}
