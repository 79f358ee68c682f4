//! Asks another node something by the inner command, and waits for its answer: what was begun, and how far it is.
//!
//! A user without all rights sees, ends and forgets only executions of his own; asked for by another node, that holds for the
//! user of the connection and for the caller.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use tokio::time::Instant;

use super::config;
use super::flow::rights::{ShareRights, caller_id};
use super::server::context::Ctx;
use crate::engine::Request;
use crate::error::Error;
use crate::flow::execution::Execution;
use crate::flow::messages::{self, CallerId};
use crate::link::{Budget, Failure, Protocol};
use crate::peer::{self, Envelope, Kind, Outcome};
use crate::topology::Node;

/// A time that is as good as for ever.
pub(super) const LONGEST_WAIT: Duration = Duration::from_secs(315_360_000);

/// Returns how long `BLOCK` so many milliseconds waits: 0 is for as long as it takes.
pub(super) fn block(ms: u64) -> Duration {
    if ms == 0 { LONGEST_WAIT } else { Duration::from_millis(ms).min(LONGEST_WAIT) }
}

/// A question as it travels, and on whose account it is asked; [`None`] for one who may do everything.
#[derive(Serialize, Deserialize)]
struct Question<A> {
    asked: A,
    caller: Option<CallerId>,
}

/// Returns a question as it travels.
///
/// # Errors
/// If it cannot be written.
pub(super) fn question(asked: impl Serialize, caller: Option<CallerId>) -> Result<Vec<u8>, Error> {
    messages::encode(&Question { asked, caller })
}

/// The user who asks.
#[derive(Clone)]
pub(super) struct AskingUser {
    /// The users whose executions alone are shown: of several, those that are everybody's.
    only: Vec<Vec<u8>>,
    caller: Option<CallerId>,
}

impl AskingUser {
    /// Returns who runs the command of this context. On the main thread.
    pub(super) fn of(ctx: Ctx<'_>) -> Self {
        Self::named(caller_id(ctx))
    }

    /// Returns a user of this name, or whoever may do everything.
    pub(super) fn named(caller: Option<CallerId>) -> Self {
        Self { only: caller.iter().map(|caller| caller.name.clone()).collect(), caller }
    }

    /// Tells whether nothing is kept from the user, as from the nodes themselves.
    pub(super) fn may_do_everything(&self) -> bool {
        self.only.is_empty()
    }

    pub(super) fn may_see(&self, execution: &Execution) -> bool {
        self.may_see_of(execution.user())
    }

    /// Tells whether the user may see what belongs to a user of this name.
    pub(super) fn may_see_of(&self, owner: &str) -> bool {
        self.only.iter().all(|name| String::from_utf8_lossy(name) == owner)
    }

    /// Returns a question of this user's as it travels.
    ///
    /// # Errors
    /// If it cannot be written.
    pub(super) fn question(&self, asked: impl Serialize) -> Result<Vec<u8>, Error> {
        question(asked, self.caller.clone())
    }
}

/// Reads a question of another node, and finds out on whose account it is asked. On the main thread.
///
/// # Errors
/// The error for that node: the question is none, or the caller does not exist here or is another user.
pub(super) fn read_question<A: DeserializeOwned>(
    ctx: Ctx<'_>,
    message: &[u8],
) -> Result<(A, AskingUser), Outcome<Bytes>> {
    let (asked, caller, _) = read_with_rights(ctx, message)?;
    let mut user = AskingUser::of(ctx);
    user.only.extend(caller.map(|caller| caller.name));
    Ok((asked, user))
}

/// Reads a question of another node with the caller and the rights that hold for it. On the main thread.
///
/// # Errors
/// As [`read_question`].
pub(super) fn read_with_rights<A: DeserializeOwned>(
    ctx: Ctx<'_>,
    message: &[u8],
) -> Result<(A, Option<CallerId>, ShareRights), Outcome<Bytes>> {
    let Question { asked, caller } =
        messages::decode(message).map_err(|error: Error| Outcome::Declined(error.to_string()))?;
    let rights = ShareRights::of(ctx, caller.as_ref()).map_err(failed)?;
    Ok((asked, caller, rights))
}

/// Returns what a node is told that has asked in vain.
pub(super) fn failed(error: Error) -> Outcome<Bytes> {
    Outcome::Failed(String::from_utf8_lossy(&error.to_line()).into_owned())
}

/// Asks a node; the answer may take `wait` on top of the time that the request has.
///
/// # Errors
/// That the node cannot be asked, or what it says against it.
pub(super) async fn ask_node(
    request: &Request,
    node: &Arc<Node>,
    kind: Kind<'_>,
    wait: Duration,
) -> Result<Bytes, Error> {
    let time_left = request.time_left().saturating_add(wait);
    let most = config::max_reply_bytes();
    let envelope = Envelope::new(peer::next_id(), time_left, most, Protocol::Resp3, kind);
    let mut session = request.session(node).await?;
    let lost = |cause: String| Error::Node { node: node.to_string(), cause, outcome_unknown: false };
    let answered = session.ask(&envelope, &Budget::new(most), Instant::now() + time_left).await;
    match answered {
        Ok(Outcome::Done(answer)) => Ok(answer),
        Ok(Outcome::Failed(why)) => Err(match why.strip_prefix("NOPERM ") {
            Some(why) => Error::NoPermission(format!("{node}: {why}")),
            None => lost(why),
        }),
        Ok(Outcome::Declined(why)) => Err(Error::Refused(format!("{node}: {why}"))),
        Ok(Outcome::TooBig) | Err(Failure::TooBig) => Err(Error::TooBig { limit: most }),
        Err(Failure::Lost(cause) | Failure::Unreachable(cause)) => Err(lost(cause)),
        Err(other) => Err(lost(format!("{other:?}"))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wait_of_no_time_is_one_without_end() {
        let wait = |block_ms: Option<u64>| block_ms.map(block);
        assert_eq!((wait(None), wait(Some(5))), (None, Some(Duration::from_millis(5))));
        assert_eq!((wait(Some(0)), wait(Some(u64::MAX))), (Some(LONGEST_WAIT), Some(LONGEST_WAIT)));
    }
}
