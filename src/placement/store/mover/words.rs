//! The requests of operators about moves: [`Store::drain`], [`Store::pause_moves`] and the like.

use std::time::SystemTime;

use super::scripts::{ADOPT, CANCEL, DRAIN, PAUSE, REMOVE, TIME};
use crate::error::Error;
use crate::placement::store::Store;
use crate::placement::store::admit::{Clock, NodeDemands, look_at};

impl Store {
    /// Makes a server with data the only copy of all slots, with its keys: the way from one server to many. Its clients have to
    /// go to the proxies from then on.
    ///
    /// # Errors
    /// [`Error::Invalid`] with the reason if it will not do, or if slots are given out already.
    pub async fn adopt(&self, address: &str) -> Result<(), Error> {
        let tables = &self.shared.tables;
        let refused = |why: String| Error::Invalid(format!("the server {address} cannot become the store's: {why}"));
        let asked = SystemTime::now();
        let (seconds, micros): (f64, f64) = tables.run(&TIME, &[]).await?;
        // Copies of what it has are to come.
        let demands = NodeDemands { has_copies: true, may_hold_keys: true };
        let clock = Clock::of(seconds, micros, asked);
        let run_id = look_at(address, (self.shared.make_links)(), clock, demands).await.map_err(refused)?;
        let (is_done, why): (i64, String) = tables.run(&ADOPT, &[address, &run_id]).await?;
        if is_done == 1 { Ok(()) } else { Err(refused(why)) }
    }

    /// Has a node leave: its copies go to others, and then it is none any more. One that was lost and has none is no node at once.
    ///
    /// # Errors
    /// [`Error::Invalid`] if it is no node, or if too few would stay.
    pub async fn drain(&self, address: &str) -> Result<(), Error> {
        let (is_done, why): (i64, String) = self.shared.tables.run(&DRAIN, &[address]).await?;
        match is_done {
            1 => Ok(()),
            _ => Err(Error::Invalid(format!("the node {address} cannot leave: {why}"))),
        }
    }

    /// Has a node drop its copies at once, and be none any more: slots have fewer copies until others are made, of the copies that
    /// are left. Nothing at the node is changed.
    ///
    /// # Errors
    /// [`Error::Invalid`] if it is no node, or has the only copy of a slot.
    pub async fn remove_at_once(&self, address: &str) -> Result<(), Error> {
        let (is_done, why): (i64, String) = self.shared.tables.run(&REMOVE, &[address]).await?;
        match is_done {
            1 => Ok(()),
            _ => Err(Error::Invalid(format!("the node {address} cannot be removed: {why}"))),
        }
    }

    /// Has no further slot move until [`resume_moves`](Self::resume_moves).
    ///
    /// # Errors
    /// [`Error::Node`] if the configuration node cannot be reached.
    pub async fn pause_moves(&self) -> Result<(), Error> {
        self.shared.tables.run::<i64>(&PAUSE, &["paused"]).await.map(drop)
    }

    /// Has slots move again.
    ///
    /// # Errors
    /// [`Error::Node`] if the configuration node cannot be reached.
    pub async fn resume_moves(&self) -> Result<(), Error> {
        self.shared.tables.run::<i64>(&PAUSE, &["go"]).await.map(drop)
    }

    /// Gives up moves whose new copies do not count yet: of these slots, or of all if none is named. Returns how many there were.
    /// While moves are not paused, those that are still wanted are planned anew.
    ///
    /// # Errors
    /// [`Error::Node`] if the configuration node cannot be reached.
    pub async fn cancel_moves(&self, slots: &[u16]) -> Result<u64, Error> {
        let slots: Vec<String> = slots.iter().map(u16::to_string).collect();
        let arguments = std::iter::once("by hand").chain(slots.iter().map(String::as_str));
        self.shared.tables.run(&CANCEL, &arguments.collect::<Vec<_>>()).await
    }
}
