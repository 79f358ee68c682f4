//! Connections that break at the worst moment: a write whose outcome is unknown is never sent twice, a read is sent
//! again, and a peer that talks nonsense harms its own request only.

use std::sync::Mutex;
use std::time::Duration;

use crate::common::{Fault, Proxy, Server, Wire, eventually, while_repeating};

const SOON: Duration = Duration::from_secs(2);

/// A coordinator with one shard, which is reached through a proxy. The link to it is open.
struct Scene {
    shard: Server,
    proxy: Proxy,
    coordinator: Server,
}

impl Scene {
    fn new() -> Self {
        let shard = Server::builder().module(false).start();
        let proxy = Proxy::to(shard.port());
        let nodes = proxy.address();
        let coordinator = Server::builder().module_args(["nodes", &nodes]).start();
        let scene = Self { shard, proxy, coordinator };
        // There is one connection for requests in RESP2 and one for those in RESP3.
        assert_eq!(scene.wire().ask(&["RMR.PING"]), "+OK");
        assert_eq!(scene.wire().ask(&["RMR.FANOUT", "PING"]), "*1 +PONG");
        scene
    }

    fn wire(&self) -> Wire {
        self.coordinator.wire()
    }

    /// `INCR` of one key, through the coordinator.
    fn incr(&self, key: &str) -> String {
        self.wire().ask(&["RMR.MAP", "LIST", "1", key, "INCR"])
    }

    /// `GET` of one key, through the coordinator.
    fn get(&self, key: &str) -> String {
        self.wire().ask(&["RMR.MAP", "LIST", "1", key, "GET"])
    }

    /// Returns the value that the shard itself holds.
    fn held(&self, key: &str) -> Option<u64> {
        self.shard.run(&["GET", key])
    }

    fn assert_names_the_node(&self, reply: &str) {
        assert!(reply.starts_with(&format!("-RMRNODE {}: ", self.proxy.address())), "{reply}");
    }
}

const UNKNOWN: &str = "; the command was sent, its outcome is unknown";

#[test]
fn a_write_is_not_repeated_when_its_reply_is_lost() {
    let scene = Scene::new();
    scene.proxy.set_times(Fault::CutReply, 1);
    let reply = scene.incr("counter");
    scene.assert_names_the_node(&reply);
    assert!(reply.ends_with(UNKNOWN), "{reply}");
    assert_eq!(scene.held("counter"), Some(1), "it ran once");
    assert_eq!(scene.incr("counter"), "*1 :2", "the next request reconnects");
}

#[test]
fn a_write_that_was_cut_on_its_way_is_not_repeated_either() {
    let scene = Scene::new();
    scene.proxy.set_times(Fault::CutRequest, 1);
    let reply = scene.incr("counter");
    scene.assert_names_the_node(&reply);
    assert!(reply.ends_with(UNKNOWN), "{reply}");
    assert_eq!(scene.held("counter"), None, "it never ran, which nobody could know");
    assert_eq!(scene.incr("counter"), "*1 :1");
}

#[test]
fn scripts_and_whatever_may_write_are_not_repeated() {
    let scene = Scene::new();
    let commands: [&[&str]; 4] = [
        &["RMR.MAP", "LIST", "1", "counter", "EVAL", "return redis.call('INCR', KEYS[1])", "1", "{}"],
        &["RMR.MAP", "LIST", "1", "counter", "APPEND", "{}", ""],
        &["RMR.FANOUT", "EVAL", "return redis.call('INCR', 'counter')", "0"],
        &["RMR.FANOUT", "INCR", "counter"],
    ];
    for command in commands {
        let before = scene.shard.figure("stats", "total_commands_processed");
        scene.proxy.set_times(Fault::CutReply, 1);
        let reply = scene.wire().ask(command);
        scene.assert_names_the_node(&reply);
        assert!(reply.ends_with(UNKNOWN), "{command:?}: {reply}");
        assert_eq!(scene.proxy.struck(), 1);
        assert!(scene.shard.figure("stats", "total_commands_processed") > before);
    }
    assert_eq!(scene.held("counter"), Some(3));
    assert_eq!(scene.shard.calls_of("eval"), 2);
    assert_eq!(scene.shard.calls_of("append"), 1);
}

