//! `RMR.FANOUT`: to whom it goes, and in which order the replies stand.

use crate::common::{Cluster, Server};
use crate::deployments::Deployment;

/// Asks for each node's port, through `node`; in RESP2.
fn ports(node: &Server, options: &str) -> String {
    node.reply(&format!("RMR.FANOUT {options} CONFIG GET port"))
}

/// Returns what [`ports`] gives for these nodes.
fn ports_of<'a>(nodes: impl IntoIterator<Item = &'a Server>) -> String {
    let port = |node: &Server| format!("[\"port\", \"{}\"]", node.port());
    let ports: Vec<String> = nodes.into_iter().map(port).collect();
    format!("[{}]", ports.join(", "))
}

#[test]
fn it_goes_to_every_primary_in_slot_order() {
    for deployment in Deployment::all() {
        for node in deployment.nodes() {
            assert_eq!(ports(node, ""), ports_of(deployment.nodes()));
        }
    }
}

#[test]
fn slots_decide_the_order_and_not_names_or_ages() {
    let cluster = Cluster::start(3);
    cluster.move_slot(0, 0, 2);
    let [first, second, third] = cluster.nodes() else { panic!("three nodes") };
    for node in cluster.nodes() {
        let line = "RMR.REFRESH";
        assert!(node.reply(line).starts_with('['), "{}", node.reply(line));
        assert_eq!(ports(node, ""), ports_of([third, first, second]));
    }
}

#[test]
fn withnodes_tells_whose_reply_is_whose() {
    for deployment in Deployment::all() {
        let pair = |node: &Server| format!("\"{}\": \"x\"", node.address());
        let pairs: Vec<String> = deployment.nodes().iter().map(pair).collect();
        let node = &deployment.nodes()[deployment.nodes().len() - 1];
        assert_eq!(node.reply3("RMR.FANOUT WITHNODES ECHO x"), format!("{{{}}}", pairs.join(", ")));
        let flat = pairs.join(", ").replace(": \"x", ", \"x");
        assert_eq!(node.reply("RMR.FANOUT WITHNODES ECHO x"), format!("[{flat}]"));
    }
}

#[test]
fn on_says_which_kind_of_nodes() {
    let cluster = Cluster::builder().shards(3).replicas(1).start();
    let shard = |shard| cluster.replicas_of(shard).map(|index| cluster.node(index));
    let replicas = || (0..3).flat_map(shard);
    let all = || (0..3).flat_map(|index| [cluster.node(index)].into_iter().chain(shard(index)));
    for node in cluster.nodes() {
        assert_eq!(ports(node, "ON PRIMARIES"), ports_of(cluster.primaries()));
        assert_eq!(ports(node, "ON REPLICAS"), ports_of(replicas()));
        assert_eq!(ports(node, "ON ALL"), ports_of(all()));
    }
}

#[test]
fn replicas_serve_the_keys_of_their_shard() {
    let cluster = Cluster::builder().shards(3).replicas(1).start();
    let key = cluster.key_for(1, "copy");
    cluster.set(&key, "v");
    let replica = cluster.node(cluster.replicas_of(1).start);
    replica.run::<()>(&["PING"]);
    crate::common::eventually(std::time::Duration::from_secs(10), "the key is copied", || {
        replica.run::<usize>(&["DBSIZE"]) == 1
    });
    for node in cluster.nodes() {
        let reply = node.reply(&format!("RMR.FANOUT ON REPLICAS PARTIAL GET {key}"));
        let places: Vec<&str> = reply.trim_matches(['[', ']']).splitn(3, ", ").collect();
        assert!(places[0].contains(": MOVED ") && places[2].contains(": MOVED "), "{reply}");
        assert_eq!(places[1], "\"v\"", "at {}: {reply}", node.address());
    }
}

#[test]
fn where_there_are_no_replicas_it_says_so() {
    for deployment in Deployment::all() {
        let reply = deployment.nodes()[0].reply("RMR.FANOUT ON REPLICAS PING");
        assert_eq!(reply, "-ERRCLUSTER no shard has a replica");
    }
}

#[test]
fn a_primary_without_slots_is_asked_only_when_all_are() {
    let mut cluster = Cluster::start(2);
    let empty = cluster.add_node();
    for node in cluster.nodes() {
        node.reply("RMR.REFRESH");
        assert_eq!(ports(node, ""), ports_of(cluster.primaries()));
        assert_eq!(ports(node, "ON ALL"), ports_of(cluster.nodes()));
        let named = format!("NODE {}", cluster.node(empty).address());
        assert_eq!(ports(node, &named), ports_of([cluster.node(empty)]));
    }
}

