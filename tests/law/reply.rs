//! Replies as trees, and the ways in which two of them are the same.

use std::fmt;

/// One reply of either protocol, with its type.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Reply {
    /// A reply in one line: a status, an integer, an error, a null; its first byte and the rest.
    Line(u8, Vec<u8>),
    /// A string of any kind: its first byte and its bytes.
    Text(u8, Vec<u8>),
    /// An array, set, map or push: its first byte and its elements, of a map keys and values in turn.
    List(u8, Vec<Reply>),
}

/// The degree to which two replies have to be alike.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Alike {
    /// Byte for byte; doubles by their value.
    Exactly,
    /// The elements of lists in any order.
    InAnyOrder,
    /// Exactly, but for moments in time, which may be a little apart.
    InTime,
    /// Types and lengths; of numbers only whether they are negative.
    InShape,
    /// The type of the whole.
    InKind,
    /// The cluster gives a map of node to reply, each as the single server's in kind.
    ByNode,
}

/// The seconds by which two moments may be apart.
const APART: f64 = 60.0;

impl Reply {
    /// Reads a whole frame.
    pub fn parse(frame: &[u8]) -> Self {
        let (reply, rest) = read(frame);
        assert!(rest.is_empty(), "more than one frame");
        reply
    }

    /// Returns the text of an error.
    pub fn error(&self) -> Option<String> {
        match self {
            Self::Line(b'-', text) | Self::Text(b'!', text) => Some(String::from_utf8_lossy(text).into_owned()),
            _ => None,
        }
    }

    /// Returns whether the reply is null, in either protocol.
    pub fn is_null(&self) -> bool {
        matches!(self, Self::Line(b'_', _)) || matches!(self, Self::Line(b'$' | b'*', length) if length == b"-1")
    }

    /// Returns the elements of a list.
    pub fn elements(&self) -> &[Reply] {
        match self {
            Self::List(_, elements) => elements,
            _ => &[],
        }
    }

    /// Returns the bytes of a string.
    pub fn bytes(&self) -> &[u8] {
        match self {
            Self::Line(_, bytes) | Self::Text(_, bytes) => bytes,
            Self::List(..) => &[],
        }
    }

    /// Returns the bytes of a string, as text.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(self.bytes()).into_owned()
    }

    /// Returns its type.
    fn kind(&self) -> u8 {
        match self {
            Self::Line(kind, _) | Self::Text(kind, _) | Self::List(kind, _) => *kind,
        }
    }

    /// Returns the value of a field, in a map or in the flat array that RESP2 has for it.
    pub fn field(&self, name: &str) -> Option<&Reply> {
        self.elements().chunks_exact(2).find(|pair| pair[0].bytes() == name.as_bytes()).map(|pair| &pair[1])
    }

    /// Without the command that nodes of a cluster hide from clients, from Redis 8 on, and a single server does not.
    fn without_hidden(&self) -> Self {
        const MARKS: [&str; 2] = ["RMR.INNER", "For the nodes themselves"];
        let Self::List(kind, elements) = self else { return self.clone() };
        let is_shown = |reply: &Reply| {
            let text = reply.to_string().to_uppercase();
            !MARKS.iter().any(|mark| text.contains(&mark.to_uppercase()))
        };
        let size = if *kind == b'%' { 2 } else { 1 };
        let shown = elements.chunks(size).filter(|chunk| chunk.iter().all(is_shown));
        Self::List(*kind, shown.flatten().cloned().collect())
    }

    /// With all lists in one order.
    fn sorted(&self) -> Self {
        let Self::List(kind, elements) = self else { return self.clone() };
        let mut elements: Vec<Reply> = elements.iter().map(Self::sorted).collect();
        if *kind == b'%' {
            let mut pairs: Vec<&[Reply]> = elements.chunks(2).collect();
            pairs.sort();
            elements = pairs.concat();
        } else {
            elements.sort();
        }
        Self::List(*kind, elements)
    }
}

