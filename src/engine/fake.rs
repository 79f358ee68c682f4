//! A cluster without sockets: links that say what a test wrote down, and a provider that shows the topologies of a list.
//!
//! With tokio's paused clock the rules of the engine are tested in milliseconds, and a deadline of an hour passes at once.

use std::collections::{BTreeMap, VecDeque};
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::time::Instant;

use super::limits::Limits;
use super::link_pool::LinkPool;
use super::refresh::{Refresher, follow};
use super::state::EngineState;
use super::stats::Stats;
use super::{Engine, Request};
use crate::command::Command;
use crate::error::Error;
use crate::link::{Batch, Delivery, Failure, Link, LinkStats, Mode, Protocol};
use crate::reply::Reply;
use crate::topology::{Address, BoxFuture, Endpoint, Node, NodeProvider, Role, Shard, SlotRange, Topology};

/// A key of slot 5061, which is node 1's in [`halves`].
pub(super) const BAR: &str = "bar";
/// A key of slot 12182, which is node 2's in [`halves`].
pub(super) const FOO: &str = "foo";

/// What a node does with one batch.
type FakeTurn = Box<dyn FnOnce(Batch) -> BoxFuture<'static, Delivery> + Send>;

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

fn replies(batch: &Batch, reply: impl Fn() -> Reply) -> Delivery {
    Delivery { replies: batch.picks.iter().map(|_| reply()).collect(), ..Delivery::default() }
}

/// One batch as a node got it.
#[derive(Debug, Clone)]
pub(super) struct Sent {
    pub(super) at: Instant,
    pub(super) mode: Mode,
    pub(super) commands: usize,
    pub(super) reduces: bool,
    pub(super) by_own_connection: bool,
}

/// A node that plays its turns in order, and then answers each command with its own number.
#[derive(Default)]
pub(super) struct FakeNode {
    number: i64,
    turns: Mutex<VecDeque<FakeTurn>>,
    sent: Mutex<Vec<Sent>>,
    can_reduce: bool,
    /// How many deliveries were dropped before they were done.
    pub(super) dropped: Arc<AtomicUsize>,
    /// How often the engine asked for what had come, and said that it had waited in vain.
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

    pub(super) fn sent(&self) -> Vec<Sent> {
        self.sent.lock().unwrap().clone()
    }

    /// The milliseconds since `start` at which batches came.
    pub(super) fn times(&self, start: Instant) -> Vec<u64> {
        self.sent().iter().map(|sent| (sent.at - start).as_millis() as u64).collect()
    }

    fn take(&self, batch: Batch, by_own_connection: bool) -> BoxFuture<'static, Delivery> {
        let (at, mode, commands) = (Instant::now(), batch.mode, batch.picks.len());
        let reduces = batch.reduction.is_some();
        self.sent.lock().unwrap().push(Sent { at, mode, commands, reduces, by_own_connection });
        let turn = self.turns.lock().unwrap().pop_front().unwrap_or_else(|| ok(self.number));
        let guard = DropGuard { dropped: self.dropped.clone(), is_done: false };
        let delivery = turn(batch);
        Box::pin(async move {
            let delivery = delivery.await;
            guard.done();
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
    /// An engine that sees these topologies, the first one when it is first needed.
    pub(super) fn of(pictures: impl IntoIterator<Item = Topology>) -> Self {
        Self::built(pictures, false)
    }

    /// The same, with nodes that are asked to reduce their shares.
    pub(super) fn that_reduces(pictures: impl IntoIterator<Item = Topology>) -> Self {
        Self::built(pictures, true)
    }

    fn built(pictures: impl IntoIterator<Item = Topology>, can_reduce: bool) -> Self {
        let provider = Arc::new(FakeProvider::default());
        provider.pictures.lock().unwrap().extend(pictures.into_iter().map(Ok));
        let pool = Arc::new(FakePool { can_reduce, ..FakePool::default() });
        let local = Arc::new(FakeNode { number: 100, can_reduce, ..FakeNode::default() });
        let local_link = Arc::new(FakeLink { node: local.clone(), is_dedicated: false });
        let stats = Arc::new(Stats::default());
        let refresher = Refresher::new(Some(Arc::new(provider.clone())), pool.clone(), Some(local_link), stats.clone());
        let state = EngineState { refresher: Arc::new(refresher), shard_func: None, limits: Limits::default(), stats };
        Self { engine: Engine { state: Arc::new(state) }, provider, pool, local }
    }

    /// Follows hints in the background, as an engine does that was built by its builder.
    pub(super) fn follows(&self) {
        tokio::spawn(follow(Arc::downgrade(&self.engine.state.refresher)));
    }

    /// The node of this number, which is its port.
    pub(super) fn node(&self, port: u16) -> Arc<FakeNode> {
        self.pool.link(port).node.clone()
    }

    /// What serves the node that the process is, in process.
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

    /// A request with a timeout of 10 s that has just begun.
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

/// A topology of primaries, by port, and their slots.
pub(super) fn cluster(shards: &[(u16, SlotRange)]) -> Topology {
    let shard = |&(port, slots)| Shard { primary: node(port, Role::Primary), replicas: Vec::new(), slots: vec![slots] };
    Topology::with_slots("fake", shards.iter().map(shard).collect())
}

/// Node 1 has the lower half of the slots, node 2 the upper one.
pub(super) fn halves() -> Topology {
    cluster(&[(1, (0, 8191)), (2, (8192, 16383))])
}

pub(super) fn get(key: &str) -> Command {
    Command::new("GET").key(key).read_only(true)
}

pub(super) fn set(key: &str) -> Command {
    Command::new("SET").key(key).arg("x")
}

/// The milliseconds that have passed since.
pub(super) fn ms(start: Instant) -> u64 {
    start.elapsed().as_millis() as u64
}
