//! [`GuestStep`]: a step of flows whose code is a guest's, as flows want it.

use std::sync::Arc;

use crate::error::Error;
use crate::flow::{BatchStep, Records};
use crate::module::server::shared_api::foreign_step::{ForeignRecords, ForeignStep};
use crate::topology::BoxFuture;

/// A step of a guest. It runs on a thread that may be kept waiting.
pub(in crate::module) struct GuestStep(Arc<ForeignStep>);

impl GuestStep {
    pub(in crate::module) fn new(foreign: Arc<ForeignStep>) -> Self {
        Self(foreign)
    }
}

impl BatchStep for GuestStep {
    fn name(&self) -> &str {
        self.0.name()
    }

    fn run<'a>(&'a self, arguments: &'a [u8], records: Records) -> BoxFuture<'a, Result<Records, Error>> {
        let (step, arguments) = (self.0.clone(), arguments.to_vec());
        Box::pin(async move {
            let work = move || {
                let mut given = ForeignRecords::default();
                for (key, reply) in records.replies() {
                    given.push(key.to_vec(), reply?);
                }
                let made = step.run(&given, &arguments).map_err(|line| {
                    Error::Refused(format!("the step {} has failed: {}", step.name(), String::from_utf8_lossy(&line)))
                })?;
                let mut records = Records::new();
                made.iter().for_each(|(key, reply)| records.push_reply(key, reply));
                Ok(records)
            };
            let lost = |_| Error::Internal(format!("internal error: the step {} panicked", self.0.name()));
            tokio::task::spawn_blocking(work).await.map_err(lost)?
        })
    }
}
