//! The part of a stream that is not its entries: its counters, its groups, and what they have not acknowledged.

use super::{Id, number};
use crate::command::Command;
use crate::error::Error;
use crate::placement::store::copy::node::DataNode;
use crate::reply::Reply;

/// The number of pending entries that are asked for at once.
const PENDING_AT_ONCE: usize = 1000;

/// The part of a stream that is not its entries.
#[derive(Debug, PartialEq, Eq)]
pub(in super::super) struct StreamHead {
    pub(in super::super) last: Id,
    pub(in super::super) added: u64,
    pub(in super::super) deleted: Id,
    pub(in super::super) groups: Vec<Group>,
}

/// A group of consumers.
#[derive(Debug, PartialEq, Eq)]
pub(in super::super) struct Group {
    pub(in super::super) name: Vec<u8>,
    pub(in super::super) last: Id,
    /// The number of entries that the group has read, where the server knows.
    pub(in super::super) read: Option<u64>,
    pub(in super::super) consumers: Vec<Vec<u8>>,
    pub(in super::super) pending: Vec<Pending>,
}

/// An entry that a consumer has been given and has not acknowledged.
#[derive(Debug, Clone)]
pub(in super::super) struct Pending {
    pub(in super::super) id: Id,
    pub(in super::super) consumer: Vec<u8>,
    /// The time at which the entry was last given to a consumer, in milliseconds since 1970.
    pub(in super::super) given: u64,
    /// The number of times that the entry was given to a consumer.
    pub(in super::super) times: u64,
}

/// Two servers have not given an entry in the same millisecond.
impl PartialEq for Pending {
    fn eq(&self, other: &Self) -> bool {
        (self.id, &self.consumer, self.times) == (other.id, &other.consumer, other.times)
    }
}

impl Eq for Pending {}

impl StreamHead {
    /// Asks a node. Groups, consumers and pending entries come in the order of their names and ids.
    pub(super) async fn read(node: &mut DataNode, key: &[u8]) -> Result<Self, Error> {
        let about = |what: &str| Command::new("XINFO").arg(what).key(key);
        let replies = node.call_all(&[about("STREAM"), about("GROUPS")]).await?;
        let id = |name: &str| Id::parse(replies[0].field(name)?.bytes()?);
        let last = id("last-generated-id").ok_or_else(|| node.odd("does not tell the last id of a stream"))?;
        let added = number(replies[0].field("entries-added")).unwrap_or_default();
        let deleted = id("max-deleted-entry-id").unwrap_or_default();
        let mut groups = Vec::new();
        for about in replies[1].elements().unwrap_or_default() {
            let name = about.field("name").and_then(Reply::bytes).unwrap_or_default().to_vec();
            let last = about.field("last-delivered-id").and_then(Reply::bytes).and_then(Id::parse).unwrap_or_default();
            let read = number(about.field("entries-read"));
            let consumers = Command::new("XINFO").arg("CONSUMERS").key(key).arg(&name);
            let consumers = node.call(consumers).await?.into_elements().unwrap_or_default();
            let name_of = |about: &Reply| about.field("name").and_then(Reply::bytes).map(<[u8]>::to_vec);
            let mut consumers: Vec<Vec<u8>> = consumers.iter().filter_map(name_of).collect();
            consumers.sort_unstable();
            let pending = pending(node, key, &name).await?;
            groups.push(Group { name, last, read, consumers, pending });
        }
        groups.sort_unstable_by(|one, other| one.name.cmp(&other.name));
        Ok(Self { last, added, deleted, groups })
    }
}

async fn pending(node: &mut DataNode, key: &[u8], group: &[u8]) -> Result<Vec<Pending>, Error> {
    let mut all: Vec<Pending> = Vec::new();
    loop {
        let from = all.last().map_or_else(|| "-".to_owned(), |last| format!("({}", last.id));
        let ask = Command::new("XPENDING").key(key).arg(group).arg(from).arg("+").arg(PENDING_AT_ONCE);
        // Commands of one transaction have the same time.
        let replies = node.transaction(vec![Command::new("TIME"), ask]).await?;
        if let Some(refused) = node.refusal(&replies[1]) {
            return Err(refused);
        }
        let time = replies[0].elements().unwrap_or_default();
        let now = number(time.first()).unwrap_or_default() * 1000 + number(time.get(1)).unwrap_or_default() / 1000;
        let page = replies[1].elements().unwrap_or_default();
        all.extend(page.iter().filter_map(|entry| {
            let parts = entry.elements()?;
            Some(Pending {
                id: Id::parse(parts.first()?.bytes()?)?,
                consumer: parts.get(1)?.bytes()?.to_vec(),
                given: now.saturating_sub(number(parts.get(2))?),
                times: number(parts.get(3))?,
            })
        }));
        if page.len() < PENDING_AT_ONCE {
            return Ok(all);
        }
    }
}
