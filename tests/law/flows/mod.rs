//! The law of patterns: `RMR.MAP reducer MATCH pattern` makes of the keys of any deployment what is made of the same keys
//! on one plain server, by `SCAN` and a command for each key that it names.
//!
//! Where it stops at the first key whose command fails, each key has been commanded once or not at all; with `LIMIT`, as
//! many as that.

mod data;
mod deployment;
mod question;

use std::time::Duration;

use super::course;
use super::generate::Argv;
use crate::common::Random;
use crate::common::eventually;
use deployment::Deployment;
use question::{Outcome, Question};

/// The number of questions about the same keys.
const QUESTIONS: usize = 20;

/// The time in which keys expire that have a millisecond, on a machine that is busy.
const LIMIT: Duration = Duration::from_secs(10);

/// The outcomes that must have come about, and how often, for the test to say something.
const ENOUGH: [(Outcome, usize); 4] =
    [(Outcome::Value, 40), (Outcome::Failures, 1), (Outcome::Stopped, 3), (Outcome::Limited, 1)];

/// Puts the same keys on both sides, and nothing else.
fn fill(deployment: &mut Deployment, alone: &mut Deployment, keys: &[(Vec<u8>, Vec<Argv>)]) {
    let lines: Vec<Argv> = keys.iter().flat_map(|(_, lines)| lines.iter().cloned()).collect();
    for side in [deployment, &mut *alone] {
        side.on_all(&["FLUSHALL"]);
        side.fill(&lines);
    }
    let passing: Vec<&Argv> = lines.iter().filter(|line| line[0] == b"PEXPIRE").collect();
    for line in passing {
        let exists = vec![b"EXISTS".to_vec(), line[1].clone()];
        eventually(LIMIT, "a key expires", || alone.ask(0, false, &exists).bytes() == b"0");
    }
}

#[test]
fn a_pattern_means_the_same_keys_on_every_deployment() {
    let (seed, rounds) = course();
    let mut random = Random::new(seed);
    let mut alone = Deployment::reference();
    alone.on_all(&["DEBUG", "SET-ACTIVE-EXPIRE", "0"]);
    let mut seen = Vec::new();
    for start in deployment::ALL {
        let mut deployment = start();
        // Keys that have expired stay in the table.
        deployment.on_all(&["DEBUG", "SET-ACTIVE-EXPIRE", "0"]);
        for _ in 0..rounds.div_ceil(10) {
            let keys = data::keys(&mut random);
            fill(&mut deployment, &mut alone, &keys);
            for _ in 0..QUESTIONS {
                let at = random.below(deployment.asked_count());
                deployment.set(at, "rmr.pushdown", random.pick(&["on", "off"]));
                let question = Question::draw(at, &keys, &mut random);
                match question.put(&mut deployment, &mut alone) {
                    Ok(outcome) => seen.push(outcome),
                    Err(why) => panic!("{}: {question}\n{why}\nRMR_LAW_SEED={seed}", deployment.name),
                }
                if question.may_leave_differences() {
                    fill(&mut deployment, &mut alone, &keys);
                }
            }
        }
    }
    for (outcome, enough) in ENOUGH {
        let count = seen.iter().filter(|seen| **seen == outcome).count();
        assert!(count >= enough, "{count} times {outcome:?}");
    }
}
