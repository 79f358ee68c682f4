//! `hashtag()`: a text with which a script makes keys that belong to this server.
//!
//! It hashes to the first slot that the server owns, and to slot 0 without a cluster. Texts are tried in a fixed order, the
//! shortest first, so that they are the same as those of RedisGears and `redis-benchmark`: `06S` for slot 0.

use std::cell::Cell;
use std::time::{Duration, Instant};

use crate::module::local::own_slots;
use crate::module::server::context::Ctx;
use crate::topology::key_slot;

/// The letters of texts, in the order in which they are tried.
const LETTERS: &[u8] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";

/// A text of a slot; of three letters at most, which are enough for all slots.
#[derive(Clone, Copy)]
struct Tag {
    slot: u16,
    letters: [u8; 3],
    length: usize,
}

/// The time for which the server's answer about its slots is taken to hold. The question takes it 20 us.
const HOLDS_FOR: Duration = Duration::from_millis(20);

thread_local! {
    /// The text that was given last, and when its slot was asked for; on the main thread.
    static LAST: Cell<Option<(Tag, Instant)>> = const { Cell::new(None) };
}

/// Returns the text of this server.
pub(super) fn of_this_server(ctx: Ctx<'_>) -> String {
    let last = LAST.get();
    if let Some((tag, asked)) = last
        && asked.elapsed() < HOLDS_FOR
    {
        return tag.text();
    }
    let slot = if ctx.flags().is_cluster() { first_slot(ctx).unwrap_or_default() } else { 0 };
    let tag = match last {
        Some((tag, _)) if tag.slot == slot => tag,
        _ => Tag::of(slot),
    };
    LAST.set(Some((tag, Instant::now())));
    tag.text()
}

/// Returns a text that hashes to a slot.
pub(in crate::module) fn of_slot(slot: u16) -> String {
    Tag::of(slot).text()
}

fn first_slot(ctx: Ctx<'_>) -> Option<u16> {
    own_slots::ask(ctx).ok()?.owned.first().map(|&(first, _)| first)
}

impl Tag {
    /// Finds the text of a slot.
    fn of(slot: u16) -> Self {
        let count = LETTERS.len();
        let letters = |length: usize, mut number: usize| {
            let mut letters = [0; 3];
            for place in (0..length).rev() {
                letters[place] = LETTERS[number % count];
                number /= count;
            }
            letters
        };
        let all = (1..=3).flat_map(|length| (0..count.pow(length as u32)).map(move |number| (length, number)));
        let mut tags = all.map(|(length, number)| Self { slot, letters: letters(length, number), length });
        tags.find(|tag| key_slot(&tag.letters[..tag.length]) == slot).unwrap_or(Self {
            slot,
            letters: *b"06S",
            length: 3,
        })
    }

    fn text(self) -> String {
        String::from_utf8_lossy(&self.letters[..self.length]).into_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_are_those_that_scripts_know() {
        for (slot, text) in [(0, "06S"), (1, "Qi"), (2, "5L5"), (3, "4Iu"), (4, "4gY"), (5, "460")] {
            assert_eq!(Tag::of(slot).text(), text, "slot {slot}");
        }
    }

    #[test]
    fn each_slot_has_a_text() {
        for slot in (0..16384).step_by(331).chain([5461, 10923, 16383]) {
            let text = Tag::of(slot).text();
            assert_eq!(key_slot(format!("x:{{{text}}}").as_bytes()), slot);
        }
    }
}
