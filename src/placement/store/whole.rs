//! Commands about all keys of a node: each key is counted, and named, at the first copy of its slot.

use std::future::ready;
use std::sync::Arc;

use bytes::Bytes;

use super::node_links::NodeLinks;
use super::order::OUT_OF_TOUCH;
use super::table::SlotTable;
use crate::command::Command;
use crate::link::{Batch, Delivery, Link};
use crate::reply::Reply;
use crate::topology::{Address, BoxFuture, KeyPlacement};

/// The number of times that a random key is asked for before all keys are looked at.
const RANDOM_TRIES: usize = 64;

/// A command about all keys.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Whole {
    Keys,
    Scan,
    RandomKey,
    DbSize,
    Flush,
    /// A command that is not about all keys.
    Other,
}

impl Whole {
    fn of(name: &[u8]) -> Self {
        const NAMES: [(&[u8], Whole); 6] = [
            (b"KEYS", Whole::Keys),
            (b"SCAN", Whole::Scan),
            (b"RANDOMKEY", Whole::RandomKey),
            (b"DBSIZE", Whole::DbSize),
            (b"FLUSHALL", Whole::Flush),
            (b"FLUSHDB", Whole::Flush),
        ];
        NAMES.iter().find(|(known, _)| known.eq_ignore_ascii_case(name)).map_or(Self::Other, |(_, whole)| *whole)
    }
}

/// Sends commands without keys to a node.
pub(super) fn send(
    links: &Arc<NodeLinks>,
    address: &Address,
    node: &Arc<dyn Link>,
    table: &Arc<SlotTable>,
    batch: Batch,
) -> BoxFuture<'static, Delivery> {
    if batch.picked().all(|command| Whole::of(command.name()) == Whole::Other) {
        return node.send(batch);
    }
    if links.shared().tables.lease().is_over() {
        let words = Bytes::from(format!("TRYAGAIN {OUT_OF_TOUCH}"));
        return Box::pin(ready(Delivery::of(vec![Reply::Error(words); batch.picks.len()])));
    }
    let asked = NodeAsked {
        links: links.clone(),
        place: table.place_of(address),
        node: node.clone(),
        table: table.clone(),
        batch,
    };
    Box::pin(asked.run())
}

struct NodeAsked {
    links: Arc<NodeLinks>,
    /// The place of the node in the table.
    place: Option<usize>,
    node: Arc<dyn Link>,
    table: Arc<SlotTable>,
    batch: Batch,
}

impl NodeAsked {
    async fn run(self) -> Delivery {
        let mut replies = Vec::with_capacity(self.batch.picks.len());
        for (at, command) in self.batch.picked().enumerate() {
            let alone = Batch { picks: vec![self.batch.picks[at]], ..self.batch.clone() };
            let answer = match Whole::of(command.name()) {
                Whole::Other => self.answer(alone).await,
                Whole::Keys => self.answer(alone).await.map(|reply| self.counted_here(reply)),
                Whole::Scan => self.answer(alone).await.map(|reply| match reply {
                    Reply::Array(mut parts) if parts.len() == 2 => {
                        let names = parts.pop().map(|names| self.counted_here(names));
                        parts.extend(names);
                        Reply::Array(parts)
                    }
                    reply => reply,
                }),
                Whole::RandomKey => self.random_key(alone).await,
                Whole::DbSize => self.size(alone).await,
                // Of copies of its own each node decides the order.
                Whole::Flush if !self.table.has_copies() => self.answer(alone).await,
                Whole::Flush => self.flush(command.command().into_owned()).await,
            };
            match answer {
                Ok(reply) => replies.push(reply),
                Err(delivery) => return Delivery { replies, ..delivery },
            }
        }
        Delivery::of(replies)
    }

    async fn answer(&self, batch: Batch) -> Result<Reply, Delivery> {
        let mut delivery = self.node.send(batch).await;
        delivery.replies.pop().ok_or(delivery)
    }

    async fn ask(&self, command: Command) -> Result<Reply, Delivery> {
        let commands = Arc::new(vec![command.read_only(true)].into());
        self.answer(Batch::new(commands, vec![0], self.batch.budget.clone())).await
    }

    /// Returns whether a key is counted at this node.
    fn is_counted_here(&self, key: &[u8]) -> bool {
        let first = self.table.slots()[usize::from(self.table.slot_of(key))].copies.first().copied();
        first.is_some() && first == self.place
    }

    fn counted_here(&self, names: Reply) -> Reply {
        match names {
            Reply::Array(mut names) => {
                names.retain(|name| name.bytes().is_some_and(|name| self.is_counted_here(name)));
                Reply::Array(names)
            }
            reply => reply,
        }
    }

    async fn random_key(&self, batch: Batch) -> Result<Reply, Delivery> {
        for _ in 0..RANDOM_TRIES {
            let reply = self.answer(batch.clone()).await?;
            if reply.bytes().is_none_or(|key| self.is_counted_here(key)) {
                return Ok(reply);
            }
        }
        let mut found = Reply::Null;
        self.scan(|name| found = Reply::Bulk(name.clone())).await?;
        Ok(found)
    }

    /// Calls with all names that are counted here.
    async fn scan(&self, mut name: impl FnMut(&Bytes)) -> Result<(), Delivery> {
        let mut cursor = Bytes::from_static(b"0");
        loop {
            let reply = self.ask(Command::new("SCAN").arg(&cursor[..]).arg("COUNT").arg(1000)).await?;
            let mut parts = reply.into_elements().unwrap_or_default().into_iter();
            cursor = parts.next().and_then(Reply::into_bytes).unwrap_or_else(|| Bytes::from_static(b"0"));
            let names = parts.next().and_then(Reply::into_elements).unwrap_or_default();
            names
                .into_iter()
                .filter_map(Reply::into_bytes)
                .filter(|key| self.is_counted_here(key))
                .for_each(|key| name(&key));
            if &cursor[..] == b"0" {
                return Ok(());
            }
        }
    }

    /// Counts the keys that are counted here. With one copy of each the node's own count is that.
    async fn size(&self, batch: Batch) -> Result<Reply, Delivery> {
        if !self.table.has_copies() {
            return self.answer(batch).await;
        }
        let mut count = 0;
        self.scan(|_| count += 1).await?;
        Ok(Reply::Integer(count))
    }

    /// Empties all nodes, in the order of all writes: on the word of the first node, the others have nothing left to do.
    async fn flush(&self, command: Command) -> Result<Reply, Delivery> {
        if self.place != Some(0) {
            return Ok(Reply::OK);
        }
        Ok(self.links.shared().sequencer().everywhere(command).await.unwrap_or_else(Reply::Error))
    }
}
