//! The errors that clients get for a step that was not done, or of which that cannot be known.

use std::sync::Arc;

use bytes::Bytes;

use super::in_flight::FailedCopy;
use super::lane::NodeLane;
use crate::command::{Command, printable};

/// The reason for which a proxy without a lease refuses commands.
pub(in crate::placement::store) const OUT_OF_TOUCH: &str =
    "this proxy reaches neither the configuration node nor most nodes, and may not have heard of a change";

/// Says that nothing was sent, and that another try may do.
pub(super) fn not_now(slot: u16, why: &str) -> Bytes {
    format!("TRYAGAIN slot {slot}: {why}; nothing was sent").into()
}

/// Says the same of a step that has to stay behind one that was not sent.
pub(in crate::placement::store) fn behind_unsent(slot: u16) -> Bytes {
    not_now(slot, "a command before this one was not sent")
}

pub(super) fn unreachable(lane: &NodeLane, why: &str) -> Bytes {
    format!("RMRNODE {}: {why}", lane.address).into()
}

pub(super) fn unknown(lane: &NodeLane, why: &str) -> Bytes {
    format!("RMRNODE {}: {why}; the command was sent, its outcome is unknown", lane.address).into()
}

/// Says that no copy has done a step, or that nobody can know.
pub(super) fn nobody_has(copies: &[(Arc<NodeLane>, u64)], failed: &[FailedCopy]) -> Bytes {
    match failed.iter().find(|failed| failed.is_unknown) {
        Some(failed) => unknown(&copies[failed.copy].0, &failed.why),
        None => failed.first().map_or_else(Bytes::new, |failed| unreachable(&copies[failed.copy].0, &failed.why)),
    }
}

/// Says why a command is not run where keys have several copies.
pub(super) fn refused(command: &Command, why: &str) -> Bytes {
    let name = printable(&command.name().to_ascii_uppercase());
    format!("ERR '{name}' is not run where keys have several copies: {why}").into()
}
