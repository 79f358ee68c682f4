//! Tests the commands about the cluster.

use crate::common::{elements, show};
use crate::servers::{Servers, call};

fn text(frame: &[u8]) -> String {
    show(frame).trim_matches('"').to_owned()
}

#[test]
fn without_a_cluster() {
    let servers = Servers::single();
    assert_eq!(servers.reply(&["RG.INFOCLUSTER"]), "\"no cluster mode\"");
    assert_eq!(servers.reply(&["RG.REFRESHCLUSTER"]), "+OK");
    assert_eq!(servers.reply(&["RG.INFOCLUSTER"]), "\"no cluster mode\"");
    assert_eq!(servers.reply(&["RG.HELLO"]), "-ERRCLUSTER NULL cluster state on hello msg");
}

#[test]
fn of_three_shards() {
    let servers = Servers::cluster();
    for node in servers.nodes() {
        assert_eq!(node.reply("RG.REFRESHCLUSTER"), "+OK");
        let hello = node.reply("RG.HELLO");
        let run_id: String = node.run::<String>(&["INFO", "server"]);
        let run_id = run_id.lines().find_map(|line| line.strip_prefix("run_id:")).expect("a run id").trim().to_owned();
        assert_eq!(hello, format!("\"{run_id}\""));
        let reply = call(node, &["RG.INFOCLUSTER"]);
        let parts = elements(&reply);
        assert_eq!(parts.len(), 5, "{}", show(&reply));
        assert_eq!([text(parts[0]), text(parts[2])], ["MyId", "MyRunId"]);
        assert_eq!(text(parts[1]), node.run::<String>(&["CLUSTER", "MYID"]));
        assert_eq!(text(parts[3]), run_id);
        let shards = elements(parts[4]);
        assert_eq!(shards.len(), 3, "{}", show(&reply));
        let mut slots = Vec::new();
        for shard in shards {
            let fields = elements(shard);
            let names: Vec<String> = fields.iter().step_by(2).map(|name| text(name)).collect();
            let expected = ["id", "ip", "port", "unixSocket", "runid", "minHslot", "maxHslot", "pendingMessages"];
            assert_eq!(names, expected);
            let port: u16 = show(fields[5]).parse().expect("a port");
            let other = servers.nodes().iter().find(|node| node.port() == port).expect("a node of the cluster");
            assert_eq!(text(fields[1]), other.run::<String>(&["CLUSTER", "MYID"]));
            assert_eq!([text(fields[3]), text(fields[7])], ["127.0.0.1", "None"]);
            slots.push([11, 13].map(|at| show(fields[at]).parse::<u16>().expect("a slot")));
        }
        slots.sort_unstable();
        assert_eq!(slots, [[0, 5460], [5461, 10921], [10922, 16383]].map(|range| range), "{slots:?}");
    }
}

/// A cluster that has only just been formed is known without being told.
#[test]
fn no_shard_has_to_be_told() {
    let servers = Servers::cluster();
    for node in servers.nodes() {
        assert_eq!(show(&call(node, &["RG.PYEXECUTE", "GB('ShardsIDReader').count().run()"])), "[[\"3\"], []]");
    }
}
