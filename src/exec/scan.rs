//! A cursor over the keys of the whole cluster, which any node can go on with.
//!
//! Where there are slots, the cursor is the next slot: nothing is kept between two calls, and slots may move meanwhile.
//! A slot is read as a whole, wherever it is; see [`slot_keys`]. A call goes as far as the keys that it shows take it,
//! whatever other keys there are: a cursor that went by keys which the caller may not read would tell that they are
//! there.
//!
//! Without slots the cursor is that of one node after the other. Where keys may go from shard to shard, it has a number of the layout of
//! all keys in its lowest bits: once some have gone, the scan may have missed them, and ends in an error.

use bytes::Bytes;

use super::merge;
use crate::command::{Command, integer, printable};
use crate::engine::live_keys::live_keys;
use crate::engine::slot_keys::{self, SlotsRead};
use crate::engine::{Request, Targets, glob, slots_without_owner};
use crate::error::Error;
use crate::reply::Reply;
use crate::topology::{SLOT_COUNT, SlotRanges, Topology};

/// The number of slots that one call looks at if it finds no keys.
const MOST_SLOTS: usize = 2048;

/// The number of slots that are asked for at a time.
const MOST_SLOTS_AT_ONCE: usize = 512;

/// The number of bits of a cursor that tell the layout of keys.
const LAYOUT_BITS: u32 = 24;

/// The arguments of a scan.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Scan {
    cursor: u64,
    pattern: Option<Vec<u8>>,
    count: usize,
    kind: Option<Vec<u8>>,
    /// Passes what cannot be read, and says so.
    partial: bool,
}

impl Scan {
    /// Reads `SCAN cursor [MATCH pattern] [COUNT count] [TYPE type]`. The errors are in the words of the server.
    pub(crate) fn parse(command: &Command) -> Result<Self, Error> {
        Self::read(command, false)
    }

    /// Reads the same with `[PARTIAL]` among the options.
    pub(crate) fn parse_with_partial(command: &Command) -> Result<Self, Error> {
        Self::read(command, true)
    }

    /// Returns the scan, which passes what cannot be read if this says so.
    pub(super) fn partial(self, partial: bool) -> Self {
        Self { partial, ..self }
    }

    fn read(command: &Command, takes_partial: bool) -> Result<Self, Error> {
        let refuse = |why: &str| Err(Error::Invalid(why.into()));
        let number = |text: &[u8]| std::str::from_utf8(text).ok()?.parse::<u64>().ok();
        let mut args = command.args();
        let Some(cursor) = args.next().and_then(number) else { return refuse("invalid cursor") };
        let mut scan = Self { cursor, pattern: None, count: 10, kind: None, partial: false };
        while let Some(option) = args.next() {
            if takes_partial && option.eq_ignore_ascii_case(b"PARTIAL") {
                scan.partial = true;
                continue;
            }
            let Some(value) = args.next() else { return refuse("syntax error") };
            match option.to_ascii_uppercase().as_slice() {
                b"MATCH" => scan.pattern = Some(value.to_vec()),
                b"TYPE" => scan.kind = Some(value.to_vec()),
                b"COUNT" => match integer(value) {
                    Some(count) if count < 1 => return refuse("syntax error"),
                    Some(count) => scan.count = count as usize,
                    None => return refuse("value is not an integer or out of range"),
                },
                _ => return refuse("syntax error"),
            }
        }
        Ok(scan)
    }

    fn wants(&self, key: &[u8]) -> bool {
        !slot_keys::is_under_construction(key)
            && self.pattern.as_ref().is_none_or(|pattern| glob::matches(pattern, key))
    }
}

/// The result of one call.
#[derive(Debug, Default)]
struct Page {
    /// The next cursor, 0 at the end.
    next: u64,
    keys: Vec<Reply>,
    /// The slots or nodes that were passed, with the reasons.
    failures: Vec<(Reply, Reply)>,
}

/// Goes on from the cursor: an array of the next cursor, 0 at the end, and keys; with PARTIAL of what was passed, too.
pub(crate) async fn scan(request: Request, scan: Scan) -> Result<Reply, Error> {
    // The caller needs the right to SCAN, and not to what it takes here.
    request.check(Command::new("SCAN").arg(scan.cursor)).await?;
    let inner = request.without_gate();
    let topology = inner.pinned_topology().await?;
    if let Some(refusal) = refused_kind(&inner, &topology, &scan).await? {
        return Ok(refusal);
    }
    let page = if topology.requires_same_slot() {
        by_slot(&request, &inner, &scan).await?
    } else {
        by_node(&request, &inner, &topology, &scan).await?
    };
    let mut answer = vec![page.next.to_string().into(), page.keys.into()];
    if scan.partial {
        answer.push(Reply::Map(page.failures));
    }
    Ok(Reply::Array(answer))
}

