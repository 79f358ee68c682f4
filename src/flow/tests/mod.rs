//! Tests of leaves over a keyspace that is a list.

mod code;
mod fake;
mod leaves;
mod moves;
