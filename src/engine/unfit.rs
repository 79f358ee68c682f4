//! Commands that cannot be sent through shared connections, or would take the process from under the engine.
//!
//! They are refused before anything is sent, whoever asks. The table in
//! [`special`](crate::describe::special) names them and their reasons.

use crate::command::CommandSet;
use crate::command::{Command, printable};
use crate::describe::special::{BLOCKING, differs_by_arguments, why_not_shared};
use crate::error::Error;

/// Refuses the first unfit command, with the reason.
pub(crate) fn check(commands: &CommandSet) -> Result<(), Error> {
    match commands {
        CommandSet::Each(commands) => check_each(commands),
        CommandSet::PerKey(per_key) => {
            // Only the few with subcommands differ by their arguments.
            let (all, one) = (per_key.len(), per_key.len().min(1));
            let looked_at = if differs_by_arguments(per_key.name()) { all } else { one };
            (0..looked_at).try_for_each(|place| check_one(&per_key.command(place)))
        }
    }
}

/// Checks commands of any names.
pub(crate) fn check_each(commands: &[Command]) -> Result<(), Error> {
    let mut last: Option<&[u8]> = None;
    for command in commands {
        let name = command.name();
        if last != Some(name) {
            check_one(command)?;
            last = Some(name).filter(|name| !differs_by_arguments(name));
        }
    }
    Ok(())
}

fn check_one(command: &Command) -> Result<(), Error> {
    let Some(reason) = why_not_shared(command) else { return Ok(()) };
    Err(Error::Refused(format!("'{}' cannot be sent to other nodes: {reason}", printable(command.name()))))
}

/// Refuses what is unfit even for a connection to itself.
pub(super) fn check_alone(command: &Command) -> Result<(), Error> {
    if why_not_shared(command) == Some(BLOCKING) { Ok(()) } else { check_one(command) }
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
