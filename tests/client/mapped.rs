//! Many commands at once, and promises of their results.

use std::time::{Duration, Instant};

use rmr::client::Promise;
use rmr::link::{Link, LinkState};
use rmr::testing::{Server, Servers};
use rmr::{Command, Error, Reply};

use crate::figures::{ask, calls, command, keys};

#[tokio::test]
async fn ten_thousand_keys_are_set_and_read_back() {
    for auto_batch in [true, false] {
        let servers = Servers::start(4);
        let client = servers.client().auto_batch(auto_batch);
        let mut map = client.map();
        for number in 0..10_000 {
            map.send(Command::new("SET").arg(format!("foo:{number}")).arg(number));
        }
        map.join().await;
        assert_eq!(keys(&servers), 10_000);
        assert!(servers.iter().all(|server| ask(server, "DBSIZE").integer() > Some(1000)));
        let numbers: Vec<Promise<Reply>> =
            (0..10_000).map(|number| map.send(Command::new("GET").arg(format!("foo:{number}")))).collect();
        assert_eq!(map.len(), 10_000);
        map.join().await;
        for (number, promise) in numbers.iter().enumerate() {
            assert_eq!(promise.value().and_then(|reply| reply.integer()), Some(number as i64));
        }
        let counts = ["get", "set", "mget", "mset"].map(|name| calls(&servers, name));
        match auto_batch {
            true => assert!(counts[0] + counts[1] < 10 && counts[2] < 60 && counts[3] < 60, "{counts:?}"),
            false => assert_eq!(counts, [10_000, 10_000, 0, 0]),
        }
    }
}

#[tokio::test]
async fn commands_of_all_kinds_answer_in_their_own_promises() {
    let servers = Servers::start(4);
    let client = servers.client();
    let mut map = client.map();
    let (set, add) = (map.send(command("SET foo 42")), map.send(command("ZADD zset 1 a 2 b")));
    let removed = map.send(command("DEL gone"));
    map.join().await;
    assert_eq!(set.value(), Some(Reply::OK));
    assert_eq!((add.value(), removed.value()), (Some(2.into()), Some(0.into())));
    let range = map.send(command("ZRANGE zset 0 -1"));
    let doubled = map.send(command("GET foo")).then(|reply| Ok(reply.integer().unwrap_or(0) * 2));
    assert!(doubled.is_pending());
    map.join().await;
    assert_eq!(range.await.unwrap().to_string(), "[a, b]");
    assert_eq!(doubled.value(), Some(84));
}

#[tokio::test]
async fn commands_for_one_host_keep_their_order() {
    let servers = Servers::start(2);
    let mut map = servers.client().map();
    let lines = ["GET k", "SET k 1", "GET k", "INCR k", "GET k", "SET k x", "SET k y", "GET k", "DEL k", "GET k"];
    let results: Vec<_> = lines.iter().map(|line| map.send(command(line))).collect();
    map.join().await;
    let results: Vec<String> = results.iter().map(|promise| promise.value().unwrap().to_string()).collect();
    assert_eq!(results, ["(nil)", "OK", "1", "2", "2", "OK", "OK", "y", "1", "(nil)"]);
}

#[tokio::test]
async fn several_keys_at_once_are_gathered_from_their_hosts() {
    let servers = Servers::start(4);
    let client = servers.client();
    let names: Vec<String> = (0..100).map(|number| format!("key:{number}")).collect();
    let mut map = client.map();
    let set = map.mset(names.iter().zip(0..));
    let hash = map.send(command("HSET hash field 7"));
    map.join().await;
    assert_eq!((set.value(), hash.value()), (Some(()), Some(1.into())));
    let first = map.mget(&names[..50]);
    let field = map.send(command("HGET hash field"));
    let last = map.mget(names[50..].iter().rev());
    let odd = map.mget(["hash", "nobody", "key:3"]);
    let all = Promise::all([first, field.then(|reply| Ok(vec![reply])), last]);
    map.join().await;
    let found: Vec<i64> = all.value().unwrap().concat().iter().filter_map(Reply::integer).collect();
    let expected: Vec<i64> = (0..50).chain([7]).chain((50..100).rev()).collect();
    assert_eq!(found, expected);
    assert_eq!(odd.value().unwrap(), [Reply::Null, Reply::Null, "3".into()], "as MGET has it");

    client.mset([("a", "1"), ("b", "2")]).await.unwrap();
    let found = client.mget(["b", "none", "a"]).await.unwrap();
    assert_eq!(found, ["2".into(), Reply::Null, "1".into()]);
}

