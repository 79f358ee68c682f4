//! Reads of any copy (claim S4): while a write runs, one reader may see it and the next one not yet. No order of all operations explains that, so
//! each read is judged alone.

/// A write, with when it was called.
pub struct Written<V> {
    pub value: V,
    pub called: u64,
    /// The time at which it was acknowledged: no read that begins later gives what was there before. [`NEVER`](super::NEVER)
    /// if nobody knows whether it has happened: one copy may have it and another one not.
    pub returned: u64,
    /// The time at which the first read gave it, or it was acknowledged. All that is called later comes after it in the one
    /// order of all writes.
    pub seen: u64,
}

/// Says whether a read may give this value: one that was written by then, and not followed by another that was
/// acknowledged before the read began. `None` is what a key gives that nobody has written.
pub fn is_regular<V: PartialEq>(writes: &[Written<V>], value: Option<&V>, called: u64, returned: u64) -> bool {
    // Nothing at all was there before all writes.
    let end_of_nothing = 0;
    let is_overwritten = |end: u64| writes.iter().any(|other| other.called > end && other.returned < called);
    match value {
        None => !is_overwritten(end_of_nothing),
        Some(value) => writes
            .iter()
            .filter(|write| write.value == *value)
            .any(|write| write.called <= returned && !is_overwritten(write.seen)),
    }
}
