//! Tests of leaves over a keyspace that is a list.

mod fake;
mod leaves;
mod moves;
