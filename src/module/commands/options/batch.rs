//! The arguments of `RMR.BATCH`: lists of commands, all counted.

use std::collections::HashSet;
use std::time::Duration;

use super::cursor::ArgumentCursor;
use crate::command::printable;
use crate::error::Error;

/// Lists of commands as they were typed.
#[derive(Debug, Default)]
pub(in crate::module::commands) struct BatchArgs<'a> {
    pub(in crate::module::commands) timeout: Option<Duration>,
    pub(in crate::module::commands) no_merge: bool,
    /// Routing keys, all different, each with its commands; neither lists nor commands are empty.
    pub(in crate::module::commands) lists: Vec<(&'a [u8], Vec<Words<'a>>)>,
}

/// A command's name and its arguments.
type Words<'a> = &'a [&'a [u8]];

/// `[TIMEOUT ms] [NOMERGE] [--] routing-key numcommands numargs command [arg ...] [numargs command [arg ...] ...]
/// [routing-key ...]`. All is counted, so that no argument can be mistaken for anything else.
pub(in crate::module::commands) fn batch<'a>(args: &'a [&'a [u8]]) -> Result<BatchArgs<'a>, Error> {
    let mut cursor = ArgumentCursor { args };
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

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::typed::{error, words};
    use super::*;

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
            let _ = batch(&args);
        }
    }
}