/// Returns the server's objection to the type: some servers refuse types that they do not know, others find no keys of
/// them.
async fn refused_kind(request: &Request, topology: &Topology, scan: &Scan) -> Result<Option<Reply>, Error> {
    let Some(kind) = &scan.kind else { return Ok(None) };
    let first = || topology.data_shards().next().map(|shard| &shard.primary);
    let Some(node) = topology.local().or_else(first) else { return Ok(None) };
    let command = Command::new("SCAN").arg("0").arg("COUNT").arg("1").arg("TYPE").arg(kind).read_only(true);
    let asked = request.fan_out(command).targets(Targets::Nodes(vec![node.id.clone()])).partial(true).await?;
    Ok(asked.into_iter().find_map(|entry| match entry.result {
        Err(Error::Shard { message, .. }) => Some(Reply::Error(message.into_bytes())),
        _ => None,
    }))
}

/// Shows the keys of some slots: those that the caller may read, of what the inner request finds.
async fn by_slot(request: &Request, inner: &Request, scan: &Scan) -> Result<Page, Error> {
    let first = usize::try_from(scan.cursor).ok().filter(|&slot| slot < SLOT_COUNT);
    let mut slot = first.ok_or_else(|| Error::Invalid("invalid cursor".into()))?;
    let last = SLOT_COUNT.min(slot + MOST_SLOTS);
    let (mut page, mut missed) = (Page::default(), Vec::new());
    let mut at_once = 1;
    while slot < last && page.keys.len() < scan.count {
        let end = last.min(slot + at_once);
        let mut read: SlotsRead = slot_keys::keys_in(inner, slot..end, scan.partial).await?;
        read.keys.retain(|key| scan.wants(key));
        missed.append(&mut read.missed);
        // Nothing else is asked or counted of keys that the caller may not read.
        let readable = request.readable(read.keys).await?;
        alive(inner, scan, readable, &mut page, &mut missed).await?;
        slot = end;
        at_once = MOST_SLOTS_AT_ONCE.min(2 * at_once);
        if inner.time_left().is_zero() {
            break;
        }
    }
    page.next = if slot == SLOT_COUNT { 0 } else { slot as u64 };
    page.failures.extend(by_range(missed));
    Ok(page)
}

/// Puts those keys on the page that are there, and of the type that was asked for.
async fn alive(
    inner: &Request,
    scan: &Scan,
    keys: Vec<Bytes>,
    page: &mut Page,
    missed: &mut Vec<(usize, Error)>,
) -> Result<(), Error> {
    let mut live = live_keys(inner, keys, scan.kind.as_deref(), scan.partial).await?;
    if let Reply::Map(failures) = merge::failures(&live.failed) {
        page.failures.extend(failures);
    }
    missed.append(&mut live.missed);
    page.keys.extend(live.keys.into_iter().map(Reply::Bulk));
    Ok(())
}

/// Puts slots that were missed for the same reason together: `slots 6000-7000`, and the reason.
fn by_range(mut missed: Vec<(usize, Error)>) -> impl Iterator<Item = (Reply, Reply)> {
    missed.sort_by_key(|(slot, _)| *slot);
    let mut ranges: Vec<((u16, u16), Option<Error>)> = Vec::new();
    for (slot, error) in missed {
        // That a slot has no owner is said of all of them at once.
        let error = if matches!(error, Error::Slots(_)) { None } else { Some(error) };
        let words = |error: &Option<Error>| error.as_ref().map(Error::to_line);
        match ranges.last_mut() {
            Some(((_, last), known)) if usize::from(*last) + 1 == slot && words(known) == words(&error) => *last += 1,
            _ => ranges.push(((slot as u16, slot as u16), error)),
        }
    }
    ranges.into_iter().map(|(range, error)| {
        let error = error.unwrap_or_else(|| slots_without_owner(&[range]));
        (format!("slots {}", SlotRanges(&[range])).into(), Reply::Error(error.to_line().into()))
    })
}

/// Scans one node after the other, as long as keys stay where they are.
async fn by_node(request: &Request, inner: &Request, topology: &Topology, scan: &Scan) -> Result<Page, Error> {
    let layout = |topology: &Topology| topology.layout() & ((1 << LAYOUT_BITS) - 1);
    let began = layout(topology);
    if began == 0 {
        return by_fixed_node(request, inner, topology, scan).await;
    }
    let have_moved =
        || Error::Slots("keys have gone to other nodes since this scan began; begin it again, with 0".into());
    if scan.cursor != 0 && scan.cursor & ((1 << LAYOUT_BITS) - 1) != began {
        return Err(have_moved());
    }
    let of_nodes = Scan { cursor: scan.cursor >> LAYOUT_BITS, ..scan.clone() };
    let mut page = by_fixed_node(request, inner, topology, &of_nodes).await?;
    if page.next == 0 {
        // The node may have been asked by a later picture than this one.
        let latest = inner.latest_topology().await?;
        return if latest.is_some_and(|latest| layout(&latest) == began) { Ok(page) } else { Err(have_moved()) };
    }
    let too_big = || Error::Invalid("a node has a cursor that is too big for one of several nodes".into());
    page.next = page.next.checked_mul(1 << LAYOUT_BITS).ok_or_else(too_big)? | began;
    Ok(page)
}

