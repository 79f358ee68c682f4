//! Functions, scripts and users: on all nodes that run code, those without slots included.

use crate::common::{Cluster, Server};

const LIBRARY: &str = "#!lua name=lib\nredis.register_function('f', function() return 7 end)";

/// Returns two shards and a primary that has joined without slots; its index.
fn with_a_new_node() -> (Cluster, usize) {
    let mut cluster = Cluster::start(2);
    let new = cluster.add_node();
    cluster.nodes().iter().for_each(|node| assert!(node.reply("RMR.REFRESH").starts_with('[')));
    (cluster, new)
}

/// Returns the names of the libraries that a node itself has.
fn libraries(node: &Server) -> usize {
    node.reply("FUNCTION LIST").matches("library_name").count()
}

#[test]
fn functions_reach_primaries_without_slots_by_load_delete_flush_restore_exec_and_proxy() {
    let (cluster, new) = with_a_new_node();
    let on_all = |expected: usize, what: &str| {
        let found: Vec<usize> = cluster.nodes().iter().map(libraries).collect();
        assert_eq!(found, vec![expected; 3], "{what}");
    };
    let may_be_proxy = cluster.node(0).redis_version() >= (7, 2);
    for prefix in [&["RMR.EXEC"][..], &[]] {
        if prefix.is_empty() {
            if !may_be_proxy {
                continue;
            }
            cluster.nodes().iter().for_each(|node| node.run::<()>(&["CONFIG", "SET", "rmr.proxy-mode", "on"]));
        }
        for asked in [cluster.node(0), cluster.node(new)] {
            let mut wire = asked.wire();
            let mut run = |words: &[&str]| wire.reply_to(&[prefix, words].concat());
            assert_eq!(run(&["FUNCTION", "LOAD", LIBRARY]), "\"lib\"");
            on_all(1, "load");
            assert_eq!(run(&["FCALL", "f", "0"]), "7", "by the node that was asked");
            assert_eq!(run(&["FUNCTION", "DELETE", "lib"]), "+OK");
            on_all(0, "delete");
            assert_eq!(run(&["FUNCTION", "LOAD", LIBRARY]), "\"lib\"");
            assert_eq!(run(&["FUNCTION", "FLUSH"]), "+OK");
            on_all(0, "flush");
            assert_eq!(run(&["FUNCTION", "LOAD", LIBRARY]), "\"lib\"");
            let dump = asked.wire().call(&["FUNCTION", "DUMP"]);
            let start = dump.iter().position(|&byte| byte == b'\n').expect("a header") + 1;
            let payload = &dump[start..dump.len() - 2];
            assert_eq!(run(&["FUNCTION", "FLUSH"]), "+OK");
            let mut restore: Vec<&[u8]> = prefix.iter().map(|word| word.as_bytes()).collect();
            restore.extend([&b"FUNCTION"[..], b"RESTORE", payload, b"FLUSH"]);
            assert_eq!(asked.wire().reply_to(&restore), "+OK");
            on_all(1, "restore");
            assert_eq!(run(&["FUNCTION", "FLUSH"]), "+OK");
        }
    }
}

#[test]
fn a_slot_that_moves_to_a_new_node_finds_the_functions_and_scripts_there() {
    let (cluster, new) = with_a_new_node();
    let node = cluster.node(0);
    assert_eq!(node.wire().reply_to(&["RMR.EXEC", "FUNCTION", "LOAD", LIBRARY]), "\"lib\"");
    let digest = node.wire().reply_to(&["RMR.EXEC", "SCRIPT", "LOAD", "return 8"]);
    let digest = digest.trim_matches('"');
    let key = cluster.key_for(0, "k");
    cluster.move_slot(crate::common::slot_of(&key), 0, new);
    for node in cluster.nodes() {
        node.reply("RMR.REFRESH");
        assert_eq!(node.reply(&format!("RMR.EXEC FCALL f 1 {key}")), "7");
        assert_eq!(node.reply(&format!("RMR.EXEC EVALSHA {digest} 1 {key}")), "8");
        assert_eq!(node.reply(&format!("RMR.EXEC SCRIPT EXISTS {digest}")), "[1]");
    }
    cluster.node(new).run::<()>(&["SCRIPT", "FLUSH"]);
    let lost = cluster.node(0).reply(&format!("RMR.EXEC SCRIPT EXISTS {digest}"));
    assert_eq!(lost, "[0]", "not everywhere");
}

