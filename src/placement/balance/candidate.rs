//! [`Candidate`]: who may hold slots, and the numbers that it has in them.

use xxhash_rust::xxh3::xxh3_64;

/// A participant that may hold slots.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Candidate {
    pub(in crate::placement::balance) id: String,
    pub(in crate::placement::balance) weight: u32,
    pub(in crate::placement::balance) zone: Option<String>,
}

impl Candidate {
    /// Makes a candidate of weight 1 in no zone. Its id is what others know it by, and never changes.
    pub fn new(id: impl Into<String>) -> Self {
        Self { id: id.into(), weight: 1, zone: None }
    }

    /// Gives it a share in proportion. With 0 it gets nothing.
    #[must_use]
    pub fn weight(self, weight: u32) -> Self {
        Self { weight, ..self }
    }

    /// Names what it fails together with: a machine, a rack, a data centre. Without it nothing else fails with it.
    #[must_use]
    pub fn zone(self, zone: impl Into<String>) -> Self {
        Self { zone: Some(zone.into()), ..self }
    }

    /// Returns its id.
    pub fn id(&self) -> &str {
        &self.id
    }
}

/// Returns whether two would fail together.
pub(in crate::placement::balance) fn share_a_zone(one: &Candidate, other: &Candidate) -> bool {
    one.zone.is_some() && one.zone == other.zone
}

/// Returns the best entry of a candidate in a slot.
pub(in crate::placement::balance) fn entry(candidate: &Candidate, slot: u16) -> u64 {
    let mut text = candidate.id.as_bytes().to_vec();
    text.extend(slot.to_be_bytes());
    let length = text.len();
    text.extend([0; 4]);
    let entries = (0..candidate.weight).map(|entry| {
        text[length..].copy_from_slice(&entry.to_be_bytes());
        xxh3_64(&text)
    });
    entries.max().unwrap_or_default()
}
