//! Slots that processes share through one Redis: `Member`, against real servers, with members in this process and in others.
//!
//! The README of the Go library redis-replica-manager says what such a thing does, in 35 statements, R1 to R35, which
//! `docs/reference/placement-census.md` lists. A test names those that it shows.

#[path = "../common/mod.rs"]
mod common;

mod group;
mod pool;

mod addresses;
mod churn;
mod fence;
mod leaving;
mod membership;
mod moves;
mod processes;
mod roles;
mod routes;
mod settings;
