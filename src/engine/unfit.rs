//! Commands that cannot be sent through shared connections, or would take the process from under the engine.
//!
//! They are refused before anything is sent, whoever asks.

use crate::command::CommandSet;
use crate::command::{Command, printable};
use crate::error::Error;

/// Refuses the first unfit command, with the reason.
pub(crate) fn check(commands: &CommandSet) -> Result<(), Error> {
    match commands {
        CommandSet::Each(commands) => check_each(commands),
        CommandSet::PerKey(per_key) => {
            // Only the few with subcommands differ by their arguments.
            let (all, one) = (per_key.len(), per_key.len().min(1));
            let looked_at = if has_subcommands(per_key.name()) { all } else { one };
            (0..looked_at).try_for_each(|place| check_one(&per_key.command(place)))
        }
    }
}

/// The same for commands of whatever names.
pub(crate) fn check_each(commands: &[Command]) -> Result<(), Error> {
    let mut last: Option<&[u8]> = None;
    for command in commands {
        let name = command.name();
        if last != Some(name) {
            check_one(command)?;
            last = Some(name).filter(|name| !has_subcommands(name));
        }
    }
    Ok(())
}

fn check_one(command: &Command) -> Result<(), Error> {
    let Some(reason) = why_unfit(command) else { return Ok(()) };
    Err(Error::Invalid(format!("'{}' cannot be sent to other nodes: {reason}", printable(command.name()))))
}

fn has_subcommands(name: &[u8]) -> bool {
    HAS_SUBCOMMANDS.iter().any(|other| name.eq_ignore_ascii_case(other))
}

/// Refuses what is unfit even for a connection to itself.
pub(super) fn check_alone(command: &Command) -> Result<(), Error> {
    if why_unfit(command) == Some(BLOCKING) { Ok(()) } else { check_one(command) }
}

const HAS_SUBCOMMANDS: [&[u8]; 6] = [b"CLIENT", b"FUNCTION", b"MODULE", b"SCRIPT", b"XREAD", b"XREADGROUP"];

const CONNECTION: &str = "it changes the state of its connection, which all requests share";
const BLOCKING: &str = "it blocks its connection, which all requests share";
const TRANSACTION: &str = "transactions do not reach over connections that all requests share";
const STREAMING: &str = "it turns its connection into a stream";
const PROCESS: &str = "it stops, reloads or endangers the server that serves the request";
const RECURSION: &str = "a distributed command cannot be the share of another";
const SPLITS_REPLIES: &str = "servers repeat its line breaks in an error, which would pass for the replies to others";
const CLIENTS_OWN_WRITES: &str = "it counts the writes of its own connection, which has none of the caller's";

