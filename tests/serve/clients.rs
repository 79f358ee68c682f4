//! `CLIENT`: what a client says of itself, and asks about the others; what `INFO` says of all.

use super::{SOON, served};
use crate::common::{RmrProxy, Server, Wire, eventually};

fn id_of(wire: &mut Wire) -> String {
    wire.reply("CLIENT ID")
}

#[test]
fn a_client_says_what_it_is() {
    let (_cluster, proxy) = served();
    let server = Server::builder().module(false).start();
    let (mut here, mut there) = (proxy.wire(), server.wire());
    for line in [
        "CLIENT GETNAME",
        "CLIENT SETNAME worker:1",
        "CLIENT GETNAME",
        "CLIENT SETNAME",
        "CLIENT NO-EVICT ON",
        "CLIENT NO-EVICT perhaps",
        "CLIENT GETREDIR",
        "CLIENT LIST TYPE nonsense x",
        "CLIENT KILL ID x",
        "CLIENT KILL 127.0.0.1:1",
        "CLIENT KILL ID 999999",
        "CLIENT LIST ID 999999",
        "CLIENT REPLY maybe",
        "CLIENT",
    ] {
        let (ours, theirs) = (here.reply(line), there.reply(line));
        let word = |reply: &str| reply.split(' ').next().map(str::to_owned);
        // Of errors the first word: their details differ from server to server.
        let is_same = ours == theirs || (ours.starts_with('-') && word(&ours) == word(&theirs));
        assert!(is_same, "{line}: {ours}, not {theirs}");
    }
    assert!(here.reply_to(&["CLIENT", "SETNAME", "two words"]).starts_with("-ERR Client names cannot contain"));
    assert_eq!(here.reply("CLIENT SETINFO LIB-NAME redis-test"), "+OK");
    assert_eq!(here.reply("CLIENT SETINFO LIB-VER 1.2.3"), "+OK");
    assert!(here.reply("CLIENT SETINFO COLOUR red").starts_with("-ERR Unrecognized option"));
    let info = here.reply("CLIENT INFO");
    for part in
        ["name=worker:1 ", " lib-name=redis-test ", " lib-ver=1.2.3", " user=default ", " cmd=client", " resp=2 "]
    {
        assert!(info.contains(part), "{part}: {info}");
    }
    assert!(info.contains(&format!("id={} ", id_of(&mut here))));
}

#[test]
fn clients_see_each_other_and_no_links_of_the_proxy() {
    let (cluster, proxy) = served();
    let mut wires: Vec<Wire> = (0..5).map(|_| proxy.wire()).collect();
    for (number, wire) in wires.iter_mut().enumerate() {
        assert_eq!(wire.reply(&format!("CLIENT SETNAME number-{number}")), "+OK");
    }
    assert!(wires[4].reply("SUBSCRIBE channel").contains("subscribe"));
    assert_eq!(wires[3].reply("MULTI"), "+OK");
    assert_eq!(wires[3].reply("PING"), "+QUEUED");
    let list = wires[0].reply("CLIENT LIST");
    assert_eq!(list.matches("\\n").count(), 5, "{list}");
    assert!((0..5).all(|number| list.contains(&format!(" name=number-{number} "))), "{list}");
    assert!(list.contains("flags=P") && list.contains(" sub=1 ") && list.contains(" multi=1 "), "{list}");
    let subscribers = wires[0].reply("CLIENT LIST TYPE pubsub");
    assert!(subscribers.matches("\\n").count() == 1 && subscribers.contains("name=number-4 "), "{subscribers}");
    let (one, two) = (id_of(&mut wires[1]), id_of(&mut wires[2]));
    assert_eq!(wires[0].reply(&format!("CLIENT LIST ID {one} {two}")).matches("\\n").count(), 2);
    let info = wires[0].reply("INFO clients");
    assert!(info.contains("connected_clients:5\\r"), "{info}");
    let nodes = wires[0].reply("INFO proxy");
    assert!(nodes.contains(&format!("shards:{}\\r", cluster.primaries().len())), "{nodes}");
}

