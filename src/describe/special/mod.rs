//! The table of commands that are unlike the others in a way that the server does not say, or that matters before it is
//! asked.
//!
//! A row stands for a command, or for a subcommand by its full name (`client|reply`), and has a column for each thing that
//! is special. Whoever treats a command differently asks this table: the engine (what must not go over connections that
//! all requests share), `RMR.EXEC` (what has no meaning cluster-wide), proxy mode and the checks of rights.

mod table;

use super::Description;
use crate::command::{Command, CommandRef};
#[cfg(feature = "module")]
pub(crate) use table::InProxyMode;
pub(crate) use table::{BLOCKING, Handler, Special};
use table::{FAMILIES, RECURSION, TABLE, When, row};

impl Special {
    /// Returns those of the arguments that stand where the command looks for an option.
    fn options<'a>(&self, mut args: impl Iterator<Item = &'a [u8]>) -> impl Iterator<Item = &'a [u8]> {
        let values_of = |option: &[u8]| {
            let known = self.values.iter().find(|(name, _)| option.eq_ignore_ascii_case(name));
            known.map_or(0, |&(_, values)| values)
        };
        let mut to_pass = 0;
        std::iter::from_fn(move || {
            let option = args.nth(to_pass)?;
            to_pass = values_of(option);
            Some(option)
        })
    }

    /// Tells whether the row is about a command, and not about a subcommand.
    pub(crate) fn is_whole_command(&self) -> bool {
        !self.name.contains('|')
    }

    /// Tells whether the command blocks its client only with an option.
    pub(crate) fn blocks_by_option(&self) -> bool {
        self.not_shared_when == When::WithBlock
    }

    /// Tells whether these arguments, those behind the name, have the option with which the command blocks its client.
    pub(crate) fn has_blocking_option<'a>(&self, args: impl Iterator<Item = &'a [u8]>) -> bool {
        let mut options = self.options(args).take_while(|arg| !arg.eq_ignore_ascii_case(b"STREAMS"));
        self.blocks_by_option() && options.any(|arg| arg.eq_ignore_ascii_case(b"BLOCK"))
    }

    /// Returns why a shared connection cannot carry the command with these arguments, those behind its name.
    fn why_not_shared<'a>(&self, mut args: impl Iterator<Item = &'a [u8]>) -> Option<&'static str> {
        let is_about_this = match self.not_shared_when {
            When::Always => true,
            When::WithBlock => self.has_blocking_option(args),
            When::WithLineBreak => args.any(|arg| arg.iter().any(|byte| matches!(byte, b'\r' | b'\n'))),
        };
        self.not_shared.filter(|_| is_about_this)
    }
}

/// The table in the order of its names.
static ROWS: [Special; TABLE.len()] = sorted();

const fn sorted() -> [Special; TABLE.len()] {
    let mut rows = [row(""); TABLE.len()];
    let mut count = 0;
    while count < TABLE.len() {
        let mut at = count;
        while at > 0 && is_before(TABLE[count].name.as_bytes(), rows[at - 1].name.as_bytes()) {
            rows[at] = rows[at - 1];
            at -= 1;
        }
        rows[at] = TABLE[count];
        count += 1;
    }
    rows
}

const fn is_before(name: &[u8], other: &[u8]) -> bool {
    let mut at = 0;
    while at < name.len() && at < other.len() {
        if name[at] != other[at] {
            return name[at] < other[at];
        }
        at += 1;
    }
    name.len() < other.len()
}

/// Holds the lengths of the names of all commands in the table, as bits, for each first letter. Almost every command
/// that is sent is in no row, and this table says so without a search.
static LENGTHS: [u32; 256] = lengths();

const fn lengths() -> [u32; 256] {
    let (mut lengths, mut row) = ([0; 256], 0);
    while row < TABLE.len() {
        let name = TABLE[row].name.as_bytes();
        let mut length = 0;
        while length < name.len() && name[length] != b'|' {
            length += 1;
        }
        lengths[name[0] as usize] |= 1 << length;
        row += 1;
    }
    lengths
}

/// Tells whether a command, or one of its subcommands, may stand in a row.
fn may_be_special(name: &[u8]) -> bool {
    let Some(first) = name.first() else { return false };
    name.len() < 32 && LENGTHS[usize::from(first.to_ascii_lowercase())] & (1 << name.len()) != 0
}

