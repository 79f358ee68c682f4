//! Reading the options that stand before an inner command.

use std::collections::HashSet;
use std::time::Duration;

use crate::command::{Command, CommandSet, PerKey, printable};
use crate::engine::{Options, Targets};
use crate::error::Error;
use crate::reduce::{Builtin, Prefix};

/// The longest timeout that is taken: an hour.
const LONGEST_TIMEOUT_MS: u64 = 3_600_000;

/// The most keys or groups that a reducer can be asked for.
const MOST_WANTED: u32 = 1_000_000;

/// A reducer as it was typed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum NamedReducer {
    Builtin(Builtin),
    ByPrefix(Prefix),
}

/// A map as it was typed.
#[derive(Debug)]
pub(super) struct MapArgs {
    pub(super) options: Options,
    pub(super) partial: bool,
    pub(super) reducer: NamedReducer,
    pub(super) commands: CommandSet,
}

/// Walks the arguments.
struct Cursor<'a> {
    args: &'a [&'a [u8]],
}

impl<'a> Cursor<'a> {
    /// Takes the next argument if it is this word, in any case.
    fn word(&mut self, word: &str) -> bool {
        let is_next = self.args.first().is_some_and(|arg| arg.eq_ignore_ascii_case(word.as_bytes()));
        if is_next {
            self.args = &self.args[1..];
        }
        is_next
    }

    fn value(&mut self, option: &str, allowed: &str) -> Result<&'a [u8], Error> {
        let (&first, rest) =
            self.args.split_first().ok_or_else(|| Error::Invalid(format!("{option} has no value; give {allowed}")))?;
        self.args = rest;
        Ok(first)
    }

    fn timeout(&mut self) -> Result<Duration, Error> {
        let allowed = format!("milliseconds from 1 to {LONGEST_TIMEOUT_MS}");
        let given = self.value("TIMEOUT", &allowed)?;
        let millis = integer(given).filter(|millis| (1..=LONGEST_TIMEOUT_MS).contains(millis));
        millis.map(Duration::from_millis).ok_or_else(|| wrong("TIMEOUT", given, &allowed))
    }

    /// How many of something follow.
    fn count(&mut self, what: impl Fn() -> String) -> Result<usize, Error> {
        const ALLOWED: &str = "how many follow, 1 or more";
        let given = self.value(&what(), ALLOWED)?;
        let count = integer(given).and_then(|count| usize::try_from(count).ok()).filter(|&count| count > 0);
        count.ok_or_else(|| wrong(&what(), given, ALLOWED))
    }

    /// `LIST|SUM|...|TOP n|...`
    fn builtin(&mut self, option: &str, more: &str) -> Result<Builtin, Error> {
        let allowed = format!("one of {}{more}", Builtin::ALL.map(shown).join(", "));
        let given = self.value(option, &allowed)?;
        let reducer = Builtin::named(given).ok_or_else(|| wrong(option, given, &allowed))?;
        match reducer.most() {
            None => Ok(reducer),
            Some(_) => Ok(reducer.with_most(self.most(reducer.name())?)),
        }
    }

    /// The number behind the name of a reducer.
    fn most(&mut self, name: &str) -> Result<u32, Error> {
        let allowed = format!("how many are wanted, from 1 to {MOST_WANTED}");
        let given = self.value(name, &allowed)?;
        let most =
            integer(given).and_then(|most| u32::try_from(most).ok()).filter(|most| (1..=MOST_WANTED).contains(most));
        most.ok_or_else(|| wrong(name, given, &allowed))
    }

    /// A built-in reducer, or `PREFIX separator reducer`.
    fn reducer(&mut self, option: &str) -> Result<NamedReducer, Error> {
        if !self.word("PREFIX") {
            return Ok(NamedReducer::Builtin(self.builtin(option, ", PREFIX separator reducer")?));
        }
        let separator = self.value("PREFIX", "a separator, then a reducer")?;
        if separator.is_empty() {
            return Err(Error::Invalid(
                "the separator of PREFIX is empty; give what ends a prefix, such as ':'".into(),
            ));
        }
        Ok(NamedReducer::ByPrefix(Prefix::new(separator, self.builtin("the reducer of PREFIX", "")?)))
    }
}

/// A reducer as messages name it.
fn shown(reducer: Builtin) -> String {
    if reducer.most().is_some() { format!("{} n", reducer.name()) } else { reducer.name().to_owned() }
}

/// Reads digits as the server does: no sign and no leading zero.
fn integer(text: &[u8]) -> Option<u64> {
    let is_plain = text.iter().all(u8::is_ascii_digit) && (text.len() == 1 || !text.starts_with(b"0"));
    std::str::from_utf8(text).ok().filter(|_| is_plain)?.parse().ok()
}

