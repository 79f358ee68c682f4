//! The bytes of replies: every type, in both protocols, from the local shard and from remote ones alike, and as the
//! shard itself would have sent them.

mod common;

#[path = "protocol/fake_node.rs"]
mod fake_node;
#[path = "protocol/foreign.rs"]
mod foreign;
#[path = "protocol/native.rs"]
mod native;
#[path = "protocol/own.rs"]
mod own;
