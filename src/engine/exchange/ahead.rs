//! Asking the node that we live in before writes to several nodes leave: see `engine/local_refusal.rs` for why.

use super::Exchange;
use crate::command::{CommandSet, printable};
use crate::engine::local_refusal::local_refusal;
use crate::engine::redirect::{Verdict, judge};
use crate::engine::route::{Destination, NodeShare, Route};
use crate::engine::snapshot::Snapshot;
use crate::error::Error;
use crate::link::Batch;

impl<R: Route> Exchange<'_, R> {
    /// Finds the share of the node that we live in, and the first write in it, if that node is to be asked whether it would
    /// refuse it: there are other shares, which are not to run then.
    pub(super) fn local_write<'s>(&self, shares: &'s [NodeShare]) -> Option<(&'s Destination, &'s [u32], u32)> {
        if shares.len() < 2 || !self.options.is_all_or_nothing() {
            return None;
        }
        let (destination, units) = shares.iter().find(|(destination, _)| destination.in_process)?;
        let to_look_at = match &*self.commands {
            // All have one name.
            CommandSet::PerKey(_) => &units[..1],
            CommandSet::Each(_) => units,
        };
        let write = to_look_at.iter().copied().find(|&unit| !self.command(unit).is_read_only())?;
        Some((destination, units, write))
    }

    /// Asks the node that we live in whether it would refuse its share.
    ///
    /// # Errors
    /// The refusal, or that there was no time for it. Nothing has been sent.
    pub(super) async fn ask_ahead(
        &self,
        snapshot: &Snapshot,
        at: &Destination,
        units: &[u32],
        write: u32,
    ) -> Result<(), Error> {
        let batch = Batch { reduction: None, ..self.batch(at, units) };
        let Some(message) = local_refusal(self.request, at, batch).await? else { return Ok(()) };
        let is_replica_by_now = judge(&message, at.node.address.host(), None) == Verdict::Demoted;
        if is_replica_by_now && self.route.follows_primary(&snapshot.topology, write) {
            // Another node is the primary now, and takes its share.
            return Ok(());
        }
        let key = self.command(write).routing_key().map(printable);
        Err(Error::Shard { node: at.node.to_string(), message: message.into(), key })
    }
}
