//! Inner commands that could do more than their own name says: scripts, patterns, keys in odd places, and commands that
//! the asked node does not know.

use crate::common::{Cluster, Server};
use crate::users::{login, make_user};

const SCRIPTS: [&str; 6] = [
    "EVAL return(1) 0",
    "EVALSHA e0e1f9fabfc9d4800c877a703b823ac0578ff8db 0",
    "EVAL_RO return(1) 0",
    "EVALSHA_RO e0e1f9fabfc9d4800c877a703b823ac0578ff8db 0",
    "FCALL one 0",
    "FCALL_RO one 0",
];

/// Returns two shards where all of [`SCRIPTS`] can run.
fn with_scripts() -> Cluster {
    let cluster = Cluster::start(2);
    let library = "#!lua name=lib\nredis.register_function{function_name='one', callback=function() return 1 end, \
                   flags={'no-writes'}}";
    for node in cluster.nodes() {
        node.run::<()>(&["FUNCTION", "LOAD", library]);
        node.run::<()>(&["SCRIPT", "LOAD", "return 1"]);
    }
    cluster
}

#[test]
fn restricted_users_send_no_scripts() {
    let cluster = with_scripts();
    make_user(cluster.nodes(), "keys", "~app:* &* +@all");
    make_user(cluster.nodes(), "commands", "~* &* +@all -flushall");
    make_user(cluster.nodes(), "channels", "~* resetchannels +@all");
    let key = cluster.key_for(0, "app:k");
    for user in ["keys", "commands", "channels"] {
        let mut wire = login(cluster.node(0), user);
        for script in SCRIPTS {
            for line in [format!("RMR.FANOUT {script}"), format!("RMR.FANOUT PARTIAL -- {}", script.to_lowercase())] {
                let reply = wire.reply(&line);
                assert!(reply.starts_with(&format!("-NOPERM user {user} may not run '")), "{line}: {reply}");
            }
        }
        let reply = wire.reply(&format!("RMR.MAP LIST 1 {key} EVAL return(1) 1 {{}}"));
        assert!(reply.starts_with(&format!("-NOPERM user {user} may not run 'EVAL'")), "{reply}");
    }
    for node in cluster.nodes() {
        for command in ["eval", "evalsha", "eval_ro", "evalsha_ro", "fcall", "fcall_ro"] {
            assert_eq!(node.calls_of(command), 0, "{command}");
        }
    }
}

#[test]
fn unrestricted_users_send_scripts() {
    let cluster = with_scripts();
    make_user(cluster.nodes(), "root", "~* &* +@all");
    for node in cluster.nodes() {
        for mut wire in [node.wire(), login(node, "root")] {
            for script in SCRIPTS {
                assert_eq!(wire.reply(&format!("RMR.FANOUT {script}")), "[1, 1]", "{script}");
            }
        }
    }
}

#[test]
fn restricted_users_do_not_sort_by_other_keys() {
    let server = Server::start();
    server.run::<()>(&["RPUSH", "app:list", "2", "1"]);
    server.run::<()>(&["MSET", "secret:1", "x", "secret:2", "y"]);
    make_user(std::slice::from_ref(&server), "judy", "~app:* &* +@all");
    let mut wire = login(&server, "judy");
    for line in [
        "SORT {} BY secret:*",
        "SORT {} BY nosort GET secret:*",
        "sort {} get secret:*",
        "SORT_RO {} BY secret:*",
        "SORT {} STORE secret:1",
    ] {
        let reply = wire.reply(&format!("RMR.MAP LIST 1 app:list {line}"));
        assert!(reply.starts_with("-NOPERM user judy may not run '"), "{line}: {reply}");
    }
    assert_eq!(wire.reply("RMR.MAP LIST 1 app:list SORT {} DESC"), "[[\"2\", \"1\"]]");
    let all = server.reply("RMR.MAP LIST 1 app:list SORT {} GET secret:*");
    assert_eq!(all, "[[\"x\", \"y\"]]", "who may do all may do that");
    assert_eq!(server.run::<String>(&["GET", "secret:1"]), "x");
}

