//! Bounds: of clients, requests, replies, and of the time that is given to those who do not read or say nothing.

use std::time::{Duration, Instant};

use super::{SOON, plain_cluster};
use crate::common::{Cluster, RmrProxy, Wire, eventually, show};

fn with(name: &str, value: usize) -> (Cluster, RmrProxy) {
    let cluster = plain_cluster();
    let proxy = RmrProxy::before(&cluster).set(name, value).start();
    (cluster, proxy)
}

#[test]
fn more_clients_than_there_may_be_are_told_so() {
    let (_cluster, proxy) = with("max-clients", 3);
    let mut wires: Vec<Wire> = (0..3).map(|_| proxy.wire()).collect();
    wires.iter_mut().for_each(|wire| assert_eq!(wire.reply("PING"), "+PONG"));
    for _ in 0..5 {
        let mut more = proxy.wire();
        assert_eq!(show(&more.read_frame()), "-ERR max number of clients reached");
        assert!(more.try_read_frame().is_err());
    }
    assert!(wires[0].reply("INFO stats").contains("rejected_connections:5\\r"));
    wires.pop();
    eventually(SOON, "there is room again", || {
        let mut wire = proxy.wire();
        wire.try_call(&["PING"]).is_ok_and(|reply| show(&reply) == "+PONG")
    });
}

#[test]
fn a_request_is_bounded() {
    const LIMIT: usize = 1 << 20;
    let (_cluster, proxy) = with("max-request-bytes", LIMIT);
    let mut wire = proxy.wire();
    let value = vec![b'x'; LIMIT - 100];
    assert_eq!(show(&wire.call(&[&b"SET"[..], b"k", &value])), "+OK");
    wire.send_raw(format!("*3\r\n$3\r\nSET\r\n$1\r\nk\r\n${LIMIT}\r\n").as_bytes());
    let error = show(&wire.read_frame());
    assert!(error.starts_with("-ERR Protocol error: ") && error.contains(&LIMIT.to_string()), "{error}");
    assert!(wire.try_read_frame().is_err());
    assert_eq!(proxy.reply("STRLEN k"), value.len().to_string());
}

#[test]
fn replies_are_bounded() {
    let (cluster, proxy) = with("max-reply-bytes", 1 << 20);
    cluster.fill(40, |number| (format!("k:{number}"), vec![b'x'; 100_000]));
    cluster.set("big", vec![b'x'; 2 << 20]);
    let mut wire = proxy.wire();
    let all: Vec<String> = (0..40).map(|number| format!("k:{number}")).collect();
    for line in [format!("MGET {}", all.join(" ")), "GET big".to_owned()] {
        let error = wire.reply(&line);
        assert!(error.starts_with("-RMR") && error.contains("1048576"), "{error}");
        assert_eq!(wire.reply("STRLEN k:1"), "100000", "and the connection is as good as before");
    }
}

/// Replies that nobody reads must not pile up: neither here nor at the nodes.
#[test]
fn a_client_that_does_not_read_is_cut_off() {
    let (cluster, proxy) = with("write-timeout-ms", 500);
    cluster.set("big", vec![b'x'; 1 << 20]);
    let mut quick = proxy.wire();
    let mut slow = proxy.wire();
    assert_eq!(slow.reply("CLIENT SETNAME slow"), "+OK");
    let began = Instant::now();
    for _ in 0..200 {
        slow.send(&["GET", "big"]);
    }
    eventually(SOON, "it is cut off", || {
        assert_eq!(quick.reply("STRLEN big"), "1048576");
        !quick.reply("CLIENT LIST").contains("name=slow")
    });
    assert!(began.elapsed() > Duration::from_millis(450));
    assert!(proxy.log().contains("does not read its replies, and is cut off"), "{}", proxy.log());
    let bytes = proxy.resident_bytes();
    assert!(bytes < 150 << 20, "{} MB", bytes >> 20);
}

#[test]
fn a_client_that_says_nothing_is_sent_away_unless_it_waits() {
    let (_cluster, proxy) = with("idle-timeout-s", 1);
    let (mut idle, mut waits, mut listens) = (proxy.wire(), proxy.wire(), proxy.wire());
    assert_eq!(idle.reply("PING"), "+PONG");
    assert!(listens.reply("SUBSCRIBE channel").contains("subscribe"));
    waits.send(&["BLPOP", "nothing", "2.5"]);
    let began = Instant::now();
    assert!(idle.try_read_frame().is_err());
    assert!((900..2400).contains(&began.elapsed().as_millis()), "{:?}", began.elapsed());
    assert_eq!(show(&waits.read_frame()), "nil");
    assert_eq!(listens.reply("PING"), "[\"pong\", \"\"]");
}
