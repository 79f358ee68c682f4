//! Tests which thread reads the replies of other nodes: the main thread while they are few and short, else the runtime.

use std::time::Duration;

use crate::common::{Cluster, Server, Wire, eventually, text_of};

const SOON: Duration = Duration::from_secs(5);

/// Far fewer than the requests that follow each other, and more than what timers come to.
const FEW: u64 = 30;

/// Returns the number of times that the threads of rmr in the first node went to sleep while this was done.
fn sleeps_during(cluster: &Cluster, work: impl FnOnce()) -> u64 {
    let before = cluster.node(0).sleeps_of_rmr_threads();
    work();
    cluster.node(0).sleeps_of_rmr_threads() - before
}

fn many_fan_outs(cluster: &Cluster) {
    for _ in 0..200 {
        let sizes: Vec<u64> = cluster.node(0).run(&["RMR.FANOUT", "DBSIZE"]);
        assert_eq!(sizes.len(), 3);
    }
}

/// After a while, in which links open or come back, the runtime is not needed. On a busy machine some replies arrive together, and
/// are for the runtime again.
#[track_caller]
fn short_replies_do_not_wake_the_runtime(cluster: &Cluster) {
    eventually(SOON, "the runtime sleeps through 200 requests of two short replies each", || {
        sleeps_during(cluster, || many_fan_outs(cluster)) < FEW
    });
}

#[test]
fn short_replies_are_read_by_the_main_thread() {
    short_replies_do_not_wake_the_runtime(&Cluster::start(3));
}

#[test]
fn that_no_share_is_on_this_node_does_not_wake_the_runtime() {
    let cluster = Cluster::start(3);
    let (one, other) = (cluster.key_for(1, "n"), cluster.key_for(2, "n"));
    cluster.set(&one, "1");
    cluster.set(&other, "2");
    let requests = [
        (&["RMR.SUM", &one][..], ":1"),
        (&["RMR.SUM", &one, &other], ":3"),
        (&["RMR.EXEC", "GET", &other], "$1 2"),
        (&["RMR.MAP", "LIST", "2", &one, &other, "STRLEN"], "*2 :1 :1"),
    ];
    let mut wire = cluster.node(0).wire();
    for (request, reply) in requests {
        let mut ask_often = || (0..200).for_each(|_| assert_eq!(wire.ask(request), reply));
        eventually(SOON, &format!("the runtime sleeps through 200 times {request:?}"), || {
            sleeps_during(&cluster, &mut ask_often) < FEW
        });
    }
}

#[test]
fn a_long_reply_is_read_by_the_runtime_and_what_comes_after_it_is_not() {
    let cluster = Cluster::start(3);
    let (key, value) = (cluster.key_for(1, "long"), "v".repeat(3_000_000));
    cluster.set(&key, &value);
    let list = cluster.key_for(1, "list");
    cluster.node(1).run::<()>(&["EVAL", "for i = 1, 20000 do redis.call('RPUSH', KEYS[1], 'x') end", "1", &list]);
    many_fan_outs(&cluster);
    for round in 0..6 {
        let sleeps = sleeps_during(&cluster, || {
            if round % 2 == 0 {
                assert_eq!(cluster.node(0).run::<String>(&["RMR.EXEC", "GET", &key]), value);
            } else {
                let elements: Vec<String> = cluster.node(0).run(&["RMR.EXEC", "LRANGE", &list, "0", "-1"]);
                assert_eq!(elements.len(), 20_000);
            }
        });
        assert!(sleeps > 0, "the runtime has not been woken for a long reply");
        short_replies_do_not_wake_the_runtime(&cluster);
    }
}

#[test]
fn many_requests_at_once_are_read_by_the_runtime() {
    let cluster = Cluster::start(3);
    many_fan_outs(&cluster);
    let mut wires: Vec<Wire> = (0..32).map(|_| cluster.node(0).wire()).collect();
    let sleeps = sleeps_during(&cluster, || {
        // A shard that stands still for a moment has all of them before it.
        cluster.node(1).stop_signal();
        wires.iter_mut().for_each(|wire| wire.send(&["RMR.FANOUT", "DBSIZE"]));
        eventually(SOON, "all wait", || cluster.node(0).figure("clients", "blocked_clients") == 32);
        cluster.node(1).cont_signal();
        wires.iter_mut().for_each(|wire| assert_eq!(text_of(&wire.read_frame()), "*3 :0 :0 :0"));
    });
    assert!(sleeps > 0, "the main thread has read 32 replies at once");
    short_replies_do_not_wake_the_runtime(&cluster);
}

#[test]
fn links_that_the_event_loop_does_not_take_are_read_by_the_runtime() {
    // An event loop takes descriptors up to 128 above the number of clients that are allowed.
    const DATABASES: usize = 200;
    let other = Server::builder().module(false).config("databases", DATABASES.to_string()).start();
    let coordinator = Server::builder().config("maxclients", "16").start();
    let nodes: Vec<String> = (0..DATABASES).map(|database| format!("redis://{}/{database}", other.address())).collect();
    coordinator.run::<()>(&["CONFIG", "SET", "rmr.nodes", &nodes.join(" ")]);
    for _ in 0..3 {
        assert_eq!(coordinator.run::<usize>(&["RMR.FANOUT", "REDUCE", "COUNT", "PING"]), DATABASES);
    }
}

#[test]
fn what_comes_while_the_main_thread_is_busy_is_in_time() {
    let cluster = Cluster::start(3);
    many_fan_outs(&cluster);
    let (mut waiting, mut busy) = (cluster.node(0).wire(), cluster.node(0).wire());
    cluster.node(1).stop_signal();
    waiting.send(&["RMR.FANOUT", "TIMEOUT", "1000", "DBSIZE"]);
    eventually(SOON, "it waits", || cluster.node(0).figure("clients", "blocked_clients") == 1);
    busy.send(&["DEBUG", "SLEEP", "2"]);
    cluster.node(1).cont_signal();
    assert_eq!(text_of(&waiting.read_frame()), "*3 :0 :0 :0");
    assert_eq!(text_of(&busy.read_frame()), "+OK");
}
