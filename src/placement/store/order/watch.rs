//! Keys that clients watch: how they stand, and whether they were written since.

use std::time::Duration;

use bytes::Bytes;
use tokio::time::Instant;

use super::Sequencer;
use super::in_turn::HeldSlot;
use super::refusal::not_now;
use super::written::WatchedSlot;
use crate::command::Command;
use crate::reply::Reply;

/// The time for which a slot is held until all proxies know its copies. Whoever watches tries again later.
const IN_FORCE: Duration = Duration::from_millis(20);

impl Sequencer {
    /// Returns the reply to `WATCH`: keys as they are now, when all copies have done the writes that came before.
    ///
    /// # Errors
    /// If that cannot be had now.
    pub(super) async fn watch(&self, slot: u16, keys: &[Bytes], until: Instant) -> Result<Reply, Bytes> {
        let held = self.hold_equal(slot, keys, until).await?;
        // From now on writes of the slot are counted, since nobody else has it before this is done.
        let common = self.written.common(slot);
        let expire = self.expire(&held, keys, until).await?;
        let counted = keys.iter().zip(expire).map(|(key, at)| (key.clone(), self.written.of(key), at >= 0)).collect();
        // A proxy that has not heard of the slot's last change may read a copy that is none any more.
        let epoch = self.table()?.slots()[usize::from(slot)].epoch;
        if !self.tables.until_in_force(epoch, until.min(Instant::now() + IN_FORCE)).await {
            return Err(not_now(slot, "not all proxies have heard of a change of its copies"));
        }
        Ok(WatchedSlot { proxy: self.name.to_string(), common, keys: counted }.reply())
    }

    /// Returns whether keys are as they were when somebody began to watch them. Whoever calls has the slot alone.
    ///
    /// # Errors
    /// If that cannot be known.
    pub(super) async fn are_unwritten(
        &self,
        held: &HeldSlot,
        watched: &[WatchedSlot],
        until: Instant,
    ) -> Result<bool, Bytes> {
        let is_counted = |(key, count, _): &(Bytes, u64, bool)| self.written.of(key) == *count;
        let is_same = |one: &WatchedSlot| {
            one.proxy == *self.name && one.common == self.written.common(held.slot) && one.keys.iter().all(is_counted)
        };
        if !watched.iter().all(is_same) {
            return Ok(false);
        }
        let expiring = watched.iter().flat_map(|one| &one.keys).filter(|(.., expires)| *expires);
        let expiring: Vec<Bytes> = expiring.map(|(key, ..)| key.clone()).collect();
        Ok(self.expire(held, &expiring, until).await?.iter().all(|at| *at >= 0))
    }

    /// Returns when keys expire, in milliseconds since 1970: -1 for never, -2 for keys that do not exist.
    async fn expire(&self, held: &HeldSlot, keys: &[Bytes], until: Instant) -> Result<Vec<i64>, Bytes> {
        if keys.is_empty() {
            return Ok(Vec::new());
        }
        let asked: Vec<Command> = keys.iter().map(|key| Command::new("PEXPIRETIME").key(&key[..])).collect();
        let told = self.ask_first(held, &asked, until).await?;
        Ok(told.iter().map(|reply| reply.integer().unwrap_or(-2)).collect())
    }
}
