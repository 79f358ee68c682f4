//! The connections between nodes: what is lost on them, what comes late or never, who reads them, how they are
//! encrypted, and how nodes are asked for their slots.

#[path = "../common/mod.rs"]
mod common;

mod event_loop;
mod faults;
mod kills;
mod own_slots;
mod strange;
mod timeouts;
mod tls;
