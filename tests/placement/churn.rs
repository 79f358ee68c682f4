//! Workers are killed, stopped and asked to leave by chance, and the laws hold after it.
//!
//! `RMR_PLACEMENT_SEED=7 RMR_PLACEMENT_SECONDS=600 cargo test --test placement churn -- --nocapture` for another course of
//! events, or a longer one.

use std::collections::BTreeSet;
use std::env;
use std::time::{Duration, Instant};

use rmr::testing::{Server, eventually};

use crate::common::Random;
use crate::group::LIMIT;
use crate::pool::{TIMEOUT_MS, Worker, done, holders, push, settled};

/// The number of workers.
const WORKERS: usize = 4;

fn from_environment(name: &str, otherwise: u64) -> u64 {
    env::var(name).map_or(otherwise, |text| text.parse().expect("a number"))
}

/// R3, R4, R7 after churn; during it no job is done twice, and tokens never fall.
#[test]
fn the_laws_hold_after_churn() {
    let seed = from_environment("RMR_PLACEMENT_SEED", 1);
    let seconds = from_environment("RMR_PLACEMENT_SECONDS", 20);
    let mut random = Random::new(seed);
    let server = Server::start();
    let mut workers: Vec<Worker> =
        (0..WORKERS).map(|number| Worker::start(&server, &format!("w{number}"), 2)).collect();
    let (mut kills, mut stops, mut leaves, mut jobs) = (0, 0, 0, 0);
    let begun = Instant::now();
    while begun.elapsed() < Duration::from_secs(seconds) {
        for _ in 0..20 {
            push(&server, &format!("{} job {jobs}", random.below(20)));
            jobs += 1;
        }
        let place = random.below(WORKERS);
        match random.below(3) {
            0 => {
                kills += 1;
                workers[place].process.signal("KILL");
                eventually(LIMIT, "it is dead", || !workers[place].process.alive());
                // At once, with the id of the dead one.
                workers[place] = Worker::start(&server, &format!("w{place}"), 2);
            }
            1 => {
                stops += 1;
                workers[place].process.stop();
                // Less than the timeout, or more.
                let pause = TIMEOUT_MS / 4 + random.below(TIMEOUT_MS as usize * 3 / 2) as u64;
                std::thread::sleep(Duration::from_millis(pause));
                workers[place].process.cont();
            }
            _ => {
                leaves += 1;
                workers[place].process.signal("TERM");
                eventually(LIMIT, "it has left", || !workers[place].process.alive());
                workers[place] = Worker::start(&server, &format!("w{place}"), 2);
            }
        }
        for holders in holders(&server) {
            assert_eq!(holders.iter().collect::<BTreeSet<_>>().len(), holders.len(), "seed {seed}: {holders:?}");
        }
    }
    settled(&server, &["w0", "w1", "w2", "w3"], 2);
    eventually(LIMIT, "all jobs are done", || done(&server).len() == jobs);
    assert!(done(&server).iter().all(|times| *times == 1), "seed {seed}");
    println!("seed {seed}: {kills} killed, {stops} stopped, {leaves} left, {jobs} jobs done once each");
}
