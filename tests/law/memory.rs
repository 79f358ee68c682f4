//! The memory of the servers is flat: no request leaves anything behind, however often it is sent and however many keys it
//! has.
//!
//! - `RMR_MEMORY_ROUNDS`: how often each command is sent.

use std::time::Duration;

use rmr::testing::poll;

use super::number_of;
use crate::common::{Cluster, Server, Wire};

/// The number of requests that are under way at once.
const AT_ONCE: usize = 50;

/// After how many requests the memory is looked at first: buffers have their size then.
const WARM: usize = 200;

/// The most bytes that a server may have more in the end. Eight bytes for each of ten keys of one request are more in a short
/// run, too.
const GROWTH: u64 = 100_000;

/// The longest that the buffers of connections may take to be given back.
const SETTLE: Duration = Duration::from_secs(5);

/// The requests, sent with and without limits on their user. `$` stands for all keys, `@` for as many of one slot of the asked
/// node, `#` for how many.
const FORMS: [&str; 21] = [
    "RMR.EXEC MGET @",
    "RMR.EXEC MGET $",
    "RMR.EXEC EXISTS $",
    "RMR.EXEC DEL $",
    "RMR.EXEC NONATOMIC MSET $=",
    "RMR.EXEC ZUNION # @",
    "RMR.EXEC SUNION @",
    "RMR.EXPLAIN MGET $",
    "RMR.SUM $",
    "RMR.MAP LIST # $ GET",
    "RMR.MAP COUNT # $ GET",
    "RMR.MAP PARTIAL MAX # $ LLEN",
    "RMR.MAP TOP 3 # $ STRLEN",
    "RMR.MAP PREFIX : STATS # $ STRLEN",
    "RMR.MAP DISTINCT # $ TYPE",
    "RMR.BATCH $*",
    "RMR.FANOUT DBSIZE",
    "RMR.FANOUT REDUCE SUM DBSIZE",
    "RMR.EXEC KEYS nothing",
    "RMR.SCAN 0 COUNT 10",
    "MGET $",
];

fn words(form: &str, tag: &str, user: &str, count: usize) -> Vec<String> {
    let keys = |place: &str| -> Vec<String> { (0..count).map(|number| format!("{place}:{user}:{number}")).collect() };
    let mut words = Vec::new();
    for word in form.split(' ') {
        match word {
            "$" => words.extend(keys("key")),
            "@" => words.extend(keys(&format!("{{{tag}}}"))),
            "$=" => words.extend(keys("key").into_iter().flat_map(|key| [key, "1".into()])),
            "$*" => words.extend(
                keys("key")
                    .into_iter()
                    .flat_map(|key| [key.clone(), "1".into(), "3".into(), "EXISTS".into(), key.clone(), key]),
            ),
            "#" => words.push(count.to_string()),
            _ => words.push(word.to_owned()),
        }
    }
    words
}

/// Sends the same request many times.
fn repeat(wire: &mut Wire, request: &[String], times: usize) {
    for start in (0..times).step_by(AT_ONCE) {
        let count = AT_ONCE.min(times - start);
        (0..count).for_each(|_| wire.send(request));
        for _ in 0..count {
            let reply = wire.read_frame();
            assert!(reply[0] != b'-', "{}: {}", request[..2].join(" "), reply.escape_ascii());
        }
    }
}

/// A request that is repeated.
struct Case {
    form: &'static str,
    count: usize,
    user: &'static str,
    times: usize,
    request: Vec<String>,
}

fn login(node: &Server, user: &str, is_proxied: bool) -> Wire {
    let mut wire = node.wire();
    assert!(!wire.ask(&["AUTH", user, "x"]).starts_with('-'));
    if is_proxied {
        assert_eq!(wire.ask(&["RMR.PROXY", "ON"]), "+OK");
    }
    wire
}

fn memory(nodes: &[Server]) -> Vec<u64> {
    nodes.iter().map(|node| node.figure("memory", "used_memory")).collect()
}

#[test]
fn memory_is_flat() {
    let rounds = number_of("RMR_MEMORY_ROUNDS", 800) as usize;
    let cluster = Cluster::builder().shards(2).config("slowlog-max-len", "0").module_args(["pushdown", "on"]).start();
    let nodes = cluster.nodes();
    let is_proxied = nodes[0].redis_version() >= (7, 2);
    for node in nodes {
        node.run::<()>(&["ACL", "SETUSER", "few", "on", "nopass", "~*:*", "+@all"]);
        if is_proxied {
            node.run::<()>(&["CONFIG", "SET", "rmr.proxy-mode", "opt-in"]);
        }
    }
    let tag = cluster.key_for(0, "tag");
    let mut cases = Vec::new();
    for form in FORMS.iter().filter(|form| is_proxied || !form.starts_with("MGET")) {
        for (count, user, part) in [(1, "default", 4), (10, "few", 1), (1000, "few", 40)] {
            if count == 1 || form.contains(['$', '@']) {
                // Eight bytes for each key that stay are seen with any number of keys.
                let times = rounds.div_ceil(part);
                cases.push(Case { form, count, user, times, request: words(form, &tag, user, count) });
            }
        }
    }
    let mut wires: Vec<(&str, Wire)> = ["default", "few"].map(|user| (user, login(&nodes[0], user, is_proxied))).into();
    let mut send = |case: &Case, times: usize| {
        let (_, wire) = wires.iter_mut().find(|(user, _)| *user == case.user).expect("a connection");
        repeat(wire, &case.request, times);
    };
    cases.iter().for_each(|case| send(case, WARM.min(case.times.div_ceil(4))));
    let before = memory(nodes);
    cases.iter().for_each(|case| send(case, case.times));
    let settles = |before: &[u64]| {
        let is_flat = || memory(nodes).iter().zip(before).all(|(now, before)| *now < before + GROWTH);
        poll(SETTLE, || is_flat().then_some(())).is_some()
    };
    if settles(&before) {
        return;
    }
    // Something grows. Each is tried by itself now, to say which.
    let after = memory(nodes);
    let mut grows = |case: &&Case| {
        let before = memory(nodes);
        send(case, case.times);
        !settles(&before)
    };
    let grown: Vec<String> = cases
        .iter()
        .filter(|case| grows(case))
        .map(|case| format!("{}, {} keys, user {}", case.form, case.count, case.user))
        .collect();
    panic!("memory was {before:?} and is {after:?}; what leaves something behind:\n{}", grown.join("\n"));
}
