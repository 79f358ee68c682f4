//! Clients that go away, are killed, ask for too much, or are many: each request gets one answer, and nothing is left of
//! those that were given up.

use std::time::{Duration, Instant};

use crate::common::{Cluster, ConstantTotal, Server, Wire, eventually, in_time, poll, text_of, while_repeating};

const SOON: Duration = Duration::from_secs(3);

/// Returns a cluster that does not care about a node which is stopped for a while.
fn patient_cluster() -> Cluster {
    let cluster = Cluster::builder().node_timeout(Duration::from_secs(30)).start();
    open_links(&mut cluster.node(0).wire());
    cluster
}

/// Makes a coordinator open all its links: there is one connection for requests in RESP2, and one for those in RESP3.
fn open_links(wire: &mut Wire) {
    assert_eq!(wire.ask(&["RMR.PING"]), "+OK");
    assert!(wire.ask(&["RMR.FANOUT", "PING"]).starts_with("*3 +PONG"));
}

fn blocked(node: &Server) -> u64 {
    node.figure("clients", "blocked_clients")
}

fn assert_nothing_is_left(node: &Server) {
    eventually(SOON, "nobody waits, and nothing is in flight", || {
        blocked(node) == 0 && node.rmr_figure("inflight") == 0 && node.rmr_figure("batches_in_flight") == 0
    });
}

#[test]
fn a_client_that_disconnects_cancels_its_request() {
    let cluster = patient_cluster();
    let coordinator = cluster.node(0);
    cluster.node(1).stop_signal();
    let mut leaving: Vec<Wire> = (0..30).map(|_| coordinator.wire()).collect();
    leaving.iter_mut().for_each(|wire| wire.send(&["RMR.FANOUT", "TIMEOUT", "60000", "DBSIZE"]));
    eventually(SOON, "all wait", || blocked(coordinator) == 30);
    assert_eq!(coordinator.rmr_figure("cancelled"), 0);
    drop(leaving);
    assert_nothing_is_left(coordinator);
    assert_eq!(coordinator.rmr_figure("cancelled"), 30);
    cluster.node(1).cont_signal();
    assert_eq!(coordinator.wire().ask(&["RMR.FANOUT", "DBSIZE"]), "*3 :0 :0 :0");
}

#[test]
fn a_client_that_is_killed_or_hangs_up_at_any_moment_leaves_nothing() {
    let cluster = patient_cluster();
    let coordinator = cluster.node(0);
    let total = ConstantTotal::fill(&cluster, 50);
    let mut sum = vec!["RMR.SUM"];
    sum.extend(total.keys().iter().map(String::as_str));
    let true_sum = total.ask(coordinator);
    let connect_and_leave = |_: &usize| {
        let mut turn = 0;
        let (sum, true_sum) = (&sum, &true_sum);
        move || {
            let Ok(mut wire) = Wire::try_connect(coordinator.port(), SOON) else { return };
            turn += 1;
            // Each of these may be the last thing that it hears: they all kill each other.
            let _ = wire.try_call(&["RMR.FANOUT", "ECHO", "x"]);
            match turn % 3 {
                0 => {
                    let _ = wire.try_send_raw(b"*1\r\n$8\r\nRMR.PING\r\n");
                }
                1 => {
                    let _ = wire.try_send_raw(b"*2\r\n$10\r\nRMR.FANOUT\r\n$6\r\nDBSIZE\r\n");
                    let _ = wire.try_call(&["CLIENT", "KILL", "TYPE", "normal", "SKIPME", "no"]);
                }
                _ => {
                    if let Ok(reply) = wire.try_call(sum) {
                        assert_eq!(text_of(&reply), *true_sum);
                    }
                }
            }
        }
    };
    while_repeating(&[0, 1, 2], connect_and_leave, || {
        eventually(Duration::from_secs(20), "a few hundred requests", || {
            // The one who asks may be killed too.
            let info = Wire::try_connect(coordinator.port(), SOON).and_then(|mut wire| wire.try_call(&["INFO", "rmr"]));
            let info = info.map(|info| text_of(&info)).unwrap_or_default();
            let figure = |name: &str| -> u64 {
                let value = info.split_once(name).and_then(|(_, rest)| rest.split(' ').next()?.parse().ok());
                value.unwrap_or(0)
            };
            figure("rmr_total:") > 600 && figure("rmr_cancelled:") > 20
        });
    });
    assert_nothing_is_left(coordinator);
    assert!(total.is_right_on(coordinator));
}

