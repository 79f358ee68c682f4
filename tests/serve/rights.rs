//! Tests that the nodes say who clients are: passwords are checked there, commands run as the user that sent them, and nobody's
//! command ever runs with the rights of another.

use std::fs;

use super::{SOON, plain_cluster};
use crate::common::{Cluster, RmrProxy, Server, Wire, eventually};

const PASSWORD: &str = "s3cret-of-the-proxy";

/// Makes a user at all nodes.
fn make_user(cluster: &Cluster, name: &str, rules: &str) {
    for node in cluster.nodes() {
        let line = format!("ACL SETUSER {name} reset on >{PASSWORD}-{name} {rules}");
        assert_eq!(node.reply(&line), "+OK");
    }
}

fn log_in(proxy: &RmrProxy, name: &str) -> Wire {
    let mut wire = proxy.wire();
    assert_eq!(wire.reply(&format!("AUTH {name} {PASSWORD}-{name}")), "+OK");
    wire
}

/// Returns a cluster with users, and a proxy that has none of its own.
fn with_users() -> (Cluster, RmrProxy) {
    let cluster = plain_cluster();
    make_user(&cluster, "reader", "~* &* +@read +@connection +@transaction +acl|whoami +info");
    make_user(&cluster, "writer", "~w:* +@all");
    let proxy = RmrProxy::before(&cluster).start();
    (cluster, proxy)
}

#[test]
fn each_client_has_the_rights_of_its_user() {
    let (cluster, proxy) = with_users();
    let (mut reader, mut writer, mut anybody) = (log_in(&proxy, "reader"), log_in(&proxy, "writer"), proxy.wire());
    let keys: Vec<String> = (0..3).map(|shard| cluster.key_for(shard, "w")).collect();
    for key in &keys {
        assert_eq!(writer.reply(&format!("SET {key} 1")), "+OK");
        assert_eq!(reader.reply(&format!("GET {key}")), "\"1\"");
        for line in [format!("SET {key} 2"), format!("EVAL return(1) 1 {key}"), format!("DEL {key}")] {
            assert!(reader.reply(&line).starts_with("-NOPERM "), "{line}");
        }
        assert_eq!(anybody.reply(&format!("INCR {key}")), "2");
        assert_eq!(writer.reply(&format!("DECR {key}")), "1");
    }
    for line in ["GET other", "SET other 1", "MGET w:1 other", "BLPOP other 0.01"] {
        assert!(writer.reply(line).starts_with("-NOPERM "), "{line}: {}", writer.reply(line));
    }
    for line in ["FLUSHALL", "KEYS *x", "BLPOP w:l 0.01", "CONFIG SET maxmemory 0", "CLIENT LIST"] {
        let is_its_own = line.starts_with("KEYS") || line.starts_with("CLIENT");
        assert_eq!(reader.reply(line).starts_with("-NOPERM "), !is_its_own, "{line}: {}", reader.reply(line));
    }
    assert_eq!(reader.reply(&format!("MGET {} {} {}", keys[0], keys[1], keys[2])), "[\"1\", \"1\", \"1\"]");
    // Transactions and watched keys too.
    assert_eq!(reader.reply("MULTI"), "+OK");
    assert_eq!(reader.reply(&format!("GET {}", keys[0])), "+QUEUED");
    assert_eq!(reader.reply(&format!("SET {} 5", keys[0])), "+QUEUED");
    let executed = reader.reply("EXEC");
    assert!(executed.starts_with("-EXECABORT ") && executed.contains("NOPERM"), "{executed}");
    assert!(writer.reply("WATCH other").starts_with("-NOPERM "));
    // Telling of other clients takes the right to ask nodes for it.
    make_user(&cluster, "few", "~* +get");
    let mut few = log_in(&proxy, "few");
    for line in ["CLIENT LIST", "CLIENT KILL ID 1", "CLIENT KILL TYPE normal", "INFO", "INFO server"] {
        assert!(few.reply(line).starts_with("-NOPERM "), "{line}: {}", few.reply(line));
    }
    assert_eq!(anybody.reply(&format!("GET {}", keys[0])), "\"1\"");
}

