//! Users who send what nobody expects: replies that look like the engine's own signals, writes to a node that does not
//! read, settings changed over and over under load.

use std::io::Read;
use std::net::TcpListener;
use std::time::{Duration, Instant};

use crate::common::{Cluster, Server, Wire, eventually, slot_of, while_repeating};

const SOON: Duration = Duration::from_secs(3);

/// Runs a script once everywhere that counts how often it ran and then ends in an error of the user's making.
fn run_failing_script(coordinator: &mut Wire, counter: &str, error: &str) -> String {
    let script = format!("redis.call('INCR', KEYS[1]) return redis.error_reply('{error}')");
    coordinator.ask(&["RMR.MAP", "TIMEOUT", "700", "LIST", "1", counter, "EVAL", &script, "1", "{}"])
}

#[test]
fn a_script_that_fails_with_words_of_the_cluster_is_not_run_again_and_again() {
    let cluster = Cluster::start(3);
    let mut wire = cluster.node(0).wire();
    let errors = [
        "RMRNOTINPROCESS of mine",
        "RMRNOTINPROCESS",
        "MOVED 0 127.0.0.1:1",
        "ASK 0 127.0.0.1:1",
        "MOVED {slot} 127.0.0.1:1",
        "ASK {slot} 127.0.0.1:1",
        "MOVED {slot}",
        "ASK {slot}",
        "MOVED {slot} somewhere:else",
        "TRYAGAIN of mine",
        "CLUSTERDOWN of mine",
        "LOADING of mine",
        "MASTERDOWN of mine",
        "READONLY of mine",
        "ERR Attempted to access a non local key in a cluster node",
    ];
    let mut repeated = Vec::new();
    for shard in [0, 1] {
        for (number, error) in errors.iter().enumerate() {
            let counter = cluster.key_for(shard, &format!("{number}"));
            let error = &error.replace("{slot}", &slot_of(&counter).to_string());
            let reply = run_failing_script(&mut wire, &counter, error);
            assert!(reply.starts_with('-'), "{error}: {reply}");
            let ran: u64 = cluster.node(shard).run(&["GET", &counter]);
            if ran != 1 {
                repeated.push(format!("'{error}' on shard {shard} ran {ran} times: {reply}"));
            }
        }
    }
    assert!(repeated.is_empty(), "{repeated:#?}");
}

#[test]
fn a_script_cannot_make_us_give_our_password_to_strangers() {
    let cluster = Cluster::builder().module_args(["user", "default", "password", "secret"]).start();
    let stranger = TcpListener::bind("127.0.0.1:0").expect("a listener");
    stranger.set_nonblocking(true).expect("a socket option");
    let address = stranger.local_addr().expect("its address");
    let mut wire = cluster.node(0).wire();
    for shard in [0, 1] {
        let counter = cluster.key_for(shard, "counter");
        for redirect in ["MOVED", "ASK"] {
            let reply = run_failing_script(&mut wire, &counter, &format!("{redirect} {} {address}", slot_of(&counter)));
            assert!(reply.starts_with('-'), "{reply}");
            let heard = stranger.accept().ok().map(|(mut client, _)| {
                client.set_nonblocking(false).expect("a socket option");
                let mut words = [0; 1024];
                let length = client.read(&mut words).unwrap_or(0);
                String::from_utf8_lossy(&words[..length]).into_owned()
            });
            assert_eq!(heard, None, "{redirect} on shard {shard}: a node was connected that is none of the cluster");
        }
    }
}

#[test]
fn a_request_given_up_before_it_left_does_not_run_later() {
    let cluster = Cluster::builder().node_timeout(Duration::from_secs(30)).start();
    let counter = cluster.key_for(1, "counter");
    let big = cluster.key_for(1, "big");
    let mut wire = cluster.node(0).wire();
    assert_eq!(wire.ask(&["RMR.MAP", "LIST", "1", &counter, "EXISTS"]), "*1 :0");
    cluster.node(1).stop_signal();
    // More than fits into the buffers between the two, so that what comes after it cannot leave.
    let value = vec![b'x'; 64 << 20];
    let set: [&[u8]; 8] = [b"RMR.MAP", b"TIMEOUT", b"500", b"LIST", b"1", big.as_bytes(), b"SET", b"{}"];
    let mut words: Vec<&[u8]> = set.to_vec();
    words.push(&value);
    // On a busy machine its time can be over before its first byte has left.
    eventually(Duration::from_secs(10), "the value has left in part", || {
        assert!(wire.ask(&words).starts_with("-RMRTIMEOUT 500 ms"));
        cluster.node(1).unread_bytes() > 16 << 10
    });
    let reply = wire.ask(&["RMR.MAP", "TIMEOUT", "50", "LIST", "1", &counter, "INCR"]);
    assert!(reply.starts_with("-RMRTIMEOUT 50 ms"), "{reply}");
    cluster.node(1).cont_signal();
    assert_eq!(
        wire.ask(&["RMR.MAP", "LIST", "1", &counter, "EXISTS"]),
        "*1 :0",
        "it had not left when it was given up"
    );
}

