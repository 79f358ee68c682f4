//! The keys of slots, each slot read as a whole while slots may move.
//!
//! `CLUSTER GETKEYSINSLOT` lists what a node has of a slot, whoever owns it. A probe before and after, in the same write,
//! tells whether that is all of it: a command for a key that nobody has.
//!
//! - A node that runs both probes owned the slot, and did not move it, when it listed it: all keys were there.
//! - A node that sends both on with `ASK` owned the slot too, and was moving it. Keys leave it for the other node and never
//!   come back, so it is listed first and the other node then; a key that the first list does not have had moved before,
//!   and is in the second. At the end the first node is asked once more: if it still sends on to the other one, nobody
//!   else had the slot meanwhile. That it had not gone and come back in between is seen by the node's config epoch, which
//!   a node that takes a slot over raises.
//! - A node that sends on with `MOVED` does not own it: the slot is looked for where the node says it is.
//!
//! In all other cases the slot is read again.
//!
//! The list has keys that have expired and that nobody has asked for since; whoever shows it has to look at each.

use std::collections::{BTreeMap, HashSet};
use std::hash::{BuildHasher, RandomState};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tokio::time::Instant;

use super::request::Request;
use super::settle::TRANSIT;
use super::to_nodes::Said;
use crate::command::Command;
use crate::error::Error;
use crate::reply::Reply;
use crate::topology::{Node, SLOT_COUNT, Topology};

/// Before a slot that has just changed hands is read again.
const PAUSE: Duration = Duration::from_millis(10);

/// The number of rounds in which nodes may be out of reach.
const MOST_FAILURES: usize = 3;

/// The beginning of the names of results under construction, which are no keys of anybody.
pub(crate) const UNDER_CONSTRUCTION: &[u8] = b"rmr:into:";

/// Tells whether a name belongs to a result under construction.
pub(crate) fn is_under_construction(key: &[u8]) -> bool {
    key.starts_with(UNDER_CONSTRUCTION)
}

/// A slot, and the node where it is looked for.
type SlotAtNode = (usize, Arc<Node>);

/// The keys that some slots hold.
#[derive(Debug, Default)]
pub(crate) struct SlotsRead {
    pub(crate) keys: Vec<Bytes>,
    /// The slots that could not be read, and why.
    pub(crate) missed: Vec<(usize, Error)>,
}

/// Reads all keys of some slots. With `partial` it passes slots that cannot be read, as those without an owner.
///
/// # Errors
/// The error says why a slot cannot be read as a whole, if that lasts.
pub(crate) async fn keys_in(
    engine: &Request,
    slots: impl IntoIterator<Item = usize>,
    partial: bool,
) -> Result<SlotsRead, Error> {
    let mut search = Search {
        engine,
        partial,
        salt: RandomState::new().hash_one(()),
        found: Vec::new(),
        missed: Vec::new(),
        again: Vec::new(),
        lost: Vec::new(),
        last: None,
        unserved: BTreeMap::new(),
        is_out_of_reach: false,
    };
    search.lost.extend(slots);
    let (mut is_first, mut failures) = (true, 0);
    loop {
        let places = search.places(is_first).await?;
        let moving = search.look(places).await?;
        if !moving.is_empty() {
            search.look_in_both(moving).await?;
        }
        failures += usize::from(std::mem::take(&mut search.is_out_of_reach));
        if search.is_done() || engine.time_left() <= PAUSE || failures == MOST_FAILURES {
            return search.end();
        }
        if !is_first {
            tokio::time::sleep(PAUSE).await;
        }
        is_first = false;
    }
}

