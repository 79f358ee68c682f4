//! Secrets among the arguments of a command, which the server is told to leave out of `SLOWLOG`, `COMMANDLOG` and `MONITOR`.
//!
//! A server hides the passwords in its own commands. Within one of rmr's it sees none, so rmr has to say where they are:
//! in the request of a client, and in the one that a node sends to another. That is told by words, before anything is read
//! or refused, since a request that is refused stands in the logs as well. Too much is hidden rather than too little.

use super::server::context::Ctx;
use crate::command::{CommandSet, printable};
use crate::reduce::Builtin;

/// Settings with a secret for their value, whatever stands before them.
const SETTINGS: [&[u8]; 10] = [
    b"masterauth",
    b"masteruser",
    b"primaryauth",
    b"primaryuser",
    b"requirepass",
    b"tls-key-file-pass",
    b"tls-client-key-file-pass",
    b"rmr.password",
    b"rmr.nodes",
    b"rmr.placement",
];

/// The parts that the names of other settings with secrets contain.
const PARTS_OF_SETTINGS: [&[u8]; 3] = [b"pass", b"auth", b"secret"];

/// Commands that may take secrets.
const COMMANDS: [&[u8]; 5] = [b"acl", b"auth", b"config", b"hello", b"migrate"];

/// Hides the secrets among the arguments of a command that takes others for its own, as the server has called it.
pub(super) fn hide(ctx: Ctx<'_>, name: &[u8], args: &[&[u8]]) {
    // The server counts the name.
    positions(name, args).into_iter().for_each(|position| ctx.redact(position + 1));
}

/// Returns a command as a line for people to read: without secrets, and no longer than a line of `SLOWLOG` is.
pub(super) fn shown(name: &[u8], args: &[&[u8]]) -> String {
    const MOST_WORDS: usize = 32;
    // Longer words are cut off as in all messages, which do not say by how much.
    const LONGEST_WORD: usize = 64;
    let hidden = positions(name, args);
    let mut line = printable(name);
    for (at, word) in args.iter().take(MOST_WORDS).enumerate() {
        line.push(' ');
        match word.len().checked_sub(LONGEST_WORD) {
            _ if hidden.contains(&at) => line.push_str("(redacted)"),
            Some(more @ 1..) => {
                line.push_str(&printable(&word[..LONGEST_WORD]));
                line.push_str(&format!("... ({more} more bytes)"));
            }
            _ => line.push_str(&printable(word)),
        }
    }
    match args.len().saturating_sub(MOST_WORDS) {
        0 => {}
        more => line.push_str(&format!(" ... ({more} more arguments)")),
    }
    line
}

/// Returns the positions of arguments that are or may be secrets.
fn positions(name: &[u8], args: &[&[u8]]) -> Vec<usize> {
    match () {
        () if is(name, b"RMR.MAP") => in_map(args),
        () if is_one_of(name, &[b"RMR.EXEC", b"RMR.EXPLAIN", b"RMR.FANOUT", b"RMR.BATCH"]) => in_words(args),
        () => Vec::new(),
    }
}

/// Tells whether there may be a secret in one of these commands.
pub(super) fn may_be_in(commands: &CommandSet) -> bool {
    let names = match commands {
        CommandSet::Each(_) => commands.len(),
        CommandSet::PerKey(_) => commands.len().min(1),
    };
    (0..names).any(|place| {
        let words: Vec<&[u8]> = commands.at(place).words().collect();
        is_one_of(commands.at(place).name(), &COMMANDS) || !in_words(&words).is_empty()
    })
}

