//! The two versions of the wire format.

/// Whose types replies have. Some commands answer differently in the two: `ZRANGE WITHSCORES` with a flat list, or with
/// pairs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum Protocol {
    /// What every client understands.
    Resp2,
    /// With maps, sets, doubles, booleans.
    #[default]
    Resp3,
}
