//! `RMR.PLACE`: what a proxy tells of the store, and who may ask.

use super::check::figure;
use super::{SOON, await_served, proxy, push, servers, url};
use crate::common::{RmrProxy, Server, eventually};

/// Asks in RESP3.
pub(super) fn ask(proxy: &RmrProxy, words: &str) -> String {
    let mut wire = proxy.wire();
    wire.reply("HELLO 3");
    wire.reply(&format!("RMR.PLACE {words}"))
}

/// B16 to B18, B31: nodes, proxies, and who holds what, as the configuration node knows them.
#[test]
fn a_proxy_tells_what_the_configuration_node_knows() {
    let [config, nodes @ ..] = servers::<4>();
    let proxy = proxy(&config);
    let before = || proxy.reply("RMR.PLACE STATUS");
    eventually(SOON, "the settings are stored", || before().contains("\"copies\", \"1\""));
    assert!(before().contains("\"nodes\", 0, \"waiting\", []") && before().contains("\"slots-ok\", 0"), "{}", before());
    push(&config, &nodes);
    await_served(&proxy);
    eventually(SOON, "the proxy is registered", || ask(&proxy, "STATUS").contains("\"proxies\": 1"));

    let status = ask(&proxy, "STATUS");
    let epoch: String = config.run(&["GET", "epoch"]);
    for part in [
        &format!("\"configuration-node\": \"{}\"", config.address()),
        &format!("\"epoch\": {epoch}, \"followed-epoch\": {epoch}"),
        "\"nodes\": 3, \"waiting\": []",
        "\"slots\": 1024, \"slots-ok\": 1024, \"slots-suspect\": 0, \"slots-short\": 0, \"slots-lost\": 0",
        "\"hash\": \"sha1\"",
    ] {
        assert!(status.contains(part), "{part} is not in {status}");
    }
    let shown = ask(&proxy, "NODES");
    for node in &nodes {
        let run_id = node.run::<String>(&["INFO", "server"]);
        let run_id = run_id.lines().find_map(|line| line.strip_prefix("run_id:")).expect("an id").to_owned();
        let line = format!("{{\"address\": \"{}\", \"run-id\": \"{run_id}\", \"state\": \"in\"", node.address());
        assert!(shown.contains(&line), "{line} is not in {shown}");
    }
    assert!(shown.contains("\"copies\": 342, \"first-copies\": 342"), "{shown}");
    let proxies = ask(&proxy, "PROXIES");
    assert!(proxies.starts_with(&format!("[{{\"address\": \"127.0.0.1:{}\"", proxy.port())), "{proxies}");

    let holder: String = config.run(&["LINDEX", "hashingslot:6", "0"]);
    let slot = ask(&proxy, "SLOTS 6");
    assert!(slot.starts_with("[{\"first\": 6, \"last\": 6, \"state\": \"ok\""), "{slot}");
    assert!(slot.contains(&format!("\"copies\": [\"{holder}\"]")), "{slot}");
    let all = ask(&proxy, "SLOTS");
    assert!(all.starts_with("[{\"first\": 0") && all.contains("\"last\": 1023"), "{all}");
    for (key, what) in [("mykey", "'mykey'"), ("a{mykey}b", "'mykey', the part in braces,")] {
        let shown = ask(&proxy, &format!("KEY {key}"));
        assert!(shown.starts_with("{\"slot\": 6") && shown.contains(&holder), "{shown}");
        assert!(shown.contains(&format!("\"why\": \"sha1 of {what} modulo 1024\"")), "{shown}");
    }
    let last = ask(&proxy, "LOG 1");
    assert!(last.contains(&format!("\"epoch\": {epoch}")) && last.contains("\"what\": \"sequencers\""), "{last}");
    assert!(ask(&proxy, "LOG").contains("\"what\": \"given out\""));
    assert!(!ask(&proxy, "STATUS").contains("secret"));
    assert_eq!(ask(&proxy, "LOG").matches("\"admitted\"").count(), 3);
    assert!(ask(&proxy, "HELP").contains("+KEY key, +    Shows the slot of a key"), "{}", ask(&proxy, "HELP"));
    // RESP2 has lists of names and values.
    assert!(proxy.reply("RMR.PLACE KEY mykey").starts_with("[\"slot\", 6, "));
}

