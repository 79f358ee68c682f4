//! The options that stand before a command that may go to several nodes: those of `RMR.FANOUT`, `RMR.EXEC` and `RMR.EXPLAIN`.

use std::time::Duration;

use super::cursor::{ArgumentCursor, wrong};
use crate::engine::Targets;
use crate::error::Error;
use crate::reduce::Builtin;

/// The options before an inner command, and that command.
#[derive(Debug, Default)]
pub(in crate::module::commands) struct Inner<'a> {
    pub(in crate::module::commands) targets: Option<Targets>,
    pub(in crate::module::commands) timeout: Option<Duration>,
    pub(in crate::module::commands) partial: bool,
    pub(in crate::module::commands) inconsistent: bool,
    pub(in crate::module::commands) with_nodes: bool,
    pub(in crate::module::commands) reducer: Option<Builtin>,
    pub(in crate::module::commands) nonatomic: bool,
    /// The inner command; never empty.
    pub(in crate::module::commands) args: &'a [&'a [u8]],
}

/// `[ON PRIMARIES|REPLICAS|ALL] [NODE id [NODE ...]] [KEY key [KEY ...]] [TIMEOUT ms] [PARTIAL] [INCONSISTENT] [WITHNODES] [REDUCE reducer]
/// [--] command [arg ...]`, options in any order.
pub(in crate::module::commands) fn fan_out<'a>(args: &'a [&'a [u8]]) -> Result<Inner<'a>, Error> {
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
pub(in crate::module::commands) fn exec<'a>(args: &'a [&'a [u8]]) -> Result<Inner<'a>, Error> {
    inner(args, |cursor, typed| {
        let is_known = cursor.word("NONATOMIC");
        typed.nonatomic |= is_known;
        Ok(is_known)
    })
}

/// Reads the options that all have in common, and what `more` knows besides.
fn inner<'a>(
    args: &'a [&'a [u8]],
    more: impl Fn(&mut ArgumentCursor<'a>, &mut Inner<'a>) -> Result<bool, Error>,
) -> Result<Inner<'a>, Error> {
    let mut cursor = ArgumentCursor { args };
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

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::typed::{error, words};
    use super::*;

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

    proptest! {
        #[test]
        fn any_arguments_are_taken_or_refused(args in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..12), 0..12)) {
            let args: Vec<&[u8]> = args.iter().map(Vec::as_slice).collect();
            let _ = fan_out(&args);
        }

        #[test]
        fn whatever_follows_the_options_is_the_command(args in prop::collection::vec("[A-Za-z0-9{}-]{0,8}", 1..8)) {
            let line: Vec<&[u8]> = ["PARTIAL", "--"].into_iter().chain(args.iter().map(String::as_str)).map(str::as_bytes).collect();
            prop_assert_eq!(fan_out(&line).unwrap().args, &line[2..]);
        }
    }
}
