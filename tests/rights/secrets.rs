//! Passwords within a request stand in no log of any node, whatever way they take.

use std::time::Duration;

use crate::common::{Cluster, Server, Wire, elements, eventually, show};
use crate::users::{PASSWORD, make_user};

/// The beginning of all secrets of these tests.
const SECRET: &str = "s3cret";

/// The end of what a monitor is to read.
const END: &str = "the-end-of-the-requests";

/// Returns a cluster whose nodes log every command, and do not need the `masterauth` that the tests set.
fn logging(module_args: &[&str]) -> Cluster {
    let cluster = Cluster::builder().module_args(module_args.iter().copied()).start();
    make_user(cluster.nodes(), "linker", "~* &* +@all");
    for node in cluster.nodes() {
        if !node.has_internal_secret() {
            node.run::<()>(&["CONFIG", "SET", "rmr.user", "linker", "rmr.password", PASSWORD]);
        }
        assert_eq!(node.reply("RMR.PING"), "+OK");
        node.run::<()>(&["CONFIG", "SET", "slowlog-max-len", "10000", "slowlog-log-slower-than", "0"]);
        // Of Valkey alone.
        node.reply("CONFIG SET commandlog-request-larger-than 0 commandlog-reply-larger-than 0");
        node.run::<()>(&["SLOWLOG", "RESET"]);
    }
    cluster
}

/// Returns what each node shows in all of its logs of the commands that `ask` leads to.
fn logs(cluster: &Cluster, ask: impl FnOnce(&mut Wire)) -> Vec<String> {
    let mut monitors: Vec<Wire> = cluster.nodes().iter().map(Server::wire).collect();
    monitors.iter_mut().for_each(|monitor| assert_eq!(monitor.reply("MONITOR"), "+OK"));
    ask(&mut cluster.node(0).wire());
    let seen = cluster.nodes().iter().zip(&mut monitors).map(|(node, monitor)| {
        assert_eq!(node.reply(&format!("ECHO {END}")), format!("\"{END}\""));
        let mut text = String::new();
        while !text.contains(END) {
            text += &show(&monitor.read_frame());
            text.push('\n');
        }
        let kinds = ["SLOWLOG GET 10000", "COMMANDLOG GET 10000 large-request", "COMMANDLOG GET 10000 large-reply"];
        kinds.iter().for_each(|line| text += &node.reply(line));
        text + &node.log()
    });
    seen.collect()
}

#[track_caller]
fn nothing_stands_in(logs: &[String]) {
    for log in logs {
        let lines: Vec<&str> = log.lines().filter(|line| line.contains(SECRET)).collect();
        assert!(lines.is_empty(), "{lines:#?}");
    }
}

/// Requests with a secret each, by every command that takes others; the second key is on another node.
fn requests(cluster: &Cluster) -> Vec<String> {
    let (here, there) = (cluster.key_for(0, "key"), cluster.key_for(1, "key"));
    let other = cluster.node(1).address();
    let lines = [
        "RMR.EXEC CONFIG SET maxmemory 0 masterauth S".to_owned(),
        "rmr.exec -- config set MasterAuth S".into(),
        "RMR.EXEC ACL SETUSER u on >S ~*".into(),
        format!("RMR.EXEC MIGRATE 127.0.0.1 1 {here} 0 10 AUTH S"),
        format!("RMR.EXEC MIGRATE 127.0.0.1 1 {there} 0 10 AUTH2 u S"),
        format!("RMR.EXEC NODE {other} CONFIG SET masterauth S"),
        "RMR.EXEC AUTH S".into(),
        "RMR.EXEC HELLO 3 AUTH default S".into(),
        "RMR.EXEC NOSUCH ACL SETUSER u >S".into(),
        "RMR.EXPLAIN CONFIG SET masterauth S".into(),
        "RMR.FANOUT CONFIG SET masterauth S".into(),
        "RMR.FANOUT PARTIAL REDUCE COUNT ACL SETUSER u >S".into(),
        "RMR.FANOUT REDUCE NOSUCH ACL SETUSER u >S".into(),
        format!("RMR.MAP LIST 2 {here} S CONFIG SET masterauth {{}}"),
        "RMR.MAP PARTIAL COUNT 4 S-a S-b S-c S-d CONFIG SET masterauth {}".into(),
        format!("RMR.BATCH {here} 1 4 CONFIG SET masterauth S {there} 1 5 ACL SETUSER u on >S"),
    ];
    lines.iter().map(|line| line.replace("S-", &format!("{SECRET}-"))).map(with_secret).collect()
}

