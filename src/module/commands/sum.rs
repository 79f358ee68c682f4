//! `RMR.SUM key [key ...]`: the sum of what `GET` gives for each key.

use super::spec::{Arg, ArgKind, Call, Spec};
use crate::command::Command;
use crate::command::PerKey;
use crate::error::Error;
use crate::module::request::running::Work;
use crate::reduce::SumOfNumbers;

pub(super) const SPEC: Spec = Spec {
    name: c"RMR.SUM",
    summary: c"Adds up the numbers that the keys hold, on whatever shards they are.",
    complexity: c"O(N) where N is the number of keys",
    arity: -2,
    flags: c"readonly blocking",
    acl_categories: "read slow blocking",
    args: &[Arg::new(c"key", ArgKind::String).multiple()],
    run,
};

fn run(call: &Call<'_>) -> Result<Work, Error> {
    let gets = PerKey::new(Command::new("GET"), &call.args);
    Ok(call.request()?.map_keys(gets).combine(SumOfNumbers))
}
