//! Asks nodes for their events, and puts these in order.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use futures_util::StreamExt;
use futures_util::future::join_all;
use futures_util::stream::FuturesUnordered;
use serde::{Deserialize, Serialize};
use serde_bytes::ByteBuf;

use super::cursor::{EventCursor, NodePlace};
use super::log::{EventPage, EventsWanted, FoundEvent, LogPlace};
use super::{LOG, keep_events};
use crate::engine::{Request, RequestBuilder};
use crate::error::Error;
use crate::flow::messages::{self, CallerId};
use crate::module::flow::rights::ShareRights;
use crate::module::inquiry::{ask_node, failed, question, read_with_rights};
use crate::module::request::running::Work;
use crate::module::server::context::Ctx;
use crate::module::server::main_thread;
use crate::peer::{Kind, Outcome};
use crate::reply::Reply;
use crate::topology::{Node, Topology};

/// The time that one question waits at most: then the reader looks again which nodes there are.
const ROUND: Duration = Duration::from_secs(1);

/// The request of a reader.
pub(in crate::module) struct EventsAsked {
    pub(in crate::module) cursor: EventCursor,
    pub(in crate::module) wanted: EventsWanted,
    /// The time to wait for events if there are none; [`Duration::ZERO`] for none at all.
    pub(in crate::module) wait: Duration,
}

/// The question to a node.
#[derive(Debug, Serialize, Deserialize)]
struct NodeQuestion {
    place: Option<LogPlace>,
    wanted: EventsWanted,
    wait_ms: u64,
}

/// The answer of a node.
#[derive(Debug, Serialize, Deserialize)]
struct NodeEvents {
    page: EventPage,
    is_primary: bool,
}

/// A node, and whether it has a part in the data.
struct AskedNode {
    node: Arc<Node>,
    is_primary: bool,
}

/// Returns the nodes that may have events: also replicas, which may be primaries by the next time.
fn nodes(topology: &Topology) -> Vec<AskedNode> {
    let of_shards = topology.shards().iter().flat_map(|shard| {
        let primary = AskedNode { node: shard.primary.clone(), is_primary: true };
        let replica = |node: &Arc<Node>| AskedNode { node: node.clone(), is_primary: false };
        std::iter::once(primary).chain(shard.replicas.iter().map(replica))
    });
    of_shards.collect()
}

/// Somebody who reads events.
pub(in crate::module) struct KeyspaceReader {
    wanted: EventsWanted,
    wait: Duration,
    rights: Arc<ShareRights>,
    caller: Option<CallerId>,
    cursor: EventCursor,
    /// The ids of nodes of which some events may be missing.
    lost: Vec<String>,
}

impl KeyspaceReader {
    /// Makes a reader who has these rights. On the main thread.
    pub(in crate::module) fn new(asked: EventsAsked, rights: Arc<ShareRights>) -> Self {
        let EventsAsked { cursor, wanted, wait } = asked;
        Self { wanted, wait, caller: rights.caller(), rights, cursor, lost: Vec::new() }
    }

    /// Reads the events of all nodes. Returns the next cursor and the events, as the client gets them.
    ///
    /// # Errors
    /// A primary that cannot be asked, as it does not answer or has no rmr.
    pub(in crate::module) async fn read(mut self, requests: RequestBuilder) -> Result<Reply, Error> {
        let until = Instant::now() + self.wait;
        loop {
            let request = requests.clone().begin();
            let topology = request.pinned_topology().await?;
            let nodes = nodes(&topology);
            let mut found = self.ask_all(&request, &topology, &nodes).await?;
            let left = until.saturating_duration_since(Instant::now());
            if found.is_empty() && self.lost.is_empty() && !left.is_zero() {
                found = self.wait(&request, &topology, &nodes, left.min(ROUND)).await?;
            }
            if !found.is_empty() || !self.lost.is_empty() || Instant::now() >= until {
                return Ok(self.answer(found));
            }
        }
    }

    /// Asks all nodes for what they have, and takes note of those that have gone.
    async fn ask_all(
        &mut self,
        request: &Request,
        topology: &Topology,
        nodes: &[AskedNode],
    ) -> Result<BTreeMap<String, EventPage>, Error> {
        let begins = self.cursor.is_start();
        let this = &*self;
        let asked = nodes.iter().map(|asked| async move {
            (asked, this.ask(request, topology, asked, this.place(asked), Duration::ZERO).await)
        });
        let mut found = BTreeMap::new();
        let mut places = BTreeMap::new();
        for (asked, page) in join_all(asked).await {
            let (id, before) = (asked.node.id.clone(), self.cursor.places.get(&asked.node.id).copied());
            let NodeEvents { page, is_primary } = match page {
                Ok(events) => events,
                Err(error) if asked.is_primary => return Err(error),
                // It has nothing to say as long as it is no primary, and may be asked then.
                Err(_) => {
                    places.extend(before.map(|before| (id, before)));
                    continue;
                }
            };
            let was_primary = before.is_some_and(|before| before.was_primary);
            let is_new = before.is_none() && !begins;
            if (page.is_lost && (was_primary || is_primary)) || (is_new && is_primary) {
                self.lost.push(id.clone());
            }
            places.insert(id.clone(), NodePlace { place: page.place, was_primary: is_primary });
            if !page.events.is_empty() {
                found.insert(id, page);
            }
        }
        let gone = self.cursor.places.iter().filter(|(id, place)| !places.contains_key(*id) && place.was_primary);
        self.lost.extend(gone.map(|(id, _)| id.clone()));
        self.cursor.places = places;
        Ok(found)
    }

