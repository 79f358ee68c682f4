//! Tests the rights of callers: commands taken away, keys by kind of access, selectors, channels; and users that go.

use std::time::Duration;

use crate::common::{Cluster, Server, eventually};
use crate::users::{PASSWORD, login, make_user};

#[test]
fn who_may_fan_out_but_not_flush_cannot_flush() {
    let cluster = Cluster::start(3);
    for shard in 0..3 {
        cluster.set(cluster.key_for(shard, "k"), "v");
    }
    make_user(cluster.nodes(), "bob", "~* &* +@all -flushall");
    for node in cluster.nodes() {
        let mut wire = login(node, "bob");
        for line in ["RMR.FANOUT FLUSHALL", "rmr.fanout -- FlushAll ASYNC", "RMR.FANOUT ON ALL flushall"] {
            let reply = wire.reply(line);
            assert!(reply.starts_with("-NOPERM user bob may not run '"), "{line}: {reply}");
        }
        assert_eq!(wire.reply("RMR.FANOUT REDUCE SUM DBSIZE"), "3");
    }
    let mut wire = login(cluster.node(0), "bob");
    assert_eq!(wire.reply("RMR.FANOUT FLUSHDB"), "[+OK, +OK, +OK]", "nobody took that away");
    assert_eq!(wire.reply("RMR.FANOUT REDUCE SUM DBSIZE"), "0");
}

#[test]
fn subcommands_have_rights_of_their_own() {
    let cluster = Cluster::start(2);
    make_user(cluster.nodes(), "carol", "+rmr.fanout +config|get +client|list");
    let mut wire = login(cluster.node(0), "carol");
    assert!(wire.reply("RMR.FANOUT CONFIG GET port").starts_with("[["));
    for line in ["RMR.FANOUT CONFIG SET maxmemory 0", "RMR.FANOUT CLIENT KILL TYPE normal", "RMR.FANOUT config rewrite"]
    {
        let reply = wire.reply(line);
        assert!(reply.starts_with("-NOPERM user carol may not run '"), "{line}: {reply}");
    }
}

#[test]
fn reading_and_writing_are_two_rights() {
    let cluster = Cluster::start(3);
    let keys: Vec<String> = (0..3).map(|shard| cluster.key_for(shard, "n")).collect();
    cluster.fill(3, |shard| (keys[shard].clone(), "2"));
    make_user(cluster.nodes(), "reader", "%R~n:* +@all");
    make_user(cluster.nodes(), "writer", "%W~n:* +@all");
    let keys = keys.join(" ");
    for node in cluster.nodes() {
        let (mut reader, mut writer) = (login(node, "reader"), login(node, "writer"));
        assert_eq!(reader.reply(&format!("RMR.SUM {keys}")), "6");
        assert!(reader.reply(&format!("RMR.MAP LIST 3 {keys} SET {{}} 9")).starts_with("-NOPERM user reader "));
        assert!(reader.reply(&format!("RMR.MAP LIST 3 {keys} INCR")).starts_with("-NOPERM user reader "));
        assert!(writer.reply(&format!("RMR.SUM {keys}")).starts_with("-NOPERM user writer "));
        assert_eq!(writer.reply(&format!("RMR.MAP LIST 3 {keys} SET {{}} 2")), "[+OK, +OK, +OK]");
    }
}

#[test]
fn a_batch_is_allowed_as_a_whole_before_anything_leaves() {
    let cluster = Cluster::start(3);
    let keys: Vec<String> = (0..3).map(|shard| cluster.key_for(shard, "mine")).collect();
    let foreign = cluster.key_for(2, "foreign");
    make_user(cluster.nodes(), "erin", "~mine:* +@all -append");
    for node in cluster.nodes() {
        let mut wire = login(node, "erin");
        let sets: Vec<String> = keys.iter().map(|key| format!("{key} 1 3 SET {key} 1")).collect();
        let sets = sets.join(" ");
        for forbidden in [
            format!("{foreign} 1 2 GET {foreign}"),
            format!("{{{}}} 1 2 GET {foreign}", keys[1]),
            format!("other 1 3 APPEND {} x", keys[0]),
            format!("other 1 4 EVAL return(1) 1 {}", keys[0]),
            "other 1 1 NOSUCH".into(),
        ] {
            let reply = wire.reply(&format!("RMR.BATCH {sets} {forbidden}"));
            assert!(reply.starts_with("-NOPERM user erin may not run '"), "{forbidden}: {reply}");
            assert_eq!(node.reply("RMR.FANOUT REDUCE SUM DBSIZE"), "0", "{forbidden}: nothing was sent");
        }
        assert_eq!(wire.reply(&format!("RMR.BATCH {sets}")).matches("+OK").count(), 3);
        assert_eq!(node.reply("RMR.FANOUT FLUSHALL").matches("+OK").count(), 3);
    }
}