#[test]
fn a_client_that_is_killed_is_gone() {
    let (_cluster, proxy) = served();
    let mut wire = proxy.wire();
    let mut victims: Vec<Wire> = (0..3).map(|_| proxy.wire()).collect();
    let ids: Vec<String> = victims.iter_mut().map(id_of).collect();
    // One that says nothing, one that waits for a node, one within a transaction.
    victims[1].send(&["BLPOP", "nothing", "0"]);
    assert_eq!(victims[2].reply("MULTI"), "+OK");
    eventually(SOON, "it waits", || wire.reply("CLIENT LIST").contains(" cmd=blpop "));
    for id in &ids {
        assert_eq!(wire.reply(&format!("CLIENT KILL ID {id}")), "1");
    }
    for victim in &mut victims {
        assert!(victim.try_read_frame().is_err(), "the connection is closed");
    }
    proxy.await_clients(2);
    let own = id_of(&mut wire);
    assert_eq!(wire.reply(&format!("CLIENT KILL ID {own}")), "0", "nobody kills itself unless it says so");
    assert_eq!(wire.reply(&format!("CLIENT KILL ID {own} SKIPME no")), "1");
    assert!(wire.try_read_frame().is_err());
}

#[test]
fn replies_that_nobody_wants_are_not_sent() {
    let (_cluster, proxy) = served();
    let mut wire = proxy.wire();
    wire.send_raw(
        b"CLIENT REPLY SKIP\r\nSET k 1\r\nGET k\r\nCLIENT REPLY OFF\r\nINCR k\r\nMGET k l\r\nBLPOP l 0.01\r\n",
    );
    wire.send_raw(b"MULTI\r\nINCR k\r\nEXEC\r\nNOSUCH\r\nCLIENT REPLY ON\r\nGET k\r\n");
    assert_eq!(crate::common::show(&wire.read_frame()), "\"1\"");
    assert_eq!(crate::common::show(&wire.read_frame()), "+OK");
    assert_eq!(crate::common::show(&wire.read_frame()), "\"3\"");
}

#[test]
fn what_would_turn_clients_into_clients_of_a_cluster_is_refused() {
    let (_cluster, proxy) = served();
    let mut wire = proxy.wire3();
    for line in ["CLUSTER SLOTS", "CLUSTER SHARDS", "CLUSTER INFO", "cluster nodes", "READONLY", "READWRITE", "ASKING"]
    {
        assert_eq!(wire.reply(line), "-ERR This instance has cluster support disabled", "{line}");
    }
    for line in ["CLIENT TRACKING ON", "MONITOR", "SYNC", "PSYNC ? -1", "REPLCONF listening-port 1", "SELECT 1"] {
        let reply = wire.reply(line);
        assert!(reply.starts_with("-ERR ") && !reply.contains("unknown command"), "{line}: {reply}");
    }
    assert_eq!((wire.reply("SELECT 0"), wire.reply("WAIT 0 10")), ("+OK".into(), "0".into()));
    let info = wire.reply("INFO");
    assert!(info.contains("cluster_enabled:0") && info.contains("redis_mode:standalone"), "{info}");
}

#[test]
fn info_counts_what_happens() {
    let (cluster, proxy) = served();
    let mut wire = proxy.wire();
    cluster.fill(100, |number| (format!("key:{number}"), "x"));
    let info = wire.reply("INFO");
    for part in
        ["db0:keys=100,expires=0", "redis_version:", "role:master", "total_commands_processed:", "uptime_in_seconds:"]
    {
        assert!(info.contains(part), "{part}: {info}");
    }
    let figure = |proxy: &RmrProxy, name: &str| -> u64 {
        let info = proxy.reply("INFO stats");
        let rest = info.split(&format!("{name}:")).nth(1).unwrap_or_else(|| panic!("{name} in {info}"));
        rest.split("\\r").next().and_then(|number| number.parse().ok()).expect("a number")
    };
    let (commands, connections) =
        (figure(&proxy, "total_commands_processed"), figure(&proxy, "total_connections_received"));
    (0..50).for_each(|_| assert_eq!(wire.reply("GET key:1"), "\"x\""));
    assert_eq!(figure(&proxy, "total_commands_processed"), commands + 52, "fifty, and two for the figures");
    assert_eq!(figure(&proxy, "total_connections_received"), connections + 2, "one for each figure");
    assert!(wire.reply("INFO keyspace").starts_with("\"# Keyspace"));
    assert!(!wire.reply("INFO keyspace").contains("# Server"));
}
