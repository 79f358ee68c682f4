//! A slot that its owner has dropped, while all others still send to it.

use std::time::{Duration, Instant};

use crate::common::{Cluster, slot_of};

#[test]
fn a_slot_that_its_owner_has_dropped_is_given_up_after_a_second_by_exec_map_batch_and_proxy() {
    let cluster = Cluster::builder().config("cluster-require-full-coverage", "no").start();
    let key = cluster.key_for(1, "k");
    let asked = cluster.node(0);
    let has_proxy_mode = asked.try_run::<()>(&["CONFIG", "SET", "rmr.proxy-mode", "on"]).is_ok();
    cluster.node(1).run::<()>(&["CLUSTER", "DELSLOTS", &slot_of(&key).to_string()]);
    let mut wire = asked.wire();
    let mut roads = vec![
        format!("RMR.EXEC TIMEOUT 20000 GET {key}"),
        format!("RMR.EXEC TIMEOUT 20000 SET {key} x"),
        format!("RMR.EXEC TIMEOUT 20000 EVAL return(1) 1 {key}"),
        format!("RMR.MAP TIMEOUT 20000 LIST 1 {key} GET"),
        format!("RMR.BATCH TIMEOUT 20000 {key} 1 2 GET {key}"),
    ];
    roads.extend(has_proxy_mode.then(|| format!("GET {key}")));
    for road in roads {
        let start = Instant::now();
        let reply = wire.reply(&road);
        assert!(reply.contains("Hash slot not served") || reply.contains("RMRSLOTS"), "{road}: {reply}");
        assert!(start.elapsed() < Duration::from_secs(3), "{road}: {reply} after {:?}", start.elapsed());
    }
}