#[test]
fn selectors_add_rights() {
    let cluster = Cluster::start(3);
    let keys = |prefix: &str| -> Vec<String> { (0..3).map(|shard| cluster.key_for(shard, prefix)).collect() };
    let (mine, extra) = (keys("mine"), keys("extra"));
    for key in mine.iter().chain(&extra) {
        cluster.set(key, "1");
    }
    for node in cluster.nodes() {
        let password = format!(">{PASSWORD}");
        let rules = ["on", &password, "~mine:*", "+@all", "(+get ~extra:*)"];
        node.run::<()>(&[&["ACL", "SETUSER", "dave"][..], &rules].concat());
        let mut wire = login(node, "dave");
        assert_eq!(wire.reply(&format!("RMR.SUM {} {}", mine.join(" "), extra.join(" "))), "6");
        let reply = wire.reply(&format!("RMR.MAP LIST 1 {} SET {{}} 2", extra[1]));
        assert!(reply.starts_with("-NOPERM user dave may not run 'SET' with the key '"), "{reply}");
    }
}

#[test]
fn channels_are_checked() {
    let cluster = Cluster::start(2);
    make_user(cluster.nodes(), "erin", "resetchannels &public:* ~* +@all");
    for node in cluster.nodes() {
        let mut wire = login(node, "erin");
        assert_eq!(wire.reply("RMR.FANOUT PUBLISH public:news x"), "[0, 0]");
        let reply = wire.reply("RMR.FANOUT PUBLISH private:news x");
        assert!(reply.starts_with("-NOPERM user erin may not run 'PUBLISH'"), "{reply}");
        let reply = wire.reply("RMR.FANOUT PARTIAL SPUBLISH private:news x");
        assert!(reply.starts_with("-NOPERM user erin may not run 'SPUBLISH'"), "{reply}");
        assert_eq!(node.calls_of("spublish"), 0);
    }
}

#[test]
fn the_command_itself_needs_a_right_too() {
    let cluster = Cluster::start(2);
    make_user(cluster.nodes(), "frank", "~* &* +@all -rmr.fanout");
    let mut wire = login(cluster.node(0), "frank");
    assert!(wire.reply("RMR.FANOUT PING").starts_with("-NOPERM "));
    assert_eq!(wire.reply("RMR.PING"), "+OK");
}

#[test]
fn rights_are_those_of_the_moment() {
    let cluster = Cluster::start(2);
    let key = cluster.key_for(1, "n");
    cluster.set(&key, "4");
    make_user(cluster.nodes(), "grace", "~n:* +@all");
    let mut wire = login(cluster.node(0), "grace");
    let line = format!("RMR.SUM {key}");
    assert_eq!(wire.reply(&line), "4");
    cluster.node(0).run::<()>(&["ACL", "SETUSER", "grace", "resetkeys"]);
    assert!(wire.reply(&line).starts_with("-NOPERM user grace "));
    cluster.node(0).run::<()>(&["ACL", "SETUSER", "grace", "allkeys", "allchannels"]);
    assert_eq!(wire.reply(&line), "4");
}

#[test]
fn a_user_that_is_deleted_takes_its_waiting_request_along() {
    let cluster = Cluster::builder().shards(2).node_timeout(Duration::from_secs(60)).start();
    let [node, frozen] = cluster.nodes() else { panic!("two nodes") };
    let key = cluster.key_for(1, "n");
    make_user(cluster.nodes(), "heidi", "~* +@all");
    let mut wire = login(node, "heidi");
    assert_eq!(wire.reply(&format!("RMR.SUM {key}")), "0");

    frozen.stop_signal();
    wire.send(&["RMR.SUM", &key]);
    eventually(Duration::from_secs(10), "the request waits", || node.figure("clients", "blocked_clients") == 1);
    node.run::<()>(&["ACL", "DELUSER", "heidi"]);
    assert!(wire.try_read_frame().is_err(), "the server closes the connection");
    eventually(Duration::from_secs(10), "nobody waits any more", || {
        node.figure("clients", "blocked_clients") == 0 && node.rmr_figure("inflight") == 0
    });
    frozen.cont_signal();
    assert_eq!(node.rmr_figure("cancelled"), 1);
    assert_eq!(node.reply(&format!("RMR.SUM {key}")), "0");
}

#[test]
fn a_user_without_any_rights_but_one_is_told_what_is_missing() {
    let server = Server::start();
    make_user(std::slice::from_ref(&server), "ivan", "+rmr.sum");
    let reply = login(&server, "ivan").reply("RMR.SUM k");
    assert_eq!(reply, "-NOPERM user ivan may not run 'GET' with the key 'k'");
}
