//! Every command that a server has, sent through a distributed command to the node itself and to another: whatever it
//! answers, nobody crashes, and nobody is left waiting.
//!
//! Commands that run in process run on a client without a connection, which servers do not expect everywhere.

use std::time::Duration;

use crate::common::{Cluster, Server, Wire, text_of};

/// Longer than any of the requests may take.
const PATIENCE: Duration = Duration::from_secs(5);

/// The words for arguments: as many of them as the command wants at least, and some more.
const WORDS: [&[&str]; 4] =
    [&["k", "k", "k", "k"], &["0", "1", "2", "3"], &["1", "k", "0", "k"], &["*", "-", "+", "10"]];

/// The commands that would put the rest of the round into another state: they are tried last, each on servers of its own.
const UPSETTING: [&str; 12] = [
    "client|kill",
    "client|pause",
    "cluster|failover",
    "cluster|flushslots",
    "cluster|forget",
    "cluster|reset",
    "cluster|replicate",
    "cluster|setslot",
    "cluster|delslots",
    "cluster|delslotsrange",
    "failover",
    "replicaof",
];

/// A command with subcommands stands here as `client|kill`; with the number of words that it needs at least.
fn commands(node: &Server) -> Vec<(String, usize)> {
    let mut connection = node.connection();
    let mut listed: Vec<String> = redis::cmd("COMMAND").arg("LIST").query(&mut connection).expect("all commands");
    let described: Vec<redis::Value> = redis::cmd("COMMAND").query(&mut connection).expect("all commands");
    let subcommands: Vec<String> = described.iter().flat_map(subcommands_of).collect();
    listed.extend(subcommands);
    listed.retain(|name| !name.starts_with("rmr."));
    listed.sort();
    let least = |name: &String| {
        let info: Vec<Vec<redis::Value>> =
            redis::cmd("COMMAND").arg("INFO").arg(name).query(&mut node.connection()).expect("about a command");
        match info[0][1] {
            redis::Value::Int(arity) => arity.unsigned_abs() as usize,
            _ => 1,
        }
    };
    listed.iter().map(|name| (name.clone(), least(name))).collect()
}

/// Returns the names of a command's subcommands, which `COMMAND` describes last.
fn subcommands_of(described: &redis::Value) -> Vec<String> {
    let redis::Value::Array(fields) = described else { return Vec::new() };
    let Some(redis::Value::Array(subcommands)) = fields.get(9) else { return Vec::new() };
    let name = |subcommand: &redis::Value| match subcommand {
        redis::Value::Array(fields) => redis::from_redis_value::<String>(fields[0].clone()).ok(),
        _ => None,
    };
    subcommands.iter().filter_map(name).collect()
}

/// Returns the ways in which a command is tried.
fn attempts(name: &str, least: usize) -> Vec<Vec<String>> {
    let words: Vec<&str> = name.split('|').collect();
    let missing = least.saturating_sub(words.len());
    let mut attempts = Vec::new();
    for fill in WORDS {
        for count in [missing, missing + 1] {
            let filled = fill.iter().cycle().take(count);
            attempts.push(words.iter().chain(filled).map(|&word| word.to_owned()).collect());
        }
    }
    attempts.dedup();
    attempts
}

