//! Functions on events: what a registration costs the commands whose events it waits for, and how many calls of a name there
//! are in a second.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use super::{execute, pings_at};
use crate::Failure;
use crate::common::{Cluster, Server, elements, show};
use crate::comparison::{Aim, Limit};
use crate::rounds::{Effort, median, millis, percentile};

/// The measurement as filters see it.
pub const NAME: &str = "gears: events";

/// The number of commands that are under way at the same time.
const IN_FLIGHT: usize = 16;

/// The number of commands that one turn has.
const COMMANDS: usize = 32_000;

/// The aim for the 99th percentile of pings, in milliseconds.
const MOST_PING: f64 = 2.0;

/// A command whose events a registration waits for.
struct EventCase {
    what: &'static str,
    script: &'static str,
    /// `{}` is the number of the command.
    command: &'static [&'static str],
    /// The aim as a part of the rate without a registration.
    least: f64,
    /// Says whether the server waits for the function.
    is_sync: bool,
}

const CASES: [EventCase; 3] = [
    EventCase {
        what: "SET, async_local",
        script: "GB().foreach(lambda x: None).register(prefix='e:*', mode='async_local')",
        command: &["SET", "e:{}", "value"],
        least: 0.7,
        is_sync: false,
    },
    EventCase {
        what: "SET, sync",
        script: "GB().foreach(lambda x: None).register(prefix='e:*', mode='sync')",
        command: &["SET", "e:{}", "value"],
        least: 0.3,
        is_sync: true,
    },
    EventCase {
        what: "XADD, batches of 100",
        script: "GB('StreamReader').foreach(lambda x: None).register(prefix='s:*', mode='async_local', batch=100, duration=10)",
        command: &["XADD", "s:1", "*", "field", "value {}"],
        least: 0.7,
        is_sync: false,
    },
];

/// Measures all, and prints the figures.
pub fn measure(cluster: &Cluster, effort: &Effort, comparisons: &mut Vec<(String, Aim)>) -> Result<(), Failure> {
    commands(effort, comparisons)?;
    triggers(cluster, effort, comparisons)
}

fn commands(effort: &Effort, comparisons: &mut Vec<(String, Aim)>) -> Result<(), Failure> {
    let server = super::start_one();
    let node = &server;
    println!("| {IN_FLIGHT} in flight, one server | a second | without | part | PING p99 ms |\n|---|--:|--:|--:|--:|");
    for case in &CASES {
        let (mut with, mut without, mut pings) = (Vec::new(), Vec::new(), Vec::new());
        for _ in 0..effort.rounds.min(super::MOST_ROUNDS) {
            node.run::<()>(&["FLUSHALL"]);
            let (_, reply) = execute(node, case.script)?;
            if show(&reply).contains("cannot run functions with the events") {
                break;
            }
            if reply != b"+OK\r\n" {
                return Err(show(&reply).into());
            }
            let mut time = Duration::ZERO;
            pings.extend(pings_at(&[node], || {
                time = send(node, case.command)?;
                Ok(())
            })?);
            with.push(time.as_secs_f64());
            unregister(node)?;
            node.run::<()>(&["FLUSHALL"]);
            without.push(send(node, case.command)?.as_secs_f64());
        }
        if with.is_empty() {
            println!("| {} | this server has no sync on keys | | | |", case.what);
            continue;
        }
        let part = median(with.iter().zip(&without).map(|(with, without)| without / with));
        pings.sort_unstable();
        let p99 = millis(percentile(&pings, 99));
        let rate = |times: Vec<f64>| COMMANDS as f64 / median(times.into_iter());
        println!("| {} | {:.0} | {:.0} | {part:.2} | {p99:.2} |", case.what, rate(with), rate(without));
        let name = format!("{NAME}: {}", case.what);
        let text = format!("{name}: {part:.2} of the rate without a registration");
        comparisons.push((text, Aim::of(Limit::AtLeast(case.least), part)));
        if !case.is_sync {
            let text = format!("{name}: PING meanwhile: p99 is {p99:.2} ms");
            comparisons.push((text, Aim::of(Limit::Below(MOST_PING), p99)));
        }
    }
    println!();
    Ok(())
}

