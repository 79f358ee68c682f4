//! Commands that a step runs one after the other, against a client that sends them one at a time over a Unix socket.

use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

use super::execute;
use crate::Failure;
use crate::common::{Cluster, Server, elements, show};
use crate::comparison::{Aim, Limit};
use crate::rounds::{Effort, median};

/// The measurement as filters see it.
pub const NAME: &str = "gears: commands in a step";

/// The number of commands in a row.
const COMMANDS: usize = 20_000;

/// The aim as a part of the other client's rate.
const LEAST: f64 = 0.6;

/// Runs the commands in one step; its result is the time that they took there.
const SCRIPT: &str = "
import time
def f(key):
    began = time.perf_counter()
    for _ in range(20000):
        execute('GET', key)
    return time.perf_counter() - began
def many(key):
    began = time.perf_counter()
    for _ in range(200):
        execute_many([('GET', key)] * 100)
    return time.perf_counter() - began
GB('PythonReader').map(FUNCTION).run(lambda: (key for key in ['of:{%s}' % hashtag()]), mode='async_local')";

/// Measures both, and prints the rates.
pub fn measure(cluster: &Cluster, effort: &Effort, comparisons: &mut Vec<(String, Aim)>) -> Result<(), Failure> {
    let node = cluster.node(0);
    let (_, put) = execute(node, "execute('SET', 'of:{%s}' % hashtag(), 'some value')")?;
    if put != b"+OK\r\n" {
        return Err(show(&put).into());
    }
    let key = show(&node.wire().call(&["KEYS", "of:*"])).trim_matches(['[', ']', '"']).to_owned();
    let (mut own, mut many, mut raw) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..effort.rounds.min(super::MOST_ROUNDS) {
        own.push(in_a_step(node, "f")?);
        many.push(in_a_step(node, "many")?);
        raw.push(one_at_a_time(node, &key)?.as_secs_f64());
    }
    let ratio = median(own.iter().zip(&raw).map(|(own, raw)| raw / own));
    println!("| {COMMANDS} times GET | commands/s |\n|---|--:|");
    for (name, times) in
        [("execute() in a step", own), ("execute_many() of 100", many), ("one at a time over a Unix socket", raw)]
    {
        println!("| {name} | {:.0} |", COMMANDS as f64 / median(times.into_iter()));
    }
    println!();
    comparisons.push((
        format!("{NAME}: execute() has {ratio:.2} of the rate of a client that sends one at a time over a Unix socket"),
        Aim::of(Limit::AtLeast(LEAST), ratio),
    ));
    Ok(())
}

fn in_a_step(node: &Server, function: &str) -> Result<f64, Failure> {
    let (_, reply) = execute(node, &SCRIPT.replace("FUNCTION", function))?;
    let results = elements(&reply).first().map(|list| elements(list)).unwrap_or_default();
    let [result] = results[..] else { return Err(show(&reply).into()) };
    Ok(show(result).trim_matches('"').parse()?)
}

fn one_at_a_time(node: &Server, key: &str) -> Result<Duration, Failure> {
    let mut stream = UnixStream::connect(node.dir().join("socket"))?;
    let request = format!("*2\r\n$3\r\nGET\r\n${}\r\n{key}\r\n", key.len());
    let mut buffer = [0; 256];
    let began = Instant::now();
    for _ in 0..COMMANDS {
        stream.write_all(request.as_bytes())?;
        let length = stream.read(&mut buffer)?;
        if !buffer[..length].ends_with(b"value\r\n") {
            return Err(String::from_utf8_lossy(&buffer[..length]).into_owned().into());
        }
    }
    Ok(began.elapsed())
}
