//! Work over a pattern: through the module, by a client that reads names and sends commands, and by scripts on the shards.
//!
//! All three do the same in each round, one right after the other, on the same data:
//!
//! - the module: one `RMR.MAP reducer MATCH pattern command` to one node;
//! - by hand ([`hand`]): `SCAN` on all nodes in parallel, and with each page of names their commands in one write;
//! - by script ([`script`]): an `EVAL` on each node that scans and adds up. It is quick, and the shard answers nobody
//!   meanwhile; that is why there are pings ([`pings`]).

mod data;
mod hand;
mod million;
mod pings;
mod script;

use std::time::{Duration, Instant};

use crate::Failure;
use crate::common::{Cluster, Server, Wire, elements, show};
use crate::comparison::{Aim, Limit, line};
use crate::cpu::{Meter, Used};
use crate::rounds::{Effort, median, millis, percentile};

/// The number of rounds at most: those that remove keys put them back in between.
const MOST_ROUNDS: usize = 7;

/// For how many turns of the table pings go on during each of the contenders.
const TURNS_WITH_PINGS: u32 = 10;

/// The work that is done to the keys that match.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Work {
    /// Their number.
    Count,
    /// The sum of what this command replies; the key stands where `{}` is.
    Sum(&'static [&'static str]),
    /// The ten keys with the greatest replies.
    TopTen(&'static [&'static str]),
}

/// A row of the table.
#[derive(Debug, Clone, Copy)]
pub struct Case {
    what: &'static str,
    pattern: &'static str,
    work: Work,
    /// The right answer, from the keys that there are.
    expected: fn(usize) -> Outcome,
    /// Says whether keys are gone afterwards.
    removes: bool,
    /// The aims as multiples of the work by hand: time, and processor time if at all.
    aims: (f64, Option<f64>),
}

/// The outcome of the work.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    Number(i64),
    /// Keys, the one with the greatest number first.
    Keys(Vec<String>),
}

impl Case {
    /// The case as filters see it.
    pub fn name(self) -> String {
        format!("flow: {}, 3 shards", self.what)
    }
}

/// The table.
pub fn all() -> Vec<Case> {
    let case = |what, pattern, work, expected, aims| Case { what, pattern, work, expected, removes: false, aims };
    vec![
        case("count, 10 % match", "?:*7", Work::Count, |keys| Outcome::Number(keys as i64 / 10), (1.0, None)),
        case("count, 100 % match", "*", Work::Count, |keys| Outcome::Number(keys as i64), (1.0, None)),
        case("sum of strings", "s:*", Work::Sum(&["GET", "{}"]), data::sum_of_half, (0.6, Some(0.6))),
        case("sum of a hash field", "h:*", Work::Sum(&["HGET", "{}", "n"]), data::sum_of_half, (0.6, Some(0.6))),
        case("top ten by MEMORY USAGE", "*", Work::TopTen(&["MEMORY", "USAGE", "{}"]), data::largest, (0.6, Some(0.6))),
        Case {
            removes: true,
            ..case("UNLINK of half", "s:*", Work::Sum(&["UNLINK", "{}"]), data::half, (0.6, Some(0.6)))
        },
    ]
}

/// The million keys as filters see them.
pub use million::NAME as MILLION;
pub use million::run as run_million;

/// The program that does the work.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Contender {
    Module,
    Hand,
    Script,
}

impl Contender {
    const ALL: [Self; 3] = [Self::Module, Self::Hand, Self::Script];

    fn name(self) -> &'static str {
        match self {
            Self::Module => "**the module**",
            Self::Hand => "by hand",
            Self::Script => "by `EVAL` on each shard",
        }
    }

    fn run(self, cluster: &Cluster, case: Case) -> Result<Outcome, Failure> {
        match self {
            Self::Module => through_module(cluster.node(0), case),
            Self::Hand => hand::run(cluster, case.pattern, case.work),
            Self::Script => script::run(cluster, case.pattern, case.work),
        }
    }

    /// Does the work, and checks the answer.
    fn run_checked(self, cluster: &Cluster, case: Case) -> Result<(), Failure> {
        let (outcome, expected) = (self.run(cluster, case)?, (case.expected)(data::KEYS));
        if outcome == expected {
            return Ok(());
        }
        Err(format!("{}, {}: a wrong answer: {outcome:?} where {expected:?} is right", case.name(), self.name()).into())
    }
}

fn through_module(node: &Server, case: Case) -> Result<Outcome, Failure> {
    let (reducer, command): (&[&str], &[&str]) = match case.work {
        Work::Count => (&["COUNT"], &[]),
        Work::Sum(command) => (&["SUM"], command),
        Work::TopTen(command) => (&["TOP", "10"], command),
    };
    let words = [&["RMR.MAP"], reducer, &["MATCH", case.pattern], command].concat();
    let reply = Wire::try_connect(node.port(), Duration::from_secs(60))?.try_call(&words)?;
    match (reply[0], case.work) {
        (b':', Work::Count | Work::Sum(_)) => Ok(Outcome::Number(show(&reply).parse()?)),
        (b'*', Work::TopTen(_)) => Ok(Outcome::Keys(ranked_keys(&reply))),
        _ => Err(format!("{}: {}", words.join(" "), show(&reply)).into()),
    }
}

