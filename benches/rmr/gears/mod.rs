//! Functions in Python on the servers, against the same work in Python by hand.
//!
//! Both do the same in each round, one right after the other, on the same data:
//!
//! - the module: one `RG.PYEXECUTE` to one node, whose function runs on all shards;
//! - by hand ([`hand`]): a program with redis-py and hiredis that scans all shards and reads what it needs in pipelines.
//!
//! Pings go on at every shard meanwhile. Besides: how many commands a function runs one after the other, against a client that
//! sends them one at a time over a Unix socket ([`calls`]); how many small executions there are in a second ([`small`]); and
//! what functions on events cost ([`events`]).

mod calls;
mod events;
mod hand;
mod small;

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use crate::Failure;
use crate::common::{Cluster, Server, View, Wire, elements, functions_python, show};
use crate::comparison::{Aim, Limit, line};
use crate::data::{owner_of, send_from, value};
use crate::rounds::{Effort, median, millis, percentile};
use hand::Hand;

/// The number of keys, of whatever kind.
const KEYS: usize = 100_000;

/// The number of groups that hashes are in.
const GROUPS: usize = 100;

const MOST_ROUNDS: usize = 7;

/// The longest that an execution may take.
const PATIENCE: Duration = Duration::from_secs(120);

/// The aim as a multiple of the time by hand.
const MOST_TO_HAND: f64 = 0.4;

/// The aim for the 99th percentile of pings, in milliseconds.
const MOST_PING: f64 = 2.0;

/// The kind of all keys.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Strings,
    Hashes,
}

/// A row of the table.
#[derive(Debug, Clone, Copy)]
pub struct Case {
    what: &'static str,
    kind: Kind,
    script: &'static str,
    /// The name of the job by hand.
    job: &'static str,
    /// Returns the expected outcome, by hand and, where it is one result, of the function.
    expected: fn() -> String,
    results: usize,
}

impl Case {
    /// Returns the case as filters see it.
    pub fn name(self) -> String {
        format!("gears: {}, 3 shards", self.what)
    }
}

/// Returns the table.
pub fn all() -> Vec<Case> {
    vec![
        Case {
            what: "count",
            kind: Kind::Strings,
            script: "GB().count().run()",
            job: "count",
            expected: || KEYS.to_string(),
            results: 1,
        },
        Case {
            what: "sum of values",
            kind: Kind::Strings,
            script: "GB().map(lambda r: int(r['value'])).aggregate(0, lambda a, x: a + x, lambda a, x: a + x).run()",
            job: "sum_of_values",
            expected: sum,
            results: 1,
        },
        Case {
            what: "collect everything",
            kind: Kind::Strings,
            script: "GB().run()",
            job: "collect",
            expected: || KEYS.to_string(),
            results: KEYS,
        },
        Case {
            what: "sum of a hash field",
            kind: Kind::Hashes,
            script: "GB().map(lambda r: int(r['value']['n'])).aggregate(0, lambda a, x: a + x, lambda a, x: a + x).run()",
            job: "sum_of_a_field",
            expected: sum,
            results: 1,
        },
        Case {
            what: "count by a field",
            kind: Kind::Hashes,
            script: "GB().countby(lambda r: r['value']['group']).run()",
            job: "count_by_a_field",
            expected: || format!("{GROUPS},{KEYS}"),
            results: GROUPS,
        },
    ]
}

/// The other measurements as filters see them.
pub use calls::NAME as CALLS;
pub use events::NAME as EVENTS;
pub use small::NAME as SMALL;

fn sum() -> String {
    (0..KEYS).map(value).sum::<i64>().to_string()
}

/// The interpreter of the tests; and functions are kept, which not all servers do by themselves.
fn arguments() -> [String; 4] {
    ["python".to_owned(), functions_python(), "gears".to_owned(), "on".to_owned()]
}