fn wrong(option: &str, given: &[u8], allowed: &str) -> Error {
    Error::Invalid(format!("{option} is '{}'; give {allowed}", printable(given)))
}

/// What stands before an inner command, and that command.
#[derive(Debug, Default)]
pub(super) struct Inner<'a> {
    pub(super) targets: Option<Targets>,
    pub(super) timeout: Option<Duration>,
    pub(super) partial: bool,
    pub(super) inconsistent: bool,
    pub(super) with_nodes: bool,
    pub(super) reducer: Option<Builtin>,
    pub(super) nonatomic: bool,
    /// The inner command; never empty.
    pub(super) args: &'a [&'a [u8]],
}

/// `[ON PRIMARIES|REPLICAS|ALL] [NODE id [NODE ...]] [KEY key [KEY ...]] [TIMEOUT ms] [PARTIAL] [INCONSISTENT] [WITHNODES] [REDUCE reducer]
/// [--] command [arg ...]`, options in any order.
pub(super) fn fan_out<'a>(args: &'a [&'a [u8]]) -> Result<Inner<'a>, Error> {
    inner(args, |cursor, typed| {
        let is_known = cursor.word("REDUCE");
        if is_known {
            if cursor.word("PREFIX") {
                return Err(Error::Invalid(
                    "PREFIX goes by keys, and a fan-out has none; give another reducer, or RMR.MAP with keys".into(),
                ));
            }
            typed.reducer = Some(cursor.builtin("REDUCE", "")?);
        }
        Ok(is_known)
    })
}

/// `[ON PRIMARIES|REPLICAS|ALL] [NODE id [NODE ...]] [KEY key [KEY ...]] [TIMEOUT ms] [PARTIAL] [INCONSISTENT] [WITHNODES] [NONATOMIC]
/// [--] command [arg ...]`, options in any order.
pub(super) fn exec<'a>(args: &'a [&'a [u8]]) -> Result<Inner<'a>, Error> {
    inner(args, |cursor, typed| {
        let is_known = cursor.word("NONATOMIC");
        typed.nonatomic |= is_known;
        Ok(is_known)
    })
}

/// Reads the options that all have in common, and what `more` knows besides.
fn inner<'a>(
    args: &'a [&'a [u8]],
    more: impl Fn(&mut Cursor<'a>, &mut Inner<'a>) -> Result<bool, Error>,
) -> Result<Inner<'a>, Error> {
    let mut cursor = Cursor { args };
    let mut typed = Inner::default();
    let (mut on, mut nodes, mut keys) = (None, Vec::new(), Vec::new());
    loop {
        if cursor.word("ON") {
            let allowed = "PRIMARIES, REPLICAS or ALL";
            let given = cursor.value("ON", allowed)?;
            on = Some(match given.to_ascii_uppercase().as_slice() {
                b"PRIMARIES" => Targets::Primaries,
                b"REPLICAS" => Targets::Replicas,
                b"ALL" => Targets::All,
                _ => return Err(wrong("ON", given, allowed)),
            });
        } else if cursor.word("NODE") {
            let node = cursor.value("NODE", "a node's id or address")?;
            nodes.push(String::from_utf8_lossy(node).into_owned());
        } else if cursor.word("KEY") {
            keys.push(cursor.value("KEY", "a key, whose node is meant")?.to_vec());
        } else if cursor.word("TIMEOUT") {
            typed.timeout = Some(cursor.timeout()?);
        } else if cursor.word("PARTIAL") {
            typed.partial = true;
        } else if cursor.word("INCONSISTENT") {
            typed.inconsistent = true;
        } else if cursor.word("WITHNODES") {
            typed.with_nodes = true;
        } else if !more(&mut cursor, &mut typed)? {
            cursor.word("--");
            break;
        }
    }
    typed.targets = match (on, nodes.is_empty(), keys.is_empty()) {
        (on, true, true) => on,
        (None, false, true) => Some(Targets::Nodes(nodes)),
        (None, true, false) => Some(Targets::Keys(keys)),
        _ => return Err(Error::Invalid("ON, NODE and KEY exclude each other; give one of them".into())),
    };
    if typed.with_nodes && typed.reducer.is_some() {
        return Err(Error::Invalid("WITHNODES and REDUCE exclude each other; give one of them".into()));
    }
    typed.args = cursor.args;
    if typed.args.is_empty() {
        return Err(Error::Invalid("there is no command to send; give command [arg ...] after the options".into()));
    }
    Ok(typed)
}

