//! Tests the contexts that commands are called from: transactions, scripts, replicas, other databases, servers short of memory,
//! clusters that are none yet; and what a write has to do besides writing. Everywhere a command answers, or says what is missing
//! before it has done anything.

mod at_once;
mod databases;
mod effects;
mod forming;
mod refused;
mod replication;