/// The keys of a ranking: an array of pairs, or of keys and numbers in turn.
fn ranked_keys(reply: &[u8]) -> Vec<String> {
    let name = |frame: &[u8]| show(frame).trim_matches('"').to_owned();
    let parts = elements(reply);
    match parts.first() {
        Some(first) if first[0] == b'*' => parts.iter().map(|pair| name(elements(pair)[0])).collect(),
        _ => parts.chunks(2).map(|pair| name(pair[0])).collect(),
    }
}

/// The time and the processor time that one contender of one case needed in one round.
#[derive(Debug, Clone, Copy)]
struct Needed {
    time: Duration,
    cpu: Used,
}

/// Measures the cases and prints what came out, the comparisons last.
pub fn run(cases: &[Case], effort: &Effort) -> Result<(), Failure> {
    if cases.is_empty() {
        return Ok(());
    }
    let cluster = Cluster::start(3);
    data::fill(&cluster, data::KEYS)?;
    let contenders = if effort.only_module { &Contender::ALL[..1] } else { &Contender::ALL };
    let rounds = effort.rounds.min(MOST_ROUNDS);
    println!(
        "Work over a pattern, 3 shards, {} keys: half of them strings, half of them hashes; medians of {rounds} \
         interleaved rounds, then pings to a shard meanwhile.\n",
        data::KEYS
    );
    println!(
        "| work | by | ms | ÷ by hand | CPU ms: client | servers | together | CPU ÷ by hand | PING p50 ms | p99 ms | max ms |"
    );
    println!("|---|---|{}", "--:|".repeat(9));
    let mut comparisons = Vec::new();
    for case in cases {
        let needed = measure(&cluster, *case, contenders, rounds)?;
        for (at, contender) in contenders.iter().enumerate() {
            let pings = pings::during(&cluster, *case, *contender, effort.turn * TURNS_WITH_PINGS)?;
            row(*case, *contender, &needed[at], of_hand(contenders, &needed), &pings);
            if *contender == Contender::Module {
                compare(*case, &needed[at], of_hand(contenders, &needed), &pings, &mut comparisons);
            }
        }
    }
    println!();
    for (text, aim) in comparisons {
        line(&text, aim, effort);
    }
    println!();
    Ok(())
}

fn measure(
    cluster: &Cluster,
    case: Case,
    contenders: &[Contender],
    rounds: usize,
) -> Result<Vec<Vec<Needed>>, Failure> {
    let meter = Meter::new(cluster);
    let mut needed = vec![Vec::new(); contenders.len()];
    // The first round warms up.
    for round in 0..=rounds {
        for (contender, needed) in contenders.iter().zip(&mut needed) {
            let (began, used) = (Instant::now(), meter.read()?);
            contender.run_checked(cluster, case)?;
            let all = Needed { time: began.elapsed(), cpu: meter.read()? - used };
            if round > 0 {
                needed.push(all);
            }
            if case.removes {
                data::fill(cluster, data::KEYS)?;
            }
        }
    }
    Ok(needed)
}

fn of_hand<'n>(contenders: &[Contender], needed: &'n [Vec<Needed>]) -> Option<&'n [Needed]> {
    contenders.iter().position(|contender| *contender == Contender::Hand).map(|at| &*needed[at])
}

fn time(needed: &Needed) -> f64 {
    needed.time.as_secs_f64()
}

fn together(needed: &Needed) -> f64 {
    needed.cpu.together().as_secs_f64()
}

/// The median of a figure divided by the same figure of the same round.
fn ratio(own: &[Needed], other: &[Needed], figure: fn(&Needed) -> f64) -> f64 {
    median(own.iter().zip(other).map(|(own, other)| figure(own) / figure(other)))
}

fn row(case: Case, contender: Contender, needed: &[Needed], hand: Option<&[Needed]>, pings: &[Duration]) {
    let middle = |figure: fn(&Needed) -> f64| median(needed.iter().map(figure)) * 1e3;
    let to_hand = |figure| hand.map_or_else(String::new, |hand| format!("{:.2}", ratio(needed, hand, figure)));
    let ping = |percent| millis(percentile(pings, percent));
    println!(
        "| {} | {} | {:.1} | {} | {:.1} | {:.1} | {:.1} | {} | {:.2} | {:.2} | {:.2} |",
        case.what,
        contender.name(),
        middle(time),
        to_hand(time),
        middle(|needed| needed.cpu.client.as_secs_f64()),
        middle(|needed| needed.cpu.servers.as_secs_f64()),
        middle(together),
        to_hand(together),
        ping(50),
        ping(99),
        ping(100),
    );
}

fn compare(
    case: Case,
    needed: &[Needed],
    hand: Option<&[Needed]>,
    pings: &[Duration],
    comparisons: &mut Vec<(String, Aim)>,
) {
    let name = case.name();
    if let Some(hand) = hand {
        let by_time = ratio(needed, hand, time);
        comparisons.push((
            format!("{name}: the time is {by_time:.2} times that by hand"),
            Aim::of(Limit::AtMost(case.aims.0), by_time),
        ));
        if let Some(most) = case.aims.1 {
            let by_cpu = ratio(needed, hand, together);
            comparisons.push((
                format!("{name}: the CPU time is {by_cpu:.2} times that by hand"),
                Aim::of(Limit::AtMost(most), by_cpu),
            ));
        }
    }
    let p99 = millis(percentile(pings, 99));
    comparisons.push((format!("{name}: PING on a shard meanwhile: p99 is {p99:.2} ms"), Aim::of(pings::LIMIT, p99)));
}
