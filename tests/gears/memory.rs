//! Executions leave nothing behind, neither in the server nor in its Python processes.
//!
//! - `RMR_SOAK`: how many executions there are in a row.

use std::env;
use std::fs;
use std::time::Duration;

use rmr::testing::poll;

use crate::common::Server;
use crate::servers::Servers;

/// The number of executions before memory is looked at first.
const WARM: usize = 100;

/// The most bytes that the server may have more in the end, and all of its Python processes together: what allocators keep.
pub const GROWTH: [u64; 2] = [2 << 20, 12 << 20];

const SCRIPTS: [&str; 4] = [
    "GB('ShardsIDReader').map(lambda x: execute('DBSIZE')).run()",
    "GB().map(lambda r: r['value']).countby().run('n:*')",
    "import json\nclass C:\n  pass\nhere = [C() for _ in range(1000)]\nGB('ShardsIDReader').count().run()",
    "GB('ShardsIDReader').map(lambda x: 1/0).run()",
];

fn executions(few: usize) -> usize {
    env::var("RMR_SOAK").ok().and_then(|count| count.parse().ok()).unwrap_or(few)
}

/// Returns all processes below a process.
fn descendants(pid: u32) -> Vec<u32> {
    let children = fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).unwrap_or_default();
    let mut all: Vec<u32> = children.split_whitespace().filter_map(|pid| pid.parse().ok()).collect();
    let of_threads = fs::read_dir(format!("/proc/{pid}/task")).into_iter().flatten().filter_map(Result::ok);
    for thread in of_threads {
        let children = fs::read_to_string(thread.path().join("children")).unwrap_or_default();
        all.extend(children.split_whitespace().filter_map(|pid| pid.parse::<u32>().ok()));
    }
    all.sort_unstable();
    all.dedup();
    let below: Vec<u32> = all.iter().flat_map(|pid| descendants(*pid)).collect();
    all.extend(below);
    all
}

/// Returns the memory that a process has for itself.
fn own_bytes(pid: u32) -> u64 {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("RssAnon:"));
    line.and_then(|line| line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok()).unwrap_or(0) * 1024
}

/// Returns what the servers use, and what all of their Python processes have for themselves.
pub fn of_all(servers: &Servers) -> [u64; 2] {
    let used = |node: &Server| node.figure("memory", "used_memory");
    let python = |node: &Server| descendants(node.pid()).into_iter().map(own_bytes).sum::<u64>();
    let nodes = servers.nodes();
    [nodes.iter().map(used).sum(), nodes.iter().map(python).sum()]
}

#[test]
fn memory_is_flat() {
    for servers in Servers::both() {
        for number in 0..20 {
            servers.at_owner(&format!("SET n:{number} {}", number % 3));
        }
        let run = |count: usize| {
            for number in 0..count {
                let reply = servers.reply(&["RG.PYEXECUTE", SCRIPTS[number % SCRIPTS.len()]]);
                assert!(reply.starts_with("[["), "{}: {reply}", servers.kind);
            }
        };
        run(WARM);
        let before = of_all(&servers);
        run(executions(300));
        let mut after = before;
        let limit = GROWTH.map(|bytes| bytes * servers.nodes().len() as u64);
        let is_flat = poll(Duration::from_secs(20), || {
            after = of_all(&servers);
            (after[0] <= before[0] + limit[0] && after[1] <= before[1] + limit[1]).then_some(())
        });
        assert!(is_flat.is_some(), "{}: server and Python had {before:?}, and have {after:?}", servers.kind);
    }
}

/// Results that are kept are forgotten by their number, and sessions with them.
#[test]
fn what_is_kept_is_bounded() {
    let servers = Servers::single();
    assert_eq!(servers.reply(&["RG.CONFIGSET", "MaxExecutions", "10"]), "[+OK]");
    for _ in 0..100 {
        let id = servers.begin("GB('ShardsIDReader').run()");
        servers.reply(&["RG.GETRESULTSBLOCKING", &id]);
    }
    assert_eq!(servers.reply(&["RG.DUMPEXECUTIONS"]).matches("executionId").count(), 10);
    let sessions = poll(Duration::from_secs(20), || {
        let list = servers.reply(&["RG.PYDUMPSESSIONS"]);
        (list.matches("\"ID\"").count() <= 10).then_some(())
    });
    assert!(sessions.is_some(), "{}", servers.reply(&["RG.PYDUMPSESSIONS"]));
    assert!(descendants(servers.first().pid()).len() < 30);
}
