//! Ten thousand commands to many plain hosts at once: by the library, through the module, and by the Python library rb.
//!
//! All of them do the same in each round, one right after the other, from the first command to the last value read: the
//! library by a mapping with a promise for each command, the module by one `RMR.BATCH`, rb by its `cluster.map()`.

use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Command as Program, Stdio};
use std::time::{Duration, Instant};

use rmr::client::Promise;
use rmr::testing::Servers;
use rmr::{Client, Command};

use crate::Failure;
use crate::common::{Server, Wire, target_dir};
use crate::comparison::{Aim, Limit, line};
use crate::rounds::{Effort, median};

/// The number of commands.
const COUNT: usize = 10_000;

/// The factor by which the library was aimed to be faster than rb.
const LEAST_TO_RB: f64 = 10.0;

/// The number of hosts.
#[derive(Debug, Clone, Copy)]
pub struct Case {
    pub hosts: usize,
}

impl Case {
    /// Returns the case as filters see it.
    pub fn name(self) -> String {
        format!("mapping of {COUNT} commands, {} hosts", self.hosts)
    }
}

/// Returns the table.
pub fn all() -> Vec<Case> {
    [8, 32].map(|hosts| Case { hosts }).to_vec()
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Work {
    Set,
    Get,
}

impl Work {
    fn name(self) -> &'static str {
        match self {
            Self::Set => "SET",
            Self::Get => "GET",
        }
    }
}

/// The clients that are measured against each other.
enum Contender {
    Library(Client),
    Plain(Client),
    Module(Wire),
    Rb(Rb),
}

impl Contender {
    fn name(&self) -> &'static str {
        match self {
            Self::Library(_) => "**the library**, `client.map()`",
            Self::Plain(_) => "the library without auto-batching",
            Self::Module(_) => "**the module**, one `RMR.BATCH`",
            Self::Rb(_) => "rb, `cluster.map()`",
        }
    }

    async fn run(&mut self, work: Work) -> Result<Duration, Failure> {
        let began = Instant::now();
        match self {
            Self::Library(client) | Self::Plain(client) => by_library(client, work).await?,
            Self::Module(wire) => through_module(wire, work)?,
            Self::Rb(rb) => return rb.run(work),
        }
        Ok(began.elapsed())
    }
}

async fn by_library(client: &Client, work: Work) -> Result<(), Failure> {
    let mut map = client.map();
    let send = |number: usize| {
        let key = format!("foo:{number}");
        map.send(match work {
            Work::Set => Command::new("SET").arg(key).arg(number),
            Work::Get => Command::new("GET").arg(key),
        })
    };
    let promises: Vec<Promise<rmr::Reply>> = (0..COUNT).map(send).collect();
    map.join().await;
    let mut sum = 0;
    for promise in promises {
        let reply = promise.outcome().ok_or("a promise was not settled")??;
        sum += reply.integer().unwrap_or(0);
    }
    check(work, sum)
}

fn through_module(wire: &mut Wire, work: Work) -> Result<(), Failure> {
    let mut args: Vec<Vec<u8>> = vec![b"RMR.BATCH".to_vec()];
    for number in 0..COUNT {
        let key = format!("foo:{number}");
        let words: &[&str] = match work {
            Work::Set => &[&key, "1", "3", "SET", &key, &number.to_string()],
            Work::Get => &[&key, "1", "2", "GET", &key],
        };
        args.extend(words.iter().map(|word| word.as_bytes().to_vec()));
    }
    wire.send(&args);
    let frame = wire.read_frame();
    let mut lines = frame.split(|&byte| byte == b'\n').map(|line| line.strip_suffix(b"\r").unwrap_or(line));
    let head = format!("*{}", COUNT * 2);
    if lines.next() != Some(head.as_bytes()) {
        return Err(String::from_utf8_lossy(&frame[..frame.len().min(200)]).into_owned().into());
    }
    let mut sum = 0;
    // Key, its length before it, an array of one, and a value, a status or a string behind its length.
    while let Some(line) = lines.next() {
        if line == b"*1" && lines.next().is_some_and(|head| head.starts_with(b"$")) {
            let value = lines.next().and_then(|text| std::str::from_utf8(text).ok()?.parse::<i64>().ok());
            sum += value.ok_or("a value that is no number")?;
        }
    }
    check(work, sum)
}

fn check(work: Work, sum: i64) -> Result<(), Failure> {
    let expected = if work == Work::Get { (COUNT * (COUNT - 1) / 2) as i64 } else { 0 };
    if sum == expected { Ok(()) } else { Err(format!("a wrong answer: {sum} where {expected} is right").into()) }
}

