//! Moving a million keys, and one big value, beside `MIGRATE` by hand and `redis-cli --cluster reshard`.

use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use super::traffic::{Traffic, Waits, both};
use super::world::World;
use crate::Failure;
use crate::common::{Cluster, Server};
use crate::comparison::{Aim, Limit, line};
use crate::rounds::{Effort, median, millis, percentile};

/// The aims: seconds for a million keys, idle and busy; the 99th percentile of clients as a multiple of that before;
/// milliseconds for which a write waits, and any request of a node from which a big value moves.
const LONGEST_IDLE: f64 = 12.0;
const LONGEST_BUSY: f64 = 30.0;
const MOST_WAIT: f64 = 3.0;
const LONGEST_WRITE: f64 = 50.0;
const LONGEST_BESIDE_BIG: f64 = 50.0;

/// The claim S8, in milliseconds.
const P99_OF_LOCKS: f64 = 50.0;

/// Requests a second while keys move, and by how many clients that read, and as many that write.
const RATE: usize = 20_000;
const CLIENTS: usize = 8;

/// The time for which clients run before.
const BEFORE: Duration = Duration::from_secs(3);

/// The number of keys of one `MIGRATE`.
const KEYS_OF_MIGRATE: usize = 100;

/// The number of slots of 16384 that `redis-cli` moves.
const RESHARDED: usize = 1024;

/// Times many keys.
pub fn run_keys(effort: &Effort) -> Result<(), Failure> {
    let (keys, rounds) = if effort.thrift == 1 { (1_000_000, 3) } else { (100_000, 1) };
    println!("## Placement: {keys} keys of 100 bytes move from one node to another\n");
    println!("| how | s | keys/s |\n|---|--:|--:|");
    let mut times: [Vec<f64>; 3] = Default::default();
    for _ in 0..rounds {
        times[0].push(by_placement(keys)?);
        times[1].push(by_migrate(keys)?);
        times[2].push(keys as f64 / resharded_a_second(keys)?);
    }
    let [ours, migrate, reshard] = times.map(|times| median(times.into_iter()));
    let row = |how: &str, seconds: f64| println!("| {how} | {seconds:.1} | {:.0} |", keys as f64 / seconds);
    row("**rmr-proxy**", ours);
    row("`SCAN` and `MIGRATE` of 100 keys, by hand", migrate);
    row(&format!("`redis-cli --cluster reshard`, from {RESHARDED} of 16384 slots"), reshard);
    println!();
    let million = keys as f64 / 1e6;
    let text = format!("a move of {keys} keys: {ours:.1} s, {:.2} of `MIGRATE` by hand", ours / migrate);
    line(&text, Aim::of(Limit::AtMost(LONGEST_IDLE * million), ours), effort);
    busy(keys, effort)?;
    println!();
    Ok(())
}

/// Starts two nodes of which the first one has the keys, and plans that the other gets them.
fn full_and_empty(keys: usize) -> World {
    let world = World::with_nodes_outside(1, 2, 1);
    fill(&world.nodes[0], keys);
    world.let_leave(&world.nodes[0], &world.nodes[1]);
    world
}

fn fill(server: &Server, keys: usize) {
    server.run::<String>(&["DEBUG", "POPULATE", &keys.to_string(), "key", "100"]);
}

/// Returns how many seconds pass until all keys are served by the other node.
fn by_placement(keys: usize) -> Result<f64, Failure> {
    let world = full_and_empty(keys);
    let began = Instant::now();
    world.move_all();
    let took = began.elapsed();
    check(&world, keys)?;
    Ok(took.as_secs_f64())
}

fn check(world: &World, keys: usize) -> Result<(), Failure> {
    world.await_cleaned();
    let [left, moved] = [&world.nodes[0], &world.nodes[1]].map(|node| node.run::<usize>(&["DBSIZE"]));
    if (left, moved) != (0, keys) {
        return Err(format!("{left} keys are left and {moved} have moved, of {keys}").into());
    }
    Ok(())
}

