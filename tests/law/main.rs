//! The law of `RMR.EXEC`: a command on a cluster answers as the same command on a single server with the same data, and
//! leaves the same data behind. For errors too; up to the differences that the tables name, each with its reason.
//!
//! The commands are those that the server lists, with the arguments that it documents: none can be forgotten. They are
//! played in sequences on both sides in lock-step. A failure prints the seed and the shortest sequence that was found.
//!
//! The results of reducers on a cluster are held against those on a single server ([`reducers`]).
//!
//! It holds on every road on which a command reaches the data ([`road`]), and whatever keeps the servers from doing what
//! they are told ([`guard`]).
//!
//! - `RMR_LAW_SEED`: another course of events.
//! - `RMR_LAW_ROUNDS`: how often each command is played at least.

#[path = "../common/mod.rs"]
mod common;

mod differences;
mod flows;
mod forms;
mod fuzz;
mod generate;
mod guard;
mod keys;
mod listed;
mod memory;
mod pair;
mod reducers;
mod reply;
mod road;
mod scripts;
mod sequence;
mod words;

use std::collections::BTreeMap;
use std::env;

use common::{Random, Server};
use differences::{LIFTS, NOT_EVERYWHERE, ONLY_ERRORS, REFUSED, SKIPPED, find, means};
use guard::Guard;
use listed::Listed;
use pair::Pair;
use road::Road;
use sequence::{Outcome, Step, Tally, play, shown_all, shrunk};

/// The most commands that break the law that are reported; each once.
const MOST_BROKEN: usize = 20;

/// The number of commands that a sequence has.
const LENGTH: usize = 100;

/// The number of additional tries of a command that never succeeded.
const MORE_ROUNDS: usize = 40;

fn number_of(variable: &str, default: u64) -> u64 {
    match env::var(variable) {
        Ok(text) => text.parse().unwrap_or_else(|_| panic!("{variable} is '{text}'; give a number")),
        Err(_) => default,
    }
}

/// The commands that were played, and their outcomes.
#[derive(Default)]
struct Played {
    tally: Tally,
    /// By command, how the law was broken.
    broken: BTreeMap<String, String>,
}

impl Played {
    fn came_out(&self, name: &str, outcome: Outcome) -> bool {
        self.tally.get(name).is_some_and(|known| known.contains_key(&outcome))
    }

    /// Returns whether the command has been seen to do what the tables say, or else to succeed, in parts too if it can be split.
    fn has_shown(&self, command: &Listed) -> bool {
        let name = &command.name;
        if find(REFUSED, name).is_some() {
            self.came_out(name, Outcome::Refused)
        } else if command.is_container || find(ONLY_ERRORS, name).is_some() {
            self.came_out(name, Outcome::Error) || self.came_out(name, Outcome::ClusterOnly)
        } else {
            self.came_out(name, Outcome::Success) && (self.came_out(name, Outcome::Split) || !command.is_split())
        }
    }
}

impl Played {
    /// Plays a sequence, and goes on behind each step that breaks the law.
    fn play(&mut self, pair: &mut Pair, steps: &[Step]) {
        let mut left = steps;
        while !left.is_empty()
            && let Err((last, error)) = play(pair, left, &mut self.tally)
        {
            let steps = || shown_all(pair.guard, &left[..=last]);
            assert!(pair.is_alive(), "a server has died of the last of these, {}\n{error}", steps());
            let name = left[last].name().to_owned();
            if !self.broken.contains_key(&name) && self.broken.len() < MOST_BROKEN {
                self.broken.insert(name, shrunk(pair, left, (last, error)));
            }
            left = &left[last + 1..];
        }
    }

    /// Fails if the law is broken.
    fn check(&self, seed: u64) {
        let broken: Vec<&str> = self.broken.values().map(String::as_str).collect();
        assert!(broken.is_empty(), "the law is broken, RMR_LAW_SEED={seed}:\n{}", broken.join("\n\n"));
    }
}

/// Plays each of these commands once, in any order.
fn round(pair: &mut Pair, commands: &[&Listed], random: &mut Random, played: &mut Played) {
    let mut order = commands.to_vec();
    random.shuffle(&mut order);
    for sequence in order.chunks(LENGTH) {
        let steps: Vec<Step> = sequence.iter().map(|command| Step::draw(command, Road::Exec, pair, random)).collect();
        played.play(pair, &steps);
    }
}

/// Returns the commands that are played.
fn played_commands(pair: &Pair) -> Vec<Listed> {
    let mut listed = listed::commands(pair.server());
    listed.retain(|command| find(SKIPPED, &command.name).is_none());
    listed
}

