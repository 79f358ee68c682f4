//! Options, and what is wrong with a command, said as the server says it.

use crate::common::{Cluster, Server};

#[test]
fn what_the_server_would_refuse_is_refused_in_its_words() {
    let cluster = Cluster::start(3);
    let alone = Server::start();
    for line in [
        "NOSUCH a b",
        "GET",
        "GET a b",
        "MGET",
        "CONFIG",
        "CONFIG NOSUCH",
        "CONFIG GET",
        "SET a 1 NOSUCH",
        "EVAL script x",
        "OBJECT NOSUCH a",
        "SCAN x",
        "SCAN 0 NOSUCH",
        "MSET a 1 b",
        "INCRBY a x",
    ] {
        let expected = alone.reply(line);
        assert!(expected.starts_with('-'), "{line}: {expected}");
        for node in cluster.nodes() {
            assert_eq!(node.reply(&format!("RMR.EXEC {line}")), expected, "{line}");
        }
    }
    let arity = cluster.node(0).reply("RMR.EXEC").to_lowercase();
    assert_eq!(arity, "-err wrong number of arguments for 'rmr.exec' command");
}

#[test]
fn bad_options_say_what_is_allowed() {
    let node = Server::start();
    let timeout = "-ERR TIMEOUT is 'soon'; give milliseconds from 1 to 3600000";
    assert_eq!(node.reply("RMR.EXEC TIMEOUT soon GET a"), timeout);
    assert_eq!(node.reply("RMR.EXEC ON SHARDS GET a"), "-ERR ON is 'SHARDS'; give PRIMARIES, REPLICAS or ALL");
    let empty = "-ERR there is no command to send; give command [arg ...] after the options";
    for options in ["NONATOMIC", "PARTIAL WITHNODES", "--"] {
        assert_eq!(node.reply(&format!("RMR.EXEC {options}")), empty, "{options}");
    }
    assert!(node.reply("RMR.EXEC NODE nobody PING").contains("no node has the id or address 'nobody'"));
    let unknown = "-ERR unknown command 'REDUCE', with args beginning with: 'SUM' 'DBSIZE' ";
    assert_eq!(node.reply("RMR.EXEC REDUCE SUM DBSIZE"), unknown, "the policy says how to reduce");
    assert_eq!(node.reply("RMR.EXEC -- PING"), "+PONG");
    assert_eq!(node.reply("RMR.EXEC nonatomic timeout 100 -- mset a 1 b 2"), "+OK");
}

#[test]
fn what_has_no_meaning_cluster_wide_is_refused_with_the_reason() {
    let cluster = Cluster::start(3);
    for (lines, reason) in [
        (&["MULTI", "EXEC", "DISCARD", "WATCH a"][..], "transactions do not reach over connections"),
        (
            &["SUBSCRIBE a", "PSUBSCRIBE a", "SSUBSCRIBE a", "MONITOR", "PSYNC ? -1"],
            "turns its connection into a stream",
        ),
        (
            &["SELECT 1", "AUTH x", "HELLO 3", "RESET", "CLIENT REPLY OFF", "CLIENT SETNAME x", "READONLY"],
            "its connection",
        ),
        (&["BLPOP a 0", "XREAD BLOCK 0 STREAMS a $", "BLMOVE {t}a {t}b LEFT LEFT 0"], "it blocks its connection"),
        (&["SHUTDOWN", "DEBUG SLEEP 0", "MODULE UNLOAD rmr"], "endangers the server"),
        (&["WAIT 0 0"], "counts the writes of its own connection"),
        (&["REPLICAOF NO ONE", "FAILOVER", "CLUSTER FORGET x", "CLUSTER SETSLOT 1 STABLE"], "name that with NODE"),
        (&["RMR.SUM a", "RMR.EXEC GET a"], "cannot be the share of another"),
    ] {
        for line in lines {
            let reply = cluster.node(0).reply(&format!("RMR.EXEC {line}"));
            assert!(reply.starts_with("-ERR '") && reply.contains(reason), "{line}: {reply}");
        }
    }
    assert_eq!(cluster.node(0).reply("RMR.PING"), "+OK", "nothing has happened");
}
