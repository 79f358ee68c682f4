//! Redis' patterns: `*`, `?`, `[a-z]`, `[^a]` and `\` before a character that is meant as itself.
//! Source: the Redis documentation of `KEYS`; odd cases as in Redis' `stringmatchlen`.

/// Whether the whole text fits the pattern.
pub(crate) fn matches(pattern: &[u8], text: &[u8]) -> bool {
    // Where to go on when a star has to take one more character.
    let mut retry: Option<(&[u8], &[u8])> = None;
    let (mut pattern, mut text) = (pattern, text);
    loop {
        if let Some((b'*', after)) = pattern.split_first().map(|(first, rest)| (*first, rest)) {
            retry = Some((after, text));
            pattern = after;
            continue;
        }
        match (one(pattern, text), text) {
            (Some(after), [_, rest @ ..]) => (pattern, text) = (after, rest),
            (_, []) if pattern.is_empty() => return true,
            _ => match retry {
                Some((after, [_, rest @ ..])) => {
                    retry = Some((after, rest));
                    (pattern, text) = (after, rest);
                }
                _ => return false,
            },
        }
    }
}

/// Matches the first character; gives the rest of the pattern.
fn one<'p>(pattern: &'p [u8], text: &[u8]) -> Option<&'p [u8]> {
    let first = *text.first()?;
    match pattern {
        [b'?', rest @ ..] => Some(rest),
        [b'[', rest @ ..] => {
            let (is_in, rest) = class(rest, first);
            is_in.then_some(rest)
        }
        [b'\\', escaped, rest @ ..] => (*escaped == first).then_some(rest),
        [literal, rest @ ..] => (*literal == first).then_some(rest),
        [] => None,
    }
}

/// Reads a class to its end, or to the end of the pattern.
fn class(pattern: &[u8], character: u8) -> (bool, &[u8]) {
    let (is_negated, mut pattern) = match pattern {
        [b'^', rest @ ..] => (true, rest),
        _ => (false, pattern),
    };
    let mut is_in = false;
    loop {
        pattern = match pattern {
            [] => return (is_in != is_negated, pattern),
            [b']', rest @ ..] => return (is_in != is_negated, rest),
            [b'\\', escaped, rest @ ..] => {
                is_in |= *escaped == character;
                rest
            }
            [from, b'-', to, rest @ ..] => {
                is_in |= (*from.min(to)..=*from.max(to)).contains(&character);
                rest
            }
            [literal, rest @ ..] => {
                is_in |= *literal == character;
                rest
            }
        };
    }
}

#[cfg(test)]
mod tests {
    use super::matches;

    #[test]
    fn patterns_mean_what_they_mean_to_redis() {
        for (pattern, text) in [
            ("", ""),
            ("*", ""),
            ("*", "any"),
            ("h?llo", "hello"),
            ("h*llo", "heeeello"),
            ("h[ae]llo", "hallo"),
            ("h[^e]llo", "hbllo"),
            ("h[a-c]llo", "hbllo"),
            ("h[c-a]llo", "hbllo"),
            ("a*b*c", "a--b-b-c"),
            ("\\*", "*"),
            ("[\\]]", "]"),
            ("user:*:name", "user:1:2:name"),
            ("[a", "a"),
            ("a\\", "a\\"),
        ] {
            assert!(matches(pattern.as_bytes(), text.as_bytes()), "{pattern} {text}");
        }
        for (pattern, text) in [
            ("", "a"),
            ("a", ""),
            ("?", ""),
            ("h[^e]llo", "hello"),
            ("a*b", "abc"),
            ("[a-c]", "d"),
            ("\\*", "a"),
            ("*a", "b"),
        ] {
            assert!(!matches(pattern.as_bytes(), text.as_bytes()), "{pattern} {text}");
        }
    }

    #[test]
    fn many_stars_take_no_time() {
        assert!(!matches("*a".repeat(50).as_bytes(), "a".repeat(40).as_bytes()));
        assert!(!matches(("a*".repeat(30) + "b").as_bytes(), &[b'a'; 10_000]));
    }
}
