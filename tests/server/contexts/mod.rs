//! Where commands are called from: transactions, scripts, replicas, other databases, servers short of memory, clusters
//! that are none yet; and what a write has to do besides writing. Everywhere a command answers, or says what is missing before it has done anything.

mod common;

#[path = "contexts/at_once.rs"]
mod at_once;
#[path = "contexts/databases.rs"]
mod databases;
#[path = "contexts/effects.rs"]
mod effects;
#[path = "contexts/forming.rs"]
mod forming;
#[path = "contexts/refused.rs"]
mod refused;
#[path = "contexts/replication.rs"]
mod replication;
