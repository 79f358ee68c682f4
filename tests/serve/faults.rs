//! Tests the faults of nodes while clients work through the proxy: never a wrong answer, no addition lost or done twice unless it
//! was reported unknown, and nothing that takes longer than the deadline.

use std::time::{Duration, Instant};

use super::SOON;
use super::counters::{DEADLINE, count_while, proxy_before};
use crate::common::{Cluster, RmrProxy, eventually, show, slot_of};

/// Returns a cluster without the module that thinks nodes failed after this time.
fn cluster(shards: usize, replicas: usize, node_timeout: Duration) -> Cluster {
    Cluster::builder().module(false).shards(shards).replicas(replicas).node_timeout(node_timeout).start()
}

/// Lets clients work undisturbed for a moment.
fn a_moment() {
    std::thread::sleep(Duration::from_millis(300));
}

#[test]
fn slots_that_move_are_nothing_that_clients_see() {
    let cluster = cluster(3, 0, Duration::from_secs(10));
    let proxy = proxy_before(&cluster);
    let outcome = count_while(&proxy, || {
        // Keys are `count:...`, without tags: one of each slot that they are in, again and again.
        let slots: Vec<u16> = (0..24).map(|key| slot_of(format!("count:0:0:{key}"))).take(6).collect();
        for slot in slots {
            let from = cluster.owner_of(slot);
            cluster.move_slot(slot, from, (from + 1) % 3);
        }
    });
    assert_eq!(outcome.failed(), 0, "{outcome:?}");
}

#[test]
fn a_node_that_stands_still_costs_its_own_keys_the_deadline_and_nobody_else_anything() {
    let cluster = cluster(3, 0, Duration::from_secs(30));
    let proxy = proxy_before(&cluster);
    let (here, there) = (cluster.key_for(0, "k"), cluster.key_for(2, "k"));
    let mut wire = proxy.wire();
    assert_eq!(
        (wire.reply(&format!("SET {here} 1")), wire.reply(&format!("SET {there} 1"))),
        ("+OK".into(), "+OK".into())
    );
    let outcome = count_while(&proxy, || {
        cluster.node(2).stop_signal();
        let began = Instant::now();
        let error = wire.reply(&format!("GET {there}"));
        assert!(error.starts_with("-RMRTIMEOUT ") && error.contains(&cluster.node(2).address()), "{error}");
        assert!(began.elapsed() < DEADLINE + SOON / 4, "{:?}", began.elapsed());
        let began = Instant::now();
        let mut other = proxy.wire();
        (0..100).for_each(|_| assert_eq!(other.reply(&format!("GET {here}")), "\"1\""));
        assert!(other.reply("CLIENT LIST").contains(" cmd=client "), "another node is asked whether it may see that");
        assert!(other.reply("INFO server").contains("redis_version"));
        assert!(began.elapsed() < DEADLINE, "{:?}", began.elapsed());
        cluster.node(2).cont_signal();
        eventually(SOON, "the node is back", || wire.reply(&format!("GET {there}")) == "\"1\"");
        a_moment();
    });
    assert!(outcome.failed() > 0, "{outcome:?}");
}

/// A pipeline has one order; what a node that is down takes from it is an error at once, not its time.
#[test]
fn a_pipeline_does_not_wait_for_a_node_that_is_known_to_be_down() {
    let cluster = cluster(3, 0, Duration::from_secs(30));
    let proxy = proxy_before(&cluster);
    let (here, there) = (cluster.key_for(0, "k"), cluster.key_for(2, "k"));
    cluster.node(2).kill();
    let mut wire = proxy.wire();
    eventually(SOON, "it is known", || wire.reply(&format!("GET {there}")).starts_with("-RMRNODE "));
    let began = Instant::now();
    for number in 0..50 {
        wire.send(&["SET", &here, &number.to_string()]);
        wire.send(&["GET", &there]);
        wire.send(&["GET", &here]);
    }
    for number in 0..50 {
        let replies = [wire.read_frame(), wire.read_frame(), wire.read_frame()].map(|frame| show(&frame));
        assert_eq!((&replies[0], &replies[2]), (&"+OK".into(), &format!("\"{number}\"")));
        assert!(replies[1].starts_with("-RMRNODE "), "{}", replies[1]);
    }
    assert!(began.elapsed() < DEADLINE, "{:?}", began.elapsed());
}

