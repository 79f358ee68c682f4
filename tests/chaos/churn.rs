//! The topology changes and is looked at again and again, and that disturbs neither links nor requests; and a fan-out
//! asks the nodes that it was told to ask, whatever they have become.

use std::time::Duration;

use crate::common::{
    Cluster, ClusterBuilder, ConstantTotal, Server, eventually, poll, slot_of, text_of, while_repeating,
};

const SOON: Duration = Duration::from_secs(2);
const ELECTION: Duration = Duration::from_secs(30);

/// Coordinators that look at the topology again only when they have a reason.
fn without_polling() -> ClusterBuilder {
    Cluster::builder().replicas(1).node_timeout(Duration::from_secs(1)).module_args(["topology-refresh-ms", "3600000"])
}

/// Lets a coordinator find out who is there, for the last time without a reason.
fn acquaint(coordinator: &Server) {
    assert_eq!(coordinator.wire().ask(&["RMR.PING"]), "+OK");
    // The look that follows the start may come a little later than the first request's own.
    poll(Duration::from_millis(300), || (coordinator.rmr_figure("refreshes") >= 2).then_some(()));
}

/// Makes the replica of shard 0 its primary, in the eyes of all, and without a word from the old one if it is killed.
fn replace_first_primary(cluster: &Cluster, kill: bool) {
    let slot = slot_of(cluster.key_for(0, "any"));
    if kill {
        cluster.node(0).kill();
        eventually(ELECTION, "the replica takes over", || cluster.owner_of(slot) == 3);
        cluster.settle();
    } else {
        cluster.failover(3);
    }
}

#[test]
fn links_and_requests_survive_any_number_of_new_topologies() {
    let mut cluster = Cluster::start(3);
    let total = ConstantTotal::fill(&cluster, 100);
    assert!(cluster.nodes().iter().all(|node| total.is_right_on(node)));
    let added = cluster.add_node();
    let (old, _) = cluster.nodes().split_at(3);
    let figures = |name: &str| -> Vec<u64> { old.iter().map(|node| node.rmr_figure(name)).collect() };
    let (connects, epochs) = (figures("connects"), figures("epoch"));
    let empty_slot = slot_of("an empty slot");
    // Changes in quick succession are seen as one.
    let have_seen_some = || figures("epoch").iter().zip(&epochs).all(|(after, before)| *after >= before + 4);

    let asked: Vec<&Server> = old.iter().collect();
    let ((), answers) = total.ask_while(&asked, || {
        let refresh = |node: &Server| {
            let mut wire = node.wire();
            move || assert!(wire.ask(&["RMR.REFRESH"]).starts_with('*'))
        };
        while_repeating(old, refresh, || {
            for moves in 0..100 {
                if moves >= 8 && have_seen_some() {
                    break;
                }
                let from = cluster.owner_of(empty_slot);
                cluster.move_slot(empty_slot, from, (from + 1) % 3);
            }
        });
    });

    assert!(answers.errors.is_empty() && answers.right > 50, "{} right, {:?}", answers.right, answers.errors);
    assert!(have_seen_some(), "the topology was seen to change: {epochs:?} to {:?}", figures("epoch"));
    assert_eq!(figures("connects"), connects, "no link was made anew");
    assert!(cluster.node(added).running());
}

#[test]
fn a_request_in_flight_outlives_the_topology_it_was_planned_by() {
    let mut cluster = Cluster::builder().node_timeout(Duration::from_secs(15)).start();
    let added = cluster.add_node();
    let coordinator = cluster.node(0);
    let leaving = cluster.node(added);
    eventually(SOON, "the new node can be asked", || {
        coordinator.wire().ask(&["RMR.FANOUT", "NODE", &leaving.address(), "PING"]) == "*1 +PONG"
    });

    // The request waits for a node that is sent away meanwhile.
    leaving.stop_signal();
    let mut wire = coordinator.wire();
    wire.send(&["RMR.FANOUT", "NODE", &leaving.address(), "TIMEOUT", "8000", "DBSIZE"]);
    eventually(SOON, "the request is on its way", || coordinator.rmr_figure("batches_in_flight") == 1);
    let id: String = {
        let nodes: String = coordinator.run(&["CLUSTER", "NODES"]);
        let line = nodes.lines().find(|line| line.contains(&leaving.address())).expect("the node is known");
        line.split(' ').next().expect("an id").to_owned()
    };
    cluster.nodes()[..3].iter().for_each(|node| node.run::<()>(&["CLUSTER", "FORGET", &id]));
    eventually(SOON, "the node is not in the topology any more", || coordinator.rmr_figure("nodes") == 3);
    leaving.cont_signal();
    assert_eq!(text_of(&wire.read_frame()), "*1 :0");
}

#[test]
fn a_node_that_is_named_is_asked_itself_or_not_at_all() {
    let cluster = without_polling().start();
    let coordinator = cluster.node(1);
    let lost = cluster.node(0).address();
    acquaint(coordinator);
    replace_first_primary(&cluster, true);

    // Its replica has its slots by now, but was not named.
    let reply = coordinator.wire().ask(&["RMR.FANOUT", "NODE", &lost, "CONFIG", "GET", "port"]);
    assert!(reply.starts_with("-RMRNODE ") && reply.contains(&lost), "{reply}");
}

