//! A cluster without sockets: links that say what a test wrote down, and a provider that shows the topologies of a list.
//!
//! With tokio's paused clock the rules of the engine are tested in milliseconds, and a deadline of an hour passes at once.

use std::collections::{BTreeMap, VecDeque};
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use tokio::time::Instant;

use super::limits::Limits;
use super::link_pool::LinkPool;
use super::refresh::{Refresher, follow};
use super::state::EngineState;
use super::stats::Stats;
use super::{Engine, Request};
use crate::command::Command;
use crate::describe::Description;
use crate::error::Error;
use crate::link::{Batch, Delivery, Failure, Link, LinkStats, Mode, Protocol, Session, SlotsAround};
use crate::reply::Reply;
use crate::topology::{
    Address, BoxFuture, Endpoint, MovingSlot, Node, NodeProvider, OwnSlots, Role, Shard, SlotRange, Topology,
};

/// A key of slot 5061, which is node 1's in [`halves`].
pub(super) const BAR: &str = "bar";
/// A key of slot 12182, which is node 2's in [`halves`].
pub(super) const FOO: &str = "foo";

/// Makes the delivery of a node for one batch.
pub(super) type FakeTurn = Box<dyn FnOnce(Batch) -> BoxFuture<'static, Delivery> + Send>;

fn at_once(say: impl FnOnce(Batch) -> Delivery + Send + 'static) -> FakeTurn {
    Box::new(move |batch| Box::pin(async move { say(batch) }))
}

/// Answers each command with this integer.
pub(super) fn ok(number: i64) -> FakeTurn {
    at_once(move |batch| replies(&batch, || Reply::Integer(number)))
}

/// Answers each command with this error.
pub(super) fn error(message: impl Into<String>) -> FakeTurn {
    let message = message.into();
    at_once(move |batch| replies(&batch, || Reply::Error(message.clone().into())))
}

/// Sends another node to the slot of a command for [`BAR`].
pub(super) fn moved(to: u16) -> FakeTurn {
    error(format!("MOVED 5061 10.0.0.1:{to}"))
}

/// Delivers the first replies and then this failure.
pub(super) fn fails(replies: Vec<Reply>, failure: Failure) -> FakeTurn {
    at_once(move |_| Delivery { replies, failure: Some(failure), ..Delivery::default() })
}

pub(super) fn lost() -> FakeTurn {
    fails(Vec::new(), Failure::Lost("cut".into()))
}

pub(super) fn unreachable() -> FakeTurn {
    fails(Vec::new(), Failure::Unreachable("nobody is there".into()))
}

/// Delivers whatever a test makes of the batch.
pub(super) fn delivers(make: impl FnOnce(Batch) -> Delivery + Send + 'static) -> FakeTurn {
    at_once(make)
}

/// Never answers.
pub(super) fn silent() -> FakeTurn {
    Box::new(|batch| {
        Box::pin(async move {
            let _held = batch;
            std::future::pending().await
        })
    })
}

/// Takes its time first.
pub(super) fn after(time: Duration, turn: FakeTurn) -> FakeTurn {
    Box::new(move |batch| {
        Box::pin(async move {
            tokio::time::sleep(time).await;
            turn(batch).await
        })
    })
}

/// Says of the node's slots that these held before the answers and those after, if that is asked for.
#[allow(dead_code, reason = "for tests of what fan-outs do with it")]
pub(super) fn around(before: &Arc<OwnSlots>, after: &Arc<OwnSlots>, turn: FakeTurn) -> FakeTurn {
    let around = SlotsAround::new(before.clone(), after.clone());
    Box::new(move |batch| {
        let asks_own_slots = batch.asks_own_slots;
        let delivery = turn(batch);
        Box::pin(async move {
            let own_slots = asks_own_slots.then_some(around);
            Delivery { own_slots, ..delivery.await }
        })
    })
}

