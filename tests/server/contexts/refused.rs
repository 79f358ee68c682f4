//! Commands that cannot be the share of a distributed one, by name, whoever asks and however.

use crate::common::{Cluster, Server};

const CONNECTION: &str = "it changes the state of its connection, which all requests share";
const BLOCKING: &str = "it blocks its connection, which all requests share";
const TRANSACTION: &str = "transactions do not reach over connections that all requests share";
const STREAMING: &str = "it turns its connection into a stream";
const PROCESS: &str = "it stops, reloads or endangers the server that serves the request";
const RECURSION: &str = "a distributed command cannot be the share of another";
const OWN_WRITES: &str = "it counts the writes of its own connection, which has none of the caller's";

const REFUSED: [(&str, &str); 66] = [
    ("AUTH x", CONNECTION),
    ("HELLO 3", CONNECTION),
    ("RESET", CONNECTION),
    ("QUIT", CONNECTION),
    ("SELECT 1", CONNECTION),
    ("READONLY", CONNECTION),
    ("READWRITE", CONNECTION),
    ("ASKING", CONNECTION),
    ("CLIENT REPLY OFF", CONNECTION),
    ("client reply skip", CONNECTION),
    ("CLIENT TRACKING ON", CONNECTION),
    ("CLIENT CACHING YES", CONNECTION),
    ("CLIENT NO-EVICT ON", CONNECTION),
    ("CLIENT NO-TOUCH ON", CONNECTION),
    ("CLIENT SETNAME x", CONNECTION),
    ("CLIENT SETINFO LIB-NAME x", CONNECTION),
    ("CLIENT CAPA redirect", CONNECTION),
    ("CLIENT IMPORT-SOURCE ON", CONNECTION),
    ("SCRIPT DEBUG YES", CONNECTION),
    ("script debug sync", CONNECTION),
    ("MULTI", TRANSACTION),
    ("EXEC", TRANSACTION),
    ("DISCARD", TRANSACTION),
    ("WATCH k", TRANSACTION),
    ("UNWATCH", TRANSACTION),
    ("SUBSCRIBE c", STREAMING),
    ("PSUBSCRIBE *", STREAMING),
    ("SSUBSCRIBE c", STREAMING),
    ("UNSUBSCRIBE", STREAMING),
    ("PUNSUBSCRIBE", STREAMING),
    ("SUNSUBSCRIBE", STREAMING),
    ("MONITOR", STREAMING),
    ("SYNC", STREAMING),
    ("PSYNC ? -1", STREAMING),
    ("REPLCONF GETACK *", STREAMING),
    ("BLPOP k 0", BLOCKING),
    ("BRPOP k 0", BLOCKING),
    ("BRPOPLPUSH a b 0", BLOCKING),
    ("BLMOVE a b LEFT LEFT 0", BLOCKING),
    ("BLMPOP 0 1 k LEFT", BLOCKING),
    ("BZPOPMIN k 0", BLOCKING),
    ("BZPOPMAX k 0", BLOCKING),
    ("BZMPOP 0 1 k MIN", BLOCKING),
    ("XREAD BLOCK 0 STREAMS s $", BLOCKING),
    ("XREAD COUNT 1 block 0 STREAMS s $", BLOCKING),
    ("XREADGROUP GROUP g c BLOCK 0 STREAMS s >", BLOCKING),
    ("WAIT 1 0", OWN_WRITES),
    ("WAITAOF 1 0 0", OWN_WRITES),
    ("SHUTDOWN", PROCESS),
    ("shutdown nosave", PROCESS),
    ("DEBUG SLEEP 1", PROCESS),
    ("DEBUG SEGFAULT", PROCESS),
    ("MODULE LOAD /x.so", PROCESS),
    ("MODULE LOADEX /x.so", PROCESS),
    ("MODULE UNLOAD rmr", PROCESS),
    ("module unload RMR", PROCESS),
    ("RMR.SUM k", RECURSION),
    ("RMR.FANOUT PING", RECURSION),
    ("RMR.MAP LIST 1 k GET", RECURSION),
    ("RMR.PING", RECURSION),
    ("RMR.TOPOLOGY", RECURSION),
    ("RMR.REFRESH", RECURSION),
    ("rmr.sum k", RECURSION),
    ("Rmr.NoSuch", RECURSION),
    ("bLpOp k 0", BLOCKING),
    ("sElEcT 0", CONNECTION),
];

