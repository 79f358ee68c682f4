//! A cursor over the keys of the whole cluster, which any node can go on with.
//!
//! Where there are slots, the cursor is the next slot: nothing is kept between two calls, and slots may move meanwhile.
//! A slot is read as a whole, wherever it is; see [`slots`](super::slots).
//!
//! Without slots the cursor is that of one node after the other.

use bytes::Bytes;

use super::readable::readable;
use super::{glob, slots};
use crate::command::{Command, integer, printable};
use crate::engine::{Request, Targets};
use crate::error::Error;
use crate::reply::Reply;
use crate::topology::{SLOT_COUNT, Topology};

/// How many slots one call looks at if it finds no keys.
const MOST_SLOTS: usize = 2048;

/// How many of them are asked for at a time.
const MOST_SLOTS_AT_ONCE: usize = 512;

/// What was asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Scan {
    cursor: u64,
    pattern: Option<Vec<u8>>,
    count: usize,
    kind: Option<Vec<u8>>,
}

impl Scan {
    /// Reads `SCAN cursor [MATCH pattern] [COUNT count] [TYPE type]`. The errors are in the words of the server.
    pub(crate) fn parse(command: &Command) -> Result<Self, Error> {
        let refuse = |why: &str| Err(Error::Invalid(why.into()));
        let number = |text: &[u8]| std::str::from_utf8(text).ok()?.parse::<u64>().ok();
        let mut args = command.words().skip(1);
        let Some(cursor) = args.next().and_then(number) else { return refuse("invalid cursor") };
        let mut scan = Self { cursor, pattern: None, count: 10, kind: None };
        while let Some(option) = args.next() {
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
        self.pattern.as_ref().is_none_or(|pattern| glob::matches(pattern, key))
    }
}

/// Goes on from the cursor: an array of the next cursor, 0 at the end, and keys.
pub(crate) async fn scan(engine: Request, scan: Scan) -> Result<Reply, Error> {
    // The caller needs the right to SCAN, and not to what it takes here.
    engine.check(Command::new("SCAN").arg(scan.cursor)).await?;
    let inner = engine.without_gate();
    let topology = inner.pinned_topology().await?;
    if let Some(refusal) = refused_kind(&inner, &topology, &scan).await? {
        return Ok(refusal);
    }
    let (next, keys) = if topology.requires_same_slot() {
        by_slot(&inner, &scan).await?
    } else {
        by_node(&inner, &topology, &scan).await?
    };
    let keys = readable(&engine, keys).await?;
    Ok(Reply::Array(vec![next.to_string().into(), keys.into()]))
}

/// What a server has against the type: some refuse those that they do not know, others find no keys of them.
async fn refused_kind(engine: &Request, topology: &Topology, scan: &Scan) -> Result<Option<Reply>, Error> {
    let Some(kind) = &scan.kind else { return Ok(None) };
    let first = || topology.data_shards().next().map(|shard| &shard.primary);
    let Some(node) = topology.local().or_else(first) else { return Ok(None) };
    let command = Command::new("SCAN").arg("0").arg("COUNT").arg("1").arg("TYPE").arg(kind).read_only(true);
    let asked = engine.fan_out(command).targets(Targets::Nodes(vec![node.id.clone()])).partial(true).await?;
    Ok(asked.into_iter().find_map(|entry| match entry.result {
        Err(Error::Shard { message, .. }) => Some(Reply::Error(message.into_bytes())),
        _ => None,
    }))
}

async fn by_slot(engine: &Request, scan: &Scan) -> Result<(u64, Vec<Reply>), Error> {
    let first = usize::try_from(scan.cursor).ok().filter(|&slot| slot < SLOT_COUNT);
    let mut slot = first.ok_or_else(|| Error::Invalid("invalid cursor".into()))?;
    let last = SLOT_COUNT.min(slot + MOST_SLOTS);
    let mut found = Vec::new();
    let mut at_once = 1;
    while slot < last && found.len() < scan.count {
        let end = last.min(slot + at_once);
        let mut keys = slots::keys_in(engine, slot..end).await?;
        keys.retain(|key| scan.wants(key));
        found.extend(of_kind(engine, scan, keys).await?);
        slot = end;
        at_once = MOST_SLOTS_AT_ONCE.min(2 * at_once);
    }
    Ok((if slot == SLOT_COUNT { 0 } else { slot as u64 }, found))
}

/// Leaves the keys of the type that was asked for.
async fn of_kind(engine: &Request, scan: &Scan, keys: Vec<Bytes>) -> Result<Vec<Reply>, Error> {
    let keys = keys.into_iter().map(Reply::Bulk);
    let Some(kind) = &scan.kind else { return Ok(keys.collect()) };
    let keys: Vec<Reply> = keys.collect();
    let types = keys.iter().filter_map(Reply::bytes).map(|key| Command::new("TYPE").key(key).read_only(true));
    let types = engine.map(types.collect::<Vec<_>>()).await?.into_all()?;
    let is_wanted = |found: &Reply| found.bytes().is_some_and(|found| found.eq_ignore_ascii_case(kind));
    Ok(keys.into_iter().zip(types).filter_map(|(key, found)| is_wanted(&found).then_some(key)).collect())
}

/// One node after the other. The cursor is the node's own, times the number of nodes, plus the node's place in the list.
async fn by_node(engine: &Request, topology: &Topology, scan: &Scan) -> Result<(u64, Vec<Reply>), Error> {
    let nodes = topology.shards().len() as u64;
    let Some(at) = scan.cursor.checked_rem(nodes) else {
        return Err(Error::no_node(topology.source()));
    };
    let node = &topology.shards()[at as usize].primary;
    let command = Command::new("SCAN").arg(scan.cursor / nodes);
    let command = scan.pattern.iter().fold(command, |command, pattern| command.arg("MATCH").arg(pattern));
    let command = scan.kind.iter().fold(command, |command, kind| command.arg("TYPE").arg(kind));
    let command = command.arg("COUNT").arg(scan.count as u64).read_only(true);
    let mut replies = engine.fan_out(command).targets(Targets::Nodes(vec![node.id.clone()])).await?.into_all()?;
    let bad = |why| Error::BadReply { node: node.to_string(), why };
    let Some(Reply::Array(answer)) = replies.pop() else {
        return Err(bad("did not answer SCAN with a cursor and keys".into()));
    };
    let [cursor, Reply::Array(keys)] = <[Reply; 2]>::try_from(answer).unwrap_or([Reply::Null, Reply::Null]) else {
        return Err(bad("did not answer SCAN with a cursor and keys".into()));
    };
    let next = match cursor.bytes().and_then(|text| std::str::from_utf8(text).ok()?.parse::<u64>().ok()) {
        Some(0) if at + 1 == nodes => Some(0),
        Some(0) => Some(at + 1),
        Some(cursor) => cursor.checked_mul(nodes).and_then(|cursor| cursor.checked_add(at)),
        None => None,
    };
    let too_big = || bad(format!("has a cursor that {nodes} nodes cannot share: {}", shown(&cursor)));
    Ok((next.ok_or_else(too_big)?, keys))
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
        assert_eq!(scan, Scan { cursor: 17, pattern, count: 5, kind });
        for (line, error) in [
            ("SCAN x", "invalid cursor"),
            ("SCAN 0 MATCH", "syntax error"),
            ("SCAN 0 COUNT 0", "syntax error"),
            ("SCAN 0 COUNT -1", "syntax error"),
            ("SCAN 0 COUNT x", "value is not an integer or out of range"),
            ("SCAN 0 COUNT +5", "value is not an integer or out of range"),
            ("SCAN 0 COUNT 05", "value is not an integer or out of range"),
            ("SCAN 0 LIMIT 5", "syntax error"),
        ] {
            assert_eq!(parse(line).unwrap_err(), error, "{line}");
        }
    }
}
