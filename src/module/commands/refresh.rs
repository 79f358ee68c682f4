//! `RMR.REFRESH`: looks at the topology now. Never needed; for people who want to see it done.

use super::spec::{Call, Spec};
use super::topology;
use crate::error::Error;
use crate::module::request::running::Work;
use crate::module::state;

pub(super) const SPEC: Spec = Spec {
    name: c"RMR.REFRESH",
    summary: c"Looks at the topology again now, and shows it. Never needed.",
    complexity: c"O(N) where N is the number of nodes",
    arity: 1,
    flags: c"readonly allow-stale blocking",
    acl_categories: "read slow blocking",
    args: &[],
    run,
};

fn run(_call: &Call<'_>) -> Result<Work, Error> {
    let engine = state::engine()?;
    Ok(Box::pin(async move {
        let topology = engine.refresh().await?;
        Ok(topology::describe(&engine, &topology))
    }))
}
