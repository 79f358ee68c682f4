//! [`SlotModel`]: what may happen next, and what must always hold.

use stateright::semantics::ConsistencyTester;
use stateright::{Model, Property};

use crate::history::{Operation, Returned};
use crate::world::{Answer, Reading, Sent, TWO, Takeover, World};

/// The rules that keep the claims. Each can be taken away, to see that the checker misses it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Safeguards {
    /// A node does a proxy's commands in the order in which they were sent.
    pub order: bool,
    /// A proxy that takes over first switches the former sequencer's user off on each node that stays, and ends its
    /// connections.
    pub fence: bool,
    /// No write is acknowledged before the slot's last change is in force.
    pub in_force: bool,
    /// A slot that was taken over serves nothing before its first copy's value is on the other copies.
    pub suspect: bool,
    /// The sequencer tells nobody what it has read while a write of that key may come to nothing that the read has seen.
    pub held_reads: bool,
    /// The configuration node takes a change only from who knows its last epoch.
    pub epochs: bool,
    /// A proxy gives the slot away only when nothing of it is under way.
    pub drained: bool,
}

impl Safeguards {
    /// The rules, all of them, as in the program.
    pub const ALL: Self =
        Self { order: true, fence: true, in_force: true, suspect: true, held_reads: true, epochs: true, drained: true };
}

/// The next event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    /// A client's write reaches a proxy that takes itself for the sequencer, which sends it to all copies.
    Write(usize),
    /// A node reads what a proxy has sent: proxy, node, place in the queue.
    Deliver(usize, usize, usize),
    /// A proxy acknowledges the oldest write that waits.
    Acknowledge(usize),
    /// A node is silent for too long: a proxy takes it out of the copy set.
    DropCopy(usize, usize),
    /// A client's read is sent from a proxy to a node.
    Read(usize, usize),
    /// A node answers a read.
    AnswerRead(usize),
    /// A proxy tells the client what was read.
    TellRead(usize),
    /// A proxy has not been able to renew its lease.
    LeaseEnds(usize),
    /// A proxy reads the table, and has a lease again.
    Renew(usize),
    /// A node crashes.
    Crash(usize),
    /// The second proxy takes the first for dead. That may be wrong.
    BeginTakeover,
    /// The second proxy fences the first on a node.
    Fence(usize),
    /// The second proxy records the takeover. A node that is not fenced is no copy any more.
    RecordTakeover,
    /// The new sequencer sends the value of the first copy to the other.
    Compare,
    /// The copies are equal: the slot is not suspect any more.
    Trust,
    /// The first proxy gives the slot to the second, as planned: the copies stay, and are not suspect.
    HandOver,
}

/// The model: how much happens in it, and by which rules.
#[derive(Clone, Copy, Debug)]
pub struct SlotModel {
    /// The rules.
    pub safeguards: Safeguards,
    /// The most writes.
    pub writes: u8,
    /// The most reads.
    pub reads: u8,
    /// Reads are in order, by the sequencer; else of any copy, by any proxy.
    pub ordered: bool,
    /// Tells whether a node may crash.
    pub crash: bool,
}

impl SlotModel {
    fn may_write(&self, world: &World, proxy: usize) -> bool {
        let it = &world.proxies[proxy];
        it.lease && it.table.sequencer == proxy && !it.table.suspect
    }

    fn may_read(&self, world: &World, proxy: usize, node: usize) -> bool {
        let it = &world.proxies[proxy];
        let may_serve = it.lease && !it.table.suspect && it.table.copies[node];
        may_serve && (!self.ordered || (it.table.sequencer == proxy && it.waiting.is_empty()))
    }

    fn all_written_by_the_second(&self, world: &World) -> bool {
        let is_all = world.acknowledged.len() == usize::from(self.writes);
        is_all && world.table.sequencer == 1 && world.proxies[1].waiting.is_empty()
    }

