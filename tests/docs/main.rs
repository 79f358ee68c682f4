//! Tests what users read and copy: README.md, the pages of `docs/`, the examples.

#[path = "../common/mod.rs"]
mod common;

mod c_example;
mod console;
mod examples;
mod monitoring;
mod pages;
mod placement;
mod readme;
mod recipes;
mod reference;