/// Does not say which slots the node has, for this reason.
#[allow(dead_code, reason = "for tests of what fan-outs do with it")]
pub(super) fn slots_unknown(why: impl Into<String>, turn: FakeTurn) -> FakeTurn {
    let why = why.into();
    Box::new(move |batch| {
        let delivery = turn(batch);
        Box::pin(async move { Delivery { failure: Some(Failure::OwnSlotsUnknown(why)), ..delivery.await } })
    })
}

/// Makes the slots that the node of this port claims: a primary, in this epoch.
pub(super) fn own_slots(port: u16, epoch: u64, owned: &[SlotRange]) -> Arc<OwnSlots> {
    Arc::new(OwnSlots {
        id: format!("10.0.0.1:{port}"),
        is_primary: true,
        epoch,
        owned: owned.to_vec(),
        moving: Vec::new(),
    })
}

/// Makes the same claim while one of the slots leaves for another node, or comes from there.
#[allow(dead_code, reason = "for tests of what fan-outs do with it")]
pub(super) fn own_slots_moving(own: &Arc<OwnSlots>, slot: u16, leaves: bool, peer: u16) -> Arc<OwnSlots> {
    let mut own = OwnSlots::clone(own);
    own.moving.push(MovingSlot { slot, leaves, peer: format!("10.0.0.1:{peer}") });
    Arc::new(own)
}

fn replies(batch: &Batch, reply: impl Fn() -> Reply) -> Delivery {
    Delivery { replies: batch.picks.iter().map(|_| reply()).collect(), ..Delivery::default() }
}

/// A batch as a node got it.
#[derive(Debug, Clone)]
pub(super) struct Sent {
    pub(super) at: Instant,
    pub(super) mode: Mode,
    pub(super) commands: usize,
    pub(super) reduces: bool,
    #[allow(dead_code, reason = "for tests of what fan-outs do with it")]
    pub(super) asks_own_slots: bool,
    pub(super) by_own_connection: bool,
}

/// A node that plays its turns in order, and then answers each command with its own number.
#[derive(Default)]
pub(super) struct FakeNode {
    number: i64,
    turns: Mutex<VecDeque<FakeTurn>>,
    sent: Mutex<Vec<Sent>>,
    can_reduce: bool,
    /// The slots that the node claims, unless a turn says otherwise.
    own_slots: Mutex<Option<Arc<OwnSlots>>>,
    /// The refusals that the node would give to writes, one each time that it is asked.
    refusals: Mutex<VecDeque<&'static str>>,
    pub(super) asked_ahead: AtomicUsize,
    /// The number of deliveries that were dropped before they were done.
    pub(super) dropped: Arc<AtomicUsize>,
    /// Counts how often the engine looked for deliveries, and how often it said that it had waited in vain.
    pub(super) looked_at: AtomicUsize,
    pub(super) timeouts: AtomicUsize,
    /// Tells deliveries that wait for it that the engine has looked.
    look: Arc<tokio::sync::Notify>,
    stats: LinkStats,
}

impl FakeNode {
    /// Plays these turns next.
    pub(super) fn plays(&self, turns: impl IntoIterator<Item = FakeTurn>) {
        self.turns.lock().unwrap().extend(turns);
    }

    /// Plays the same turn from now on.
    pub(super) fn always(&self, turn: impl Fn() -> FakeTurn) {
        self.plays((0..10_000).map(|_| turn()));
    }

    /// Makes the node refuse writes with these words, the next times that it is asked.
    pub(super) fn would_refuse(&self, words: impl IntoIterator<Item = &'static str>) {
        self.refusals.lock().unwrap().extend(words);
    }