#[tokio::test]
async fn more_hosts_than_are_spoken_to_at_once_are_all_served() {
    let servers = Servers::start(70);
    let client = servers.client();
    for at_once in [64, 3] {
        let mut map = client.map().max_concurrency(at_once).timeout(Duration::from_secs(20));
        let pings = map.send_to_all(command("INCR seen"));
        let keyed: Vec<_> = (0..500).map(|number| map.send(command(&format!("INCR key:{number}")))).collect();
        map.join().await;
        let pings = pings.value().unwrap();
        assert_eq!(pings.len(), 70);
        assert!(pings.values().all(|result| result.is_ok()));
        assert!(keyed.iter().all(Promise::is_resolved));
    }
    assert!(servers.iter().all(|server| ask(server, "GET seen").integer() == Some(2)));
}

#[tokio::test]
async fn max_concurrency_bounds_the_hosts_spoken_to() {
    let servers = Servers::start(4);
    let client = servers.client();
    client.fan_out(command("PING")).await.unwrap();
    // The first two hosts do not answer, and the others get no turn.
    (0..2).for_each(|host| servers.host(host).stop_signal());
    let mut map = client.map().max_concurrency(2).timeout(Duration::from_millis(300));
    let results: Vec<_> = (0..4).map(|host| map.send_to_host(host, command("INCR turn"))).collect();
    map.join().await;
    let unknown: Vec<bool> = results.iter().map(|result| result.reason().unwrap().is_outcome_unknown()).collect();
    assert_eq!(unknown, [true, true, false, false]);
    for host in 2..4 {
        assert_eq!(ask(servers.host(host), "EXISTS turn").integer(), Some(0), "what has not left is not sent");
    }
    (0..2).for_each(|host| servers.host(host).cont_signal());
}

#[tokio::test]
async fn what_is_cancelled_is_not_sent_and_every_promise_is_settled() {
    let servers = Servers::start(2);
    let client = servers.client();
    let mut map = client.map();
    let (one, all) = (map.send(command("SET k v")), map.send_to_all(command("SET k v")));
    map.cancel();
    assert_eq!(one.reason().unwrap().to_string(), "the command was given up before it was sent");
    assert!(all.is_rejected());
    let dropped = map.send(command("SET k v"));
    drop(map);
    assert!(matches!(dropped.await, Err(Error::Cancelled { outcome_unknown: false })));
    assert_eq!(keys(&servers), 0);

    // In the midst of it: what is not settled by then is rejected, and what is keeps its value.
    servers.host(0).stop_signal();
    let mut map = client.map();
    let (slow, quick) = (map.send_to_host(0, command("INCR k")), map.send_to_host(1, command("INCR k")));
    let began = Instant::now();
    assert!(tokio::time::timeout(Duration::from_millis(200), map.join()).await.is_err());
    assert!(began.elapsed() < Duration::from_secs(2));
    assert!(matches!(slow.reason(), Some(Error::Cancelled { outcome_unknown: true })), "{slow:?}");
    assert_eq!(quick.value().and_then(|count| count.integer()), Some(1));
    servers.host(0).cont_signal();
}

#[tokio::test(flavor = "multi_thread")]
async fn connections_that_died_while_idle_are_replaced_unseen() {
    let servers = Servers::start_with(2, &Server::builder().config("timeout", "1"));
    // Few commands are written by the task that owns the connection, many by whoever sends them.
    let clients = [(servers.client(), 20), (servers.client(), 400)];
    for round in 1..=2 {
        for (client, count) in &clients {
            let results = client.execute_all((0..*count).map(|key| command(&format!("INCR {count}:{key}")))).await;
            let is_right =
                |result: &Result<Reply, Error>| result.as_ref().is_ok_and(|reply| reply.integer() == Some(round));
            assert!(results.iter().all(is_right), "round {round}: {results:?}");
        }
        rmr::testing::eventually(Duration::from_secs(10), "the servers close what is idle", || {
            let mut open = 0;
            let mut count = |link: &dyn Link| open += usize::from(link.stats().state() == LinkState::Connected);
            clients.iter().for_each(|(client, _)| client.engine().each_link(|_, link| count(link)));
            open == 0
        });
    }
}