#[test]
fn a_node_that_is_killed_and_comes_back_has_lost_nothing() {
    let cluster =
        Cluster::builder().module(false).node_timeout(Duration::from_secs(30)).config("appendonly", "yes").start();
    let proxy = proxy_before(&cluster);
    let key = cluster.key_for(1, "k");
    let outcome = count_while(&proxy, || {
        for _ in 0..2 {
            a_moment();
            cluster.node(1).kill();
            let mut wire = proxy.wire();
            let began = Instant::now();
            let error = wire.reply(&format!("GET {key}"));
            assert!(error.starts_with("-RMRNODE "), "{error}");
            assert!(began.elapsed() < DEADLINE + SOON / 4);
            cluster.node(1).restart();
            eventually(SOON, "the node is back", || wire.reply(&format!("GET {key}")) == "nil");
        }
        a_moment();
    });
    assert!(outcome.failed() > 0, "{outcome:?}");
}

#[test]
fn a_failover_is_followed_and_so_is_the_death_of_the_old_primary() {
    let cluster = cluster(2, 1, Duration::from_secs(2));
    let proxy = proxy_before(&cluster);
    let replica = cluster.replicas_of(1).start;
    let outcome = count_while(&proxy, || {
        a_moment();
        cluster.failover(replica);
        a_moment();
        cluster.node(1).kill();
        a_moment();
    });
    assert!(outcome.unknown * 50 < outcome.answers, "{outcome:?}");
    assert_eq!(proxy.reply(&format!("SET {} 1", cluster.key_for(1, "k"))), "+OK");
}

/// The seeds are gone by the time that this is over: what was learnt is enough.
#[test]
fn a_primary_that_dies_is_replaced() {
    let cluster = cluster(3, 1, Duration::from_secs(1));
    let proxy = proxy_before(&cluster);
    let mut wire = proxy.wire();
    for shard in 0..2 {
        let key = cluster.key_for(shard, "k");
        assert_eq!(wire.reply(&format!("SET {key} 1")), "+OK");
        cluster.node(shard).kill();
        eventually(3 * SOON, "the replica serves", || wire.reply(&format!("INCR {key}")).parse::<u64>().is_ok());
    }
    assert_eq!(wire.reply("DBSIZE"), "2");
}

#[test]
fn nodes_come_and_go() {
    let mut cluster = cluster(3, 0, Duration::from_secs(5));
    let proxy = proxy_before(&cluster);
    let slots: Vec<u16> = (0..4).map(|key| slot_of(format!("count:x:0:{key}"))).collect();
    let outcome = count_while(&proxy, || {
        let added = cluster.add_node();
        let homes: Vec<usize> = slots.iter().map(|&slot| cluster.owner_of(slot)).collect();
        for (&slot, &home) in slots.iter().zip(&homes) {
            cluster.move_slot(slot, home, added);
        }
        let key = format!("{{count:x:0:{}}}new", 0);
        assert_eq!(proxy.reply(&format!("SET {key} 1")), "+OK");
        assert_eq!(cluster.node(added).run::<u64>(&["EXISTS", &key]), 1);
        for (&slot, &home) in slots.iter().zip(&homes) {
            cluster.move_slot(slot, added, home);
        }
        let id: String = cluster.node(added).run(&["CLUSTER", "MYID"]);
        for node in cluster.primaries() {
            node.run::<()>(&["CLUSTER", "FORGET", &id]);
        }
        cluster.node(added).kill();
        a_moment();
    });
    assert_eq!(outcome.failed(), 0, "{outcome:?}");
}

#[test]
fn all_proxies_of_a_cluster_see_the_same() {
    let cluster = cluster(3, 0, Duration::from_secs(10));
    let proxies: Vec<RmrProxy> = (0..3).map(|_| proxy_before(&cluster)).collect();
    for number in 0..60 {
        let reply = proxies[number % 3].reply(&format!("SET key:{number} {number}"));
        assert_eq!(reply, "+OK");
    }
    for proxy in &proxies {
        assert_eq!(
            (proxy.reply("DBSIZE"), proxy.reply("MGET key:0 key:59 key:7")),
            ("60".into(), "[\"0\", \"59\", \"7\"]".into())
        );
    }
}
