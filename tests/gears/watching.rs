//! Tests the figures of functions while they run: how long each step takes, where the time goes, which sessions there are.

use std::time::Duration;

use crate::common::eventually;
use crate::servers::Servers;

const LONG: Duration = Duration::from_secs(30);

/// Returns the time that each step took, in the order of `RG.GETEXECUTION`.
fn steps(plan: &str) -> Vec<u64> {
    let of = |rest: &str| rest.split([',', ']']).next().and_then(|number| number.parse().ok());
    plan.split("\"duration\", ").skip(1).filter_map(of).collect()
}

#[test]
fn steps_are_timed_on_each_shard() {
    let servers = Servers::cluster();
    let first: String = servers.first().run(&["CLUSTER", "MYID"]);
    let script = format!(
        "import time\nGB('ShardsIDReader').map(lambda x: x).foreach(lambda x: time.sleep(0.2) if x != '{first}' else 1).run()"
    );
    let run = || {
        let id = servers.begin(&script);
        servers.reply(&["RG.GETRESULTSBLOCKING", &id]);
        steps(&servers.reply(&["RG.GETEXECUTION", &id]))
    };
    assert!(run().iter().all(|took| *took == 0), "nothing is measured");
    assert_eq!(servers.reply(&["RG.CONFIGSET", "ProfileExecutions", "1"]), "[+OK]");
    let took = run();
    assert_eq!(took.iter().filter(|took| **took >= 200).count(), 2, "{took:?}");
}

/// A session that nothing but a timer keeps.
#[test]
fn sessions_of_timers() {
    let servers = Servers::single();
    let script = "
def ticking():
    execute('INCR', 'ticks')
    if configGet('fail'):
        raise Exception('failed')
registerTE(1, ticking)";
    assert_eq!(servers.reply(&["RG.PYEXECUTE", script, "ID", "clock", "DESCRIPTION", "ticks"]), "+OK");
    let list = servers.reply(&["RG.PYDUMPSESSIONS"]);
    assert!(list.starts_with("[[\"ID\", \"clock\", \"sessionDescription\", \"ticks\", \"refCount\", "), "{list}");
    assert_eq!(servers.reply(&["RG.PYDUMPSESSIONS", "VERBOSE", "SESSIONS", "clock"]), list);
    // It runs already when it is told that its functions are profiled.
    assert_eq!(servers.reply(&["RG.CONFIGSET", "ProfileExecutions", "1"]), "[+OK]");
    eventually(LONG, "its functions are seen", || {
        servers.reply(&["RG.PYPROFILE", "STATS", "clock"]).contains("(ticking)")
    });
    servers.reply(&["RG.CONFIGSET", "PythonAttemptTraceback", "0", "fail", "1"]);
    eventually(LONG, "it fails without a traceback", || {
        servers.first().log().contains("a time event failed: Error type: <class 'Exception'>, Value: failed")
    });
}
