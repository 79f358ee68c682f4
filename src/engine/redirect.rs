//! What a reply means for the way of its command: done, go elsewhere, or try again.
//!
//! Each kind of refusal is handled as itself. All of them are sent by a node *instead of* running the command, so a
//! write may be sent again after any of them.

use crate::link::NOT_IN_PROCESS;
use crate::topology::Address;

/// What to do about a reply.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// It is an answer, or an error that is one.
    Final,
    /// The slot lives there now.
    Moved(Address),
    /// This one key lives there already; the slot will follow.
    Ask(Address),
    /// The node cannot serve it now and will soon: the topology has changed or is changing.
    Later,
    /// The node is a replica by now: look again who is the primary.
    Demoted,
    /// The node that we live in cannot serve it in process, and must be asked over a socket.
    Elsewhere,
}

/// Reads an error line of a node reached at `host`, which stands in where a redirect names no host.
pub(super) fn judge(error: &[u8], host: &str) -> Verdict {
    let Some(prefix) = error.split(|&byte| byte == b' ').next() else { return Verdict::Final };
    match prefix {
        b"MOVED" => target(error, host).map_or(Verdict::Final, Verdict::Moved),
        b"ASK" => target(error, host).map_or(Verdict::Final, Verdict::Ask),
        b"TRYAGAIN" | b"CLUSTERDOWN" | b"LOADING" | b"MASTERDOWN" => Verdict::Later,
        b"READONLY" => Verdict::Demoted,
        NOT_IN_PROCESS => Verdict::Elsewhere,
        _ => Verdict::Final,
    }
}

/// The address in `MOVED 3999 127.0.0.1:6381`; the host may be empty.
fn target(error: &[u8], host: &str) -> Option<Address> {
    let text = std::str::from_utf8(error).ok()?;
    let (named, port) = text.split(' ').nth(2)?.rsplit_once(':')?;
    // Unlike everywhere else, an IPv6 address stands here without brackets.
    let named = named.trim_matches(['[', ']']);
    let host = if matches!(named, "" | "?") { host } else { named };
    Some(Address::new(host, port.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn redirects_are_read() {
        let judge = |error: &str| judge(error.as_bytes(), "10.0.0.1");
        assert_eq!(judge("MOVED 3999 127.0.0.1:6381"), Verdict::Moved(Address::new("127.0.0.1", 6381)));
        assert_eq!(judge("MOVED 3999 :6381"), Verdict::Moved(Address::new("10.0.0.1", 6381)));
        assert_eq!(judge("ASK 1 ::1:6381"), Verdict::Ask(Address::new("::1", 6381)));
        assert_eq!(judge("ASK 1 node-1.example:6381"), Verdict::Ask(Address::new("node-1.example", 6381)));
        assert_eq!(judge("MOVED 3999"), Verdict::Final);
        assert_eq!(judge("TRYAGAIN Multiple keys request during rehashing of slot"), Verdict::Later);
        assert_eq!(judge("READONLY You can't write against a read only replica."), Verdict::Demoted);
        assert_eq!(judge("MOVEDX 1 a:1"), Verdict::Final);
        assert_eq!(judge("ERR no such key"), Verdict::Final);
    }
}
