//! `RMR.PING`: `OK` only if every shard answers.

use super::spec::{Call, Spec};
use crate::command::Command;
use crate::error::Error;
use crate::module::request::running::Work;
use crate::reply::Reply;

pub(super) const SPEC: Spec = Spec {
    name: c"RMR.PING",
    summary: c"Answers OK if every shard does.",
    complexity: c"O(N) where N is the number of shards",
    arity: 1,
    flags: c"readonly blocking",
    acl_categories: "read slow blocking",
    args: &[],
    run,
};

fn run(call: &Call<'_>) -> Result<Work, Error> {
    let request = call.request()?;
    Ok(Box::pin(async move {
        request.fan_out(Command::new("PING")).await?;
        Ok(Reply::OK)
    }))
}
