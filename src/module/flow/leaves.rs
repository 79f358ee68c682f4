//! The shares of flows that run on this node for coordinators on other nodes.
//!
//! A share belongs to the connection that began it: nobody else can ask for its reports, and it ends with that connection.
//! It ends as well when nobody has asked for a report for a while, so that a coordinator that hangs costs nothing.

use std::collections::HashMap;
use std::sync::{Arc, LazyLock, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;

use super::keyspace_with;
use super::own_code::OwnCode;
use super::rights::ShareRights;
use crate::error::Error;
use crate::flow::carrier::{SEND_AGAIN, SessionCarrier};
use crate::flow::leaf::Leaf;
use crate::flow::messages::{self, NextReport, RunShare};
use crate::flow::takers::{self, Taken};
use crate::module::config;
use crate::module::request::running::Work;
use crate::module::server::context::Ctx;
use crate::module::state;
use crate::peer::Outcome;

/// The shares, by the ids that their coordinators gave them. From any thread.
static LEAVES: LazyLock<Mutex<HashMap<u64, HeldLeaf>>> = LazyLock::new(Mutex::default);

fn leaves() -> MutexGuard<'static, HashMap<u64, HeldLeaf>> {
    LEAVES.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A share, for whoever asks for its reports.
struct HeldLeaf {
    leaf: Arc<Leaf>,
    /// The client that began it.
    client: u64,
}

/// Begins a share for the command of this context; what its future comes to says that it has begun, or why not. On the main
/// thread.
pub(in crate::module) fn begin(ctx: Ctx<'_>, id: u64, message: &[u8]) -> Result<Work, Outcome<Bytes>> {
    let declined = |why: &dyn ToString| Outcome::Declined(why.to_string());
    let share: RunShare = messages::decode(message).map_err(|error| declined(&error))?;
    // Another user than the caller's is no reason to have the same done by plain commands.
    let line = |error: Error| Outcome::Failed(String::from_utf8_lossy(&error.to_line()).into_owned());
    // The rights are those of the connection's own user and of the caller.
    let rights = Arc::new(ShareRights::of(ctx, share.caller.as_ref()).map_err(line)?);
    let keyspace = keyspace_with(ctx.selected_database(), rights.clone(), share.plan.protocol());
    let client = ctx.client_id();
    let carrier = Arc::new(SessionCarrier::new(state::engine().map_err(|error| declined(&error))?.request()));
    Ok(Box::pin(async move {
        let begun = Leaf::begin_with(&share, keyspace, &OwnCode::with(rights), carrier);
        let held = begun.map_err(|error| error.to_string()).and_then(|leaf| hold(id, client, leaf));
        Ok(held.map_or_else(Outcome::Declined, |()| Outcome::Done(Bytes::new())).into_reply())
    }))
}

/// Keeps a share that has begun. The error says why it cannot be kept, and ends it.
fn hold(id: u64, client: u64, leaf: Leaf) -> Result<(), String> {
    let mut leaves = leaves();
    let most = config::max_in_flight();
    if leaves.len() >= most {
        return Err(format!("{most} shares of flows run here; rmr.max-inflight allows no more"));
    }
    if leaves.contains_key(&id) {
        return Err("there is a share of this id".into());
    }
    let is_abandoned = leaf.is_abandoned();
    leaves.insert(id, HeldLeaf { leaf: Arc::new(leaf), client });
    tokio::spawn(async move {
        if is_abandoned.await {
            drop(take(id));
        }
    });
    Ok(())
}

fn take(id: u64) -> Option<HeldLeaf> {
    leaves().remove(&id)
}

/// Waits for the next report of a share that the client of this context has begun, or for `time_left`.
pub(in crate::module) fn next(
    ctx: Ctx<'_>,
    id: u64,
    message: &[u8],
    time_left: Duration,
) -> Result<Work, Outcome<Bytes>> {
    let mut next: NextReport =
        messages::decode(message).map_err(|error: Error| Outcome::Declined(error.to_string()))?;
    next.wait_ms = next.wait_ms.min(time_left.as_millis().try_into().unwrap_or(u64::MAX));
    let asked = AskedLeaf::of(id, ctx.client_id())
        .ok_or_else(|| Outcome::Declined("no share of this id runs for this connection".into()))?;
    Ok(Box::pin(async move {
        let report = asked.leaf.next(next).await;
        if report.end.is_none() {
            asked.goes_on();
        } else {
            drop(asked);
        }
        let outcome = match messages::encode(&report) {
            Ok(report) => Outcome::Done(report.into()),
            Err(error) => Outcome::Failed(error.to_string()),
        };
        Ok(outcome.into_reply())
    }))
}

/// A share while its client waits for a report. Dropped otherwise than by [`goes_on`](Self::goes_on), as when it was the last
/// report or the client has gone, it ends the share.
struct AskedLeaf {
    id: u64,
    leaf: Arc<Leaf>,
    goes_on: bool,
}

impl AskedLeaf {
    fn of(id: u64, client: u64) -> Option<Self> {
        let leaves = leaves();
        let held = leaves.get(&id).filter(|held| held.client == client)?;
        Some(Self { id, leaf: held.leaf.clone(), goes_on: false })
    }

    fn goes_on(mut self) {
        self.goes_on = true;
    }
}

impl Drop for AskedLeaf {
    fn drop(&mut self) {
        if !self.goes_on {
            drop(take(self.id));
            self.leaf.cancel();
        }
    }
}

/// The time that records wait for room before they are sent again, so that whoever sends them knows that this node
/// lives.
const WAITS_FOR_ROOM: Duration = Duration::from_secs(1);

/// Takes records that another shard sends to a share that runs here; answers once there is room for more, or that there is none yet.
pub(in crate::module) fn take_records(message: &[u8]) -> Result<Work, Outcome<Bytes>> {
    let taken = messages::decode(message).map_err(|error: Error| Outcome::Declined(error.to_string()))?;
    Ok(Box::pin(async move {
        let outcome = match takers::take_within(WAITS_FOR_ROOM, taken).await {
            Taken::Yes => Outcome::Done(Bytes::new()),
            Taken::NotYet => Outcome::Done(Bytes::from_static(SEND_AGAIN)),
            Taken::No => Outcome::Declined("no share takes these records here".into()),
        };
        Ok(outcome.into_reply())
    }))
}

/// Ends a share that nobody waits for any more. Returns whether there is one.
pub(in crate::module) fn give_up(id: u64) -> bool {
    take(id).is_some_and(|held| {
        held.leaf.cancel();
        true
    })
}

/// Ends the shares that a client has begun, which has gone.
pub(in crate::module) fn client_has_gone(client: u64) {
    let ids: Vec<u64> = leaves().iter().filter(|(_, held)| held.client == client).map(|(id, _)| *id).collect();
    for id in ids {
        give_up(id);
    }
}

/// Returns how many shares run for other nodes.
pub(in crate::module) fn running() -> usize {
    leaves().len()
}
