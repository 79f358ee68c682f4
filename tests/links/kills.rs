//! Tests that a command which stops a script does not wait behind it, and that other requests are answered meanwhile as on a
//! connection of their own.

use std::thread;
use std::time::{Duration, Instant};

use crate::common::{Cluster, eventually};

#[test]
fn a_kill_gets_through_to_a_shard_that_this_node_keeps_busy() {
    let cluster = Cluster::start(2);
    let (asked, busy) = (cluster.node(0), cluster.node(1));
    busy.run::<()>(&["CONFIG", "SET", "lua-time-limit", "100"]);
    let key = cluster.key_for(1, "k");
    for endless in ["while true do end", "local x = 0 while true do x = x + 1 end"] {
        thread::scope(|scope| {
            let mut wire = asked.wire();
            let key = &key;
            let killed =
                scope.spawn(move || wire.reply_to(&["RMR.EXEC", "TIMEOUT", "60000", "EVAL", endless, "1", key]));
            let mut wire = asked.wire();
            // It is refused at once, as by the node itself.
            eventually(Duration::from_secs(10), "the shard is busy", || {
                wire.reply(&format!("RMR.EXEC TIMEOUT 5000 GET {key}")).contains("BUSY")
            });
            let start = Instant::now();
            assert_eq!(wire.reply("RMR.EXEC SCRIPT KILL"), "+OK");
            assert!(start.elapsed() < Duration::from_secs(2), "{:?}", start.elapsed());
            let reply = killed.join().expect("the caller of the script");
            assert!(reply.contains("Script killed by user"), "{reply}");
            assert_eq!(wire.reply(&format!("RMR.EXEC GET {key}")), "nil");
            assert_eq!(wire.reply(&format!("RMR.EXEC EVAL return(7) 1 {key}")), "7");
        });
    }
}
