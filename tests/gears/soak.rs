//! Twenty functions on events of all kinds, on three shards, while clients write: counts are exact, and memory is flat.
//!
//! - `RMR_EVENTS_SECONDS`: for how long; an hour by `make soak`.
//!
//! Clients write in rounds. After each one all events have ended, nothing waits, and memory is that of what is kept.

use std::collections::BTreeMap;
use std::env;
use std::thread;
use std::time::{Duration, Instant};

use rmr::testing::poll;

use crate::common::{Cluster, Server, Wire, elements, eventually, show};
use crate::memory::{GROWTH, of_all};
use crate::servers::{Servers, call};

const PATIENCE: Duration = Duration::from_secs(120);

/// The number of times that each client writes for each function in a round: when it goes on for a while, and else.
const WRITES: [usize; 2] = [200, 20];

/// The number of keys that each function has on each shard.
const KEYS: usize = 4;

/// The action of a client that a function is for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Kind {
    /// A key is set.
    Key,
    /// A key is set, and the function fails for one of them.
    FailingKey,
    /// A key that is not there is asked for.
    Miss,
    /// A stream gets an entry.
    Stream,
    /// The function is called.
    Call,
    /// A command that the function stands before.
    Hook,
}

/// A function, with the names of its keys or its own, which begin so.
struct Function {
    name: String,
    kind: Kind,
    script: String,
}

/// Counts in a key of the shard how often a function has run.
fn counting(name: &str) -> String {
    format!("execute('INCR', 'n:{name}:{{%s}}' % hashtag())")
}

fn functions(has_jobs: bool) -> Vec<Function> {
    let mut all = Vec::new();
    let mut add = |name: String, kind, script: String| all.push(Function { name, kind, script });
    let sync = if has_jobs { "sync" } else { "async_local" };
    let modes = ["async_local", "async_local", "async_local", "async_local", "async", "async", sync, sync];
    for (number, mode) in modes.into_iter().enumerate() {
        let (name, mode) = (format!("k{number}"), format!("mode='{mode}'"));
        let script =
            format!("GB().foreach(lambda r: {}).register('{name}:*', eventTypes=['set'], {mode})", counting(&name));
        add(name, Kind::Key, script);
    }
    for (number, mode) in ["async_local", "async"].into_iter().enumerate() {
        let name = format!("f{number}");
        let script = format!(
            "def f(r):
    if r['value'] == 'bad':
        raise Exception('it is bad')
    {}
GB().foreach(f).register('{name}:*', eventTypes=['set'], mode='{mode}')",
            counting(&name)
        );
        add(name, Kind::FailingKey, script);
    }
    let name = "m".to_owned();
    let script = format!(
        "def load(r):
    {}
    override_reply('loaded')
GB().foreach(load).register('{name}:*', eventTypes=['keymiss'], commands=['get'], mode='async_local')",
        counting(&name)
    );
    add(name, Kind::Miss, script);
    for (number, arguments) in [
        "batch=1, mode='async_local'",
        "batch=10, duration=20, mode='async_local'",
        "batch=5, duration=20",
        "onFailedPolicy='retry', mode='async_local'",
    ]
    .into_iter()
    .enumerate()
    {
        let name = format!("s{number}");
        let script =
            format!("GB('StreamReader').foreach(lambda r: {}).register('{name}:*', {arguments})", counting(&name));
        add(name, Kind::Stream, script);
    }
    for (number, arguments) in [
        "mode='async_local'",
        "mode='sync'",
        "inorder=True, mode='async_local'",
        "convertToStr=False, mode='async_local'",
    ]
    .into_iter()
    .enumerate()
    {
        let name = format!("c{number}");
        let script =
            format!("GB('CommandReader').map(lambda x: {}).register(trigger='{name}', {arguments})", counting(&name));
        add(name, Kind::Call, script);
    }
    let name = "h".to_owned();
    let script = format!(
        "def f(x):
    {}
    return call_next(*x[1:])
GB('CommandReader').map(f).register(hook='strlen', keyprefix='{name}:', mode='async_local', convertToStr=False)",
        counting(&name)
    );
    add(name, Kind::Hook, script);
    all
}

/// The events of one registration on all shards, counted by their outcome.
#[derive(Default, Debug, Clone, Copy, PartialEq, Eq)]
struct Counts {
    triggered: u64,
    succeeded: u64,
    failed: u64,
    aborted: u64,
}

