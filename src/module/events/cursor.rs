//! [`EventCursor`]: how far a reader is in the events of each node, as a text that the reader gives back.

use std::collections::BTreeMap;
use std::fmt::{self, Display, Formatter};

use super::log::LogPlace;

/// The cursor of a reader who begins.
const START: &[u8] = b"$";

/// The position of a reader, by the ids of nodes: `id:log:next` of each, with a `p` in front of the log's number where
/// the node was a primary.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(in crate::module) struct EventCursor {
    pub(super) places: BTreeMap<String, NodePlace>,
}

/// The position of a reader in the events of one node.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct NodePlace {
    pub(super) place: LogPlace,
    /// The node was a primary when it was asked last, so that it may have had events since.
    pub(super) was_primary: bool,
}

impl EventCursor {
    /// Reads what [`Display`] has written, or the word of a reader who begins; [`None`] for what is neither.
    pub(in crate::module) fn parse(text: &[u8]) -> Option<Self> {
        if text == START {
            return Some(Self::default());
        }
        let node = |text: &str| {
            let (text, next) = text.rsplit_once(':')?;
            let (id, run) = text.rsplit_once(':')?;
            let digits = run.strip_prefix('p').unwrap_or(run);
            let place = LogPlace { run: u64::from_str_radix(digits, 16).ok()?, next: next.parse().ok()? };
            let was_primary = digits.len() < run.len();
            (!id.is_empty()).then(|| (id.to_owned(), NodePlace { place, was_primary }))
        };
        let places: BTreeMap<_, _> = std::str::from_utf8(text).ok()?.split(',').map(node).collect::<Option<_>>()?;
        Some(Self { places })
    }

    /// Tells whether its reader begins.
    pub(super) fn is_start(&self) -> bool {
        self.places.is_empty()
    }
}

impl Display for EventCursor {
    fn fmt(&self, to: &mut Formatter<'_>) -> fmt::Result {
        for (at, (id, NodePlace { place: LogPlace { run, next }, was_primary })) in self.places.iter().enumerate() {
            let (comma, primary) = (if at > 0 { "," } else { "" }, if *was_primary { "p" } else { "" });
            write!(to, "{comma}{id}:{primary}{run:x}:{next}")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cursors_read_back() {
        let place = |run, next, was_primary| NodePlace { place: LogPlace { run, next }, was_primary };
        let places = BTreeMap::from([
            ("127.0.0.1:7001".to_owned(), place(0xabc, 17, true)),
            ("f00".to_owned(), place(1, u64::MAX, false)),
        ]);
        let cursor = EventCursor { places };
        assert_eq!(cursor.to_string(), "127.0.0.1:7001:pabc:17,f00:1:18446744073709551615");
        assert_eq!(EventCursor::parse(cursor.to_string().as_bytes()), Some(cursor));
        assert_eq!(EventCursor::parse(b"$"), Some(EventCursor::default()));
        for bad in ["", "0", "$$", "a:b", "a:xyz:1", "a:1:-1", ":1:1", "a:1:1,"] {
            assert_eq!(EventCursor::parse(bad.as_bytes()), None, "{bad}");
        }
    }
}
