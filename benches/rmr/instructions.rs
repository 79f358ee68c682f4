//! What a request costs where no clock disturbs: instructions and allocations, counted under valgrind.
//!
//! Times differ from run to run by more than most changes make; these figures repeat to a few percent. Three servers
//! without a cluster stand for the shards, one of them under valgrind: the coordinator, which is a shard as well, or
//! another one. What start, first requests and stop cost falls out, since each figure is a difference: of a run with
//! requests and one without them that does the same otherwise.

use std::thread;

use crate::Failure;
use crate::cases::Work;
use crate::client::Client;
use crate::common::{Server, Wire};
use crate::data::{key, value};
use crate::request::{self, Request, key_numbers};
use crate::rounds::Effort;
use crate::valgrind::{self, Counted, Watched};

/// The case as filters see it.
pub const NAME: &str = "instructions and allocations of sums, 3 shards";

/// The sums, by keys, and how many requests of each are counted. Those of few keys are more, since they cost less.
const SUMS: [(usize, usize); 2] = [(10, 800), (1000, 60)];

/// How many different requests there are of a sum. All keys of all of them are on all servers.
const VARIANTS: usize = 4;

/// Requests of each sum before the first that is counted.
const WARM_UP: usize = 8;

/// The values of `rmr.pushdown`, and what the report calls them.
const PATHS: [(&str, &str); 2] = [("off", "**the module**"), ("on", "**the module**, pushdown")];

/// Which of the servers is counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Role {
    Coordinator,
    Shard,
}

/// Measures and prints, or says why not.
pub fn run(effort: &Effort) -> Result<(), Failure> {
    if !valgrind::is_there() {
        println!("Instructions and allocations are skipped: there is no valgrind on PATH.\n");
        return Ok(());
    }
    println!("Counted under valgrind, for one request to three servers; the coordinator is one of them.\n");
    println!("| request | through | counted at | instructions | allocations |\n|---|---|---|--:|--:|");
    let paths: &[_] = if effort.thrift > 1 { &PATHS[..1] } else { &PATHS };
    for &(pushdown, through) in paths {
        for (role, at) in [(Role::Coordinator, "the coordinator"), (Role::Shard, "another shard")] {
            // Neither minds the other: what is counted is work, and not time.
            let (instructions, allocations) = thread::scope(|scope| {
                let allocations = scope.spawn(|| per_request(Counted::Allocations, role, pushdown, effort));
                let instructions = per_request(Counted::Instructions, role, pushdown, effort)?;
                let allocations = allocations.join().map_err(|_| "counting allocations panicked")??;
                Ok::<_, Failure>((instructions, allocations))
            })?;
            for (sum, (keys, _)) in SUMS.into_iter().enumerate() {
                // No request can do without: what was counted is not what the server allocates with.
                let allocations = match allocations[sum] {
                    count if count < 1.0 => "n/a".to_owned(),
                    count => format!("{count:.0}"),
                };
                println!("| RMR.SUM of {keys} keys | {through} | {at} | {:.0} | {allocations} |", instructions[sum]);
            }
        }
    }
    println!();
    Ok(())
}

/// The cost of one request of each of the sums.
fn per_request(counted: Counted, role: Role, pushdown: &str, effort: &Effort) -> Result<Vec<f64>, Failure> {
    let without = count(counted, role, pushdown, None)?;
    let cost = |(keys, requests): (usize, usize)| {
        let requests = requests / effort.thrift;
        let with = count(counted, role, pushdown, Some((keys, requests)))?;
        Ok((with as f64 - without as f64) / requests as f64)
    };
    SUMS.into_iter().map(cost).collect()
}

/// What a server costs from its start to its end, with or without so many requests of a sum.
fn count(counted: Counted, role: Role, pushdown: &str, requests: Option<(usize, usize)>) -> Result<u64, Failure> {
    let others = [Server::start(), Server::start()];
    let watched = Watched::start(counted, others[0].dir())?;
    let [first, second] = [others[0].port(), others[1].port()];
    let ports = match role {
        Role::Coordinator => [watched.port(), first, second],
        Role::Shard => [first, watched.port(), second],
    };
    ports.into_iter().try_for_each(fill)?;
    let mut wire = Wire::connect(ports[0]);
    let nodes = ports.map(|port| format!("127.0.0.1:{port}")).join(" ");
    let reply = wire.try_call(&["CONFIG", "SET", "rmr.nodes", &nodes, "rmr.pushdown", pushdown])?;
    if reply != b"+OK\r\n" {
        return Err(reply.escape_ascii().to_string().into());
    }
    let mut client = Client::to_one_node(ports[0], 1)?;
    let mut latencies = Vec::new();
    for (keys, _) in SUMS {
        client.run(&sums(keys), WARM_UP, 1, &mut latencies)?;
    }
    if let Some((keys, requests)) = requests {
        client.run(&sums(keys), requests, 1, &mut latencies)?;
    }
    watched.stop()
}

/// The requests of a sum.
fn sums(keys: usize) -> Vec<Request> {
    let mut requests = request::through_module(Work::Sum { keys });
    requests.truncate(VARIANTS);
    requests
}

/// Sets on a server the keys of all requests.
fn fill(port: u16) -> Result<(), Failure> {
    let mut wire = Wire::connect(port);
    for (keys, _) in SUMS {
        for numbers in key_numbers(Work::Sum { keys }).into_iter().take(VARIANTS) {
            let pairs = numbers.into_iter().flat_map(|number| [key(number), value(number).to_string()]);
            let args: Vec<String> = ["MSET".to_owned()].into_iter().chain(pairs).collect();
            let reply = wire.try_call(&args)?;
            if reply != b"+OK\r\n" {
                return Err(reply.escape_ascii().to_string().into());
            }
        }
    }
    Ok(())
}