/// Returns a seed, and for how many rounds.
fn course() -> (u64, u64) {
    let course = (number_of("RMR_LAW_SEED", 1), number_of("RMR_LAW_ROUNDS", 10));
    eprintln!("RMR_LAW_SEED={} RMR_LAW_ROUNDS={}", course.0, course.1);
    course
}

#[test]
fn a_cluster_answers_as_one_server_does() {
    let (seed, rounds) = course();
    let mut random = Random::new(seed);
    let mut pair = Pair::start();
    pair.compare().expect("the same data on both sides");
    let listed = played_commands(&pair);
    let mut played = Played::default();
    let all: Vec<&Listed> = listed.iter().collect();
    for _ in 0..rounds {
        round(&mut pair, &all, &mut random, &mut played);
    }
    for _ in 0..MORE_ROUNDS {
        let unseen: Vec<&Listed> = all.iter().copied().filter(|command| !played.has_shown(command)).collect();
        let often: Vec<&Listed> = unseen.iter().copied().cycle().take(4 * unseen.len()).collect();
        round(&mut pair, &often, &mut random, &mut played);
    }

    played.check(seed);
    let unseen: Vec<&str> =
        all.iter().filter(|command| !played.has_shown(command)).map(|command| command.name.as_str()).collect();
    assert!(unseen.is_empty(), "never seen to do what the tables say, or to succeed: {unseen:?}");
    for entry in ONLY_ERRORS {
        let succeeded = |name: &&&str| played.came_out(name, Outcome::Success);
        let stale: Vec<&&str> = entry.commands.iter().filter(succeeded).collect();
        assert!(stale.is_empty(), "these succeed, although '{}': {stale:?}", entry.because);
    }
}

/// Plays sequences on every road under every guard.
fn on_all_roads(pair: &mut Pair, guards: &[Guard]) {
    let (seed, rounds) = course();
    let mut random = Random::new(seed);
    pair.open_roads();
    let mut listed = played_commands(pair);
    listed.retain(|command| !LIFTS.contains(&&*command.name));
    let mut played = Played::default();
    for _ in 0..rounds.div_ceil(10) {
        for road in Road::ALL {
            for &guard in guards {
                pair.guard = guard;
                let steps: Vec<Step> =
                    (0..guard.length()).map(|_| Step::draw(&random.pick(&listed), road, pair, &mut random)).collect();
                played.play(pair, &steps);
            }
        }
    }
    played.check(seed);
}

#[test]
fn a_cluster_answers_so_on_every_road_and_under_every_guard() {
    on_all_roads(&mut Pair::start(), &Guard::OF_A_CLUSTER);
}

#[test]
fn a_single_server_answers_as_without_rmr_on_every_road_and_under_every_guard() {
    on_all_roads(&mut Pair::start_single(), &Guard::OF_ONE);
}

#[test]
fn the_tables_speak_of_commands_that_servers_have() {
    let server = Server::start();
    let listed = listed::commands(&server);
    for name in differences::mentioned() {
        let is_there = listed.iter().any(|command| means(name, &command.name));
        let since = NOT_EVERYWHERE.iter().find(|(known, _)| *known == name).map(|(_, since)| *since);
        let is_expected = since.is_none_or(|since| since.includes(&server));
        assert_eq!(is_there, is_expected, "'{name}' stands in a table; is it on this server?");
    }
}

#[test]
fn what_no_server_knows_is_refused_in_its_own_words() {
    let mut pair = Pair::start();
    let long = "x".repeat(300);
    let lines: [&[&str]; 9] = [
        &["NOSUCH"],
        &["nosuch", "with", "arguments", ""],
        &["nosuch", &long, "and more"],
        &[&long],
        &[""],
        &["two\r\nlines", "and\r\nmore"],
        &["CONFIG", "nosuch"],
        &["CONFIG"],
        &["get", "too", "many"],
    ];
    for line in lines {
        let argv: Vec<Vec<u8>> = line.iter().map(|word| word.as_bytes().to_vec()).collect();
        let exec: Vec<Vec<u8>> = std::iter::once(b"RMR.EXEC".to_vec()).chain(argv.iter().cloned()).collect();
        for is_resp3 in [false, true] {
            let alone = pair.alone.call(is_resp3, &argv).expect("a reply").to_string();
            let cluster = pair.nodes[1].call(is_resp3, &exec).expect("a reply").to_string();
            assert_eq!(cluster, alone, "{line:?}");
        }
    }
}
