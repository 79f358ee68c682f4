//! Registrations while servers restart, load, fail to load, and are of several versions: all are kept, or none is half there.

use std::fs;
use std::time::Duration;

use crate::common::{Cluster, Server, Wire, c_module, elements, eventually, functions_python, module_path, show};
use crate::requirements::Folder;
use crate::servers::{call, cluster, server};

const PATIENCE: Duration = Duration::from_secs(40);

/// Registers at a node a function that is called by this name and returns this text.
#[track_caller]
fn register(node: &Server, name: &str, says: &str) {
    assert_eq!(try_register(node, name, says), "+OK");
}

fn try_register(node: &Server, name: &str, says: &str) -> String {
    show(&call(node, &["RG.PYEXECUTE", &script(name, says)]))
}

fn script(name: &str, says: &str) -> String {
    format!("GB('CommandReader').map(lambda x: '{says}').register(trigger='{name}', mode='async_local')")
}

/// Returns the ids of the registrations of a node, in their order.
fn ids(node: &Server) -> Vec<String> {
    let reply = call(node, &["RG.DUMPREGISTRATIONS"]);
    elements(&reply).into_iter().map(|element| show(elements(element)[1]).trim_matches('"').to_owned()).collect()
}

fn trigger(node: &Server, name: &str) -> String {
    show(&call(node, &["RG.TRIGGER", name]))
}

#[track_caller]
fn await_answer(node: &Server, name: &str, says: &str) {
    eventually(PATIENCE, &format!("{name} says {says}"), || trigger(node, name) == format!("[\"{says}\"]"));
}

/// Each node is restarted with nothing but what it has saved, while functions are registered at the others.
#[test]
fn a_rolling_restart_keeps_registrations() {
    for config in [&[("appendonly", "yes")][..], &[("appendonly", "yes"), ("aof-use-rdb-preamble", "no")], &[]] {
        let with = |builder: crate::common::ClusterBuilder, (name, value): &(&str, &str)| builder.config(name, *value);
        let cluster = config.iter().fold(cluster(), with).start();
        register(cluster.node(0), "t", "first");
        for (at, node) in cluster.nodes().iter().enumerate() {
            if config.is_empty() {
                node.run::<()>(&["SAVE"]);
            }
            node.restart();
            cluster.settle();
            await_answer(node, "t", "first");
            let (other, name) = (cluster.node((at + 1) % 3), format!("t{at}"));
            // Until the others have seen that it is back, it is missed.
            eventually(PATIENCE, "all shards are there", || {
                let reply = try_register(other, &name, "later");
                reply == "+OK" || reply.contains("already registered")
            });
            for node in cluster.nodes() {
                await_answer(node, &name, "later");
            }
        }
        let all = ids(cluster.node(0));
        assert_eq!(all.len(), 4, "{all:?}");
        for node in cluster.nodes() {
            eventually(PATIENCE, "all have the same", || ids(node) == all);
        }
    }
}

fn load_ours(node: &Server) {
    let (path, python) = (module_path(), functions_python());
    node.run::<()>(&["MODULE", "LOAD", path.to_str().expect("a path"), "gears", "on", "python", &python]);
}

