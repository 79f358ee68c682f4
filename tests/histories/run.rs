//! One run: clients work, things go wrong, and in the end what clients saw is judged.

use std::env;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use crate::client::Client;
use crate::common::{Random, poll, while_repeating};
use crate::copies;
use crate::nemesis::{Kinds, haunt};
use crate::workloads::Reads;
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

/// Somebody who does something all the time, as the number says: a client that begins at this proxy, one that only reads and stays
/// there, and an operator who has this node leave and come back.
#[derive(Clone, Copy)]
enum Worker {
    Client(usize),
    Reader(usize),
    Mover(usize),
}

/// Has a node leave, or come back if it has left.
fn come_or_go(world: &World, node: usize) {
    // Neither takes less time than this.
    poll(Duration::from_millis(50), || None::<()>);
    match world.has_left(node) {
        true => world.bring_back(),
        false => drop(world.send_away(node)),
    }
}

/// Runs for a time, and says what is wrong, if anything is.
pub fn run(shape: Shape, reads: Reads, kinds: Kinds, seed: u64, time: Duration) -> Result<(), String> {
    let _turn = turn();
    println!("seed {seed}, {shape:?}, reads {reads:?}, {time:?}");
    let world = World::start(shape);
    if reads == Reads::Atomic && shape.copies > 1 {
        world.clients.read_in_order();
    }
    let workloads = shape.work.kinds();
    let mut random = Random::new(seed);
    // A safeguard that is left out is to show soon.
    let clients = if shape.without.is_empty() { CLIENTS } else { 2 * CLIENTS };
    let mut worker = |kind: fn(usize) -> Worker, number| (kind(number), random.roll());
    let mut workers: Vec<(Worker, u64)> = (0..clients).map(|number| worker(Worker::Client, number)).collect();
    workers.extend((0..shape.proxies).map(|number| worker(Worker::Reader, number)));
    if shape.moves {
        workers.push(worker(Worker::Mover, shape.nodes - 1));
    }
    let begin = |&(worker, seed): &(Worker, u64)| {
        let (world, workloads, mut random) = (&world, &workloads, Random::new(seed));
        let mut client = match worker {
            Worker::Client(number) | Worker::Mover(number) => Client::new(&world.clients, number),
            Worker::Reader(number) => Client::staying(&world.clients, number),
        };
        move || match worker {
            Worker::Client(_) => workloads[random.below(workloads.len())].turn(&mut client, &mut random),
            Worker::Reader(_) => workloads[random.below(workloads.len())].look(&mut client, &mut random),
            Worker::Mover(node) => come_or_go(world, node),
        }
    };
    while_repeating(&workers, begin, || haunt(&world, &mut random, kinds, time));
    world.await_served();
    for number in 0..shape.proxies {
        let mut client = Client::new(&world.clients, number);
        workloads.iter().for_each(|workload| workload.finish(&mut client));
    }
    println!("{}", world.clients.figures());
    let began = Instant::now();
    for workload in &workloads {
        println!("{}", workload.judge(reads)?);
        // One order explains no less than the reads of any copy.
        workload.judge(Reads::Regular)?;
    }
    println!("judged in {:?}", began.elapsed());
    println!("{} keys are equal on all copies", copies::compare(&world)?);
    let began = Instant::now();
    world.await_whole();
    let compared = copies::compare(&world)?;
    println!("{:?} later all slots have all their copies, and {compared} keys are equal", began.elapsed());
    match world.clients.faults()[..] {
        [] if world.clients.answers() < 1000 => Err("hardly anything was answered: this has shown nothing".into()),
        [] => Ok(()),
        _ => Err(world.clients.faults().join("\n")),
    }
}
