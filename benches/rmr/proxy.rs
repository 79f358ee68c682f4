//! `rmr-proxy` beside nutcracker and beside no proxy at all, before the same servers and in the same rounds.
//!
//! The load is that of `redis-benchmark`: 50 clients, values of 100 bytes, a hundred thousand keys. The cost of a proxy is told
//! by its processor time for each request, which other programs of the machine disturb less than they do its rate.

use std::fs;
use std::net::TcpStream;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use rmr::testing::{eventually, free_port};

use crate::Failure;
use crate::common::{Cluster, RmrProxy, Server};
use crate::comparison::{Aim, Limit, line};
use crate::cpu::process_time;
use crate::rounds::{Effort, median};

/// The measurement as filters see it.
pub const NAME: &str = "proxy";

/// The aims as parts of nutcracker's figures.
const LEAST_RATE: f64 = 1.0;
const MOST_CPU: f64 = 1.3;
const LEAST_RATE_OF_A_CORE: f64 = 1.5;
const LEAST_RATE_OF_MANY_KEYS: f64 = 2.0;

/// One kind of load.
pub struct Load {
    pub what: &'static str,
    args: &'static [&'static str],
    /// The number of requests that a client has under way.
    pub deep: usize,
    requests: usize,
}

pub const LOADS: [Load; 5] = [
    Load { what: "GET", args: &["-t", "get"], deep: 1, requests: 60_000 },
    Load { what: "SET", args: &["-t", "set"], deep: 1, requests: 60_000 },
    Load { what: "GET, 16 deep", args: &["-t", "get"], deep: 16, requests: 300_000 },
    Load { what: "SET, 16 deep", args: &["-t", "set"], deep: 16, requests: 300_000 },
    Load { what: MANY_KEYS, args: &[], deep: 1, requests: 6_000 },
];

pub const MANY_KEYS: &str = "MGET of 100 keys";

/// The figures of one run.
#[derive(Debug, Clone, Copy)]
pub struct Figures {
    pub rate: f64,
    pub p50_ms: f64,
    pub p99_ms: f64,
    /// Microseconds of the proxy for each request.
    pub cpu_us: f64,
}

/// The server or proxy that clients speak to.
pub struct Target {
    name: &'static str,
    port: u16,
    /// The proxy, if there is one.
    pid: Option<u32>,
    /// More arguments for `redis-benchmark`.
    args: &'static [&'static str],
}

impl Target {
    /// A server that is asked directly.
    pub fn server(name: &'static str, server: &Server) -> Self {
        Self { name, port: server.port(), pid: None, args: &[] }
    }

    /// rmr-proxy.
    pub fn proxy(name: &'static str, proxy: &RmrProxy) -> Self {
        Self { name, port: proxy.port(), pid: Some(proxy.pid()), args: &[] }
    }
}

/// nutcracker, which ends with this value.
pub struct Nutcracker {
    process: Child,
    port: u16,
}

impl Drop for Nutcracker {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

impl Nutcracker {
    /// Starts it; `None` where it is not installed.
    pub fn before(servers: &[Server]) -> Result<Option<Self>, Failure> {
        let (port, stats_port) = (free_port(), free_port());
        let list: String = servers.iter().map(|server| format!("   - 127.0.0.1:{}:1\n", server.port())).collect();
        let config = format!(
            "all:\n  listen: 127.0.0.1:{port}\n  hash: fnv1a_64\n  distribution: ketama\n  redis: true\n  servers:\n{list}"
        );
        let path = servers[0].dir().join("nutcracker.yml");
        fs::write(&path, config)?;
        let started = Command::new("nutcracker")
            .arg("-c")
            .arg(&path)
            .args(["-m", "16384", "-s", &stats_port.to_string()])
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn();
        let process = match started {
            Ok(process) => process,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error.into()),
        };
        let nutcracker = Self { process, port };
        eventually(Duration::from_secs(10), "nutcracker listens", || TcpStream::connect(("127.0.0.1", port)).is_ok());
        Ok(Some(nutcracker))
    }

    /// It as something that clients speak to.
    pub fn target(&self) -> Target {
        Target { name: "nutcracker", port: self.port, pid: Some(self.process.id()), args: &[] }
    }
}

/// Measures, and prints.
pub fn run(effort: &Effort) -> Result<(), Failure> {
    let servers: Vec<Server> = (0..3).map(|_| Server::builder().module(false).start()).collect();
    let proxy = RmrProxy::before_list(&servers).start();
    let nutcracker = Nutcracker::before(&servers)?;
    let direct = Target::server("one server, directly", &servers[0]);
    let ours = Target::proxy("**rmr-proxy**", &proxy);
    let theirs = nutcracker.as_ref().map(Nutcracker::target);
    println!("## rmr-proxy, 3 plain servers, 50 clients, values of 100 bytes\n");
    let targets: Vec<&Target> = [Some(&ours), theirs.as_ref(), Some(&direct)].into_iter().flatten().collect();
    for load in &LOADS {
        let figures = compare(load, &targets, effort)?;
        if theirs.is_some() {
            judge(load, figures[0], figures[1], effort);
        }
        if load.deep == 1 && load.what != MANY_KEYS {
            latency(load, &ours, &direct, effort)?;
        }
        println!();
    }
    println!("## rmr-proxy before a cluster of 3 shards\n");
    let cluster = Cluster::builder().module(false).start();
    let proxy = RmrProxy::before(&cluster).start();
    let port = cluster.node(0).port();
    let ours = Target::proxy("**rmr-proxy**", &proxy);
    let direct = Target { name: "`redis-benchmark --cluster`", port, pid: None, args: &["--cluster"] };
    for load in LOADS.iter().filter(|load| load.what != MANY_KEYS) {
        compare(load, &[&ours, &direct], effort)?;
        println!();
    }
    Ok(())
}

