//! Measures the cost of a request where no clock disturbs: instructions and allocations, counted under valgrind.
//!
//! Times differ from run to run by more than most changes make; these figures repeat to a few percent. Three servers
//! without a cluster stand for the shards, one of them under valgrind: the coordinator, which is a shard as well, or
//! another one. The costs of start, first requests and stop fall out, since each figure is a difference: of a run with
//! requests and one without them that does the same otherwise.

use std::collections::BTreeSet;
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
pub const NAME: &str = "instructions and allocations, 3 shards";

/// The kinds of requests, with the number of each that is counted. Those of few keys are more, since they cost less.
const WORKS: [(Work, usize); 6] = [
    (Work::Sum { keys: 10 }, 800),
    (Work::Sum { keys: 1000 }, 60),
    (Work::DbSize, 800),
    (Work::ExecGet, 800),
    (Work::ExecMget { keys: 100 }, 200),
    (Work::ExecDbSize, 800),
];

/// The number of servers. All have all keys.
const SERVERS: usize = 3;

/// The number of different requests of a kind. All keys of all of them are on all servers.
const VARIANTS: usize = 4;

/// Requests of each kind before the first that is counted.
const WARM_UP: usize = 8;

/// The values of `rmr.pushdown`, and what the report calls them.
const PATHS: [(&str, &str); 2] = [("off", "**the module**"), ("on", "**the module**, pushdown")];

/// The server whose cost is counted.
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
            for ((work, _), (instructions, allocations)) in WORKS.iter().zip(instructions.into_iter().zip(allocations))
            {
                // No request can do without: what was counted is not what the server allocates with.
                let allocations = if allocations < 1.0 { "n/a".to_owned() } else { format!("{allocations:.0}") };
                println!("| {} | {through} | {at} | {instructions:.0} | {allocations} |", work.command());
            }
        }
    }
    println!();
    Ok(())
}

/// Returns the cost of one request of each kind.
fn per_request(counted: Counted, role: Role, pushdown: &str, effort: &Effort) -> Result<Vec<f64>, Failure> {
    let without = count(counted, role, pushdown, None)?;
    let cost = |(work, requests): (Work, usize)| {
        let requests = requests / effort.thrift;
        let with = count(counted, role, pushdown, Some((work, requests)))?;
        Ok((with as f64 - without as f64) / requests as f64)
    };
    WORKS.into_iter().map(cost).collect()
}

/// Returns the cost of a server from its start to its end, with or without requests of a kind.
fn count(counted: Counted, role: Role, pushdown: &str, requests: Option<(Work, usize)>) -> Result<u64, Failure> {
    let others: [Server; SERVERS - 1] = [Server::start(), Server::start()];
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
    for (work, _) in WORKS {
        client.run(&requests_of(work), WARM_UP, 1, &mut latencies)?;
    }
    if let Some((work, requests)) = requests {
        client.run(&requests_of(work), requests, 1, &mut latencies)?;
    }
    watched.stop()
}

/// Returns the requests of a kind.
fn requests_of(work: Work) -> Vec<Request> {
    let mut requests = request::through_module(work);
    requests.truncate(VARIANTS);
    if work.keys() == 0 {
        let keys = SERVERS * keys_of_all().collect::<BTreeSet<_>>().len();
        requests.iter_mut().for_each(|request| request.expected = keys as i64);
    }
    requests
}

/// Returns the numbers of the keys that requests name.
fn keys_of_all() -> impl Iterator<Item = usize> {
    WORKS.into_iter().flat_map(|(work, _)| key_numbers(work).into_iter().take(VARIANTS).flatten())
}

/// Sets on a server the keys of all requests.
fn fill(port: u16) -> Result<(), Failure> {
    let mut wire = Wire::connect(port);
    let pairs = keys_of_all().flat_map(|number| [key(number), value(number).to_string()]);
    let args: Vec<String> = ["MSET".to_owned()].into_iter().chain(pairs).collect();
    match wire.try_call(&args)? {
        reply if reply == b"+OK\r\n" => Ok(()),
        reply => Err(reply.escape_ascii().to_string().into()),
    }
}
