//! The server that the module lives in: it loads and unloads, it replicates and saves, it runs scripts and transactions,
//! and whatever command it has may come through a distributed one.

#[path = "../common/mod.rs"]
mod common;

mod atomic;
mod client_kill;
mod contexts;
mod crossing;
mod every_command;
mod guards;
mod guests;
mod lifecycle;
mod memory;
mod metadata;
mod module_options;
mod propagation;
