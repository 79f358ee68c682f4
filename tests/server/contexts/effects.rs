//! Tests the effects of a write besides writing: it wakes those who wait for the key, breaks the transactions that watch it,
//! tells those who cache it or listen for it, and waits where writes have to. Through rmr it does all of that, be it run within
//! the command or in one of the later turns of a long request.

use std::time::Duration;

use crate::common::{Server, Wire, eventually, show};

/// Enough keys that their commands are not run in one go.
const MANY: usize = 5_000;

/// Returns a request that sends a command for few keys, done at once, and one for many; the last key is `last` in both.
fn requests(command: &str) -> [Vec<String>; 2] {
    [1, MANY].map(|count| {
        let start = ["RMR.MAP".to_owned(), "COUNT".to_owned(), count.to_string()];
        let keys = (1..count).map(|number| format!("k:{number}")).chain(["last".to_owned()]);
        start.into_iter().chain(keys).chain(command.split(' ').map(str::to_owned)).collect()
    })
}

fn done(wire: &mut Wire, request: &[String]) {
    assert_eq!(wire.reply_to(request), request[2]);
}

#[test]
fn who_waits_for_a_key_is_woken() {
    let server = Server::start();
    for request in requests("RPUSH {} x") {
        let mut waiting = server.wire();
        waiting.send(&["BLPOP", "last", "30"]);
        eventually(Duration::from_secs(10), "a client waits", || server.figure("clients", "blocked_clients") == 1);
        done(&mut server.wire(), &request);
        assert_eq!(show(&waiting.read_frame()), "[\"last\", \"x\"]");
        server.run::<()>(&["FLUSHALL"]);
    }
}

#[test]
fn a_transaction_that_watches_a_key_is_broken() {
    let server = Server::start();
    for request in requests("SET {} x") {
        let mut watching = server.wire();
        assert_eq!(watching.reply("WATCH last"), "+OK");
        done(&mut server.wire(), &request);
        assert_eq!(watching.reply("MULTI"), "+OK");
        assert_eq!(watching.reply("GET last"), "+QUEUED");
        assert_eq!(watching.reply("EXEC"), "nil");
    }
}

#[test]
fn who_caches_a_key_is_told() {
    let server = Server::start();
    for request in requests("SET {} x") {
        let mut caching = server.wire3();
        assert_eq!(caching.reply("CLIENT TRACKING ON"), "+OK");
        caching.reply("GET last");
        done(&mut server.wire(), &request);
        assert_eq!(show(&caching.read_frame()), ">[\"invalidate\", [\"last\"]]");
    }
}

#[test]
fn who_listens_for_events_hears_each_once() {
    let server = Server::builder().config("notify-keyspace-events", "Es$").start();
    for request in requests("SADD {} m") {
        let mut listening = server.wire();
        listening.call(&["SUBSCRIBE", "__keyevent@0__:sadd"]);
        done(&mut server.wire(), &request);
        let count: usize = request[2].parse().expect("a number");
        let mut last = String::new();
        for _ in 0..count {
            last = show(&listening.read_frame());
        }
        assert_eq!(last, "[\"message\", \"__keyevent@0__:sadd\", \"last\"]");
        assert!(server.run::<usize>(&["PUBLISH", "__keyevent@0__:sadd", "end"]) == 1);
        assert!(show(&listening.read_frame()).ends_with("\"end\"]"), "one event a write");
        server.run::<()>(&["FLUSHALL"]);
    }
}

#[test]
fn writes_wait_where_writes_are_paused() {
    let server = Server::start();
    server.run::<()>(&["SET", "n", "1"]);
    server.run::<()>(&["CLIENT", "PAUSE", "60000", "WRITE"]);
    assert_eq!(server.reply("RMR.SUM n"), "1", "reads do not");
    let late = server.reply("RMR.MAP TIMEOUT 200 LIST 1 n SET {} 2");
    // Time may run out between two attempts, or within one.
    assert!(late.contains("TRYAGAIN writes are paused") || late.starts_with("-RMRTIMEOUT 200 ms"), "{late}");
    assert_eq!(server.run::<String>(&["GET", "n"]), "1");
    let mut waiting = server.wire();
    waiting.send(&["RMR.MAP", "TIMEOUT", "30000", "LIST", "1", "n", "SET", "{}", "3"]);
    eventually(Duration::from_secs(10), "the write waits", || server.rmr_figure("inflight") == 1);
    server.run::<()>(&["CLIENT", "UNPAUSE"]);
    assert_eq!(show(&waiting.read_frame()), "[+OK]");
    assert_eq!(server.run::<String>(&["GET", "n"]), "3");
}

#[test]
fn keys_that_have_expired_are_gone_for_all() {
    let server = Server::start();
    server.run::<()>(&["MSET", "a", "1", "b", "2"]);
    server.run::<()>(&["DEBUG", "SET-ACTIVE-EXPIRE", "0"]);
    server.run::<()>(&["PEXPIRE", "a", "1"]);
    eventually(Duration::from_secs(10), "the key has expired", || server.reply("RMR.SUM a b") == "2");
    assert_eq!(server.run::<usize>(&["DBSIZE"]), 1);
}
