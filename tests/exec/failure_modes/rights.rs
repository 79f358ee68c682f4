//! The rights of the caller, on every way that a command takes.

use crate::common::{Cluster, Wire};

/// Returns a cluster with keys of two kinds, and a connection of a user who may have one kind only.
fn with_user(rules: &[&str]) -> (Cluster, Wire) {
    let cluster = Cluster::start(3);
    for kind in ["vector", "secret"] {
        cluster.fill(30, |number| (format!("{kind}:{number}"), kind.to_owned()));
    }
    cluster.node(0).run::<()>(&[&["ACL", "SETUSER", "u", "on", ">p"][..], rules].concat());
    let mut wire = cluster.node(0).wire();
    assert_eq!(wire.reply("AUTH u p"), "+OK");
    (cluster, wire)
}

#[test]
fn f19_keys_that_a_user_may_not_read_are_not_shown() {
    let (_cluster, mut wire) = with_user(&["~vector:*", "+@all"]);
    for line in ["RMR.EXEC KEYS *", "RMR.EXEC PARTIAL KEYS *", "RMR.EXEC WITHNODES KEYS *"] {
        let reply = wire.reply(line);
        assert!(reply.contains("vector:") && !reply.contains("secret:"), "{line}: {reply}");
    }
    let mut cursor = "0".to_owned();
    let mut seen = 0;
    loop {
        let reply = wire.reply(&format!("RMR.EXEC SCAN {cursor} COUNT 1000"));
        assert!(!reply.contains("secret:"), "{reply}");
        seen += reply.matches("vector:").count();
        cursor = reply.trim_start_matches("[\"").split('"').next().expect("a cursor").to_owned();
        if cursor == "0" {
            break;
        }
    }
    assert_eq!(seen, 30);
    for _ in 0..50 {
        let key = wire.reply("RMR.EXEC RANDOMKEY");
        assert!(key.starts_with("\"vector:"), "{key}");
    }
    for line in
        ["GET secret:1", "MGET vector:1 secret:1", "DEL vector:1 secret:1", "EXISTS secret:1", "COPY vector:1 secret:1"]
    {
        let reply = wire.reply(&format!("RMR.EXEC {line}"));
        assert!(reply.starts_with("-NOPERM ") || reply.starts_with("-CROSSSLOT "), "{line}: {reply}");
    }
    assert_eq!(wire.reply("RMR.EXEC MGET vector:1 vector:2"), "[\"vector\", \"vector\"]", "nothing was deleted");
    let script = wire.ask(&["RMR.EXEC", "EVAL", "return redis.call('GET', 'secret:1')", "0"]);
    assert!(script.starts_with("-NOPERM "), "{script}");
}

#[test]
fn f19_a_command_that_a_user_may_not_run_is_not_run_for_it() {
    let (cluster, mut wire) =
        with_user(&["~*", "&*", "+@all", "-flushall", "-keys", "-scan", "-config|set", "-randomkey"]);
    for line in ["FLUSHALL", "KEYS *", "SCAN 0", "RANDOMKEY", "CONFIG SET hz 11", "ON ALL FLUSHALL", "PARTIAL FLUSHALL"]
    {
        let reply = wire.reply(&format!("RMR.EXEC {line}"));
        assert!(reply.starts_with("-NOPERM "), "{line}: {reply}");
    }
    let reply = wire.reply("RMR.SCAN 0");
    assert!(reply.starts_with("-NOPERM "), "{reply}");
    assert_eq!(wire.reply("RMR.EXEC DBSIZE"), "60");
    let log: String = cluster.node(0).reply("ACL LOG").to_lowercase();
    assert!(log.contains("flushall"), "{log}");
}

#[test]
fn f19_a_user_without_the_command_itself_cannot_use_it() {
    let (_cluster, mut wire) = with_user(&["~*", "+get"]);
    for line in ["RMR.EXEC GET vector:1", "RMR.SCAN 0", "RMR.EXPLAIN GET vector:1"] {
        let reply = wire.reply(line);
        assert!(reply.starts_with("-NOPERM "), "{line}: {reply}");
    }
}
