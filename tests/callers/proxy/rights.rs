//! Rights: a client may do through the mode what it may do, and `RMR.EXEC`.

use super::{Served, proxied};
use crate::common::{Cluster, Wire};

const PASSWORD: &str = "secret-of-a-test";

/// Returns a connection of a new user with these rights on all nodes.
fn login(cluster: &Cluster, node: usize, name: &str, rules: &str) -> Wire {
    let line = format!("ACL SETUSER {name} reset on >{PASSWORD} {rules}");
    let mut wire = cluster.node(node).wire();
    assert_eq!(wire.reply(&line), "+OK", "on all nodes");
    log_in(cluster.node(node).wire(), name)
}

fn log_in(mut wire: Wire, name: &str) -> Wire {
    assert_eq!(wire.reply(&format!("AUTH {name} {PASSWORD}")), "+OK");
    wire
}

#[test]
fn the_callers_rights_hold_on_all_nodes() {
    Served::three().iter().for_each(look_at_rights);
}

fn look_at_rights(served: &Served) {
    let cluster = &served.cluster;
    let (here, there) = (cluster.key_for(0, "app"), cluster.key_for(1, "app"));
    let (closed_here, closed_there) = (cluster.key_for(0, "closed"), cluster.key_for(1, "closed"));
    for key in [&here, &there, &closed_here, &closed_there] {
        cluster.set(key, "1");
    }
    // The module asks which slots nodes have as a user of its own, the program as the one whose command it is.
    let exec = if served.is_by_program() { "+cluster|nodes" } else { "+rmr.exec" };
    let rules = format!("ACL SETUSER app reset on >{PASSWORD} ~app:* +get +mget +keys +dbsize {exec}");
    assert_eq!(served.wire(0).reply(&rules), "+OK", "on all nodes");
    let mut wire = log_in(served.wire(0), "app");
    assert_eq!(wire.reply(&format!("MGET {here} {there}")), "[\"1\", \"1\"]");
    for key in [&closed_here, &closed_there] {
        let refusal = wire.reply(&format!("GET {key}"));
        assert!(refusal.starts_with("-NOPERM "), "{refusal}");
    }
    let refusal = wire.reply(&format!("SET {there} 2"));
    assert!(refusal.starts_with("-NOPERM ") && refusal.to_lowercase().contains("'set'"), "{refusal}");
    assert_eq!(wire.reply("DBSIZE"), "4");
    let keys = wire.reply("KEYS *");
    assert!(keys.contains(&here) && keys.contains(&there), "{keys}");
    // The module hides the names of keys that the user may not read; a server shows them, and the program is as a server.
    assert_eq!(keys.contains("closed"), served.is_by_program(), "{keys}");
    assert!(wire.reply("FLUSHALL").starts_with("-NOPERM "));
    assert_eq!(served.wire(2).reply("DBSIZE"), "4");
}

#[test]
fn who_may_not_run_rmr_exec_is_told_so_and_served_with_the_nodes_own_keys() {
    let Some(cluster) = proxied() else { return };
    let (here, there) = (cluster.key_for(0, "app"), cluster.key_for(1, "app"));
    let mut wire = login(&cluster, 0, "app", "~* +@all -rmr.exec");
    assert_eq!(wire.reply(&format!("SET {here} 1")), "+OK");
    for line in [format!("SET {there} 1"), "DBSIZE".into()] {
        let refusal = wire.reply(&line);
        assert!(refusal.starts_with("-NOPERM ") && refusal.contains("'RMR.EXEC'"), "{refusal}");
    }
    // A client that is not served needs no right to it.
    assert_eq!(wire.reply("RMR.PROXY OFF"), "+OK");
    assert_eq!(wire.reply("DBSIZE"), "1");
    assert!(wire.reply(&format!("SET {there} 1")).starts_with("-MOVED "));
}

#[test]
fn who_has_not_logged_in_is_nobody() {
    let Some(cluster) = proxied() else { return };
    assert_eq!(cluster.node(0).reply("ACL SETUSER default resetpass"), "+OK");
    let mut wire = cluster.node(0).wire();
    for line in ["DBSIZE", "GET k", "MGET a b c", "FLUSHALL", "RMR.PROXY ON"] {
        assert!(wire.reply(line).starts_with("-NOAUTH "), "{line}");
    }
}
