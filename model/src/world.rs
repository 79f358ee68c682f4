//! The state of the world: nodes, proxies, and the table at the configuration node.

use stateright::semantics::LinearizabilityTester;

use crate::history::ListSpec;

/// The number of nodes, and the number of proxies.
pub(crate) const TWO: usize = 2;

/// A message of a proxy to a node.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Sent {
    /// A client's write.
    Append(u8),
    /// The value of the first copy, which the other has to take.
    Restore(Vec<u8>),
}

/// A node, which knows nothing of slots: it does what it is sent.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Node {
    /// The node has crashed, and its memory is gone.
    pub crashed: bool,
    /// The key's value.
    pub list: Vec<u8>,
    /// Tells, by proxy, whose user is switched off here.
    pub fenced: [bool; TWO],
    /// The messages of each proxy that are on their way and have not been read.
    pub unread: [Vec<Sent>; TWO],
}

/// The configuration node's record of the slot, or a proxy's copy of it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Table {
    /// Grows by one with each change of the slot.
    pub epoch: u8,
    /// The epoch of the last change of its copies. Reads go by them, so it is this change that has to be in force.
    pub copies_epoch: u8,
    /// Tells which nodes hold a copy; the first of them is the first copy.
    pub copies: [bool; TWO],
    /// The proxy that sends the slot's writes.
    pub sequencer: usize,
    /// The copies may differ, since the sequencer was taken over from.
    pub suspect: bool,
}

impl Table {
    pub(crate) fn holders(&self) -> impl Iterator<Item = usize> {
        (0..TWO).filter(|node| self.copies[*node])
    }
}

/// A write that was sent and is not acknowledged.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Waiting {
    /// The message that was sent.
    pub sent: Sent,
    /// Tells which nodes have done it.
    pub done: [bool; TWO],
}

/// A proxy.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Proxy {
    /// The table as the proxy has read it.
    pub table: Table,
    /// Tells whether it may serve. Its lease runs out by itself; to have another it reads the table.
    pub lease: bool,
    /// The messages that it has sent as the sequencer, in that order.
    pub waiting: Vec<Waiting>,
}

/// A read that has begun.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Reading {
    pub(crate) number: u8,
    pub(crate) proxy: usize,
    pub(crate) node: usize,
    /// The writes that were acknowledged when it began.
    pub(crate) acknowledged: Vec<u8>,
    pub(crate) answer: Option<Answer>,
}

/// The answer of a node to a read.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Answer {
    pub(crate) list: Vec<u8>,
    /// The writes that were not acknowledged at that moment: the list may have them, and they may come to nothing.
    pub(crate) waits_for: Vec<Sent>,
}

/// A takeover that has begun: what the second proxy has read of the table, and which nodes it has fenced.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Takeover {
    pub(crate) epoch: u8,
    pub(crate) copies: [bool; TWO],
    pub(crate) fenced: [bool; TWO],
}

/// The state of everything at one moment.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct World {
    /// The nodes.
    pub nodes: [Node; TWO],
    /// The proxies; the first is the first sequencer.
    pub proxies: [Proxy; TWO],
    /// The table at the configuration node.
    pub table: Table,
    pub(crate) takeover: Option<Takeover>,
    pub(crate) readings: Vec<Reading>,
    pub(crate) writes: u8,
    pub(crate) reads: u8,
    /// The writes that clients were told are done.
    pub acknowledged: Vec<u8>,
    /// The requests and answers of clients, each operation by a client of its own.
    pub history: LinearizabilityTester<u8, ListSpec>,
    /// A read of any copy lacked a write that had been acknowledged before.
    pub read_too_old: bool,
    /// A node of the copy set has done what a former sequencer sent.
    pub did_too_late: bool,
}

impl World {
    pub(crate) fn new() -> Self {
        let table = Table { epoch: 0, copies_epoch: 0, copies: [true; TWO], sequencer: 0, suspect: false };
        let proxy = Proxy { table: table.clone(), lease: true, waiting: Vec::new() };
        Self {
            nodes: Default::default(),
            proxies: [proxy.clone(), proxy],
            table,
            takeover: None,
            readings: Vec::new(),
            writes: 0,
            reads: 0,
            acknowledged: Vec::new(),
            history: LinearizabilityTester::new(ListSpec::default()),
            read_too_old: false,
            did_too_late: false,
        }
    }

    /// Says whether no proxy serves by an older table any more: each has read this one, or its lease has run out.
    pub(crate) fn is_in_force(&self, epoch: u8) -> bool {
        self.proxies.iter().all(|proxy| !proxy.lease || proxy.table.epoch >= epoch)
    }

    /// Sends a command to each node of the proxy's copy set, where the proxy's user may still do something.
    pub(crate) fn send(&mut self, proxy: usize, sent: &Sent, but: Option<usize>) {
        let holders: Vec<usize> = self.proxies[proxy].table.holders().filter(|node| Some(*node) != but).collect();
        for node in holders {
            let node = &mut self.nodes[node];
            if !node.crashed && !node.fenced[proxy] {
                node.unread[proxy].push(sent.clone());
            }
        }
        self.proxies[proxy].waiting.push(Waiting { sent: sent.clone(), done: [false; TWO] });
    }

    /// Lets a node do what it was sent.
    pub(crate) fn deliver(&mut self, proxy: usize, node: usize, at: usize) {
        let sent = self.nodes[node].unread[proxy].remove(at);
        match &sent {
            Sent::Append(number) => self.nodes[node].list.push(*number),
            Sent::Restore(list) => self.nodes[node].list.clone_from(list),
        }
        if let Some(waiting) = self.proxies[proxy].waiting.iter_mut().find(|waiting| waiting.sent == sent) {
            waiting.done[node] = true;
        }
        self.did_too_late |= self.table.copies[node] && self.table.sequencer != proxy;
    }

    /// Lets a proxy read the table. A former sequencer will never know what became of what it sent.
    pub(crate) fn reload(&mut self, proxy: usize) {
        self.proxies[proxy].table = self.table.clone();
        if self.table.sequencer != proxy {
            self.proxies[proxy].waiting.clear();
        }
    }
}