    /// Waits until a primary has something.
    async fn wait(
        &mut self,
        request: &Request,
        topology: &Topology,
        nodes: &[AskedNode],
        wait: Duration,
    ) -> Result<BTreeMap<String, EventPage>, Error> {
        let this = &*self;
        let primaries = nodes.iter().filter(|asked| asked.is_primary);
        let mut waiting: FuturesUnordered<_> = primaries
            .map(|asked| async move {
                (asked.node.id.clone(), this.ask(request, topology, asked, this.place(asked), wait).await)
            })
            .collect();
        let (id, page) = loop {
            let Some((id, events)) = waiting.next().await else { return Ok(BTreeMap::new()) };
            let NodeEvents { page, .. } = events?;
            if !page.events.is_empty() {
                break (id, page);
            }
        };
        drop(waiting);
        self.cursor.places.insert(id.clone(), NodePlace { place: page.place, was_primary: true });
        Ok(BTreeMap::from([(id, page)]))
    }

    fn place(&self, asked: &AskedNode) -> Option<LogPlace> {
        self.cursor.places.get(&asked.node.id).map(|known| known.place)
    }

    async fn ask(
        &self,
        request: &Request,
        topology: &Topology,
        asked: &AskedNode,
        place: Option<LogPlace>,
        wait: Duration,
    ) -> Result<NodeEvents, Error> {
        if topology.is_local(&asked.node) {
            let is_primary = main_thread::run(keep_events).await??;
            return here(place, &self.wanted, wait, &self.rights, is_primary).await;
        }
        let wait_ms = wait.as_millis() as u64;
        let question = question(NodeQuestion { place, wanted: self.wanted.clone(), wait_ms }, self.caller.clone())?;
        let answer = ask_node(request, &asked.node, Kind::Events(serde_bytes::Bytes::new(&question)), wait).await?;
        messages::decode(&answer).map_err(|error: Error| Error::BadReply {
            node: asked.node.to_string(),
            why: format!("says no events: {error}"),
        })
    }

    /// Puts the events in the order of their times, as many as are wanted, and moves the cursor behind these.
    fn answer(mut self, found: BTreeMap<String, EventPage>) -> Reply {
        let mut in_order: Vec<(u64, String, FoundEvent)> = Vec::new();
        for (id, page) in found {
            // Those of one node stay in their order, whatever its clock does.
            let mut latest = 0;
            for event in page.events {
                latest = event.time_ms.max(latest);
                in_order.push((latest, id.clone(), event));
            }
        }
        in_order.sort_by_key(|(time, ..)| *time);
        let most = self.wanted.count.min(in_order.len());
        for (_, id, event) in in_order.drain(most..).rev() {
            if let Some(known) = self.cursor.places.get_mut(&id) {
                known.place.next = event.number;
            }
        }
        let lost = self.lost.iter().map(|id| Reply::Array(vec!["lost".into(), id.as_str().into()]));
        let events = in_order.into_iter().map(|(_, id, event)| {
            let time = Reply::Integer(i64::try_from(event.time_ms).unwrap_or(i64::MAX));
            let key = Reply::Bulk(event.key.into_vec().into());
            Reply::Array(vec![event.name.into(), key, time, id.into()])
        });
        let entries = lost.chain(events).collect();
        Reply::Array(vec![self.cursor.to_string().into(), Reply::Array(entries)])
    }
}

/// Answers another node. On the main thread.
pub(in crate::module) fn answer(ctx: Ctx<'_>, message: &[u8]) -> Result<Work, Outcome<Bytes>> {
    let (question, _, rights): (NodeQuestion, _, _) = read_with_rights(ctx, message)?;
    let is_primary = keep_events(ctx).map_err(failed)?;
    Ok(Box::pin(async move {
        let wait = Duration::from_millis(question.wait_ms).min(ROUND);
        let events = here(question.place, &question.wanted, wait, &Arc::new(rights), is_primary).await;
        let outcome = match events.and_then(|events| messages::encode(&events)) {
            Ok(events) => Outcome::Done(Bytes::from(events)),
            Err(error) => failed(error),
        };
        Ok(outcome.into_reply())
    }))
}

/// Reads the events of this node.
async fn here(
    place: Option<LogPlace>,
    wanted: &EventsWanted,
    wait: Duration,
    rights: &Arc<ShareRights>,
    is_primary: bool,
) -> Result<NodeEvents, Error> {
    let until = Instant::now() + wait;
    let mut place = place;
    loop {
        let mut page = LOG.read(place, wanted, until).await;
        if !rights.are_full() && !page.events.is_empty() {
            page.events = readable(page.events, rights.clone()).await?;
            if page.events.is_empty() && !page.is_lost {
                place = Some(page.place);
                if Instant::now() < until {
                    continue;
                }
            }
        }
        return Ok(NodeEvents { page, is_primary });
    }
}

/// Returns the events of keys that the users may read.
async fn readable(events: Vec<FoundEvent>, rights: Arc<ShareRights>) -> Result<Vec<FoundEvent>, Error> {
    let may_read = move |_: Ctx<'_>| -> Result<Vec<FoundEvent>, Error> {
        let users = rights.users()?;
        let all_may = |key: &ByteBuf| users.iter().all(|user| user.may_read(key));
        Ok(events.into_iter().filter(|event| all_may(&event.key)).collect())
    };
    main_thread::run(may_read).await?
}