struct Search<'a> {
    engine: &'a Request,
    /// Allows slots to be missed.
    partial: bool,
    /// Makes the probes' keys such that nobody has them.
    salt: u64,
    found: Vec<Bytes>,
    /// Slots that are given up, and why.
    missed: Vec<(usize, Error)>,
    /// Slots that are to be looked for at a node.
    again: Vec<SlotAtNode>,
    /// Slots that are to be looked for where a topology has them: a fresh one, but at the start.
    lost: Vec<usize>,
    /// The last thing that was in the way.
    last: Option<Error>,
    /// The moment since which the owner of each slot has said that nobody serves it.
    unserved: BTreeMap<usize, Instant>,
    /// Tells whether a node was out of reach in this round.
    is_out_of_reach: bool,
}

impl Search<'_> {
    /// Returns the slots that are still to be read, each with the node at which it is looked for now.
    async fn places(&mut self, is_first: bool) -> Result<Vec<SlotAtNode>, Error> {
        let mut places = std::mem::take(&mut self.again);
        let lost = std::mem::take(&mut self.lost);
        if lost.is_empty() {
            return Ok(places);
        }
        if !is_first && let Err(error) = self.engine.refresh().await {
            self.last.get_or_insert(error);
            self.lost = lost;
            return Ok(places);
        }
        match self.placed(&lost).await {
            Err(Error::Slots(_)) if self.partial => places.extend(self.placed_in_part(lost).await?),
            placed => places.extend(placed?),
        }
        Ok(places)
    }

    /// Finds the nodes of slots. One that has just lost its owner is waited for.
    async fn placed(&self, slots: &[usize]) -> Result<Vec<SlotAtNode>, Error> {
        let place = |topology: &Topology, slot| Ok((slot, self.owner(topology, slot)?));
        self.engine.by_topology(|topology| slots.iter().map(|&slot| place(topology, slot)).collect()).await
    }

    /// Finds the nodes of those slots that have one, and gives the others up.
    async fn placed_in_part(&mut self, slots: Vec<usize>) -> Result<Vec<SlotAtNode>, Error> {
        let topology = self.engine.pinned_topology().await?;
        let mut places = Vec::with_capacity(slots.len());
        for slot in slots {
            match self.owner(&topology, slot) {
                Ok(node) => places.push((slot, node)),
                Err(error) => self.missed.push((slot, error)),
            }
        }
        Ok(places)
    }

    fn owner(&self, topology: &Topology, slot: usize) -> Result<Arc<Node>, Error> {
        self.engine.owner(topology, &self.probe(slot)).cloned()
    }

    /// Reads slots that are at one node each. Gives those that are on the move, or may be.
    async fn look(&mut self, places: Vec<SlotAtNode>) -> Result<Vec<SlotAtNode>, Error> {
        let commands = places.iter().flat_map(|(slot, node)| {
            [self.probe(*slot), list(*slot), self.probe(*slot)].map(|command| (node.clone(), command))
        });
        let said = self.engine.at_nodes(commands.collect(), false).await?;
        let mut moving = Vec::new();
        for (said, place) in said.chunks_exact(3).zip(places) {
            let [before, listed, after] = said else { continue };
            match (before, listed, after) {
                (Said::Reply(_), Said::Reply(keys), Said::Reply(_)) => self.found.extend(strings(keys)),
                (
                    Said::Reply(_) | Said::Ask(_) | Said::InProcessNo,
                    Said::Reply(_),
                    Said::Ask(_) | Said::InProcessNo,
                ) => {
                    moving.push(place);
                }
                _ => self.sent_on(place, [before, listed, after])?,
            }
        }
        Ok(moving)
    }

    /// Reads slots that move from one node to another.
    async fn look_in_both(&mut self, places: Vec<SlotAtNode>) -> Result<(), Error> {
        let commands = places.iter().flat_map(|(slot, node)| {
            [epoch(), self.probe(*slot), list(*slot), self.probe(*slot)].map(|command| (node.clone(), command))
        });
        let said = self.engine.at_nodes(commands.collect(), true).await?;
        let mut moving = Vec::new();
        for (said, place) in said.chunks_exact(4).zip(places) {
            let [Said::Reply(began), before, listed, after] = said else {
                self.sent_on(place, said)?;
                continue;
            };
            match (before, listed, after) {
                (Said::Reply(_), Said::Reply(keys), Said::Reply(_)) => self.found.extend(strings(keys)),
                (Said::Ask(Some(first)), Said::Reply(keys), Said::Ask(Some(to))) if first.id == to.id => {
                    let keys: HashSet<Bytes> = strings(keys).collect();
                    moving.push(Moving { place, to: to.clone(), began: began.clone(), keys });
                }
                _ => self.sent_on(place, [before, listed, after])?,
            }
        }

        let commands = moving.iter().map(|slot| (slot.to.clone(), list(slot.place.0)));
        let said = self.engine.at_nodes(commands.collect(), false).await?;
        let mut listed = Vec::new();
        for (said, mut slot) in said.into_iter().zip(moving) {
            match &said {
                Said::Reply(keys) => {
                    slot.keys.extend(strings(keys));
                    listed.push(slot);
                }
                _ => self.sent_on(slot.place, [&said])?,
            }
        }

        let commands = listed.iter().flat_map(|slot| {
            let (number, node) = &slot.place;
            [self.probe(*number), epoch()].map(|command| (node.clone(), command))
        });
        let said = self.engine.at_nodes(commands.collect(), true).await?;
        for (said, slot) in said.chunks_exact(2).zip(listed) {
            match said {
                [Said::Ask(Some(to)), Said::Reply(ended)]
                    if to.id == slot.to.id
                        && own_epoch(ended).is_some_and(|own| own_epoch(&slot.began) == Some(own)) =>
                {
                    self.found.extend(slot.keys);
                }
                said => self.sent_on(slot.place, said)?,
            }
        }
        Ok(())
    }

    /// Decides where a slot is looked for next that could not be read.
    fn sent_on<'s>(&mut self, place: SlotAtNode, said: impl IntoIterator<Item = &'s Said>) -> Result<(), Error> {
        let (slot, mut node) = place;
        let mut is_lost = false;
        for said in said {
            match said {
                Said::Failed(error) if self.partial => {
                    self.missed.push((slot, error.clone()));
                    return Ok(());
                }
                Said::Failed(error) => return Err(error.clone()),
                Said::NotNow(error) if is_unserved(error) && self.is_unserved_for_good(slot) => {
                    return self.give_up(slot);
                }
                Said::NotNow(error) => {
                    self.is_out_of_reach |= matches!(error, Error::Node { .. });
                    self.last = Some(error.clone());
                    is_lost = true;
                }
                Said::Moved(Some(owner)) => {
                    self.engine.hint_change();
                    node = owner.clone();
                }
                Said::Moved(None) | Said::Ask(None) => is_lost = true,
                Said::Reply(_) | Said::Ask(Some(_)) | Said::InProcessNo => {}
            }
        }
        if is_lost {
            self.lost.push(slot);
        } else {
            self.again.push((slot, node));
        }
        Ok(())
    }

    /// Hears that a slot's owner does not serve it. Returns whether it has denied for longer than nodes take to agree that
    /// anybody does.
    fn is_unserved_for_good(&mut self, slot: usize) -> bool {
        self.unserved.entry(slot).or_insert_with(Instant::now).elapsed() >= TRANSIT
    }

    /// Gives a slot up that has no owner.
    fn give_up(&mut self, slot: usize) -> Result<(), Error> {
        let error = Error::Slots(format!("slot {slot} has no owner"));
        if !self.partial {
            return Err(error);
        }
        self.missed.push((slot, error));
        Ok(())
    }

    /// Tells whether no slot is left to be looked for.
    fn is_done(&self) -> bool {
        self.again.is_empty() && self.lost.is_empty()
    }

    /// Ends the search.
    fn end(mut self) -> Result<SlotsRead, Error> {
        if !self.is_done() {
            let error = self.in_the_way();
            if !self.partial {
                return Err(error);
            }
            let again = self.again.drain(..).map(|(slot, _)| slot);
            self.missed.extend(again.chain(self.lost.drain(..)).map(|slot| (slot, error.clone())));
        }
        Ok(SlotsRead { keys: self.found, missed: self.missed })
    }

    /// Returns the reason why the rest is not found.
    fn in_the_way(&self) -> Error {
        let unsettled = || match (self.again.first(), self.lost.first()) {
            (Some((slot, node)), _) => format!("slot {slot} keeps changing hands; it was last looked for at {node}"),
            (None, slot) => format!("slot {} is with a node that is not known", slot.copied().unwrap_or_default()),
        };
        self.last.clone().unwrap_or_else(|| Error::Slots(unsettled()))
    }

    /// Makes a command that finds out who answers for a slot: one that a scan needs the right to anyhow.
    fn probe(&self, slot: usize) -> Command {
        let [first, second] = tag(slot);
        let key = [format!("rmr:{:016x}:{{", self.salt).as_bytes(), &[first, second], b"}"].concat();
        Command::new("TYPE").key(key).read_only(true)
    }
}

