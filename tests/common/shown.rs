//! Replies as text that reads like the reply, for assertions: `["a", 1, nil]`.

use super::server::Server;
use super::wire::Wire;

impl Server {
    /// Returns the answer to one command, typed with blanks between its words, in RESP2; as [`show`] shows it.
    #[track_caller]
    pub fn reply(&self, line: &str) -> String {
        self.wire().reply(line)
    }

    /// Returns the answer to one command in RESP3.
    #[track_caller]
    pub fn reply3(&self, line: &str) -> String {
        self.wire3().reply(line)
    }

    /// A raw connection that speaks RESP3.
    #[track_caller]
    pub fn wire3(&self) -> Wire {
        let mut wire = self.wire();
        assert_eq!(wire.call(&["HELLO", "3"])[0], b'%', "no RESP3 at {}", self.address());
        wire
    }

    /// The node of a cluster as errors name it: the first letters of its id, and its address.
    pub fn shown_name(&self) -> String {
        let id: String = self.run(&["CLUSTER", "MYID"]);
        format!("{}@{}", &id[..8], self.address())
    }
}

impl Wire {
    /// Sends a command, typed with blanks between its words, and shows the reply.
    #[track_caller]
    pub fn reply(&mut self, line: &str) -> String {
        let words: Vec<&str> = line.split_whitespace().collect();
        self.reply_to(&words)
    }

    /// Sends a command and shows the reply.
    #[track_caller]
    pub fn reply_to<A: AsRef<[u8]>>(&mut self, args: &[A]) -> String {
        show(&self.call(args))
    }
}

/// A frame as text: integers and errors as they are, `+OK`, `"bulk"`, `nil` whatever it is made of, `[1, 2]`, sets as
/// `~[1, 2]`, maps as `{1: 2}`, attributes as `|{1: 2}` before their value, doubles, booleans and big numbers with
/// their signs `,1.5`, `#t` and `(12`, verbatim strings as `="txt:words"`.
pub fn show(frame: &[u8]) -> String {
    let (kind, line) = (frame[0], head(frame));
    let text = || printable(line);
    let list = |open: &str, close: &str| {
        let shown: Vec<String> = elements(frame).into_iter().map(show).collect();
        format!("{open}{}{close}", shown.join(", "))
    };
    match kind {
        b'_' => "nil".into(),
        b'$' | b'*' if line == b"-1" => "nil".into(),
        b':' => text(),
        b'$' => format!("\"{}\"", printable(body(frame))),
        b'=' => format!("=\"{}\"", printable(body(frame))),
        b'!' => format!("-{}", printable(body(frame))),
        b'*' => list("[", "]"),
        b'~' => list("~[", "]"),
        b'>' => list(">[", "]"),
        b'%' => show_pairs(&elements(frame)),
        b'|' => {
            let mut parts = elements(frame);
            let reply = parts.pop().expect("a reply after its attributes");
            format!("|{}{}", show_pairs(&parts), show(reply))
        }
        _ => format!("{}{}", char::from(kind), text()),
    }
}

/// The elements of an array, set or push; keys and values of a map in turn; of an attribute too, its reply last.
///
/// # Panics
///
/// When the frame is nothing of these.
pub fn elements(frame: &[u8]) -> Vec<&[u8]> {
    let mut rest = &frame[head_len(frame)..];
    let mut elements = Vec::new();
    for _ in 0..count(frame).expect("an aggregate") {
        let (element, after) = rest.split_at(frame_len(rest));
        elements.push(element);
        rest = after;
    }
    elements
}

/// Bytes as text: what is not printable is escaped, quotes and backslashes are not.
fn printable(bytes: &[u8]) -> String {
    let shown = |&byte: &u8| match byte {
        b' '..=b'~' => char::from(byte).to_string(),
        _ => byte.escape_ascii().to_string(),
    };
    bytes.iter().map(shown).collect()
}

fn show_pairs(parts: &[&[u8]]) -> String {
    let pairs: Vec<String> = parts.chunks(2).map(|pair| format!("{}: {}", show(pair[0]), show(pair[1]))).collect();
    format!("{{{}}}", pairs.join(", "))
}

/// Returns the number of bytes that the first frame of these takes.
fn frame_len(bytes: &[u8]) -> usize {
    match count(bytes) {
        Some(count) => (0..count).fold(head_len(bytes), |at, _| at + frame_len(&bytes[at..])),
        None => match body_len(bytes) {
            Some(length) => head_len(bytes) + length + 2,
            None => head_len(bytes),
        },
    }
}

/// Returns the number of frames that belong to an aggregate.
fn count(frame: &[u8]) -> Option<usize> {
    let number = || number(frame);
    match frame[0] {
        b'*' | b'~' | b'>' => number(),
        b'%' => number().map(|count| count * 2),
        b'|' => number().map(|count| count * 2 + 1),
        _ => None,
    }
}

/// The length of a string that has a body.
fn body_len(frame: &[u8]) -> Option<usize> {
    if matches!(frame[0], b'$' | b'=' | b'!') { number(frame) } else { None }
}

fn body(frame: &[u8]) -> &[u8] {
    let start = head_len(frame);
    &frame[start..start + body_len(frame).expect("a string")]
}

/// The number in the first line; `None` for the -1 of a null.
fn number(frame: &[u8]) -> Option<usize> {
    str::from_utf8(head(frame)).ok()?.parse().ok()
}

/// The first line without its sign and its end.
fn head(frame: &[u8]) -> &[u8] {
    &frame[1..head_len(frame) - 2]
}

/// The length of the first line, its end included.
fn head_len(frame: &[u8]) -> usize {
    frame.iter().position(|&byte| byte == b'\n').expect("a line") + 1
}