#[test]
fn links_that_are_killed_under_load_are_made_anew() {
    let cluster = patient_cluster();
    let total = ConstantTotal::fill(&cluster, 100);
    let coordinator = cluster.node(0);
    let connects = coordinator.rmr_figure("connects");
    let ((), answers) = total.ask_while(&[coordinator, coordinator], || {
        let killed = || coordinator.rmr_figure("connects") >= connects + 20;
        eventually(Duration::from_secs(20), "links are made anew", || {
            for shard in [1, 2] {
                let list: String = cluster.node(shard).run(&["CLIENT", "LIST"]);
                let ids = list
                    .lines()
                    .filter(|line| line.contains(" name=rmr "))
                    .filter_map(|line| line.strip_prefix("id=")?.split(' ').next().map(str::to_owned));
                // It may have gone by itself meanwhile.
                ids.for_each(|id| drop(cluster.node(shard).try_run::<()>(&["CLIENT", "KILL", "ID", &id])));
            }
            killed()
        });
    });
    println!("{} right, {} errors", answers.right, answers.errors.len());
    assert!(answers.right > 0);
    for error in &answers.errors {
        // A read is sent again, but not for ever.
        assert!(error.starts_with("-RMRNODE ") && !error.contains("outcome"), "{error}");
    }
    assert!(total.is_right_on(coordinator), "works again at once");
    cluster.node(1).run::<()>(&["CLIENT", "KILL", "TYPE", "normal"]);
    cluster.node(2).run::<()>(&["CLIENT", "KILL", "TYPE", "normal"]);
    assert!(total.is_right_on(coordinator), "a request that finds its links closed does not notice");
    assert_nothing_is_left(coordinator);
}

#[test]
fn client_unblock_does_not_break_the_answer() {
    let cluster = patient_cluster();
    let coordinator = cluster.node(0);
    for how in [&["TIMEOUT"][..], &["ERROR"], &[]] {
        let mut wire = coordinator.wire();
        let id = wire.ask(&["CLIENT", "ID"]);
        cluster.node(1).stop_signal();
        wire.send(&["RMR.FANOUT", "TIMEOUT", "1000", "DBSIZE"]);
        wire.send(&["ECHO", "in step"]);
        eventually(SOON, "it waits", || blocked(coordinator) == 1);
        let mut unblock = vec!["CLIENT", "UNBLOCK", &id[1..]];
        unblock.extend(how);
        let unblocked: u64 = coordinator.run(&unblock);
        cluster.node(1).cont_signal();
        let reply = text_of(&wire.read_frame());
        // Either it cannot be unblocked, and gets its answer; or it is, and is told so.
        assert!(if unblocked == 0 { reply == "*3 :0 :0 :0" } else { reply.starts_with('-') }, "{unblocked}: {reply}");
        assert_eq!(text_of(&wire.read_frame()), "$7 in step");
        assert_nothing_is_left(coordinator);
    }
}

#[test]
fn too_many_requests_in_flight_are_refused_at_once() {
    let cluster = patient_cluster();
    let coordinator = cluster.node(0);
    coordinator.run::<()>(&["CONFIG", "SET", "rmr.max-inflight", "5"]);
    cluster.node(1).stop_signal();
    let mut waiting: Vec<Wire> = (0..5).map(|_| coordinator.wire()).collect();
    waiting.iter_mut().for_each(|wire| wire.send(&["RMR.FANOUT", "TIMEOUT", "60000", "DBSIZE"]));
    eventually(SOON, "five wait", || blocked(coordinator) == 5);
    let (mut wire, mut refused) = (coordinator.wire(), 0);
    for request in [&["RMR.FANOUT", "DBSIZE"][..], &["RMR.SUM", "a", "b"], &["RMR.PING"]] {
        in_time(Duration::from_millis(200), || {
            refused += 1;
            assert_eq!(wire.ask(request), "-RMRBUSY 5 requests are in flight; rmr.max-inflight allows no more");
        });
    }
    assert_eq!(coordinator.rmr_figure("busy"), refused);
    // Those that were let in are answered, and make room.
    cluster.node(1).cont_signal();
    for wire in &mut waiting {
        assert_eq!(text_of(&wire.read_frame()), "*3 :0 :0 :0");
    }
    assert_eq!(wire.ask(&["RMR.FANOUT", "DBSIZE"]), "*3 :0 :0 :0");
    assert_nothing_is_left(coordinator);
}

