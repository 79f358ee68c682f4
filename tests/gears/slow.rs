//! Scripts that take their time: in the slow log and the statistics of commands, and when nobody waits for them any more.

use std::time::Duration;

use crate::common::{Server, Wire, eventually};
use crate::servers::{Servers, WAITS, call};

const LONG: Duration = Duration::from_secs(60);

/// Scripts that take 50 ms: at the top level, in a flow, and on another shard than the one that is asked.
const SLOW: &[&str] = &[
    "import time\ntime.sleep(0.05)",
    "import time\nGB('ShardsIDReader').map(lambda x: time.sleep(0.05)).run()",
    "async def f(x):\n  await asyncio.sleep(0.05)\nGB('ShardsIDReader').map(f).count().run()",
];

/// Returns the microseconds and words of the commands in the slow log, the newest first.
fn slow(server: &Server) -> Vec<(u64, Vec<String>)> {
    type Entry = (u64, u64, u64, Vec<String>, String, String);
    let entries: Vec<Entry> = server.run(&["SLOWLOG", "GET", "-1"]);
    entries.into_iter().map(|(_, _, took, words, ..)| (took, words)).collect()
}

fn statistics(server: &Server, field: &str) -> u64 {
    let info: String = server.run(&["INFO", "commandstats"]);
    let line = info.lines().find_map(|line| line.strip_prefix("cmdstat_RG.PYEXECUTE:")).unwrap_or_default();
    let value = line.split(',').find_map(|pair| pair.strip_prefix(field)?.strip_prefix('='));
    value.map_or(0, |value| value.split('.').next().and_then(|whole| whole.parse().ok()).expect("a number"))
}

/// Row 586.
#[test]
fn scripts_are_in_the_slow_log() {
    for servers in Servers::both() {
        let kind = servers.kind;
        let first = servers.first();
        for script in SLOW {
            first.run::<()>(&["SLOWLOG", "RESET"]);
            first.run::<()>(&["CONFIG", "RESETSTAT"]);
            let reply = servers.reply(&["RG.PYEXECUTE", script]);
            assert!(!reply.starts_with('-'), "{kind}: {script}: {reply}");
            eventually(LONG, "the time has been added up", || statistics(first, "usec") > 0);
            let entries = slow(first);
            let [(took, words)] = &entries[..] else { panic!("{kind}: {script}: {entries:?}") };
            assert_eq!(words[0], "RG.PYEXECUTE", "{kind}");
            assert!((50_000..5_000_000).contains(took), "{kind}: {script}: {took} us");
            let per_call = statistics(first, "usec_per_call");
            assert_eq!(statistics(first, "calls"), 1, "{kind}");
            assert!((50_000..5_000_000).contains(&per_call), "{kind}: {script}: {per_call} us");
        }
    }
}

/// The time for which an execution waits for work elsewhere is not its own.
#[test]
fn waiting_is_not_slow() {
    for servers in Servers::both() {
        let kind = servers.kind;
        let id = servers.begin("import time\nGB('ShardsIDReader').map(lambda x: time.sleep(0.3)).run()");
        servers.reply(&["RG.GETRESULTSBLOCKING", &id]);
        servers.reply(&["RMR.EVENTS", "$", "BLOCK", "300", "MATCH", "*"]);
        let waits = |words: &[String]| words[0].contains("RESULTS") || words[0].contains("EVENTS");
        let entries = slow(servers.first());
        // On a busy machine the main thread itself may be kept from going on for a while.
        assert!(!entries.iter().any(|(took, words)| *took > 100_000 && waits(words)), "{kind}: {entries:?}");
    }
}

/// Row 494: a client that disconnects changes nothing. The execution goes on to its end, its results are thrown away, and
/// whoever wants to end it finds and aborts it.
#[test]
fn whoever_waited_is_gone() {
    for servers in Servers::both() {
        let kind = servers.kind;
        let script = format!("{}\n", WAITS.replace("return x", "return execute('SET', 'done{%s}' % hashtag(), x)"));
        let leave = || {
            let mut wire = Wire::connect_with_timeout(servers.first().port(), LONG);
            wire.send(&["RG.PYEXECUTE", &script]);
            // And no longer the top level of its script, which is listed, too.
            eventually(LONG, "it runs", || {
                let list = servers.reply(&["RG.DUMPEXECUTIONS"]);
                list.contains("\"running\"") && !list.contains("-script-")
            });
        };
        leave();
        eventually(LONG, "the server has noticed", || {
            !servers.first().run::<String>(&["CLIENT", "LIST"]).to_lowercase().contains("cmd=rg.pyexecute")
        });
        assert!(servers.reply(&["RG.DUMPEXECUTIONS"]).contains("\"running\""), "{kind}: it goes on");
        let id = servers.reply(&["RG.DUMPEXECUTIONS"]).split('"').nth(3).expect("an id").to_owned();
        servers.go();
        eventually(LONG, "nothing runs and nothing is kept", || servers.reply(&["RG.DUMPEXECUTIONS"]) == "[]");
        assert_eq!(servers.nodes().iter().filter(|node| node.reply("KEYS done*") != "[]").count(), 1, "{kind}");
        assert_eq!(servers.reply(&["RG.GETRESULTS", &id]), "-execution plan does not exist", "{kind}");
        // The same, and somebody else ends it.
        servers.stop();
        servers.ok("execute('DEL', 'done{%s}' % hashtag())");
        leave();
        let id = servers.reply(&["RG.DUMPEXECUTIONS"]).split('"').nth(3).expect("an id").to_owned();
        assert_eq!(servers.reply(&["RG.ABORTEXECUTION", &id]), "+OK", "{kind}");
        eventually(LONG, "it has ended", || servers.reply(&["RG.DUMPEXECUTIONS"]) == "[]");
        assert!(servers.nodes().iter().all(|node| node.reply("KEYS done*") == "[]"), "{kind}");
        eventually(LONG, "no session is left", || servers.reply(&["RG.PYDUMPSESSIONS"]) == "[]");
        assert!(!call(servers.first(), &["PING"]).is_empty(), "{kind}");
    }
}