#[test]
fn of_a_lost_batch_no_write_is_repeated() {
    let scene = Scene::new();
    scene.proxy.set_times(Fault::CutReply, 1);
    let keys: Vec<String> = (0..50).map(|number| format!("counter:{number}")).collect();
    let mut increment = vec!["RMR.MAP", "PARTIAL", "LIST", "50"];
    increment.extend(keys.iter().map(String::as_str));
    increment.push("INCR");
    let reply = scene.wire().ask(&increment);
    assert_eq!(reply.matches(UNKNOWN).count(), 50, "{reply}");
    for key in &keys {
        assert!(scene.held(key).unwrap_or(0) <= 1, "{key} was incremented twice");
    }
}

#[test]
fn increments_are_never_repeated_while_connections_are_cut_all_the_time() {
    let scene = Scene::new();
    // For each client, how often its counter was incremented for sure, and how often perhaps.
    let tally: Vec<Mutex<(u64, u64)>> = (0..4).map(|_| Mutex::default()).collect();
    let clients: Vec<usize> = (0..4).collect();
    let increment = |&client: &usize| {
        let mut wire = scene.wire();
        let (scene, tally) = (&scene, &tally[client]);
        let key = format!("counter:{client}");
        move || {
            let reply = wire.ask(&["RMR.MAP", "LIST", "1", &key, "INCR"]);
            let mut tally = tally.lock().expect("no thread has failed");
            if reply.starts_with("*1 :") {
                tally.0 += 1;
            } else {
                scene.assert_names_the_node(&reply);
                tally.1 += u64::from(reply.ends_with(UNKNOWN));
            }
        }
    };
    while_repeating(&clients, increment, || {
        let mut cuts = 0;
        eventually(Duration::from_secs(20), "a few hundred cuts", || {
            scene.proxy.cut_all();
            cuts += 1;
            cuts == 300
        });
    });
    let mut lost = 0;
    for (client, tally) in tally.into_iter().enumerate() {
        let (sure, perhaps) = tally.into_inner().expect("no thread has failed");
        let held = scene.held(&format!("counter:{client}")).unwrap_or(0);
        assert!((sure..=sure + perhaps).contains(&held), "{held} after {sure} to {}", sure + perhaps);
        assert!(sure > 0, "the counter was never incremented");
        lost += perhaps;
    }
    assert!(lost > 0, "no request was ever cut");
}

#[test]
fn a_write_that_has_not_left_is_tried_again() {
    let scene = Scene::new();
    // The connection is closed, and the next one too before anybody could greet.
    scene.proxy.set_times(Fault::Refuse, 1);
    scene.proxy.cut_all();
    eventually(SOON, "the coordinator has seen it", || scene.coordinator.rmr_figure("connected") == 0);
    assert_eq!(scene.incr("counter"), "*1 :1");
    assert_eq!(scene.held("counter"), Some(1));
    assert_eq!(scene.proxy.struck(), 1);
}

#[test]
fn a_read_is_repeated_when_its_reply_is_lost() {
    let scene = Scene::new();
    scene.shard.run::<()>(&["SET", "key", "7"]);
    let connects = scene.coordinator.rmr_figure("connects");
    for fault in [Fault::CutReply, Fault::CutRequest, Fault::Garbage(b"garbage\r\n".to_vec())] {
        scene.proxy.set_times(fault.clone(), 1);
        assert_eq!(scene.get("key"), "*1 $1 7", "{fault:?}");
        assert_eq!(scene.proxy.struck(), 1, "{fault:?}");
    }
    // Once for the lost reply and once again; once; once for the spoilt reply and once again.
    assert_eq!(scene.shard.calls_of("get"), 5);
    assert_eq!(scene.coordinator.rmr_figure("connects"), connects + 3);
    assert_eq!(scene.coordinator.rmr_figure("retries_other"), 3);
}

