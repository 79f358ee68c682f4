//! [`ReplicaKeyspace`]: a shard's keys as one of its replicas has them, for flows that only read and are to spare primaries.
//!
//! The primary alone knows which slots are whole. It is asked before names are listed and afterwards: a slot that was not its
//! own and at rest all that time is left to the end of the flow, where it is read at primaries. Beyond that the answer is as
//! old as the replica's copy.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::Bytes;

use super::keyspace::{CommandsDone, KeySlice, KeySource, KeysWanted, Keyspace, Reducing, names_memory};
use super::plain_names::NamedKeys;
use super::plain_slots::MOST_SLOTS;
use super::requests::FlowRequests;
use super::slots::each;
use super::values::{WantedValues, records_of};
use crate::command::{Command, PerKey};
use crate::engine::{Request, Said, glob, slot_keys};
use crate::error::Error;
use crate::reply::Reply;
use crate::topology::{BoxFuture, Node, OwnSlots, Shard};

/// The keys of a shard, at a replica.
pub(super) struct ReplicaKeyspace {
    requests: FlowRequests,
    primary: Arc<Node>,
    replica: Arc<Node>,
}

impl ReplicaKeyspace {
    /// Picks a replica of a shard that has some: another one each time.
    pub(super) fn of(requests: FlowRequests, shard: &Shard) -> Self {
        static PICKED: AtomicUsize = AtomicUsize::new(0);
        let replica = &shard.replicas[PICKED.fetch_add(1, Ordering::Relaxed) % shard.replicas.len()];
        Self { requests, primary: shard.primary.clone(), replica: replica.clone() }
    }

    /// Returns the name of the replica.
    pub(super) fn name(&self) -> String {
        self.replica.to_string()
    }
}

impl Keyspace for ReplicaKeyspace {
    fn read(&self, wanted: KeysWanted) -> Box<dyn KeySource> {
        if let Some(named) = NamedKeys::of(&self.requests, Some(&self.replica), &wanted) {
            return Box::new(named);
        }
        let mut slots: Vec<u16> = each(wanted.slots.as_deref().unwrap_or_default()).collect();
        slots.reverse();
        let (requests, primary, replica) = (self.requests.clone(), self.primary.clone(), self.replica.clone());
        Box::new(ReplicaKeys { requests, primary, replica, wanted, slots, keys: Vec::new() })
    }

    fn run(&self, commands: PerKey, _reducing: Option<Reducing>) -> BoxFuture<'_, Result<CommandsDone, Error>> {
        Box::pin(async move {
            let replies = self.requests.begin().at_replica(&self.replica, commands.into()).await?;
            let reply = |result| match result {
                Ok(reply) => Ok(Some(reply)),
                Err(Error::Shard { message, .. }) => Ok(Some(Reply::Error(message.into_bytes()))),
                Err(error) => Err(error),
            };
            let replies = replies.into_iter().map(|entry| reply(entry.result)).collect::<Result<_, Error>>()?;
            Ok(CommandsDone::Replies(replies))
        })
    }
}

/// Reads the keys of slots at a replica.
struct ReplicaKeys {
    requests: FlowRequests,
    primary: Arc<Node>,
    replica: Arc<Node>,
    wanted: KeysWanted,
    /// Slots that are to be read, the next one last.
    slots: Vec<u16>,
    /// Keys that were listed and not shown.
    keys: Vec<Bytes>,
}

impl ReplicaKeys {
    /// Lists some more slots. Says of those that are not whole that they are unread.
    async fn list(&mut self, slice: &mut KeySlice) -> Result<(), Error> {
        let mut slots = self.slots.split_off(self.slots.len().saturating_sub(MOST_SLOTS));
        slice.slots_read = slots.len() as u32;
        let request = self.requests.begin().without_gate();
        let before = own_slots(&request, &self.primary).await?;
        slots.retain(|slot| {
            before.has_whole(*slot) || {
                slice.unread.push(*slot);
                false
            }
        });
        let list = |slot: &u16| slot_keys::list(usize::from(*slot));
        let listed = request.at_replica(&self.replica, slots.iter().map(list).collect::<Vec<_>>().into()).await?;
        let after = own_slots(&request, &self.primary).await?;
        for (slot, names) in slots.into_iter().zip(listed.into_all()?) {
            // One that has gone and come back has raised the epoch.
            if before.epoch != after.epoch || !after.has_whole(slot) {
                slice.unread.push(slot);
                continue;
            }
            let names = names.into_elements().unwrap_or_default();
            slice.keys_read += names.len() as u64;
            let is_wanted = |name: &Bytes| {
                glob::matches(&self.wanted.filter.pattern, name) && !slot_keys::is_under_construction(name)
            };
            self.keys.extend(names.into_iter().filter_map(Reply::into_bytes).filter(is_wanted));
        }
        Ok(())
    }

    /// Returns those of the keys that are there, and of the type that is wanted.
    async fn live(&self, request: &Request, keys: Vec<Bytes>) -> Result<Vec<Bytes>, Error> {
        if keys.is_empty() {
            return Ok(keys);
        }
        let types = PerKey::new(Command::new("TYPE"), &keys).read_only(true);
        let types = request.at_replica(&self.replica, types.into()).await?.into_all()?;
        let is_wanted = |found: &Reply| match (found.bytes(), &self.wanted.filter.type_name) {
            (Some(b"none") | None, _) => false,
            (Some(found), Some(wanted)) => found.eq_ignore_ascii_case(wanted.as_bytes()),
            (Some(_), None) => true,
        };
        Ok(keys.into_iter().zip(types).filter(|(_, found)| is_wanted(found)).map(|(key, _)| key).collect())
    }
}

impl KeySource for ReplicaKeys {
    fn next(&mut self, most: usize) -> BoxFuture<'_, Result<KeySlice, Error>> {
        Box::pin(async move {
            let mut slice = KeySlice::default();
            if self.keys.is_empty() && !self.slots.is_empty() {
                self.list(&mut slice).await?;
            }
            let keys = self.keys.split_off(self.keys.len().saturating_sub(most));
            let request = self.requests.begin();
            let keys = request.readable(keys).await?;
            let inner = request.without_gate();
            let keys = self.live(&inner, keys).await?;
            slice.records =
                records_of(&inner, Some(&self.replica), keys, WantedValues::of_found(self.wanted.filter.values))
                    .await?;
            slice.is_end = self.keys.is_empty() && self.slots.is_empty();
            Ok(slice)
        })
    }

    fn memory(&self) -> u64 {
        names_memory(&self.keys) as u64
    }
}

/// Asks a primary for its own slots.
async fn own_slots(request: &Request, primary: &Arc<Node>) -> Result<OwnSlots, Error> {
    let question = Command::new("CLUSTER").arg("NODES").read_only(true);
    let unclear = |why: String| Error::BadReply { node: primary.to_string(), why };
    match request.at_nodes(vec![(primary.clone(), question)], false).await?.pop() {
        Some(Said::Reply(said)) => said
            .bytes()
            .and_then(OwnSlots::parse)
            .ok_or_else(|| unclear("did not answer CLUSTER NODES with its own slots".into())),
        Some(Said::NotNow(error) | Said::Failed(error)) => Err(error),
        Some(Said::Moved(_) | Said::Ask(_) | Said::InProcessNo) | None => {
            Err(unclear("did not answer CLUSTER NODES".into()))
        }
    }
}
