//! Writes that are paused, as for a failover, are waited out, as a server lets its clients wait.

use crate::common::{Cluster, Server};

#[test]
fn a_flow_that_writes_goes_on_when_a_pause_is_over() {
    let server = Server::start();
    for number in 0..50 {
        server.run::<()>(&["SET", &format!("k:{number}"), "1"]);
    }
    assert_eq!(server.reply("CLIENT PAUSE 300 WRITE"), "+OK");
    assert_eq!(server.reply("RMR.MAP SUM MATCH k:* INCR"), "100");
    assert_eq!(server.reply("RMR.MAP SUM MATCH k:* GET"), "100");
}

#[test]
fn one_shard_of_a_cluster_may_be_paused() {
    let cluster = Cluster::start(3);
    cluster.fill(3000, |number| (format!("k:{number}"), "1"));
    for paused in 0..3 {
        assert_eq!(cluster.node(paused).reply("CLIENT PAUSE 300 WRITE"), "+OK");
        let sum = (paused + 2) * 3000;
        assert_eq!(cluster.node(0).reply("RMR.MAP SUM MATCH k:* INCR"), sum.to_string());
        assert_eq!(cluster.node(0).reply("RMR.MAP SUM MATCH k:* GET"), sum.to_string());
    }
}