/// A slot that is read at the node that it leaves, and then at the one that it goes to.
struct Moving {
    place: SlotAtNode,
    to: Arc<Node>,
    began: Reply,
    keys: HashSet<Bytes>,
}

/// Tells whether a node has said that a slot is nobody's, while others send to it.
fn is_unserved(error: &Error) -> bool {
    matches!(error, Error::Shard { message, .. } if message.as_bytes().starts_with(b"CLUSTERDOWN Hash slot not served"))
}

/// Returns the command that lists all that a node has of a slot.
pub(crate) fn list(slot: usize) -> Command {
    Command::new("CLUSTER").arg("GETKEYSINSLOT").arg(slot as u64).arg(i32::MAX as u64).read_only(true)
}

fn epoch() -> Command {
    Command::new("CLUSTER").arg("INFO").read_only(true)
}

/// Finds a node's own config epoch in its `CLUSTER INFO`.
fn own_epoch(info: &Reply) -> Option<&[u8]> {
    let mut lines = info.bytes()?.split(|&byte| byte == b'\n');
    lines.find_map(|line| line.strip_prefix(b"cluster_my_epoch:"))
}

fn strings(list: &Reply) -> impl Iterator<Item = Bytes> {
    list.elements().unwrap_or_default().iter().filter_map(Reply::bytes).map(Bytes::copy_from_slice)
}

