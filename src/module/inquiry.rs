//! Asks another node something by the inner command, and waits for its answer.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tokio::time::Instant;

use super::config;
use crate::engine::Request;
use crate::error::Error;
use crate::link::{Budget, Failure, Protocol};
use crate::peer::{self, Envelope, Kind, Outcome};
use crate::topology::Node;

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
