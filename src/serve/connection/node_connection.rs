//! A connection of a client to a node, which nobody else uses.

use std::sync::Arc;
use std::time::Duration;

use crate::command::{Command, printable};
use crate::engine::Request;
use crate::error::Error;
use crate::link::{Failure, Session};
use crate::reply::Reply;
use crate::resp::ServerErrorKind;
use crate::topology::{Node, Topology};

/// The time that a command waits before it is sent again to a node that does not serve it for the moment.
pub(super) const PAUSE: Duration = Duration::from_millis(50);

/// A connection of a client to a node.
pub(super) struct NodeConnection {
    pub(super) node: Arc<Node>,
    pub(super) session: Session,
}

/// Gives the nodes time to settle after a refusal, and looks at them anew.
pub(super) async fn settle(request: &Request) {
    // A topology that cannot be fetched now is fetched before the next attempt.
    let _ = request.refresh().await;
    tokio::time::sleep(PAUSE).await;
}

/// Refuses a command that would go to one copy of its keys, where there are several.
pub(super) async fn refuse_copies(request: &Request, command: &Command) -> Result<(), Error> {
    if request.pinned_topology().await?.has_copies() {
        let name = printable(&command.name().to_ascii_uppercase());
        return Err(Error::Refused(format!(
            "'{name}' goes to one node, and keys have copies on several here; it is served where the setting copies is 1"
        )));
    }
    Ok(())
}

/// Refuses keys that are not together.
pub(super) fn apart(topology: &Topology, what: &str) -> Error {
    match topology.requires_same_slot() {
        true => Error::CrossSlot(format!("Keys in request don't hash to the same slot: {what}")),
        false => Error::Unroutable(format!("the keys are on several hosts: {what}")),
    }
}

/// Returns the error of a command that has left and was not answered.
pub(super) fn failed(node: &Node, failure: Failure) -> Error {
    let (cause, outcome_unknown) = match failure {
        Failure::Unreachable(cause) => (cause, false),
        Failure::Lost(cause) => (cause, true),
        other => (format!("{other:?}"), true),
    };
    Error::Node { node: node.to_string(), cause, outcome_unknown }
}

pub(super) fn reply_text(reply: &Reply) -> String {
    match reply {
        Reply::Error(words) => String::from_utf8_lossy(words).into_owned(),
        other => other.to_string(),
    }
}

/// Returns what is said of a node that has refused for all of a command's time, which nothing has come of.
pub(super) fn not_in_time(refusal: &Reply) -> Error {
    let words = match refusal {
        Reply::Error(words) if !ServerErrorKind::of(words).is_redirect() => words.clone(),
        refusal => format!("TRYAGAIN the slot has not settled in time: {}", reply_text(refusal)).into(),
    };
    Error::Shard { node: String::new(), message: words.into(), key: None }
}
