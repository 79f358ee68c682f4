//! Memory stays flat, however many keys commands have and however often they come.

use crate::common::{Cluster, Server};

/// As much as the server's own buffers may come to.
const SLACK: u64 = 60_000;

fn used(server: &Server) -> u64 {
    server.figure("memory", "used_memory")
}

#[test]
fn memory_is_flat_however_many_keys_by_exec_explain_map_sum_and_batch_of_any_caller() {
    let cluster = Cluster::builder()
        .shards(1)
        .config("slowlog-log-slower-than", "-1")
        .config("client-query-buffer-limit", "10mb")
        .start();
    let node = cluster.node(0);
    node.run::<()>(&["ACL", "SETUSER", "some", "on", "nopass", "~{k}*", "+@all"]);
    let keys: Vec<String> = (0..1000).map(|number| format!("{{k}}{number:04}")).collect();
    for user in ["default", "some"] {
        let mut wire = node.wire();
        if user != "default" {
            assert_eq!(wire.reply("AUTH some x"), "+OK");
        }
        // Enough rounds for a few bytes a key to show.
        for (count, rounds) in [(1, 200), (10, 1000), (1000, 20)] {
            let words = |start: &[&str], end: &[&str], each: usize| -> Vec<String> {
                let keys = keys[..count].iter().flat_map(|key| std::iter::repeat_n(key.clone(), each));
                let (start, end) =
                    (start.iter().map(|word| (*word).to_owned()), end.iter().map(|word| (*word).to_owned()));
                start.chain(keys).chain(end).collect()
            };
            let number = count.to_string();
            let ids = vec!["0"; count];
            let requests = [
                words(&["RMR.EXEC", "MSET"], &[], 2),
                words(&["RMR.EXEC", "MGET"], &[], 1),
                words(&["RMR.EXEC", "EXISTS"], &[], 1),
                words(&["RMR.EXPLAIN", "MGET"], &[], 1),
                words(&["RMR.MAP", "COUNT", &number], &["GET"], 1),
                words(&["RMR.SUM"], &[], 1),
                words(&["RMR.EXEC", "SINTERCARD", &number], &[], 1),
                words(&["RMR.EXEC", "XREAD", "STREAMS"], &ids, 1),
                batch(&keys[..count]),
                words(&["RMR.EXEC", "DEL"], &[], 1),
            ];
            for request in &requests {
                let mut send = |rounds: usize| (0..rounds).for_each(|_| drop(wire.call(request)));
                send(rounds / 2);
                let before = used(node);
                send(rounds);
                let lost = used(node).saturating_sub(before);
                assert!(lost < SLACK, "{user}, {count} keys, {:?}: {lost} bytes", &request[..2]);
            }
        }
    }
}

/// Returns a list of commands for each key.
fn batch(keys: &[String]) -> Vec<String> {
    let list = |key: &String| [key, "1", "2", "GET", key].map(str::to_owned).into_iter();
    ["RMR.BATCH".to_owned()].into_iter().chain(keys.iter().flat_map(list)).collect()
}
