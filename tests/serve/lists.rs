//! A list of plain servers behind the proxy, which know nothing of each other: keys go by a hash, as with `rmr.nodes`.

use super::SOON;
use crate::common::{RmrProxy, Server, eventually, show};

fn servers(count: usize) -> Vec<Server> {
    (0..count).map(|_| Server::builder().module(false).start()).collect()
}

#[test]
fn a_list_is_one_server_to_its_clients() {
    let servers = servers(3);
    let proxy = RmrProxy::before_list(&servers).start();
    let mut wire = proxy.wire();
    for number in 0..60 {
        assert_eq!(wire.reply(&format!("SET key:{number} {number}")), "+OK");
    }
    let sizes: Vec<u64> = servers.iter().map(|server| server.run(&["DBSIZE"])).collect();
    assert!(sizes.iter().all(|&size| size > 5) && sizes.iter().sum::<u64>() == 60, "{sizes:?}");
    assert_eq!(wire.reply("DBSIZE"), "60");
    assert_eq!(wire.reply("MGET key:0 key:59 nothing key:7"), "[\"0\", \"59\", nil, \"7\"]");
    assert_eq!(wire.reply("EXISTS key:1 key:2 key:3 nothing"), "3");
    assert_eq!(wire.reply("KEYS *").matches("key:").count(), 60);
    let (mut cursor, mut found) = ("0".to_owned(), 0);
    loop {
        let reply = wire.reply(&format!("SCAN {cursor} COUNT 7"));
        found += reply.matches("key:").count();
        cursor = reply.trim_start_matches("[\"").split('"').next().expect("a cursor").to_owned();
        if cursor == "0" {
            break;
        }
    }
    assert_eq!(found, 60);
    assert_eq!(wire.reply("DEL key:1 key:2 key:3 nothing"), "3");
    let refusal = wire.reply("MSET key:1 1 key:2 2 key:3 3 key:4 4");
    assert!(refusal.starts_with("-UNROUTABLE ") || refusal.starts_with("-CROSSSLOT "), "{refusal}");
    // Of one server: transactions, scripts, commands that wait.
    for line in ["MULTI", "INCR n", "INCR n"] {
        assert!(wire.reply(line).starts_with('+'), "{line}");
    }
    assert_eq!(wire.reply("EXEC"), "[1, 2]");
    assert_eq!(wire.reply("EVAL return(redis.call('GET',KEYS[1])) 1 n"), "\"2\"");
    assert_eq!(wire.reply("BLPOP list 0.01"), "nil");
    for line in ["TIME", "COMMAND COUNT", "PING", "INFO", "LASTSAVE"] {
        assert!(!wire.reply(line).starts_with('-'), "{line}");
    }
    assert_eq!(wire.reply("FLUSHALL"), "+OK");
    assert_eq!(wire.reply("DBSIZE"), "0");
}

#[test]
fn which_server_a_key_is_on_is_said_by_the_hash() {
    let servers = servers(3);
    let places = |hash: Option<&str>| -> Vec<usize> {
        let builder = RmrProxy::before_list(&servers);
        let proxy = hash.into_iter().fold(builder, |builder, hash| builder.set("shard-func", hash)).start();
        assert_eq!(proxy.reply("FLUSHALL"), "+OK");
        (0..40)
            .map(|number| {
                let key = format!("key:{number}");
                assert_eq!(proxy.reply(&format!("SET {key} 1")), "+OK");
                servers.iter().position(|server| server.run::<u64>(&["EXISTS", &key]) == 1).expect("a server")
            })
            .collect()
    };
    let default = places(None);
    assert_eq!(default, places(Some("crc32")));
    for hash in ["ketama", "rendezvous"] {
        let other = places(Some(hash));
        assert_ne!(default, other, "{hash}");
        assert!((0..3).all(|server| other.contains(&server)), "{hash}: {other:?}");
    }
}

#[test]
fn a_server_of_a_list_that_is_down_is_named() {
    let servers = servers(3);
    let proxy = RmrProxy::before_list(&servers).set("timeout-ms", 1000).start();
    let mut wire = proxy.wire();
    let is_on = |server: usize, key: &str| servers[server].run::<u64>(&["EXISTS", key]) == 1;
    let keys: Vec<String> = (0..30).map(|number| format!("key:{number}")).collect();
    keys.iter().for_each(|key| assert_eq!(wire.reply(&format!("SET {key} 1")), "+OK"));
    let of_last = keys.iter().find(|key| is_on(2, key)).expect("a key of the last");
    let of_first = keys.iter().find(|key| is_on(0, key)).expect("a key of the first");
    servers[2].kill();
    for line in [format!("GET {of_last}"), "DBSIZE".into(), format!("MGET {of_first} {of_last}")] {
        let error = wire.reply(&line);
        assert!(error.starts_with("-RMRNODE ") && error.contains(&servers[2].address()), "{line}: {error}");
    }
    assert_eq!(wire.reply(&format!("GET {of_first}")), "\"1\"");
    assert_eq!(show(&proxy.wire().call(&["GET", of_first])), "\"1\"", "new clients are served too");
    servers[2].restart();
    eventually(SOON, "it is back", || wire.reply(&format!("GET {of_last}")) == "nil");
}
