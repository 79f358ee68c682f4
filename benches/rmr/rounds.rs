//! Rounds: each measures every contender of every case once, one right after the other, so that what disturbs the
//! machine for a while disturbs them alike. The report has medians over the rounds.

use std::time::{Duration, Instant};

use crate::Failure;
use crate::cases::{Case, MANY_KEYS, On, Work};
use crate::client::Client;
use crate::common::Cluster;
use crate::cpu::{Meter, Used};
use crate::crate_client::{CrateClient, Send, Way};
use crate::data::Data;
use crate::request::{self, Request};

/// The time and the number of rounds for which to measure.
pub struct Effort {
    /// The number of rounds.
    pub rounds: usize,
    /// The time for which one contender of one case runs in a round, about.
    pub turn: Duration,
    /// The number of requests that it sends at least, so that a 99th percentile says something.
    pub fewest: usize,
    /// The divisor of the number of requests for what is counted and not timed. by what its number of requests is divided. With
    /// more than 1, only the module as it is by default is counted.
    pub thrift: usize,
    /// Nothing but the module, as for a profile of it.
    pub only_module: bool,
    /// Says whether the figures that were once aimed at are printed.
    pub aims: bool,
}

impl Effort {
    /// Returns the effort for figures to be quoted.
    pub fn full() -> Self {
        Self { rounds: 11, turn: Duration::from_millis(200), fewest: 100, thrift: 1, only_module: false, aims: false }
    }

    /// Returns the effort for a first look.
    pub fn quick() -> Self {
        Self { rounds: 3, turn: Duration::from_millis(100), fewest: 50, thrift: 4, only_module: false, aims: false }
    }
}

/// The factor by which a slow contender may exceed its share of a round.
const LONGEST_TURN: f64 = 4.0;

/// The node that is as it is by default.
const BY_DEFAULT: usize = 0;

/// The node that coordinates with plain commands only.
const PLAIN: usize = 1;

/// The cluster on which the crate is measured, too.
const CRATE_IS_ON: On = On { shards: 3, direct_reads: false };

/// The program or library that requests are sent through.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Through {
    /// One command to one node, which has the other nodes reduce their own share.
    Module,
    /// One command to one node, which sends them plain commands and reduces what comes back.
    Plain,
    /// Grouped by node beforehand, one write a node.
    Hand,
    /// The cluster client of the `redis` crate.
    Crate(Way),
}

/// The figures of one contender of one case in one round.
#[derive(Debug, Clone, Copy)]
pub struct Round {
    /// The median of the times that requests took.
    pub p50: Duration,
    /// Their 99th percentile.
    pub p99: Duration,
    /// Requests a second.
    pub rate: f64,
    /// Processor time of one request, on average.
    pub cpu: Used,
}

/// All rounds of one contender of one case.
pub struct Sample {
    pub case: Case,
    pub through: Through,
    pub rounds: Vec<Round>,
}

/// Starts a cluster, with one node that has shards reduce, and others that send plain commands only. An error if it refuses its settings.
pub fn start(on: On) -> Result<Cluster, Failure> {
    let cluster = Cluster::start(on.shards);
    let set = |node: usize, name, value| cluster.node(node).try_run::<()>(&["CONFIG", "SET", name, value]);
    // The node that the others of the module's contenders ask.
    set(0, "rmr.pushdown", "on")?;
    if on.direct_reads {
        (0..on.shards).try_for_each(|node| set(node, "rmr.direct-reads", "on"))?;
    }
    Ok(cluster)
}

/// Measures the cases on a cluster.
pub fn measure(cluster: &Cluster, data: &Data, cases: &[&Case], effort: &Effort) -> Result<Vec<Sample>, Failure> {
    let mut contenders = Vec::new();
    for case in cases {
        contenders.extend(contenders_of(cluster, data, **case, effort)?);
    }
    check_paths(cluster, cases, effort)?;
    let meter = Meter::new(cluster);
    let samples = contenders.iter().map(|contender| Sample {
        case: contender.case,
        through: contender.through(),
        rounds: Vec::new(),
    });
    let mut samples: Vec<Sample> = samples.collect();
    for round in 0..effort.rounds {
        for (contender, sample) in contenders.iter_mut().zip(&mut samples) {
            if !round.is_multiple_of(contender.case.stride()) {
                continue;
            }
            sample.rounds.push(contender.round(&meter)?);
        }
    }
    Ok(samples)
}

/// Returns whether the contenders went the ways that they are named after. None falls back to the other's without notice.
fn check_paths(cluster: &Cluster, cases: &[&Case], effort: &Effort) -> Result<(), Failure> {
    if !cases.iter().any(|case| matches!(case.work, Work::Sum { .. })) {
        return Ok(());
    }
    let shares = |node: usize| cluster.node(node).rmr_figure("inner_shares");
    if shares(BY_DEFAULT) == 0 {
        return Err("the shards have reduced nothing, though they should".into());
    }
    if !effort.only_module && shares(PLAIN) > 0 {
        return Err("the shards have reduced for the node that should send them plain commands".into());
    }
    Ok(())
}

