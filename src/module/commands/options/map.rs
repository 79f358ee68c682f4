//! The arguments of `RMR.MAP`.

use std::time::Duration;

use super::cursor::{ArgumentCursor, integer, wrong};
use super::pattern::{KeysByPattern, needs_match};
use super::reducer::NamedReducer;
use super::template::CommandTemplate;
use crate::command::{CommandSet, printable};
use crate::error::Error;
use crate::flow::into::ResultKey;

/// A map as it was typed.
#[derive(Debug)]
pub(in crate::module::commands) struct MapArgs {
    pub(in crate::module::commands) timeout: Option<Duration>,
    pub(in crate::module::commands) partial: bool,
    pub(in crate::module::commands) reducer: NamedReducer,
    pub(in crate::module::commands) over: MapOver,
}

/// The keys of a map.
#[derive(Debug)]
pub(in crate::module::commands) enum MapOver {
    /// Keys that were given, each with its command.
    Given(CommandSet),
    /// All keys of some kind.
    Matching { how: MatchOptions, keys: KeysByPattern },
}

/// The options that only a map over a pattern has.
#[derive(Debug, Default, PartialEq, Eq)]
pub(in crate::module::commands) struct MatchOptions {
    pub(in crate::module::commands) is_async: bool,
    pub(in crate::module::commands) into: Option<ResultKey>,
    pub(in crate::module::commands) on_replicas: bool,
}