#[test]
fn replies_that_are_too_big_are_refused_and_their_memory_returns() {
    const MB: u64 = 1 << 20;
    let cluster = patient_cluster();
    let coordinator = cluster.node(0);
    let big: Vec<String> = (0..3).map(|shard| cluster.key_for(shard, "big")).collect();
    let small: Vec<String> = (0..3).map(|shard| cluster.key_for(shard, "small")).collect();
    let value = vec![b'x'; 40 << 20];
    big[1..].iter().for_each(|key| cluster.set(key, &value));
    small.iter().for_each(|key| cluster.set(key, "1"));
    coordinator.run::<()>(&["CONFIG", "SET", "rmr.max-reply-bytes", "1mb"]);
    // Scripts have connections of their own, which are opened when the first one is sent.
    coordinator.run::<Vec<i64>>(&["RMR.FANOUT", "EVAL", "return 1", "0"]);
    let connects = coordinator.rmr_figure("connects");
    let mut before = coordinator.figure("memory", "used_memory");
    let mut wire = coordinator.wire();
    let mut get = |key: &str| wire.ask(&["RMR.MAP", "LIST", "1", key, "GET"]);
    let peak = coordinator.figure("memory", "used_memory_peak");
    for key in [&big[1], &big[2], &big[0]] {
        if key == &big[0] {
            // Values of other nodes are thrown away as they come; those of this node are in memory anyhow.
            let peak = coordinator.figure("memory", "used_memory_peak") - peak;
            assert!(peak < 16 * MB, "{} MB were taken for what was not allowed", peak / MB);
            cluster.set(key, &value);
            before = coordinator.figure("memory", "used_memory");
        }
        for _ in 0..5 {
            assert_eq!(get(key), "-RMRTOOBIG the replies grew past 1048576 bytes; rmr.max-reply-bytes allows no more");
        }
        // The link survives, and what is asked next is not disturbed by what is thrown away.
        small.iter().for_each(|key| assert_eq!(get(key), "*1 $1 1"));
    }
    // Many small replies add up as well, over all shards.
    let sum = coordinator.wire().ask(&["RMR.FANOUT", "EVAL", "return string.rep('x', 500000)", "0"]);
    assert!(sum.starts_with("-RMRTOOBIG "), "{}", &sum[..sum.len().min(100)]);
    assert_eq!(coordinator.rmr_figure("toobig"), 16);
    assert_eq!(coordinator.rmr_figure("connects"), connects, "no link was made anew");
    let held = || coordinator.figure("memory", "used_memory").saturating_sub(before);
    eventually(SOON, "the memory returns", || held() < 8 * MB);
    println!("{} kB more than before", held() >> 10);

    // A reply that is allowed comes whole, and its memory returns too.
    coordinator.run::<()>(&["CONFIG", "SET", "rmr.max-reply-bytes", "1gb"]);
    for key in &big {
        let reply = coordinator.wire().call(&["RMR.MAP", "LIST", "1", key, "GET"]);
        assert!(reply.len() > value.len() && reply.ends_with(b"xxx\r\n"));
    }
    poll(SOON, || (held() < 8 * MB).then_some(())).unwrap_or_else(|| panic!("{} MB are still held", held() / MB));
}

#[test]
fn many_clients_at_once_each_get_their_own_answers() {
    const CLIENTS: usize = 50;
    const ROUNDS: usize = 100;
    let cluster = Cluster::start(3);
    let total = ConstantTotal::fill(&cluster, 30);
    let sum_of_all = total.ask(cluster.node(0));
    std::thread::scope(|scope| {
        for client in 0..CLIENTS {
            let (cluster, total, sum_of_all) = (&cluster, &total, &sum_of_all);
            scope.spawn(move || {
                let mut wire = cluster.node(client % 3).wire();
                let own: Vec<String> = (0..5).map(|number| format!("own:{client}:{number}")).collect();
                let keys: Vec<&str> = own.iter().map(String::as_str).collect();
                for round in 1..=ROUNDS {
                    let word = format!("{client}-{round}");
                    let echo = wire.ask(&["RMR.FANOUT", "ECHO", &word]);
                    let one = format!("${} {word}", word.len());
                    assert_eq!(echo, format!("*3 {one} {one} {one}"));
                    let mut incr = vec!["RMR.MAP", "LIST", "5"];
                    incr.extend(&keys);
                    incr.push("INCR");
                    assert_eq!(wire.ask(&incr), format!("*5 :{round} :{round} :{round} :{round} :{round}"));
                    let mut sum = vec!["RMR.SUM"];
                    sum.extend(&keys);
                    assert_eq!(wire.ask(&sum), format!(":{}", 5 * round));
                    if round % 10 == 0 {
                        let mut sum = vec!["RMR.SUM"];
                        sum.extend(total.keys().iter().map(String::as_str));
                        assert_eq!(wire.ask(&sum), *sum_of_all);
                        let wrong = wire.ask(&["RMR.FANOUT", "GET", &word, "too", "many"]);
                        assert!(wrong.contains("wrong number of arguments"), "{wrong}");
                    }
                }
            });
        }
    });
    for node in cluster.nodes() {
        assert_nothing_is_left(node);
        assert_eq!(node.rmr_figure("connects"), 4, "two connections to each of the two others");
    }
}

#[test]
fn shards_that_all_coordinate_at_the_same_time_do_not_wait_for_each_other() {
    let cluster = Cluster::start(3);
    let everywhere: Vec<&Server> = cluster.nodes().iter().cycle().take(60).collect();
    let until = Instant::now() + Duration::from_secs(3);
    let fan_out = |node: &&Server| {
        let mut wire = node.wire();
        move || {
            let asked = Instant::now();
            // Each shard asks all, and each of them is asking all the same.
            assert_eq!(wire.ask(&["RMR.FANOUT", "REDUCE", "SUM", "DBSIZE"]), ":0");
            assert_eq!(wire.ask(&["RMR.PING"]), "+OK");
            assert!(asked.elapsed() < Duration::from_secs(2), "{:?}", asked.elapsed());
        }
    };
    while_repeating(&everywhere, fan_out, || {
        eventually(Duration::from_secs(10), "three seconds of it", || Instant::now() > until);
    });
    let requests: u64 = cluster.nodes().iter().map(|node| node.rmr_figure("total")).sum();
    println!("{requests} requests in 3 s");
    assert!(requests > 600);
    cluster.nodes().iter().for_each(assert_nothing_is_left);
}
