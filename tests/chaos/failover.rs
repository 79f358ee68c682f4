//! Primaries change and nodes are lost while distributed commands run: every answer is true, or an error that says why.

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use crate::common::{
    Cluster, ClusterBuilder, ConstantTotal, Server, eventually, in_time, slot_of, text_of, while_repeating,
};

/// After the cluster itself is ok again, everything is right within this time, with no refresh asked for.
const RIGHT_AGAIN: Duration = Duration::from_secs(2);

/// The longest that the servers may take to agree on a new primary.
const ELECTION: Duration = Duration::from_secs(30);

/// Returns three primaries, three replicas, and requests that give up before the test does.
pub fn with_replicas() -> ClusterBuilder {
    Cluster::builder().replicas(1).node_timeout(Duration::from_secs(1)).module_args(["timeout-ms", "1500"])
}

/// Kills a primary, and waits until its replica has its slots in the eyes of all who are left.
pub fn kill_and_replace(cluster: &Cluster, shard: usize) {
    let slot = slot_of(cluster.key_for(shard, "any"));
    cluster.node(shard).kill();
    let replica = cluster.replicas_of(shard).start;
    eventually(ELECTION, "the replica takes over", || cluster.owner_of(slot) == replica);
    cluster.settle();
}

fn surviving(cluster: &Cluster) -> Vec<&Server> {
    cluster.nodes().iter().filter(|node| node.running()).collect()
}

fn assert_right_again(cluster: &Cluster, total: &ConstantTotal) {
    let settled = Instant::now();
    for node in surviving(cluster) {
        let within = RIGHT_AGAIN.saturating_sub(settled.elapsed());
        eventually(within, "the sum is right again on every node", || total.is_right_on(node));
    }
    println!("right on every node {:?} after the cluster was", settled.elapsed());
}

#[test]
fn the_sum_stays_true_through_a_manual_failover() {
    let cluster = with_replicas().start();
    let total = ConstantTotal::fill(&cluster, 200);
    let asked: Vec<&Server> = cluster.nodes().iter().collect();

    // The first node coordinates while it becomes a replica, and the fourth while it becomes a primary.
    let ((), answers) = total.ask_while(&asked, || {
        cluster.failover(3);
        assert_right_again(&cluster, &total);
    });

    println!("{} right, {} errors: {:?}", answers.right, answers.errors.len(), kinds(&answers.errors));
    assert!(answers.right >= 20, "only {} answers", answers.right);
}

#[test]
fn the_sum_is_true_or_an_error_when_a_primary_is_killed() {
    let cluster = with_replicas().start();
    let total = ConstantTotal::fill(&cluster, 200);
    let asked: Vec<&Server> = cluster.nodes()[1..].iter().collect();

    let ((), answers) = total.ask_while(&asked, || {
        // While these are asked the others are too, so that there is something to lose.
        asked.iter().for_each(|node| eventually(RIGHT_AGAIN, "the sum is right at first", || total.is_right_on(node)));
        kill_and_replace(&cluster, 0);
        assert_right_again(&cluster, &total);
    });

    println!("{} right, {} errors: {:?}", answers.right, answers.errors.len(), kinds(&answers.errors));
    assert!(answers.right >= asked.len(), "only {} answers", answers.right);
    assert!(!answers.errors.is_empty(), "nobody missed the killed node");
    let lost = cluster.node(0).address();
    for error in &answers.errors {
        // Either the node that is missing, or what the cluster itself says for as long as it is.
        assert!(error.contains(&lost) || error.contains("CLUSTERDOWN"), "{error}");
    }
}

/// Errors by their first word, and the last one of each.
fn kinds(errors: &[String]) -> BTreeMap<&str, &str> {
    errors.iter().map(|error| (error.split(' ').next().unwrap_or_default(), error.as_str())).collect()
}