#[test]
fn a_read_is_not_repeated_for_ever() {
    let scene = Scene::new();
    scene.proxy.set(Fault::CutReply);
    let reply = scene.get("key");
    scene.assert_names_the_node(&reply);
    assert!(!reply.contains("outcome"), "a read changes nothing: {reply}");
    assert_eq!(scene.shard.calls_of("get"), 3);
    scene.proxy.set(Fault::Pass);
    assert_eq!(scene.get("key"), "*1 $-1");
}

#[test]
fn a_peer_that_went_away_without_a_word_costs_the_timeout_until_it_is_given_up() {
    let scene = Scene::new();
    scene.proxy.set(Fault::HalfOpen);
    for _ in 0..3 {
        let reply = scene.wire().ask(&["RMR.FANOUT", "TIMEOUT", "60", "PING"]);
        assert!(reply.starts_with("-RMRTIMEOUT 60 ms") && reply.contains(&scene.proxy.address()), "{reply}");
    }
    // Only the old connection is dead.
    scene.proxy.set(Fault::Pass);
    let connections = scene.proxy.connections();
    eventually(SOON, "a new connection works", || {
        scene.wire().ask(&["RMR.FANOUT", "TIMEOUT", "500", "PING"]) == "*1 +PONG"
    });
    assert!(scene.proxy.connections() <= connections + 1);
}

#[test]
fn garbage_is_an_error_that_names_the_node_and_the_next_request_reconnects() {
    let garbage: [&[u8]; 10] = [
        b"HTTP/1.1 400 Bad Request\r\n\r\n",
        b"\r\n",
        b"+\n",
        b"$-5\r\n",
        b"$99999999999999999999\r\n",
        b"*-2\r\n",
        b":twelve\r\n",
        b",1.2.3\r\n",
        b"=1\r\nx\r\n",
        b"\xff\xfe\x00\r\n",
    ];
    let scene = Scene::new();
    for bytes in garbage {
        let shown = bytes.escape_ascii();
        scene.proxy.set(Fault::Garbage(bytes.to_vec()));
        let reply = scene.get("key");
        scene.assert_names_the_node(&reply);
        assert!(reply.contains("does not speak RESP"), "{shown}: {reply}");
        let reply = scene.incr("counter");
        scene.assert_names_the_node(&reply);
        assert!(reply.ends_with(UNKNOWN), "{shown}: {reply}");
        scene.proxy.set(Fault::Pass);
        assert_eq!(scene.get("key"), "*1 $-1", "after {shown}");
    }
    assert_eq!(scene.held("counter"), Some(garbage.len() as u64), "each ran once");
    assert_eq!(scene.coordinator.rmr_figure("inflight"), 0);
}

#[test]
fn a_reply_too_many_does_not_shift_all_that_follow() {
    let scene = Scene::new();
    scene.shard.run::<()>(&["SET", "a", "of a"]);
    scene.shard.run::<()>(&["SET", "b", "of b"]);
    scene.proxy.set_times(Fault::Garbage(b"$4\r\nof a\r\n$4\r\nof x\r\n".to_vec()), 1);
    let first = scene.get("a");
    assert!(first == "*1 $4 of a" || first.starts_with("-RMRNODE "), "{first}");
    assert_eq!(scene.get("b"), "*1 $4 of b");
    assert_eq!(scene.get("a"), "*1 $4 of a");
}

#[test]
fn garbage_in_place_of_the_greeting_is_a_node_out_of_reach() {
    let scene = Scene::new();
    scene.proxy.strike_greetings(true);
    for bytes in [&b"HTTP/1.1 400 Bad Request\r\n\r\n"[..], b"-ERR no\r\n", b"-DENIED no\r\n"] {
        scene.proxy.set(Fault::Garbage(bytes.to_vec()));
        scene.proxy.cut_all();
        eventually(SOON, "the link is down", || scene.coordinator.rmr_figure("connected") == 0);
        let reply = scene.incr("counter");
        scene.assert_names_the_node(&reply);
        assert!(!reply.contains("outcome"), "nothing was sent: {reply}");
    }
    scene.proxy.set(Fault::Pass);
    assert_eq!(scene.incr("counter"), "*1 :1");
}
