//! A look ahead of writes that concern whole nodes: what one node would refuse is done at none.
//!
//! `FLUSHALL`, `FLUSHDB` and what changes functions go to many nodes, and a node may refuse writes: it has too few replicas,
//! its last snapshot failed, it loads its data, or it is a replica. Each node is asked beforehand by the same command with
//! arguments that are wrong. Servers look at their guards before they look at arguments, so the answer is the guard's, or a
//! complaint about the arguments; nothing is done either way.
//!
//! Writes of keys go to their nodes unasked, but for the node that we live in: see [`local_refusal`](super::local_refusal).

use std::sync::Arc;

use super::exchange::Exchange;
use super::options::Options;
use super::outcomes::Outcomes;
use super::request::Request;
use super::route::Route;
use super::snapshot::Snapshot;
use crate::command::Command;
use crate::error::Error;

/// The beginnings of the errors by which servers refuse a write that they would otherwise take.
const GUARDS: [&[u8]; 9] = [
    b"NOREPLICAS ",
    b"MISCONF ",
    b"READONLY ",
    b"OOM ",
    b"LOADING ",
    b"MASTERDOWN ",
    b"CLUSTERDOWN ",
    b"BUSY ",
    b"NOAUTH ",
];

/// Returns the command that asks whether this one would be let through; `None` for one that needs no look ahead.
fn probe(command: &Command) -> Option<Command> {
    let is_named = |names: &[&str]| names.iter().any(|name| command.name().eq_ignore_ascii_case(name.as_bytes()));
    let wrong = || Command::new(command.name());
    if is_named(&["FLUSHALL", "FLUSHDB"]) {
        return Some(wrong().arg("RMR"));
    }
    if !is_named(&["FUNCTION"]) {
        return None;
    }
    match command.words().nth(1).unwrap_or_default().to_ascii_uppercase().as_slice() {
        // Needs memory, as the two do that bring functions.
        b"LOAD" | b"RESTORE" => Some(wrong().arg("LOAD").arg("RMR")),
        b"DELETE" | b"FLUSH" => Some(wrong().arg("FLUSH").arg("RMR")),
        _ => None,
    }
}

/// Asks all nodes of a route whether they would take a command.
///
/// # Errors
/// The first refusal or failure. Nothing has been done.
pub(super) async fn look_ahead<R: Route + Clone>(
    request: &Request,
    command: &Command,
    route: &R,
    nodes: usize,
    snapshot: &Arc<Snapshot>,
) -> Result<(), Error> {
    let Some(probe) = probe(command).filter(|_| nodes > 1) else { return Ok(()) };
    // Apart, since few commands need it, and all would carry its state.
    Box::pin(ask(request, probe, route.clone(), nodes, snapshot.clone())).await
}

async fn ask<R: Route>(
    request: &Request,
    probe: Command,
    route: R,
    nodes: usize,
    snapshot: Arc<Snapshot>,
) -> Result<(), Error> {
    let options = Options::keeping_failures(false);
    let exchange = Exchange::new(request, route, vec![probe].into(), Outcomes::of(nodes, None), &options);
    let (replies, _) = exchange.run(snapshot).await?;
    let refusal = replies.into_iter().filter_map(|entry| entry.result.err()).find(|error| match error {
        Error::Shard { message, .. } => GUARDS.iter().any(|guard| message.as_bytes().starts_with(guard)),
        _ => true,
    });
    refusal.map_or(Ok(()), Err)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn writes_that_concern_whole_nodes_are_asked_about() {
        let asked = |line: &str| {
            let command = Command::from_args(line.split(' ')).unwrap();
            probe(&command).map(|probe| probe.words().map(|word| String::from_utf8_lossy(word).into_owned()).collect())
        };
        let words = |line: &str| Some(line.split(' ').map(str::to_owned).collect::<Vec<String>>());
        assert_eq!(asked("flushall async"), words("flushall RMR"));
        assert_eq!(asked("FUNCTION load REPLACE x"), words("FUNCTION LOAD RMR"));
        assert_eq!(asked("FUNCTION DELETE x"), words("FUNCTION FLUSH RMR"));
        assert_eq!(asked("FUNCTION LIST"), None);
        assert_eq!(asked("DBSIZE"), None);
    }
}
