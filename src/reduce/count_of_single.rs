//! The reducer `COUNT` in a fan-out: it counts replies, and refuses those that list something.
//!
//! `REDUCE COUNT KEYS user:*` would be the number of nodes, and be taken for the number of keys.

use crate::combine::{Combine, Origin};
use crate::error::Error;
use crate::reply::Reply;

/// Counts the replies that are not null, and refuses replies that are not single values.
pub(crate) struct CountOfSingle;

impl CountOfSingle {
    /// The arguments by which the nodes tell this reducer from the `COUNT` of a map.
    pub(super) const ARGUMENTS: &[u8] = b"single";
}

impl Combine for CountOfSingle {
    type Partial = u64;
    type Output = Reply;

    fn name(&self) -> &'static str {
        "COUNT"
    }

    fn arguments(&self) -> Vec<u8> {
        Self::ARGUMENTS.to_vec()
    }

    fn needs_places(&self) -> bool {
        false
    }

    fn take(&self, count: &mut u64, _origin: Origin<'_>, reply: Reply) -> Result<(), String> {
        if reply.is_aggregate() {
            let kind = reply.describe();
            return Err(format!(
                "{kind} (it counts replies, not what is in them; CONCAT joins that, SUM adds numbers up)"
            ));
        }
        *count += u64::from(!reply.is_null());
        Ok(())
    }

    fn take_bulk(&self, count: &mut u64, _origin: Origin<'_>, _bytes: &[u8]) -> Result<(), String> {
        *count += 1;
        Ok(())
    }

    fn combine(&self, count: &mut u64, other: u64) {
        *count = count.saturating_add(other);
    }

    fn finish(&self, count: u64) -> Result<Reply, Error> {
        Ok(Reply::Integer(i64::try_from(count).unwrap_or(i64::MAX)))
    }
}