    fn may_acknowledge(&self, world: &World, proxy: usize) -> bool {
        let it = &world.proxies[proxy];
        let is_done = it.waiting.first().is_some_and(|first| it.table.holders().all(|node| first.done[node]));
        let is_write = matches!(it.waiting.first(), Some(first) if matches!(first.sent, Sent::Append(_)));
        is_done && is_write && (!self.safeguards.in_force || world.is_in_force(it.table.copies_epoch))
    }

    /// Tells whether a change is refused since there was another before it; the proxy that asked for it then reads the
    /// table.
    fn is_refused(&self, world: &World, epoch: u8) -> bool {
        self.safeguards.epochs && epoch != world.table.epoch
    }

    fn takeover_actions(&self, world: &World, actions: &mut Vec<Action>) {
        let Some(takeover) = &world.takeover else {
            if world.table.sequencer == 0 {
                actions.push(Action::BeginTakeover);
            }
            return;
        };
        if world.table.sequencer == 1 {
            return;
        }
        if self.safeguards.fence {
            let to_fence = (0..TWO).filter(|node| takeover.copies[*node] && !world.nodes[*node].crashed);
            actions.extend(to_fence.filter(|node| !takeover.fenced[*node]).map(Action::Fence));
        }
        let stays = |node: usize| takeover.copies[node] && (takeover.fenced[node] || !self.safeguards.fence);
        if (0..TWO).any(stays) || self.is_refused(world, takeover.epoch) {
            actions.push(Action::RecordTakeover);
        }
    }

    fn record_takeover(&self, world: &mut World) {
        let Some(takeover) = &mut world.takeover else { return };
        if self.safeguards.epochs && takeover.epoch != world.table.epoch {
            takeover.epoch = world.table.epoch;
            takeover.copies = world.table.copies;
            return;
        }
        let before = world.table.copies;
        for node in 0..TWO {
            world.table.copies[node] = takeover.copies[node] && (takeover.fenced[node] || !self.safeguards.fence);
        }
        world.table.epoch += 1;
        if world.table.copies != before {
            world.table.copies_epoch = world.table.epoch;
        }
        world.table.sequencer = 1;
        world.table.suspect = self.safeguards.suspect;
        world.proxies[1].lease = true;
        world.reload(1);
    }

    /// Tells whether the first proxy may give the slot away: all copies have done what it sent, and said so.
    fn may_hand_over(&self, world: &World) -> bool {
        let it = &world.proxies[0];
        let reads = self.ordered && world.readings.iter().any(|reading| reading.proxy == 0);
        let is_heard = |node: usize| !world.nodes[node].crashed && !world.nodes[node].fenced[0];
        let is_quiet = it.waiting.is_empty() && !reads && it.table.holders().all(is_heard);
        let is_sequencer = world.table.sequencer == 0 && it.table.sequencer == 0;
        is_sequencer && (is_quiet || !self.safeguards.drained) && !self.is_refused(world, it.table.epoch)
    }

    fn drop_copy(&self, world: &mut World, proxy: usize, node: usize) {
        if self.is_refused(world, world.proxies[proxy].table.epoch) {
            world.reload(proxy);
            return;
        }
        world.proxies[proxy].table.copies[node] = false;
        world.table.copies = world.proxies[proxy].table.copies;
        world.table.epoch += 1;
        world.table.copies_epoch = world.table.epoch;
        world.proxies[proxy].table.epoch = world.table.epoch;
        world.proxies[proxy].table.copies_epoch = world.table.epoch;
    }

    fn trust(&self, world: &mut World, proxy: usize) {
        if !self.is_refused(world, world.proxies[proxy].table.epoch) {
            world.table.suspect = false;
            world.table.epoch += 1;
        }
        world.proxies[proxy].waiting.clear();
        world.reload(proxy);
    }

