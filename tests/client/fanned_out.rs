//! Commands for hosts: all of them, some, or that of a key.

use rmr::testing::Servers;
use rmr::{Error, Reply};

use crate::figures::{ask, command, shown};

#[tokio::test]
async fn all_hosts_answer_under_their_ids() {
    let servers = Servers::start(4);
    let client = servers.client();
    for id in 0..4 {
        let set = client.execute_on_host(id, command(&format!("SET foo {id}"))).await.unwrap();
        assert_eq!(set, Reply::OK);
    }
    let mut map = client.map();
    let (gets, adds) = (map.send_to_all(command("GET foo")), map.send_to_all(command("ZADD z 1 x")));
    let ranges = map.send_to_all(command("ZRANGE z 0 -1"));
    map.join().await;
    let gets: Vec<(usize, String)> = gets.value().unwrap().iter().map(|(id, result)| (*id, shown(result))).collect();
    assert_eq!(gets, [(0, "0".into()), (1, "1".into()), (2, "2".into()), (3, "3".into())]);
    assert!(adds.value().unwrap().values().all(|result| shown(result) == "1"));
    assert!(ranges.value().unwrap().values().all(|result| shown(result) == "[x]"), "each host's commands in order");
    let flushed = client.fan_out(command("FLUSHDB")).await.unwrap();
    assert_eq!(flushed.len(), 4);
    assert_eq!(crate::figures::keys(&servers), 0);
}

#[tokio::test]
async fn some_hosts_are_named_by_their_ids() {
    let servers = Servers::start(4);
    let client = servers.client();
    let set = client.fan_out_to([2, 0], command("SET foo 1")).await.unwrap();
    assert_eq!(set.keys().copied().collect::<Vec<_>>(), [0, 2]);
    let there: Vec<Option<i64>> = servers.iter().map(|server| ask(server, "EXISTS foo").integer()).collect();
    assert_eq!(there, [Some(1), Some(0), Some(1), Some(0)]);

    let error = client.execute_on_host(4, command("PING")).await.unwrap_err();
    assert_eq!(error.to_string(), "there is no host 4; the ids are 0 to 3");
    let some = client.fan_out_to([1, 9], command("PING")).await.unwrap();
    assert!(some[&1].is_ok() && matches!(some[&9], Err(Error::Invalid(_))));
    assert!(client.fan_out_to([], command("PING")).await.unwrap().is_empty());
}

#[tokio::test]
async fn a_keys_host_takes_any_command() {
    let servers = Servers::start(4);
    let client = servers.client();
    let mut map = client.map();
    let (set, size) = (map.send_to_key("foo", command("SET foo bar")), map.send_to_key("foo", command("DBSIZE")));
    map.join().await;
    assert_eq!((set.value(), size.value()), (Some(Reply::OK), Some(1.into())), "one host's value, no map of hosts");
    assert_eq!(client.execute(command("GET foo")).await.unwrap().to_string(), "bar");
    let host = client.host_of("foo").await.unwrap();
    assert_eq!(client.execute_on_host_of("foo", command("DBSIZE")).await.unwrap().integer(), Some(1));
    assert_eq!(ask(servers.host(host), "DBSIZE").integer(), Some(1));
}

#[tokio::test]
async fn one_hosts_failure_is_its_own() {
    let servers = Servers::start(3);
    let client = servers.client();
    client.fan_out(command("SET k 1")).await.unwrap();
    ask(servers.host(1), "DEL k");
    ask(servers.host(1), "RPUSH k x");
    let mut map = client.map();
    let (gets, keyless) = (map.send_to_all(command("GET k")), map.send(command("DBSIZE")));
    let unknown = map.send_to_all(command("NOSUCH"));
    map.join().await;
    let gets = gets.value().unwrap();
    assert_eq!((shown(&gets[&0]), shown(&gets[&2])), ("1".into(), "1".into()));
    assert!(shown(&gets[&1]).contains("WRONGTYPE"));
    assert!(matches!(keyless.reason(), Some(Error::Unroutable(_))));
    assert!(unknown.value().unwrap().values().all(|result| shown(result).contains("unknown command")));
}
