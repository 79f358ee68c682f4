//! Steps that all nodes do at one moment of the order of all slots.

use std::sync::Arc;

use bytes::Bytes;
use tokio::time::{Duration, Instant};

use super::Sequencer;
use super::in_flight::StepInFlight;
use super::lane::NodeLane;
use super::refusal::{not_now, unknown};
use crate::command::Command;
use crate::placement::store::table::StoreNode;
use crate::reply::Reply;

/// The time that the writes under way have to end.
const PATIENCE: Duration = Duration::from_secs(5);

impl Sequencer {
    /// Has all nodes do a command, behind all writes that have come and before all that come later, while all slots are here.
    ///
    /// # Errors
    /// The error is what the client is told.
    pub(super) async fn run_everywhere(&self, command: Command) -> Result<Reply, Bytes> {
        let until = Instant::now() + PATIENCE;
        let _several = self.several.lock().await;
        let slots = self.table()?.settings.func.slots();
        let mut turns = Vec::with_capacity(usize::from(slots));
        for slot in 0..slots {
            turns.push(self.turns.alone(slot, until).await?);
        }
        let table = self.table()?;
        for slot in 0..slots {
            if self.own(&table, slot, false)?.is_none() {
                return Err(not_now(slot, "another proxy orders its writes"));
            }
        }
        let holds = |place: &usize| table.slots().iter().any(|slot| slot.copies.contains(place));
        let nodes: Vec<&StoreNode> = (0..table.nodes.len()).filter(holds).map(|place| &table.nodes[place]).collect();
        let lanes: Vec<Arc<NodeLane>> = nodes.iter().map(|node| self.lane(node)).collect();
        let links = self.connect_all(&table, &lanes, &nodes).await;
        let links = links.map_err(|why| Bytes::from(format!("RMRNODE {why}; nothing was sent")))?;
        self.turns.all_written();
        self.written.all_are_written();
        let settled = StepInFlight::send(links.iter().map(|link| &**link), &[command], None, |_| {});
        let settled = settled.await.map_err(|_| unknown(&lanes[0], "nothing was heard"))?;
        match settled.failed.first() {
            Some(failed) => Err(unknown(&lanes[failed.copy], &failed.why)),
            None => Ok(settled.replies.unwrap_or_default().into_iter().next().unwrap_or(Reply::Null)),
        }
    }
}