/// Figures of the table that a proxy goes by are there without a question to anybody.
#[test]
fn the_figures_of_a_store_are_in_info() {
    let [config, node] = servers::<2>();
    let proxy = proxy(&config);
    push(&config, std::slice::from_ref(&node));
    await_served(&proxy);
    let info = proxy.reply("INFO placement");
    assert!(info.contains("slots_ok:1024") && info.contains("slots_lost:0"), "{info}");
    assert!((1..=2000).contains(&figure(&info, "place_lease_ms")), "{info}");
    config.run::<u64>(&["DEL", "hashingslot:6"]);
    config.run::<u64>(&["INCR", "epoch"]);
    eventually(SOON, "the slot is lost", || {
        let info = proxy.reply("INFO placement");
        info.contains("slots_ok:1023") && info.contains("slots_lost:1")
    });
}

/// S7 for a slot: what is at no node is shown so.
#[test]
fn a_slot_at_no_node_is_shown() {
    let [config, node] = servers::<2>();
    let proxy = proxy(&config);
    push(&config, std::slice::from_ref(&node));
    await_served(&proxy);
    config.run::<u64>(&["DEL", "hashingslot:6"]);
    assert!(ask(&proxy, "STATUS").contains("\"slots-lost\": 1"));
    assert!(ask(&proxy, "SLOTS 5 7").contains("{\"first\": 6, \"last\": 6, \"state\": \"lost\", \"copies\": []"));
}

#[test]
fn what_is_not_understood_is_refused() {
    let [config, node] = servers::<2>();
    let proxy = proxy(&config);
    push(&config, std::slice::from_ref(&node));
    await_served(&proxy);
    for (line, refusal) in [
        ("RMR.PLACE", "-ERR wrong number of arguments for 'rmr.place' command"),
        ("RMR.PLACE NOTHING", "-ERR RMR.PLACE 'NOTHING' is not known; give one of STATUS, "),
        ("RMR.PLACE KEY", "-ERR it is RMR.PLACE KEY key"),
        ("RMR.PLACE SLOTS 1024", "-ERR SLOTS 1024: there are slots 0 to 1023"),
    ] {
        assert!(proxy.reply(line).starts_with(refusal), "{line}: {}", proxy.reply(line));
    }
    let mut wire = proxy.wire();
    wire.reply("MULTI");
    assert!(wire.reply("RMR.PLACE STATUS").starts_with("-ERR RMR.PLACE is not served within MULTI"));
    config.kill();
    let away = proxy.reply("RMR.PLACE STATUS");
    assert!(away.starts_with("-RMRNODE configuration node "), "{away}");
    // Where there is no store the command is the nodes' own.
    let plain = RmrProxy::builder().set("nodes", node.address()).start();
    assert!(plain.reply("RMR.PLACE STATUS").starts_with("-ERR unknown command"), "{}", plain.reply("RMR.PLACE STATUS"));
}

/// The nodes say who may look: as in a Redis Cluster, those who may ask for `CLUSTER SLOTS`.
#[test]
fn who_may_not_look_is_refused() {
    let [config, node] = servers::<2>();
    let proxy = proxy(&config);
    push(&config, std::slice::from_ref(&node));
    await_served(&proxy);
    for (name, rules) in [("few", "~* +get"), ("app", "~* +@all -@dangerous -@admin")] {
        assert_eq!(node.reply(&format!("ACL SETUSER {name} on >word {rules}")), "+OK");
    }
    let mut few = proxy.wire();
    assert_eq!(few.reply("AUTH few word"), "+OK");
    assert!(few.reply("RMR.PLACE STATUS").starts_with("-NOPERM "), "{}", few.reply("RMR.PLACE STATUS"));
    let mut app = proxy.wire();
    assert_eq!(app.reply("AUTH app word"), "+OK");
    assert!(app.reply("RMR.PLACE KEY mykey").starts_with("[\"slot\", 6, "), "{}", app.reply("RMR.PLACE KEY mykey"));
    // Nodes that let nobody in without a name.
    assert_eq!(node.reply("CONFIG SET requirepass word"), "+OK");
    let stranger = RmrProxy::builder().set("placement", url(&config)).start();
    eventually(SOON, "the node asks for a name", || stranger.reply("RMR.PLACE STATUS").starts_with("-NOAUTH "));
}

