//! RedisGears functions in Python, in batch: `RG.PYEXECUTE` and the commands about executions, against real servers.
//!
//! The tests expect what RedisGears 1.2.13 does, or what its documentation says where that was a fault. Most of it must
//! hold on a server without a cluster and on three shards alike. The part of a worker is tested in
//! `src/python/worker/tests`, too.

#[path = "../common/mod.rs"]
mod common;

mod annex;
mod attacks;
mod callers;
mod calls;
mod clients;
mod configuration;
mod conversions;
mod endings;
mod errors;
mod events;
mod exchanges;
mod executions;
mod futures;
mod introduction;
mod lifetimes;
mod memory;
mod operations;
mod others;
mod persistence;
mod readers;
mod registry;
mod requirements;
mod rights;
mod runtime;
mod servers;
mod sessions;
mod shards;
mod slow;
mod soak;
mod statements;
mod survival;
mod table;
mod timers;
mod topology;
mod watching;
mod words;
