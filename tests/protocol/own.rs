//! The replies that are rmr's own, byte for byte in both protocols.

use crate::common::{Cluster, Server};

/// Returns the answers of a standalone server, in RESP2 and in RESP3.
fn both(server: &Server, line: &str) -> [String; 2] {
    let words: Vec<&str> = line.split_whitespace().collect();
    [server.wire(), server.wire3()].map(|mut wire| wire.call(&words).escape_ascii().to_string())
}

#[test]
fn sums() {
    let server = Server::start();
    server.run::<()>(&["MSET", "one", "1", "half", "0.5", "big", "9223372036854775807"]);
    assert_eq!(both(&server, "RMR.SUM one one"), [r":2\r\n", r":2\r\n"]);
    assert_eq!(both(&server, "RMR.SUM missing"), [r":0\r\n", r":0\r\n"]);
    assert_eq!(both(&server, "RMR.SUM one half"), [r"$3\r\n1.5\r\n", r",1.5\r\n"]);
    assert_eq!(both(&server, "RMR.SUM half half"), [r"$1\r\n1\r\n", r",1\r\n"]);
    let overflow = r"-ERR the sum 9223372036854775808 overflows a 64 bit signed integer\r\n";
    assert_eq!(both(&server, "RMR.SUM big one"), [overflow, overflow]);
}

#[test]
fn nothing() {
    let server = Server::start();
    assert_eq!(both(&server, "RMR.MAP MAX 1 missing GET"), [r"$-1\r\n", r"_\r\n"]);
    assert_eq!(both(&server, "RMR.MAP LIST 1 missing GET"), [r"*1\r\n$-1\r\n", r"*1\r\n_\r\n"]);
    assert_eq!(both(&server, "RMR.MAP CONCAT 1 missing GET"), [r"*0\r\n", r"*0\r\n"]);
    assert_eq!(both(&server, "RMR.MAP UNION 1 missing GET"), [r"*0\r\n", r"~0\r\n"]);
}

#[test]
fn status_and_partial() {
    let server = Server::start();
    assert_eq!(both(&server, "RMR.PING"), [r"+OK\r\n", r"+OK\r\n"]);
    assert_eq!(both(&server, "RMR.FANOUT PARTIAL REDUCE COUNT PING"), [r"*2\r\n:1\r\n*0\r\n", r"*2\r\n:1\r\n%0\r\n"]);
    let pair = format!("$15\\r\\n{}\\r\\n+PONG\\r\\n", server.address());
    let expected = [format!("*2\\r\\n{pair}"), format!("%1\\r\\n{pair}")];
    assert_eq!(both(&server, "RMR.FANOUT WITHNODES PING"), expected);
}

#[test]
fn means() {
    let server = Server::start();
    server.run::<()>(&["MSET", "a", "1", "b", "2"]);
    assert_eq!(both(&server, "RMR.MAP AVG 2 a b GET"), [r"$3\r\n1.5\r\n", r",1.5\r\n"]);
    assert_eq!(both(&server, "RMR.MAP AVG 1 b GET"), [r"$1\r\n2\r\n", r",2\r\n"]);
}

#[test]
fn a_connection_may_change_its_protocol_at_any_time() {
    let cluster = Cluster::start(2);
    let mut wire = cluster.node(0).wire();
    for _ in 0..5 {
        wire.call(&["HELLO", "3"]);
        assert!(wire.call(&["RMR.FANOUT", "WITHNODES", "PING"]).starts_with(b"%2\r\n"));
        wire.call(&["HELLO", "2"]);
        assert!(wire.call(&["RMR.FANOUT", "WITHNODES", "PING"]).starts_with(b"*4\r\n"));
    }
}

#[test]
fn requests_in_one_write_are_answered_in_order() {
    let cluster = Cluster::start(3);
    let keys: Vec<String> = (0..3).map(|shard| cluster.key_for(shard, "n")).collect();
    let mut wire = cluster.node(0).wire();
    let mut bytes = Vec::new();
    for round in 0..50 {
        let key = &keys[round % 3];
        bytes.extend_from_slice(format!("RMR.MAP LIST 1 {key} INCR\r\nPING p{round}\r\nRMR.PING\r\n").as_bytes());
    }
    wire.send_raw(&bytes);
    for round in 0..50 {
        assert_eq!(wire.read_frame(), format!("*1\r\n:{}\r\n", round / 3 + 1).as_bytes());
        let text = format!("p{round}");
        assert_eq!(wire.read_frame(), format!("${}\r\n{text}\r\n", text.len()).as_bytes());
        assert_eq!(wire.read_frame(), b"+OK\r\n");
    }
}