#[test]
fn keys_are_found_wherever_a_command_has_them() {
    let server = Server::start();
    make_user(std::slice::from_ref(&server), "kim", "~app:* &* +@all");
    let mut wire = login(&server, "kim");
    for line in [
        "MSET app:a 1 secret 2",
        "MGET app:a app:b secret",
        "DEL app:a secret",
        "RENAME app:a secret",
        "COPY app:a secret",
        "BITOP AND app:a app:b secret",
        "ZUNIONSTORE app:a 2 app:b secret",
        "ZUNIONSTORE secret 1 app:a",
        "ZINTERCARD 2 app:a secret",
        "LMPOP 2 app:a secret LEFT",
        "XREAD COUNT 1 STREAMS app:a secret 0 0",
        "GEORADIUS app:a 0 0 1 km STORE secret",
        "GEOSEARCHSTORE secret app:a FROMLONLAT 0 0 BYRADIUS 1 km",
        "OBJECT ENCODING secret",
        "MEMORY USAGE secret",
        "XGROUP CREATE secret g $ MKSTREAM",
        "PFMERGE app:a secret",
        "LCS app:a secret",
        "RESTORE secret 0 x",
        "MIGRATE 127.0.0.1 1 secret 0 10",
        "MIGRATE 127.0.0.1 1 '' 0 10 KEYS app:a secret",
        "SMOVE app:a secret m",
    ] {
        let words = line.split(' ').map(|word| if word == "''" { "" } else { word });
        let args: Vec<&str> = ["RMR.FANOUT"].into_iter().chain(words).collect();
        let reply = wire.reply_to(&args);
        assert!(reply.starts_with("-NOPERM user kim may not run '"), "{line}: {reply}");
    }
    assert_eq!(server.run::<usize>(&["DBSIZE"]), 0, "nothing was written");
}

/// Returns two plain servers: the asked one has lost a command that the other still has.
fn without_flushall() -> (Server, Server) {
    let other = Server::builder().module(false).start();
    other.run::<()>(&["SET", "k", "v"]);
    let asked = Server::builder().arg("--rename-command").arg("FLUSHALL").arg("").start();
    let nodes = format!("{} {}", asked.address(), other.address());
    asked.run::<()>(&["CONFIG", "SET", "rmr.nodes", &nodes]);
    (asked, other)
}

#[test]
fn what_the_asked_node_cannot_check_is_not_sent_for_a_restricted_user() {
    let (asked, other) = without_flushall();
    make_user(std::slice::from_ref(&asked), "lee", "~app:* +rmr.fanout +rmr.map +get");
    let mut wire = login(&asked, "lee");
    for line in ["RMR.FANOUT PARTIAL FLUSHALL", &format!("RMR.FANOUT NODE {} FLUSHALL", other.address())] {
        let reply = wire.reply(line);
        assert!(reply.starts_with("-NOPERM ") || reply.starts_with("-ERR unknown command"), "{line}: {reply}");
    }
    assert_eq!(other.run::<String>(&["GET", "k"]), "v");
    assert_eq!(other.calls_of("flushall"), 0);
}

#[test]
fn unrestricted_users_may_send_what_the_asked_node_does_not_know() {
    let (asked, other) = without_flushall();
    let reply = asked.reply("RMR.FANOUT PARTIAL FLUSHALL");
    assert!(reply.starts_with("[-RMRSHARD ") && reply.ends_with(", +OK]"), "{reply}");
    assert_eq!(other.run::<usize>(&["DBSIZE"]), 0);
}

#[test]
fn a_command_without_its_arguments_harms_nobody() {
    let cluster = Cluster::start(2);
    make_user(cluster.nodes(), "mia", "~app:* +@all");
    let mut wire = login(cluster.node(0), "mia");
    for command in ["GET", "EVAL", "EVAL x", "XREAD", "ZUNIONSTORE", "MIGRATE", "SORT", "FCALL", "OBJECT", "BITOP AND"]
    {
        let reply = wire.reply(&format!("RMR.FANOUT {command}"));
        assert!(
            reply.starts_with("-NOPERM ") || reply.starts_with("-RMRSHARD ") || reply.starts_with("-ERR "),
            "{reply}"
        );
        assert_eq!(cluster.node(0).reply("PING"), "+PONG", "after {command}");
    }
}
