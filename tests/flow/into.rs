//! Results that go to a key: all at once, or not at all.

use crate::common::{Server, eventually};
use crate::servers::Servers;

fn fill(servers: &Servers) {
    for number in 0..20 {
        servers.set(&format!("SET user:{number} {}", number % 4));
    }
    servers.set("RPUSH queue a b");
}

#[test]
fn results_become_a_list_a_hash_or_a_stream() {
    for servers in Servers::all() {
        let kind = servers.kind;
        fill(&servers);
        for node in servers.asked() {
            servers.set("SET to before");
            assert_eq!(node.reply("RMR.MAP INTO HASH to LIST MATCH user:* GET"), "20", "{kind}");
            assert_eq!(servers.exec("HGET to user:7"), "\"3\"", "{kind}");
            assert_eq!(servers.exec("TTL to"), "-1", "{kind}");
            assert_eq!(node.reply("RMR.MAP INTO LIST to LIST MATCH user:*"), "20", "{kind}");
            assert_eq!(servers.exec("LLEN to"), "20", "{kind}");
            assert!(servers.exec("LPOS to user:7") != "nil", "{kind}");
            assert_eq!(node.reply("RMR.MAP INTO STREAM to LIST MATCH queue LRANGE {} 0 -1"), "1", "{kind}");
            let entries = servers.exec("XRANGE to - +");
            assert!(entries.ends_with("[\"key\", \"queue\", \"reply\", \"[\"a\",\"b\"]\"]]]"), "{kind}: {entries}");
            assert_eq!(node.reply("RMR.MAP INTO HASH to GROUP MATCH user:* GET"), "4", "{kind}");
            assert_eq!(servers.exec("HGET to 2"), "\"5\"", "{kind}");
            assert_eq!(node.reply("RMR.MAP INTO LIST to TOP 2 MATCH user:* LIMIT 20 STRLEN"), "2", "{kind}");
            assert_eq!(servers.exec("LLEN to"), "2", "{kind}");
            assert_eq!(node.reply("RMR.MAP INTO LIST to SUM MATCH user:* GET"), "1", "{kind}");
            assert_eq!(servers.exec("LRANGE to 0 -1"), "[\"30\"]", "{kind}");
            assert_eq!(node.reply3("RMR.MAP PARTIAL INTO LIST to LIST MATCH queue GET").split(", ").next(), Some("[0"));
            assert_eq!(servers.exec("EXISTS to"), "0", "{kind}: nothing is no key");
        }
        let id = servers.asked()[0].reply("RMR.MAP ASYNC INTO LIST to LIST MATCH user:*").trim_matches('"').to_owned();
        assert_eq!(servers.asked()[0].reply(&format!("RMR.JOB RESULT {id} BLOCK 20000")), "20", "{kind}");
        assert_eq!(servers.exec("LLEN to"), "20", "{kind}");
    }
}

#[test]
fn many_results_go_in_several_batches() {
    for servers in [Servers::single(), Servers::cluster()] {
        let values: Vec<String> = (0..2500).map(|number| format!("k:{number} {number}")).collect();
        servers.set(&format!("MSET {}", values.join(" ")).replace("MSET", "NONATOMIC MSET"));
        let node = servers.asked().last().expect("a node");
        for (kind, length) in [("LIST", "LLEN"), ("HASH", "HLEN"), ("STREAM", "XLEN")] {
            assert_eq!(node.reply(&format!("RMR.MAP INTO {kind} to LIST MATCH k:* GET")), "2500", "{kind}");
            assert_eq!(servers.exec(&format!("{length} to")), "2500", "{kind}");
        }
        assert_eq!(node.reply("RMR.MAP COUNT MATCH *"), "2501", "nothing else is left");
    }
}

#[test]
fn a_failure_leaves_the_key_as_it_was() {
    for servers in Servers::all() {
        let kind = servers.kind;
        fill(&servers);
        servers.set("SET to before");
        for node in servers.asked() {
            assert!(node.reply("RMR.MAP INTO LIST to LIST MATCH * GET").contains("WRONGTYPE"), "{kind}");
            assert_eq!(servers.exec("GET to"), "\"before\"", "{kind}");
            let error = node.reply("RMR.MAP INTO HASH to SUM MATCH user:* GET");
            assert!(
                error.starts_with("-ERR INTO HASH needs results that have keys, and those of SUM have none"),
                "{error}"
            );
        }
    }
}

#[test]
fn the_right_to_write_the_key_is_checked_first() {
    let servers = Servers::cluster();
    fill(&servers);
    for node in servers.asked() {
        let rules = ["~user:*", "%R~to", "&*", "-@all", "+rmr.map", "+get", "+incr", "+rpush", "+del"];
        node.run::<()>(&[&["ACL", "SETUSER", "ann", "on", ">pw"][..], &rules].concat());
        let mut wire = node.wire();
        assert_eq!(wire.reply("AUTH ann pw"), "+OK");
        let error = wire.reply("RMR.MAP INTO LIST to SUM MATCH user:* INCR");
        assert!(error.starts_with("-NOPERM ") && error.contains("'to'"), "{error}");
        assert_eq!(node.reply("RMR.MAP SUM MATCH user:* GET"), "30", "nothing has run");
    }
}

#[test]
fn results_under_construction_are_hidden() {
    for servers in [Servers::single(), Servers::cluster()] {
        fill(&servers);
        servers.set("SET rmr:into:x 1");
        let node = &servers.asked()[0];
        assert_eq!(node.reply("RMR.MAP COUNT MATCH *"), "21");
        assert!(!node.reply("RMR.EXEC KEYS *").contains("rmr:into"));
        let mut cursor = "0".to_owned();
        loop {
            let page = node.reply(&format!("RMR.SCAN {cursor} COUNT 1000"));
            assert!(!page.contains("rmr:into"), "{page}");
            cursor = page.split('"').nth(1).expect("a cursor").to_owned();
            if cursor == "0" {
                break;
            }
        }
    }
}

#[test]
fn figures_tell_of_executions() {
    let server = Server::start();
    server.run::<()>(&["SET", "k", "text"]);
    assert_eq!(server.reply("RMR.MAP COUNT MATCH *"), "1");
    assert!(server.reply("RMR.MAP SUM MATCH * GET").starts_with("-RMRMIXED"));
    let id = server.reply("RMR.MAP ASYNC LIST MATCH *").trim_matches('"').to_owned();
    assert_eq!(server.reply(&format!("RMR.JOB RESULT {id} BLOCK 20000")), "[\"k\"]");
    eventually(std::time::Duration::from_secs(5), "all have ended", || server.rmr_figure("executions_running") == 0);
    assert_eq!(server.rmr_figure("executions_done"), 2);
    assert_eq!(server.rmr_figure("executions_failed"), 1);
    assert_eq!(server.rmr_figure("executions_cancelled"), 0);
    assert!(server.rmr_figure("kept_result_bytes") > 0);
}
