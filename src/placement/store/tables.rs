//! [`Tables`]: the table that a proxy works by, how it follows that of the configuration node, and since when all proxies do.

use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt;
use redis::FromRedisValue;
use redis::aio::PubSub;
use tokio::sync::watch;
use tokio::time::{Instant, sleep, timeout, timeout_at};

use super::counts::StoreCounts;
use super::lease::Lease;
use super::scripts::{EPOCH, IN_FORCE, TABLE};
use super::table::{SlotTable, StoredTable};
use super::without::is_without;
use crate::error::Error;
use crate::placement::config_node::{ConfigNode, ConfigScript};

/// The pause between two looks whether something has changed, should no hint of it arrive.
const LOOK_EVERY: Duration = Duration::from_millis(250);

/// The pause between two questions whether all proxies have heard of a change.
const ASK_EVERY: Duration = Duration::from_millis(10);

/// The table that counts here, and the configuration node that it is from.
pub(super) struct Tables {
    config: ConfigNode,
    /// The last table that was read. It holds on while the configuration node is away.
    current: watch::Sender<Option<Arc<SlotTable>>>,
    /// The last epoch that all proxies go by.
    in_force: watch::Sender<u64>,
    lease: Lease,
    counts: StoreCounts,
}

impl Tables {
    pub(super) fn new(config: ConfigNode) -> Self {
        let (lease, counts) = (Lease::default(), StoreCounts::default());
        Self { config, current: watch::Sender::new(None), in_force: watch::Sender::new(0), lease, counts }
    }

    /// Returns the configuration node.
    pub(super) fn config(&self) -> &ConfigNode {
        &self.config
    }

    /// Returns for how long the table may be gone by.
    pub(super) fn lease(&self) -> &Lease {
        &self.lease
    }

    /// Returns what is counted here.
    pub(super) fn counts(&self) -> &StoreCounts {
        &self.counts
    }

    /// Returns the table that was read last.
    pub(super) fn current(&self) -> Option<Arc<SlotTable>> {
        self.current.borrow().clone()
    }

    /// Returns the same, and tells of later ones.
    pub(super) fn follow(&self) -> watch::Receiver<Option<Arc<SlotTable>>> {
        self.current.subscribe()
    }

    /// Runs a script at the configuration node.
    pub(super) async fn run<T: FromRedisValue>(&self, script: &ConfigScript, args: &[&str]) -> Result<T, Error> {
        self.config.run(script, args).await
    }

    /// Reads the table of the configuration node. One that was read at a later epoch stays.
    pub(super) async fn load(&self) -> Result<Arc<SlotTable>, Error> {
        let stored: StoredTable = self.config.run(&TABLE, &[]).await?;
        self.config.saw(stored.0);
        Ok(self.follows(Arc::new(SlotTable::read(&stored)?)))
    }

    /// Hears that a slot has moved with the change of this epoch. Returns the table as it is since, read anew if there is more that
    /// has changed.
    pub(super) async fn moved(
        &self,
        epoch: u64,
        slot: u16,
        from: Option<&str>,
        to: Option<&str>,
    ) -> Result<Arc<SlotTable>, Error> {
        let next = self.current().and_then(|table| table.after_move(epoch, slot, from, to)).map(Arc::new);
        match next {
            Some(next) => Ok(self.follows(next)),
            None => self.load().await,
        }
    }

    /// Hears that slots have gone to other proxies with the change of this epoch. Returns the table as it is since, as
    /// [`moved`](Self::moved) does.
    pub(super) async fn handed_over(&self, epoch: u64, gone: &[(u16, String)]) -> Result<Arc<SlotTable>, Error> {
        match self.hears_of_hand_over(epoch, gone) {
            Some(table) => Ok(table),
            None => self.load().await,
        }
    }

    /// Hears the same, and reads nothing anew. Returns `None` if it is not the next change: then the configuration node has the table.
    pub(super) fn hears_of_hand_over(&self, epoch: u64, gone: &[(u16, String)]) -> Option<Arc<SlotTable>> {
        let next = self.current()?.after_hand_over(epoch, gone)?;
        Some(self.follows(Arc::new(next)))
    }

    /// Goes by the next table, unless there is one already that is as new.
    fn follows(&self, next: Arc<SlotTable>) -> Arc<SlotTable> {
        self.config.saw(next.epoch);
        let mut newest = next.clone();
        self.current.send_if_modified(|current| match current {
            Some(current) if current.epoch >= next.epoch => {
                newest = current.clone();
                false
            }
            current => {
                *current = Some(next);
                true
            }
        });
        newest
    }

    /// Reads the table whenever there is another one. Never ends.
    pub(super) async fn keep_up(&self) {
        let mut hints: Option<_> = None;
        loop {
            let known = self.current().map(|table| table.epoch);
            if self.epoch().await.is_ok_and(|epoch| Some(epoch) != known)
                && let Err(error) = self.load().await
            {
                log::debug!("the table is not read: {error}");
            }
            if hints.is_none() {
                hints = self.config.hints().await.ok().map(PubSub::into_on_message);
            }
            match &mut hints {
                Some(listener) => {
                    if matches!(timeout(LOOK_EVERY, listener.next()).await, Ok(None)) {
                        hints = None;
                        sleep(LOOK_EVERY).await;
                    }
                }
                None => sleep(LOOK_EVERY).await,
            }
        }
    }

    async fn epoch(&self) -> Result<u64, Error> {
        self.config.run(&EPOCH, &[]).await
    }

    /// Waits until the configuration node has another epoch than that of the table.
    pub(super) async fn changed(&self) {
        let known = self.current().map_or(0, |table| table.epoch);
        let mut tables = self.follow();
        loop {
            if self.epoch().await.is_ok_and(|epoch| epoch != known) {
                return;
            }
            // A program that takes part as a proxy reads each table at once.
            let _ = timeout(LOOK_EVERY, tables.changed()).await;
        }
    }

    /// Asks, whenever the table is another one, until nobody reads by an older one. Never ends.
    pub(super) async fn follow_in_force(&self) {
        let mut tables = self.follow();
        loop {
            let epoch = tables.borrow_and_update().as_ref().map_or(0, |table| table.epoch);
            if epoch > *self.in_force.borrow() {
                let asked = self.config.run::<i64>(&IN_FORCE, &[&epoch.to_string()]).await;
                if asked.is_ok_and(|is_so| is_so == 1) {
                    self.in_force.send_replace(epoch);
                } else {
                    sleep(ASK_EVERY).await;
                }
            } else if tables.changed().await.is_err() {
                return;
            }
        }
    }

    /// Waits until nobody reads by an older table than that of this epoch. Returns whether that is so in time.
    pub(super) async fn until_in_force(&self, epoch: u64, until: Instant) -> bool {
        if *self.in_force.borrow() >= epoch || is_without("in-force") {
            return true;
        }
        let mut in_force = self.in_force.subscribe();
        matches!(timeout_at(until, in_force.wait_for(|known| *known >= epoch)).await, Ok(Ok(_)))
    }
}
