//! Requests by chance, by users with few rights and with many, often not quite as they were meant: whatever is sent, nobody
//! else is answered wrongly, nothing is seen or done that the user may not see or do, and the servers live.
//!
//! The conditions that must hold are in [`watch`]. A failure prints the seed, the user and the request.
//!
//! - `RMR_FUZZ_SEED`: another course of events.
//! - `RMR_FUZZ_ROUNDS`: how many requests each user sends.

mod inner;
mod mutate;
mod request;
mod telling;
mod users;
mod watch;

use std::time::Duration;

use super::listed::{self, Listed};
use super::number_of;
use super::pair::{Pair, shown};
use crate::common::Random;
use crate::common::{Server, Wire};
use request::{Request, Route};
use users::{USERS, User};
use watch::Watch;

/// After how many requests the data, the settings and the users are as at first again.
const CHUNK: u64 = 50;

/// The most bytes by which the memory of a node may differ at the end from what it was after the first chunk.
const MEMORY: u64 = 4_000_000;

/// One user, with a connection of its own to each node, and one that is served in proxy mode.
struct Sender {
    wires: Vec<[Wire; 2]>,
    proxied: Vec<[Wire; 2]>,
}

impl Sender {
    fn of(user: &User, pair: &Pair) -> Self {
        let both = |node: &Server| [user.login(node, false), user.login(node, true)];
        let wires: Vec<[Wire; 2]> = pair.servers().iter().map(both).collect();
        let mut proxied = Vec::new();
        if pair.is_proxied() {
            proxied = pair.servers().iter().map(both).collect();
            for wire in proxied.iter_mut().flatten() {
                assert_eq!(wire.ask(&["RMR.PROXY", "ON"]), "+OK");
            }
        }
        // From Redis 8 on only links between nodes know the inner command. They are users without limits.
        Self { wires, proxied }
    }

    fn wire(&mut self, request: &Request, node: usize, is_resp3: bool) -> &mut Wire {
        let wires = if request.route == Route::Proxy { &mut self.proxied } else { &mut self.wires };
        &mut wires[node][usize::from(is_resp3)]
    }
}

fn fuzz(user: &User, pair: &mut Pair, commands: &[Listed], random: &mut Random, rounds: u64) {
    let mut watch = Watch::new(pair);
    let mut memory = None;
    user.make(pair.servers().iter().chain([pair.server()]));
    let mut sender = Sender::of(user, pair);
    for round in 0..rounds {
        if round % CHUNK == 0 {
            watch.read_logs().unwrap_or_else(|shown| panic!("{shown}\nbefore round {round}, user {}", user.name));
            watch.begin(pair);
            user.make(pair.servers().iter().chain([pair.server()]));
            sender = Sender::of(user, pair);
            watch.look();
            if round == CHUNK {
                memory = Some(watch.memory(pair));
            }
        }
        let request = Request::draw(commands, pair, random);
        if request.route == Route::Proxy && !pair.is_proxied() {
            continue;
        }
        let (node, is_resp3) = (random.below(pair.nodes.len()), random.chance(50));
        let at = || {
            format!("round {round}, node {node}, {:?}, user {}: {}", request.route, user.name, shown(&request.words))
        };
        watch.set_counter(&request, pair);
        let wire = sender.wire(&request, node, is_resp3);
        watch.ask_beacons(node);
        let reply = match request.route {
            Route::Multi => {
                wire.call(&["MULTI"]);
                wire.call(&request.words);
                wire.try_call(&["EXEC"])
            }
            _ => wire.try_call(&request.words),
        };
        let reply = reply.unwrap_or_else(|error| panic!("no reply: {error}\n{}", at()));
        let word = format!("after-{round}");
        let next = wire.ask(&["ECHO", &word]);
        let in_step = next.contains(&word) || next.starts_with("-NOPERM");
        assert!(in_step, "the next reply is {next}\n{}", at());
        if let Err(broken) = watch.check(user, &request, &reply, pair) {
            panic!("{broken}\n  reply: {}\n{}", reply.escape_ascii(), at());
        }
    }
    watch.end();
    watch.read_logs().unwrap_or_else(|shown| panic!("{shown}\nat the end, user {}", user.name));
    watch.begin(pair);
    if let Some(before) = memory {
        let is_flat = |now: &[u64]| now.iter().zip(&before).all(|(now, before)| *now < before + MEMORY);
        let now = rmr::testing::poll(Duration::from_secs(10), || {
            let now = watch.memory(pair);
            is_flat(&now).then_some(now)
        });
        assert!(now.is_some(), "memory, user {}: {before:?} before, {:?} now", user.name, watch.memory(pair));
    }
}

#[test]
fn whatever_is_sent_harms_nobody() {
    let seed = number_of("RMR_FUZZ_SEED", 1);
    let rounds = number_of("RMR_FUZZ_ROUNDS", 200);
    eprintln!("RMR_FUZZ_SEED={seed} RMR_FUZZ_ROUNDS={rounds}");
    let mut pair = Pair::start();
    pair.open_roads();
    let commands = listed::commands(pair.server());
    for (number, user) in USERS.iter().enumerate() {
        let mut random = Random::new(seed.wrapping_add((number as u64) << 32));
        fuzz(user, &mut pair, &commands, &mut random, rounds);
    }
}
