//! The cost of a placement for each request: beside nutcracker and one server, with two copies beside one, and by way of the
//! proxy that orders the slot.

use std::time::{Duration, Instant};

use super::world::{World, slot_of};
use crate::Failure;
use crate::common::Wire;
use crate::comparison::{Aim, Limit, line};
use crate::proxy::{LOADS, MANY_KEYS, Nutcracker, Target, compare, judge, latency};
use crate::rounds::{Effort, median, millis, percentile};

/// The aims: two copies as a part of the rate of one, and what the second one adds to the median of few clients, in
/// milliseconds; and what a write takes longer that is forwarded.
const LEAST_OF_ONE_COPY: f64 = 0.7;
const MOST_ADDED_BY_A_COPY: f64 = 0.05;
const MOST_ADDED_BY_FORWARDING: f64 = 0.15;

/// The number of writes of one client in a round, about.
const WRITES: usize = 4000;

/// Measures, and prints.
pub fn run(effort: &Effort) -> Result<(), Failure> {
    println!("## Placement: 3 plain servers, 50 clients, values of 100 bytes\n");
    let (one, two) = (World::start(1, 3, 1), World::start(2, 3, 1));
    let nutcracker = Nutcracker::before(&one.nodes)?;
    let theirs = nutcracker.as_ref().map(Nutcracker::target);
    let direct = Target::server("one server, directly", &one.nodes[0]);
    let ours = Target::proxy("**rmr-proxy**, 1 copy", &one.proxies[0]);
    let copies = Target::proxy("**rmr-proxy**, 2 copies", &two.proxies[0]);
    let targets: Vec<&Target> =
        [Some(&ours), Some(&copies), Some(&direct), theirs.as_ref()].into_iter().flatten().collect();
    for load in LOADS.iter().filter(|load| load.what != MANY_KEYS) {
        let figures = compare(load, &targets, effort)?;
        if let Some(theirs) = figures.get(3) {
            judge(load, figures[0], *theirs, effort);
        }
        let rate = figures[1].rate / figures[0].rate;
        let text = format!("{}: 2 copies have {rate:.2} of the rate of 1", load.what);
        line(&text, Aim::of(Limit::AtLeast(LEAST_OF_ONE_COPY), rate), effort);
        if load.deep == 1 {
            latency(load, &ours, &direct, effort)?;
        }
        println!();
    }
    let [alone, copied] = writes(&one.proxies[0].wire(), &two.proxies[0].wire(), "key:1", effort)?;
    let added = copied - alone;
    let text = format!("SET, 1 client: {alone:.3} ms with 1 copy, and {added:.3} ms more with 2");
    line(&text, Aim::of(Limit::AtMost(MOST_ADDED_BY_A_COPY), added), effort);
    drop((one, two));
    forwarded(effort)?;
    println!();
    Ok(())
}

/// Compares a write to the proxy that orders its slot with one to another proxy.
fn forwarded(effort: &Effort) -> Result<(), Failure> {
    let mut world = World::start(2, 3, 1);
    world.add_proxy();
    let [orders, forwards] = [&world.proxies[0], &world.proxies[1]];
    let own = world.slots_of(orders);
    let key = (0..1000).find(|key| own.contains(&slot_of(*key))).ok_or("the first proxy orders no writes")?;
    let [direct, forwarded] = writes(&orders.wire(), &forwards.wire(), &format!("key:{key}"), effort)?;
    let added = forwarded - direct;
    let text = format!("SET, 1 client, 2 copies: {direct:.3} ms, and {added:.3} ms more through another proxy");
    line(&text, Aim::of(Limit::AtMost(MOST_ADDED_BY_FORWARDING), added), effort);
    Ok(())
}

/// Writes one key over two connections in turns, and returns the medians of what one write takes, in milliseconds.
fn writes(one: &Wire, other: &Wire, key: &str, effort: &Effort) -> Result<[f64; 2], Failure> {
    let mut wires = [one.second_handle(), other.second_handle()];
    let mut medians = [Vec::new(), Vec::new()];
    let value = "x".repeat(100);
    for _ in 0..effort.rounds.min(5) {
        for (wire, medians) in wires.iter_mut().zip(&mut medians) {
            let mut took: Vec<Duration> = Vec::with_capacity(WRITES);
            for _ in 0..WRITES {
                let began = Instant::now();
                let reply = wire.try_call(&["SET", key, &value])?;
                took.push(began.elapsed());
                if reply != b"+OK\r\n" {
                    return Err(format!("SET was answered by {}", reply.escape_ascii()).into());
                }
            }
            took.sort_unstable();
            medians.push(millis(percentile(&took, 50)));
        }
    }
    Ok(medians.map(|medians| median(medians.into_iter())))
}
