//! The keys of slots that move one by one, read apart from those of all other slots.
//!
//! While a slot moves by hand its keys are on two nodes, and no node knows all of them. So they are left out of what each
//! node says of its keys, and listed [slot by slot](super::slot_keys) instead, where each name counts once.
//!
//! The keys that a node has of such a slot change all the time. So the node says how many keys it has, how many of them are in
//! moving slots, and which slots it has, in one transaction: nothing comes in between.

use std::collections::{BTreeSet, HashSet};
use std::sync::Arc;

use bytes::Bytes;

use super::dependence::Enumeration;
use super::glob;
use super::request::Request;
use super::slot_keys::{self, SlotsRead};
use super::slot_set::SlotSet;
use super::to_nodes::Said;
use crate::command::{Command, PerKey};
use crate::error::Error;
use crate::reply::Reply;
use crate::topology::{Node, OwnSlots, SlotRange, key_slot};

/// Slots that are read apart, and their keys.
#[derive(Default)]
pub(super) struct ReadApart {
    pub(super) slots: SlotSet,
    names: Vec<Bytes>,
}

/// The answer of a node about its keys, without those in slots that are read apart.
pub(super) enum Without {
    Said {
        reply: Reply,
        own: OwnSlots,
        /// The number of its keys in each of these slots.
        left_out: Vec<(u16, i64)>,
        /// The keys in these slots that the answer shows.
        shown: Vec<Bytes>,
    },
    /// The node cannot be reached now, and may be later.
    NotNow(Error),
    Failed(Error),
}

impl ReadApart {
    /// Reads more slots. Returns those that failures are allowed for and that could not be read, with the reasons.
    ///
    /// # Errors
    /// The error says why a slot cannot be read as a whole, if that lasts.
    pub(super) async fn read(
        &mut self,
        request: &Request,
        slots: &SlotSet,
        enumeration: Enumeration,
        command: &Command,
        partial: bool,
    ) -> Result<Vec<(SlotRange, Error)>, Error> {
        let inner = request.without_gate();
        let slots: Vec<usize> = slots.without(&self.slots).iter().map(usize::from).collect();
        let SlotsRead { mut keys, missed } = slot_keys::keys_in(&inner, slots.iter().copied(), partial).await?;
        if enumeration == Enumeration::Names {
            let pattern = command.args().next().unwrap_or_default();
            keys.retain(|key| glob::matches(pattern, key));
        }
        self.names.append(&mut keys);
        slots.into_iter().for_each(|slot| self.slots.insert(slot as u16));
        Ok(missed.into_iter().map(|(slot, error)| ((slot as u16, slot as u16), error)).collect())
    }

    /// Asks nodes for what they have without the slots that are read apart.
    ///
    /// # Errors
    /// The reason why not all of them are asked.
    pub(super) async fn ask_without(
        &self,
        request: &Request,
        nodes: Vec<Arc<Node>>,
        enumeration: Enumeration,
        command: &Command,
    ) -> Result<Vec<Without>, Error> {
        // The connection that they are asked over is in database 0.
        nodes.iter().try_for_each(|node| request.may_leave(node))?;
        let transaction = self.transaction(command);
        let each =
            |node: &Arc<Node>| transaction.iter().map(|command| (node.clone(), command.clone())).collect::<Vec<_>>();
        let said = request.at_nodes(nodes.iter().flat_map(each).collect(), true).await?;
        let answers = said.chunks_exact(transaction.len()).zip(&nodes);
        Ok(answers.map(|(said, node)| self.without(enumeration, node, said)).collect())
    }

    /// Returns the commands that say what a node has, which slots it has, and what is in those that are read apart.
    fn transaction(&self, command: &Command) -> Vec<Command> {
        let mut commands = vec![Command::new("MULTI"), Command::new("CLUSTER").arg("NODES"), command.clone()];
        let count = |slot: u16| Command::new("CLUSTER").arg("COUNTKEYSINSLOT").arg(u64::from(slot));
        commands.extend(self.slots.iter().map(count));
        commands.push(Command::new("EXEC"));
        commands.into_iter().map(|command| command.read_only(true)).collect()
    }

    /// Reads what a node has said.
    fn without(&self, enumeration: Enumeration, node: &Node, said: &[Said]) -> Without {
        let mut not_now = None;
        for said in said {
            match said {
                Said::Reply(_) => {}
                Said::Failed(error) => return Without::Failed(error.clone()),
                Said::NotNow(error) => not_now = Some(error.clone()),
                Said::Moved(_) | Said::Ask(_) | Said::InProcessNo => return Without::Failed(unreadable(node)),
            }
        }
        if let Some(error) = not_now {
            return Without::NotNow(error);
        }
        let answers = match said.last() {
            Some(Said::Reply(reply)) => reply.elements(),
            _ => None,
        };
        match answers {
            Some([nodes, answer, counts @ ..]) => {
                self.corrected(enumeration, nodes, answer, counts).unwrap_or_else(|| Without::Failed(unreadable(node)))
            }
            _ => Without::Failed(unreadable(node)),
        }
    }