/// Three clients of three users in turn on the same proxy, on all ways that commands take.
#[test]
fn nobodys_command_runs_on_the_links_of_another() {
    let (cluster, proxy) = with_users();
    make_user(&cluster, "third", "~* &* +@all");
    let users = ["reader", "writer", "third"];
    std::thread::scope(|scope| {
        for name in users {
            let proxy = &proxy;
            scope.spawn(move || {
                for turn in 0..15 {
                    let mut wire = if turn % 3 == 0 {
                        let mut wire = proxy.wire();
                        assert!(wire.reply(&format!("HELLO 3 AUTH {name} {PASSWORD}-{name}")).starts_with('{'));
                        wire
                    } else {
                        log_in(proxy, name)
                    };
                    for _ in 0..10 {
                        assert_eq!(wire.reply("ACL WHOAMI"), format!("\"{name}\""));
                        let may_write = name != "reader";
                        let set = wire.reply(&format!("SET w:{turn}:{name} 1"));
                        assert_eq!(set == "+OK", may_write, "{name}: {set}");
                        let waited = wire.reply(&format!("BLPOP w:l:{turn} 0.001"));
                        assert_eq!(waited == "nil", may_write, "{name}: {waited}");
                        assert_eq!(wire.reply("MULTI"), "+OK");
                        assert_eq!(wire.reply("ACL WHOAMI"), "+QUEUED");
                        let executed = wire.reply("EXEC");
                        let is_allowed = executed == format!("[\"{name}\"]");
                        assert!(is_allowed, "{name}: {executed}");
                    }
                }
            });
        }
    });
    // From one user to another on the same connection.
    let mut wire = proxy.wire();
    for name in users.iter().cycle().take(9) {
        assert_eq!(wire.reply(&format!("AUTH {name} {PASSWORD}-{name}")), "+OK");
        assert_eq!(wire.reply("ACL WHOAMI"), format!("\"{name}\""));
        let waited = wire.reply("BLPOP w:l 0.001");
        assert_eq!(waited == "nil", *name != "reader", "{name}: {waited}");
        assert!(wire.reply("CLIENT INFO").contains(&format!(" user={name} ")));
    }
    assert_eq!(wire.reply("RESET"), "+RESET");
    assert_eq!(wire.reply("ACL WHOAMI"), "\"default\"");
}

#[test]
fn a_wrong_password_is_nobody() {
    let (_cluster, proxy) = with_users();
    let server = Server::builder().module(false).start();
    let (mut here, mut there) = (proxy.wire(), server.wire());
    for line in
        ["AUTH reader wrong", "AUTH nobody x", "AUTH", "AUTH a b c", "AUTH password", "HELLO 3 AUTH reader wrong"]
    {
        assert_eq!(here.reply(line), there.reply(line), "{line}");
    }
    // A client that fails stays the user that it was.
    let mut reader = log_in(&proxy, "reader");
    assert!(reader.reply("AUTH writer wrong").starts_with("-WRONGPASS "));
    assert_eq!(reader.reply("ACL WHOAMI"), "\"reader\"");
}

#[test]
fn where_everybody_needs_a_password_nothing_is_said_without() {
    let (cluster, _) = with_users();
    let keeper = RmrProxy::before(&cluster).start();
    let file = keeper.dir().join("password");
    fs::write(&file, format!("{PASSWORD}\nmore\n")).expect("a file");
    for node in cluster.nodes() {
        node.run::<()>(&["ACL", "SETUSER", "default", "resetpass", &format!(">{PASSWORD}")]);
    }
    let proxy = RmrProxy::before(&cluster).set("password-file", file.display()).start();
    let server = Server::builder().module(false).config("requirepass", PASSWORD).start();
    let mut there = Wire::connect(server.port());
    let mut here = proxy.wire();
    for line in [
        "GET k",
        "PING",
        "MULTI",
        "MGET a b",
        "CLIENT ID",
        "CLIENT LIST",
        "INFO",
        "SUBSCRIBE c",
        "HELLO",
        "HELLO 3",
        "ECHO x",
        "COMMAND",
        "SELECT 0",
        "WATCH k",
        "BLPOP k 0",
        "AUTH default wrong",
        "AUTH wrong",
        "RESET",
        "GET k",
    ] {
        let (ours, theirs) = (here.reply(line), there.reply(line));
        // The words about HELLO differ from version to version.
        let first = |reply: &str| reply.split(' ').next().map(str::to_owned);
        let is_same = ours == theirs || (line.starts_with("HELLO") && first(&ours) == first(&theirs));
        assert!(is_same, "{line}: {ours}, not {theirs}");
    }
    // Little is read of those who have not said who they are.
    let mut stranger = proxy.wire();
    stranger.send_raw(b"*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$1000000\r\n");
    assert_eq!(crate::common::show(&stranger.read_frame()), "-ERR Protocol error: unauthenticated bulk length");
    assert!(stranger.try_read_frame().is_err());
    for line in
        [format!("AUTH {PASSWORD}"), format!("AUTH default {PASSWORD}"), format!("HELLO 3 AUTH default {PASSWORD}")]
    {
        let mut wire = proxy.wire();
        assert!(!wire.reply(&line).starts_with('-'));
        assert_eq!((wire.reply("SET k 1"), wire.reply("GET k")), ("+OK".into(), "\"1\"".into()));
    }
    assert_eq!(here.reply(&format!("AUTH reader {PASSWORD}-reader")), "+OK");
    assert_eq!(here.reply("GET k"), "\"1\"");
    assert_eq!(here.reply("RESET"), "+RESET");
    assert!(here.reply("GET k").starts_with("-NOAUTH "));
}