/// Scans one node after the other. The cursor is the node's own, times the number of nodes, plus the node's place in
/// the list.
async fn by_fixed_node(request: &Request, inner: &Request, topology: &Topology, scan: &Scan) -> Result<Page, Error> {
    let nodes = topology.shards().len() as u64;
    let Some(at) = scan.cursor.checked_rem(nodes) else {
        return Err(Error::no_node(topology.source()));
    };
    let node = &topology.shards()[at as usize].primary;
    let command = Command::new("SCAN").arg(scan.cursor / nodes);
    let command = scan.pattern.iter().fold(command, |command, pattern| command.arg("MATCH").arg(pattern));
    let command = scan.kind.iter().fold(command, |command, kind| command.arg("TYPE").arg(kind));
    let command = command.arg("COUNT").arg(scan.count as u64).read_only(true);
    let asked = inner.fan_out(command).targets(Targets::Nodes(vec![node.id.clone()])).partial(scan.partial).await?;
    let after_the_node = if at + 1 == nodes { 0 } else { at + 1 };
    if asked.errors().next().is_some() {
        let failures = if let Reply::Map(failures) = merge::failures(&asked) { failures } else { Vec::new() };
        return Ok(Page { next: after_the_node, failures, ..Page::default() });
    }
    let bad = |why| Error::BadReply { node: node.to_string(), why };
    let Some(Reply::Array(answer)) = asked.into_all()?.pop() else {
        return Err(bad("did not answer SCAN with a cursor and keys".into()));
    };
    let [cursor, Reply::Array(keys)] = <[Reply; 2]>::try_from(answer).unwrap_or([Reply::Null, Reply::Null]) else {
        return Err(bad("did not answer SCAN with a cursor and keys".into()));
    };
    let next = match cursor.bytes().and_then(|text| std::str::from_utf8(text).ok()?.parse::<u64>().ok()) {
        Some(0) => Some(after_the_node),
        Some(cursor) => cursor.checked_mul(nodes).and_then(|cursor| cursor.checked_add(at)),
        None => None,
    };
    let too_big = || bad(format!("has a cursor that {nodes} nodes cannot share: {}", shown(&cursor)));
    let next = next.ok_or_else(too_big)?;
    let keys = keys.iter().filter_map(Reply::bytes).filter(|key| !slot_keys::is_under_construction(key));
    let keys = keys.map(Bytes::copy_from_slice).collect();
    let keys = request.readable(keys).await?.into_iter().map(Reply::Bulk).collect();
    Ok(Page { next, keys, failures: Vec::new() })
}

fn shown(cursor: &Reply) -> String {
    cursor.bytes().map(printable).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(line: &str) -> Result<Scan, String> {
        Scan::parse(&Command::from_args(line.split(' ')).unwrap()).map_err(|error| error.to_string())
    }

    #[test]
    fn options_are_read_as_the_server_reads_them() {
        let scan = parse("SCAN 17 match a* COUNT 5 Type zset").unwrap();
        let (pattern, kind) = (Some(b"a*".to_vec()), Some(b"zset".to_vec()));
        assert_eq!(scan, Scan { cursor: 17, pattern, count: 5, kind, partial: false });
        for (line, error) in [
            ("SCAN x", "invalid cursor"),
            ("SCAN 0 MATCH", "syntax error"),
            ("SCAN 0 COUNT 0", "syntax error"),
            ("SCAN 0 COUNT -1", "syntax error"),
            ("SCAN 0 COUNT x", "value is not an integer or out of range"),
            ("SCAN 0 COUNT +5", "value is not an integer or out of range"),
            ("SCAN 0 COUNT 05", "value is not an integer or out of range"),
            ("SCAN 0 LIMIT 5", "syntax error"),
            ("SCAN 0 PARTIAL", "syntax error"),
        ] {
            assert_eq!(parse(line).unwrap_err(), error, "{line}");
        }
    }

    #[test]
    fn an_option_of_ours_stands_anywhere_among_those_of_the_server() {
        let parse = |line: &str| Scan::parse_with_partial(&Command::from_args(line.split(' ')).unwrap()).unwrap();
        for line in ["SCAN 0 partial MATCH a", "SCAN 0 MATCH a PARTIAL"] {
            assert_eq!(parse(line), parse("SCAN 0 MATCH a").partial(true), "{line}");
        }
        assert_eq!(parse("SCAN 0 MATCH PARTIAL").pattern, Some(b"PARTIAL".to_vec()));
    }

    #[test]
    fn slots_that_are_missed_for_the_same_reason_are_one_range() {
        let lost = || Error::Slots("slot has no owner".into());
        let down = |node: &str| Error::Topology(node.into());
        let missed = vec![(9, lost()), (7, lost()), (8, lost()), (10, down("a")), (11, down("a")), (12, down("b"))];
        let shown: Vec<String> = by_range(missed).map(|(slots, why)| format!("{slots:?}: {why:?}")).collect();
        let expected =
            [("slots 7-9", slots_without_owner(&[(7, 9)])), ("slots 10-11", down("a")), ("slots 12", down("b"))];
        let expected = expected.map(|(slots, why)| {
            format!("{:?}: {:?}", Reply::from(slots.to_owned()), Reply::Error(why.to_line().into()))
        });
        assert_eq!(shown, expected);
    }
}