/// Returns the positions of the arguments of a map that are or may be secrets. Any key may be one, and so may a pattern; any
/// word of the command may stand among the keys.
fn in_map(args: &[&[u8]]) -> Vec<usize> {
    let may_be_in = |words: &[&[u8]]| !in_words(words).is_empty();
    let Some(keys) = keys_of_map(args) else {
        // Where the keys end nobody can tell, nor which word is the command's name.
        let may_be_here = args.iter().any(|word| is_one_of(word, &COMMANDS)) || may_be_in(args);
        return if may_be_here { (0..args.len()).collect() } else { Vec::new() };
    };
    let command = &args[keys.end..];
    let may_be_here = command.first().is_some_and(|name| is_one_of(name, &COMMANDS)) || may_be_in(command);
    if may_be_here { (keys.start..args.len()).collect() } else { Vec::new() }
}

/// Returns where the keys of a map stand, or the pattern for them and what belongs to it, if what stands there can be read.
fn keys_of_map(args: &[&[u8]]) -> Option<std::ops::Range<usize>> {
    let is_at = |at: usize, word: &[u8]| args.get(at).is_some_and(|arg| is(arg, word));
    let mut at = 0;
    while let Some(option) = args.get(at) {
        at += match () {
            () if is(option, b"TIMEOUT") => {
                number(args.get(at + 1)?)?;
                2
            }
            () if is_one_of(option, &[b"PARTIAL", b"ASYNC"]) => 1,
            () if is(option, b"ON") => 2,
            () if is(option, b"INTO") => 3,
            () => break,
        };
    }
    if is_at(at, b"PREFIX") {
        at += 2;
    }
    let reducer = Builtin::named(args.get(at)?)?;
    at += if reducer.most().is_some() { 2 } else { 1 };
    if is_at(at, b"MATCH") {
        let start = at + 1;
        let mut end = at + 2;
        while is_at(end, b"TYPE") || is_at(end, b"LIMIT") {
            end += 2;
        }
        if is_at(end, b"--") {
            end += 1;
        }
        return (end <= args.len()).then_some(start..end);
    }
    let count = number(args.get(at)?)?;
    let end = (at + 1).checked_add(count)?;
    (end < args.len()).then_some(at + 1..end)
}

/// Returns the positions of secrets behind the words that tell of them.
fn in_words(words: &[&[u8]]) -> Vec<usize> {
    let mut hidden = Vec::new();
    let (mut sets, mut migrates, mut greets) = (false, false, false);
    for (at, &word) in words.iter().enumerate() {
        let left = words.len() - at - 1;
        let is_behind = |position: usize, known: &[u8]| words.get(position).is_some_and(|word| is(word, known));
        let count = match word {
            _ if is(word, b"SETUSER") => left,
            _ if is(word, b"AUTH2") => 2,
            _ if is(word, b"AUTH") => {
                let has_keys_behind = left > 2 && is_behind(at + 2, b"KEYS");
                let count_before = at.checked_sub(1).and_then(|before| number(words[before]));
                match count_before {
                    // `MIGRATE` may as well be a key called so, and this a command.
                    _ if migrates && (left == 1 || has_keys_behind) => 1,
                    _ if has_keys_behind => 2,
                    // One command of a batch, or an option behind a number.
                    Some(count) => count.saturating_sub(1).max(2),
                    None if migrates || greets => 2,
                    // A command by itself.
                    None => left,
                }
            }
            _ if is_one_of(word, &SETTINGS) || (sets && is_named_like_a_secret(word)) => 1,
            _ => 0,
        };
        hidden.extend((at + 1..words.len()).take(count));
        sets |= is(word, b"CONFIG") && is_behind(at + 1, b"SET");
        migrates |= is(word, b"MIGRATE");
        greets |= is(word, b"HELLO");
    }
    hidden
}

fn number(word: &[u8]) -> Option<usize> {
    std::str::from_utf8(word).ok()?.parse().ok()
}

fn is(word: &[u8], known: &[u8]) -> bool {
    word.eq_ignore_ascii_case(known)
}

fn is_one_of(word: &[u8], known: &[&[u8]]) -> bool {
    known.iter().any(|known| is(word, known))
}