#[test]
fn they_are_refused_with_the_reason_and_harm_nothing() {
    let cluster = Cluster::start(2);
    let node = cluster.node(0);
    assert_eq!(node.reply("RMR.PING"), "+OK");
    let mut wire = node.wire();
    for (line, reason) in REFUSED {
        let name = line.split(' ').next().unwrap_or_default();
        let expected = format!("-ERR '{name}' cannot be sent to other nodes: {reason}");
        for options in ["", "PARTIAL WITHNODES --", "ON ALL"] {
            assert_eq!(wire.reply(&format!("RMR.FANOUT {options} {line}")), expected, "{options} {line}");
        }
        let map = wire.reply(&format!("RMR.MAP PARTIAL LIST 2 a b {line}"));
        // With a key in front the subcommand is no longer where it was.
        assert!(map == expected || map.contains(": ERR ") || name.eq_ignore_ascii_case("CLIENT"), "{line}: {map}");
        assert_eq!(wire.reply("RMR.PING"), "+OK", "after {line}");
    }
    assert_eq!(node.rmr_figure("connects"), 2, "one for each protocol");
    for node in cluster.nodes() {
        assert_eq!(node.reply("MODULE LIST").matches("\"rmr\"").count(), 1);
    }
}

/// Some servers repeat the argument in their error as it came: whoever reads replies in order would take what follows
/// the line break for the reply to the next command, which may be another client's.
#[test]
fn a_line_break_in_an_argument_makes_no_second_reply() {
    let cluster = Cluster::start(2);
    let mut wire = cluster.node(0).wire();
    for argument in ["x\r\n:77", "x\n:77", "x\r"] {
        let reply = wire.reply_to(&["RMR.FANOUT", "PARTIAL", "FUNCTION", "LIST", argument]);
        assert!(reply.starts_with("-ERR 'FUNCTION' cannot be sent to other nodes: "), "{reply}");
        assert_eq!(wire.reply("RMR.FANOUT ECHO next"), "[\"next\", \"next\"]");
    }
}

#[test]
fn a_key_in_the_place_of_a_subcommand_is_no_way_round() {
    let server = Server::start();
    for (line, name) in [
        ("RMR.MAP LIST 1 UNLOAD MODULE {} rmr", "MODULE"),
        ("RMR.MAP LIST 1 reply CLIENT {} off", "CLIENT"),
        ("RMR.MAP LIST 2 LIST REPLY CLIENT {} OFF", "CLIENT"),
        ("RMR.MAP LIST 1 BLOCK XREAD {} 0 STREAMS s $", "XREAD"),
        ("RMR.MAP LIST 1 UNLOAD MODULE rmr", "MODULE"),
    ] {
        let reply = server.reply(line);
        assert!(reply.starts_with(&format!("-ERR '{name}' cannot be sent to other nodes: ")), "{line}: {reply}");
    }
    assert_eq!(server.reply("RMR.PING"), "+OK");
}

#[test]
fn the_same_on_a_server_without_a_cluster_and_in_scripts() {
    let server = Server::start();
    let script = "return redis.pcall('RMR.FANOUT', unpack(ARGV))";
    for (line, reason) in REFUSED {
        let words: Vec<&str> = line.split(' ').collect();
        let expected = format!("-ERR '{}' cannot be sent to other nodes: {reason}", words[0]);
        assert_eq!(server.reply(&format!("RMR.FANOUT {line}")), expected);
        let reply = server.wire().reply_to(&[&["EVAL", script, "0"][..], &words].concat());
        assert_eq!(reply, expected, "{line}");
    }
}

#[test]
fn what_only_looks_like_them_is_sent() {
    let server = Server::start();
    for (line, start) in [
        ("XREAD STREAMS BLOCK 0", "[nil]"),
        ("XREAD COUNT 1 STREAMS s 0", "[nil]"),
        ("CLIENT GETNAME", "["),
        ("CLIENT ID", "["),
        ("CLIENT LIST", "[\"id="),
        ("MODULE LIST", "[[["),
        ("ECHO MULTI", "[\"MULTI\"]"),
        ("SET SUBSCRIBE x", "[+OK]"),
        ("LPOP k", "[nil]"),
        ("CLUSTER INFO", ""),
    ] {
        let reply = server.reply(&format!("RMR.FANOUT PARTIAL {line}"));
        assert!(reply.starts_with(start), "{line}: {reply}");
        assert!(!reply.contains("cannot be sent"), "{line}: {reply}");
    }
}

#[test]
fn every_command_that_a_server_calls_blocking_is_refused() {
    let server = Server::start();
    let names: Vec<String> = server.run(&["COMMAND", "LIST"]);
    let mut refused = 0;
    for name in names.iter().filter(|name| !name.contains('|') && !name.to_lowercase().starts_with("rmr.")) {
        let info = server.reply(&format!("COMMAND INFO {name}"));
        if info.contains("+blocking") && !name.to_lowercase().starts_with("xread") {
            let reply = server.reply(&format!("RMR.FANOUT {name} a b c d e f g"));
            assert!(reply.contains("cannot be sent to other nodes"), "{name}: {reply}");
            refused += 1;
        }
    }
    assert!(refused >= 8, "{refused} blocking commands in {names:?}");
}