/// Returns two bytes of this slot, none of which is a brace.
pub(crate) fn tag(slot: usize) -> [u8; 2] {
    // Of two bytes CRC16 is that number times x^16, modulo its polynomial: dividing by x sixteen times gives them back.
    let divided = |crc: u16, _| if crc & 1 == 0 { crc >> 1 } else { (crc ^ 0x1021) >> 1 | 0x8000 };
    let bytes_of = |crc: usize| (0..16).fold(crc as u16, divided).to_be_bytes();
    // A slot is a checksum modulo their number, so that there are four to choose from.
    let mut choice = (slot..).step_by(SLOT_COUNT).map(bytes_of);
    choice.find(|bytes| !bytes.contains(&b'}') && !bytes.contains(&b'{')).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::topology::key_slot;

    #[test]
    fn every_slot_has_a_tag() {
        for slot in 0..SLOT_COUNT {
            let [first, second] = tag(slot);
            assert_eq!(usize::from(key_slot(&[b'k', b'{', first, second, b'}'])), slot);
        }
    }

    #[test]
    fn the_epoch_is_found() {
        let info = Reply::from("cluster_current_epoch:7\r\ncluster_my_epoch:3\r\ncluster_stats:1\r\n");
        assert_eq!(own_epoch(&info), Some(&b"3\r"[..]));
        assert_eq!(own_epoch(&Reply::Null), None);
    }
}
