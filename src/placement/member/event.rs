//! [`Event`]: what a member is told.

/// Tells a member something, in this order where several things happen at once. Slots are in ascending order.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Event {
    /// These slots are not served here any more, and it was not this member that gave them up: it was taken for dead, or the
    /// configuration node has lost what it knew. Stop at once; others may serve them already.
    Lost(Vec<u16>),
    /// The slots have changed of which this member is the primary.
    Primaries {
        /// The slots that it is the primary of from now on, each with its token; also those that it was before, with a
        /// new token.
        gained: Vec<(u16, u64)>,
        /// The slots that it is the primary of no more. That is all of them while the configuration node was out of
        /// reach for longer than the timeout: another one may have been made the primary.
        lost: Vec<u16>,
    },
    /// These slots ought to be served here. Prepare each, then call [`ready`](super::Member::ready), or
    /// [`failed`](super::Member::failed) if that cannot be done. Nothing else ends it: preparing may take as long as it takes.
    Missing(Vec<u16>),
    /// These slots need not be served here any more, and enough others serve them. Call [`release`](super::Member::release) for each,
    /// and clean up once that has succeeded.
    Redundant(Vec<u16>),
}
