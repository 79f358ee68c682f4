//! Reading the options that stand before an inner command, one file for each grammar.

mod batch;
mod cursor;
mod events;
mod job;
mod map;
mod nodes;
mod pattern;
mod reducer;
mod template;
#[cfg(test)]
mod typed;

pub(super) use batch::batch;
pub(super) use events::events;
pub(super) use job::job;
pub(super) use map::{MapArgs, MapOver, MatchOptions, map};
pub(super) use nodes::{Inner, exec, fan_out};
pub(super) use pattern::KeysByPattern;
pub(super) use reducer::NamedReducer;
