//! Slots that move with all their keys (`CLUSTER MIGRATESLOTS`, Valkey 9), and numbered databases in a cluster. Servers without
//! them say so, and the tests print that they are skipped.

#[path = "../common/mod.rs"]
mod common;

mod atomic;
mod databases;
mod importing;