#[test]
fn nodes_are_named_by_address_or_id_and_asked_in_that_order() {
    let cluster = Cluster::start(3);
    let [first, second, third] = cluster.nodes() else { panic!("three nodes") };
    let id: String = first.run(&["CLUSTER", "MYID"]);
    let options = format!("NODE {} NODE {id} node {}", third.address(), second.address());
    for node in cluster.nodes() {
        assert_eq!(ports(node, &options), ports_of([third, first, second]));
        assert_eq!(ports(node, &format!("NODE {id} NODE {id}")), ports_of([first]), "once");
    }

    let alone = Server::start();
    assert_eq!(ports(&alone, &format!("NODE {}", alone.address())), ports_of([&alone]));
}

#[test]
fn a_node_that_is_named_twice_counts_and_writes_once_by_fanout_reduce_withnodes_and_exec() {
    let cluster = Cluster::start(3);
    let key = cluster.key_for(1, "k");
    let twice = cluster.node(1);
    let (address, id) = (twice.address(), twice.run::<String>(&["CLUSTER", "MYID"]));
    let named = format!("NODE {address} NODE {id} NODE {}", twice.shown_name());
    for (count, node) in cluster.nodes().iter().enumerate() {
        let count = count * 4;
        assert_eq!(node.reply(&format!("RMR.FANOUT {named} INCR {key}")), format!("[{}]", count + 1));
        assert_eq!(node.reply(&format!("RMR.FANOUT {named} REDUCE COUNT INCR {key}")), "1");
        let by_node = node.reply3(&format!("RMR.FANOUT {named} WITHNODES INCR {key}"));
        assert_eq!(by_node, format!("{{\"{address}\": {}}}", count + 3));
        let by_node = node.reply3(&format!("RMR.EXEC {named} WITHNODES INCR {key}"));
        assert_eq!(by_node, format!("{{\"{address}\": {}}}", count + 4));
        assert_eq!(node.reply(&format!("RMR.EXEC {named} DBSIZE")), "1");
    }
}

#[test]
fn a_node_is_named_by_whatever_is_shown_of_it() {
    let cluster = Cluster::start(3);
    let meant = cluster.node(1);
    let id: String = meant.run(&["CLUSTER", "MYID"]);
    for name in [meant.shown_name(), id[..8].to_owned(), id[..20].to_owned()] {
        for node in cluster.nodes() {
            assert_eq!(ports(node, &format!("NODE {name}")), ports_of([meant]), "{name}");
            let shown = node.reply(&format!("RMR.EXEC NODE {name} CONFIG GET port"));
            assert_eq!(shown, format!("[\"port\", \"{}\"]", meant.port()), "{name}");
        }
    }
    let short = cluster.node(0).reply(&format!("RMR.FANOUT NODE {} PING", &id[..7]));
    assert!(short.starts_with("-ERR no node has the id or address"), "{short}");
}

#[test]
fn an_unknown_node_is_an_error_that_names_the_known_ones() {
    for deployment in Deployment::all() {
        let known: Vec<String> = deployment.nodes().iter().map(Server::address).collect();
        let node = &deployment.nodes()[0];
        for name in ["nobody", "127.0.0.1:1", "127.0.0.1", "0000000000000000000000000000000000000000"] {
            let error = format!("-ERR no node has the id or address '{name}'; known are {}", known.join(", "));
            assert_eq!(ports(node, &format!("NODE {} NODE {name}", known[0])), error);
            assert_eq!(ports(node, &format!("PARTIAL NODE {name}")), error, "PARTIAL is for nodes that there are");
        }
    }
}

#[test]
fn a_keyed_command_is_an_error_of_all_shards_but_one() {
    let cluster = Cluster::start(3);
    let key = cluster.key_for(0, "k");
    let line = format!("RMR.FANOUT INCR {key}");
    let node = cluster.node(0);
    let error = node.reply(&line);
    assert!(error.starts_with(&format!("-RMRSHARD {}: MOVED ", cluster.node(1).shown_name())), "{error}");
    let line = line.replace("INCR", "PARTIAL INCR");
    let reply = node.reply(&line);
    assert!(reply.starts_with("[2, -RMRSHARD ") && reply.matches(": MOVED ").count() == 2, "{reply}");
}

#[test]
fn what_only_one_shard_refuses_is_an_error_that_names_it() {
    let cluster = Cluster::start(3);
    let odd = cluster.node(1);
    odd.run::<()>(&["SCRIPT", "LOAD", "return 1"]);
    let sha = "e0e1f9fabfc9d4800c877a703b823ac0578ff8db";
    for node in cluster.nodes() {
        let error = node.reply(&format!("RMR.FANOUT EVALSHA {sha} 0"));
        assert!(error.starts_with(&format!("-RMRSHARD {}: NOSCRIPT ", cluster.node(0).shown_name())), "{error}");
        let reply = node.reply(&format!("RMR.FANOUT PARTIAL EVALSHA {sha} 0"));
        let places: Vec<&str> = reply.trim_matches(['[', ']']).split(", ").collect();
        assert!(places[0].contains(": NOSCRIPT ") && places[2].contains(": NOSCRIPT "), "{reply}");
        assert_eq!(places[1], "1", "{reply}");
    }
}