/// As in the protocol, without lengths.
impl fmt::Display for Reply {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Line(kind, text) => write!(f, "{}{}", char::from(*kind), text.escape_ascii()),
            Self::Text(kind, text) => write!(f, "{}\"{}\"", char::from(*kind), text.escape_ascii()),
            Self::List(kind, elements) => {
                write!(f, "{}[", char::from(*kind))?;
                for (index, element) in elements.iter().enumerate() {
                    write!(f, "{}{element}", if index > 0 { ", " } else { "" })?;
                }
                f.write_str("]")
            }
        }
    }
}

/// Returns whether the cluster's reply is as the single server's.
pub fn are_alike(cluster: &Reply, alone: &Reply, how: Alike) -> bool {
    let all = |how: Alike| {
        let (here, there) = (cluster.elements(), alone.elements());
        here.len() == there.len() && here.iter().zip(there).all(|(here, there)| are_alike(here, there, how))
    };
    let same_kind = cluster.kind() == alone.kind();
    match (how, cluster, alone) {
        (Alike::ByNode, ..) => match alone.error() {
            Some(_) => cluster == alone,
            None => {
                let by_node = cluster.elements();
                matches!(cluster.kind(), b'%' | b'*')
                    && !by_node.is_empty()
                    && by_node.chunks(2).all(|pair| are_alike(&pair[1], alone, Alike::InKind))
            }
        },
        (_, Reply::Line(b'-', here), Reply::Line(b'-', there)) => here == there,
        (Alike::InKind, ..) => same_kind,
        (Alike::InAnyOrder, ..) => {
            are_alike(&cluster.without_hidden().sorted(), &alone.without_hidden().sorted(), Alike::Exactly)
        }
        (_, Reply::List(..), Reply::List(..)) => same_kind && all(how),
        (Alike::InShape, Reply::Line(b':', here), Reply::Line(b':', there)) => {
            !(here.starts_with(b"-") || there.starts_with(b"-")) || here == there
        }
        (Alike::InShape, Reply::Line(b'$' | b'*' | b'_' | b'+', here), Reply::Line(_, there)) => {
            same_kind && here == there
        }
        (Alike::InShape, Reply::Line(..), Reply::Line(..)) => same_kind,
        (Alike::InShape, Reply::Text(..), Reply::Text(..)) => same_kind,
        (Alike::InTime, Reply::Line(b':', here), Reply::Line(b':', there)) => here == there || are_near(here, there),
        (_, Reply::Line(b',', here), Reply::Line(b',', there)) => here == there || number(here) == number(there),
        _ => cluster == alone,
    }
}

/// Returns whether these are two moments, in seconds or milliseconds, that are not far apart.
fn are_near(here: &[u8], there: &[u8]) -> bool {
    let (Some(here), Some(there)) = (number(here), number(there)) else { return false };
    let apart = (here - there).abs();
    (here > 1e12 && apart < APART * 1000.0) || (here > 1e9 && here < 1e11 && apart < APART)
}

fn number(text: &[u8]) -> Option<f64> {
    std::str::from_utf8(text).ok()?.parse().ok()
}

/// Returns the first reply of these bytes, and the bytes behind it.
fn read(bytes: &[u8]) -> (Reply, &[u8]) {
    let end = bytes.windows(2).position(|pair| pair == b"\r\n").expect("a line");
    assert!(end > 0, "a line without a type: the server has split a reply in two");
    let (kind, line, rest) = (bytes[0], &bytes[1..end], &bytes[end + 2..]);
    let length = || number(line).filter(|length| *length >= 0.0).map(|length| length as usize);
    let count = match kind {
        b'*' | b'~' | b'>' => length(),
        b'%' => length().map(|pairs| 2 * pairs),
        b'|' => length().map(|pairs| 2 * pairs + 1),
        b'$' | b'=' | b'!' => {
            return match length() {
                Some(length) => (Reply::Text(kind, rest[..length].to_vec()), &rest[length + 2..]),
                None => (Reply::Line(kind, line.to_vec()), rest),
            };
        }
        _ => None,
    };
    let Some(count) = count else { return (Reply::Line(kind, line.to_vec()), rest) };
    let mut rest = rest;
    let mut elements = Vec::with_capacity(count);
    for _ in 0..count {
        let (element, after) = read(rest);
        elements.push(element);
        rest = after;
    }
    (Reply::List(kind, elements), rest)
}
