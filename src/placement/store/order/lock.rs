//! A slot for one alone, and what is written in it meanwhile: for who copies it.

use bytes::Bytes;
use tokio::sync::OwnedRwLockWriteGuard;
use tokio::time::Instant;

use super::Sequencer;
use super::notes::NotedSlot;

impl Sequencer {
    /// Notes the keys that are written in a slot from now on, each when all copies have done it.
    ///
    /// # Errors
    /// If writes that are under way, and are not noted, do not end in time.
    pub(in crate::placement::store) async fn note_writes(&self, slot: u16, until: Instant) -> Result<NotedSlot, Bytes> {
        let noted = NotedSlot::new(self.turns.notes(slot));
        drop(self.lock(slot, until).await?);
        Ok(noted)
    }

    /// Waits until the writes of a slot that are under way have ended, and keeps others waiting while the lock lives.
    ///
    /// # Errors
    /// If they do not end in time.
    pub(in crate::placement::store) async fn lock(
        &self,
        slot: u16,
        until: Instant,
    ) -> Result<OwnedRwLockWriteGuard<()>, Bytes> {
        self.turns.alone(slot, until).await
    }
}