#[test]
fn a_manual_failover_neither_loses_nor_repeats_increments() {
    let cluster = with_replicas().start();
    let counters: Vec<String> = (0..30).map(|number| format!("counter:{number}")).collect();
    cluster.fill(counters.len(), |index| (counters[index].clone(), "0"));
    let mut increment = vec!["RMR.MAP".to_owned(), "PARTIAL".to_owned(), "LIST".to_owned(), "30".to_owned()];
    increment.extend(counters.iter().cloned());
    increment.push("INCR".to_owned());

    // The number of increments of each that are sure, and of those that are not.
    let tally = Mutex::new(vec![(0u64, 0u64); counters.len()]);
    let begin = |node| {
        let node: &Server = node;
        let mut wire = None;
        let (increment, tally) = (&increment, &tally);
        move || {
            let reply = wire.get_or_insert_with(|| node.wire()).try_call(increment);
            let reply = reply.map(|frame| String::from_utf8_lossy(&frame).into_owned()).unwrap_or_default();
            let mut tally = tally.lock().expect("no thread has failed");
            let mut outcomes = reply.lines().skip(1);
            for (sure, perhaps) in tally.iter_mut() {
                match outcomes.next() {
                    Some(outcome) if outcome.starts_with(':') => *sure += 1,
                    _ => *perhaps += 1,
                }
            }
            if !reply.starts_with('*') {
                // Thrown out, as all who wait are when their node becomes a replica.
                wire = None;
            }
        }
    };
    while_repeating(cluster.nodes(), begin, || cluster.failover(3));

    let tally = tally.into_inner().expect("no thread has failed");
    println!("sure and perhaps of the first counters: {:?}", &tally[..5]);
    for (counter, (sure, perhaps)) in counters.iter().zip(tally) {
        let value: u64 = cluster.node(cluster.owner_of(slot_of(counter))).run(&["GET", counter]);
        assert!(sure > 0, "{counter} was never incremented");
        assert!((sure..=sure + perhaps).contains(&value), "{counter} is {value} after {sure} to {}", sure + perhaps);
    }
}

#[test]
fn a_coordinator_that_becomes_a_replica_lets_nobody_hang() {
    let cluster = with_replicas().node_timeout(Duration::from_secs(15)).start();
    let total = ConstantTotal::fill(&cluster, 60);
    let coordinator = cluster.node(0);
    assert!(total.is_right_on(coordinator));
    // Requests wait for a node that is stopped, while their coordinator becomes a replica.
    cluster.node(1).stop_signal();
    let mut waiting: Vec<_> = (0..20).map(|_| coordinator.wire()).collect();
    waiting.iter_mut().for_each(|wire| wire.send(&["RMR.FANOUT", "TIMEOUT", "1500", "DBSIZE"]));
    eventually(RIGHT_AGAIN, "all wait", || coordinator.figure("clients", "blocked_clients") == 20);
    cluster.node(3).run::<()>(&["CLUSTER", "FAILOVER", "TAKEOVER"]);

    for wire in &mut waiting {
        // The server throws them out, or they hear what they asked for: of the node that did not answer.
        let reply = wire.try_read_frame().map(|frame| text_of(&frame));
        if let Ok(reply) = reply {
            assert!(reply.starts_with("-UNBLOCKED") || reply.starts_with("-RMRTIMEOUT 1500 ms"), "{reply}");
        }
    }
    eventually(RIGHT_AGAIN, "nobody waits", || {
        coordinator.figure("clients", "blocked_clients") == 0 && coordinator.rmr_figure("inflight") == 0
    });
    assert!(coordinator.run::<String>(&["INFO", "replication"]).contains("role:slave"), "it is a replica");
    cluster.node(1).cont_signal();
    cluster.settle();
    assert_right_again(&cluster, &total);
}

