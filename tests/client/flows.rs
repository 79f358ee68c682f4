//! Flows of a program: everything by plain commands, over a cluster or a list of servers that know nothing of rmr.

use rmr::flow::{BatchStep, Flow, Records};
use rmr::reduce::Builtin;
use rmr::topology::BoxFuture;
use rmr::{Address, Command, Engine, Error, Reply, StaticList};

use crate::common::{Cluster, Server};

/// Forty strings of one to four letters, and a hash.
async fn fill(engine: &Engine) {
    let text = |number: usize| Command::new("SET").key(format!("text:{number}")).arg("x".repeat(number % 4 + 1));
    let hash = Command::new("HSET").key("hash:1").arg("price").arg("7");
    engine.map((0..40).map(text).chain([hash])).await.expect("all keys are written");
}

/// Keeps the records whose text has as many letters as its arguments say.
struct OfLength;

impl BatchStep for OfLength {
    fn name(&self) -> &str {
        "OF-LENGTH"
    }

    fn run<'a>(&'a self, arguments: &'a [u8], records: Records) -> BoxFuture<'a, Result<Records, Error>> {
        Box::pin(async move {
            let length = std::str::from_utf8(arguments).ok().and_then(|text| text.parse::<usize>().ok());
            let length = length.ok_or_else(|| Error::Invalid("the length is no number".into()))?;
            let mut kept = Records::new();
            for (key, reply) in records.replies() {
                let reply = reply?;
                if reply.bytes().is_some_and(|text| text.len() == length) {
                    kept.push_reply(key, &reply);
                }
            }
            Ok(kept)
        })
    }
}

fn length() -> Command {
    Command::new("STRLEN").read_only(true)
}

fn get() -> Command {
    Command::new("GET").read_only(true)
}

async fn count(flow: Flow, engine: &Engine) -> i64 {
    let count = flow.reduce(Builtin::Count).run(engine).await;
    count.unwrap_or_else(|error| panic!("{error}")).integer().expect("a number")
}

/// Checks a few flows of all kinds: in a cluster without rmr each reads 16,384 slots.
async fn check_some(engine: &Engine) {
    assert_eq!(count(Flow::keys("text:*"), engine).await, 40);
    let price = Command::new("HGET").key("{}").arg("price").read_only(true);
    let prices = Flow::keys("*").key_type("hash").command(price).collect().run(engine).await.unwrap();
    let prices: Vec<_> = prices.replies().map(|(key, reply)| (key.to_vec(), reply.unwrap())).collect();
    assert_eq!(prices, [(b"hash:1".to_vec(), Reply::from("7"))]);
    let hashes = Flow::keys("hash:*").with_values().collect().run(engine).await.unwrap();
    let hashes: Vec<_> = hashes.replies().map(|(_, reply)| reply.unwrap()).collect();
    assert_eq!(hashes, [Reply::Map(vec![(Reply::from("price"), Reply::from("7"))])]);
    let letters = Flow::keys("text:*").with_values().reduce(Builtin::Group).run(engine).await.unwrap();
    let groups = ["x", "xx", "xxx", "xxxx"].map(|text| (Reply::from(text), Reply::Integer(10)));
    assert_eq!(letters, Reply::Map(groups.to_vec()));

    let partial = Flow::keys("*").command(get()).step_with(OfLength, "3").partial(true).reduce(Builtin::Count);
    let (count, failures) = partial.run_beside_failures(engine).await.unwrap();
    assert_eq!((count, failures.count()), (Reply::Integer(10), 1));
    assert_eq!(failures.keys("WRONGTYPE"), [b"hash:1"]);
    assert_eq!(failures.kinds().map(|(kind, count, _)| (kind, count)).collect::<Vec<_>>(), [("WRONGTYPE", 1)]);
}

async fn check_all(engine: &Engine) {
    check_some(engine).await;
    assert_eq!(count(Flow::keys("*"), engine).await, 41);
    assert_eq!(count(Flow::keys("none:*"), engine).await, 0);
    let sum = Flow::keys("text:*").command(length()).reduce(Builtin::Sum).run(&engine.request()).await;
    assert_eq!(sum.unwrap(), Reply::Integer(100));

    let some = Flow::keys("text:*").limit(7).collect().run(engine).await.unwrap();
    assert!(some.len() == 7 && some.keys().all(|key| key.starts_with(b"text:")));
    let request = engine.request().begin();
    let three = Flow::keys("text:*").command(get()).step_with(OfLength, "3").reduce(Builtin::Count).run(&request).await;
    assert_eq!(three.unwrap(), Reply::Integer(10));
    let wrong = Flow::keys("text:*").command(get()).step(OfLength).collect().run(engine).await.unwrap_err();
    assert!(wrong.to_string().contains("the length is no number"), "{wrong}");
    let stopped = Flow::keys("*").command(get()).reduce(Builtin::Count).run(engine).await.unwrap_err();
    assert!(stopped.to_string().contains("WRONGTYPE") && stopped.to_string().contains("hash:1"), "{stopped}");

    let named = Flow::names(["text:1", "text:2", "none"]).command(length()).reduce(Builtin::Sum).run(engine).await;
    assert_eq!(named.unwrap(), Reply::Integer(5));
    let removed = Flow::keys("text:1*").command(Command::new("DEL")).reduce(Builtin::Sum).run(engine).await;
    assert_eq!(removed.unwrap(), Reply::Integer(11));
    assert_eq!(count(Flow::keys("text:*"), engine).await, 29);
}

#[tokio::test]
async fn over_a_cluster() {
    let cluster = Cluster::builder().module(false).start();
    let seeds = cluster.nodes().iter().map(|node| Address::new("127.0.0.1", node.port())).collect();
    let engine = Engine::builder().cluster(seeds).build();
    fill(&engine).await;
    check_some(&engine).await;
}

#[tokio::test]
async fn over_servers_that_know_nothing_of_each_other() {
    let servers: Vec<Server> = (0..3).map(|_| Server::builder().module(false).start()).collect();
    let list = servers.iter().map(|server| server.address().to_string()).collect::<Vec<_>>().join(" ");
    let engine = Engine::builder().provider(StaticList::parse(&list).expect("a list")).build();
    fill(&engine).await;
    check_all(&engine).await;
}