/// Returns the number of rounds. A run takes seconds, so there are fewer than of other measurements.
fn rounds(effort: &Effort) -> usize {
    effort.rounds.min(5)
}

/// Runs a load against all targets in turns, and prints the medians.
pub fn compare(load: &Load, targets: &[&Target], effort: &Effort) -> Result<Vec<Figures>, Failure> {
    let mut runs: Vec<Vec<Figures>> = targets.iter().map(|_| Vec::new()).collect();
    for _ in 0..rounds(effort) {
        for (target, runs) in targets.iter().zip(&mut runs) {
            runs.push(measure(load, target, &[])?);
        }
    }
    println!(
        "| {} | requests/s | p50 ms | p99 ms | CPU of the proxy, us a request |\n|---|--:|--:|--:|--:|",
        load.what
    );
    let mut all = Vec::new();
    for (target, runs) in targets.iter().zip(runs) {
        let of = |figure: fn(&Figures) -> f64| median(runs.iter().map(figure));
        let [rate, p50_ms, p99_ms, cpu_us] =
            [of(|run| run.rate), of(|run| run.p50_ms), of(|run| run.p99_ms), of(|run| run.cpu_us)];
        let figures = Figures { rate, p50_ms, p99_ms, cpu_us };
        let cpu = if target.pid.is_some() { format!("{:.1}", figures.cpu_us) } else { String::new() };
        println!("| {} | {rate:.0} | {p50_ms:.2} | {p99_ms:.2} | {cpu} |", target.name);
        all.push(figures);
    }
    println!();
    Ok(all)
}

/// Says how two proxies compare.
pub fn judge(load: &Load, ours: Figures, theirs: Figures, effort: &Effort) {
    let rate = ours.rate / theirs.rate;
    let say = |text: String, limit, figure| line(&text, Aim::of(limit, figure), effort);
    if load.what == MANY_KEYS {
        say(format!("{}: {rate:.2} of nutcracker's rate", load.what), Limit::AtLeast(LEAST_RATE_OF_MANY_KEYS), rate);
    } else if load.deep == 1 {
        let cpu = ours.cpu_us / theirs.cpu_us;
        say(format!("{}: {rate:.2} of nutcracker's rate", load.what), Limit::AtLeast(LEAST_RATE), rate);
        say(format!("{}: {cpu:.2} of nutcracker's CPU a request", load.what), Limit::AtMost(MOST_CPU), cpu);
    } else {
        let of_a_core = theirs.cpu_us / ours.cpu_us;
        let text = format!("{}: {of_a_core:.2} of nutcracker's rate for each core", load.what);
        say(text, Limit::AtLeast(LEAST_RATE_OF_A_CORE), of_a_core);
    }
}

/// Compares the answers at about half load.
pub fn latency(load: &Load, ours: &Target, direct: &Target, effort: &Effort) -> Result<(), Failure> {
    /// The option for two clients, so that nobody waits for a processor.
    const FEW: [&str; 2] = ["-c", "2"];
    /// The aims, in milliseconds.
    const MOST_ADDED: [(&str, Limit); 2] = [("median", Limit::AtMost(0.15)), ("99th percentile", Limit::Below(0.2))];
    let mut added = [Vec::new(), Vec::new()];
    for _ in 0..rounds(effort) {
        let (ours, direct) = (measure(load, ours, &FEW)?, measure(load, direct, &FEW)?);
        added[0].push(ours.p50_ms - direct.p50_ms);
        added[1].push(ours.p99_ms - direct.p99_ms);
    }
    for ((which, limit), added) in MOST_ADDED.into_iter().zip(added) {
        let added = median(added.into_iter());
        let text = format!("{}: {added:.2} ms added to the {which} of 2 clients", load.what);
        line(&text, Aim::of(limit, added), effort);
    }
    Ok(())
}

/// Runs `redis-benchmark` once.
fn measure(load: &Load, target: &Target, more: &[&str]) -> Result<Figures, Failure> {
    let cpu = || target.pid.map_or(Ok(Duration::ZERO), process_time);
    let before = cpu()?;
    let mut benchmark = Command::new("redis-benchmark");
    benchmark.args(["-p", &target.port.to_string(), "-c", "50", "-d", "100", "-r", "100000", "--csv"]);
    benchmark.args(["-n", &load.requests.to_string(), "-P", &load.deep.to_string()]).args(target.args).args(more);
    benchmark.args(load.args);
    if load.args.is_empty() {
        benchmark.arg("MGET").args(["key:__rand_int__"; 100]);
    }
    let output = benchmark.stderr(Stdio::null()).output()?;
    let text = String::from_utf8_lossy(&output.stdout);
    // "test","rps","avg_latency_ms","min_latency_ms","p50_latency_ms","p95_latency_ms","p99_latency_ms","max_latency_ms"
    let row = text.lines().rev().find(|row| row.starts_with('"') && !row.contains("\"rps\""));
    let row = row.ok_or_else(|| format!("redis-benchmark says nothing for {}: {text}", load.what))?;
    let cells: Vec<&str> = row.split("\",\"").map(|cell| cell.trim_matches('"')).collect();
    let number = |at: usize| -> Result<f64, Failure> { Ok(cells.get(at).ok_or("a short row")?.parse()?) };
    let spent = cpu()? - before;
    let cpu_us = spent.as_secs_f64() * 1e6 / load.requests as f64;
    Ok(Figures { rate: number(1)?, p50_ms: number(4)?, p99_ms: number(6)?, cpu_us })
}