/// Before there are nodes, those may look whom the configuration node lets in.
#[test]
fn a_configuration_node_with_a_password_keeps_strangers_out() {
    let config = Server::builder().module(false).config("requirepass", "word").start();
    let url = format!("redis://:word@{}", config.address());
    let proxy = RmrProxy::builder().set("placement", url).start();
    eventually(SOON, "the proxy is registered", || config.run::<u64>(&["EXISTS", "proxies"]) == 1);
    assert_eq!(proxy.reply("RMR.PLACE STATUS"), "-NOAUTH Authentication required.");
}

/// B50 with what goes along, B21, B22: a store is made, and changed, by words to a proxy.
#[test]
fn operators_make_and_change_a_store() {
    let [config, nodes @ ..] = servers::<4>();
    let proxy = proxy(&config);
    eventually(SOON, "the settings are stored", || config.run::<bool>(&["EXISTS", "settings"]));
    let addresses: Vec<String> = nodes.iter().map(Server::address).collect();
    for (line, refusal) in [
        (format!("CREATE COPIES 9 NODES {}", addresses[0]), "-ERR 9 copies need as many nodes; 1 are named"),
        (
            format!("CREATE SLOTS 99999 NODES {}", addresses[0]),
            "-ERR the setting slots of the configuration node is '99999'",
        ),
        ("SET colour blue".into(), "-ERR there is no setting 'colour'; known are slots, copies, hash"),
        ("SET version 2".into(), "-ERR there is no setting 'version'"),
        (
            "SET min-copies 2".into(),
            "-ERR the setting min-copies of the configuration node is '2': a number from 1 to 1",
        ),
        ("SET secret word".into(), "-ERR there is no setting 'secret'"),
    ] {
        let said = proxy.reply(&format!("RMR.PLACE {line}"));
        assert!(said.starts_with(refusal), "{line}: {said}");
    }
    let create = format!("RMR.PLACE CREATE SLOTS 64 COPIES 2 NODES {} {}", addresses[0], addresses[1]);
    assert_eq!(proxy.reply(&create), "+OK");
    await_served(&proxy);
    assert_eq!(config.run::<u64>(&["HLEN", "slots"]), 64);
    assert_eq!(config.run::<u64>(&["LLEN", "hashingslot:7"]), 2);
    assert!(proxy.reply(&create).starts_with("-ERR CREATE: this store has nodes already"));
    assert!(!ask(&proxy, "STATUS").contains("secret"));

    assert_eq!(proxy.reply("RMR.PLACE SET node-timeout-ms 700"), "+OK");
    assert_eq!(proxy.reply("RMR.PLACE SET grace-ms 5000"), "+OK");
    assert_eq!(proxy.reply("RMR.PLACE SET MIN-COPIES 2"), "+OK");
    assert!(
        ask(&proxy, "STATUS").contains("\"min-copies\": \"2\", \"node-timeout-ms\": \"700\""),
        "{}",
        ask(&proxy, "STATUS")
    );
    assert!(ask(&proxy, "LOG 1").contains("\"what\": \"set: min-copies 2\""), "{}", ask(&proxy, "LOG 1"));
    for line in ["SET slots 128", "SET hash md5", "SET hash-tags no"] {
        let said = proxy.reply(&format!("RMR.PLACE {line}"));
        assert!(said.contains("does not change any more"), "{line}: {said}");
    }
    let refused = proxy.reply("RMR.PLACE COPIES 1");
    assert!(refused.starts_with("-ERR the setting "), "{refused}, with min-copies 2");
    assert_eq!(proxy.reply("RMR.PLACE COPIES 3"), "-ERR 3 copies need as many nodes, and 2 are in");
    assert_eq!(proxy.reply("RMR.PLACE COPIES 2"), "+OK", "it is so already");

    let add = format!("RMR.PLACE ADD {} WEIGHT 2 ZONE rack1", addresses[2]);
    assert_eq!(proxy.reply(&add), "+OK");
    assert!(proxy.reply(&add).contains("already"), "{}", proxy.reply(&add));
    let again = proxy.reply(&format!("RMR.PLACE ADD {}", addresses[0]));
    assert!(again.ends_with("it is in already"), "{again}");
}

