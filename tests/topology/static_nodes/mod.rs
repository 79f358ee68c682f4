//! Plain servers that share no cluster: `rmr.nodes`, and which of them holds which key.

mod common;

#[path = "static_nodes/changes.rs"]
mod changes;
#[path = "static_nodes/members.rs"]
mod members;
#[path = "static_nodes/placement.rs"]
mod placement;
