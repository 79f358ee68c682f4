//! Tests the part of functions that outlives the process: registrations in RDB and AOF, on replicas, and what is said where they
//! cannot be kept.

use std::fs;
use std::time::Duration;

use crate::common::{Server, eventually};
use crate::servers::{Servers, call, server};

const PATIENCE: Duration = Duration::from_secs(30);

/// Registers two functions: one that counts keys, and one that is called by its name.
const SCRIPT: &str = "
GB('KeysReader', desc='counts').foreach(lambda r: execute('INCR', 'seen')).register('x*', eventTypes=['set'], mode='async_local')
GB('CommandReader').map(lambda r: 'called with ' + r[1]).register(trigger='named', mode='async_local')";

/// Tells whether a server of this version saves nothing of a module that has nothing to save.
fn saves_nothing(node: &Server) -> bool {
    let version = node.reply("INFO server");
    version.contains("valkey_version") || !version.contains("redis_version:7.0.")
}

fn register(node: &Server) -> Vec<String> {
    assert_eq!(call(node, &["RG.PYEXECUTE", SCRIPT, "ID", "s", "DESCRIPTION", "both"]), b"+OK\r\n");
    registered(node)
}

/// Returns all that is shown of registrations but what changes as they work.
fn registered(node: &Server) -> Vec<String> {
    let dump = node.reply("RG.DUMPREGISTRATIONS");
    let lines = dump.split("[\"id\"").skip(1);
    let part = |entry: &str, from: &str, to: &str| {
        let start = entry.find(from).unwrap_or_else(|| panic!("no {from} in {entry}"));
        let rest = &entry[start..];
        rest[..rest.find(to).unwrap_or(rest.len())].to_owned()
    };
    let shown = |entry: &str| {
        let id = entry.split('"').nth(1).unwrap_or_default();
        format!(
            "{id} {} {} {}",
            part(entry, "\"reader\"", "\"RegistrationData\""),
            part(entry, "\"mode\"", "\"numTriggered\""),
            part(entry, "\"args\"", "\"PD\"")
        )
    };
    lines.map(shown).collect()
}

fn seen(node: &Server) -> String {
    node.reply("GET seen")
}

/// Checks that both functions work.
#[track_caller]
fn they_work(node: &Server) {
    let before: u32 = seen(node).trim_matches('"').parse().unwrap_or(0);
    node.run::<()>(&["SET", "x1", "1"]);
    eventually(PATIENCE, "the key is seen", || seen(node) == format!("\"{}\"", before + 1));
    assert_eq!(node.reply("RG.TRIGGER named it"), "[\"called with it\"]");
}

#[test]
fn an_rdb_keeps_registrations() {
    let node = server().start();
    let before = register(&node);
    they_work(&node);
    assert_eq!(before.len(), 2);
    for save in ["SAVE", "BGSAVE"] {
        node.reply(save);
        eventually(PATIENCE, "it is saved", || node.figure("persistence", "rdb_bgsave_in_progress") == 0);
        node.restart();
        assert_eq!(registered(&node), before, "{save}");
        assert!(node.reply("RG.PYDUMPSESSIONS").contains("\"both\""));
        they_work(&node);
    }
    // Ids go on where they were.
    assert_eq!(call(&node, &["RG.PYEXECUTE", "GB('KeysReader').register('y*')"]), b"+OK\r\n");
    let after = registered(&node);
    assert!(
        after.len() == 3 && before.iter().all(|old| !old.starts_with(after[2].split(' ').next().unwrap_or_default()))
    );
}

#[test]
fn an_aof_keeps_registrations() {
    for preamble in ["yes", "no"] {
        let node = server().config("appendonly", "yes").config("aof-use-rdb-preamble", preamble).start();
        let before = register(&node);
        node.restart();
        assert_eq!(registered(&node), before, "preamble {preamble}");
        they_work(&node);
        node.reply("BGREWRITEAOF");
        eventually(PATIENCE, "it is rewritten", || {
            node.figure("persistence", "aof_rewrite_in_progress") == 0
                && node.figure("persistence", "aof_rewrite_scheduled") == 0
                && node.reply("INFO persistence").contains("aof_last_bgrewrite_status:ok")
        });
        // Registrations that are gone stay gone.
        let id = before[0].split(' ').next().unwrap_or_default();
        node.restart();
        assert_eq!(registered(&node), before, "preamble {preamble}, rewritten");
        they_work(&node);
        assert_eq!(node.reply(&format!("RG.UNREGISTER {id}")), "+OK");
        node.restart();
        assert_eq!(registered(&node), before[1..], "preamble {preamble}, one is gone");
    }
}

#[test]
fn a_file_without_registrations_needs_no_module() {
    let node = server().module_args(["gears", "auto"]).start();
    if saves_nothing(&node) {
        register(&node);
        assert_eq!(node.reply("RG.UNREGISTER nothing").chars().next(), Some('-'));
        let ids: Vec<String> =
            registered(&node).iter().map(|shown| shown.split(' ').next().unwrap_or_default().to_owned()).collect();
        ids.iter().for_each(|id| assert_eq!(node.reply(&format!("RG.UNREGISTER {id}")), "+OK"));
    }
    node.run::<()>(&["SET", "a", "1"]);
    node.run::<()>(&["SAVE"]);
    let plain = Server::builder().module(false).prepare();
    fs::copy(node.dir().join("dump.rdb"), plain.dir().join("dump.rdb")).expect("a copy");
    plain.launch();
    plain.await_ready().unwrap_or_else(|error| panic!("{error}"));
    assert_eq!(plain.reply("GET a"), "\"1\"");
}