/// Moves while clients read and write.
fn busy(keys: usize, effort: &Effort) -> Result<(), Failure> {
    let world = full_and_empty(keys);
    let proxy = &world.proxies[0];
    let (reads, writes) =
        (Traffic::reads(proxy, CLIENTS, RATE / 2, 0..keys), Traffic::writes(proxy, CLIENTS, RATE / 2, 0..keys));
    let (before, ()) = both(&reads, &writes, || thread::sleep(BEFORE))?;
    let (during, took) = both(&reads, &writes, || {
        let began = Instant::now();
        world.move_all();
        began.elapsed().as_secs_f64()
    })?;
    check(&world, keys)?;
    println!(
        "| {RATE} requests a second wanted | requests/s | p50 ms | p99 ms | longest ms | errors |\n|---|--:|--:|--:|--:|--:|"
    );
    let row = |what: &str, waits: Waits, seconds: f64| {
        let rate = waits.count as f64 / seconds;
        println!("| {what} | {rate:.0} | {:.2} | {:.2} | {:.1} | {} |", waits.p50, waits.p99, waits.max, waits.errors);
    };
    for (what, waits) in ["reads", "writes"].into_iter().zip(before) {
        row(&format!("{what} before"), waits, BEFORE.as_secs_f64());
    }
    for (what, waits) in ["reads", "writes"].into_iter().zip(during) {
        row(&format!("{what} while keys move"), waits, took);
    }
    println!();
    let million = keys as f64 / 1e6;
    let say = |text: String, most, figure| line(&text, Aim::of(Limit::AtMost(most), figure), effort);
    say(format!("a move of {keys} keys while clients work: {took:.1} s"), LONGEST_BUSY * million, took);
    for (what, (before, during)) in ["reads", "writes"].into_iter().zip(before.into_iter().zip(during)) {
        let ratio = during.p99 / before.p99;
        say(format!("{what} while keys move: p99 is {ratio:.1} times that before"), MOST_WAIT, ratio);
    }
    let longest = during[1].max;
    say(format!("writes while keys move: the longest {longest:.0} ms"), LONGEST_WRITE, longest);
    let locks = locks(&proxy.log());
    let p99 = millis(percentile(&locks, 99));
    let longest = millis(percentile(&locks, 100));
    say(
        format!(
            "writes of a slot wait for its move: p99 of {} slots {p99:.1} ms, longest {longest:.1} ms",
            locks.len()
        ),
        P99_OF_LOCKS,
        p99,
    );
    Ok(())
}

/// Returns for how long slots were locked, by the log of the proxy that moved them, in order of that.
fn locks(log: &str) -> Vec<Duration> {
    let lock = |line: &str| {
        let text = line.split("was locked for ").nth(1)?.split(' ').next()?;
        // As durations are shown.
        let unit = text.trim_start_matches(|one: char| one.is_ascii_digit() || one == '.');
        let scale = match unit {
            "s" => 1.0,
            "ms" => 1e-3,
            "µs" => 1e-6,
            _ => return None,
        };
        Some(Duration::from_secs_f64(text.strip_suffix(unit)?.parse::<f64>().ok()? * scale))
    };
    let mut locks: Vec<Duration> = log.lines().filter_map(lock).collect();
    locks.sort_unstable();
    locks
}

/// Returns how many seconds it takes to have one server send all its keys to another.
fn by_migrate(keys: usize) -> Result<f64, Failure> {
    let [from, to] = [(); 2].map(|()| Server::builder().module(false).start());
    fill(&from, keys);
    let mut connection = from.connection();
    let port = to.port().to_string();
    let began = Instant::now();
    let mut cursor = 0_u64;
    loop {
        let (next, names): (u64, Vec<String>) =
            redis::cmd("SCAN").arg(cursor).arg("COUNT").arg(1000).query(&mut connection)?;
        for names in names.chunks(KEYS_OF_MIGRATE) {
            let mut migrate = redis::cmd("MIGRATE");
            migrate.arg(&["127.0.0.1", &port, "", "0", "60000", "REPLACE", "KEYS"]).arg(names);
            migrate.query::<()>(&mut connection)?;
        }
        if next == 0 {
            break;
        }
        cursor = next;
    }
    let took = began.elapsed().as_secs_f64();
    let moved = to.run::<usize>(&["DBSIZE"]);
    if moved == keys { Ok(took) } else { Err(format!("MIGRATE has moved {moved} of {keys} keys").into()) }
}

