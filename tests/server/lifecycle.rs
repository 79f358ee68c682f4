//! From the load of the module to the end of its server: loads and unloads under traffic, child processes, threads of
//! the server's own, a prompt shutdown.

use std::process::Command;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use crate::common::{Cluster, ConstantTotal, Server, Wire, eventually, poll, text_of, while_repeating};

const SOON: Duration = Duration::from_secs(5);

/// The longest that a child process may take to save.
const CHILD_LIMIT: Duration = Duration::from_secs(10);

fn assert_no_crash(node: &Server) {
    let log = node.log();
    assert!(!log.contains("BUG REPORT") && !log.contains("panicked"), "{log}");
}

/// Unloads, as often as it takes: while a client waits, the server or the module refuses.
fn unload(wire: &mut Wire, refused: &mut usize) {
    let unloaded = poll(Duration::from_secs(20), || {
        let reply = wire.ask(&["MODULE", "UNLOAD", "rmr"]);
        if reply == "+OK" {
            return Some(());
        }
        assert!(reply.starts_with("-ERR Error unloading module: "), "{reply}");
        *refused += 1;
        None
    });
    assert!(unloaded.is_some(), "cannot be unloaded under traffic");
}

#[test]
fn two_hundred_loads_and_unloads_under_traffic() {
    const TIMES: usize = 200;
    let cluster = Cluster::builder().unloadable().start();
    let total = ConstantTotal::fill(&cluster, 20);
    let node = cluster.node(0);
    let (served, strangers) = (AtomicU64::new(0), AtomicU64::new(0));
    let mut sum = vec!["RMR.SUM"];
    sum.extend(total.keys().iter().map(String::as_str));
    let true_sum = total.ask(cluster.node(1));
    let traffic = |_: &usize| {
        let (sum, true_sum, served, strangers) = (&sum, &true_sum, &served, &strangers);
        move || {
            // A connection for each request, since the module closes those whose last command was its own as it goes.
            let mut wire = node.wire();
            let reply = wire.ask(sum);
            if reply == *true_sum {
                served.fetch_add(1, Ordering::Relaxed);
            } else {
                assert!(reply.starts_with("-ERR unknown command"), "{reply}");
                strangers.fetch_add(1, Ordering::Relaxed);
            }
            drop(wire);
            // A moment of other work, so that there are moments with nobody waiting.
            assert_eq!(node.wire().ask(&["PING"]), "+PONG");
        }
    };
    let mut refused = 0;
    let (mut memory, mut resident) = (Vec::new(), Vec::new());
    while_repeating(&[0, 1], traffic, || {
        let mut wire = node.wire();
        for _ in 0..TIMES {
            unload(&mut wire, &mut refused);
            // A thread that has ended and been joined may be listed for a moment yet.
            eventually(Duration::from_secs(1), "no thread outlives its module", || node.rmr_threads() == 0);
            node.load_unloadable(&[]);
            assert_eq!(wire.ask(&sum), true_sum);
            memory.push(node.figure("memory", "used_memory"));
            resident.push(node.resident_bytes());
        }
    });
    println!(
        "{TIMES} times; {refused} refusals; {} served, {} found no module; memory {} to {} kB, resident {} to {} kB",
        served.into_inner(),
        strangers.into_inner(),
        memory[19] >> 10,
        memory[TIMES - 1] >> 10,
        resident[19] >> 10,
        resident[TIMES - 1] >> 10
    );
    // The first rounds fill pools; after that, 180 rounds must not leave more than some 20 kB each.
    assert!(memory[TIMES - 1] < memory[19] + (2 << 20), "{memory:?}");
    assert!(resident[TIMES - 1] < resident[19] + (12 << 20), "{resident:?}");
    assert!(total.is_right_on(node));
    assert_no_crash(node);
}

/// The server would look at a command that is gone.
#[test]
fn connections_whose_last_command_goes_with_the_module_are_closed() {
    let server = Server::builder().unloadable().start();
    for _ in 0..5 {
        let mut idle: Vec<Wire> = (0..20).map(|_| server.wire()).collect();
        let mut stranger = server.wire();
        assert_eq!(stranger.ask(&["PING"]), "+PONG");
        for command in [&["RMR.PING"][..], &["RMR.EXEC", "DBSIZE"], &["RMR.FANOUT", "PING"]] {
            idle.iter_mut().for_each(|wire| drop(wire.ask(command)));
        }
        unload(&mut server.wire(), &mut 0);
        assert_eq!(stranger.ask(&["PING"]), "+PONG", "a connection that has nothing to do with the module was closed");
        assert!(server.wire().ask(&["CLIENT", "LIST"]).contains("cmd=ping"));
        assert!(idle.iter_mut().all(|wire| wire.try_call(&["RMR.FANOUT", "PING"]).is_err()));
        server.load_unloadable(&[]);
    }
    assert_no_crash(&server);
}