/// Starts three shards whose functions run in the interpreter of the tests.
fn start() -> Cluster {
    Cluster::builder().module_args(arguments()).config("unixsocket", "socket").start()
}

/// Starts one server without a cluster, likewise.
fn start_one() -> Server {
    Server::builder().module_args(arguments()).start()
}

/// Puts all keys of a kind in the place of all others.
fn fill(cluster: &Cluster, kind: Kind) -> Result<(), Failure> {
    /// The number of commands that a node gets in one write.
    const BATCH: usize = 10_000;
    let view = View::of(cluster.node(0))?;
    let mut batches: Vec<redis::Pipeline> = cluster.primaries().iter().map(|_| redis::pipe()).collect();
    for node in cluster.primaries() {
        node.run::<()>(&["FLUSHALL"]);
    }
    for number in 0..KEYS {
        let key = format!("key:{number:06}");
        let node = owner_of(cluster, &view, &key)?;
        match kind {
            Kind::Strings => batches[node].set(key, value(number)).ignore(),
            Kind::Hashes => {
                let group = format!("group {}", number % GROUPS);
                let fields = [("n", value(number).to_string()), ("group", group), ("text", "some words".into())];
                batches[node].hset_multiple(key, &fields).ignore()
            }
        };
        send_from(cluster, node, &mut batches[node], BATCH)?;
    }
    (0..batches.len()).try_for_each(|node| send_from(cluster, node, &mut batches[node], 1))
}

/// Runs a function at a node; returns the time until its whole answer was there, and the answer.
fn execute(node: &Server, script: &str) -> Result<(Duration, Vec<u8>), Failure> {
    let mut wire = Wire::try_connect(node.port(), PATIENCE)?;
    let began = Instant::now();
    let reply = wire.try_call(&["RG.PYEXECUTE", script])?;
    Ok((began.elapsed(), reply))
}

fn through_module(cluster: &Cluster, case: Case) -> Result<Duration, Failure> {
    let (time, reply) = execute(cluster.node(0), case.script)?;
    let wrong = || Failure::from(format!("{}: a wrong answer: {:.300}", case.name(), show(&reply)));
    if !reply.starts_with(format!("*2\r\n*{}\r\n", case.results).as_bytes()) || !reply.ends_with(b"\r\n*0\r\n") {
        return Err(wrong());
    }
    let is_right = case.results > 1 || show(elements(elements(&reply)[0])[0]) == format!("\"{}\"", (case.expected)());
    if is_right { Ok(time) } else { Err(wrong()) }
}

/// The other measurements that are wanted.
#[derive(Debug, Clone, Copy)]
pub struct Wanted {
    pub calls: bool,
    pub small: bool,
    pub events: bool,
}

/// Measures the cases and prints what came out, the comparisons last.
pub fn run(cases: &[Case], wanted: Wanted, effort: &Effort) -> Result<(), Failure> {
    let Wanted { calls, small, events } = wanted;
    if cases.is_empty() && !calls && !small && !events {
        return Ok(());
    }
    let cluster = start();
    let mut comparisons = Vec::new();
    if !cases.is_empty() {
        measure_cases(&cluster, cases, effort, &mut comparisons)?;
    }
    if calls {
        calls::measure(&cluster, effort, &mut comparisons)?;
    }
    if small {
        small::measure(&cluster, effort, &mut comparisons)?;
    }
    if events {
        events::measure(&cluster, effort, &mut comparisons)?;
    }
    for (text, aim) in comparisons {
        line(&text, aim, effort);
    }
    println!();
    Ok(())
}