    /// Answers only when the engine looks for what has come.
    pub(super) fn answers_when_looked_at(&self) {
        let (look, number) = (self.look.clone(), self.number);
        self.plays([Box::new(move |batch: Batch| -> BoxFuture<'static, Delivery> {
            Box::pin(async move {
                look.notified().await;
                replies(&batch, || Reply::Integer(number))
            })
        }) as FakeTurn]);
    }

    /// Says this of its own slots from now on, unless a turn says otherwise. At first it has those of the first topology,
    /// in epoch 1.
    pub(super) fn owns(&self, own: &Arc<OwnSlots>) {
        *self.own_slots.lock().unwrap() = Some(own.clone());
    }

    pub(super) fn sent(&self) -> Vec<Sent> {
        self.sent.lock().unwrap().clone()
    }

    /// Returns the milliseconds since `start` at which batches came.
    pub(super) fn times(&self, start: Instant) -> Vec<u64> {
        self.sent().iter().map(|sent| (sent.at - start).as_millis() as u64).collect()
    }

    fn take(&self, batch: Batch, by_own_connection: bool) -> BoxFuture<'static, Delivery> {
        let (at, mode, commands) = (Instant::now(), batch.mode, batch.picks.len());
        let (reduces, asks_own_slots) = (batch.reduction.is_some(), batch.asks_own_slots);
        self.sent.lock().unwrap().push(Sent { at, mode, commands, reduces, asks_own_slots, by_own_connection });
        let turn = self.turns.lock().unwrap().pop_front().unwrap_or_else(|| ok(self.number));
        let guard = DropGuard { dropped: self.dropped.clone(), is_done: false };
        let delivery = turn(batch);
        let own = self.own_slots.lock().unwrap().clone().filter(|_| asks_own_slots);
        Box::pin(async move {
            let mut delivery = delivery.await;
            guard.done();
            if delivery.own_slots.is_none() && delivery.failure.is_none() {
                delivery.own_slots = own.map(|own| SlotsAround::new(own.clone(), own));
            }
            delivery
        })
    }
}

struct DropGuard {
    dropped: Arc<AtomicUsize>,
    is_done: bool,
}

impl DropGuard {
    fn done(mut self) {
        self.is_done = true;
    }
}

impl Drop for DropGuard {
    fn drop(&mut self) {
        self.dropped.fetch_add(usize::from(!self.is_done), Relaxed);
    }
}

/// A link to a fake node, which many may share.
struct FakeLink {
    node: Arc<FakeNode>,
    is_dedicated: bool,
}

impl Link for FakeLink {
    fn send(&self, batch: Batch) -> BoxFuture<'static, Delivery> {
        self.node.take(batch, self.is_dedicated)
    }

    fn refusal(&self, _batch: Batch) -> BoxFuture<'static, Option<Bytes>> {
        self.node.asked_ahead.fetch_add(1, Relaxed);
        let words = self.node.refusals.lock().unwrap().pop_front();
        Box::pin(std::future::ready(words.map(Bytes::from)))
    }

    fn reduces(&self) -> bool {
        self.node.can_reduce
    }

    fn stats(&self) -> &LinkStats {
        &self.node.stats
    }

    fn drain_ready(&self, _protocol: Protocol) {
        self.node.looked_at.fetch_add(1, Relaxed);
        self.node.look.notify_one();
    }

    fn on_timeout(&self, _protocol: Protocol) {
        self.node.timeouts.fetch_add(1, Relaxed);
    }
}

/// The links to fake nodes, by port.
#[derive(Default)]
struct FakePool {
    links: Mutex<BTreeMap<u16, Arc<FakeLink>>>,
    can_reduce: bool,
}

impl FakePool {
    fn link(&self, port: u16) -> Arc<FakeLink> {
        let mut links = self.links.lock().unwrap();
        let new = || {
            let node = FakeNode { number: i64::from(port), can_reduce: self.can_reduce, ..FakeNode::default() };
            Arc::new(FakeLink { node: Arc::new(node), is_dedicated: false })
        };
        links.entry(port).or_insert_with(new).clone()
    }
}

