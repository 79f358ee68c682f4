//! The connections between nodes: what is lost on them, what comes late or never, who reads them, and how they are
//! encrypted.

#[path = "../common/mod.rs"]
mod common;

mod event_loop;
mod faults;
mod kills;
mod strange;
mod timeouts;
mod tls;