/// `[TIMEOUT ms] [PARTIAL] reducer numkeys key [key ...] command [arg ...]`
pub(super) fn map(args: &[&[u8]]) -> Result<MapArgs, Error> {
    let mut cursor = Cursor { args };
    let (mut options, mut partial) = (Options::new(), false);
    loop {
        if cursor.word("TIMEOUT") {
            options = options.timeout(cursor.timeout()?);
        } else if cursor.word("PARTIAL") {
            partial = true;
        } else {
            break;
        }
    }
    let reducer = cursor.reducer("the reducer")?;
    let allowed = "how many keys follow, 1 or more";
    let given = cursor.value("numkeys", allowed)?;
    let count = integer(given).filter(|&count| count > 0).ok_or_else(|| wrong("numkeys", given, allowed))?;
    let there = cursor.args.len();
    let count = usize::try_from(count).ok().filter(|&count| count < there).ok_or_else(|| {
        let given = printable(given);
        Error::Invalid(format!("numkeys is '{given}', but {there} arguments follow; give the keys, then a command"))
    })?;
    let (keys, template) = cursor.args.split_at(count);
    let commands = for_each_key(template, keys);
    Ok(MapArgs { options: options.partial(partial), partial, reducer, commands })
}

/// Lists of commands as they were typed.
#[derive(Debug, Default)]
pub(super) struct BatchArgs<'a> {
    pub(super) timeout: Option<Duration>,
    pub(super) no_merge: bool,
    /// Routing keys, all different, each with its commands; neither lists nor commands are empty.
    pub(super) lists: Vec<(&'a [u8], Vec<Words<'a>>)>,
}