/// Returns how many keys `redis-cli` moves in a second.
fn resharded_a_second(keys: usize) -> Result<f64, Failure> {
    let cluster = Cluster::builder().module(false).start();
    let port = cluster.node(0).port().to_string();
    let filled = Command::new("redis-benchmark")
        .args(["--cluster", "-p", &port, "-t", "set", "-d", "100", "-q", "-P", "16"])
        .args(["-r", &keys.to_string(), "-n", &keys.to_string()])
        .stdout(Stdio::null())
        .status()?;
    let [from, to] = [0, 1].map(|node| cluster.node(node).run::<String>(&["CLUSTER", "MYID"]));
    let count = || cluster.node(1).run::<usize>(&["DBSIZE"]);
    let before = count();
    let began = Instant::now();
    let moved = Command::new("redis-cli")
        .args(["--cluster", "reshard", &format!("127.0.0.1:{port}"), "--cluster-yes", "--cluster-pipeline", "100"])
        .args(["--cluster-from", &from, "--cluster-to", &to, "--cluster-slots", &RESHARDED.to_string()])
        .stdout(Stdio::null())
        .status()?;
    if !filled.success() || !moved.success() {
        return Err("redis-cli has moved no slots".into());
    }
    Ok((count() - before) as f64 / began.elapsed().as_secs_f64())
}

/// The waits of others at a node.
struct Beside {
    took: f64,
    source: Waits,
    target: Waits,
}

/// Times a big value.
pub fn run_big_value(effort: &Effort) -> Result<(), Failure> {
    let fields = if effort.thrift == 1 { 1_000_000 } else { 100_000 };
    println!("## Placement: a hash of {fields} fields with 100 bytes each moves, with 10000 small keys beside it\n");
    println!("| how | s | longest wait of others at the source, ms | at the target |\n|---|--:|--:|--:|");
    let ours = big_by_placement(fields)?;
    let theirs = big_by_migrate(fields)?;
    for (how, beside) in [("**rmr-proxy**", &ours), ("`MIGRATE`", &theirs)] {
        println!("| {how} | {:.1} | {:.0} | {:.0} |", beside.took, beside.source.max, beside.target.max);
    }
    println!();
    for (end, waits) in [("source", ours.source), ("target", ours.target)] {
        let text = format!("a big value moves: others wait {:.0} ms at the {end}", waits.max);
        line(&text, Aim::of(Limit::AtMost(LONGEST_BESIDE_BIG), waits.max), effort);
    }
    println!();
    Ok(())
}

fn fill_big(server: &Server, fields: usize) {
    const FILL: &str = "for field = 1, ARGV[1] do redis.call('HSET', KEYS[1], field, string.rep('x', 100)) end";
    fill(server, 10_000);
    server.run::<()>(&["EVAL", FILL, "1", "big", &fields.to_string()]);
}

/// Asks both nodes something small, again and again, while something is done.
fn beside(source: &Server, target: &Server, work: impl FnOnce()) -> Result<Beside, Failure> {
    let [at_source, at_target] = [source, target].map(|node| Traffic::reads_at(node, 1, 1000, 0..10_000));
    let ([source, target], took) = both(&at_source, &at_target, || {
        let began = Instant::now();
        work();
        began.elapsed().as_secs_f64()
    })?;
    Ok(Beside { took, source, target })
}

fn big_by_placement(fields: usize) -> Result<Beside, Failure> {
    let world = World::with_nodes_outside(1, 2, 1);
    fill_big(&world.nodes[0], fields);
    world.let_leave(&world.nodes[0], &world.nodes[1]);
    let beside = beside(&world.nodes[0], &world.nodes[1], || {
        world.move_all();
        world.await_cleaned();
    })?;
    match world.nodes[1].run::<usize>(&["HLEN", "big"]) {
        moved if moved == fields => Ok(beside),
        moved => Err(format!("{moved} of {fields} fields have moved").into()),
    }
}

fn big_by_migrate(fields: usize) -> Result<Beside, Failure> {
    let [from, to] = [(); 2].map(|()| Server::builder().module(false).start());
    fill_big(&from, fields);
    let port = to.port().to_string();
    beside(&from, &to, || from.run::<()>(&["MIGRATE", "127.0.0.1", &port, "big", "0", "600000"]))
}
