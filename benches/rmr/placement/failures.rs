//! The waits of clients when a data node is killed or stopped, and when a proxy is killed that orders writes.

use std::collections::BTreeSet;
use std::thread;
use std::time::Duration;

use rmr::testing::eventually;

use super::traffic::{Traffic, Waits, both};
use super::world::{SOON, World, slot_of};
use crate::Failure;
use crate::comparison::{Aim, Limit, line};
use crate::rounds::{Effort, median};

/// The aims, in milliseconds.
const LONGEST_READ_KILLED: f64 = 100.0;
const LONGEST_WRITE_KILLED: f64 = 300.0;
const LONGEST_READ_STOPPED: f64 = 300.0;
/// The setting `node-timeout-ms` and then some.
const LONGEST_WRITE_STOPPED: f64 = 1200.0;
/// The setting `lease-ms` and then some.
const LONGEST_WRITE_TAKEN_OVER: f64 = 2500.0;

/// The number of keys.
const KEYS: usize = 10_000;

/// For how long all is well before the failure, and how long clients go on after it.
const BEFORE: Duration = Duration::from_millis(500);
const AFTER: Duration = Duration::from_secs(5);

/// Measures, and prints.
pub fn run(effort: &Effort) -> Result<(), Failure> {
    println!(
        "## Placement: failures, 3 nodes, 2 copies, 4 clients that read and 4 that write, 2000 requests a second\n"
    );
    println!("| what | longest read ms | its errors | longest write ms | its errors |\n|---|--:|--:|--:|--:|");
    let killed = data_node(effort, "a data node is killed", |world| world.nodes[1].kill())?;
    let stopped = data_node(effort, "a data node is stopped", |world| world.nodes[1].stop_signal())?;
    let (own, others) = sequencer(effort)?;
    println!();
    let say = |text: String, most, figure| line(&text, Aim::of(Limit::AtMost(most), figure), effort);
    say(format!("a data node is killed: longest read {:.0} ms", killed.0), LONGEST_READ_KILLED, killed.0);
    say(format!("a data node is killed: longest write {:.0} ms", killed.1), LONGEST_WRITE_KILLED, killed.1);
    say(format!("a data node is stopped: longest read {:.0} ms", stopped.0), LONGEST_READ_STOPPED, stopped.0);
    say(format!("a data node is stopped: longest write {:.0} ms", stopped.1), LONGEST_WRITE_STOPPED, stopped.1);
    say(format!("a proxy is killed: the longest write of its slots {own:.0} ms"), LONGEST_WRITE_TAKEN_OVER, own);
    say(format!("a proxy is killed: the longest write of other slots {others:.0} ms"), LONGEST_WRITE_KILLED, others);
    println!();
    Ok(())
}

/// So many times as is worth the time.
fn rounds(effort: &Effort) -> usize {
    effort.rounds.min(3)
}

/// Lets a data node fail, and returns the longest read and the longest write, as medians.
fn data_node(effort: &Effort, what: &str, fails: fn(&World)) -> Result<(f64, f64), Failure> {
    let mut longest = Vec::new();
    for _ in 0..rounds(effort) {
        let world = World::start(2, 3, 1);
        let proxy = &world.proxies[0];
        let (reads, writes) = (Traffic::reads(proxy, 4, 1000, 0..KEYS), Traffic::writes(proxy, 4, 1000, 0..KEYS));
        let (waits, ()) = both(&reads, &writes, || goes_on(|| fails(&world)))?;
        longest.push(row(what, waits));
    }
    Ok(medians(&longest))
}

/// Kills one of two proxies; all clients are those of the other. Returns the longest write of slots that it ordered, and of others.
fn sequencer(effort: &Effort) -> Result<(f64, f64), Failure> {
    let mut longest = Vec::new();
    for _ in 0..rounds(effort) {
        let (world, own) = world_of_two()?;
        let (own, others): (Vec<usize>, Vec<usize>) = (0..KEYS).partition(|key| own.contains(&slot_of(*key)));
        let [killed, survivor] = [&world.proxies[0], &world.proxies[1]];
        let of = |keys: Vec<usize>| {
            [Traffic::reads(survivor, 2, 500, keys.clone()), Traffic::writes(survivor, 2, 500, keys)]
        };
        let ([own_reads, own_writes], [other_reads, other_writes]) = (of(own), of(others));
        let (own, others) = both(&own_reads, &own_writes, || {
            both(&other_reads, &other_writes, || goes_on(|| killed.kill())).map(|(waits, ())| waits)
        })?;
        let own = row("a proxy is killed: slots whose writes it ordered", own);
        let others = row("a proxy is killed: other slots", others?);
        longest.push((own.1, others.1));
    }
    Ok(medians(&longest))
}

/// Starts two proxies that both order writes, and returns the slots of the first one.
fn world_of_two() -> Result<(World, BTreeSet<u16>), Failure> {
    let world = World::with_nodes_outside(2, 3, 2);
    eventually(SOON, "both proxies are known", || world.config.run::<u64>(&["ZCARD", "proxies"]) == 2);
    world.let_all_in();
    let own = world.slots_of(&world.proxies[0]);
    match own.is_empty() || own.len() == world.slots().len() {
        true => Err("one proxy orders the writes of all slots".into()),
        false => Ok((world, own)),
    }
}

/// Lets something fail after a while, and time go on.
fn goes_on(fails: impl FnOnce()) {
    thread::sleep(BEFORE);
    fails();
    thread::sleep(AFTER);
}

/// Prints a row, and returns the longest read and the longest write.
fn row(what: &str, [reads, writes]: [Waits; 2]) -> (f64, f64) {
    println!("| {what} | {:.0} | {} | {:.0} | {} |", reads.max, reads.errors, writes.max, writes.errors);
    (reads.max, writes.max)
}

fn medians(all: &[(f64, f64)]) -> (f64, f64) {
    (median(all.iter().map(|one| one.0)), median(all.iter().map(|one| one.1)))
}
