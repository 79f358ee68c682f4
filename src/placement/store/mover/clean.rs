//! Keys of slots go at nodes that hold those no more.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use tokio::time::{Instant, sleep};

use super::Mover;
use super::record::CopyMove;
use super::scripts::{CLEANED, WRITE_OFF};
use crate::error::Error;
use crate::placement::store::copy::scan::drop_slots;

/// The time that proxies have to hear of a change.
const PATIENCE: Duration = Duration::from_secs(10);

impl Mover {
    /// Lets nodes forget the slots that they hold no more. Returns whether there were any.
    pub(super) async fn clean_some(&self) -> Result<bool, Error> {
        let Some((_, moves, _)) = self.moves().await? else { return Ok(false) };
        let over: Vec<&CopyMove> = moves.iter().filter(|one| one.leftover().is_some()).collect();
        let Some(epoch) = over.iter().map(|one| one.epoch).max() else { return Ok(false) };
        if !self.tables.until_in_force(epoch, Instant::now() + PATIENCE).await {
            return Err(Error::Topology("not all proxies have heard of a change yet".into()));
        }
        // It is as new as the moves, or newer.
        let table = self.tables.load().await?;
        // A read that was sent before its proxy had heard of that is still to be answered.
        sleep(table.settings.lease).await;
        let mut by_node: BTreeMap<&str, BTreeSet<u16>> = BTreeMap::new();
        for one in &over {
            by_node.entry(one.leftover().unwrap_or_default()).or_default().insert(one.slot);
        }
        for (name, slots) in by_node {
            let place = table.nodes.iter().position(|node| node.address.to_string() == name);
            if let Some(place) = place {
                // Nobody makes it a copy of these slots again before the records are gone.
                let is_copy = |slot: &u16| table.slots()[usize::from(*slot)].copies.contains(&place);
                if let Some(slot) = slots.iter().find(|slot| is_copy(slot)) {
                    return Err(Error::Topology(format!("slot {slot} is to go at {name}, and is there all the same")));
                }
                match self.source(&table, name).await {
                    Ok(mut node) => {
                        let count = drop_slots(&mut node, table.settings.func, |slot| slots.contains(&slot)).await?;
                        log::info!("{count} keys of {} slots are gone at {name}", slots.len());
                    }
                    Err(error) => {
                        if self.tables.run::<i64>(&WRITE_OFF, &[name, &error.to_string()]).await? == 0 {
                            return Err(error);
                        }
                        log::info!("{name}, which has copies no more, cannot be reached");
                    }
                }
            }
            // A server that is no node any more is emptied before it is one again.
            let slots: Vec<String> = slots.iter().map(u16::to_string).collect();
            let arguments = std::iter::once(name).chain(slots.iter().map(String::as_str));
            self.tables.run::<i64>(&CLEANED, &arguments.collect::<Vec<_>>()).await?;
        }
        Ok(true)
    }
}