/// Why a command is unfit; `None` if it is not.
pub(crate) fn why_unfit(command: &Command) -> Option<&'static str> {
    /// Room for the longest of the names below.
    const ROOM: usize = 24;
    let name = command.name();
    if name.len() >= 4 && name[..4].eq_ignore_ascii_case(b"RMR.") {
        return Some(RECURSION);
    }
    let mut room = [0; ROOM];
    let upper = room.get_mut(..name.len())?;
    upper.copy_from_slice(name);
    upper.make_ascii_uppercase();
    let argument = || command.args().nth(1).unwrap_or_default().to_ascii_uppercase();
    match &*upper {
        b"AUTH" | b"HELLO" | b"RESET" | b"QUIT" | b"SELECT" | b"READONLY" | b"READWRITE" | b"ASKING" => {
            Some(CONNECTION)
        }
        b"CLIENT" => match argument().as_slice() {
            b"REPLY" | b"TRACKING" | b"CACHING" | b"NO-EVICT" | b"NO-TOUCH" | b"SETNAME" | b"SETINFO" | b"CAPA"
            | b"IMPORT-SOURCE" => Some(CONNECTION),
            _ => None,
        },
        // Redis 8 and Valkey 8 say "Unknown argument", and the argument as it came.
        b"FUNCTION" => {
            let breaks = |arg: &[u8]| arg.iter().any(|byte| matches!(byte, b'\r' | b'\n'));
            (argument() == b"LIST" && command.args().skip(2).any(breaks)).then_some(SPLITS_REPLIES)
        }
        b"SCRIPT" => (argument() == b"DEBUG").then_some(CONNECTION),
        b"MULTI" | b"EXEC" | b"DISCARD" | b"WATCH" | b"UNWATCH" => Some(TRANSACTION),
        b"SUBSCRIBE" | b"PSUBSCRIBE" | b"SSUBSCRIBE" | b"UNSUBSCRIBE" | b"PUNSUBSCRIBE" | b"SUNSUBSCRIBE"
        | b"MONITOR" | b"SYNC" | b"PSYNC" | b"REPLCONF" => Some(STREAMING),
        b"BLPOP" | b"BRPOP" | b"BRPOPLPUSH" | b"BLMOVE" | b"BLMPOP" | b"BZPOPMIN" | b"BZPOPMAX" | b"BZMPOP" => {
            Some(BLOCKING)
        }
        // What follows STREAMS are keys and ids; an option before it may block.
        b"XREAD" | b"XREADGROUP" => {
            let options = command.args().take_while(|arg| !arg.eq_ignore_ascii_case(b"STREAMS"));
            options.skip(1).any(|arg| arg.eq_ignore_ascii_case(b"BLOCK")).then_some(BLOCKING)
        }
        b"WAIT" | b"WAITAOF" => Some(CLIENTS_OWN_WRITES),
        b"SHUTDOWN" | b"DEBUG" => Some(PROCESS),
        b"MODULE" => matches!(argument().as_slice(), b"LOAD" | b"LOADEX" | b"UNLOAD").then_some(PROCESS),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::command::PerKey;

    fn refusal(line: &str) -> Option<String> {
        let command = Command::from_args(line.split(' ')).unwrap();
        check_one(&command).err().map(|error| error.to_string())
    }

    #[test]
    fn what_would_spoil_a_shared_connection_is_refused() {
        for line in [
            "select 1",
            "MULTI",
            "Subscribe ch",
            "BLPOP k 0",
            "XREAD COUNT 1 BLOCK 0 STREAMS s $",
            "client reply off",
            "CLIENT CAPA redirect",
            "script debug yes",
            "function list x\r\n:1",
            "WAIT 1 0",
            "SHUTDOWN",
            "MODULE UNLOAD rmr",
            "rmr.sum k",
            "DEBUG SLEEP 1",
        ] {
            let refusal = refusal(line).unwrap_or_else(|| panic!("{line} was let through"));
            assert!(refusal.contains("cannot be sent to other nodes: "), "{refusal}");
        }
    }

    #[test]
    fn all_else_passes() {
        for line in [
            "GET k",
            "DBSIZE",
            "CLIENT LIST",
            "SCRIPT LOAD x",
            "FUNCTION LIST x",
            "FUNCTION LOAD x\ny",
            "XREAD STREAMS BLOCK 0",
            "MODULE LIST",
            "CONFIG GET *",
            "UNKNOWN",
            "FLUSHALL",
        ] {
            assert_eq!(refusal(line), None, "{line}");
        }
    }

    #[test]
    fn an_unfit_command_is_found_behind_others_of_its_name() {
        let commands = ["CLIENT LIST", "CLIENT REPLY OFF"].map(|line| Command::from_args(line.split(' ')).unwrap());
        assert!(check_each(&commands).is_err());
        let check = |name, keys: [&str; 2]| check(&PerKey::new(Command::new(name), keys).into());
        assert!(check("CLIENT", ["LIST", "REPLY"]).is_err());
        assert!(check("GET", ["LIST", "REPLY"]).is_ok());
        assert!(check("BLPOP", ["LIST", "REPLY"]).is_err());
    }
}
