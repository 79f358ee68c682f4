//! Tests of how writes are made definite, by their words alone; and on real servers, whether that keeps copies equal.

mod content;
mod pure;
mod scripts;
mod servers;
