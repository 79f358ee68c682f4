//! [`Carrier`]: takes records from shard to shard, between two stages of a flow.
//!
//! Each answer is the leave to send the next batch, so that a slow shard slows those that send to it.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use serde_bytes::Bytes as Body;
use tokio::sync::Mutex;
use tokio::time::Instant;

use super::messages::{self, TakenRecords};
use super::takers;
use crate::engine::RequestBuilder;
use crate::error::Error;
use crate::link::{Budget, Failure, Protocol, Session};
use crate::peer::{self, Envelope, Kind, Outcome};
use crate::topology::{BoxFuture, Node};

/// The answer of a node that has no room for records yet.
pub(crate) const SEND_AGAIN: &[u8] = b"again";

/// The least time that a node waits for room before it says so, on top of the time that any answer takes.
const WAITS: Duration = Duration::from_secs(2);

/// Takes records to other shards.
pub(crate) trait Carrier: Send + Sync {
    /// Takes a batch to its node. Returns `false` if the node does not take it: then nobody has it.
    ///
    /// # Errors
    /// That it is open whether the node has it.
    fn carry<'a>(&'a self, records: &'a TakenRecords) -> BoxFuture<'a, Result<bool, Error>>;
}

/// Takes records over connections of its own: one to each node for each stage that it takes records into, since a stage must
/// wait for the one behind it only. To shares in this process it takes them without any.
pub(crate) struct SessionCarrier {
    requests: RequestBuilder,
    open: Mutex<HashMap<WayIn, Arc<Mutex<Talk>>>>,
}

/// A node, and the stage and the share there.
type WayIn = (String, u32, bool);

/// The connection to a node.
struct Talk {
    node: Arc<Node>,
    session: Session,
}

impl SessionCarrier {
    /// Makes a carrier whose requests are made so.
    pub(crate) fn new(requests: RequestBuilder) -> Self {
        Self { requests, open: Mutex::default() }
    }

    /// Returns the connection to a node, which is opened where there is none; [`None`] if none can be.
    async fn talk(&self, records: &TakenRecords) -> Result<Option<Arc<Mutex<Talk>>>, Error> {
        let node = &records.node;
        let way = (node.clone(), records.stage, records.is_gathered);
        let mut open = self.open.lock().await;
        if let Some(talk) = open.get(&way) {
            return Ok(Some(talk.clone()));
        }
        let request = self.requests.clone().begin();
        let topology = request.pinned_topology().await?;
        let Some(known) = topology.node(node) else { return Ok(None) };
        let Ok(session) = request.session(known).await else { return Ok(None) };
        if !session.offers_inner() {
            return Ok(None);
        }
        let talk = Arc::new(Mutex::new(Talk { node: known.clone(), session }));
        open.insert(way, talk.clone());
        Ok(Some(talk))
    }
}

impl Carrier for SessionCarrier {
    fn carry<'a>(&'a self, records: &'a TakenRecords) -> BoxFuture<'a, Result<bool, Error>> {
        Box::pin(async move {
            if takers::has(records) {
                return Ok(takers::take(records.clone()).await);
            }
            let Some(talk) = self.talk(records).await? else { return Ok(false) };
            let mut talk = talk.lock().await;
            let Talk { node, session } = &mut *talk;
            let lost = |cause| Error::Node { node: node.to_string(), cause, outcome_unknown: true };
            let message = messages::encode(records)?;
            loop {
                let patience = self.requests.clone().begin().time_left() + WAITS;
                let kind = Kind::TakeRecords(Body::new(&message));
                let envelope = Envelope::new(peer::next_id(), patience, 1024, Protocol::Resp3, kind);
                let asked = session.ask(&envelope, &Budget::new(64 * 1024), Instant::now() + patience).await;
                return match asked {
                    // The node has to finish what it has first.
                    Ok(Outcome::Done(said)) if said == SEND_AGAIN => continue,
                    Ok(Outcome::Done(_)) => Ok(true),
                    Ok(Outcome::Declined(_)) => Ok(false),
                    Ok(Outcome::Failed(cause)) | Err(Failure::Lost(cause) | Failure::Unreachable(cause)) => {
                        Err(lost(cause))
                    }
                    Ok(Outcome::<Bytes>::TooBig) | Err(_) => Err(lost("it has answered to something else".into())),
                };
            }
        })
    }
}