    /// Tells whether a read in order may be answered: when the writes that it may have seen are acknowledged. Nobody
    /// but the sequencer knows that.
    fn may_tell(&self, world: &World, reading: &Reading) -> bool {
        let proxy = &world.proxies[reading.proxy];
        let Some(answer) = &reading.answer else { return false };
        let is_settled = || proxy.waiting.iter().all(|waiting| !answer.waits_for.contains(&waiting.sent));
        !self.ordered || !self.safeguards.held_reads || (proxy.table.sequencer == reading.proxy && is_settled())
    }

    fn answer_read(&self, world: &mut World, at: usize) {
        let reading = &mut world.readings[at];
        let list = world.nodes[reading.node].list.clone();
        let waits_for = world.proxies[reading.proxy].waiting.iter().map(|waiting| waiting.sent.clone()).collect();
        reading.answer = Some(Answer { list, waits_for });
    }

    fn tell_read(&self, world: &mut World, at: usize) {
        let reading = world.readings.remove(at);
        let Some(Answer { list, .. }) = reading.answer else { return };
        world.read_too_old |= reading.acknowledged.iter().any(|number| !list.contains(number));
        if self.ordered {
            world.history.on_return(reading.number, Returned::List(list)).expect("it was asked for");
        }
    }
}

impl Model for SlotModel {
    type State = World;
    type Action = Action;

    fn init_states(&self) -> Vec<World> {
        let mut world = World::new();
        world.proxies[1].lease = !self.ordered;
        vec![world]
    }

    fn actions(&self, world: &World, actions: &mut Vec<Action>) {
        for (number, proxy) in world.proxies.iter().enumerate() {
            if world.writes < self.writes && self.may_write(world, number) {
                actions.push(Action::Write(number));
            }
            for (node, it) in world.nodes.iter().enumerate() {
                let unread = it.unread[number].len();
                let readable = if self.safeguards.order { unread.min(1) } else { unread };
                actions.extend((0..readable).map(|at| Action::Deliver(number, node, at)));
                let others = proxy.table.holders().any(|other| other != node);
                if !proxy.waiting.is_empty() && proxy.table.copies[node] && others {
                    actions.push(Action::DropCopy(number, node));
                }
                if world.reads < self.reads && self.may_read(world, number, node) {
                    actions.push(Action::Read(number, node));
                }
            }
            if self.may_acknowledge(world, number) {
                actions.push(Action::Acknowledge(number));
            }
            // Reads in order are the sequencer's alone: the other proxy has nothing to do before it takes over.
            let is_idle = number == 1 && self.ordered && world.table.sequencer == 0;
            if proxy.lease && !is_idle {
                actions.push(Action::LeaseEnds(number));
            }
            if (!proxy.lease || proxy.table.epoch != world.table.epoch) && !is_idle {
                actions.push(Action::Renew(number));
            }
            if proxy.table.suspect && proxy.table.sequencer == number {
                let first = proxy.table.holders().next().expect("the last copy is never taken away");
                match proxy.waiting.first() {
                    None if !world.nodes[first].crashed => actions.push(Action::Compare),
                    Some(sent) if proxy.table.holders().all(|node| sent.done[node]) => actions.push(Action::Trust),
                    _ => (),
                }
            }
        }
        for (at, reading) in world.readings.iter().enumerate() {
            let node = &world.nodes[reading.node];
            if reading.answer.is_none() && !node.crashed && !node.fenced[reading.proxy] {
                actions.push(Action::AnswerRead(at));
            }
            if self.may_tell(world, reading) {
                actions.push(Action::TellRead(at));
            }
        }
        if self.crash && world.nodes.iter().all(|node| !node.crashed) {
            actions.extend((0..TWO).map(Action::Crash));
        }
        if self.may_hand_over(world) {
            actions.push(Action::HandOver);
        }
        self.takeover_actions(world, actions);
    }