/// B43, B44, B57: a node leaves by a word to a proxy, and copies of slots come and go.
#[test]
fn operators_have_slots_move() {
    let [config, nodes @ ..] = servers::<4>();
    let proxy = proxy(&config);
    let addresses: Vec<String> = nodes.iter().map(Server::address).collect();
    eventually(SOON, "the settings are stored", || config.run::<bool>(&["EXISTS", "settings"]));
    assert_eq!(proxy.reply(&format!("RMR.PLACE CREATE SLOTS 32 NODES {}", addresses.join(" "))), "+OK");
    await_served(&proxy);
    for key in 0..200 {
        assert_eq!(proxy.reply(&format!("SET key:{key} {key}")), "+OK");
    }
    assert_eq!(proxy.reply("RMR.PLACE PAUSE"), "+OK");
    assert_eq!(proxy.reply("RMR.PLACE CANCEL"), "0");
    assert_eq!(proxy.reply(&format!("RMR.PLACE REMOVE {}", addresses[1])), "+OK");
    assert_eq!(proxy.reply("RMR.PLACE RESUME"), "+OK");
    let lists = || -> Vec<Vec<String>> {
        (0..32).map(|slot| config.run(&["LRANGE", &format!("hashingslot:{slot}"), "0", "-1"])).collect()
    };
    eventually(SOON, "the node has no slot any more", || !lists().concat().contains(&addresses[1]));
    assert_eq!(proxy.reply("RMR.PLACE COPIES 2"), "+OK");
    eventually(SOON, "each slot has two copies", || lists().iter().all(|list| list.len() == 2));
    for key in 0..200 {
        assert_eq!(proxy.reply(&format!("GET key:{key}")), format!("\"{key}\""));
    }
    let refused = proxy.reply(&format!("RMR.PLACE REMOVE {}", addresses[0]));
    assert!(refused.starts_with("-ERR the node ") && refused.contains("cannot leave"), "{refused}");
    let refused = proxy.reply(&format!("RMR.PLACE ADOPT {}", addresses[1]));
    assert!(refused.starts_with("-ERR the server "), "{refused}");
}

/// Weights and zones go along with a node.
#[test]
fn weights_and_zones_count_when_slots_are_given_out() {
    let [config, light, heavy] = servers::<3>();
    config.run::<u64>(&["HSET", "asked", &heavy.address(), "3 rack1"]);
    let proxy = proxy(&config);
    let nodes = [light, heavy];
    push(&config, &nodes);
    await_served(&proxy);
    let shown = ask(&proxy, "NODES");
    assert!(shown.contains("\"weight\": 3, \"zone\": \"rack1\"") && shown.contains("\"copies\": 768"), "{shown}");
    assert!(shown.contains("\"weight\": 1, \"zone\": nil") && shown.contains("\"copies\": 256"), "{shown}");
    assert!(!config.run::<bool>(&["EXISTS", "asked"]));
}

/// A user who may not change a Redis Cluster may not change a store.
#[test]
fn who_may_not_change_is_refused() {
    let [config, node] = servers::<2>();
    let proxy = proxy(&config);
    push(&config, std::slice::from_ref(&node));
    await_served(&proxy);
    assert_eq!(node.reply("ACL SETUSER app on >word ~* +@all -@dangerous"), "+OK");
    let mut app = proxy.wire();
    assert_eq!(app.reply("AUTH app word"), "+OK");
    assert!(app.reply("RMR.PLACE STATUS").starts_with('['), "{}", app.reply("RMR.PLACE STATUS"));
    for line in ["SET coverage slot", "COPIES 2", "ADD a:1", "CREATE NODES a:1"] {
        let said = app.reply(&format!("RMR.PLACE {line}"));
        assert!(said.starts_with("-NOPERM "), "{line}: {said}");
    }
    assert_eq!(config.run::<String>(&["HGET", "settings", "coverage"]), "full");
}
