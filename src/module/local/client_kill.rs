//! `CLIENT KILL` in the own share spares the client that asks for it, as it does on a plain server.
//!
//! In process the server takes a client of its own for the one that asks, and has no filter for all but one. So all others
//! are killed one by one, each if the filters that were given let it be.

use crate::command::{Command, CommandRef};
use crate::module::server::call;
use crate::module::server::context::Ctx;
use crate::reply::Reply;

const LAST_ID: &str = "9223372036854775807";

/// Tells whether this is `CLIENT KILL`, which must not run within another command: the server would free the client whose
/// command is running.
pub(super) fn is_client_kill(command: CommandRef<'_>) -> bool {
    let mut words = command.words();
    let mut is_next = |expected: &[u8]| words.next().is_some_and(|word| word.eq_ignore_ascii_case(expected));
    is_next(b"CLIENT") && is_next(b"KILL")
}

/// Kills what the filters of a command let be killed, but for the client that asks. `None` if the command may run as it is.
pub(super) fn kill_others(ctx: Ctx<'_>, command: CommandRef<'_>, caller: u64) -> Option<Reply> {
    let caller = caller.to_string();
    match plan(&command.words().collect::<Vec<_>>(), &caller) {
        KillPlan::AsItIs => None,
        KillPlan::Nobody => Some(Reply::Integer(0)),
        KillPlan::These(words) => Some(call::run(ctx, &Command::from_args(words)?)),
        KillPlan::AllOthers => {
            let listed = call::run(ctx, &Command::new("CLIENT").arg("LIST"));
            let listed = String::from_utf8_lossy(listed.bytes().unwrap_or_default()).into_owned();
            let ids = listed.lines().filter_map(|line| line.strip_prefix("id=")?.split(' ').next());
            let mut killed = 0;
            // Nobody has the last id: wrong filters are an error where there is no other client, too.
            for id in ids.filter(|id| *id != caller).chain([LAST_ID]) {
                let filters = command.args().fold(Command::new(command.name()), Command::arg);
                match call::run(ctx, &filters.arg("ID").arg(id)) {
                    Reply::Integer(count) => killed += count,
                    error => return Some(error),
                }
            }
            Some(Reply::Integer(killed))
        }
    }
}

/// Says how a kill is carried out so that only the clients die that its filters mean.
#[derive(Debug, PartialEq, Eq)]
enum KillPlan<'a> {
    /// Run the command as it is: it says `SKIPME no`, names other clients, or names one by its address.
    AsItIs,
    Nobody,
    /// Kill the clients that this command names, without the caller's id.
    These(Vec<&'a [u8]>),
    /// Each other client that the filters mean.
    AllOthers,
}

fn plan<'a>(words: &[&'a [u8]], caller: &str) -> KillPlan<'a> {
    let is = |at: usize, word: &[u8]| words.get(at).is_some_and(|known| known.eq_ignore_ascii_case(word));
    let is_number = |at: usize| words.get(at).is_some_and(|word| word.iter().all(u8::is_ascii_digit));
    if words.len() < 4 || (2..words.len()).any(|at| is(at, b"SKIPME") && is(at + 1, b"no")) {
        return KillPlan::AsItIs;
    }
    let Some(ids) = (2..words.len()).find(|&at| is(at, b"ID")) else { return KillPlan::AllOthers };
    // Valkey takes several.
    let end = (ids + 1..words.len()).find(|&at| !is_number(at)).unwrap_or(words.len());
    let others: Vec<&[u8]> = words[ids + 1..end].iter().copied().filter(|id| *id != caller.as_bytes()).collect();
    match others.len() {
        count if count == end - ids - 1 => KillPlan::AsItIs,
        0 => KillPlan::Nobody,
        _ => KillPlan::These([&words[..=ids], &others, &words[end..]].concat()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_caller_is_left_out_unless_it_asks_for_itself() {
        let planned = |line: &str| match plan(&line.split(' ').map(str::as_bytes).collect::<Vec<_>>(), "7") {
            KillPlan::AsItIs => "as it is".to_owned(),
            KillPlan::Nobody => "nobody".to_owned(),
            KillPlan::These(words) => String::from_utf8(words.join(&b' ')).unwrap(),
            KillPlan::AllOthers => "all others".to_owned(),
        };
        for (line, expected) in [
            ("CLIENT KILL 10.0.0.1:7", "as it is"),
            ("CLIENT KILL TYPE normal", "all others"),
            ("client kill type normal skipme no", "as it is"),
            ("CLIENT KILL USER u SKIPME yes", "all others"),
            ("CLIENT KILL MAXAGE 7", "all others"),
            ("CLIENT KILL ID 7", "nobody"),
            ("CLIENT KILL ID 8 MAXAGE 7", "as it is"),
            ("CLIENT KILL ID 8 7 9 TYPE normal", "CLIENT KILL ID 8 9 TYPE normal"),
        ] {
            assert_eq!(planned(line), expected, "{line}");
        }
    }
}