#[test]
fn a_node_lost_for_good_is_named_and_the_rest_goes_on() {
    let cluster = Cluster::builder()
        .node_timeout(Duration::from_secs(1))
        .config("cluster-require-full-coverage", "no")
        .module_args(["timeout-ms", "1500"])
        .start();
    let total = ConstantTotal::fill_keys(&cluster, cluster.keys_for(0, "a").take(20).collect());
    let lost_key = cluster.key_for(2, "lost");
    cluster.set(&lost_key, "1");
    assert!(total.is_right_on(cluster.node(1)));
    let lost = cluster.node(2).address();
    cluster.node(2).kill();

    let check = |when: &str| {
        for node in surviving(&cluster) {
            let mut wire = node.wire();
            let sum = wire.ask(&["RMR.SUM", &total.keys()[0], &lost_key]);
            assert!(sum.starts_with("-RMRNODE ") && sum.contains(&lost), "{when}: {sum}");
            let sizes = wire.ask(&["RMR.FANOUT", "DBSIZE"]);
            assert!(sizes.starts_with("-RMRNODE ") && sizes.contains(&lost), "{when}: {sizes}");
            let ping = wire.ask(&["RMR.PING"]);
            assert!(ping.starts_with("-RMRNODE ") && ping.contains(&lost), "{when}: {ping}");
            let partial = wire.ask(&["RMR.FANOUT", "PARTIAL", "DBSIZE"]);
            assert!(partial.starts_with("*3 :20 :0 -RMRNODE ") && partial.contains(&lost), "{when}: {partial}");
            let reduced = wire.ask(&["RMR.FANOUT", "PARTIAL", "REDUCE", "SUM", "DBSIZE"]);
            assert!(reduced.starts_with("*2 :20 *2 ") && reduced.contains(&lost), "{when}: {reduced}");
            let map = wire.ask(&["RMR.MAP", "PARTIAL", "LIST", "2", &lost_key, &total.keys()[0], "EXISTS"]);
            assert!(map.starts_with("*2 -RMRNODE ") && map.ends_with(" :1"), "{when}: {map}");
            assert!(total.is_right_on(node), "{when}: the other shards must go on");
        }
    };
    check("before anybody knows");
    eventually(ELECTION, "the others know that it has failed", || {
        surviving(&cluster).iter().all(|node| node.run::<String>(&["CLUSTER", "NODES"]).contains("master,fail "))
    });
    surviving(&cluster).iter().for_each(|node| node.run::<()>(&["RMR.REFRESH"]));
    check("when all know");

    cluster.node(2).restart();
    cluster.settle();
    for node in cluster.nodes() {
        eventually(RIGHT_AGAIN, "all shards answer", || node.wire().ask(&["RMR.PING"]) == "+OK");
    }
}

#[test]
fn a_cluster_that_is_down_says_so_in_time_and_comes_back() {
    let cluster = Cluster::builder().node_timeout(Duration::from_secs(1)).module_args(["timeout-ms", "400"]).start();
    let total = ConstantTotal::fill_keys(&cluster, cluster.keys_for(0, "a").take(20).collect());
    assert!(total.is_right_on(cluster.node(1)));
    cluster.node(2).kill();
    eventually(ELECTION, "the cluster is down", || {
        surviving(&cluster).iter().all(|node| node.run::<String>(&["CLUSTER", "INFO"]).contains("cluster_state:fail"))
    });
    for node in surviving(&cluster) {
        // 400 ms, 100 ms of grace, and 150 ms for a machine that does other things too.
        let answer = in_time(Duration::from_millis(650), || total.ask(node));
        // Said by a shard, or by the server itself, which sends waiting clients away when its cluster is down.
        assert!(answer.starts_with('-') && answer.contains("CLUSTERDOWN"), "{answer}");
    }
    cluster.node(2).restart();
    cluster.settle();
    assert_right_again(&cluster, &total);
}

#[test]
fn the_sum_is_true_or_an_error_while_all_nodes_are_restarted_in_turn() {
    let cluster = Cluster::builder()
        .node_timeout(Duration::from_secs(5))
        .config("appendonly", "yes")
        .module_args(["timeout-ms", "1500"])
        .start();
    let total = ConstantTotal::fill(&cluster, 100);
    for restarted in 0..3 {
        let others: Vec<&Server> = (0..3).filter(|&node| node != restarted).map(|node| cluster.node(node)).collect();
        let ((), answers) = total.ask_while(&others, || {
            cluster.node(restarted).restart();
            cluster.settle();
            assert_right_again(&cluster, &total);
        });
        println!("{} right, {} errors: {:?}", answers.right, answers.errors.len(), kinds(&answers.errors));
        let address = cluster.node(restarted).address();
        for error in &answers.errors {
            assert!(error.contains(&address) || error.contains("CLUSTERDOWN"), "{error}");
        }
    }
}
