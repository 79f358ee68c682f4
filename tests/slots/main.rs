//! Answers over all shards while slots move: each is the truth, or an error that says why there is none.
//!
//! Moves are of two kinds. In a classic one keys travel one by one, and both nodes have some of the slot's meanwhile. In an
//! atomic one (`CLUSTER MIGRATESLOTS`, Valkey 9) the target gathers the keys unseen, and slots with all their keys change
//! hands in one moment; on servers without it those tests print that they are skipped.
//!
//! Work over all keys that match a pattern has loops of its own ([`patterns`]), and is told from what is done twice or not
//! at all by increments ([`increments`]).
//!
//! The loops take 60 s together, those of patterns half as long; `RMR_SLOTS_SECONDS=3600` makes them take an hour, as `make soak` does.

#[path = "../common/mod.rs"]
mod common;

mod atomic;
mod crowded;
mod databases;
mod failing;
mod half_moved;
mod importing;
mod increments;
mod movers;
mod moving;
mod patterns;
mod readers;
mod scene;
mod tally;
