//! The reducer of `RMR.SUM`: a sum that passes over whatever is no number.

use super::total::Total;
use crate::combine::{Combine, Origin};
use crate::error::Error;
use crate::number::Number;
use crate::reply::Reply;

/// The sum of the numbers among the replies: text that says no number, and all else, adds nothing.
pub(crate) struct SumOfNumbers;

impl Combine for SumOfNumbers {
    type Partial = Total;
    type Output = Reply;

    fn name(&self) -> &'static str {
        "SUM-OF-NUMBERS"
    }

    fn needs_places(&self) -> bool {
        false
    }

    fn take(&self, total: &mut Total, _origin: Origin<'_>, reply: Reply) -> Result<(), String> {
        if let Some(number) = reply.number() {
            total.add(number);
        }
        Ok(())
    }

    fn take_bulk(&self, total: &mut Total, _origin: Origin<'_>, bytes: &[u8]) -> Result<(), String> {
        if let Some(number) = Number::parse(bytes) {
            total.add(number);
        }
        Ok(())
    }

    fn combine(&self, total: &mut Total, other: Total) {
        total.add_total(&other);
    }

    fn finish(&self, total: Total) -> Result<Reply, Error> {
        Ok(total.finish()?.into())
    }
}
