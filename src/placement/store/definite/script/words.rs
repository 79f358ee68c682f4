//! A script of Lua 5.1 as a row of words.

/// One word of a script.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum LuaWord<'a> {
    /// Of a variable, or a keyword.
    Name(&'a [u8]),
    /// The text between quotation marks, if it means itself: nothing is escaped in it.
    Text(&'a [u8]),
    /// Any other text.
    OtherText,
    Number,
    Symbol(&'a [u8]),
}

/// Longer ones first.
const SYMBOLS: [&[u8]; 27] = [
    b"...", b"..", b"==", b"~=", b"<=", b">=", b"+", b"-", b"*", b"/", b"%", b"^", b"#", b"<", b">", b"=", b"(", b")",
    b"{", b"}", b"[", b"]", b";", b":", b",", b".", b"~",
];

/// Takes a script apart. `None` if it is not what Lua can read, or ends in the middle.
pub(super) fn words_of(script: &[u8]) -> Option<Vec<LuaWord<'_>>> {
    let mut words = Vec::new();
    let mut rest = script;
    if rest.starts_with(b"#!") {
        rest = &rest[memchr::memchr(b'\n', rest).unwrap_or(rest.len())..];
    }
    while let Some(&byte) = rest.first() {
        let length;
        match byte {
            b' ' | b'\t' | b'\r' | b'\n' | 0x0b | 0x0c => length = 1,
            b'-' if rest.starts_with(b"--") => {
                length = match long_bracket(&rest[2..]) {
                    Some(length) => 2 + length?,
                    None => memchr::memchr(b'\n', rest).unwrap_or(rest.len()),
                };
            }
            b'a'..=b'z' | b'A'..=b'Z' | b'_' => {
                length = run(rest, |byte| byte.is_ascii_alphanumeric() || byte == b'_');
                words.push(LuaWord::Name(&rest[..length]));
            }
            b'0'..=b'9' => {
                length = number(rest);
                words.push(LuaWord::Number);
            }
            b'.' if rest.get(1).is_some_and(u8::is_ascii_digit) => {
                length = number(rest);
                words.push(LuaWord::Number);
            }
            b'"' | b'\'' => {
                let end = text_end(rest, byte)?;
                let text = &rest[1..end];
                words.push(if text.contains(&b'\\') { LuaWord::OtherText } else { LuaWord::Text(text) });
                length = end + 1;
            }
            b'[' if long_bracket(rest).is_some() => {
                length = long_bracket(rest)??;
                words.push(LuaWord::OtherText);
            }
            _ => {
                let symbol = SYMBOLS.iter().find(|symbol| rest.starts_with(symbol))?;
                length = symbol.len();
                words.push(LuaWord::Symbol(symbol));
            }
        }
        rest = &rest[length..];
    }
    Some(words)
}

fn run(rest: &[u8], is_part: impl Fn(u8) -> bool) -> usize {
    rest.iter().position(|&byte| !is_part(byte)).unwrap_or(rest.len())
}

/// Returns the length of a number, or of what Lua takes for a wrong one.
fn number(rest: &[u8]) -> usize {
    let mut at = 0;
    while let Some(&byte) = rest.get(at) {
        let is_sign =
            matches!(byte, b'+' | b'-') && at > 0 && matches!(rest[at - 1], b'e' | b'E') && !rest.starts_with(b"0x");
        if !(byte.is_ascii_alphanumeric() || byte == b'.' || byte == b'_' || is_sign) {
            break;
        }
        at += 1;
    }
    at
}

fn text_end(rest: &[u8], quote: u8) -> Option<usize> {
    let mut at = 1;
    loop {
        match *rest.get(at)? {
            b'\\' => at += 2,
            byte if byte == quote => return Some(at),
            _ => at += 1,
        }
    }
}

/// Tells whether `[[` or `[==[` stands here, and how long it is to its end, if it ends.
fn long_bracket(rest: &[u8]) -> Option<Option<usize>> {
    let level = run(rest.strip_prefix(b"[")?, |byte| byte == b'=');
    if rest.get(level + 1) != Some(&b'[') {
        return None;
    }
    let end = [b"]", &vec![b'='; level][..], b"]"].concat();
    Some(memchr::memmem::find(&rest[level + 2..], &end).map(|at| level + 2 + at + end.len()))
}