#[test]
fn a_stopped_node_does_not_gather_memory_in_the_coordinator() {
    let cluster = Cluster::builder().node_timeout(Duration::from_secs(30)).start();
    let big = cluster.key_for(1, "big");
    let mut wire = cluster.node(0).wire();
    assert_eq!(wire.ask(&["RMR.MAP", "LIST", "1", &big, "EXISTS"]), "*1 :0");
    let value = vec![b'x'; 8 << 20];
    let head = ["RMR.MAP", "TIMEOUT", "30", "LIST", "1", &big, "SET", "{}"];
    let mut words: Vec<&[u8]> = head.iter().map(|word| word.as_bytes()).collect();
    words.push(&value);
    cluster.node(1).stop_signal();
    for _ in 0..40 {
        assert!(wire.ask(&words).starts_with('-'));
    }
    let used = cluster.node(0).figure("memory", "used_memory");
    assert!(used < 100 << 20, "{} MB are held for a node that reads nothing", used >> 20);
    cluster.node(1).cont_signal();
    eventually(SOON, "the node answers again", || wire.ask(&["RMR.PING"]) == "+OK");
    eventually(SOON, "the memory is given back", || cluster.node(0).figure("memory", "used_memory") < 30 << 20);
}

#[test]
fn a_node_that_stops_again_and_again_has_no_more_links_than_before() {
    let cluster = Cluster::builder().node_timeout(Duration::from_secs(30)).start();
    let mut wire = cluster.node(0).wire();
    let links = || cluster.node(1).run::<String>(&["CLIENT", "LIST"]).matches(" name=rmr ").count();
    for _ in 0..5 {
        assert_eq!(wire.ask(&["RMR.PING"]), "+OK");
        assert_eq!(wire.ask(&["RMR.FANOUT", "PING"]), "*3 +PONG +PONG +PONG");
        cluster.node(1).stop_signal();
        for _ in 0..10 {
            assert!(wire.ask(&["RMR.FANOUT", "TIMEOUT", "10", "PING"]).starts_with("-RMRTIMEOUT 10 ms"));
        }
        cluster.node(1).cont_signal();
        eventually(SOON, "it answers", || wire.ask(&["RMR.PING"]) == "+OK");
    }
    eventually(SOON, "there are two links, one for each protocol", || links() <= 2);
}

#[test]
fn changing_the_settings_under_load_leaves_no_links_behind() {
    let shards: Vec<Server> = (0..2).map(|_| Server::builder().module(false).start()).collect();
    let both = format!("{} {}", shards[0].address(), shards[1].address());
    let first = shards[0].address();
    let coordinator = Server::builder().module_args(["nodes", &both]).start();
    let links = |shard: &Server| shard.run::<String>(&["CLIENT", "LIST"]).matches(" name=rmr ").count();
    let ask = |_: &usize| {
        let mut wire = coordinator.wire();
        move || {
            let reply = wire.ask(&["RMR.FANOUT", "PING"]);
            assert!(reply == "*1 +PONG" || reply == "*2 +PONG +PONG", "{reply}");
        }
    };
    while_repeating(&[0, 1, 2], ask, || {
        let mut wire = coordinator.wire();
        for _ in 0..100 {
            for nodes in [&first, &both] {
                assert_eq!(wire.ask(&["CONFIG", "SET", "rmr.nodes", nodes]), "+OK");
                assert!(wire.ask(&["RMR.FANOUT", "PING"]).starts_with("*"));
            }
        }
    });
    for shard in &shards {
        eventually(SOON, "only the links in use are left", || links(shard) <= 2);
    }
    let asked = Instant::now();
    assert_eq!(coordinator.wire().ask(&["RMR.FANOUT", "PING"]), "*2 +PONG +PONG");
    assert!(asked.elapsed() < SOON);
}
