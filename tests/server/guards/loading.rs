//! A server that loads its data serves none of it by any road; what is for it from elsewhere waits until it has loaded.

use std::time::Duration;

use super::roads;
use crate::common::{Loading, Server, Wire, eventually, show};

fn start() -> Server {
    Server::builder().config("enable-protected-configs", "yes").start()
}

#[test]
fn a_server_that_loads_refuses_reads_and_writes_by_exec_fanout_map_batch_multi_and_proxy() {
    let (single, listed) = (start(), start());
    listed.run::<()>(&["CONFIG", "SET", "rmr.nodes", &listed.address()]);
    for server in [&single, &listed] {
        server.run::<()>(&["SET", "k", "kept"]);
        let loading = Loading::begin(server);
        for command in ["GET k", "SET k x", "INCR n", "DEL k"] {
            for reply in roads(server, command.split(' ').nth(1).expect("a key"), command) {
                assert!(reply.contains("-LOADING "), "{reply}");
            }
        }
        for line in ["RMR.EXEC FLUSHALL", "RMR.EXEC DBSIZE", "RMR.FANOUT FLUSHALL", "RMR.SCAN 0", "RMR.SUM k"] {
            let reply = server.reply(line);
            assert!(reply.starts_with("-LOADING "), "{line}: {reply}");
        }
        loading.end(&mut server.wire());
        assert_eq!(server.reply("RMR.EXEC GET k"), "\"kept\"", "nothing was done");
        assert_eq!(server.reply("DBSIZE"), "1", "nothing was done");
    }
}

#[test]
fn what_is_for_a_server_that_loads_waits_elsewhere_by_exec_fanout_map_and_batch() {
    let (asked, loads) = (start(), start());
    asked.run::<()>(&["CONFIG", "SET", "rmr.nodes", &loads.address()]);
    loads.run::<()>(&["SET", "k", "kept"]);
    let loading = Loading::begin(&loads);
    // A server that loads looks at its clients now and then only: it may say nothing for a while.
    eventually(Duration::from_secs(30), "the node says that it loads", || {
        let reply = asked.reply("RMR.EXEC TIMEOUT 1500 GET k");
        assert!(reply.contains("LOADING ") || reply.starts_with("-RMRTIMEOUT "), "{reply}");
        reply.contains("LOADING ")
    });
    let lines = [
        ("RMR.EXEC TIMEOUT 60000 GET k", "\"kept\""),
        ("RMR.MAP TIMEOUT 60000 LIST 1 k GET", "[\"kept\"]"),
        ("RMR.BATCH TIMEOUT 60000 k 1 2 GET k", "[\"k\", [\"kept\"]]"),
        ("RMR.FANOUT TIMEOUT 60000 GET k", "[\"kept\"]"),
    ];
    let mut waiting: Vec<Wire> = lines.iter().map(|_| asked.wire()).collect();
    waiting.iter_mut().zip(lines).for_each(|(wire, (line, _))| wire.send(&line.split(' ').collect::<Vec<_>>()));
    eventually(Duration::from_secs(10), "they wait", || asked.rmr_figure("inflight") == lines.len() as u64);
    loading.end(&mut loads.wire());
    for (mut wire, (line, expected)) in waiting.into_iter().zip(lines) {
        assert_eq!(show(&wire.read_frame()), expected, "{line}");
    }
}
