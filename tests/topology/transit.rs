//! The cluster is in transit: slots have just lost their owner, a redirect names a node that is not known yet. A request
//! waits that out, for a second at most and within its time; what lasts longer is an error at once. Seen by a program that
//! uses the crate, with nodes and descriptions of the cluster such as tests cannot make real servers give on time.

use std::collections::VecDeque;
use std::future::ready;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use crate::common::FakeNode;
use rmr::engine::RequestBuilder;
use rmr::topology::{BoxFuture, Node, NodeProvider, Shard, SlotRange, Topology};
use rmr::{Address, Command, Engine, Error, Reply};

/// As long as a request waits for a cluster that does not agree.
const TRANSIT: Duration = Duration::from_secs(1);

/// The time that an answer may take that waits for nothing.
const PROMPT: Duration = Duration::from_millis(500);

/// The slot of the key `foo`.
const FOO: u16 = 12182;

/// Gives one picture after the other, and the last one for ever.
#[derive(Clone)]
struct Pictures(Arc<Mutex<VecDeque<Topology>>>);

impl Pictures {
    fn of(picture: Topology) -> Self {
        Self(Arc::new(Mutex::new([picture].into())))
    }

    /// From now on these.
    fn show(&self, pictures: impl IntoIterator<Item = Topology>) {
        *self.0.lock().unwrap() = pictures.into_iter().collect();
    }
}

impl NodeProvider for Pictures {
    fn topology(&self) -> BoxFuture<'_, Result<Topology, Error>> {
        let mut pictures = self.0.lock().unwrap();
        let next = if pictures.len() > 1 { pictures.pop_front() } else { pictures.front().cloned() };
        Box::pin(ready(next.ok_or_else(|| Error::Topology("there is no picture".into()))))
    }
}

fn picture(shards: &[(&FakeNode, &[SlotRange])]) -> Topology {
    let shard = |(node, slots): &(&FakeNode, &[SlotRange])| {
        let primary = Node::new(Address::parse(&node.address()).unwrap());
        Shard::new(Arc::new(primary)).slots(slots.iter().copied())
    };
    // The nodes of these tests do not say which slots they have.
    Topology::with_slots("test", shards.iter().map(shard).collect()).with_fixed_slots()
}

fn whole(node: &FakeNode) -> Topology {
    picture(&[(node, &[(0, 16383)])])
}

fn with_hole(node: &FakeNode) -> Topology {
    picture(&[(node, &[(0, FOO - 1), (FOO + 1, 16383)])])
}

/// Returns an engine that has seen the first picture.
async fn engine(pictures: &Pictures) -> Engine {
    let engine = Engine::builder().provider(pictures.clone()).build();
    engine.refresh().await.unwrap();
    engine
}

fn get() -> Command {
    Command::new("GET").key("foo").read_only(true)
}

/// A map and a fan-out at once, and what they took.
async fn both(request: RequestBuilder) -> ([Result<Vec<Reply>, Error>; 2], Duration) {
    let asked = Instant::now();
    let (map, fan_out) = tokio::join!(request.map([get()]), request.fan_out(Command::new("DBSIZE")));
    ([map, fan_out].map(|replies| replies.and_then(rmr::Replies::into_all)), asked.elapsed())
}

fn assert_nobody_has_foo(answers: [Result<Vec<Reply>, Error>; 2]) {
    let [map, fan_out] = answers.map(|answer| answer.unwrap_err().to_string());
    assert_eq!(map, format!("slot {FOO} has no owner"));
    assert_eq!(fan_out, format!("1 slots have no owner ({FOO})"));
}

#[tokio::test]
async fn slots_that_have_just_lost_their_owner_are_waited_for() {
    let node = FakeNode::answering(":7\r\n");
    let pictures = Pictures::of(whole(&node));
    let engine = engine(&pictures).await;
    let hole = with_hole(&node);
    pictures.show([hole.clone(), hole.clone(), hole.clone(), hole.clone(), whole(&node)]);
    engine.refresh().await.unwrap();
    assert_eq!(engine.topology().unwrap().uncovered(), [(FOO, FOO)]);
    let ([map, fan_out], _) = both(engine.request()).await;
    assert_eq!(map.unwrap(), [Reply::from(7)]);
    assert_eq!(fan_out.unwrap(), [Reply::from(7)]);
}

#[tokio::test]
async fn slots_that_stay_without_an_owner_are_an_error_after_a_second_and_then_at_once() {
    let node = FakeNode::answering(":7\r\n");
    let pictures = Pictures::of(whole(&node));
    let engine = engine(&pictures).await;
    pictures.show([with_hole(&node)]);
    engine.refresh().await.unwrap();
    let (answers, took) = both(engine.request().timeout(PROMPT / 5)).await;
    assert_nobody_has_foo(answers);
    assert!(took < PROMPT, "the request had {:?}, and took {took:?}", PROMPT / 5);
    let (answers, _) = both(engine.request()).await;
    assert_nobody_has_foo(answers);
    let (answers, took) = both(engine.request()).await;
    assert_nobody_has_foo(answers);
    assert!(took < PROMPT, "{took:?}");
}

#[tokio::test]
async fn slots_that_never_had_an_owner_are_an_error_at_once() {
    let node = FakeNode::answering(":7\r\n");
    let engine = engine(&Pictures::of(with_hole(&node))).await;
    let (answers, took) = both(engine.request()).await;
    assert_nobody_has_foo(answers);
    assert!(took < PROMPT, "{took:?}");
}

#[tokio::test]
async fn a_node_that_a_redirect_names_is_waited_for_until_it_is_known() {
    let new = FakeNode::answering(":7\r\n");
    for redirect in ["MOVED", "ASK"] {
        let old = FakeNode::answering(format!("-{redirect} {FOO} {}\r\n", new.address()));
        let pictures = Pictures::of(whole(&old));
        let engine = engine(&pictures).await;
        let known = picture(&[(&old, &[(0, 16383)]), (&new, &[])]);
        pictures.show([whole(&old), whole(&old), whole(&old), whole(&old), known]);
        let reply = engine.map([get()]).await.and_then(rmr::Replies::into_all);
        assert_eq!(reply.unwrap(), [Reply::from(7)], "{redirect}");
    }
}

#[tokio::test]
async fn a_node_that_nobody_ever_knows_is_not_waited_for_longer_than_a_second() {
    let old = FakeNode::answering(format!("-MOVED {FOO} 127.0.0.1:1\r\n"));
    let engine = engine(&Pictures::of(whole(&old))).await;
    let asked = Instant::now();
    let error = engine.map([get()]).await.unwrap_err().to_string();
    assert_eq!(error, format!("{}: MOVED {FOO} 127.0.0.1:1 (key 'foo')", old.address()));
    assert!(asked.elapsed() < TRANSIT + PROMPT, "{:?}", asked.elapsed());
}
