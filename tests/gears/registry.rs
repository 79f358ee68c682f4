//! Registrations: what is listed, how they go, and that all shards have the same ones.

use std::time::Duration;

use crate::common::{Server, elements, eventually, show};
use crate::servers::{Servers, call, cluster};

/// Time for shards to tell each other what one of them has missed.
const CAUGHT_UP: Duration = Duration::from_secs(30);

/// Registers a function at a node that is called by this name and returns this text; further words go to the command.
fn register(node: &Server, name: &str, says: &str, words: &[&str]) -> String {
    let script = format!("GB('CommandReader').map(lambda x: '{says}').register(trigger='{name}', mode='async_local')");
    show(&call(node, &[&["RG.PYEXECUTE", &script], words].concat()))
}

fn trigger(node: &Server, name: &str) -> String {
    show(&call(node, &["RG.TRIGGER", name]))
}

/// Returns the ids of the registrations of a node, in their order.
fn ids(node: &Server) -> Vec<String> {
    let reply = call(node, &["RG.DUMPREGISTRATIONS"]);
    elements(&reply).into_iter().map(|element| show(elements(element)[1]).trim_matches('"').to_owned()).collect()
}

/// Waits until all nodes have just these registrations, in this order.
#[track_caller]
fn await_ids(nodes: &[&Server], expected: &[String]) {
    eventually(CAUGHT_UP, "all shards have the same registrations", || nodes.iter().all(|node| ids(node) == expected));
}

