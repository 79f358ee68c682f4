//! One run: clients work, things go wrong, and in the end what clients saw is judged.

use std::env;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use crate::client::Client;
use crate::common::{Random, while_repeating};
use crate::copies;
use crate::nemesis::{Kinds, haunt};
use crate::workloads::{Reads, all};
use crate::world::{Shape, World};

/// The time of all runs together unless told otherwise, in seconds.
const SECONDS: u64 = 60;

/// The number of clients that work at once.
const CLIENTS: usize = 6;

/// A run takes all that the machine has, so there is one at a time.
static TURN: Mutex<()> = Mutex::new(());

fn turn() -> MutexGuard<'static, ()> {
    TURN.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Returns what one run may take of the time for all.
pub fn share_of_time(percent: u32) -> Duration {
    let seconds = env::var("RMR_HISTORIES_SECONDS").ok().and_then(|seconds| seconds.parse().ok()).unwrap_or(SECONDS);
    Duration::from_secs(seconds) * percent / 100
}

/// Returns the seed of a run: this one, unless another is asked for.
pub fn seed(usual: u64) -> u64 {
    env::var("RMR_HISTORIES_SEED").ok().and_then(|seed| seed.parse().ok()).unwrap_or(usual)
}

/// Runs for a time, and says what is wrong, if anything is.
pub fn run(shape: Shape, reads: Reads, kinds: Kinds, seed: u64, time: Duration) -> Result<(), String> {
    let _turn = turn();
    println!("seed {seed}, {shape:?}, reads {reads:?}, {time:?}");
    let world = World::start(shape);
    if reads == Reads::Atomic && shape.copies > 1 {
        world.clients.read_in_order();
    }
    let workloads = all();
    let mut random = Random::new(seed);
    let workers: Vec<(usize, u64)> = (0..CLIENTS).map(|number| (number, random.roll())).collect();
    let begin = |&(number, seed): &(usize, u64)| {
        let (mut client, mut random) = (Client::new(&world.clients, number), Random::new(seed));
        let workloads = &workloads;
        move || workloads[random.below(workloads.len())].turn(&mut client, &mut random)
    };
    while_repeating(&workers, begin, || haunt(&world, &mut random, kinds, time));
    world.await_served();
    for number in 0..shape.proxies {
        let mut client = Client::new(&world.clients, number);
        workloads.iter().for_each(|workload| workload.finish(&mut client));
    }
    println!("{}", world.clients.figures());
    println!("{} keys are equal on all copies", copies::compare(&world)?);
    let began = Instant::now();
    for workload in &workloads {
        println!("{}", workload.judge(reads)?);
        // What one order explains is no less than what any copy may give.
        workload.judge(Reads::Regular)?;
    }
    println!("judged in {:?}", began.elapsed());
    match world.clients.faults()[..] {
        [] if world.clients.answers() < 1000 => Err("hardly anything was answered: this has shown nothing".into()),
        [] => Ok(()),
        _ => Err(world.clients.faults().join("\n")),
    }
}
