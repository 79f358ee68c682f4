//! Hosts that come, go and change while requests run, and which keys move then.

use crate::common::{Server, while_repeating};

fn plain() -> Server {
    Server::builder().module(false).start()
}

/// Hosts on several databases of each server.
fn nodes(servers: &[Server], password: &str, databases: &[usize]) -> String {
    let of = |server: &Server| {
        let address = server.address();
        databases.iter().map(move |database| format!("redis://{password}{address}/{database}")).collect::<Vec<_>>()
    };
    servers.iter().flat_map(of).collect::<Vec<_>>().join(" ")
}

fn set_nodes(coordinator: &Server, nodes: &str) {
    coordinator.run::<()>(&["CONFIG", "SET", "rmr.nodes", nodes]);
}

fn keys(count: usize) -> String {
    (0..count).map(|number| format!("key:{number}")).collect::<Vec<_>>().join(" ")
}

/// Returns the number of keys that are found where they are looked for now.
fn found(coordinator: &Server, count: usize) -> usize {
    coordinator.reply(&format!("RMR.EXEC EXISTS {}", keys(count))).parse().unwrap()
}

#[test]
fn a_password_or_a_new_order_moves_no_key_with_stable_labels() {
    let servers: Vec<Server> = (0..3).map(|_| plain()).collect();
    let coordinator =
        Server::builder().module_args(["nodes", &nodes(&servers, "", &[0, 1]), "shard-func", "ketama"]).start();
    assert_eq!(coordinator.reply(&format!("RMR.MAP COUNT 200 {} SET {{}} v", keys(200))), "200");
    for server in &servers {
        server.run::<()>(&["CONFIG", "SET", "requirepass", "new"]);
    }
    set_nodes(&coordinator, &nodes(&servers, ":new@", &[0, 1]));
    assert_eq!(found(&coordinator, 200), 200);
    set_nodes(&coordinator, &nodes(&servers, "default:new@", &[1, 0]));
    assert_eq!(found(&coordinator, 200), 200, "ids are no part of the labels");
    coordinator.run::<()>(&["CONFIG", "SET", "rmr.shard-func", "ketama-rb"]);
    assert!(found(&coordinator, 200) < 120, "rb has password and id in its labels");
}

#[test]
fn a_host_that_comes_or_goes_moves_its_own_share() {
    let servers: Vec<Server> = (0..4).map(|_| plain()).collect();
    let coordinator =
        Server::builder().module_args(["nodes", &nodes(&servers, "", &[0, 1]), "shard-func", "ketama"]).start();
    assert_eq!(coordinator.reply(&format!("RMR.MAP COUNT 400 {} SET {{}} v", keys(400))), "400");
    set_nodes(&coordinator, &nodes(&servers[..3], "", &[0, 1]));
    let left = found(&coordinator, 400);
    assert!((250..350).contains(&left), "two of eight hosts have gone, and {left} of 400 keys are left");
    set_nodes(&coordinator, &nodes(&servers, "", &[0, 1]));
    assert_eq!(found(&coordinator, 400), 400);
    set_nodes(&coordinator, &nodes(&servers, "", &[0, 1, 2]));
    let kept = found(&coordinator, 400);
    assert!((220..320).contains(&kept), "four of twelve hosts have come, and {kept} of 400 keys are where they were");
}

/// A moved server keeps its keys, if it keeps its label.
#[test]
fn a_label_goes_with_its_host() {
    for shard_func in ["ketama", "rendezvous"] {
        let servers: Vec<Server> = (0..3).map(|_| plain()).collect();
        let label = |server: &Server, label: &str| format!("redis://{}?label={label}", server.address());
        let before = [label(&servers[0], "one"), label(&servers[1], "two")].join(" ");
        let coordinator = Server::builder().module_args(["nodes", &before, "shard-func", shard_func]).start();
        assert_eq!(coordinator.reply(&format!("RMR.MAP COUNT 100 {} SET {{}} v", keys(100))), "100");
        let held: usize = servers[1].run(&["DBSIZE"]);
        assert!((10..90).contains(&held), "{held}");
        servers[2].run::<()>(&["REPLICAOF", "127.0.0.1", &servers[1].port().to_string()]);
        crate::common::eventually(std::time::Duration::from_secs(20), "the copy is there", || {
            servers[2].run::<usize>(&["DBSIZE"]) == held
        });
        servers[2].run::<()>(&["REPLICAOF", "NO", "ONE"]);
        servers[1].kill();
        set_nodes(&coordinator, &[label(&servers[2], "two"), label(&servers[0], "one")].join(" "));
        assert_eq!(found(&coordinator, 100), 100, "{shard_func}");
    }
}

#[test]
fn lists_that_change_under_load_give_no_wrong_answer() {
    let servers: Vec<Server> = (0..2).map(|_| plain()).collect();
    for server in &servers {
        server.run::<()>(&["ACL", "SETUSER", "other", "on", "nopass", "~*", "+@all"]);
    }
    let lists = [
        nodes(&servers, "", &[0, 1, 2]),
        nodes(&servers, "other:x@", &[2, 1, 0]),
        nodes(&servers, "other:y@", &[1, 0, 2]),
    ];
    let coordinator = Server::builder().module_args(["nodes", &lists[0], "shard-func", "ketama"]).start();
    let add = format!("RMR.MAP SUM 50 {} INCR", keys(50));
    assert_eq!(coordinator.reply(&add), "50");
    let get = format!("RMR.SUM {}", keys(50));
    let begin = |_: &usize| {
        let mut wire = coordinator.wire();
        let get = &get;
        move || assert_eq!(wire.reply(get), "50")
    };
    while_repeating(&[1, 2], begin, || {
        let mut wire = coordinator.wire();
        for round in 0..100 {
            assert_eq!(wire.reply_to(&["CONFIG", "SET", "rmr.nodes", &lists[round % 3]]), "+OK");
        }
    });
    assert_eq!(coordinator.rmr_figure("inflight"), 0);
    let used: usize = coordinator.reply("RMR.EXEC DBSIZE").parse().unwrap();
    assert_eq!(used, 50, "no key was written twice");
}
