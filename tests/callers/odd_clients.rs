//! Clients with habits of their own: that want no replies, send everything at once, read nothing, or leave in the midst
//! of a long request.

use std::time::Duration;

use crate::common::{Cluster, Server, Wire, eventually, text_of, while_repeating};

const SOON: Duration = Duration::from_secs(5);

#[test]
fn a_client_that_wants_no_replies_gets_none() {
    let cluster = Cluster::start(3);
    let mut wire = cluster.node(0).wire();
    for request in [&["RMR.FANOUT", "PING"][..], &["RMR.SUM", "a", "b", "c"], &["RMR.TOPOLOGY"], &["RMR.FANOUT", "NO"]]
    {
        wire.send(&["CLIENT", "REPLY", "SKIP"]);
        wire.send(request);
        assert_eq!(wire.ask(&["ECHO", "next"]), "$4 next", "{request:?}");
        wire.send(&["CLIENT", "REPLY", "OFF"]);
        wire.send(request);
        wire.send(request);
        assert_eq!(wire.ask(&["CLIENT", "REPLY", "ON"]), "+OK", "{request:?}");
        assert_eq!(wire.ask(&["ECHO", "next"]), "$4 next", "{request:?}");
    }
}

#[test]
fn requests_that_come_all_at_once_are_answered_in_order() {
    const REQUESTS: usize = 300;
    let cluster = Cluster::start(3);
    let mut wire = cluster.node(0).wire();
    for number in 0..REQUESTS {
        match number % 3 {
            0 => wire.send(&["RMR.FANOUT", "REDUCE", "LIST", "ECHO", &number.to_string()]),
            1 => wire.send(&["ECHO", &number.to_string()]),
            _ => wire.send(&[
                "RMR.MAP",
                "LIST",
                "1",
                &format!("key:{number}"),
                "SETRANGE",
                "{}",
                &number.to_string(),
                "",
            ]),
        }
    }
    for number in 0..REQUESTS {
        let reply = text_of(&wire.read_frame());
        let word = format!("${} {number}", number.to_string().len());
        match number % 3 {
            0 => assert_eq!(reply, format!("*3 {word} {word} {word}")),
            1 => assert_eq!(reply, word),
            _ => assert_eq!(reply, "*1 :0"),
        }
    }
}

#[test]
fn a_client_that_does_not_read_is_cut_off_and_the_server_lives() {
    let cluster = Cluster::start(3);
    let node = cluster.node(0);
    let keys: Vec<String> = (0..3).map(|shard| cluster.key_for(shard, "big")).collect();
    keys.iter().for_each(|key| cluster.set(key, vec![b'x'; 10 << 20]));
    node.run::<()>(&["CONFIG", "SET", "client-output-buffer-limit", "normal 1mb 1mb 1"]);
    let before = node.figure("memory", "used_memory");
    for _ in 0..5 {
        let mut wire = node.wire();
        wire.send(&["RMR.MAP", "LIST", "3", &keys[0], &keys[1], &keys[2], "GET"]);
        assert!(wire.try_read_frame().is_err(), "the limit is 1 MB");
    }
    eventually(SOON, "their memory returns", || node.figure("memory", "used_memory") < before + (16 << 20));
    assert_eq!(node.wire().ask(&["RMR.MAP", "SUM", "3", &keys[0], &keys[1], &keys[2], "STRLEN"]), ":31457280");
    assert_eq!(node.figure("clients", "blocked_clients"), 0);
}

/// Returns a request that takes many turns on the main thread.
fn long_request() -> Vec<String> {
    let keys = (0..15_000).map(|number| format!("key:{number}"));
    ["RMR.SUM".to_owned()].into_iter().chain(keys).collect()
}

#[test]
fn clients_that_leave_in_the_midst_of_a_long_request_leave_nothing() {
    let server = Server::start();
    let request = long_request();
    for _ in 0..15 {
        let mut wire = server.wire();
        wire.send(&request);
        // Gone at a different moment each time: this takes as long as it takes.
        assert_eq!(server.wire().ask(&["PING"]), "+PONG");
    }
    eventually(SOON, "nothing is left", || {
        server.figure("clients", "blocked_clients") == 0 && server.rmr_figure("inflight") == 0
    });
    assert_eq!(server.wire().ask(&request), ":0");
}

#[test]
fn the_module_can_be_unloaded_right_after_long_requests_were_given_up() {
    let server = Server::builder().unloadable().start();
    let request = long_request();
    for _ in 0..8 {
        let mut leaving: Vec<Wire> = (0..3).map(|_| server.wire()).collect();
        leaving.iter_mut().for_each(|wire| wire.send(&request));
        drop(leaving);
        let mut wire = server.wire();
        eventually(SOON, "it is unloaded", || wire.ask(&["MODULE", "UNLOAD", "rmr"]) == "+OK");
        // A thread that has ended and been joined may be listed for a moment yet.
        eventually(SOON, "no thread outlives its module", || server.rmr_threads() == 0);
        server.load_unloadable(&[]);
    }
    assert!(server.alive());
}

#[test]
fn a_client_with_a_memory_limit_of_its_own_is_evicted_and_nothing_hangs() {
    let cluster = Cluster::start(3);
    let node = cluster.node(0);
    let request = long_request();
    let evicted = |_: &usize| {
        let mut wire = node.wire();
        let request = &request;
        move || {
            if wire.try_call(request).is_err() {
                wire = node.wire();
            }
        }
    };
    while_repeating(&[0, 1, 2, 3], evicted, || {
        for _ in 0..10 {
            node.run::<()>(&["CONFIG", "SET", "maxmemory-clients", "1mb"]);
            node.run::<()>(&["CONFIG", "SET", "maxmemory-clients", "0"]);
        }
    });
    eventually(SOON, "nothing is left", || {
        node.figure("clients", "blocked_clients") == 0 && node.rmr_figure("inflight") == 0
    });
    assert!(node.wire().ask(&request).starts_with(':'));
}
