//! The rate at which copies are made equal when a proxy that ordered writes has gone, and the waits of clients meanwhile.

use std::thread;
use std::time::{Duration, Instant};

use rmr::testing::{eventually, poll};

use super::traffic::{Traffic, Waits};
use super::world::{SOON, World, slot_of};
use crate::Failure;
use crate::common::Wire;
use crate::comparison::{Aim, Limit, line};
use crate::rounds::Effort;

/// The aims: keys a second, and the 99th percentile of reads as a multiple of that before.
const LEAST_KEYS: f64 = 100_000.0;
const MOST_WAIT: f64 = 2.0;

/// For how long the reads before are looked at.
const BEFORE: Duration = Duration::from_secs(2);

/// Measures, and prints.
pub fn run(effort: &Effort) -> Result<(), Failure> {
    let keys = if effort.thrift == 1 { 400_000 } else { 50_000 };
    let mut world = World::start(2, 2, 1);
    fill(&mut world.proxies[0].wire(), keys)?;
    world.add_proxy();
    let survivor = &world.proxies[1];
    let reads = Traffic::reads(survivor, 4, 2000, 0..keys);
    let (before, ()) = reads.during(|| thread::sleep(BEFORE))?;
    let own = world.slots_of(&world.proxies[0]);
    let suspect = (0..keys).filter(|key| own.contains(&slot_of(*key))).count();
    world.proxies[0].kill();
    let states = |wanted: &str| world.slots().iter().filter(|(_, state)| state == wanted).count();
    eventually(SOON, "the slots are taken over", || states("suspect") > 0);
    let began = Instant::now();
    let (during, settled) =
        reads.during(|| poll(Duration::from_secs(300), || (states("suspect") == 0).then_some(())))?;
    settled.ok_or("the copies were not made equal")?;
    let rate = suspect as f64 / began.elapsed().as_secs_f64();
    let [before, during] = [Waits::of(&before), Waits::of(&during)];
    println!("## Placement: copies of suspect slots are made equal, 2 nodes, {suspect} of {keys} keys of 100 bytes\n");
    let text = format!("scrub: {rate:.0} keys a second");
    line(&text, Aim::of(Limit::AtLeast(LEAST_KEYS), rate), effort);
    let ratio = during.p99 / before.p99;
    let text = format!(
        "scrub: p99 of 2000 reads a second {:.2} ms, {ratio:.1} times that before; the longest {:.0} ms",
        during.p99, during.max
    );
    line(&text, Aim::of(Limit::AtMost(MOST_WAIT), ratio), effort);
    println!();
    Ok(())
}

/// Sets keys of 100 bytes.
fn fill(wire: &mut Wire, keys: usize) -> Result<(), Failure> {
    let value = "x".repeat(100);
    for from in (0..keys).step_by(1000) {
        let some = from..keys.min(from + 1000);
        let lines: String = some.clone().map(|key| format!("SET key:{key} {value}\r\n")).collect();
        wire.try_send_raw(lines.as_bytes())?;
        for _ in some {
            let reply = wire.try_read_frame()?;
            if reply != b"+OK\r\n" {
                return Err(format!("SET was answered by {}", reply.escape_ascii()).into());
            }
        }
    }
    Ok(())
}
