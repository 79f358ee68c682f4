//! [`Lease`]: for how long a proxy may go by the table that it has.
//!
//! Others may change the copies of a slot while a proxy does not hear of it, and acknowledge writes without a copy that the proxy
//! still reads. So a change counts only when each proxy has confirmed it, or has been fenced at the nodes for as long as a lease.
//! In return a proxy serves nothing without a lease. It has one from when it asks the configuration node and gets the answer
//! that it lives; or, while that node is away, from when it asks all nodes and more than half of them answer its own user, whom
//! a fence would have switched off (source: leases of Gray and Cheriton, 1989; only the rates of clocks have to agree).

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::{Instant, timeout_at};

use super::table::SlotTable;
use super::without::is_without;

/// For how long a proxy may go by the table that it has.
#[derive(Default)]
pub(super) struct Lease {
    /// None before the proxy is registered, and for those that never are.
    until: watch::Sender<Option<Instant>>,
    /// The table that the proxy has confirmed last.
    confirmed: Mutex<Option<Arc<SlotTable>>>,
}

impl Lease {
    /// Returns whether a table may be gone by now.
    pub(super) fn is_held(&self) -> bool {
        self.until.borrow().is_some_and(|until| Instant::now() < until) || is_without("lease")
    }

    /// Returns for how long a table may still be gone by.
    pub(super) fn left(&self) -> Duration {
        self.until.borrow().map_or(Duration::ZERO, |until| until.saturating_duration_since(Instant::now()))
    }

    /// Returns whether there was a lease that has run out.
    pub(super) fn is_over(&self) -> bool {
        self.until.borrow().is_some() && !self.is_held()
    }

    /// Ends the lease: the proxy is not known any more by the name under which it had it.
    pub(super) fn end(&self) {
        *self.confirmed() = None;
        self.until.send_replace(None);
    }

    /// Begins anew from this moment, when a question was sent whose answer was that the proxy lives and goes by this table.
    pub(super) fn renew(&self, sent: Instant, table: Option<&Arc<SlotTable>>) {
        let Some(table) = table else { return };
        *self.confirmed() = Some(table.clone());
        self.until.send_replace(Some(sent + table.settings.lease));
    }

    fn confirmed(&self) -> MutexGuard<'_, Option<Arc<SlotTable>>> {
        self.confirmed.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Goes on, if it has not ended, since this moment, when most nodes of the confirmed table were asked and have answered.
    pub(super) fn extend(&self, sent: Instant, lease: Duration) {
        // The configuration node may have answered meanwhile.
        self.until.send_modify(|until| *until = until.map(|until| until.max(sent + lease)));
    }

    /// Waits until half of the lease is over. Returns the table that the proxy has confirmed.
    pub(super) async fn until_half_over(&self) -> Arc<SlotTable> {
        let mut renewed = self.until.subscribe();
        loop {
            let (until, confirmed) = (*renewed.borrow_and_update(), self.confirmed().clone());
            let half = until.zip(confirmed).map(|(until, table)| (until - table.settings.lease / 2, table));
            match half {
                Some((half, table)) if Instant::now() >= half => return table,
                Some((half, _)) => drop(timeout_at(half, renewed.changed()).await),
                // The sender is here: it is not gone.
                None => drop(renewed.changed().await),
            }
        }
    }
}