fn measure_cases(
    cluster: &Cluster,
    cases: &[Case],
    effort: &Effort,
    comparisons: &mut Vec<(String, Aim)>,
) -> Result<(), Failure> {
    let mut hand = match Hand::start(cluster) {
        _ if effort.only_module => None,
        Ok(hand) => Some(hand),
        Err(why) => {
            println!("The work by hand is left out, since its program cannot be had: {why}\n");
            None
        }
    };
    let rounds = effort.rounds.min(MOST_ROUNDS);
    println!(
        "Functions in Python, 3 shards, {KEYS} keys; medians of {rounds} interleaved rounds, pings at all shards meanwhile.\n"
    );
    println!("| function | ms | by hand | ÷ by hand | PING p50 ms | p99 ms | max ms |\n|---|{}", "--:|".repeat(6));
    let mut filled = None;
    for case in cases {
        if filled != Some(case.kind) {
            fill(cluster, case.kind)?;
            filled = Some(case.kind);
        }
        let (mut own, mut by_hand, mut pings) = (Vec::new(), Vec::new(), Vec::new());
        // The first round warms up.
        for round in 0..=rounds {
            let mut time = Duration::ZERO;
            let meanwhile = pings_during(cluster, || {
                time = through_module(cluster, *case)?;
                Ok(())
            })?;
            let other = hand.as_mut().map(|hand| hand.run(*case)).transpose()?;
            if round > 0 {
                own.push(time.as_secs_f64());
                by_hand.extend(other.map(|time| time.as_secs_f64()));
                pings.extend(meanwhile);
            }
        }
        pings.sort_unstable();
        let ratio = (!by_hand.is_empty()).then(|| median(own.iter().zip(&by_hand).map(|(own, hand)| own / hand)));
        let shown =
            |figure: Option<f64>, digits: usize| figure.map_or_else(String::new, |figure| format!("{figure:.digits$}"));
        let by_hand = (!by_hand.is_empty()).then(|| median(by_hand.into_iter()) * 1e3);
        let [p50, p99, max] = [50, 99, 100].map(|percent| millis(percentile(&pings, percent)));
        let (what, own) = (case.what, median(own.into_iter()) * 1e3);
        println!(
            "| {what} | {own:.1} | {} | {} | {p50:.2} | {p99:.2} | {max:.2} |",
            shown(by_hand, 1),
            shown(ratio, 2)
        );
        let name = case.name();
        if let Some(ratio) = ratio {
            let aim = Aim::of(Limit::AtMost(MOST_TO_HAND), ratio);
            comparisons.push((format!("{name}: the time is {ratio:.2} times that by hand"), aim));
        }
        comparisons
            .push((format!("{name}: PING meanwhile: p99 is {p99:.2} ms"), Aim::of(Limit::Below(MOST_PING), p99)));
    }
    println!();
    Ok(())
}

/// Pings all shards again and again while some work is done; returns how long each ping took.
fn pings_during(cluster: &Cluster, work: impl FnOnce() -> Result<(), Failure>) -> Result<Vec<Duration>, Failure> {
    let nodes: Vec<&Server> = cluster.primaries().iter().collect();
    pings_at(&nodes, work)
}

fn pings_at(nodes: &[&Server], work: impl FnOnce() -> Result<(), Failure>) -> Result<Vec<Duration>, Failure> {
    let is_over = AtomicBool::new(false);
    let is_over = &is_over;
    let ping = |node: &Server| {
        let mut wire = Wire::try_connect(node.port(), PATIENCE)?;
        let mut times = Vec::new();
        while !is_over.load(Ordering::Relaxed) {
            let began = Instant::now();
            wire.try_call(&["PING"])?;
            times.push(began.elapsed());
            // Pings that follow each other at once would take a processor from what they are to watch.
            thread::sleep(Duration::from_micros(500));
        }
        Ok::<_, Failure>(times)
    };
    thread::scope(|scope| {
        let ping = &ping;
        let threads: Vec<_> = nodes.iter().map(|node| scope.spawn(move || ping(node))).collect();
        let done = work();
        is_over.store(true, Ordering::Relaxed);
        let mut times = Vec::new();
        for thread in threads {
            times.extend(thread.join().map_err(|_| "the pings panicked")??);
        }
        done.map(|()| times)
    })
}
