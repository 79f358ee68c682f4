//! A slot that its owner has dropped, while all others still send to it.

use std::time::{Duration, Instant};

use crate::common::{Cluster, elements, show, slot_of};

#[test]
fn a_slot_that_its_owner_has_dropped_is_given_up_after_a_second_by_exec_map_batch_scan_and_proxy() {
    let cluster = Cluster::builder().config("cluster-require-full-coverage", "no").start();
    let key = cluster.key_for(1, "k");
    let asked = cluster.node(0);
    let has_proxy_mode = asked.try_run::<()>(&["CONFIG", "SET", "rmr.proxy-mode", "on"]).is_ok();
    let slot = slot_of(&key);
    cluster.node(1).run::<()>(&["CLUSTER", "DELSLOTS", &slot.to_string()]);
    let mut wire = asked.wire();
    let mut roads = vec![
        format!("RMR.EXEC TIMEOUT 20000 GET {key}"),
        format!("RMR.EXEC TIMEOUT 20000 SET {key} x"),
        format!("RMR.EXEC TIMEOUT 20000 EVAL return(1) 1 {key}"),
        format!("RMR.MAP TIMEOUT 20000 LIST 1 {key} GET"),
        format!("RMR.BATCH TIMEOUT 20000 {key} 1 2 GET {key}"),
        // It takes its time from a setting.
        format!("RMR.SCAN {slot} COUNT 1"),
    ];
    roads.extend(has_proxy_mode.then(|| format!("GET {key}")));
    for road in roads {
        let start = Instant::now();
        let reply = wire.reply(&road);
        assert!(reply.contains("Hash slot not served") || reply.contains("RMRSLOTS"), "{road}: {reply}");
        assert!(start.elapsed() < Duration::from_secs(3), "{road}: {reply} after {:?}", start.elapsed());
    }
}

#[test]
fn a_scan_says_that_a_slot_has_no_owner_and_passes_it_with_partial() {
    let cluster = Cluster::builder().config("cluster-require-full-coverage", "no").start();
    let (key, next) = (cluster.key_for(1, "k"), cluster.key_for(2, "k"));
    cluster.set(&next, "x");
    let (asked, slot) = (cluster.node(0), slot_of(&key));
    asked.run::<()>(&["CONFIG", "SET", "rmr.timeout-ms", "20000"]);
    // Its owner has dropped it, and then all have.
    for droppers in [&cluster.nodes()[1..2], cluster.nodes()] {
        droppers.iter().for_each(|node| drop(node.try_run::<()>(&["CLUSTER", "DELSLOTS", &slot.to_string()])));
        let start = Instant::now();
        let reply = asked.reply(&format!("RMR.SCAN {slot} COUNT 1000"));
        assert_eq!(reply, format!("-RMRSLOTS slot {slot} has no owner"));
        let mut cursor = slot.to_string();
        let (mut keys, mut failures) = (String::new(), String::new());
        while cursor != "0" {
            let page = asked.wire().call(&["RMR.SCAN", &cursor, "COUNT", "1000", "PARTIAL"]);
            let parts = elements(&page);
            cursor = show(parts[0]).trim_matches('"').to_owned();
            keys += &show(parts[1]);
            failures += &parts.get(2).map_or(String::new(), |failures| show(failures));
        }
        assert!(keys.contains(&format!("\"{next}\"")), "{keys}");
        let missed = format!("[\"slots {slot}\", -RMRSLOTS 1 slots have no owner ({slot})]");
        assert!(failures.contains(&missed), "{failures}");
        assert!(start.elapsed() < Duration::from_secs(8), "{:?}", start.elapsed());
    }
}