#[test]
fn a_user_that_is_changed_or_gone_has_what_it_has_left() {
    let (cluster, proxy) = with_users();
    let mut writer = log_in(&proxy, "writer");
    assert_eq!(writer.reply("SET w:1 1"), "+OK");
    for node in cluster.nodes() {
        node.run::<()>(&["ACL", "SETUSER", "writer", "-set"]);
    }
    assert!(writer.reply("SET w:1 1").starts_with("-NOPERM "));
    assert_eq!(writer.reply("GET w:1"), "\"1\"");
    // Nodes close the connections of users that they delete.
    for node in cluster.nodes() {
        assert_eq!(node.run::<u64>(&["ACL", "DELUSER", "writer"]), 1);
    }
    eventually(SOON, "it is shut out", || {
        let reply = writer.reply("GET w:1");
        assert!(reply.starts_with('-'), "{reply}");
        reply.starts_with("-NOAUTH ")
    });
    assert!(writer.reply(&format!("AUTH writer {PASSWORD}-writer")).starts_with("-WRONGPASS "));
    let mut wire = proxy.wire();
    assert_eq!(wire.reply("GET w:1"), "\"1\"", "others are served");
    // The same name with another password.
    for node in cluster.nodes() {
        node.run::<()>(&["ACL", "SETUSER", "writer", "on", ">other", "~w:*", "+@all"]);
    }
    assert_eq!(writer.reply("AUTH writer other"), "+OK");
    assert_eq!(writer.reply("GET w:1"), "\"1\"");
}

#[test]
fn passwords_stand_nowhere() {
    let (cluster, proxy) = with_users();
    let mut watcher = proxy.wire();
    let mut monitors: Vec<Wire> = cluster.nodes().iter().map(Server::wire).collect();
    monitors.iter_mut().for_each(|monitor| assert_eq!(monitor.reply("MONITOR"), "+OK"));
    let mut seen = String::new();
    for name in ["reader", "writer"] {
        let mut wire = log_in(&proxy, name);
        seen += &watcher.reply("CLIENT LIST");
        wire.reply(&format!("HELLO 3 AUTH {name} {PASSWORD}-{name}"));
        seen += &watcher.reply("CLIENT LIST");
        seen += &wire.reply(&format!("AUTH {name} {PASSWORD}-wrong"));
        seen += &wire.reply(&format!("AUTH nobody {PASSWORD}-{name}"));
        seen += &wire.reply(&format!("AUTH {PASSWORD}"));
        seen += &wire.reply(&format!("AUTH a b {PASSWORD}"));
        seen += &wire.reply(&format!("HELLO 3 AUTH {name} {PASSWORD}-{name} BOGUS"));
        seen += &wire.reply("GET w:1");
        seen += &wire.reply("CLIENT INFO");
    }
    let mut wire = proxy.wire();
    wire.send_raw(format!("AUTH reader \"{PASSWORD}-reader\"x\r\n").as_bytes());
    seen += &crate::common::show(&wire.read_frame());
    seen += &watcher.reply("INFO");
    seen += &watcher.reply("CLIENT LIST");
    for (node, monitor) in cluster.nodes().iter().zip(&mut monitors) {
        assert_eq!(node.reply("ECHO the-end"), "\"the-end\"");
        while !seen.ends_with("the-end\"\n") {
            seen += &crate::common::show(&monitor.read_frame());
            seen.push('\n');
        }
        seen.push(' ');
        seen += &node.reply("ACL LOG");
        seen += &node.log();
    }
    seen += &proxy.log();
    let command_line = fs::read(format!("/proc/{}/cmdline", proxy.pid())).expect("the command line");
    seen += &String::from_utf8_lossy(&command_line);
    let lines: Vec<&str> = seen.lines().filter(|line| line.contains(PASSWORD)).collect();
    assert!(lines.is_empty(), "{lines:#?}");
}