fn counts(servers: &Servers, place: usize) -> Counts {
    let mut sum = Counts::default();
    for node in servers.nodes() {
        let reply = call(node, &["RG.DUMPREGISTRATIONS"]);
        let data: Vec<String> = elements(elements(elements(&reply)[place])[7]).into_iter().map(show).collect();
        let [triggered, succeeded, failed, aborted] = [3, 5, 7, 9].map(|at| data[at].parse::<u64>().expect("a number"));
        sum.triggered += triggered;
        sum.succeeded += succeeded;
        sum.failed += failed;
        sum.aborted += aborted;
    }
    sum
}

/// Returns how often a function has run, as it has counted itself.
fn ran(servers: &Servers, name: &str) -> u64 {
    servers.reply(&["RMR.MAP", "SUM", "MATCH", &format!("n:{name}:*"), "GET"]).parse().expect("a number")
}

/// A client of one shard that writes for each function, some times a round.
struct Client<'a> {
    wire: Wire,
    functions: &'a [Function],
    /// The keys of each function.
    keys: Vec<Vec<String>>,
    writes: usize,
    number: u64,
}

impl<'a> Client<'a> {
    fn new(cluster: &Cluster, shard: usize, functions: &'a [Function], writes: usize) -> Self {
        let keys = functions.iter().map(|function| cluster.keys_for(shard, &function.name).take(KEYS).collect());
        let wire = Wire::connect_with_timeout(cluster.node(shard).port(), PATIENCE);
        Self { wire, functions, keys: keys.collect(), writes, number: 0 }
    }

    /// Writes, and adds to how often each function should run, and how often fail.
    fn write(&mut self, expected: &mut [(u64, u64)]) {
        for _ in 0..self.writes {
            self.number += 1;
            for (at, function) in self.functions.iter().enumerate() {
                let key = &self.keys[at][self.number as usize % KEYS];
                // Always the same for a key: a function that runs later than the event sees a later value.
                let fails = function.kind == Kind::FailingKey && (self.number as usize).is_multiple_of(KEYS);
                let value = if fails { "bad".to_owned() } else { self.number.to_string() };
                let (words, reply): (Vec<&str>, &str) = match function.kind {
                    Kind::Key | Kind::FailingKey => (vec!["SET", key, &value], "+OK"),
                    Kind::Miss => (vec!["GET", key], "\"loaded\""),
                    Kind::Stream => (vec!["XADD", key, "*", "f", &value], "\""),
                    Kind::Call => (vec!["RG.TRIGGER", &function.name, &value], "["),
                    Kind::Hook => (vec!["STRLEN", key], "0"),
                };
                let got = self.wire.reply_to(&words);
                assert!(got.starts_with(reply), "{words:?}: {got}");
                let (runs, failures) = &mut expected[at];
                *runs += u64::from(!fails);
                *failures += u64::from(fails);
            }
        }
    }
}