    fn corrected(&self, enumeration: Enumeration, nodes: &Reply, answer: &Reply, counts: &[Reply]) -> Option<Without> {
        let own = OwnSlots::parse(nodes.bytes()?)?;
        let counts: Vec<i64> = counts.iter().map(Reply::integer).collect::<Option<_>>()?;
        let left_out: Vec<(u16, i64)> = self.slots.iter().zip(counts).collect();
        let mut shown = Vec::new();
        let reply = match enumeration {
            Enumeration::Count => {
                Reply::Integer(answer.integer()? - left_out.iter().map(|(_, count)| count).sum::<i64>())
            }
            Enumeration::Names => {
                let is_apart = |name: &&Reply| name.bytes().is_some_and(|name| self.slots.contains(key_slot(name)));
                let (apart, kept): (Vec<&Reply>, Vec<&Reply>) = answer.elements()?.iter().partition(is_apart);
                shown.extend(apart.into_iter().filter_map(Reply::bytes).map(Bytes::copy_from_slice));
                Reply::Array(kept.into_iter().cloned().collect())
            }
        };
        let is_all = left_out.len() == self.slots.iter().count();
        is_all.then_some(Without::Said { reply, own, left_out, shown })
    }

    /// Forgets slots, which are to be read again.
    pub(super) fn forget(&mut self, slots: &SlotSet) {
        self.slots.remove(slots);
        self.names.retain(|name| !slots.contains(key_slot(name)));
    }

    /// Leaves out names of keys that have expired, which servers list by slot and count, and do not show. Of most keys it is known
    /// that a node has shown them.
    ///
    /// # Errors
    /// The error says why a key cannot be looked at.
    pub(super) async fn drop_expired(&mut self, request: &Request, shown: &HashSet<Bytes>) -> Result<(), Error> {
        let (mut alive, unsure): (Vec<_>, Vec<_>) =
            std::mem::take(&mut self.names).into_iter().partition(|name| shown.contains(name));
        alive.append(&mut those_alive(&request.without_gate(), unsure).await?);
        self.names = alive;
        Ok(())
    }

    /// Returns the keys that were read apart, which are then added to the replies of nodes.
    pub(super) fn take_names(&mut self) -> Vec<Bytes> {
        std::mem::take(&mut self.names)
    }
}

/// Adds a key that was read apart to the reply of a node.
pub(super) fn add_name(reply: &mut Reply, name: Bytes) {
    match reply {
        Reply::Integer(count) => *count += 1,
        Reply::Array(names) | Reply::Set(names) => names.push(Reply::Bulk(name)),
        _ => {}
    }
}

fn unreadable(node: &Node) -> Error {
    let why = "did not answer a transaction about the slots that move with what they hold".into();
    Error::BadReply { node: node.to_string(), why }
}

/// Returns those of the keys that have not expired. A node that is giving a slot away sends on whoever asks for a key that has
/// expired, and keeps it. But a key whose slot has changed its direction on the move may seem to be nowhere, too: so one
/// that was not seen is looked for again a few times.
async fn those_alive(request: &Request, mut keys: Vec<Bytes>) -> Result<Vec<Bytes>, Error> {
    /// The number of times that a key is looked at which is in its slot and seems not to be there.
    const MOST_LOOKS: usize = 3;
    let mut alive = Vec::with_capacity(keys.len());
    for _ in 0..MOST_LOOKS {
        if keys.is_empty() {
            return Ok(alive);
        }
        let types = request.map_keys(PerKey::new(Command::new("TYPE"), &keys).read_only(true)).await?.into_all()?;
        let (unseen, seen): (Vec<_>, Vec<_>) =
            keys.into_iter().zip(types).partition(|(_, kind)| kind.bytes() == Some(b"none"));
        alive.extend(seen.into_iter().map(|(key, _)| key));
        let unseen: HashSet<Bytes> = unseen.into_iter().map(|(key, _)| key).collect();
        let slots: BTreeSet<usize> = unseen.iter().map(|key| usize::from(key_slot(key))).collect();
        let listed = slot_keys::keys_in(request, slots, false).await?.keys;
        keys = listed.into_iter().filter(|key| unseen.contains(key)).collect();
    }
    Ok(alive)
}
