//! Nodes are asked for which slots their answers hold: once for all requests of a round, and by nobody whose answers do not
//! depend on slots.

use crate::common::{Cluster, Server, text_of};

/// The number of requests that are sent at once, each by a client of its own.
const REQUESTS: usize = 60;

/// Returns the number of times that each node was asked while this was done.
fn questions_during(cluster: &Cluster, work: impl FnOnce()) -> Vec<u64> {
    let asked = |node: &Server| node.calls_of("cluster|nodes");
    let before: Vec<u64> = cluster.nodes().iter().map(asked).collect();
    work();
    cluster.nodes().iter().zip(before).map(|(node, before)| asked(node) - before).collect()
}

/// Sends a request by many clients at once, so that the node takes all of them in a few rounds of its event loop.
fn at_once(cluster: &Cluster, request: &[&str], reply: &str) {
    const SOME_100_MS: &str = "local n = 0; for i = 1, 1e7 do n = n + i end return 'done'";
    let mut wires: Vec<_> = (0..REQUESTS).map(|_| cluster.node(0).wire()).collect();
    let mut busy = cluster.node(0).wire();
    busy.send(&["EVAL", SOME_100_MS, "0"]);
    wires.iter_mut().for_each(|wire| wire.send(request));
    assert_eq!(text_of(&busy.read_frame()), "$4 done");
    wires.iter_mut().for_each(|wire| assert_eq!(text_of(&wire.read_frame()), reply));
}

#[test]
fn one_question_serves_the_requests_of_a_round() {
    let cluster = Cluster::start(3);
    let requests: [(&[&str], &str); 3] = [
        (&["RMR.FANOUT", "DBSIZE"], "*3 :0 :0 :0"),
        (&["RMR.FANOUT", "REDUCE", "SUM", "DBSIZE"], ":0"),
        // By connections of their own, with markers behind each.
        (&["RMR.FANOUT", "EVAL_RO", "return 1", "0"], "*3 :1 :1 :1"),
    ];
    for (request, reply) in requests {
        // Links open, and nodes say for the first time what they have.
        at_once(&cluster, request, reply);
        let asked = questions_during(&cluster, || at_once(&cluster, request, reply));
        let most = REQUESTS as u64 / 4;
        assert!(asked.iter().all(|asked| (1..=most).contains(asked)), "{request:?}: {asked:?} for {REQUESTS} requests");
    }
}

#[test]
fn a_request_by_itself_asks_each_node_once_or_twice() {
    let cluster = Cluster::start(3);
    let mut wire = cluster.node(0).wire();
    let mut ask_often = || (0..200).for_each(|_| assert_eq!(wire.ask(&["RMR.FANOUT", "DBSIZE"]), "*3 :0 :0 :0"));
    ask_often();
    let asked = questions_during(&cluster, ask_often);
    // A question behind each answer, and one in front where there was none lately.
    assert!(asked[1..].iter().all(|asked| (200..=400).contains(asked)), "{asked:?}");
}

#[test]
fn nobody_asks_where_nothing_depends_on_slots() {
    // Nor does any node look at the topology by itself meanwhile.
    let cluster = Cluster::builder().module_args(["topology-refresh-ms", "3600000"]).start();
    let key = cluster.key_for(1, "n");
    cluster.set(&key, "7");
    let mut wire = cluster.node(0).wire();
    let asked = questions_during(&cluster, || {
        assert_eq!(wire.ask(&["RMR.SUM", &key]), ":7");
        assert_eq!(wire.ask(&["RMR.EXEC", "GET", &key]), "$1 7");
        assert_eq!(wire.ask(&["RMR.FANOUT", "PING"]), "*3 +PONG +PONG +PONG");
        assert_eq!(wire.ask(&["RMR.FANOUT", "ON", "ALL", "DBSIZE"]), "*3 :0 :1 :0");
    });
    // The node that is asked looks at the topology when it sees something new.
    assert_eq!(asked[1..], [0, 0]);
}

#[test]
fn callers_that_cannot_wait_hear_it_at_once() {
    let cluster = Cluster::start(1);
    cluster.set("k", "1");
    let mut wire = cluster.node(0).wire();
    assert_eq!(wire.ask(&["RMR.FANOUT", "DBSIZE"]), "*1 :1");
    for _ in 0..3 {
        let asked = questions_during(&cluster, || {
            assert_eq!(wire.ask(&["MULTI"]), "+OK");
            assert_eq!(wire.ask(&["RMR.FANOUT", "DBSIZE"]), "+QUEUED");
            assert_eq!(wire.ask(&["RMR.FANOUT", "REDUCE", "SUM", "DBSIZE"]), "+QUEUED");
            assert_eq!(wire.ask(&["EXEC"]), "*2 *1 :1 :1");
        });
        assert!(asked[0] >= 2, "{asked:?}");
        assert_eq!(wire.ask(&["EVAL", "return redis.call('RMR.FANOUT', 'DBSIZE')", "0"]), "*1 :1");
    }
}