/// `[TIMEOUT ms] [PARTIAL] reducer numkeys key [key ...] command [arg ...]`, or
/// `[TIMEOUT ms] [PARTIAL] [ASYNC] [INTO STREAM|LIST|HASH key] [ON PRIMARIES|REPLICAS] reducer MATCH pattern [TYPE type]
/// [LIMIT n] [--] [command [arg ...]]`, options in any order.
pub(in crate::module::commands) fn map(args: &[&[u8]]) -> Result<MapArgs, Error> {
    let mut cursor = ArgumentCursor { args };
    let (mut timeout, mut partial, mut how) = (None, false, MatchOptions::default());
    let mut only_with_match = None;
    loop {
        if cursor.word("TIMEOUT") {
            timeout = Some(cursor.timeout()?);
        } else if cursor.word("PARTIAL") {
            partial = true;
        } else if cursor.word("ASYNC") {
            how.is_async = true;
            only_with_match = Some("ASYNC");
        } else if cursor.word("INTO") {
            how.into = Some(cursor.result_key()?);
            only_with_match = Some("INTO");
        } else if cursor.word("ON") {
            how.on_replicas = cursor.on_replicas()?;
            only_with_match = Some("ON");
        } else {
            break;
        }
    }
    let reducer = cursor.reducer("the reducer")?;
    if cursor.word("MATCH") {
        let keys = cursor.keys_by_pattern()?;
        return Ok(MapArgs { timeout, partial, reducer, over: MapOver::Matching { how, keys } });
    }
    let allowed = "how many keys follow, 1 or more, or MATCH pattern";
    let given = cursor.value("numkeys", allowed)?;
    if let Some(option) = only_with_match {
        return Err(needs_match(option, given));
    }
    let count = integer(given).filter(|&count| count > 0).ok_or_else(|| wrong("numkeys", given, allowed))?;
    let there = cursor.args.len();
    let count = usize::try_from(count).ok().filter(|&count| count < there).ok_or_else(|| {
        let given = printable(given);
        Error::Invalid(format!("numkeys is '{given}', but {there} arguments follow; give the keys, then a command"))
    })?;
    let (keys, template) = cursor.args.split_at(count);
    Ok(MapArgs { timeout, partial, reducer, over: MapOver::Given(CommandTemplate(template).for_each(keys)) })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::typed::{error, words};
    use super::*;
    use crate::flow::into::ResultKind;
    use crate::flow::plan::{KeyFilter, KeyedCommand, ValuesRead};
    use crate::reduce::{Builtin, Prefix};

    fn given(typed: &MapArgs) -> &CommandSet {
        let MapOver::Given(commands) = &typed.over else { panic!("{:?} has no keys", typed.over) };
        commands
    }

    /// Reads the keys of a map over a pattern, and the options that only such a map has.
    fn matching(line: &str) -> Result<(KeysByPattern, MatchOptions), Error> {
        match map(&words(line))?.over {
            MapOver::Matching { keys, how } => Ok((keys, how)),
            MapOver::Given(commands) => panic!("{line}: {commands:?}"),
        }
    }

    fn shown(command: &KeyedCommand) -> String {
        command.words.iter().map(|word| String::from_utf8_lossy(word)).collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn a_map_over_a_pattern_has_options_before_and_behind_the_reducer() {
        let (keys, how) = matching("COUNT match user:*").unwrap();
        let filter = KeyFilter { pattern: b"user:*".into(), type_name: None, values: ValuesRead::No };
        assert_eq!(keys, KeysByPattern { filter, limit: None, command: None });
        assert_eq!(how, MatchOptions::default());

        let line = "on primaries partial INTO hash to async TIMEOUT 9 TOP 3 MATCH * LIMIT 20 TYPE Hash HGET {} a";
        let typed = map(&words(line)).unwrap();
        assert_eq!((typed.timeout, typed.partial), (Some(Duration::from_millis(9)), true));
        assert_eq!(typed.reducer, NamedReducer::Builtin(Builtin::Top(3)));
        let (keys, how) = matching(line).unwrap();
        assert_eq!((keys.filter.type_name.as_deref(), keys.limit), (Some("hash"), Some(20)));
        let command = keys.command.unwrap();
        assert_eq!((shown(&command).as_str(), command.key_at), ("HGET a", 1));
        assert!(how.is_async);
        assert_eq!(how.into, Some(ResultKey { kind: ResultKind::Hash, key: b"to".into() }));
    }

    #[test]
    fn two_dashes_stand_before_a_command_that_is_named_like_an_option() {
        let command = |line| shown(&matching(line).unwrap().0.command.unwrap());
        assert_eq!(command("LIST MATCH * -- TYPE {}"), "TYPE");
        assert_eq!(command("LIST MATCH * TYPE hash -- LIMIT"), "LIMIT");
        assert_eq!(command("LIST MATCH * -- -- {}"), "--");
        assert_eq!(matching("LIST MATCH MATCH").unwrap().0.filter.pattern, b"MATCH");
    }

    #[test]
    fn a_bad_map_over_a_pattern_says_what_is_allowed() {
        let error = |line: &str| error(map(&words(line)));
        assert_eq!(error("SUM MATCH"), "MATCH has no value; give a pattern, such as 'user:*'");
        assert_eq!(
            error("LIST MATCH * TYPE {}"),
            "TYPE is '{}'; give the name of a type, such as string or hash; a command TYPE stands behind '--'"
        );
        for line in ["LIST MATCH * LIMIT 0", "LIST MATCH * LIMIT x", "LIST MATCH * LIMIT 05"] {
            let given = line.rsplit(' ').next().unwrap();
            let allowed = "how many keys at most, 1 or more; a command LIMIT stands behind '--'";
            assert_eq!(error(line), format!("LIMIT is '{given}'; give {allowed}"));
        }
        assert_eq!(error("LIST MATCH * --"), "there is no command behind '--'; give command [arg ...]");
        assert_eq!(error("ON ALL SUM MATCH *"), "ON is 'ALL'; give PRIMARIES or REPLICAS");
        assert_eq!(error("INTO SET k SUM MATCH *"), "INTO is 'SET'; give STREAM, LIST or HASH, then a key");
        assert_eq!(error("INTO LIST"), "INTO has no value; give the key that the results go to");
        for option in ["ASYNC", "INTO LIST k", "ON PRIMARIES"] {
            let word = option.split(' ').next().unwrap();
            let expected = format!("{word} needs MATCH pattern behind the reducer, and there is '1'");
            let line = format!("{option} SUM 1 k GET");
            let refusal = error(&line);
            assert!(refusal.starts_with(&expected), "{refusal}");
        }
        assert!(error("LIST MATCH * COPY {} {}").contains("has 2 places {}"));
    }

    #[test]
    fn a_map_fills_in_its_keys() {
        let typed = map(&words("SUM 3 cart:1 cart:2 cart:3 HGET {} price")).unwrap();
        let commands: Vec<String> = given(&typed).iter().map(|one| one.command().to_string()).collect();
        assert_eq!(commands, ["HGET cart:1 price", "HGET cart:2 price", "HGET cart:3 price"]);
        assert_eq!(given(&typed).at(1).routing_key(), Some(&b"cart:2"[..]));
        let typed = map(&words("LIST 1 k GETRANGE 0 3")).unwrap();
        assert_eq!(given(&typed).at(0).command().to_string(), "GETRANGE k 0 3");
        let typed = map(&words("LIST 1 k COPY {} {} REPLACE")).unwrap();
        assert_eq!(given(&typed).at(0).command().to_string(), "COPY k k REPLACE");
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
        assert_eq!(map("SUM x k GET"), "numkeys is 'x'; give how many keys follow, 1 or more, or MATCH pattern");
        assert_eq!(map("SUM 0 k GET"), "numkeys is '0'; give how many keys follow, 1 or more, or MATCH pattern");
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
