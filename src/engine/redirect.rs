//! Reads from a reply the next step for its command: done, go elsewhere, or try again.
//!
//! Each kind of refusal is handled as itself. All of them are sent by a node *instead of* running the command, so a
//! write may be sent again after any of them.

use std::sync::Arc;

use crate::error::Error;
use crate::link::{Budget, Failure, NOT_IN_PROCESS};
use crate::resp::{Retry, ServerErrorKind};
use crate::topology::{Address, Node, Topology};

/// Says what to do about a reply.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// The reply is an answer, or an error that is one.
    Final,
    /// The slot lives there now.
    Moved(Address),
    /// The one key lives at this address already; the slot will follow.
    Ask(Address),
    /// The node cannot serve it now and will soon: the topology has changed or is changing.
    Later,
    /// The node is a replica by now: look again who is the primary.
    Demoted,
    /// The node that we live in cannot serve it in process, and must be asked over a socket.
    Elsewhere,
}

/// Reads an error line of a node reached at `host`, which stands in where a redirect names no host. A redirect counts
/// for the slot of the command only.
pub(super) fn judge(error: &[u8], host: &str, slot: Option<u16>) -> Verdict {
    let rest = || error.splitn(2, |&byte| byte == b' ').nth(1);
    let redirect = || rest().and_then(|rest| target(rest, host, slot));
    match (Retry::after(error), ServerErrorKind::of(error)) {
        (Retry::Redirect, ServerErrorKind::Moved) => redirect().map_or(Verdict::Final, Verdict::Moved),
        (Retry::Redirect, ServerErrorKind::Ask) => redirect().map_or(Verdict::Final, Verdict::Ask),
        (Retry::Later, _) => Verdict::Later,
        (Retry::AtThePrimary, _) => Verdict::Demoted,
        _ if error == NOT_IN_PROCESS => Verdict::Elsewhere,
        _ => Verdict::Final,
    }
}

/// Finds the node that a redirect points to. Returns `None` for an address that is no node of the topology: no other
/// address is connected to, since a script may make up a redirect, and a link sends our password. A node that has just
/// joined is known after a refresh.
pub(super) fn pointed_at<'t>(topology: &'t Topology, address: &Address) -> Option<&'t Arc<Node>> {
    topology.node(&address.to_string())
}

/// Reads the address in `3999 127.0.0.1:6381`; the host may be empty.
fn target(redirect: &[u8], host: &str, slot: Option<u16>) -> Option<Address> {
    let (of_slot, address) = std::str::from_utf8(redirect).ok()?.split_once(' ')?;
    let of_slot: u16 = of_slot.parse().ok()?;
    if slot.is_some_and(|slot| slot != of_slot) {
        return None;
    }
    let (named, port) = address.rsplit_once(':')?;
    // Unlike everywhere else, an IPv6 address stands here without brackets.
    let named = named.trim_matches(['[', ']']);
    let host = if matches!(named, "" | "?") { host } else { named };
    Some(Address::new(host, port.parse().ok()?))
}

/// Returns the error that a node which has not answered is to a command, and whether the command may be sent again: it
/// may where it cannot have run, or changes nothing.
pub(super) fn node_error(failure: Failure, node: &Node, is_read_only: bool, budget: &Budget) -> (Error, bool) {
    let error = |cause, outcome_unknown| Error::Node { node: node.to_string(), cause, outcome_unknown };
    match failure {
        Failure::TooBig => (Error::TooBig { limit: budget.limit() }, false),
        Failure::Unreachable(cause) => (error(cause, false), true),
        Failure::Lost(cause) | Failure::OwnSlotsUnknown(cause) => (error(cause, !is_read_only), is_read_only),
        Failure::Declined => (error("it declined to reduce its share".into(), false), true),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn redirects_are_read() {
        let judge = |error: &str| judge(error.as_bytes(), "10.0.0.1", None);
        assert_eq!(judge("MOVED 3999 127.0.0.1:6381"), Verdict::Moved(Address::new("127.0.0.1", 6381)));
        assert_eq!(judge("MOVED 3999 :6381"), Verdict::Moved(Address::new("10.0.0.1", 6381)));
        assert_eq!(judge("ASK 1 ::1:6381"), Verdict::Ask(Address::new("::1", 6381)));
        assert_eq!(judge("ASK 1 node-1.example:6381"), Verdict::Ask(Address::new("node-1.example", 6381)));
        assert_eq!(judge("MOVED 3999"), Verdict::Final);
        assert_eq!(judge("TRYAGAIN Multiple keys request during rehashing of slot"), Verdict::Later);
        assert_eq!(judge("READONLY You can't write against a read only replica."), Verdict::Demoted);
        assert_eq!(judge("TRYAGAIN of mine"), Verdict::Final);
        assert_eq!(judge("LOADING Redis is loading the dataset in memory"), Verdict::Later);
        assert_eq!(super::judge(b"MOVED 3999 127.0.0.1:6381", "", Some(3998)), Verdict::Final);
        assert_eq!(judge("MOVEDX 1 a:1"), Verdict::Final);
        assert_eq!(judge("ERR no such key"), Verdict::Final);
    }
}
