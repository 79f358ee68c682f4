//! The bytes of replies: every type, in both protocols, from the local shard and from remote ones alike, and as the
//! shard itself would have sent them.

#[path = "../common/mod.rs"]
mod common;

mod foreign;
mod native;
mod own;
mod pushdown;
mod versions;