#[test]
fn the_first_registration_has_the_number_1_and_all_shards_know_it() {
    for servers in Servers::both() {
        let kind = servers.kind;
        assert_eq!(register(servers.first(), "one", "1", &[]), "+OK", "{kind}");
        let first = ids(servers.first());
        let prefix = match servers.is_cluster() {
            true => servers.first().run::<String>(&["CLUSTER", "MYID"]),
            false => "0".repeat(40),
        };
        assert_eq!(first, [format!("{prefix}-1")], "{kind}");
        assert_eq!(register(servers.first(), "two", "2", &[]), "+OK", "{kind}");
        for node in servers.nodes() {
            // Not waited for: it is there with the reply.
            assert_eq!(ids(node), [format!("{prefix}-1"), format!("{prefix}-3")], "{kind}");
            assert_eq!([trigger(node, "one"), trigger(node, "two")], [r#"["1"]"#, r#"["2"]"#], "{kind}");
        }
    }
}

#[test]
fn a_name_that_is_taken_is_refused_and_nothing_changes() {
    for servers in Servers::both() {
        let kind = servers.kind;
        assert_eq!(register(servers.first(), "taken", "old", &["ID", "first"]), "+OK", "{kind}");
        let before = ids(servers.first());
        let last = servers.nodes().last().expect("a node");
        let script = "GB('CommandReader').map(lambda x: 1).register(trigger='free')
GB('CommandReader').map(lambda x: 'new').register(trigger='taken')";
        let refused = show(&call(last, &["RG.PYEXECUTE", script]));
        assert!(
            refused.starts_with("[-ERR shard-") && refused.ends_with(": trigger already registered]"),
            "{kind}: {refused}"
        );
        for node in servers.nodes() {
            assert_eq!(ids(node), before, "{kind}");
            assert_eq!(trigger(node, "taken"), r#"["old"]"#, "{kind}");
            assert_eq!(trigger(node, "free"), "-ERR subcommand not found", "{kind}");
        }
        let again = register(last, "other", "x", &["ID", "first"]);
        assert_eq!(again, "-Session first already exists", "{kind}");
    }
}

#[test]
fn an_upgrade_replaces_all_of_a_session_everywhere_or_nothing() {
    for servers in Servers::both() {
        let kind = servers.kind;
        let last = servers.nodes().last().expect("a node");
        assert_eq!(register(servers.first(), "kept", "k", &[]), "+OK", "{kind}");
        assert_eq!(register(servers.first(), "name", "old", &["ID", "s"]), "+OK", "{kind}");
        let before = ids(servers.first());
        // The name belongs to somebody else.
        let refused = register(last, "kept", "new", &["ID", "s", "UPGRADE"]);
        assert!(refused.starts_with("[-ERR shard-"), "{kind}: {refused}");
        // A script that raises.
        let raised = show(&call(last, &["RG.PYEXECUTE", "1/0", "ID", "s", "UPGRADE"]));
        assert!(raised.contains("ZeroDivisionError"), "{kind}: {raised}");
        assert_eq!((ids(last), trigger(last, "name")), (before.clone(), r#"["old"]"#.to_owned()), "{kind}");
        assert_eq!(register(last, "name", "new", &["ID", "s", "UPGRADE"]), "+OK", "{kind}");
        for node in servers.nodes() {
            let now = ids(node);
            assert!(now.len() == 2 && now[0] == before[0] && now[1] != before[1], "{kind}: {now:?}");
            assert_eq!(trigger(node, "name"), r#"["new"]"#, "{kind}");
        }
        assert_eq!(register(last, "name", "newest", &["ID", "t", "REPLACE_WITH", "s"]), "+OK", "{kind}");
        for node in servers.nodes() {
            assert_eq!(trigger(node, "name"), r#"["newest"]"#, "{kind}");
            let sessions = show(&call(node, &["RG.PYDUMPSESSIONS"]));
            assert!(sessions.contains(r#""ID", "t""#) && !sessions.contains(r#""ID", "s""#), "{kind}: {sessions}");
        }
        // A script that registers nothing takes the place of one that has.
        assert_eq!(show(&call(servers.first(), &["RG.PYEXECUTE", "x = 1", "ID", "t", "UPGRADE"])), "+OK", "{kind}");
        servers.nodes().iter().for_each(|node| assert_eq!(ids(node), before[..1], "{kind}"));
    }
}

#[test]
fn any_shard_takes_a_registration_away() {
    for servers in Servers::both() {
        let kind = servers.kind;
        let script = "GB('CommandReader').map(lambda x: 1).register(trigger='a', mode='async_local')
GB('CommandReader').map(lambda x: 2).register(trigger='b', mode='async_local')";
        servers.ok(script);
        let both = ids(servers.first());
        let last = servers.nodes().last().expect("a node");
        assert_eq!(show(&call(last, &["RG.UNREGISTER", "nosuch"])), "-execution is not registered", "{kind}");
        assert_eq!(show(&call(last, &["RG.UNREGISTER", &both[0]])), "+OK", "{kind}");
        for node in servers.nodes() {
            assert_eq!(ids(node), both[1..], "{kind}");
            assert_eq!(trigger(node, "a"), "-ERR subcommand not found", "{kind}");
            assert_eq!(trigger(node, "b"), r#"["2"]"#, "{kind}");
        }
        assert_eq!(show(&call(last, &["RG.UNREGISTER", &both[0]])), "-execution is not registered", "{kind}");
        assert_eq!(show(&call(last, &["RG.UNREGISTER", &both[1], "ABORTPENDING"])), "+OK", "{kind}");
        for node in servers.nodes() {
            assert!(ids(node).is_empty(), "{kind}");
            let node = node.port();
            eventually(CAUGHT_UP, "the session ends", || {
                let node = servers.nodes().iter().find(|other| other.port() == node).expect("the node");
                show(&call(node, &["RG.PYDUMPSESSIONS"])) == "[]"
            });
        }
    }
}

#[test]
fn counts_are_cleared_on_all_shards() {
    for servers in Servers::both() {
        let kind = servers.kind;
        let triggered = |node: &Server| {
            let reply = call(node, &["RG.DUMPREGISTRATIONS"]);
            show(elements(elements(elements(&reply)[0])[7])[3])
        };
        assert_eq!(register(servers.first(), "t", "1", &[]), "+OK", "{kind}");
        for node in servers.nodes() {
            assert_eq!((trigger(node, "t"), triggered(node)), (r#"["1"]"#.to_owned(), "1".to_owned()), "{kind}");
        }
        assert_eq!(servers.reply(&["RG.CLEARREGISTRATIONSSTATS"]), "+OK", "{kind}");
        servers.nodes().iter().for_each(|node| assert_eq!(triggered(node), "0", "{kind}"));
    }
}

#[test]
fn of_two_at_once_one_wins_and_the_other_is_told() {
    let servers = Servers::cluster();
    for round in 0..10 {
        let name = format!("t{round}");
        let replies: Vec<String> = std::thread::scope(|scope| {
            let name = &name;
            let begin = |(at, node): (usize, _)| scope.spawn(move || register(node, name, &at.to_string(), &[]));
            let threads: Vec<_> = servers.nodes().iter().enumerate().map(begin).collect();
            threads.into_iter().map(|thread| thread.join().expect("a reply")).collect()
        });
        let winners: Vec<usize> = (0..3).filter(|&at| replies[at] == "+OK").collect();
        assert_eq!(winners.len(), 1, "{replies:?}");
        for reply in replies.iter().filter(|reply| *reply != "+OK") {
            let names_it =
                reply.contains("trigger already registered") || reply.contains("is being registered at this time");
            assert!(reply.starts_with("[-ERR shard-") && names_it, "{reply}");
        }
        let expected = format!("[\"{}\"]", winners[0]);
        servers.nodes().iter().for_each(|node| assert_eq!(trigger(node, &name), expected));
    }
}

/// A shard stops in the midst of changes, and goes on later: whatever the answer was, all shards agree in the end.
#[test]
fn a_shard_that_stops_in_the_midst_gets_to_know_what_was_decided() {
    let servers = Servers::patient_cluster();
    let [first, other, stops] = [0, 1, 2].map(|at| &servers.nodes()[at]);
    for node in [first, other] {
        assert_eq!(node.reply("CONFIG SET rmr.timeout-ms 300"), "+OK");
    }
    assert_eq!(register(first, "warm", "w", &[]), "+OK");
    let mut said = Vec::new();
    for round in 0..16_u64 {
        let name = format!("t{round}");
        let reply = std::thread::scope(|scope| {
            let registering = scope.spawn(|| register(first, &name, "x", &[]));
            // A moment that is another one in each round.
            std::thread::sleep(Duration::from_millis(round * 4));
            stops.stop_signal();
            let reply = registering.join().expect("a reply");
            stops.cont_signal();
            reply
        });
        let is_made = reply == "+OK" || reply.contains("outcome unknown on shard-");
        assert!(is_made || reply.starts_with("[-ERR shard-"), "{reply}");
        let expected = if is_made { r#"["x"]"# } else { "-ERR subcommand not found" };
        for node in [first, other] {
            assert_eq!(trigger(node, &name), expected, "{reply}");
        }
        eventually(CAUGHT_UP, "it gets to know", || trigger(stops, &name) == expected);
        // A change that was given up keeps nobody out.
        if !is_made {
            eventually(CAUGHT_UP, "the name is free", || register(other, &name, "y", &[]) == "+OK");
        }
        said.push(reply);
    }
    assert!(said.iter().any(|reply| reply.starts_with("[-ERR shard-")), "none was refused: {said:?}");
    assert_eq!(ids(stops), ids(first));
}

#[test]
fn a_shard_that_joins_later_gets_all_and_so_does_one_that_has_lost_them() {
    let mut cluster = cluster().start();
    assert_eq!(register(cluster.node(0), "early", "1", &["ID", "e"]), "+OK");
    assert_eq!(register(cluster.node(1), "gone", "2", &[]), "+OK");
    let gone = ids(cluster.node(0))[1].clone();
    assert_eq!(show(&call(cluster.node(2), &["RG.UNREGISTER", &gone])), "+OK");
    let all = ids(cluster.node(0));
    assert_eq!(all.len(), 1);

    let late = cluster.add_node();
    let key = cluster.key_for(0, "k");
    let slot = crate::common::slot_of(&key);
    cluster.move_slot(slot, 0, late);
    cluster.settle();
    await_ids(&[cluster.node(late)], &all);
    assert_eq!(trigger(cluster.node(late), "early"), r#"["1"]"#);

    // One that begins anew without its data.
    cluster.node(2).restart();
    cluster.settle();
    await_ids(&cluster.nodes().iter().collect::<Vec<_>>(), &all);
    assert_eq!(trigger(cluster.node(2), "early"), r#"["1"]"#);
    assert_eq!(register(cluster.node(late), "early", "new", &["ID", "e", "UPGRADE"]), "+OK");
    cluster.nodes().iter().for_each(|node| assert_eq!(trigger(node, "early"), r#"["new"]"#));
}

#[test]
fn a_server_that_becomes_a_cluster_gives_others_what_it_has() {
    let mut cluster = cluster().shards(1).start();
    assert_eq!(register(cluster.node(0), "alone", "1", &[]), "+OK");
    let all = ids(cluster.node(0));
    // Not 40 zeros, as RedisGears has it there: two servers that become one cluster must not have the same ids.
    assert_eq!(all, [format!("{}-1", cluster.node(0).run::<String>(&["CLUSTER", "MYID"]))]);
    let second = cluster.add_node();
    let slot = crate::common::slot_of(cluster.key_for(0, "k"));
    cluster.move_slot(slot, 0, second);
    await_ids(&[cluster.node(second)], &all);
    assert_eq!(show(&call(cluster.node(second), &["RG.UNREGISTER", &all[0]])), "+OK");
    await_ids(&[cluster.node(0), cluster.node(second)], &[]);
}

#[test]
fn replicas_register_nothing() {
    let cluster = cluster().shards(2).replicas(1).start();
    let replica = &cluster.replicas()[0];
    let refused = register(replica, "t", "1", &[]);
    let id: String = replica.run(&["CLUSTER", "MYID"]);
    let expected = format!("[-ERR shard-{id}: functions are registered at primaries, and this is a replica]");
    assert_eq!(refused, expected);
    for node in cluster.primaries() {
        assert_eq!(trigger(node, "t"), "-ERR subcommand not found");
        // Nobody is kept out by what was refused.
        assert_eq!(register(node, "free", "1", &["ID", "s", "UPGRADE"]), "+OK");
    }
}
