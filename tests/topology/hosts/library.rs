//! The same from Rust: a list that is a handle, the host of a key, connections that die while idle.

use std::time::Duration;

use crate::common::{Server, eventually, poll};
use rmr::engine::Targets;
use rmr::shard::{Crc32Partition, Ketama};
use rmr::topology::Host;
use rmr::{Command, Engine, StaticList};

fn plain() -> Server {
    Server::builder().module(false).config("unixsocket", "redis.sock").start()
}

fn host(server: &Server) -> Host {
    Host::new("127.0.0.1", server.port())
}

fn keys(count: usize) -> Vec<String> {
    (0..count).map(|number| format!("key:{number}")).collect()
}

async fn set_all(engine: &Engine, count: usize) {
    let sets = keys(count).into_iter().map(|key| Command::new("SET").key(key).arg("v"));
    assert_eq!(engine.map(sets).await.unwrap().len(), count);
}

async fn found(engine: &Engine, count: usize) -> i64 {
    let exists = keys(count).into_iter().map(|key| Command::new("EXISTS").key(key));
    engine.map(exists).await.unwrap().integers().sum()
}

async fn sizes(engine: &Engine) -> Vec<i64> {
    engine.fan_out(Command::new("DBSIZE")).await.unwrap().integers().collect()
}

#[tokio::test]
async fn hosts_are_said_by_a_builder() {
    let server = plain();
    server.run::<()>(&["CONFIG", "SET", "requirepass", "secret"]);
    let socket = server.dir().join("redis.sock").display().to_string();
    let with_password = |host: Host| host.password("secret");
    let hosts = [host(&server), host(&server).db(3), Host::unix(socket).db(9).user("default")].map(with_password);
    let engine = Engine::builder().provider(StaticList::new(hosts).unwrap()).build();
    set_all(&engine, 60).await;
    assert_eq!(found(&engine, 60).await, 60);
    let sizes = sizes(&engine).await;
    assert!(sizes.len() == 3 && sizes.iter().all(|&size| size > 5), "{sizes:?}");
}

/// As rb's own suite does it: eight databases on each of four servers, by their sockets.
#[tokio::test]
async fn ten_thousand_keys_on_32_hosts_are_all_found_again() {
    let servers: Vec<Server> = (0..4).map(|_| plain()).collect();
    let socket = |server: &Server| server.dir().join("redis.sock").display().to_string();
    let hosts = servers.iter().flat_map(|server| (0..8).map(move |db| Host::unix(socket(server)).db(db)));
    let engine = Engine::builder().provider(StaticList::new(hosts).unwrap()).build();
    let numbers = 0..10_000;
    let sets = numbers.clone().map(|number| Command::new("SET").key(number).arg(number));
    assert_eq!(engine.map(sets).await.unwrap().len(), 10_000);
    let gets = numbers.clone().map(|number| Command::new("GET").key(number));
    let replies = engine.map(gets).await.unwrap();
    let in_order =
        replies.ok().zip(numbers).all(|(reply, number)| reply.bytes() == Some(number.to_string().as_bytes()));
    assert!(in_order);
    let sizes = sizes(&engine).await;
    assert!(sizes.len() == 32 && sizes.iter().all(|&size| size > 200), "{sizes:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn hosts_come_and_go_through_a_handle() {
    let servers: Vec<Server> = (0..3).map(|_| plain()).collect();
    let list = StaticList::new([host(&servers[0]), host(&servers[1])]).unwrap();
    let engine = Engine::builder().provider(list.clone()).shard_func(Ketama::new()).build();
    set_all(&engine, 90).await;
    assert_eq!(list.add_host(host(&servers[2])).unwrap(), 2);
    engine.refresh().await.unwrap();
    assert_eq!(sizes(&engine).await.len(), 3);
    let kept = found(&engine, 90).await;
    assert!((35..85).contains(&kept), "a third of the keys is looked for elsewhere: {kept}");
    list.remove_host(2).unwrap();
    engine.refresh().await.unwrap();
    assert_eq!(found(&engine, 90).await, 90);
    // Nobody needs to ask for it.
    list.set_hosts([host(&servers[2])]).unwrap();
    eventually(Duration::from_secs(10), "the engine follows the list", || {
        engine.topology().is_some_and(|topology| topology.shards().len() == 1)
    });
    assert_eq!(sizes(&engine).await, [0]);
    let gone = || servers[0].reply("CLIENT LIST").matches("name=rmr").count() == 0;
    assert!(
        poll(Duration::from_secs(10), || gone().then_some(())).is_some(),
        "links to hosts that have gone are closed"
    );
}

#[tokio::test]
async fn the_host_of_a_key_can_be_asked() {
    let servers: Vec<Server> = (0..3).map(|_| plain()).collect();
    let list = StaticList::new(servers.iter().map(host)).unwrap();
    let engine = Engine::builder().provider(list).shard_func(Crc32Partition).build();
    // rb places foo on 1, bar on 2 and baz on 0.
    let targets = |keys: &[&str]| Targets::Keys(keys.iter().map(|key| key.as_bytes().to_vec()).collect());
    for (keys, expected) in [(&["foo"][..], &[1][..]), (&["bar", "foo", "bar"], &[2, 1]), (&["baz"], &[0])] {
        let ports = engine.fan_out(Command::new("CONFIG").arg("GET").arg("port")).targets(targets(keys)).await.unwrap();
        let ports: Vec<u16> = ports.into_iter().map(|entry| entry.node.address.port().unwrap()).collect();
        let expected: Vec<u16> = expected.iter().map(|&index: &usize| servers[index].port()).collect();
        assert_eq!(ports, expected, "{keys:?}");
    }
    let named = engine.fan_out(Command::new("PING")).targets(Targets::Nodes(vec!["2".into(), "0".into()]));
    let ports: Vec<Option<u16>> = named.await.unwrap().into_iter().map(|entry| entry.node.address.port()).collect();
    assert_eq!(ports, [Some(servers[2].port()), Some(servers[0].port())]);
}

async fn count_up(engine: &Engine) -> i64 {
    let counts = keys(20).into_iter().map(|key| Command::new("INCR").key(format!("count:{key}")));
    engine.map(counts).await.unwrap().integers().sum()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn connections_that_died_while_idle_are_replaced_without_an_error() {
    let servers: Vec<Server> =
        (0..2).map(|_| Server::builder().module(false).config("timeout", "1").config("hz", "100").start()).collect();
    let engine = Engine::builder().provider(StaticList::new(servers.iter().map(host)).unwrap()).build();
    assert_eq!(count_up(&engine).await, 20);
    let links = |server: &Server| server.reply("CLIENT LIST").matches("name=rmr").count();
    let died = || servers.iter().all(|server| links(server) == 0).then_some(());
    assert!(poll(Duration::from_secs(20), died).is_some(), "the servers close what is idle");
    // A write, though none is ever sent twice: it is known that it has not been sent.
    assert_eq!(count_up(&engine).await, 40);
}

/// The runtime may not have heard of the end yet when the next command is to leave.
#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn so_are_those_that_died_a_moment_ago() {
    let server = plain();
    let engine = Engine::builder().provider(StaticList::new([host(&server)]).unwrap()).build();
    let mut admin = server.wire();
    for round in 1..=200 {
        assert_eq!(count_up(&engine).await, 20 * round);
        assert_eq!(admin.reply("CLIENT KILL TYPE normal SKIPME yes"), "1");
    }
}