/// Finds a row by its name, in whatever letters.
fn find(name: impl Iterator<Item = u8> + Clone) -> Option<&'static Special> {
    let name = name.map(|byte| byte.to_ascii_lowercase());
    let at = ROWS.binary_search_by(|row| row.name.bytes().cmp(name.clone())).ok()?;
    Some(&ROWS[at])
}

/// Returns the row of a command, or of a subcommand as in `client|reply`; `None` if nothing is special about it.
pub(crate) fn special(name: &[u8]) -> Option<&'static Special> {
    find(name.iter().copied())
}

/// Returns the row of a command's subcommand.
pub(crate) fn special_subcommand(name: &[u8], subcommand: &[u8]) -> Option<&'static Special> {
    find(name.iter().chain(b"|").chain(subcommand).copied())
}

/// Returns why connections that all requests share cannot carry this command; `None` if they can.
pub(crate) fn why_not_shared(command: &Command) -> Option<&'static str> {
    let name = command.name();
    if is_of_rmr(name) {
        return Some(RECURSION);
    }
    if !may_be_special(name) {
        return None;
    }
    let mut args = command.args();
    match special(name).filter(|own| own.is_whole_command()) {
        Some(own) if own.not_shared.is_some() => own.why_not_shared(args),
        _ => special_subcommand(name, args.next()?)?.why_not_shared(args),
    }
}

/// Tells whether a command is about the connection that it comes by: it changes its state, is part of a transaction on it,
/// turns it into a stream, or waits for what was written on it, at which Redis 7.0 crashes where there is none.
#[cfg(feature = "module")]
pub(crate) fn needs_own_connection(command: &Command) -> bool {
    use table::{CLIENTS_OWN_WRITES, CONNECTION, STREAMING, TRANSACTION};
    let name = command.name();
    if !may_be_special(name) {
        return false;
    }
    let is_one = |special: &Special| {
        matches!(special.not_shared, Some(CONNECTION | TRANSACTION | STREAMING | CLIENTS_OWN_WRITES))
    };
    let subcommand = || special_subcommand(name, command.args().next()?);
    special(name).is_some_and(is_one) || subcommand().is_some_and(is_one)
}

/// Tells whether a command may run code of others: a script, or a module whose names have a dot, or what a catalogue has
/// said to. Some servers let such code end in an error of several lines.
pub(crate) fn may_run_code(command: CommandRef<'_>) -> bool {
    command.is_said_to_run_code() || names_code(command.name())
}

fn names_code(name: &[u8]) -> bool {
    let is_script = || special(name).is_some_and(|special| special.runs_code);
    // Looked at for each command that is sent: most begin with another letter.
    matches!(name.first(), Some(b'e' | b'E' | b'f' | b'F')) && is_script() || name.contains(&b'.')
}

/// Tells whether a command stops what keeps a node or a client busy, and so must not wait behind that on a connection.
pub(crate) fn stops_others(command: CommandRef<'_>) -> bool {
    let name = command.name();
    // Looked at for each command that is sent by itself.
    let is_one = [&b"CLIENT"[..], b"SCRIPT", b"FUNCTION"].iter().any(|known| name.eq_ignore_ascii_case(known));
    let subcommand = || command.words().nth(1);
    is_one && subcommand().and_then(|sub| special_subcommand(name, sub)).is_some_and(|special| special.stops)
}

/// Tells whether [`why_not_shared`] depends on more of a command than its name.
pub(crate) fn differs_by_arguments(name: &[u8]) -> bool {
    if !may_be_special(name) {
        return false;
    }
    let own = special(name).is_some_and(|own| own.not_shared.is_some() && own.not_shared_when != When::Always);
    let start = name.iter().chain(b"|").map(u8::to_ascii_lowercase);
    let from = ROWS.partition_point(|row| row.name.bytes().lt(start.clone()));
    let mut subcommands = ROWS[from..].iter().take_while(|row| row.name.bytes().take(name.len() + 1).eq(start.clone()));
    own || subcommands.any(|row| row.not_shared.is_some())
}

/// Tells whether a command with these arguments, those behind its key, reads keys that they do not name, as `SORT` does with
/// `BY` or `GET`.
pub(crate) fn reads_by_pattern<'a>(name: &[u8], args: impl Iterator<Item = &'a [u8]>) -> bool {
    let Some(special) = special(name).filter(|special| !special.reads_by.is_empty()) else { return false };
    let is_one = |arg: &[u8]| special.reads_by.iter().any(|option| arg.eq_ignore_ascii_case(option));
    special.options(args).any(is_one)
}