#[test]
fn connections_are_closed_also_where_commands_have_other_names() {
    let names = "rename-command MODULE OUR.MODULE\nrename-command COMMAND OUR.COMMAND";
    let server = Server::builder().unloadable().config_file(names).start();
    let mut idle = server.wire();
    assert_eq!(idle.ask(&["RMR.FANOUT", "PING"]), "*1 +PONG");
    eventually(SOON, "it is unloaded", || server.wire().ask(&["OUR.MODULE", "UNLOAD", "rmr"]) == "+OK");
    assert!(idle.try_call(&["PING"]).is_err());
    assert!(server.log().contains("not all connections that should end with the module are known: MODULE: "));
    assert!(server.wire().ask(&["CLIENT", "LIST"]).contains("cmd=client|list"));
    assert_no_crash(&server);
}

#[test]
fn an_unload_is_refused_while_a_request_waits_and_harms_nothing() {
    let cluster = Cluster::builder().unloadable().node_timeout(Duration::from_secs(30)).start();
    let node = cluster.node(0);
    let mut waiting = node.wire();
    assert_eq!(waiting.ask(&["RMR.FANOUT", "DBSIZE"]), "*3 :0 :0 :0");
    cluster.node(1).stop_signal();
    waiting.send(&["RMR.FANOUT", "TIMEOUT", "10000", "DBSIZE"]);
    eventually(SOON, "it waits", || node.figure("clients", "blocked_clients") == 1);
    let reply = node.wire().ask(&["MODULE", "UNLOAD", "rmr"]);
    assert!(reply.starts_with("-ERR Error unloading module: "), "{reply}");
    assert!(node.rmr_threads() > 0);
    cluster.node(1).cont_signal();
    assert_eq!(text_of(&waiting.read_frame()), "*3 :0 :0 :0");
    assert_eq!(node.wire().ask(&["RMR.FANOUT", "DBSIZE"]), "*3 :0 :0 :0");
    unload(&mut node.wire(), &mut 0);
    assert_eq!(node.rmr_threads(), 0);
    assert!(node.wire().ask(&["RMR.FANOUT", "DBSIZE"]).starts_with("-ERR unknown command"));
    assert_no_crash(node);
}

#[test]
fn an_unload_while_links_dial_into_nowhere_is_prompt() {
    let hole = std::net::TcpListener::bind("127.0.0.1:0").expect("a listener");
    let address = hole.local_addr().expect("its address").to_string();
    let server = Server::builder().unloadable().module_args(["nodes", &address, "connect-timeout-ms", "60000"]).start();
    let mut wire = server.wire();
    let reply = wire.ask(&["RMR.FANOUT", "TIMEOUT", "50", "PING"]);
    assert!(reply.starts_with("-RMRTIMEOUT 50 ms"), "{reply}");
    let asked = Instant::now();
    unload(&mut wire, &mut 0);
    assert!(asked.elapsed() < Duration::from_secs(5), "{:?}", asked.elapsed());
    assert_eq!(server.rmr_threads(), 0);
}

/// Requests of all kinds from clients that come and go, each answer checked.
fn mixed_traffic<'a>(cluster: &'a Cluster, total: &'a ConstantTotal, client: usize) -> impl FnMut() + 'a {
    let node = cluster.node(client % cluster.nodes().len());
    let mut wire = node.wire();
    let mut turn = client;
    let mut sum = vec!["RMR.SUM"];
    sum.extend(total.keys().iter().map(String::as_str));
    let first = total.keys()[0].as_str();
    let true_sum = wire.ask(&sum);
    move || {
        turn += 1;
        match turn % 5 {
            0 => assert_eq!(wire.ask(&["RMR.PING"]), "+OK"),
            1 => assert_eq!(wire.ask(&["RMR.FANOUT", "ECHO", "x"]), "*3 $1 x $1 x $1 x"),
            2 => assert_eq!(wire.ask(&["RMR.MAP", "COUNT", "2", first, "no key", "GET"]), ":1"),
            3 => {
                // Leaves without hearing the answer.
                wire.send(&sum);
                wire = node.wire();
            }
            _ => assert_eq!(wire.ask(&sum), true_sum),
        }
    }
}

#[test]
fn io_threads_of_the_server_do_no_harm() {
    // Twelve more threads on few cores: a node may be slow to answer the others.
    let cluster = Cluster::builder()
        .node_timeout(Duration::from_secs(30))
        .module_args(["timeout-ms", "20000", "connect-timeout-ms", "10000"])
        .config("io-threads", "4")
        .config("io-threads-do-reads", "yes")
        .start();
    let total = ConstantTotal::fill(&cluster, 60);
    let clients: Vec<usize> = (0..36).collect();
    let until = Instant::now() + Duration::from_secs(4);
    let begin = |&client: &usize| mixed_traffic(&cluster, &total, client);
    while_repeating(&clients, begin, || {
        eventually(Duration::from_secs(20), "four seconds of it", || Instant::now() > until);
    });
    for node in cluster.nodes() {
        assert!(total.is_right_on(node));
        eventually(SOON, "nobody waits", || {
            node.figure("clients", "blocked_clients") == 0 && node.rmr_figure("inflight") == 0
        });
        assert_no_crash(node);
    }
}

