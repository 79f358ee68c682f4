//! Redis' patterns: `*`, `?`, `[a-z]`, `[^a]` and `\` before a character that is meant as itself.
//! Source: the Redis documentation of `KEYS`; odd cases as in Redis' `stringmatchlen`.

/// A pattern that is asked about many texts. Most are a few literal characters and a star behind them.
#[cfg_attr(not(feature = "module"), allow(dead_code, reason = "only the keyspace of a server is asked that often"))]
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Pattern {
    /// `*`, or a beginning and a star.
    BeginsWith(Vec<u8>),
    /// A text without any special character.
    Is(Vec<u8>),
    Other(Vec<u8>),
}

#[cfg_attr(not(feature = "module"), allow(dead_code, reason = "as above"))]
impl Pattern {
    /// Looks at a pattern once for all texts.
    pub(crate) fn new(pattern: &[u8]) -> Self {
        let is_literal = |part: &[u8]| !part.iter().any(|byte| matches!(byte, b'*' | b'?' | b'[' | b'\\'));
        match pattern {
            [start @ .., b'*'] if is_literal(start) => Self::BeginsWith(start.to_vec()),
            text if is_literal(text) => Self::Is(text.to_vec()),
            other => Self::Other(other.to_vec()),
        }
    }

    /// Tells whether the whole text fits.
    pub(crate) fn fits(&self, text: &[u8]) -> bool {
        match self {
            Self::BeginsWith(start) => text.starts_with(start),
            Self::Is(whole) => text == whole,
            Self::Other(pattern) => matches(pattern, text),
        }
    }
}

/// Tells whether the whole text fits the pattern.
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
    use super::{Pattern, matches as matches_once};

    /// Matches in both ways, and checks that they give one answer.
    fn matches(pattern: &[u8], text: &[u8]) -> bool {
        let fits = matches_once(pattern, text);
        assert_eq!(Pattern::new(pattern).fits(text), fits, "{} {}", pattern.escape_ascii(), text.escape_ascii());
        fits
    }

    #[test]
    fn patterns_mean_what_they_mean_to_redis() {
        for (pattern, text) in [
            ("", ""),
            ("*", ""),
            ("*", "any"),
            ("user:*", "user:"),
            ("user:*", "user:1"),
            ("user:1", "user:1"),
            ("user:**", "user:1"),
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
            ("user:*", "user"),
            ("user:1", "user:10"),
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