impl LinkPool for FakePool {
    fn shared(&self, endpoint: Endpoint) -> Arc<dyn Link> {
        self.link(endpoint.address.port().unwrap())
    }

    fn dedicated(self: Arc<Self>, endpoint: Endpoint) -> Arc<dyn Link> {
        let node = self.link(endpoint.address.port().unwrap()).node.clone();
        Arc::new(FakeLink { node, is_dedicated: true })
    }

    fn session(
        self: Arc<Self>,
        _endpoint: Endpoint,
        _protocol: Protocol,
    ) -> BoxFuture<'static, Result<Session, Failure>> {
        Box::pin(std::future::ready(Err(Failure::Unreachable("it is a fake".into()))))
    }

    fn inner_command(&self) -> Option<&str> {
        None
    }

    fn retain(&self, _is_known: &dyn Fn(&Endpoint) -> bool) {}
}

/// Shows one topology after the other, and the last one from then on.
#[derive(Default)]
pub(super) struct FakeProvider {
    pictures: Mutex<VecDeque<Result<Topology, Error>>>,
    pub(super) fetches: AtomicUsize,
    takes: Mutex<Duration>,
    panics: std::sync::atomic::AtomicBool,
}

impl NodeProvider for Arc<FakeProvider> {
    fn topology(&self) -> BoxFuture<'_, Result<Topology, Error>> {
        Box::pin(async {
            let is_first = self.fetches.fetch_add(1, Relaxed) == 0;
            assert!(!self.panics.load(Relaxed), "oh");
            // A look that ended in the moment in which it began would pass for one that began later.
            let shortest = Duration::from_millis(u64::from(!is_first));
            let takes = shortest.max(*self.takes.lock().unwrap());
            tokio::time::sleep(takes).await;
            let mut pictures = self.pictures.lock().unwrap();
            if pictures.len() > 1 { pictures.pop_front().unwrap() } else { pictures[0].clone() }
        })
    }
}

/// An engine over fake nodes.
pub(super) struct Fake {
    pub(super) engine: Engine,
    pub(super) provider: Arc<FakeProvider>,
    pool: Arc<FakePool>,
    local: Arc<FakeNode>,
}

impl Fake {
    /// Makes an engine that sees these topologies, the first one when it first needs one.
    pub(super) fn of(pictures: impl IntoIterator<Item = Topology>) -> Self {
        Self::built(pictures, false)
    }

    /// Makes such an engine, with nodes that are asked to reduce their shares.
    pub(super) fn that_reduces(pictures: impl IntoIterator<Item = Topology>) -> Self {
        Self::built(pictures, true)
    }

    fn built(pictures: impl IntoIterator<Item = Topology>, can_reduce: bool) -> Self {
        let provider = Arc::new(FakeProvider::default());
        provider.pictures.lock().unwrap().extend(pictures.into_iter().map(Ok));
        let first = provider.pictures.lock().unwrap().front().and_then(|picture| picture.clone().ok());
        let pool = Arc::new(FakePool { can_reduce, ..FakePool::default() });
        let local = Arc::new(FakeNode { number: 100, can_reduce, ..FakeNode::default() });
        let local_link = Arc::new(FakeLink { node: local.clone(), is_dedicated: false });
        let stats = Arc::new(Stats::default());
        let refresher = Refresher::new(Some(Arc::new(provider.clone())), pool.clone(), Some(local_link), stats.clone());
        let state = EngineState::new(refresher, None, Limits::default(), stats);
        describe(&state);
        let fake = Self { engine: Engine { state: Arc::new(state) }, provider, pool, local };
        first.iter().for_each(|first| fake.lets_own(first));
        fake
    }

    /// Has each node say that it has its slots of this topology.
    pub(super) fn lets_own(&self, topology: &Topology) {
        for shard in topology.shards().iter().filter(|_| topology.has_slots()) {
            let Some(port) = shard.primary.address.port() else { continue };
            let own = own_slots(port, 1, &shard.slots);
            self.node(port).owns(&own);
            if topology.is_local(&shard.primary) {
                self.local.owns(&own);
            }
        }
    }