#[test]
fn a_fan_out_to_all_nodes_asks_each_node_once() {
    let cluster = without_polling().start();
    let coordinator = cluster.node(1);
    let lost = cluster.node(0).address();
    acquaint(coordinator);
    replace_first_primary(&cluster, true);

    let replies = coordinator.wire().ask(&["RMR.FANOUT", "ON", "ALL", "PARTIAL", "CONFIG", "GET", "port"]);
    for node in &cluster.nodes()[1..] {
        let port = format!(" {} ", node.port());
        assert_eq!(format!("{replies} ").matches(&port).count(), 1, "{port} in {replies}");
    }
    assert!(replies.contains("-RMRNODE ") && replies.contains(&lost), "{replies}");
}

#[test]
fn a_fan_out_to_primaries_finds_the_new_one() {
    let cluster = without_polling().start();
    cluster.fill(300, |number| (format!("key:{number}"), "x"));
    let coordinator = cluster.node(1);
    acquaint(coordinator);
    replace_first_primary(&cluster, true);

    assert_eq!(coordinator.wire().ask(&["RMR.FANOUT", "REDUCE", "SUM", "DBSIZE"]), ":300");
}

#[test]
fn a_primary_that_was_demoted_in_silence_is_noticed_by_what_it_refuses() {
    let cluster = without_polling().start();
    cluster.fill(300, |number| (format!("key:{number}"), "x"));
    let coordinator = cluster.node(1);
    acquaint(coordinator);
    replace_first_primary(&cluster, false);

    // The old primary answers READONLY: it has not run the command, and there is a new one.
    eventually(SOON, "all primaries take the write", || {
        coordinator.wire().ask(&["RMR.FANOUT", "FLUSHALL"]) == "*3 +OK +OK +OK"
    });
    assert_eq!(coordinator.wire().ask(&["RMR.FANOUT", "REDUCE", "SUM", "DBSIZE"]), ":0");
}

#[test]
fn a_slot_that_had_no_owner_is_served_as_soon_as_it_has_one() {
    let cluster = Cluster::builder()
        .module_args(["topology-refresh-ms", "3600000"])
        .config("cluster-require-full-coverage", "no")
        .start();
    let key = cluster.key_for(0, "key");
    let slot = slot_of(&key);
    cluster.disown(slot, slot);
    let coordinator = cluster.node(1);
    acquaint_with_hole(coordinator, &key);
    cluster.node(0).run::<()>(&["CLUSTER", "ADDSLOTS", &slot.to_string()]);
    cluster.set(&key, "7");

    eventually(SOON, "the key is found", || coordinator.wire().ask(&["RMR.SUM", &key]) == ":7");
    eventually(SOON, "all slots are covered", || coordinator.wire().ask(&["RMR.FANOUT", "PING"]).starts_with("*3 "));
}

#[test]
fn a_slot_that_has_just_lost_its_owner_is_waited_for_by_every_command() {
    let cluster = Cluster::builder().config("cluster-require-full-coverage", "no").start();
    let key = cluster.key_for(0, "key");
    let slot = slot_of(&key).to_string();
    let [owner, coordinator, other] = [0, 1, 2].map(|node| cluster.node(node));
    coordinator.run::<()>(&["RMR.REFRESH"]);
    // Twice, since what a node has said before its turn may come after the turn of another.
    for node in cluster.nodes().iter().chain(cluster.nodes()) {
        let _ = node.try_run::<()>(&["CLUSTER", "DELSLOTS", &slot]);
    }
    coordinator.run::<()>(&["RMR.REFRESH"]);
    let (size, scan) = (["RMR.FANOUT", "DBSIZE"], ["RMR.SCAN", &slot, "COUNT", "1"]);
    let lines: [(&[&str], &str); 5] = [
        (&["RMR.SUM", &key], ":0"),
        (&["RMR.EXEC", "EXISTS", &key], ":0"),
        (&["RMR.EXEC", "DBSIZE"], ":0"),
        (&size, "*3 :0 :0 :0"),
        (&scan, "*2 "),
    ];
    let mut wires = lines.map(|(line, _)| {
        let mut wire = coordinator.wire();
        wire.send(line);
        wire
    });
    eventually(SOON, "all wait", || coordinator.figure("clients", "blocked_clients") == lines.len() as u64);
    // The first look at the cluster does not help them, nor does the second.
    let seen = coordinator.rmr_figure("refreshes");
    eventually(SOON, "the hole is seen again", || coordinator.rmr_figure("refreshes") >= seen + 3);
    owner.run::<()>(&["CLUSTER", "ADDSLOTS", &slot]);
    let id: String = owner.run(&["CLUSTER", "MYID"]);
    [coordinator, other].iter().for_each(|node| node.run::<()>(&["CLUSTER", "SETSLOT", &slot, "NODE", &id]));
    for (wire, (line, expected)) in wires.iter_mut().zip(lines) {
        let reply = text_of(&wire.read_frame());
        assert!(reply.starts_with(expected), "{line:?}: {reply}");
    }
}

/// Lets a coordinator see that the key's slot belongs to nobody.
fn acquaint_with_hole(coordinator: &Server, key: &str) {
    coordinator.run::<()>(&["RMR.REFRESH"]);
    let sum = coordinator.wire().ask(&["RMR.SUM", key]);
    assert!(sum.starts_with("-RMRSLOTS "), "{sum}");
    let sizes = coordinator.wire().ask(&["RMR.FANOUT", "DBSIZE"]);
    assert!(sizes.starts_with("-RMRSLOTS "), "{sizes}");
    let rest = coordinator.wire().ask(&["RMR.FANOUT", "PARTIAL", "DBSIZE"]);
    assert!(rest.starts_with("*4 ") && rest.contains(" -RMRSLOTS 1 slots have no owner ("), "{rest}");
}