/// Connects the contenders of a case, and warms them up.
fn contenders_of(cluster: &Cluster, data: &Data, case: Case, effort: &Effort) -> Result<Vec<Contender>, Failure> {
    let warm = |kind| Contender::warmed_up(case, kind, effort);
    let module = Client::to_one_node(cluster.node(BY_DEFAULT).port(), case.in_flight)?;
    let mut contenders = vec![warm(Kind::Module(module, request::through_module(case.work)))?];
    if effort.only_module {
        return Ok(contenders);
    }
    if matches!(case.work, Work::Sum { .. } | Work::DbSize) {
        let plain = Client::to_one_node(cluster.node(PLAIN).port(), case.in_flight)?;
        contenders.push(warm(Kind::Plain(plain, request::through_module(case.work)))?);
    }
    let hand = Client::to_all_nodes(cluster)?;
    contenders.push(warm(Kind::Hand(hand, request::by_hand(case.work, data, case.on.shards)))?);
    // The work of the crate depends little on the number of shards, and not at all on how they read. With 160,000
    // `GET`s in flight it gives up.
    if case.on != CRATE_IS_ON || case.work.keys() >= MANY_KEYS {
        return Ok(contenders);
    }
    let sends: &[&[Send]] = match case.work {
        // Of the ways in which the crate itself finds the nodes, the fastest one, apart from what is grouped by hand.
        Work::Sum { .. } => &[&[Send::Gets, Send::Mget], &[Send::Pipelines]],
        Work::ExecMget { .. } => &[&[Send::Gets, Send::Mget]],
        Work::ExecGet => &[&[Send::Gets]],
        Work::DbSize | Work::ExecDbSize => &[&[Send::DbSize]],
    };
    for sends in sends {
        let mut best: Option<Contender> = None;
        for &send in *sends {
            // One request in flight has nobody to share with.
            for is_shared in [true, false].into_iter().take(case.in_flight.min(2)) {
                let client = CrateClient::connect(cluster, data, case, Way { send, is_shared })?;
                let contender = warm(Kind::Crate(client))?;
                if best.as_ref().is_none_or(|best| contender.rate > best.rate) {
                    best = Some(contender);
                }
            }
        }
        contenders.extend(best);
    }
    Ok(contenders)
}

/// A client, warm, with the requests of one case.
struct Contender {
    case: Case,
    kind: Kind,
    /// The number of requests that it does in a second.
    rate: f64,
    /// The number of requests that make a round.
    count: usize,
}

enum Kind {
    Module(Client, Vec<Request>),
    Plain(Client, Vec<Request>),
    Hand(Client, Vec<Request>),
    Crate(CrateClient),
}

impl Contender {
    /// Runs for a while, and finds out how many requests fill a turn.
    fn warmed_up(case: Case, kind: Kind, effort: &Effort) -> Result<Self, Failure> {
        let mut contender = Self { case, kind, rate: 0.0, count: 0 };
        let mut latencies = Vec::new();
        let began = Instant::now();
        while began.elapsed() < effort.turn {
            contender.run(case.in_flight * 3, &mut latencies)?;
        }
        let rate = latencies.len() as f64 / began.elapsed().as_secs_f64();
        let in_turn = rate * effort.turn.as_secs_f64();
        // A slow one gets more time for the fewest requests, within reason.
        let fewest = (effort.fewest as f64).min(in_turn * LONGEST_TURN);
        contender.rate = rate;
        contender.count = (in_turn.max(fewest) as usize).max(case.in_flight * 2);
        Ok(contender)
    }

    fn through(&self) -> Through {
        match &self.kind {
            Kind::Module(..) => Through::Module,
            Kind::Plain(..) => Through::Plain,
            Kind::Hand(..) => Through::Hand,
            Kind::Crate(client) => Through::Crate(client.way()),
        }
    }

    fn run(&mut self, count: usize, latencies: &mut Vec<Duration>) -> Result<(), Failure> {
        let in_flight = self.case.in_flight;
        let result = match &mut self.kind {
            Kind::Module(client, requests) | Kind::Plain(client, requests) | Kind::Hand(client, requests) => {
                client.run(requests, count, in_flight, latencies)
            }
            Kind::Crate(client) => client.run(count, in_flight, latencies),
        };
        result.map_err(|failure| format!("{}, {:?}: {failure}", self.case.name(), self.through()).into())
    }

    fn round(&mut self, meter: &Meter) -> Result<Round, Failure> {
        let mut latencies = Vec::with_capacity(self.count);
        // The one before has left the caches to us as it liked them.
        self.run(self.case.in_flight * 3, &mut latencies)?;
        latencies.clear();
        let (began, used) = (Instant::now(), meter.read()?);
        self.run(self.count, &mut latencies)?;
        let (took, used) = (began.elapsed(), meter.read()? - used);
        latencies.sort_unstable();
        let requests = latencies.len() as u32;
        Ok(Round {
            p50: percentile(&latencies, 50),
            p99: percentile(&latencies, 99),
            rate: f64::from(requests) / took.as_secs_f64(),
            cpu: Used { client: used.client / requests, servers: used.servers / requests },
        })
    }
}

impl Sample {
    /// Returns the median of a figure over the rounds.
    pub fn median(&self, figure: impl Fn(&Round) -> f64) -> f64 {
        median(self.rounds.iter().map(figure))
    }

    /// The median over the rounds of this sample's figure divided by the other's in the same round.
    pub fn ratio(&self, other: &Self, figure: impl Fn(&Round) -> f64) -> f64 {
        median(self.rounds.iter().zip(&other.rounds).map(|(own, other)| figure(own) / figure(other)))
    }
}

/// Of times in their order, the one below which so many in a hundred are; nothing where there are none.
pub fn percentile(sorted: &[Duration], percent: usize) -> Duration {
    let at = (sorted.len() * percent / 100).min(sorted.len().saturating_sub(1));
    sorted.get(at).copied().unwrap_or_default()
}

pub fn millis(time: Duration) -> f64 {
    time.as_secs_f64() * 1e3
}

/// The middle one.
pub fn median(figures: impl Iterator<Item = f64>) -> f64 {
    let mut figures: Vec<f64> = figures.collect();
    figures.sort_unstable_by(f64::total_cmp);
    let middle = figures.len() / 2;
    if figures.len() % 2 == 1 { figures[middle] } else { (figures[middle - 1] + figures[middle]) / 2.0 }
}