fn is_named_like_a_secret(setting: &[u8]) -> bool {
    let has = |part: &[u8]| setting.windows(part.len()).any(|window| is(window, part));
    PARTS_OF_SETTINGS.iter().any(|part| has(part))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Returns the words of a line that are not hidden.
    fn shown(line: &str) -> String {
        let args: Vec<&[u8]> = line.split(' ').skip(1).map(str::as_bytes).collect();
        let hidden = if line.starts_with("RMR.MAP") { in_map(&args) } else { in_words(&args) };
        let mark = |(at, word)| if at > 0 && hidden.contains(&(at - 1)) { "*" } else { word };
        line.split(' ').enumerate().map(mark).collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn secrets_are_hidden_wherever_they_stand() {
        for (line, expected) in [
            ("RMR.EXEC CONFIG SET masterauth s", "RMR.EXEC CONFIG SET masterauth *"),
            ("RMR.EXEC -- config set hz 10 RequirePass s", "RMR.EXEC -- config set hz 10 RequirePass *"),
            (
                "RMR.EXEC CONFIG SET mymod.secret-key s maxmemory 0",
                "RMR.EXEC CONFIG SET mymod.secret-key * maxmemory 0",
            ),
            ("RMR.EXEC renamed SET masterauth s", "RMR.EXEC renamed SET masterauth *"),
            ("RMR.FANOUT ON ALL ACL SETUSER u on >s", "RMR.FANOUT ON ALL ACL SETUSER * * *"),
            ("RMR.EXEC MIGRATE h 1 k 0 9 AUTH s", "RMR.EXEC MIGRATE h 1 k 0 9 AUTH *"),
            ("RMR.EXEC MIGRATE h 1 '' 0 9 AUTH s KEYS a b", "RMR.EXEC MIGRATE h 1 '' 0 9 AUTH * KEYS a b"),
            ("RMR.EXEC MIGRATE h 1 '' 0 9 AUTH2 u s KEYS a", "RMR.EXEC MIGRATE h 1 '' 0 9 AUTH2 * * KEYS a"),
            ("RMR.EXEC moved h 1 '' 0 9 AUTH s KEYS a b", "RMR.EXEC moved h 1 '' 0 9 AUTH * * a b"),
            ("RMR.EXEC AUTH s", "RMR.EXEC AUTH *"),
            ("RMR.EXPLAIN AUTH u s", "RMR.EXPLAIN AUTH * *"),
            ("RMR.EXEC HELLO 3 AUTH u s SETNAME n", "RMR.EXEC HELLO 3 AUTH * * SETNAME n"),
            ("RMR.BATCH a 2 2 AUTH s 2 GET a b 1 2 GET b", "RMR.BATCH a 2 2 AUTH * * GET a b 1 2 GET b"),
            ("RMR.BATCH a 2 4 CONFIG SET masterauth s 2 GET a", "RMR.BATCH a 2 4 CONFIG SET masterauth * 2 GET a"),
            ("RMR.MAP TIMEOUT 9 LIST 2 a s CONFIG SET x {}", "RMR.MAP TIMEOUT 9 LIST 2 * * * * * *"),
            ("RMR.BATCH migrate 1 3 AUTH u s", "RMR.BATCH migrate 1 3 AUTH * *"),
            ("RMR.BATCH migrate 2 4 AUTH u pass word 1 DBSIZE", "RMR.BATCH migrate 2 4 AUTH * * * 1 DBSIZE"),
            ("RMR.EXEC AUTH u pass word", "RMR.EXEC AUTH * * *"),
            ("RMR.EXEC AUTH u pass KEYS", "RMR.EXEC AUTH * * *"),
            ("RMR.MAP LIST 9 a s CONFIG SET x {}", "RMR.MAP * * * * * * * *"),
            ("RMR.MAP LIST 9 a s renamed SET masterauth {}", "RMR.MAP * * * * * * * *"),
            ("RMR.MAP TIMEOUT LIST 2 a s ACL {}", "RMR.MAP * * * * * * *"),
            ("RMR.MAP TIMEOUT SUM 2 1 s CONFIG SET x {}", "RMR.MAP * * * * * * * * *"),
            ("RMR.MAP LIST 1 SETUSER ACL {} u >s", "RMR.MAP LIST 1 * * * * *"),
            ("RMR.MAP TOP 1 2 a s CONFIG SET x {}", "RMR.MAP TOP 1 2 * * * * * *"),
            ("RMR.MAP PREFIX : top 1 1 a CONFIG SET x {}", "RMR.MAP PREFIX : top 1 1 * * * * *"),
            ("RMR.MAP MEDIAN 1 a CONFIG SET x {}", "RMR.MAP * * * * * * *"),
            (
                "RMR.MAP ASYNC ON REPLICAS INTO LIST k LIST MATCH s TYPE hash LIMIT 9 -- ACL SETUSER {} >s",
                "RMR.MAP ASYNC ON REPLICAS INTO LIST k LIST MATCH * * * * * * * * * *",
            ),
            ("RMR.MAP SUM match * renamed SET masterauth {}", "RMR.MAP SUM match * * * * *"),
            ("RMR.MAP SUM MATCH * LIMIT CONFIG SET requirepass {}", "RMR.MAP SUM MATCH * * * * * *"),
        ] {
            assert_eq!(shown(line), expected);
        }
    }

    #[test]
    fn all_else_is_shown() {
        for line in [
            "RMR.EXEC CONFIG SET maxmemory 0",
            "RMR.EXEC CONFIG GET requirepass",
            "RMR.EXEC SET auth:1 value",
            "RMR.EXEC GET AUTH",
            "RMR.MAP SUM 4 acl auth s config GET",
            "RMR.MAP LIST 9 too few",
            "RMR.MAP COUNT MATCH auth:*",
            "RMR.MAP TOP 9 MATCH requirepass LIMIT 9 -- GET",
            "RMR.FANOUT REDUCE SUM DBSIZE",
            "RMR.EXEC",
        ] {
            assert_eq!(shown(line), line);
        }
    }

    #[test]
    fn a_line_for_people_is_short_and_has_no_secrets() {
        let shown = |line: &str| super::shown(b"RMR.MAP", &line.split(' ').map(str::as_bytes).collect::<Vec<_>>());
        assert_eq!(shown("SUM MATCH a* GET"), "RMR.MAP SUM MATCH a* GET");
        assert_eq!(
            shown("LIST MATCH * ACL SETUSER {} >s"),
            "RMR.MAP LIST MATCH (redacted) (redacted) (redacted) (redacted) (redacted)"
        );
        let long = "x".repeat(66);
        assert_eq!(shown(&long), format!("RMR.MAP {}... (2 more bytes)", &long[..64]));
        let many = ["x"; 34].join(" ");
        assert_eq!(shown(&many), format!("RMR.MAP{} ... (2 more arguments)", " x".repeat(32)));
    }

    #[test]
    fn commands_of_a_share_are_known_by_their_names_and_words() {
        use crate::command::{Command, PerKey};
        assert!(may_be_in(&CommandSet::from(vec![Command::new("GET"), Command::new("config")])));
        assert!(may_be_in(&CommandSet::from(PerKey::new(Command::new("ACL"), ["a", "b"]))));
        let renamed = Command::new("renamed").arg("SET").arg("masterauth");
        assert!(may_be_in(&CommandSet::from(vec![Command::new("GET"), renamed.clone().arg("s")])));
        assert!(may_be_in(&CommandSet::from(PerKey::new(renamed, ["a", "b"]))));
        assert!(!may_be_in(&CommandSet::from(PerKey::new(Command::new("GET"), ["acl", "b"]))));
        assert!(!may_be_in(&CommandSet::from(PerKey::new(Command::new("ACL"), [""; 0]))));
    }
}