/// Starts a child process and waits for its end.
fn save(node: &Server, command: &[&str], running: &str, status: &str) {
    // Another child may still be at it.
    eventually(CHILD_LIMIT, "the child is started", || node.try_run::<()>(command).is_ok());
    let began = Instant::now();
    eventually(CHILD_LIMIT, "the child has ended", || {
        let info: String = node.run(&["INFO", "persistence"]);
        assert!(info.contains(status), "{info}");
        info.contains(&format!("{running}:0")) && !info.contains("scheduled:1")
    });
    assert!(began.elapsed() < CHILD_LIMIT);
}

#[test]
fn children_that_save_under_load_end_and_leave_what_can_be_loaded() {
    let cluster = Cluster::builder().config("appendonly", "no").start();
    let total = ConstantTotal::fill(&cluster, 60);
    cluster.fill(30_000, |number| (format!("key:{number}"), "some value"));
    let replica = Server::start();
    let node = cluster.node(0);
    let begin = |&client: &usize| mixed_traffic(&cluster, &total, client);
    while_repeating(&[0, 1, 2, 3, 6, 9], begin, || {
        for _ in 0..12 {
            save(node, &["BGSAVE"], "rdb_bgsave_in_progress", "rdb_last_bgsave_status:ok");
            save(node, &["BGREWRITEAOF"], "aof_rewrite_in_progress", "aof_last_bgrewrite_status:ok");
        }
        for _ in 0..4 {
            // A new id makes the replica take everything anew, from a child of its primary.
            replica.run::<()>(&["REPLICAOF", "NO", "ONE"]);
            replica.run::<()>(&["FLUSHALL"]);
            node.run::<()>(&["DEBUG", "CHANGE-REPL-ID"]);
            replica.run::<()>(&["REPLICAOF", "127.0.0.1", &node.port().to_string()]);
            eventually(CHILD_LIMIT, "the replica is in sync", || {
                replica.run::<String>(&["INFO", "replication"]).contains("master_link_status:up")
            });
            assert_eq!(replica.run::<u64>(&["DBSIZE"]), node.run::<u64>(&["DBSIZE"]));
        }
    });
    let held: String = node.run(&["DEBUG", "DIGEST"]);
    assert_eq!(replica.run::<String>(&["DEBUG", "DIGEST"]), held);
    node.restart();
    assert_eq!(node.run::<String>(&["DEBUG", "DIGEST"]), held, "what was saved under load is what was there");
    cluster.settle();
    assert!(total.is_right_on(cluster.node(1)));
    assert_no_crash(node);
}

/// Ends a server in some way, and waits until it has ended.
fn ends_promptly(node: &Server, how: &str) {
    let began = Instant::now();
    if how == "TERM" {
        let kill = Command::new("sh").args(["-c", &format!("kill -TERM {}", node.pid())]).status();
        assert!(kill.expect("a shell").success());
    } else {
        node.wire().send(&["SHUTDOWN", how]);
    }
    eventually(SOON, "the server ends", || !node.alive());
    assert!(began.elapsed() < Duration::from_secs(2), "{how}: {:?}", began.elapsed());
    assert_no_crash(node);
    assert!(node.log().contains("ready to exit"), "it ended as it should");
}

#[test]
fn a_server_with_requests_in_flight_shuts_down_promptly() {
    let cluster = Cluster::builder().node_timeout(Duration::from_secs(30)).start();
    cluster.node(2).stop_signal();
    for (node, how) in cluster.nodes().iter().zip(["TERM", "NOSAVE"]) {
        let mut waiting: Vec<Wire> = (0..20).map(|_| node.wire()).collect();
        waiting.iter_mut().for_each(|wire| wire.send(&["RMR.FANOUT", "TIMEOUT", "60000", "PARTIAL", "DBSIZE"]));
        eventually(SOON, "all wait", || node.figure("clients", "blocked_clients") == 20);
        ends_promptly(node, how);
    }
}

#[test]
fn a_server_under_load_shuts_down_promptly() {
    for how in ["TERM", "NOSAVE", "SAVE", "TERM", "NOSAVE"] {
        let server = Server::start();
        let fan_out = |_: &usize| {
            // Nobody answers once it has gone, which may be before all have come.
            let mut wire = Wire::try_connect(server.port(), SOON).ok();
            move || drop(wire.as_mut().map(|wire| wire.try_call(&["RMR.MAP", "LIST", "2", "a", "b", "GET"])))
        };
        while_repeating(&[0, 1, 2, 3], fan_out, || {
            eventually(SOON, "it is busy", || server.rmr_figure("total") > 200);
            ends_promptly(&server, how);
        });
    }
}