/// Lets a client of each shard write once.
fn round(clients: &mut [Client<'_>], expected: &mut [(u64, u64)]) {
    let parts: Vec<Vec<(u64, u64)>> = thread::scope(|scope| {
        let begin = |client: &'_ mut Client<'_>| {
            let mut part = vec![(0, 0); client.functions.len()];
            client.write(&mut part);
            part
        };
        let threads: Vec<_> = clients.iter_mut().map(|client| scope.spawn(move || begin(client))).collect();
        threads.into_iter().map(|thread| thread.join().expect("a client that has written")).collect()
    });
    for part in parts {
        for ((runs, failures), (more_runs, more_failures)) in expected.iter_mut().zip(part) {
            *runs += more_runs;
            *failures += more_failures;
        }
    }
}

/// Waits until all that was written has been worked on, and looks at every count.
fn check(servers: &Servers, functions: &[Function], expected: &[(u64, u64)]) {
    for (place, function) in functions.iter().enumerate() {
        let (runs, failures) = expected[place];
        let mut seen = (Counts::default(), 0);
        let is_exact = poll(PATIENCE, || {
            let counts = counts(servers, place);
            seen = (counts, ran(servers, &function.name));
            let own = match function.kind {
                // A batch is one event, and so is the first look at a stream.
                Kind::Stream => counts.triggered == counts.succeeded,
                _ => counts == Counts { triggered: runs + failures, succeeded: runs, failed: failures, aborted: 0 },
            };
            (own && seen.1 == runs).then_some(())
        });
        assert!(is_exact.is_some(), "{}: {runs} and {failures} failures are expected: {seen:?}", function.name);
    }
    let figures = |name: &str| servers.nodes().iter().map(|node| node.rmr_figure(name)).sum::<u64>();
    assert_eq!((figures("registration_events_pending"), figures("registration_events_dropped")), (0, 0));
}

#[test]
fn counts_are_exact_and_memory_is_flat() {
    let seconds: Option<u64> = env::var("RMR_EVENTS_SECONDS").ok().and_then(|seconds| seconds.parse().ok());
    let writes = WRITES[usize::from(seconds.is_none())];
    let servers = Servers::patient_cluster();
    let functions = functions(servers.first().redis_version() >= (7, 2));
    assert_eq!(functions.len(), 20);
    for function in &functions {
        servers.ok(&function.script);
    }
    // Those for which the server waits fail until there is a process.
    for node in servers.nodes() {
        warm(&servers, node, &functions);
    }
    assert_eq!(servers.reply(&["RG.CLEARREGISTRATIONSSTATS"]), "+OK");
    assert_eq!(servers.reply(&["RMR.FANOUT", "FLUSHALL"]), "[+OK, +OK, +OK]");
    let cluster = servers.as_cluster();
    let mut clients: Vec<Client<'_>> = (0..3).map(|shard| Client::new(cluster, shard, &functions, writes)).collect();
    let mut expected = vec![(0, 0); functions.len()];
    let began = Instant::now();
    let mut samples: BTreeMap<u64, [u64; 2]> = BTreeMap::new();
    let (mut rounds, limit) = (0_u64, Duration::from_secs(seconds.unwrap_or(6)));
    while rounds < 4 || began.elapsed() < limit {
        round(&mut clients, &mut expected);
        check(&servers, &functions, &expected);
        rounds += 1;
        samples.insert(rounds, of_all(&servers));
    }
    let took = began.elapsed();
    // The list that is kept for each function is full by then.
    let warm = (rounds / 5).max(2);
    let before = samples[&warm];
    let allowed = GROWTH.map(|bytes| bytes * servers.nodes().len() as u64);
    let mut after = samples[&rounds];
    let is_flat = poll(Duration::from_secs(20), || {
        after = of_all(&servers);
        (0..2).all(|at| after[at] <= before[at] + allowed[at]).then_some(())
    });
    let events: u64 = expected.iter().map(|(runs, failures)| runs + failures).sum();
    println!(
        "{events} events of {} functions in {rounds} rounds of {:.0} s altogether; servers have {} kB, had {} after round {warm}; Python has {} kB, had {}",
        functions.len(),
        took.as_secs_f64(),
        after[0] >> 10,
        before[0] >> 10,
        after[1] >> 10,
        before[1] >> 10
    );
    assert!(is_flat.is_some(), "{samples:?}, then {after:?}");
}

/// Calls all functions of a shard until each has succeeded.
fn warm(servers: &Servers, node: &Server, functions: &[Function]) {
    let cluster = servers.as_cluster();
    let shard = cluster.nodes().iter().position(|other| other.port() == node.port()).expect("a shard");
    for (place, function) in functions.iter().enumerate() {
        let key = cluster.key_for(shard, &function.name);
        let line = match function.kind {
            Kind::Key | Kind::FailingKey => format!("SET {key} 1"),
            Kind::Miss => format!("GET {key}"),
            Kind::Stream => format!("XADD {key} * f v"),
            Kind::Call => format!("RG.TRIGGER {} 1", function.name),
            Kind::Hook => format!("STRLEN {key}"),
        };
        let shown = || {
            let reply = call(node, &["RG.DUMPREGISTRATIONS"]);
            let data: Vec<String> = elements(elements(elements(&reply)[place])[7]).into_iter().map(show).collect();
            data
        };
        eventually(PATIENCE, &format!("{} runs", function.name), || {
            node.reply(&line);
            let data = shown();
            data[3] != "0" && data[5] != "0"
        });
        eventually(PATIENCE, "all has ended", || {
            let [triggered, succeeded, failed, aborted] =
                [3, 5, 7, 9].map(|at| shown()[at].parse::<u64>().expect("a number"));
            triggered == succeeded + failed + aborted
        });
    }
}
