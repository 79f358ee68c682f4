//! `RMR.PLACE`: what a proxy tells of the store, and who may ask.

use super::{SOON, await_served, proxy, push, servers, url};
use crate::common::{RmrProxy, Server, eventually};

/// Asks in RESP3.
fn ask(proxy: &RmrProxy, words: &str) -> String {
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
