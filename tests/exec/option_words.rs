//! Words of options where no option stands: names of groups, consumers and keys that look like them.

use crate::common::Cluster;

/// Words that `XREADGROUP` looks for.
const WORDS: [&str; 7] = ["block", "BLOCK", "streams", "count", "noack", "group", "claim"];

#[test]
fn a_group_or_consumer_named_as_an_option_is_read_by_exec_map_batch_and_proxy() {
    let cluster = Cluster::start(2);
    let mut has_proxy_mode = true;
    for node in cluster.nodes() {
        has_proxy_mode &= node.try_run::<()>(&["CONFIG", "SET", "rmr.proxy-mode", "on"]).is_ok();
    }
    let mut wire = cluster.node(0).wire();
    for shard in [0, 1] {
        let key = cluster.key_for(shard, "stream");
        for word in WORDS {
            cluster.node(shard).run::<()>(&["XGROUP", "CREATE", &key, word, "$", "MKSTREAM"]);
            for call in [
                format!("XREADGROUP GROUP {word} c COUNT 1 STREAMS {key} >"),
                format!("XREADGROUP COUNT 1 GROUP {word} {word} STREAMS {key} >"),
            ] {
                let mut roads = vec![
                    format!("RMR.EXEC {call}"),
                    format!("RMR.MAP LIST 1 {key} {}", call.replace(&key, "{}")),
                    format!("RMR.BATCH {key} 1 9 {call}"),
                ];
                roads.extend(has_proxy_mode.then(|| call.clone()));
                for road in roads {
                    let reply = wire.reply(&road);
                    assert!(!reply.contains('-') && reply.contains("nil"), "{road}: {reply}");
                }
            }
            let blocking = format!("RMR.EXEC XREADGROUP GROUP {word} {word} BLOCK 1 STREAMS {key} >");
            let reply = wire.reply(&blocking);
            assert!(reply.contains("it blocks its connection"), "{blocking}: {reply}");
        }
    }
}

#[test]
fn a_user_with_few_rights_may_sort_into_a_key_named_as_an_option() {
    let cluster = Cluster::start(2);
    for node in cluster.nodes() {
        node.run::<()>(&["ACL", "SETUSER", "sorting", "on", "nopass", "~*", "+@all", "-flushall"]);
    }
    let mut wire = cluster.node(0).wire();
    assert_eq!(wire.reply("AUTH sorting x"), "+OK");
    let key = cluster.key_for(1, "list");
    let reply = wire.reply(&format!("RMR.EXEC SORT {key} LIMIT 0 1 ALPHA"));
    assert_eq!(reply, "[]");
    let reply = wire.reply(&format!("RMR.EXEC SORT {key} BY w_*"));
    assert!(reply.starts_with("-NOPERM") && reply.contains("cannot be checked beforehand"), "{reply}");
}
