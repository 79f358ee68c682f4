//! The two versions of the wire format.

/// The protocol whose types replies have. Some commands answer differently in the two: `ZRANGE WITHSCORES` with a flat
/// list, or with pairs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum Protocol {
    /// The protocol that every client understands.
    Resp2,
    /// The protocol with maps, sets, doubles and booleans.
    #[default]
    Resp3,
}