fn with_secret(line: String) -> String {
    let words = line.split(' ').map(|word| match word {
        "S" => SECRET.to_owned(),
        ">S" => format!(">{SECRET}"),
        word => word.to_owned(),
    });
    words.collect::<Vec<_>>().join(" ")
}

#[test]
fn secrets_stand_in_no_log_by_exec_explain_fanout_map_batch_and_multi() {
    let cluster = logging(&[]);
    let logs = logs(&cluster, |wire| {
        for line in requests(&cluster) {
            wire.reply(&line);
            assert_eq!(wire.reply("MULTI"), "+OK");
            wire.reply(&line);
            wire.reply("EXEC");
        }
    });
    nothing_stands_in(&logs);
    assert!(logs[0].contains("\"masterauth\" \"(redacted)\""), "the rest of a request is shown");
    assert!(logs[0].contains("\"maxmemory\" \"0\""), "what is no secret is shown");
    assert!(logs[0].matches("(redacted)").count() > 2 * requests(&cluster).len(), "in both kinds of logs");
}

#[test]
fn secrets_stand_in_no_log_of_a_node_that_reduces_its_share() {
    let cluster = logging(&["pushdown", "on"]);
    let logs = logs(&cluster, |wire| {
        assert_eq!(wire.reply(&format!("RMR.FANOUT REDUCE COUNT CONFIG SET masterauth {SECRET}")), "3");
        let keys: Vec<String> = (0..3).map(|shard| cluster.key_for(shard, SECRET)).collect();
        let line = format!("RMR.MAP COUNT 3 {} CONFIG SET masterauth {{}}", keys.join(" "));
        assert_eq!(wire.reply(&line), "3");
    });
    assert_eq!(cluster.node(0).rmr_figure("inner_shares"), 4, "the others were asked for their shares");
    nothing_stands_in(&logs);
}

#[test]
fn secrets_stand_in_no_log_by_plain_commands_in_proxy_mode() {
    let cluster = logging(&[]);
    if cluster.node(0).redis_version() < (7, 2) {
        return;
    }
    cluster.node(0).run::<()>(&["CONFIG", "SET", "rmr.proxy-mode", "on"]);
    let logs = logs(&cluster, |wire| {
        assert_eq!(wire.reply(&format!("CONFIG SET masterauth {SECRET}")), "+OK");
        assert_eq!(wire.reply(&format!("ACL SETUSER u on >{SECRET}")), "+OK");
    });
    nothing_stands_in(&logs);
    for node in cluster.nodes() {
        assert_eq!(node.reply("CONFIG GET masterauth"), format!("[\"masterauth\", \"{SECRET}\"]"), "on all nodes");
    }
}

#[test]
fn a_request_that_waits_is_logged_without_its_secret_too() {
    let cluster = logging(&[]);
    let [asked, frozen, _] = cluster.nodes() else { panic!("three nodes") };
    let mut monitor = asked.wire();
    assert_eq!(monitor.reply("MONITOR"), "+OK");
    frozen.stop_signal();
    let mut wire = asked.wire();
    wire.send(&["RMR.EXEC", "CONFIG", "SET", "masterauth", SECRET]);
    eventually(Duration::from_secs(5), "the request waits", || asked.figure("clients", "blocked_clients") == 1);
    frozen.cont_signal();
    assert_eq!(show(&wire.read_frame()), "+OK");
    let log = asked.wire().call(&["SLOWLOG", "GET", "100"]);
    assert!(elements(&log).iter().any(|entry| show(entry).contains("RMR.EXEC")), "{}", show(&log));
    assert!(!show(&log).contains(SECRET), "{}", show(&log));
    let seen = (0..).map(|_| show(&monitor.read_frame())).find(|line| line.contains("RMR.EXEC"));
    assert!(seen.as_ref().is_some_and(|line| line.contains("(redacted)") && !line.contains(SECRET)), "{seen:?}");
}