    /// Follows hints in the background, as an engine does that was built by its builder.
    pub(super) fn follows(&self) {
        tokio::spawn(follow(Arc::downgrade(&self.engine.state.refresher)));
    }

    /// Returns the node of this number, which is its port.
    pub(super) fn node(&self, port: u16) -> Arc<FakeNode> {
        self.pool.link(port).node.clone()
    }

    /// Returns the node that this process is, which is served in process.
    pub(super) fn local(&self) -> &FakeNode {
        &self.local
    }

    /// Shows these topologies from now on.
    pub(super) fn shows(&self, pictures: impl IntoIterator<Item = Topology>) {
        let mut shown = self.provider.pictures.lock().unwrap();
        shown.clear();
        shown.extend(pictures.into_iter().map(Ok));
    }

    /// Lets each look at the topology take this long.
    pub(super) fn shows_after(&self, time: Duration) {
        *self.provider.takes.lock().unwrap() = time;
    }

    /// Lets each look at the topology panic.
    pub(super) fn panics(&self) {
        self.provider.panics.store(true, Relaxed);
    }

    /// Looks at the topology a moment later: the clock stands still, and a look of the same moment would do.
    pub(super) async fn refresh(&self) {
        tokio::time::advance(Duration::from_millis(1)).await;
        self.engine.refresh().await.unwrap();
        tokio::time::advance(Duration::from_millis(1)).await;
    }

    /// Begins a request with a timeout of 10 s.
    pub(super) fn request(&self) -> Request {
        self.engine.request().timeout(Duration::from_secs(10)).begin()
    }

    pub(super) fn fetches(&self) -> usize {
        self.provider.fetches.load(Relaxed)
    }
}

pub(super) fn node(port: u16, role: Role) -> Arc<Node> {
    Arc::new(Node { role, ..Node::new(Address::new("10.0.0.1", port)) })
}

/// Says of some commands what servers say of them; nodes are not asked.
fn describe(state: &EngineState) {
    let words = |words: &[&str]| words.iter().map(|word| (*word).to_owned()).collect();
    for (name, flags, category) in [
        ("DBSIZE", &["readonly"][..], "@keyspace"),
        ("KEYS", &["readonly"], "@keyspace"),
        ("EVAL_RO", &["readonly", "noscript"], "@scripting"),
        ("EVAL", &["noscript"], "@scripting"),
        ("FLUSHALL", &["write"], "@keyspace"),
        ("INFO", &[], "@dangerous"),
        ("GET", &["readonly"], "@read"),
        ("SET", &["write"], "@write"),
    ] {
        let (flags, categories) = (words(flags), words(&[category]));
        let description = Description { name: name.to_lowercase(), flags, categories, ..Description::default() };
        state.catalogue.keep(name.as_bytes(), Arc::new(description));
    }
}

/// Makes a topology of primaries, by port, and their slots.
pub(super) fn cluster(shards: &[(u16, SlotRange)]) -> Topology {
    let shard = |&(port, slots)| Shard { primary: node(port, Role::Primary), replicas: Vec::new(), slots: vec![slots] };
    Topology::with_slots("fake", shards.iter().map(shard).collect())
}

/// Makes a cluster in which node 1 has the lower half of the slots, node 2 the upper one.
pub(super) fn halves() -> Topology {
    cluster(&[(1, (0, 8191)), (2, (8192, 16383))])
}

pub(super) fn get(key: &str) -> Command {
    Command::new("GET").key(key).read_only(true)
}

pub(super) fn set(key: &str) -> Command {
    Command::new("SET").key(key).arg("x")
}

/// Returns the milliseconds that have passed since `start`.
pub(super) fn ms(start: Instant) -> u64 {
    start.elapsed().as_millis() as u64
}