#[test]
fn what_a_node_without_functions_dumps_deletes_none_elsewhere() {
    let (cluster, new) = with_a_new_node();
    cluster.node(0).run::<()>(&["FUNCTION", "LOAD", LIBRARY]);
    cluster.node(1).run::<()>(&["FUNCTION", "LOAD", LIBRARY]);
    let dump = cluster.node(new).wire().call(&["FUNCTION", "DUMP"]);
    let start = dump.iter().position(|&byte| byte == b'\n').expect("a header") + 1;
    let payload = &dump[start..dump.len() - 2];
    let restore = |options: &[&str], how: &[u8]| {
        let mut words: Vec<&[u8]> = [&["RMR.EXEC"], options].concat().into_iter().map(str::as_bytes).collect();
        words.extend([&b"FUNCTION"[..], b"RESTORE", payload, how]);
        cluster.node(new).wire().reply_to(&words)
    };
    for options in [&[][..], &["ON", "ALL"], &["PARTIAL"]] {
        let refusal = restore(options, b"flush");
        assert!(refusal.starts_with("-ERR 'function|restore'") && refusal.contains("holds no library"), "{refusal}");
    }
    assert_eq!(restore(&[], b"APPEND"), "+OK", "that deletes nothing");
    assert_eq!([0, 1].map(|at| libraries(cluster.node(at))), [1, 1]);
    assert_eq!(restore(&["NODE", &cluster.node(1).address()], b"FLUSH"), "+OK", "that is what was said");
    assert_eq!([0, 1].map(|at| libraries(cluster.node(at))), [1, 0]);
}

#[test]
fn topology_code_shows_who_lacks_functions_scripts_and_users() {
    let mut cluster = Cluster::start(2);
    let node = cluster.node(0);
    assert_eq!(node.wire().reply_to(&["RMR.EXEC", "FUNCTION", "LOAD", LIBRARY]), "\"lib\"");
    assert_eq!(node.reply("RMR.EXEC ACL SETUSER alice on ~* +get"), "+OK");
    assert_eq!(node.wire().reply_to(&["RMR.EXEC", "SCRIPT", "LOAD", "return 8"]).len(), 42);
    let has =
        "\"functions\": [\"lib\"], \"users\": [\"alice\", \"default\"], \"scripts\": 1, \"lacks\": [], \"differs\": []";
    assert_eq!(node.reply3("RMR.TOPOLOGY CODE").matches(has).count(), 2);
    let new = cluster.add_node();
    for node in cluster.nodes() {
        node.reply("RMR.REFRESH");
        let shown = node.reply3("rmr.topology code");
        let lacks = "\"functions\": [], \"users\": [\"default\"], \"scripts\": 0, \
                     \"lacks\": [\"function library lib\", \"user alice\"], \"differs\": []";
        assert_eq!((shown.matches(has).count(), shown.matches(lacks).count()), (2, 1), "{shown}");
        assert!(!node.reply("RMR.TOPOLOGY").contains("lacks"));
    }
    cluster.node(new).run::<()>(&["ACL", "SETUSER", "alice", "on"]);
    let shown = cluster.node(0).reply3("RMR.TOPOLOGY CODE");
    assert_eq!(shown.matches("\"differs\": [\"user alice\"]").count(), 3, "{shown}");
    // The rights of the caller are those to what is asked.
    cluster.node(0).run::<()>(&["ACL", "SETUSER", "bob", "on", "nopass", "+rmr.topology", "+info", "+function|list"]);
    let mut wire = cluster.node(0).wire();
    assert_eq!(wire.reply("AUTH bob x"), "+OK");
    assert!(wire.reply("RMR.TOPOLOGY CODE").starts_with("-NOPERM "));
    cluster.node(0).run::<()>(&["ACL", "DELUSER", "bob"]);
    // A node that cannot be asked hides nothing of the others.
    let gone = cluster.node(new).shown_name();
    cluster.node(new).kill();
    let shown = cluster.node(0).reply3("RMR.TOPOLOGY CODE");
    assert!(
        shown.contains(&format!("\"code\": -RMRNODE {gone}: ")) && shown.matches("\"lacks\": []").count() == 2,
        "{shown}"
    );
}

#[test]
fn functions_are_copied_to_a_named_node() {
    let (cluster, new) = with_a_new_node();
    cluster.node(1).run::<()>(&["FUNCTION", "LOAD", LIBRARY]);
    let [from, to] = [1, new].map(|at| cluster.node(at).address());
    let dump = cluster.node(0).wire().call(&["RMR.EXEC", "NODE", &from, "FUNCTION", "DUMP"]);
    let start = dump.iter().position(|&byte| byte == b'\n').expect("a header") + 1;
    let words: [&[u8]; 7] =
        [b"RMR.EXEC", b"NODE", to.as_bytes(), b"FUNCTION", b"RESTORE", &dump[start..dump.len() - 2], b"REPLACE"];
    for asked in [cluster.node(0), cluster.node(new)] {
        assert_eq!(asked.wire().reply_to(&words), "+OK");
        assert_eq!(cluster.node(new).reply("FCALL f 0"), "7");
    }
    assert_eq!(libraries(cluster.node(0)), 0, "nowhere else");
}
