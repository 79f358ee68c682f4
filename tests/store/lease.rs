//! Tests which copy is read, and for how long a proxy may read by what it knows.

use std::time::{Duration, Instant};

use super::copies::{holders, node, two_copies};
use super::{SOON, await_newest_table, await_served, proxy, push, servers};
use crate::common::{Fault, Proxy as Relay, RmrProxy, Server, Wire, eventually};

/// Returns who orders the writes of which slot.
pub(super) fn sequencers(config: &Server) -> Vec<String> {
    let entries: Vec<String> = config.run(&["HVALS", "slots"]);
    let name = |entry: &String| entry.split(' ').nth(1).unwrap_or_default().to_owned();
    let mut names: Vec<String> = entries.iter().map(name).collect();
    names.sort();
    names.dedup();
    names
}

/// B41: clients say which copy they read.
#[test]
fn clients_say_which_copy_they_read() {
    let (config, nodes, proxy) = two_copies::<3>(&[]);
    let mut wire = proxy.wire();
    assert_eq!(wire.reply("SET key right"), "+OK");
    let of_key = holders(&config, "key");
    node(&nodes, &of_key[1]).run::<String>(&["SET", "key", "by hand"]);
    let read = |word: &str, wire: &mut Wire| {
        assert_eq!(wire.reply(&format!("RMR.READS {word}")), "+OK");
        assert_eq!(wire.reply("RMR.READS"), format!("\"{word}\""));
        let mut read: Vec<String> = (0..10).map(|_| wire.reply("GET key")).collect();
        read.sort();
        read.dedup();
        read
    };
    assert_eq!(read("first", &mut wire), ["\"right\""]);
    assert_eq!(read("ordered", &mut wire), ["\"right\""]);
    assert_eq!(read("any", &mut wire), ["\"by hand\"", "\"right\""]);
    assert_eq!(wire.reply("RMR.READS last"), "-ERR RMR.READS any, ordered or first, not 'last'");
    assert_eq!(wire.reply("RMR.READS first"), "+OK");
    assert_eq!(wire.reply("RESET"), "+RESET");
    assert_eq!(wire.reply("RMR.READS"), "\"any\"");
    // Whoever orders the writes is asked by any proxy.
    let second = super::proxy(&config);
    await_served(&second);
    let mut wire = second.wire();
    assert_eq!(read("ordered", &mut wire), ["\"right\""]);
}

/// S10, B24: while the configuration node is away all goes on, for as long as that lasts; when it is back, nobody has been taken
/// for dead.
#[test]
fn all_goes_on_without_the_configuration_node() {
    let (config, _nodes, first) = two_copies::<3>(&[("lease-ms", "1000")]);
    let second = proxy(&config);
    await_served(&second);
    // Nothing of that is under way any more when the configuration node stops, and the second proxy knows what it has.
    let has_share = || first.log().contains("are handed over to other proxies");
    eventually(SOON, "the second proxy has its share", has_share);
    await_newest_table(&config, &[&first, &second]);
    let before = sequencers(&config);
    config.stop_signal();
    let (stopped, mut round) = (Instant::now(), 0);
    while stopped.elapsed() < Duration::from_secs(4) {
        for proxy in [&first, &second] {
            let key = round % 50;
            assert_eq!(proxy.reply(&format!("SET key:{key} {round}")), "+OK", "after {:?}", stopped.elapsed());
            assert_eq!(proxy.reply(&format!("GET key:{key}")), format!("\"{round}\""), "after {:?}", stopped.elapsed());
            round += 1;
        }
    }
    config.cont_signal();
    // A slot of the second one moves to nobody: it has its lease to say that it lives.
    let back = Instant::now();
    while back.elapsed() < Duration::from_secs(1) {
        assert_eq!(second.reply("SET key on"), "+OK");
    }
    assert_eq!(sequencers(&config), before);
}

/// S10: a data node that is lost meanwhile: its keys are read at their other copies, and what cannot be written is an error.
#[test]
fn a_node_may_be_lost_without_the_configuration_node() {
    let (config, nodes, proxy) = two_copies::<3>(&[("lease-ms", "500"), ("node-timeout-ms", "300")]);
    for key in 0..60 {
        assert_eq!(proxy.reply(&format!("SET key:{key} {key}")), "+OK");
    }
    config.stop_signal();
    nodes[0].kill();
    let lost = nodes[0].address();
    let stopped = Instant::now();
    while stopped.elapsed() < Duration::from_secs(2) {
        for key in 0..60 {
            assert_eq!(proxy.reply(&format!("GET key:{key}")), format!("\"{key}\""));
        }
    }
    let reply = proxy.wire().reply("SET key:1 1");
    config.cont_signal();
    assert!(reply == "+OK" || reply.starts_with('-'), "{reply}");
    eventually(SOON, "all is written again", || {
        (0..60).all(|key| proxy.reply(&format!("SET key:{key} {key}")) == "+OK")
    });
    assert!((0..60).all(|key| !holders(&config, &format!("key:{key}")).contains(&lost)));
}

