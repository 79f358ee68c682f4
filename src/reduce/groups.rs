//! [`Groups`]: how often each reply occurs, for `GROUP` and `TOPGROUPS`.
//!
//! All groups are kept until the end, those of `TOPGROUPS` too: what is rare on one node may be frequent on all.

use std::cmp::Ordering;
use std::collections::HashMap;

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use serde_bytes::ByteBuf;

use super::limit::{ENTRY, MOST_BYTES};
use super::order::compare_all;
use super::same::Same;
use crate::number::Number;
use crate::reply::Reply;
use crate::resp::decode_whole;

/// Replies, and how often each has occurred.
#[derive(Default, Serialize, Deserialize)]
pub(super) struct Groups {
    texts: HashMap<ByteBuf, u64>,
    /// The replies that are no strings, in RESP3.
    others: HashMap<ByteBuf, u64>,
    pub(super) is_over: bool,
    #[serde(skip)]
    bytes: usize,
}

impl Groups {
    /// Counts a reply.
    pub(super) fn add(&mut self, reply: Reply) {
        match Same::of(reply) {
            Same::Text(text) => self.add_text(&text),
            Same::Wire(wire) => self.add_other(&wire),
        }
    }

    /// Counts a string.
    pub(super) fn add_text(&mut self, text: &[u8]) {
        if !self.is_over {
            self.bytes += count(&mut self.texts, text, 1);
            self.check();
        }
    }

    fn add_other(&mut self, wire: &[u8]) {
        if !self.is_over {
            self.bytes += count(&mut self.others, wire, 1);
            self.check();
        }
    }

    /// Adds what others have counted.
    pub(super) fn merge(&mut self, other: Self) {
        if other.is_over {
            self.give_up();
        }
        for (texts, is_text) in [(other.texts, true), (other.others, false)] {
            for (group, times) in texts {
                if self.is_over {
                    return;
                }
                let known = if is_text { &mut self.texts } else { &mut self.others };
                self.bytes += count(known, &group, times);
                self.check();
            }
        }
    }

    /// Returns the memory that it takes, in bytes.
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    /// Returns replies with how often each has occurred, in order: numbers, then strings by their bytes.
    pub(super) fn finish(self) -> Vec<(Reply, u64)> {
        let texts = self.texts.into_iter().map(|(text, times)| (Reply::from(text.into_vec()), times));
        let others = self.others.into_iter().filter_map(|(wire, times)| {
            // The bytes of another node may be anything.
            decode_whole(&Bytes::from(wire.into_vec())).ok().map(|reply| (reply, times))
        });
        let mut groups: Vec<(Reply, u64)> = texts.chain(others).collect();
        groups.sort_unstable_by(|(a, _), (b, _)| in_order(a, b));
        groups
    }

    fn check(&mut self) {
        if self.bytes > MOST_BYTES {
            self.give_up();
        }
    }

    fn give_up(&mut self) {
        *self = Self { is_over: true, ..Self::default() };
    }
}

/// Adds so many of a group, and returns how much more memory that takes.
fn count(groups: &mut HashMap<ByteBuf, u64>, group: &[u8], times: u64) -> usize {
    if let Some(known) = groups.get_mut(serde_bytes::Bytes::new(group)) {
        *known = known.saturating_add(times);
        return 0;
    }
    groups.insert(ByteBuf::from(group), times);
    group.len() + ENTRY
}

/// Orders replies of which no two are the same.
fn in_order(a: &Reply, b: &Reply) -> Ordering {
    let number = |reply: &Reply| match reply {
        Reply::Integer(integer) => Some(Number::Integer(*integer)),
        Reply::Double(double) if double.is_finite() => Some(Number::Double(*double)),
        _ => None,
    };
    match (number(a), number(b)) {
        (Some(a), Some(b)) => compare_all(a, b),
        (Some(_), None) => Ordering::Less,
        (None, Some(_)) => Ordering::Greater,
        (None, None) => match (a, b) {
            (Reply::Bulk(a), Reply::Bulk(b)) => a.cmp(b),
            (Reply::Bulk(_), _) => Ordering::Less,
            (_, Reply::Bulk(_)) => Ordering::Greater,
            _ => wire(a).cmp(&wire(b)),
        },
    }
}

fn wire(reply: &Reply) -> Vec<u8> {
    let mut wire = Vec::new();
    reply.write_to(&mut wire);
    wire
}