/// The program of rb, which runs as long as this value lives.
struct Rb {
    child: Child,
    input: ChildStdin,
    output: BufReader<ChildStdout>,
}

impl Rb {
    /// Starts it, in a Python of its own below the target directory.
    fn start(servers: &Servers) -> Result<Self, Failure> {
        let root = Path::new(env!("CARGO_MANIFEST_DIR"));
        let dir = target_dir().join("python-rb");
        let made =
            Program::new(root.join("scripts/python.sh")).arg(&dir).args(["rb==1.10.0", "redis==4.6.0"]).output()?;
        if !made.status.success() {
            return Err(String::from_utf8_lossy(&made.stderr).trim().to_owned().into());
        }
        let ports = servers.iter().map(|server| server.port().to_string());
        let mut child = Program::new(dir.join("bin/python3"))
            .arg("-B")
            .arg(root.join("benches/rmr/rb_map.py"))
            .args(ports)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()?;
        let (input, output) = (child.stdin.take().ok_or("no input")?, child.stdout.take().ok_or("no output")?);
        Ok(Self { child, input, output: BufReader::new(output) })
    }

    /// Runs one round, and returns its time by its own clock.
    fn run(&mut self, work: Work) -> Result<Duration, Failure> {
        writeln!(self.input, "{}", work.name())?;
        let mut line = String::new();
        self.output.read_line(&mut line)?;
        Ok(Duration::from_secs_f64(line.trim().parse().map_err(|_| format!("rb says '{}'", line.trim()))?))
    }
}

impl Drop for Rb {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Measures the cases and prints what came out, the comparisons last.
pub fn run(cases: &[Case], effort: &Effort) -> Result<(), Failure> {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    let mut comparisons = Vec::new();
    for case in cases {
        runtime.block_on(measure(*case, effort, &mut comparisons))?;
    }
    for (text, ratio) in comparisons {
        line(&text, Aim::of(Limit::AtLeast(LEAST_TO_RB), ratio), effort);
    }
    Ok(())
}

async fn measure(case: Case, effort: &Effort, comparisons: &mut Vec<(String, f64)>) -> Result<(), Failure> {
    let servers = Servers::start(case.hosts);
    let list: Vec<String> = servers.iter().map(|server| server.address().to_string()).collect();
    let coordinator = Server::builder().module_args(["nodes", &list.join(" ")]).start();
    let client = servers.client();
    let mut contenders = vec![
        Contender::Library(client.clone()),
        Contender::Plain(client.auto_batch(false)),
        Contender::Module(coordinator.wire()),
    ];
    match Rb::start(&servers) {
        Ok(rb) => contenders.push(Contender::Rb(rb)),
        Err(why) => println!("rb is left out, since it cannot be had: {why}\n"),
    }
    let rounds = effort.rounds.min(7);
    println!("{COUNT} commands over {} hosts; medians of {rounds} interleaved rounds.\n", case.hosts);
    println!("| commands | through | ms | commands/s | times faster than rb |\n|---|---|--:|--:|--:|");
    for work in [Work::Set, Work::Get] {
        let mut times: Vec<Vec<f64>> = contenders.iter().map(|_| Vec::new()).collect();
        for contender in &mut contenders {
            contender.run(work).await?;
        }
        for _ in 0..rounds {
            for (contender, times) in contenders.iter_mut().zip(&mut times) {
                times.push(contender.run(work).await?.as_secs_f64());
            }
        }
        let rb = contenders.iter().position(|contender| matches!(contender, Contender::Rb(_)));
        for (at, contender) in contenders.iter().enumerate() {
            let took = median(times[at].iter().copied());
            let ratio = rb.map(|rb| median(times[rb].iter().zip(&times[at]).map(|(rb, own)| rb / own)));
            let (name, through) = (work.name(), contender.name());
            let shown = ratio.map_or_else(String::new, |ratio| format!("{ratio:.1}"));
            println!("| {name} | {through} | {:.1} | {:.0} | {shown} |", took * 1e3, COUNT as f64 / took);
            if let (Contender::Library(_), Some(ratio)) = (contender, ratio) {
                let hosts = case.hosts;
                let text =
                    format!("{COUNT} {name}s over {hosts} hosts by the library are {ratio:.1} times faster than by rb");
                comparisons.push((text, ratio));
            }
        }
    }
    println!();
    Ok(())
}