/// A command's name and its arguments.
type Words<'a> = &'a [&'a [u8]];

/// `[TIMEOUT ms] [NOMERGE] [--] routing-key numcommands numargs command [arg ...] [numargs command [arg ...] ...]
/// [routing-key ...]`. All is counted, so that no argument can be mistaken for anything else.
pub(super) fn batch<'a>(args: &'a [&'a [u8]]) -> Result<BatchArgs<'a>, Error> {
    let mut cursor = Cursor { args };
    let mut batch = BatchArgs::default();
    loop {
        if cursor.word("TIMEOUT") {
            batch.timeout = Some(cursor.timeout()?);
        } else if cursor.word("NOMERGE") {
            batch.no_merge = true;
        } else {
            cursor.word("--");
            break;
        }
    }
    let mut keys = HashSet::new();
    loop {
        let key = cursor.value("the batch", "routing-key numcommands numargs command [arg ...]")?;
        let shown = || printable(key);
        if !keys.insert(key) {
            return Err(Error::Invalid(format!("the routing key '{}' stands twice; give it one list", shown())));
        }
        let count = cursor.count(|| format!("numcommands of '{}'", shown()))?;
        // No more room than there can be commands.
        let mut commands = Vec::with_capacity(count.min(cursor.args.len() / 2));
        for number in 1..=count {
            let length = cursor.count(|| format!("numargs of command {number} of '{}'", shown()))?;
            let there = cursor.args.len();
            let Some((command, rest)) = cursor.args.split_at_checked(length) else {
                return Err(Error::Invalid(format!(
                    "numargs of command {number} of '{}' is {length}, but {there} arguments follow; it counts the \
                     command's name and its arguments",
                    shown()
                )));
            };
            commands.push(command);
            cursor.args = rest;
        }
        batch.lists.push((key, commands));
        if cursor.args.is_empty() {
            return Ok(batch);
        }
    }
}

/// The command for each key: an argument `{}` is the key; where there is none, the key follows the command's name.
fn for_each_key(template: &[&[u8]], keys: &[&[u8]]) -> CommandSet {
    const PLACE: &[u8] = b"{}";
    let command = |args: &[&[u8]]| args.iter().skip(1).fold(Command::new(args[0]), Command::arg);
    let places = template.iter().skip(1).filter(|&&arg| arg == PLACE).count();
    if places > 1 {
        let fill_in = |key: &&[u8]| {
            let add = |command: Command, arg: &&[u8]| if *arg == PLACE { command.key(key) } else { command.arg(arg) };
            template.iter().skip(1).fold(Command::new(template[0]), add)
        };
        return CommandSet::Each(keys.iter().map(fill_in).collect());
    }
    let (before, after) = match template.iter().skip(1).position(|&arg| arg == PLACE) {
        Some(at) => (&template[..=at], &template[at + 2..]),
        None => template.split_at(1),
    };
    CommandSet::PerKey(after.iter().fold(PerKey::new(command(before), keys), PerKey::arg))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn words(line: &str) -> Vec<&[u8]> {
        line.split_whitespace().map(str::as_bytes).collect()
    }

    fn error<T: std::fmt::Debug>(result: Result<T, Error>) -> String {
        result.unwrap_err().to_string()
    }

    #[test]
    fn options_come_in_any_order_and_case() {
        let line = words("partial TIMEOUT 20 node a Node b:1 withnodes CONFIG GET on");
        let typed = fan_out(&line).unwrap();
        assert_eq!(typed.targets, Some(Targets::Nodes(vec!["a".into(), "b:1".into()])));
        assert!(typed.partial && typed.with_nodes && typed.reducer.is_none());
        assert_eq!(typed.args, words("CONFIG GET on"));
        assert!(!typed.inconsistent && fan_out(&words("inconsistent DBSIZE")).unwrap().inconsistent);
        assert!(exec(&words("PARTIAL Inconsistent DBSIZE")).unwrap().inconsistent);
        let line = words("KEY a:1 key b:1 DBSIZE");
        assert_eq!(fan_out(&line).unwrap().targets, Some(Targets::Keys(vec![b"a:1".into(), b"b:1".into()])));
        assert_eq!(fan_out(&words("ON replicas REDUCE sum DBSIZE")).unwrap().reducer, Some(Builtin::Sum));
    }

    #[test]
    fn two_dashes_end_the_options() {
        let line = words("PARTIAL -- NODE x");
        let typed = fan_out(&line).unwrap();
        assert_eq!(typed.args, words("NODE x"));
        assert_eq!(fan_out(&words("-- -- x")).unwrap().args, words("-- x"));
    }

    #[test]
    fn bad_options_say_what_is_allowed() {
        let fan_out = |line| error(fan_out(&words(line)));
        for line in ["TIMEOUT +5 PING", "TIMEOUT 05 PING", "TIMEOUT -5 PING"] {
            let given = words(line)[1].escape_ascii();
            assert_eq!(fan_out(line), format!("TIMEOUT is '{given}'; give milliseconds from 1 to 3600000"));
        }
        assert_eq!(fan_out("ON SHARDS PING"), "ON is 'SHARDS'; give PRIMARIES, REPLICAS or ALL");
        assert_eq!(fan_out("TIMEOUT 0 PING"), "TIMEOUT is '0'; give milliseconds from 1 to 3600000");
        assert_eq!(fan_out("TIMEOUT"), "TIMEOUT has no value; give milliseconds from 1 to 3600000");
        let known = "give one of LIST, SUM, AVG, MIN, MAX, COUNT, CONCAT, UNION, TOP n, BOTTOM n, GROUP, TOPGROUPS n, STATS, \
                     DISTINCT";
        assert!(fan_out("REDUCE median PING").ends_with(known));
        assert!(fan_out("REDUCE PREFIX : SUM PING").starts_with("PREFIX goes by keys"));
        assert!(fan_out("PARTIAL").contains("no command"));
        for line in ["ON ALL NODE a PING", "KEY k NODE a PING", "ON ALL KEY k PING"] {
            assert_eq!(fan_out(line), "ON, NODE and KEY exclude each other; give one of them", "{line}");
        }
        assert_eq!(fan_out("KEY"), "KEY has no value; give a key, whose node is meant");
        assert!(fan_out("WITHNODES REDUCE SUM PING").contains("exclude each other"));
    }

    #[test]
    fn a_map_fills_in_its_keys() {
        let typed = map(&words("SUM 3 cart:1 cart:2 cart:3 HGET {} price")).unwrap();
        let commands: Vec<String> = typed.commands.iter().map(|one| one.command().to_string()).collect();
        assert_eq!(commands, ["HGET cart:1 price", "HGET cart:2 price", "HGET cart:3 price"]);
        assert_eq!(typed.commands.at(1).routing_key(), Some(&b"cart:2"[..]));
        let typed = map(&words("LIST 1 k GETRANGE 0 3")).unwrap();
        assert_eq!(typed.commands.at(0).command().to_string(), "GETRANGE k 0 3");
        let typed = map(&words("LIST 1 k COPY {} {} REPLACE")).unwrap();
        assert_eq!(typed.commands.at(0).command().to_string(), "COPY k k REPLACE");
    }

    #[test]
    fn a_reducer_takes_what_belongs_to_it() {
        let reducer = |line| map(&words(line)).map(|typed| typed.reducer);
        assert_eq!(reducer("top 3 1 k GET").unwrap(), NamedReducer::Builtin(Builtin::Top(3)));
        assert_eq!(reducer("TOPGROUPS 1000000 1 k GET").unwrap(), NamedReducer::Builtin(Builtin::TopGroups(1_000_000)));
        assert_eq!(reducer("STATS 1 k GET").unwrap(), NamedReducer::Builtin(Builtin::Stats));
        let by_prefix = NamedReducer::ByPrefix(Prefix::new("::", Builtin::Bottom(2)));
        assert_eq!(reducer("prefix :: bottom 2 1 k GET").unwrap(), by_prefix);
        for line in ["TOP 0 1 k GET", "TOP x 1 k GET", "TOP 1000001 1 k GET", "PREFIX : TOP 0 1 k GET"] {
            let error = error(reducer(line));
            assert!(error.starts_with("TOP is '") && error.ends_with("'; give how many are wanted, from 1 to 1000000"));
        }
        let error = |line| error(reducer(line));
        assert!(
            error("PREFIX : PREFIX : SUM 1 k GET").starts_with("the reducer of PREFIX is 'PREFIX'; give one of LIST")
        );
        assert_eq!(error("PREFIX"), "PREFIX has no value; give a separator, then a reducer");
        let line = [&b"PREFIX"[..], b"", b"SUM", b"1", b"k", b"GET"];
        assert!(map(&line).unwrap_err().to_string().starts_with("the separator of PREFIX is empty"));
    }

    #[test]
    fn a_bad_map_says_what_is_missing() {
        let map = |line| error(map(&words(line)));
        assert!(map("MEDIAN 1 k GET").starts_with("the reducer is 'MEDIAN'; give one of LIST"));
        assert_eq!(map("SUM x k GET"), "numkeys is 'x'; give how many keys follow, 1 or more");
        assert_eq!(map("SUM 0 k GET"), "numkeys is '0'; give how many keys follow, 1 or more");
        let short = "numkeys is '2', but 2 arguments follow; give the keys, then a command";
        assert_eq!(map("SUM 2 k GET"), short);
        assert!(map("SUM 9223372036854775807 k GET").contains("but 2 arguments follow"));
    }

    #[test]
    fn a_batch_is_counted() {
        let line = words("TIMEOUT 9 -- TIMEOUT 2 3 SET TIMEOUT 1 2 GET TIMEOUT bar 1 1 PING");
        let typed = batch(&line).unwrap();
        assert_eq!(typed.timeout, Some(Duration::from_millis(9)));
        assert!(!typed.no_merge);
        let shown: Vec<(&[u8], Vec<usize>)> =
            typed.lists.iter().map(|(key, list)| (*key, list.iter().map(|command| command.len()).collect())).collect();
        assert_eq!(shown, [(&b"TIMEOUT"[..], vec![3, 2]), (&b"bar"[..], vec![1])]);
        assert!(batch(&words("nomerge k 1 1 PING")).unwrap().no_merge);
    }

    #[test]
    fn a_bad_batch_says_where() {
        let batch = |line| error(batch(&words(line)));
        let numbered = "numcommands of 'k' is '0'; give how many follow, 1 or more";
        assert_eq!(batch("k 0"), numbered);
        assert!(batch("").starts_with("the batch has no value; give routing-key numcommands"));
        assert_eq!(batch("k"), "numcommands of 'k' has no value; give how many follow, 1 or more");
        assert_eq!(batch("k 2 1 PING"), "numargs of command 2 of 'k' has no value; give how many follow, 1 or more");
        assert_eq!(batch("k 1 x PING"), "numargs of command 1 of 'k' is 'x'; give how many follow, 1 or more");
        let short = "numargs of command 1 of 'k' is 3, but 2 arguments follow; it counts the command's name and its \
                     arguments";
        assert_eq!(batch("k 1 3 SET k"), short);
        assert_eq!(batch("k 1 1 PING k 1 1 PING"), "the routing key 'k' stands twice; give it one list");
        assert!(batch("k 1 9223372036854775807 GET k").contains("but 2 arguments follow"));
        assert!(batch("k 9223372036854775807 2 GET k").contains("numargs of command 2"));
    }

    proptest! {
        #[test]
        fn any_arguments_are_taken_or_refused(args in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..12), 0..12)) {
            let args: Vec<&[u8]> = args.iter().map(Vec::as_slice).collect();
            let _ = fan_out(&args);
            let _ = map(&args);
            let _ = batch(&args);
        }

        #[test]
        fn whatever_follows_the_options_is_the_command(args in prop::collection::vec("[A-Za-z0-9{}-]{0,8}", 1..8)) {
            let line: Vec<&[u8]> = ["PARTIAL", "--"].into_iter().chain(args.iter().map(String::as_str)).map(str::as_bytes).collect();
            prop_assert_eq!(fan_out(&line).unwrap().args, &line[2..]);
        }
    }
}
