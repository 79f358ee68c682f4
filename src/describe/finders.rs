//! Finds the keys of the few commands whose key specifications do not say where they stand: behind an option.
//!
//! These finders read the arguments as the server's own code for the command does. They spare the question to the server,
//! which loses memory with each answer that has many keys.

/// A key among the arguments, and the use that the command makes of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct KeyUse {
    pub(crate) at: usize,
    /// The command reads the key's value.
    pub(crate) reads: bool,
    /// The command changes the key's value.
    pub(crate) writes: bool,
}

impl KeyUse {
    const fn read(at: usize) -> Self {
        Self { at, reads: true, writes: false }
    }

    const fn write(at: usize) -> Self {
        Self { at, reads: false, writes: true }
    }
}

/// Finds the keys of one command among its arguments, its name included.
pub(super) type Finder = fn(&[&[u8]]) -> Vec<KeyUse>;

/// Returns the finder of a command, by its name in lower case.
pub(super) fn of(name: &str) -> Option<Finder> {
    Some(match name {
        "sort" => sort,
        "sort_ro" => first,
        "georadius" | "georadiusbymember" => georadius,
        "xread" | "xreadgroup" => streams,
        "migrate" => migrate,
        _ => return None,
    })
}

fn is(word: &[u8], option: &str) -> bool {
    word.eq_ignore_ascii_case(option.as_bytes())
}

/// Finds the first argument; patterns that lead to more keys say nothing about these.
fn first(args: &[&[u8]]) -> Vec<KeyUse> {
    (args.len() > 1).then_some(KeyUse::read(1)).into_iter().collect()
}

/// Finds the first argument, and the key behind the last `STORE`.
fn sort(args: &[&[u8]]) -> Vec<KeyUse> {
    let (mut keys, mut store, mut at) = (first(args), None, 2);
    while let Some(word) = args.get(at) {
        match word {
            word if is(word, "LIMIT") => at += 2,
            word if is(word, "GET") || is(word, "BY") => at += 1,
            word if is(word, "STORE") && at + 1 < args.len() => store = Some(KeyUse::write(at + 1)),
            _ => {}
        }
        at += 1;
    }
    keys.extend(store);
    keys
}

/// Finds the first argument, and the key behind the last `STORE` or `STOREDIST`.
fn georadius(args: &[&[u8]]) -> Vec<KeyUse> {
    let (mut keys, mut store, mut at) = (first(args), None, 5);
    while let Some(word) = args.get(at) {
        if (is(word, "STORE") || is(word, "STOREDIST")) && at + 1 < args.len() {
            at += 1;
            store = Some(KeyUse::write(at));
        }
        at += 1;
    }
    keys.extend(store);
    keys
}

/// Finds the first half of the arguments behind `STREAMS`. A group or consumer may be named like an option.
fn streams(args: &[&[u8]]) -> Vec<KeyUse> {
    let mut at = 1;
    while let Some(word) = args.get(at) {
        at += match word {
            word if is(word, "STREAMS") => {
                let rest = args.len() - at - 1;
                let count = if rest.is_multiple_of(2) { rest / 2 } else { 0 };
                return (at + 1..=at + count).map(KeyUse::read).collect();
            }
            word if is(word, "BLOCK") || is(word, "COUNT") || is(word, "CLAIM") => 2,
            word if is(word, "GROUP") => 3,
            word if is(word, "NOACK") => 1,
            _ => break,
        };
    }
    Vec::new()
}

/// Finds the third argument, or everything behind `KEYS` where the third is empty.
fn migrate(args: &[&[u8]]) -> Vec<KeyUse> {
    let both = |at| KeyUse { at, reads: true, writes: true };
    let mut at = 6;
    while let Some(word) = args.get(at) {
        match word {
            word if is(word, "KEYS") && args[3].is_empty() => return (at + 1..args.len()).map(both).collect(),
            word if is(word, "AUTH") => at += 1,
            word if is(word, "AUTH2") => at += 2,
            _ => {}
        }
        at += 1;
    }
    (args.len() > 3).then(|| both(3)).into_iter().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn positions(line: &str) -> Vec<usize> {
        let args: Vec<&[u8]> = line.split(' ').map(str::as_bytes).collect();
        let find = of(&line.split(' ').next().unwrap().to_ascii_lowercase()).unwrap();
        find(&args).into_iter().map(|key| key.at).collect()
    }

    #[test]
    fn keys_behind_options_are_found_as_the_server_finds_them() {
        for (line, expected) in [
            ("SORT k", &[1][..]),
            ("SORT k BY store GET store LIMIT 0 store STORE d", &[1, 10]),
            ("SORT k STORE a store b", &[1, 5]),
            ("SORT k STORE", &[1]),
            ("SORT_RO k BY w", &[1]),
            ("GEORADIUS k 1 2 3 m STORE a STOREDIST b", &[1, 9]),
            ("GEORADIUSBYMEMBER k m 3 km", &[1]),
            ("XREAD COUNT 2 STREAMS a b 0 0", &[4, 5]),
            ("XREAD STREAMS a b 0", &[]),
            ("XREADGROUP GROUP STREAMS BLOCK NOACK STREAMS a >", &[6]),
            ("XREAD what STREAMS a 0", &[]),
            ("MIGRATE h 1 k 0 9", &[3]),
            ("MIGRATE h 1  0 9 AUTH keys KEYS a b", &[9, 10]),
            ("MIGRATE h 1 k 0 9 KEYS a", &[3]),
        ] {
            assert_eq!(positions(line), expected, "{line}");
        }
        assert!(of("get").is_none());
    }
}