#[test]
fn where_nothing_is_kept_nothing_is_registered() {
    let refused = |node: &Server, words: &[&str]| {
        for script in ["GB().register('x*')", "registerTE(1, lambda: 1, 'k')"] {
            let reply = String::from_utf8_lossy(&call(node, &["RG.PYEXECUTE", script])).into_owned();
            assert!(words.iter().all(|word| reply.contains(word)), "{script}: {reply}");
        }
        assert_eq!((node.reply("RG.DUMPREGISTRATIONS"), node.reply("EXISTS k")), ("[]".into(), "0".into()));
        assert_eq!(node.reply("RG.PYEXECUTE GB().count().run()"), "[[], []]");
    };
    let node = server().module_args(["gears", "auto"]).start();
    if !saves_nothing(&node) {
        refused(&node, &["every RDB file", "gears on"]);
        eventually(PATIENCE, "it is unloaded", || node.reply("MODULE UNLOAD rmr") == "+OK");
    }
    let node = server().unloadable().start();
    refused(&node, &["keep no registrations", "gears on"]);
    eventually(PATIENCE, "it is unloaded", || node.reply("MODULE UNLOAD rmr") == "+OK");
    let node = server().module_args(["gears", "off"]).start();
    assert!(node.reply("RG.PYEXECUTE 1").starts_with("-ERR unknown command"));
    assert_eq!(node.reply("RMR.PING"), "+OK", "the rest works");
}

/// The words are the server's own: it asks no module with a data type whether it may go.
#[test]
fn a_module_that_keeps_registrations_is_not_unloaded() {
    let node = server().start();
    let before = register(&node);
    let why = node.reply("MODULE UNLOAD rmr");
    let reason = "the module exports one or more module-side data types, can't unload";
    assert_eq!(why, format!("-ERR Error unloading module: {reason}"));
    assert_eq!(registered(&node), before);
    they_work(&node);
}

#[test]
fn nobody_else_moves_registrations() {
    let node = server().start();
    for command in ["RG.INNERREGISTER x", "RG.INNERTIMER k x"] {
        let reply = node.reply(command);
        assert!(reply.starts_with("-NOPERM only the server itself"), "{reply}");
        let reply = call(&node, &["EVAL", "return redis.pcall(unpack(ARGV))", "0", "RG.INNERREGISTER", "x"]);
        assert!(reply.starts_with(b"-"), "{}", String::from_utf8_lossy(&reply));
    }
}

#[test]
fn a_replica_has_registrations_and_a_promoted_one_fires() {
    let node = server().start();
    let before = register(&node);
    they_work(&node);
    let replica = server().config("replicaof", format!("127.0.0.1 {}", node.port())).start();
    eventually(PATIENCE, "the replica has them from the RDB", || registered(&replica) == before);
    // Those that are made later come by themselves.
    assert_eq!(
        call(
            &node,
            &["RG.PYEXECUTE", "GB().foreach(lambda r: execute('INCR', 'more')).register('m*', mode='async_local')"]
        ),
        b"+OK\r\n"
    );
    eventually(PATIENCE, "the replica has the new one", || registered(&replica) == registered(&node));
    node.run::<()>(&["FLUSHALL"]);
    they_work(&node);
    eventually(PATIENCE, "the replica has what its primary did, once", || seen(&replica) == "\"1\"");
    assert_eq!(registered(&replica).len(), 3, "they outlive the keys");
    let id = before[1].split(' ').next().unwrap_or_default();
    assert_eq!(node.reply(&format!("RG.UNREGISTER {id}")), "+OK");
    eventually(PATIENCE, "it is gone on the replica", || registered(&replica) == registered(&node));
    node.kill();
    assert_eq!(replica.reply("REPLICAOF NO ONE"), "+OK");
    replica.run::<()>(&["SET", "x2", "1"]);
    eventually(PATIENCE, "the new primary fires", || seen(&replica) == "\"2\"");
}

/// A replica takes the place of what it had by what its primary has.
#[test]
fn a_full_synchronisation_replaces_all() {
    let node = server().start();
    let replica = server().start();
    register(&replica);
    assert_eq!(replica.reply(&format!("REPLICAOF 127.0.0.1 {}", node.port())), "+OK");
    eventually(PATIENCE, "it has none, too", || registered(&replica).is_empty());
    register(&node);
    eventually(PATIENCE, "it has those", || registered(&replica).len() == 2);
}

#[test]
fn what_cannot_be_rebuilt_is_kept_and_says_so() {
    let node = server().start();
    let before = register(&node);
    node.run::<()>(&["SAVE"]);
    let other = Server::builder().module_args(["gears", "on", "python", "/nowhere/python3"]).prepare();
    fs::copy(node.dir().join("dump.rdb"), other.dir().join("dump.rdb")).expect("a copy");
    other.launch();
    other.await_ready().unwrap_or_else(|error| panic!("{error}"));
    assert_eq!(registered(&other), before);
    eventually(PATIENCE, "it says why", || other.reply("RG.DUMPREGISTRATIONS").contains("/nowhere/python3"));
    // And it goes on being kept.
    other.run::<()>(&["SAVE"]);
    fs::copy(other.dir().join("dump.rdb"), node.dir().join("dump.rdb")).expect("a copy");
    node.restart();
    assert_eq!(registered(&node), before);
    they_work(&node);
}

#[test]
fn a_reload_keeps_them() {
    let servers = Servers::of(server().start());
    let before = register(servers.first());
    assert!(
        servers.first().reply("DEBUG RELOAD").starts_with('+')
            || servers.first().reply("DEBUG RELOAD").contains("DEBUG command not allowed")
    );
    assert_eq!(registered(servers.first()), before);
    they_work(servers.first());
}