    fn next_state(&self, world: &World, action: Action) -> Option<World> {
        let mut world = world.clone();
        match action {
            Action::Write(proxy) => {
                world.writes += 1;
                let number = world.writes;
                world.history.on_invoke(number, Operation::Append(number)).expect("it is a client of its own");
                world.send(proxy, &Sent::Append(number), None);
            }
            Action::Deliver(proxy, node, at) => world.deliver(proxy, node, at),
            Action::Acknowledge(proxy) => {
                if let Sent::Append(number) = world.proxies[proxy].waiting.remove(0).sent {
                    world.acknowledged.push(number);
                    world.history.on_return(number, Returned::Acknowledged).expect("it was asked for");
                }
            }
            Action::DropCopy(proxy, node) => self.drop_copy(&mut world, proxy, node),
            Action::Read(proxy, node) => {
                world.reads += 1;
                let number = u8::MAX - world.reads;
                if self.ordered {
                    world.history.on_invoke(number, Operation::Read).expect("it is a client of its own");
                }
                world.readings.push(Reading {
                    number,
                    proxy,
                    node,
                    acknowledged: world.acknowledged.clone(),
                    answer: None,
                });
            }
            Action::AnswerRead(at) => self.answer_read(&mut world, at),
            Action::TellRead(at) => self.tell_read(&mut world, at),
            Action::LeaseEnds(proxy) => world.proxies[proxy].lease = false,
            Action::Renew(proxy) => {
                world.reload(proxy);
                world.proxies[proxy].lease = true;
            }
            Action::Crash(node) => {
                let it = &mut world.nodes[node];
                it.crashed = true;
                it.list.clear();
                it.unread = Default::default();
            }
            Action::BeginTakeover => {
                let (epoch, copies) = (world.table.epoch, world.table.copies);
                world.takeover = Some(Takeover { epoch, copies, fenced: [false; TWO] });
            }
            Action::Fence(node) => {
                world.nodes[node].fenced[0] = true;
                world.nodes[node].unread[0].clear();
                world.takeover.as_mut()?.fenced[node] = true;
            }
            Action::RecordTakeover => self.record_takeover(&mut world),
            Action::Compare => {
                let first = world.proxies[1].table.holders().next()?;
                let list = world.nodes[first].list.clone();
                world.send(1, &Sent::Restore(list), Some(first));
                // The first copy may leave before the other has taken its value, which is then still waited for.
                world.proxies[1].waiting[0].done[first] = true;
            }
            Action::Trust => self.trust(&mut world, 1),
            Action::HandOver => {
                world.table.epoch += 1;
                world.table.sequencer = 1;
                world.reload(0);
            }
        }
        Some(world)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        vec![
            Property::always("S1", |_, world: &World| {
                let holders = world.table.holders().map(|node| &world.nodes[node]).filter(|node| !node.crashed);
                holders.into_iter().all(|node| world.acknowledged.iter().all(|number| node.list.contains(number)))
            }),
            Property::always("S2", |_, world: &World| {
                let sequencer = &world.proxies[world.table.sequencer];
                let is_quiet = sequencer.waiting.is_empty() && sequencer.table == world.table && !world.table.suspect;
                let mut lists = world.table.holders().map(|node| &world.nodes[node]).filter(|node| !node.crashed);
                let first = lists.next();
                !is_quiet || lists.all(|node| Some(&node.list) == first.map(|first| &first.list))
            }),
            Property::always("S3", |_, world: &World| world.history.is_consistent()),
            Property::always("S4", |_, world: &World| !world.read_too_old),
            Property::always("S5", |_, world: &World| !world.did_too_late),
            // These must be possible, or the rest says nothing.
            Property::sometimes("a write is done after the takeover", |model, world: &World| {
                world.takeover.is_some() && model.all_written_by_the_second(world)
            }),
            Property::sometimes("a write is done after the slot was given away", |model, world: &World| {
                world.takeover.is_none() && model.all_written_by_the_second(world)
            }),
            Property::sometimes("a write is acknowledged by one copy alone", |_, world: &World| {
                world.nodes.iter().any(|node| !world.acknowledged.is_empty() && node.list.is_empty())
            }),
        ]
    }
}
