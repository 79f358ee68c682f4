//! Tests which nodes are let in.

use std::slice::from_ref;
use std::time::Duration;

use super::{SOON, await_served, proxy, push, servers, url};
use crate::common::{RmrProxy, Server, eventually};

/// Returns the entries of a node in the log of the configuration node.
fn log_of(config: &Server, node: &str) -> String {
    let entries: Vec<(String, Vec<String>)> = config.run(&["XRANGE", "log", "-", "+"]);
    let of_node = entries.into_iter().filter(|(_, fields)| fields.iter().any(|field| field == node));
    of_node.map(|(_, fields)| fields.join(" ")).collect()
}

/// B50, B51: pending nodes are looked at one after the other, and who will not do is told why.
#[test]
fn nodes_that_will_not_do_are_refused_with_the_reason() {
    let [config, good, full] = servers::<3>();
    full.run::<String>(&["SET", "key", "1"]);
    let member = Server::builder().module(false).config("cluster-enabled", "yes").start();
    let gone = Server::builder().module(false).start();
    gone.kill();
    let refused = [
        (full.address(), "it holds keys already"),
        (member.address(), "it is a node of a Redis Cluster"),
        (gone.address(), "refused"),
        ("nonsense".to_owned(), "nonsense"),
    ];
    let proxy = proxy(&config);
    let mut words = vec!["LPUSH".to_owned(), "newnodes".to_owned(), good.address()];
    words.extend(refused.iter().map(|(address, _)| address.clone()));
    config.run::<u64>(&words.iter().map(String::as_str).collect::<Vec<_>>());
    await_served(&proxy);
    for (address, why) in &refused {
        let log = log_of(&config, address);
        assert!(log.contains("refused: ") && log.contains(why), "{address}: {log}");
        assert!(proxy.log().contains(&format!("the node {address} is not let in: ")), "{address}");
    }
    assert_eq!(config.run::<Vec<String>>(&["HKEYS", "nodes"]), [good.address()]);
    let entry: String = config.run(&["HGET", "nodes", &good.address()]);
    let run_id: String = good.run(&["INFO", "server"]);
    assert!(run_id.contains(&format!("run_id:{}", entry.split(' ').next().unwrap())), "{entry}");
    assert_eq!(config.run::<u64>(&["LLEN", "joining"]), 0);
    assert_eq!(full.run::<String>(&["GET", "key"]), "1");
}

/// A handler that died in the middle is followed by the next one, and two at once do no harm.
#[test]
fn a_node_that_was_taken_and_not_let_in_is_looked_at_again() {
    let [config, one, other] = servers::<3>();
    config.run::<u64>(&["LPUSH", "joining", &one.address()]);
    push(&config, from_ref(&other));
    let proxies = [proxy(&config), proxy(&config)];
    proxies.iter().for_each(await_served);
    assert_eq!(config.run::<u64>(&["HLEN", "nodes"]), 2);
    assert_eq!(config.run::<Vec<String>>(&["LRANGE", "hashingslot:0", "0", "-1"]).len(), 1);
}

/// Settings that nobody can serve are refused, each with the reason.
#[test]
fn settings_that_are_not_served_are_named() {
    for (name, value, why) in [("copies", "many", "from 1 to 16"), ("version", "2", "this is version 1")] {
        let [config, node] = servers::<2>();
        config.run::<u64>(&["HSET", "settings", name, value]);
        let proxy = proxy(&config);
        push(&config, from_ref(&node));
        eventually(SOON, "the setting is refused", || proxy.reply("GET key").contains(why));
        assert!(proxy.reply("SET key 1").starts_with('-'));
    }
}

#[test]
fn arguments_that_exclude_each_other_end_the_start() {
    let [config] = servers::<1>();
    let both = RmrProxy::builder().set("placement", url(&config)).set("nodes", "127.0.0.1:1").try_start();
    assert!(both.err().expect("refused").contains("cannot be used with"));
    let strange = RmrProxy::builder().set("placement", "nonsense://x").try_start();
    assert!(strange.err().expect("refused").contains("--placement: the configuration node"));
    let hashed = RmrProxy::builder().set("placement", url(&config)).set("shard-func", "ketama").try_start();
    assert!(hashed.err().expect("refused").contains("--shard-func is for --nodes"));
    let away = RmrProxy::builder().set("placement", "redis://127.0.0.1:1").start();
    assert!(away.reply("GET key").starts_with('-'));
    away.terminate();
    assert!(away.end(Duration::from_secs(20)).success());
}
