//! What `RMR.MAP` takes.

use super::cursor::{ArgumentCursor, integer, wrong};
use super::reducer::NamedReducer;
use crate::command::{Command, CommandSet, PerKey, printable};
use crate::engine::Options;
use crate::error::Error;

/// A map as it was typed.
#[derive(Debug)]
pub(in crate::module::commands) struct MapArgs {
    pub(in crate::module::commands) options: Options,
    pub(in crate::module::commands) partial: bool,
    pub(in crate::module::commands) reducer: NamedReducer,
    pub(in crate::module::commands) commands: CommandSet,
}

/// `[TIMEOUT ms] [PARTIAL] reducer numkeys key [key ...] command [arg ...]`
pub(in crate::module::commands) fn map(args: &[&[u8]]) -> Result<MapArgs, Error> {
    let mut cursor = ArgumentCursor { args };
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
    use crate::reduce::{Builtin, Prefix};

    fn words(line: &str) -> Vec<&[u8]> {
        line.split_whitespace().map(str::as_bytes).collect()
    }

    fn error<T: std::fmt::Debug>(result: Result<T, Error>) -> String {
        result.unwrap_err().to_string()
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

    proptest! {
        #[test]
        fn any_arguments_are_taken_or_refused(args in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..12), 0..12)) {
            let args: Vec<&[u8]> = args.iter().map(Vec::as_slice).collect();
            let _ = map(&args);
        }
    }
}