fn is_of_rmr(name: &[u8]) -> bool {
    name.get(..4).is_some_and(|start| start.eq_ignore_ascii_case(b"RMR."))
}

impl Description {
    /// Returns what is special about the command.
    pub(crate) fn special(&self) -> Option<&'static Special> {
        special(self.name.as_bytes())
    }

    /// Tells whether shared connections cannot carry the command, whatever its arguments are.
    pub(crate) fn is_never_shared(&self) -> bool {
        let refuses = |special: &Special| special.not_shared.is_some() && special.not_shared_when == When::Always;
        is_of_rmr(self.name.as_bytes()) || self.special().is_some_and(refuses)
    }

    /// Returns why the command is not run cluster-wide; `None` if it is. Commands that shared connections cannot carry
    /// at all are refused by the engine itself.
    pub(crate) fn why_not_cluster_wide(&self) -> Option<&'static str> {
        self.special().and_then(|special| special.not_cluster_wide).or_else(|| {
            let family = FAMILIES
                .iter()
                .find(|(start, flag, _)| self.name.starts_with(start) && flag.is_none_or(|flag| self.has_flag(flag)));
            family.map(|&(.., reason)| reason)
        })
    }

    /// Tells whether the command belongs to those about scripts and functions.
    pub(crate) fn is_about_scripts(&self) -> bool {
        self.categories.iter().any(|category| category == "@scripting")
    }

    /// Tells whether the command may run code of others, by whatever name.
    pub(crate) fn may_run_code(&self) -> bool {
        let is_part_of_another = self.name.contains('|') || !self.subcommands.is_empty();
        self.has_flag("module") || (self.is_about_scripts() && self.has_flag("noscript") && !is_part_of_another)
    }

    /// Tells whether the command blocks its client, unless that takes an option.
    pub(crate) fn blocks_always(&self) -> bool {
        self.has_flag("blocking") && !self.special().is_some_and(Special::blocks_by_option)
    }
}

#[cfg(test)]
mod tests {
    use super::table::{CLIENTS_OWN_WRITES, ITS_NODE, ONE_NODE};
    use super::*;

    #[test]
    fn each_name_has_one_row_in_lower_case_that_is_found_in_any_letters() {
        for (at, row) in TABLE.iter().enumerate() {
            assert!(TABLE[..at].iter().all(|other| other.name != row.name), "{} stands twice", row.name);
            assert_eq!(row.name, row.name.to_ascii_lowercase());
            let found = special(row.name.to_ascii_uppercase().as_bytes()).unwrap();
            assert_eq!(found.name, row.name);
        }
        assert!(ROWS.is_sorted_by_key(|row| row.name));
        for row in &ROWS {
            let name = row.name.split('|').next().unwrap_or_default();
            assert!(may_be_special(name.to_uppercase().as_bytes()), "{name}");
        }
        assert!(["", "get", "zrangebyscore"].iter().all(|name| !may_be_special(name.as_bytes())));
        assert!(special(b"get").is_none() && special(b"client|list").is_none() && special(b"").is_none());
        assert_eq!(special_subcommand(b"Client", b"REPLY"), special(b"client|reply"));
        assert!(special(b"a name that is longer than all that there are").is_none());
    }

    #[cfg(feature = "module")]
    #[test]
    fn commands_about_their_connection_are_told_apart() {
        let needs = |line: &str| needs_own_connection(&Command::from_args(line.split(' ')).unwrap());
        for line in [
            "MULTI",
            "exec",
            "WATCH k",
            "MONITOR",
            "psync ? -1",
            "SUBSCRIBE c",
            "CLIENT REPLY OFF",
            "SELECT 1",
            "WAIT 1 1",
            "HELLO",
        ] {
            assert!(needs(line), "{line}");
        }
        for line in ["GET k", "CLIENT LIST", "CLIENT", "CLIENT KILL ID 1", "BLPOP k 0", "SHUTDOWN", "SCRIPT LOAD x"] {
            assert!(!needs(line), "{line}");
        }
    }

    #[test]
    fn code_of_others_is_known_by_name() {
        for row in TABLE {
            assert_eq!(names_code(row.name.to_ascii_uppercase().as_bytes()), row.runs_code, "{}", row.name);
        }
        assert!(names_code(b"JSON.SET") && !names_code(b"EXISTS") && !names_code(b"FUNCTION") && !names_code(b""));
    }