/// Sends the commands, so many at the same time; returns how long that took.
fn send(node: &Server, command: &[&str]) -> Result<Duration, Failure> {
    let mut connection = node.connection();
    let pipeline = |first: usize| {
        let mut pipeline = redis::pipe();
        for number in first..first + IN_FLIGHT {
            let words = command.iter().map(|word| word.replace("{}", &number.to_string()));
            pipeline.add_command(words.fold(redis::Cmd::new(), |mut cmd, word| cmd.arg(word).to_owned())).ignore();
        }
        pipeline
    };
    let pipelines: Vec<_> = (0..COMMANDS).step_by(IN_FLIGHT).map(pipeline).collect();
    let began = Instant::now();
    for pipeline in &pipelines {
        pipeline.query::<()>(&mut connection)?;
    }
    Ok(began.elapsed())
}

/// Removes the registration, with what it has not begun.
fn unregister(node: &Server) -> Result<(), Failure> {
    let listed = node.wire().call(&["RG.DUMPREGISTRATIONS"]);
    let first = elements(&listed).first().map(|first| elements(first)).ok_or("there is no registration")?;
    let id = show(first[1]).trim_matches('"').to_owned();
    node.run::<()>(&["RG.UNREGISTER", &id, "ABORTPENDING"]);
    Ok(())
}

fn triggers(cluster: &Cluster, effort: &Effort, comparisons: &mut Vec<(String, Aim)>) -> Result<(), Failure> {
    /// The aim in events a second: more than RedisGears 1.2.13 once had on two cores.
    const LEAST: f64 = 3000.0;
    /// The aim as a part of the rate of `PING`.
    const LEAST_SYNC: f64 = 0.4;
    let node = cluster.node(0);
    for mode in ["async", "async_local", "sync"] {
        let script = format!("GB('CommandReader').map(lambda x: x[1]).register(trigger='{mode}', mode='{mode}')");
        let (_, reply) = execute(node, &script)?;
        if reply != b"+OK\r\n" {
            return Err(show(&reply).into());
        }
    }
    let time = effort.turn * 10;
    let rate = |words: &[&str]| calls(node, words, time);
    println!("| {IN_FLIGHT} in flight, 3 shards | a second |\n|---|--:|");
    let (all, local) = (rate(&["RG.TRIGGER", "async", "x"])?, rate(&["RG.TRIGGER", "async_local", "x"])?);
    let (sync, ping) = (rate(&["RG.TRIGGER", "sync", "x"])?, rate(&["PING"])?);
    for (what, rate) in [("async", all), ("async_local", local), ("sync", sync)] {
        println!("| `RG.TRIGGER`, {what} | {rate:.0} |");
    }
    println!("| `PING` | {ping:.0} |\n");
    comparisons.push((format!("{NAME}: RG.TRIGGER async: {all:.0} a second"), Aim::of(Limit::AtLeast(LEAST), all)));
    let text = format!("{NAME}: RG.TRIGGER sync: {:.2} of the rate of PING", sync / ping);
    comparisons.push((text, Aim::of(Limit::AtLeast(LEAST_SYNC), sync / ping)));
    Ok(())
}

/// Calls from so many connections at the same time; returns how many calls there were in a second.
fn calls(node: &Server, words: &[&str], time: Duration) -> Result<f64, Failure> {
    let (is_over, done) = (AtomicBool::new(false), AtomicU64::new(0));
    let (is_over, done) = (&is_over, &done);
    let client = || {
        let mut wire = crate::common::Wire::try_connect(node.port(), super::PATIENCE)?;
        while !is_over.load(Ordering::Relaxed) {
            let reply = wire.try_call(words)?;
            if reply.starts_with(b"-") {
                return Err(show(&reply).into());
            }
            done.fetch_add(1, Ordering::Relaxed);
        }
        Ok::<(), Failure>(())
    };
    thread::scope(|scope| {
        let clients: Vec<_> = (0..IN_FLIGHT).map(|_| scope.spawn(client)).collect();
        let began = Instant::now();
        thread::sleep(time);
        let rate = done.load(Ordering::Relaxed) as f64 / began.elapsed().as_secs_f64();
        is_over.store(true, Ordering::Relaxed);
        for client in clients {
            client.join().map_err(|_| "a client panicked")??;
        }
        Ok(rate)
    })
}
