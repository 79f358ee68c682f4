//! `CLIENT KILL` through a distributed command spares the client that asks for it, as a plain server does.

use crate::common::{Cluster, Server};

fn assert_spared(node: &Server) {
    for filters in ["TYPE normal", "USER default", "SKIPME yes", "TYPE normal SKIPME YES", "ID {} TYPE normal"] {
        for road in ["RMR.EXEC NODE {node}", "RMR.FANOUT NODE {node}", "RMR.BATCH k 1 {count}"] {
            let (mut caller, mut other) = (node.wire(), node.wire());
            let id = caller.reply("CLIENT ID");
            let command = format!("CLIENT KILL {}", filters.replace("{}", &id));
            let count = command.split(' ').count().to_string();
            let road = road.replace("{node}", &node.address()).replace("{count}", &count);
            let reply = caller.reply(&format!("{road} {command}"));
            assert!(!reply.contains("ERR"), "{road} {command}: {reply}");
            assert_eq!(caller.reply("PING"), "+PONG", "{road} {command}");
            let is_gone = other.try_call(&["PING"]).is_err();
            assert_eq!(is_gone, !filters.starts_with("ID"), "{road} {command}: {reply}");
        }
    }
    let mut caller = node.wire();
    assert!(
        caller
            .try_call(&["RMR.EXEC", "NODE", &node.address(), "CLIENT", "KILL", "TYPE", "normal", "SKIPME", "no"])
            .is_err()
    );
    assert!(node.reply("RMR.EXEC CLIENT KILL TYPE nonsense").starts_with("-ERR Unknown client type"));
    assert!(node.alive());
}

#[test]
fn a_client_that_kills_others_by_exec_fanout_and_batch_lives_on() {
    assert_spared(&Server::start());
    assert_spared(Cluster::start(1).node(0));
}