/// S11: a proxy that reaches neither the configuration node nor most nodes serves nothing, until it does again.
#[test]
fn a_proxy_that_is_cut_off_serves_nothing() {
    let [config] = servers::<1>();
    for (name, value) in [("copies", "2"), ("lease-ms", "500")] {
        config.run::<u64>(&["HSET", "settings", name, value]);
    }
    let nodes = servers::<3>();
    let proxy = proxy(&config);
    push(&config, &nodes);
    await_served(&proxy);
    for key in 0..60 {
        assert_eq!(proxy.reply(&format!("SET key:{key} {key}")), "+OK");
    }
    config.stop_signal();
    nodes[1].stop_signal();
    nodes[2].stop_signal();
    // In one pipeline, which is not tried again for a while.
    let read = || {
        let mut wire = proxy.wire();
        let lines: String = (0..60).map(|key| format!("GET key:{key}\r\n")).collect();
        wire.send_raw(lines.as_bytes());
        (0..60).map(|_| String::from_utf8(wire.read_frame()).unwrap()).collect::<Vec<_>>()
    };
    eventually(SOON, "nothing is served", || read().iter().all(|reply| reply.starts_with("-TRYAGAIN")));
    assert!(proxy.reply("DBSIZE").starts_with("-TRYAGAIN"), "{}", proxy.reply("DBSIZE"));
    nodes[1].cont_signal();
    nodes[2].cont_signal();
    // More than half of the nodes say that the proxy is not fenced.
    eventually(SOON, "all is served", || read().iter().all(|reply| reply.starts_with('$')));
    for (key, reply) in read().into_iter().enumerate() {
        assert!(reply.ends_with(&format!("\n{key}\r\n")), "key:{key} is {reply}");
    }
    config.cont_signal();
}

/// S4: a proxy that does not hear of the configuration node reads no copy that is none any more once a write has been
/// acknowledged without it.
#[test]
fn a_deaf_proxy_reads_nothing_old() {
    assert_eq!(reads_of_a_deaf_proxy(""), ["\"new\""]);
}

/// A proxy that reads without a lease is found out.
#[test]
fn without_leases_a_deaf_proxy_reads_what_is_old() {
    assert!(reads_of_a_deaf_proxy("lease").contains(&"\"old\"".to_owned()));
}

/// Returns what a proxy reads that has not heard of a lost copy, once a write is acknowledged without that copy. One safeguard is
/// left out.
fn reads_of_a_deaf_proxy(without: &str) -> Vec<String> {
    let [config] = servers::<1>();
    for (name, value) in [("copies", "2"), ("lease-ms", "800"), ("node-timeout-ms", "300")] {
        config.run::<u64>(&["HSET", "settings", name, value]);
    }
    let servers = servers::<3>();
    let relays: Vec<Relay> = servers.iter().map(|server| Relay::to(server.port())).collect();
    relays.iter().for_each(|relay| relay.strike_greetings(true));
    let to_config = Relay::to(config.port());
    to_config.strike_greetings(true);
    let deaf = RmrProxy::builder().set("placement", format!("redis://{}", to_config.address()));
    let deaf = deaf.env("RMR_WITHOUT", without).start();
    let second = proxy(&config);
    let addresses: Vec<String> = relays.iter().map(Relay::address).collect();
    let words: Vec<&str> = ["LPUSH", "newnodes"].into_iter().chain(addresses.iter().map(String::as_str)).collect();
    config.run::<u64>(&words);
    await_served(&deaf);
    await_served(&second);
    // A key whose writes the second one orders.
    let its_name = format!("127.0.0.1:{}/", second.port());
    let is_its = |key: &String| second.reply(&format!("RMR.PLACE KEY {key}")).contains(&its_name);
    let key = (0..200).map(|number| format!("key:{number}")).find(is_its).expect("a key of the second proxy");
    assert_eq!(second.reply(&format!("SET {key} old")), "+OK");
    to_config.set(Fault::HalfOpen);
    let lost = holders(&config, &key).remove(0);
    let relay = &relays[addresses.iter().position(|address| *address == lost).unwrap()];
    // The second proxy loses one of the copies, and the deaf one reaches it.
    relay.set(Fault::CutRequest);
    let mut wire = second.wire();
    wire.send_raw(format!("SET {key} new\r\n").as_bytes());
    eventually(SOON, "the copy is none any more", || !holders(&config, &key).contains(&lost));
    relay.set(Fault::Pass);
    assert_eq!(wire.read_frame(), b"+OK\r\n");
    let mut read: Vec<String> = (0..200).map(|_| deaf.reply(&format!("GET {key}"))).collect();
    read.sort();
    read.dedup();
    to_config.set(Fault::Pass);
    to_config.cut_all();
    if !without.is_empty() {
        return read;
    }
    eventually(SOON, "the proxy is one of them again", || deaf.reply(&format!("SET {key} newer")) == "+OK");
    read
}