    #[test]
    fn code_of_others_is_known_by_whatever_name_the_server_describes_it() {
        let runs_code = |name: &str, flags: &[&str], category: &str| {
            let flags = flags.iter().map(|flag| (*flag).to_owned()).collect();
            let description =
                Description { name: name.into(), flags, categories: vec![category.into()], ..Description::default() };
            description.may_run_code()
        };
        assert!(runs_code("renamed", &["noscript"], "@scripting") && runs_code("set2", &["module"], "@write"));
        assert!(!runs_code("script|kill", &["noscript"], "@scripting") && !runs_code("get", &["readonly"], "@read"));
    }

    #[test]
    fn what_stops_others_is_known() {
        let stops = |line: &str| stops_others((&Command::from_args(line.split(' ')).unwrap()).into());
        let rows = TABLE.iter().filter(|row| row.stops);
        assert!(
            rows.clone().count() > 3 && rows.into_iter().all(|row| stops(&row.name.to_uppercase().replace('|', " ")))
        );
        assert!(!stops("CLIENT LIST") && !stops("CLIENT") && !stops("SET KILL") && !stops("SCRIPT LOAD kill"));
    }

    #[test]
    fn some_commands_differ_by_their_arguments() {
        for name in ["CLIENT", "function", "MODULE", "script", "XREAD", "xreadgroup"] {
            assert!(differs_by_arguments(name.as_bytes()), "{name}");
        }
        for name in ["GET", "BLPOP", "CLUSTER", "ACL", "CLIEN", "CLIENTS", "client|reply", "zzz", ""] {
            assert!(!differs_by_arguments(name.as_bytes()), "{name}");
        }
    }

    #[test]
    fn a_stream_is_read_without_blocking_unless_an_option_says_so() {
        let blocks = |name: &str, line: &str| {
            let special = special(name.as_bytes()).unwrap();
            special.has_blocking_option(line.split(' ').map(str::as_bytes))
        };
        assert!(blocks("XREAD", "COUNT 1 block 0 STREAMS s $"));
        assert!(!blocks("XREAD", "COUNT 1 STREAMS BLOCK 0"));
        assert!(blocks("xreadgroup", "GROUP g c BLOCK 0 STREAMS s >"));
        assert!(blocks("xreadgroup", "NOACK block 0 GROUP count streams STREAMS s >"));
        for (group, consumer) in [("block", "c"), ("g", "BLOCK"), ("streams", "block"), ("COUNT", "block")] {
            assert!(
                !blocks("xreadgroup", &format!("GROUP {group} {consumer} COUNT 1 STREAMS block >")),
                "{group} {consumer}"
            );
            assert!(
                blocks("XREADGROUP", &format!("count 1 group {group} {consumer} BLOCK 0 STREAMS s >")),
                "{group} {consumer}"
            );
        }
        assert!(!blocks("XREAD", "COUNT block STREAMS s $") && !blocks("XREADGROUP", "GROUP"));
        assert!(!blocks("blpop", "BLOCK 0"), "it always does");
    }

    #[test]
    fn only_sort_reads_by_patterns() {
        let reads = |name: &str, line: &str| reads_by_pattern(name.as_bytes(), line.split(' ').map(str::as_bytes));
        assert!(reads("SORT", "ALPHA by w_*") && reads("sort_ro", "GET #"));
        assert!(!reads("SORT", "ALPHA DESC") && !reads("LPUSH", "BY GET"));
        assert!(
            !reads("SORT", "LIMIT 0 1 STORE get") && reads("SORT", "STORE get GET #") && !reads("SORT", "LIMIT by by")
        );
    }

    #[test]
    fn what_is_about_one_node_is_not_run_cluster_wide() {
        let described = |name: &str, flags: &[&str]| Description {
            name: name.into(),
            flags: flags.iter().map(|flag| (*flag).to_owned()).collect(),
            ..Description::default()
        };
        assert_eq!(described("cluster|meet", &["admin"]).why_not_cluster_wide(), Some(ONE_NODE));
        assert_eq!(described("cluster|info", &[]).why_not_cluster_wide(), None);
        assert_eq!(described("ft.cursor", &[]).why_not_cluster_wide(), Some(ITS_NODE));
        assert_eq!(described("wait", &[]).why_not_cluster_wide(), Some(CLIENTS_OWN_WRITES));
        assert_eq!(described("get", &[]).why_not_cluster_wide(), None);
    }
}