/// Sends a command in both ways; says what went wrong.
fn try_one(node: &Server, command: &[String]) -> Result<(), String> {
    let fan_out = ["RMR.FANOUT", "TIMEOUT", "300", "PARTIAL", "--"].map(str::to_owned);
    let map = ["RMR.MAP", "TIMEOUT", "300", "PARTIAL", "LIST", "1", "k"].map(str::to_owned);
    for head in [&fan_out[..], &map[..]] {
        let request: Vec<&String> = head.iter().chain(command).collect();
        let request: Vec<&str> = request.into_iter().map(String::as_str).collect();
        let mut wire = Wire::try_connect(node.port(), PATIENCE).map_err(|error| format!("cannot connect: {error}"))?;
        match wire.try_call(&request) {
            Ok(_) => {}
            // A client may well be thrown out by what it asked for.
            Err(error) if error.kind() == std::io::ErrorKind::UnexpectedEof => {}
            Err(error) if error.kind() == std::io::ErrorKind::ConnectionReset => {}
            Err(error) => return Err(format!("no answer to {request:?}: {error}")),
        }
        // In step still: whoever was answered is answered next time.
        let echo = wire.try_call(&["PING"]).map(|frame| text_of(&frame));
        if let Ok(reply) = echo
            && reply != "+PONG"
            && !reply.starts_with('-')
        {
            return Err(format!("out of step after {request:?}: {reply}"));
        }
    }
    Ok(())
}

fn check(nodes: &[Server], command: &[String]) {
    let tried = try_one(&nodes[0], command);
    for node in nodes {
        assert!(node.alive(), "{} has died of {command:?}", node.address());
        let log = node.log();
        assert!(!log.contains("panicked at"), "a panic at {command:?}: {log}");
    }
    if let Err(error) = tried {
        panic!("{error}");
    }
}

/// Valkey 8.0 aborts at any `SPUBLISH` on a node that was promoted after it had been a replica in a `nodes.conf` without
/// shard ids, as those of the harness were; with or without us.
fn is_upsetting(name: &str) -> bool {
    UPSETTING.contains(&name) || ["slaveof", "spublish"].contains(&name)
}

#[test]
fn no_command_of_a_single_server_does_harm() {
    let servers = [Server::start()];
    for (name, least) in commands(&servers[0]) {
        if !is_upsetting(&name) {
            attempts(&name, least).iter().for_each(|command| check(&servers, command));
        }
    }
}

#[test]
fn no_command_of_a_cluster_does_harm() {
    let cluster = Cluster::start(2);
    for (name, least) in commands(cluster.node(0)) {
        if !is_upsetting(&name) {
            attempts(&name, least).iter().for_each(|command| check(cluster.nodes(), command));
        }
    }
}

#[test]
fn no_upsetting_command_kills_a_server() {
    let commands: [&[&str]; 14] = [
        &["CLIENT", "KILL", "TYPE", "normal"],
        &["CLIENT", "KILL", "TYPE", "normal", "SKIPME", "no"],
        &["CLIENT", "KILL", "USER", "default"],
        &["CLIENT", "PAUSE", "100", "ALL"],
        &["CLIENT", "PAUSE", "100", "WRITE"],
        &["CLUSTER", "RESET", "HARD"],
        &["CLUSTER", "FLUSHSLOTS"],
        &["CLUSTER", "FAILOVER", "TAKEOVER"],
        &["REPLICAOF", "127.0.0.1", "1"],
        &["FAILOVER"],
        &["ACL", "DELUSER", "default"],
        &["CONFIG", "SET", "rmr.nodes", "127.0.0.1:1"],
        &["CONFIG", "SET", "rmr.password", "x"],
        &["CONFIG", "SET", "maxclients", "40"],
    ];
    for command in commands {
        let command: Vec<String> = command.iter().map(|&word| word.to_owned()).collect();
        check(&[Server::start()], &command);
        check(Cluster::start(2).nodes(), &command);
    }
}

#[test]
fn a_client_that_kills_itself_through_a_fan_out_is_gone_and_nothing_else() {
    let server = Server::start();
    for _ in 0..20 {
        let mut wire = server.wire();
        let id = wire.ask(&["CLIENT", "ID"]);
        let _ = wire.try_call(&["RMR.FANOUT", "CLIENT", "KILL", "ID", &id[1..]]);
        let mut others = server.wire();
        assert_eq!(others.ask(&["PING"]), "+PONG");
    }
    assert!(server.alive());
    assert_eq!(server.figure("clients", "blocked_clients"), 0);
}