/// Nodes of another version, and without the module, are not able to keep what is registered: all refuse, by the name of that
/// shard. Registrations from before stay, and a node that comes back gets them.
#[test]
fn nodes_of_several_versions() {
    let cluster = Cluster::builder().module(false).start();
    let [first, second, other] = [0, 1, 2].map(|at| cluster.node(at));
    [first, second].into_iter().for_each(load_ours);
    let id: String = other.run(&["CLUSTER", "MYID"]);
    let refused = |what: &str| {
        for node in [first, second] {
            let reply = try_register(node, "t", "1");
            assert!(reply.starts_with("[-ERR shard-") && reply.contains(&id), "{what}: {reply}");
            assert_eq!((ids(node), trigger(node, "t")), (vec![], "-ERR subcommand not found".into()), "{what}");
        }
    };
    refused("a node without the module");
    let path = c_module("tests/protocol/other_version.c");
    other.run::<()>(&["MODULE", "LOAD", path.to_str().expect("a path"), "3"]);
    refused("a node of another version");
    other.run::<()>(&["MODULE", "UNLOAD", "otherversion"]);
    load_ours(other);
    eventually(PATIENCE, "all are there", || try_register(first, "t", "1") == "+OK");
    cluster.nodes().iter().for_each(|node| await_answer(node, "t", "1"));
    let all = ids(first);
    // It begins without its module, which was loaded by hand.
    other.restart();
    cluster.settle();
    let away = |node: &Server| try_register(node, "u", "2").contains(&id);
    eventually(PATIENCE, "nothing can be registered without it", || away(first) && away(second));
    for node in [first, second] {
        assert_eq!((ids(node), trigger(node, "t")), (all.clone(), r#"["1"]"#.into()));
    }
    load_ours(other);
    await_answer(other, "t", "1");
    assert_eq!(ids(other), all);
}

/// The folder of wheels is gone by then: the packages come out of what was saved.
#[test]
fn packages_survive_a_restart_and_a_replica_has_them() {
    for config in ["no", "yes"] {
        let folder = Folder::new(&format!("restart-{config}"));
        let node = server().module_args(folder.arguments()).config("appendonly", config).start();
        let script = "import rmr_first
def version(x):
    return rmr_first.version
GB('CommandReader').map(version).register(trigger='version', mode='async_local')";
        let words = ["RG.PYEXECUTE", script, "REQUIREMENTS", "rmr_first==1.5"];
        assert_eq!(show(&call(&node, &words)), "+OK");
        assert_eq!(trigger(&node, "version"), r#"["1.5"]"#);
        fs::remove_dir_all(&folder.0).expect("the wheels are gone");
        let replica = server().config("replicaof", format!("127.0.0.1 {}", node.port())).start();
        if config == "no" {
            node.run::<()>(&["SAVE"]);
        }
        node.restart();
        await_answer(&node, "version", "1.5");
        eventually(PATIENCE, "the replica has it", || ids(&replica) == ids(&node));
        node.kill();
        assert_eq!(replica.reply("REPLICAOF NO ONE"), "+OK");
        await_answer(&replica, "version", "1.5");
    }
}

/// A registration whose package is lost is kept, and says what is missing; the server starts, and runs the others.
#[test]
fn a_registration_that_cannot_be_rebuilt_says_what_is_missing() {
    let module = std::env::temp_dir().join(format!("rmr-lost-{}", std::process::id()));
    fs::create_dir_all(&module).expect("a folder");
    fs::write(module.join("lost_one.py"), "text = 'it is there'\n").expect("a module of Python");
    let import = format!("import sys\nsys.path.insert(0, '{}')\nimport lost_one\n", module.display());
    let node = server().config("appendonly", "yes").start();
    register(&node, "whole", "it runs");
    let script = format!(
        "{import}GB('CommandReader').map(lambda x: lost_one.text).register(trigger='broken', mode='async_local')
GB().foreach(lambda r: lost_one.text).register('k*', mode='async_local')"
    );
    assert_eq!(show(&call(&node, &["RG.PYEXECUTE", &script])), "+OK");
    assert_eq!(trigger(&node, "broken"), r#"["it is there"]"#);
    let all = ids(&node);
    fs::remove_dir_all(&module).expect("it is gone");
    for _ in 0..2 {
        node.restart();
        assert_eq!(ids(&node), all);
        await_answer(&node, "whole", "it runs");
        let refused = trigger(&node, "broken");
        assert!(refused.starts_with('-') && refused.contains("lost_one"), "{refused}");
        node.reply("SET k1 v");
        eventually(PATIENCE, "both say why", || node.reply("RG.DUMPREGISTRATIONS").matches("lost_one").count() >= 2);
    }
    assert_eq!(node.reply(&format!("RG.UNREGISTER {}", all[1])), "+OK");
    node.restart();
    assert_eq!(ids(&node), [&all[..1], &all[2..]].concat());
}

/// Lets a replica lose its place in what its primary has to tell: it has to get all anew.
fn lose_the_place(primary: &Server, replica: &Server) {
    replica.stop_signal();
    let text = "x".repeat(100_000);
    for number in 0..30 {
        primary.run::<()>(&["SET", &format!("filler:{number}"), &text]);
    }
    primary.run::<()>(&["CLIENT", "KILL", "TYPE", "replica"]);
    for number in 0..30 {
        primary.run::<()>(&["SET", &format!("filler:{number}"), &text]);
    }
}

/// A replica that goes on serving while it loads has the old registrations until it has the new ones.
#[test]
fn a_replica_that_serves_while_it_loads() {
    let node = server().config("repl-backlog-size", "16kb").config("repl-diskless-sync-delay", "0").start();
    let replica = server()
        .config("repl-diskless-load", "swapdb")
        .config("replicaof", format!("127.0.0.1 {}", node.port()))
        .start();
    register(&node, "old", "1");
    register(&node, "gone", "2");
    eventually(PATIENCE, "the replica has both", || ids(&replica).len() == 2);
    let gone = ids(&node)[1].clone();
    let full = |node: &Server| node.figure("stats", "sync_full");
    let before = full(&node);
    lose_the_place(&node, &replica);
    assert_eq!(node.reply(&format!("RG.UNREGISTER {gone}")), "+OK");
    register(&node, "new", "3");
    replica.cont_signal();
    eventually(PATIENCE, "the replica has what its primary has", || ids(&replica) == ids(&node));
    eventually(PATIENCE, "and so are its keys", || replica.reply("DBSIZE") == node.reply("DBSIZE"));
    assert!(full(&node) > before, "it has not loaded anew");
    node.kill();
    assert_eq!(replica.reply("REPLICAOF NO ONE"), "+OK");
    await_answer(&replica, "old", "1");
    await_answer(&replica, "new", "3");
    assert_eq!(trigger(&replica, "gone"), "-ERR subcommand not found");
}

/// The primary goes in the midst of what it sends: the replica has its own registrations and keys yet.
#[test]
fn a_load_that_fails_leaves_what_there_was() {
    let node = server()
        .config("repl-diskless-sync", "yes")
        .config("repl-diskless-sync-delay", "0")
        .config("rdbcompression", "no")
        .start();
    register(&node, "new", "of the primary");
    let text = "x".repeat(400);
    for number in 0..3000 {
        node.run::<()>(&["SET", &format!("key:{number}"), &text]);
    }
    node.run::<()>(&["CONFIG", "SET", "rdb-key-save-delay", "3000"]);
    // Looks at its clients between pieces of what comes.
    let replica =
        server().config("repl-diskless-load", "swapdb").config("loading-process-events-interval-bytes", "1024").start();
    register(&replica, "own", "of the replica");
    replica.run::<()>(&["SET", "own", "1"]);
    let before = ids(&replica);
    assert_eq!(replica.reply(&format!("REPLICAOF 127.0.0.1 {}", node.port())), "+OK");
    eventually(PATIENCE, "it loads", || replica.run::<String>(&["INFO", "persistence"]).contains("\r\nloading:1"));
    node.kill();
    eventually(PATIENCE, "it gives up", || {
        let info = replica.run::<String>(&["INFO", "persistence"]);
        info.contains("\r\nloading:0") && info.contains("async_loading:0")
    });
    assert_eq!(replica.reply("REPLICAOF NO ONE"), "+OK");
    assert_eq!((replica.reply("DBSIZE"), replica.reply("GET own")), ("1".into(), "\"1\"".into()));
    assert_eq!(ids(&replica), before);
    await_answer(&replica, "own", "of the replica");
    assert_eq!(trigger(&replica, "new"), "-ERR subcommand not found");
    register(&replica, "next", "later");
}

/// A registration is a write, and nothing may be written while clients are paused: who registers is told so, and nothing has
/// changed. Where all commands wait, so does that.
#[test]
fn registering_while_clients_are_paused() {
    const PAUSED: &str = "registrations do not change while writes are paused; try again";
    let node = server().config("appendonly", "yes").start();
    let replica = server().config("replicaof", format!("127.0.0.1 {}", node.port())).start();
    register(&node, "early", "1");
    eventually(PATIENCE, "the replica has it", || ids(&replica).len() == 1);
    let early = ids(&node);
    assert_eq!(node.reply("CLIENT PAUSE 60000 WRITE"), "+OK");
    for words in [vec!["RG.PYEXECUTE", &script("t", "1")], vec!["RG.UNREGISTER", &early[0]]] {
        let reply = show(&call(&node, &words));
        assert!(reply.contains(PAUSED), "{words:?}: {reply}");
    }
    // Commands that change nothing work on.
    assert_eq!((ids(&node), trigger(&node, "early")), (early.clone(), r#"["1"]"#.into()));
    assert_eq!(node.reply("CLIENT UNPAUSE"), "+OK");
    let mut wire = Wire::connect_with_timeout(node.port(), PATIENCE);
    // Nobody is heard by then, nor who would end it.
    assert_eq!(node.reply("CLIENT PAUSE 1000 ALL"), "+OK");
    wire.send(&["RG.PYEXECUTE", &script("t", "later")]);
    assert!(!wire.answers_within(Duration::from_millis(200)));
    assert_eq!(show(&wire.read_frame()), "+OK");
    let all = ids(&node);
    assert_eq!((all.len(), &all[0]), (2, &early[0]));
    eventually(PATIENCE, "the replica has it, too", || ids(&replica) == all);
    node.restart();
    assert_eq!(ids(&node), all);
}

/// A shard whose clients are paused, as during a manual failover: all shards refuse by its name, or all have it.
#[test]
fn registering_while_clients_of_another_shard_are_paused() {
    let cluster = cluster().start();
    register(cluster.node(0), "early", "1");
    let id: String = cluster.node(1).run(&["CLUSTER", "MYID"]);
    assert_eq!(cluster.node(1).reply("CLIENT PAUSE 60000 WRITE"), "+OK");
    let reply = try_register(cluster.node(0), "t", "1");
    assert!(reply.contains(&format!("shard-{id}: registrations do not change while writes are paused")), "{reply}");
    for node in cluster.nodes() {
        assert_eq!(trigger(node, "early"), r#"["1"]"#);
        assert_eq!(trigger(node, "t"), "-ERR subcommand not found");
    }
    assert_eq!(cluster.node(1).reply("CLIENT UNPAUSE"), "+OK");
    register(cluster.node(0), "t", "1");
    cluster.nodes().iter().for_each(|node| await_answer(node, "t", "1"));
}
