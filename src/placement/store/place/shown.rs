//! Reports as replies.

use std::collections::BTreeMap;

use crate::command::printable;
use crate::error::Error;
use crate::placement::slot::SlotFunc;
use crate::placement::store::check::CheckedCopies;
use crate::placement::store::mover::{AlikeMoves, MovePlan};
use crate::placement::store::order::UnequalKey;
use crate::placement::store::report::{LogEntry, NodeReport, ProxyReport, SlotHealth, SlotReport, StoreReport};
use crate::reply::Reply;
use crate::topology::hash_tag;

/// Makes a map with these names.
pub(super) fn map<const FIELDS: usize>(fields: [(&str, Reply); FIELDS]) -> Reply {
    Reply::Map(fields.into_iter().map(|(name, value)| (name.into(), value)).collect())
}

fn integer(number: impl TryInto<i64>) -> Reply {
    Reply::Integer(number.try_into().unwrap_or(i64::MAX))
}

fn texts<'t>(texts: impl IntoIterator<Item = &'t String>) -> Reply {
    Reply::Array(texts.into_iter().map(|text| text.as_str().into()).collect())
}

fn text_or_null(text: Option<&str>) -> Reply {
    text.map_or(Reply::Null, Reply::from)
}

/// Shows how a store is. `followed` is the epoch that whoever answers goes by.
pub(super) fn status(report: &StoreReport, config_node: &str, followed: u64) -> Reply {
    let count = |health| integer(report.count(health));
    let settings: BTreeMap<&String, &String> = report.settings.iter().filter(|(name, _)| *name != "secret").collect();
    let settings = settings.into_iter().map(|(name, value)| (name.as_str().into(), value.as_str().into())).collect();
    map([
        ("configuration-node", config_node.into()),
        ("epoch", integer(report.epoch)),
        ("followed-epoch", integer(followed)),
        ("proxies", integer(report.proxies.len())),
        ("nodes", integer(report.nodes.values().filter(|node| node.state == "in").count())),
        ("waiting", texts(&report.waiting)),
        ("slots", integer(report.slots.len())),
        ("slots-ok", count(SlotHealth::Ok)),
        ("slots-suspect", count(SlotHealth::Suspect)),
        ("slots-short", count(SlotHealth::Short)),
        ("slots-lost", count(SlotHealth::Lost)),
        ("settings", Reply::Map(settings)),
    ])
}

pub(super) fn nodes(report: &StoreReport) -> Reply {
    let node = |(address, node): (&String, &NodeReport)| {
        map([
            ("address", address.as_str().into()),
            ("run-id", node.run_id.as_str().into()),
            ("state", node.state.as_str().into()),
            ("weight", integer(node.weight)),
            ("zone", text_or_null(node.zone.as_deref())),
            ("epoch", integer(node.epoch)),
            ("copies", integer(node.copies)),
            ("first-copies", integer(node.first_copies)),
        ])
    };
    Reply::Array(report.nodes.iter().map(node).collect())
}

pub(super) fn proxies(report: &StoreReport) -> Reply {
    let proxy = |proxy: &ProxyReport| {
        map([
            ("address", proxy.address.as_str().into()),
            ("since-ms", integer(proxy.since)),
            ("epoch", integer(proxy.epoch)),
            ("lease-ms", integer(proxy.lease)),
        ])
    };
    Reply::Array(report.proxies.iter().map(proxy).collect())
}

/// Shows slots, neighbours that are alike in one line.
pub(super) fn slots(report: &StoreReport, range: Option<(u16, u16)>) -> Result<Reply, Error> {
    let Some(most) = report.slots.len().checked_sub(1) else {
        return Ok(Reply::Array(Vec::new()));
    };
    let (first, last) = range.map_or((0, most), |(first, last)| (usize::from(first), usize::from(last)));
    if last > most {
        return Err(Error::Invalid(format!("SLOTS {last}: there are slots 0 to {most}")));
    }
    let run = |(first, last, slot): (usize, usize, &SlotReport)| {
        map([
            ("first", integer(first)),
            ("last", integer(last)),
            ("state", slot.health.as_str().into()),
            ("copies", texts(&slot.copies)),
            ("sequencer", text_or_null(slot.sequencer.as_deref())),
            ("epoch", integer(slot.epoch)),
        ])
    };
    Ok(Reply::Array(report.runs(first, last).into_iter().map(run).collect()))
}

/// Shows the slot of a key, and why it is that one.
pub(super) fn key(report: &StoreReport, func: SlotFunc, key: &[u8]) -> Result<Reply, Error> {
    let number = func.slot(key);
    let Some(slot) = report.slots.get(usize::from(number)) else {
        return Err(Error::Topology("no slots are given out yet: RMR.PLACE NODES shows who is in".into()));
    };
    let tag = hash_tag(key).filter(|_| func.has_hash_tags());
    let what = match tag {
        Some(tag) => format!("'{}', the part in braces,", printable(tag)),
        None => format!("'{}'", printable(key)),
    };
    let why = format!("{} of {what} modulo {}", func.hash().as_str(), func.slots());
    Ok(map([
        ("slot", integer(number)),
        ("state", slot.health.as_str().into()),
        ("copies", texts(&slot.copies)),
        ("sequencer", text_or_null(slot.sequencer.as_deref())),
        ("why", why.into()),
    ]))
}

/// Shows which slots move, and which would move.
pub(super) fn plan(plan: &MovePlan) -> Reply {
    let alike = |(kind, slots): &AlikeMoves| {
        map([
            ("state", kind.state.into()),
            ("from", text_or_null(kind.from.as_deref())),
            ("to", text_or_null(kind.to.as_deref())),
            ("why", kind.why.into()),
            ("count", integer(slots.len())),
            ("slots", Reply::Array(slots.iter().map(|slot| integer(*slot)).collect())),
        ])
    };
    map([
        ("paused", integer(i64::from(plan.is_paused))),
        ("balance", if plan.is_even { "even" } else { "by-hand" }.into()),
        ("first-copies", integer(plan.firsts)),
        ("moves", Reply::Array(plan.moves.iter().map(alike).collect())),
    ])
}

/// Shows what was found of copies.
pub(super) fn checked(found: &CheckedCopies) -> Reply {
    /// The most slots that are named of those that were not compared.
    const MOST_NAMED: usize = 100;
    let unequal = |(slot, unequal): &(u16, UnequalKey)| {
        map([
            ("key", Reply::Bulk(unequal.key.clone())),
            ("slot", integer(*slot)),
            ("first-copy", unequal.first_copy.as_str().into()),
            ("other-copy", unequal.other_copy.as_str().into()),
            ("what", unequal.what.as_str().into()),
        ])
    };
    let unchecked = found.unchecked.iter().take(MOST_NAMED);
    let unchecked = unchecked.map(|(slot, why)| map([("slot", integer(*slot)), ("why", why.as_str().into())]));
    map([
        ("slots", integer(found.slots)),
        ("keys", integer(found.keys)),
        ("differences", integer(found.differences)),
        ("repaired", integer(found.repaired)),
        ("slots-unchecked", integer(found.unchecked.len())),
        ("unequal", Reply::Array(found.shown.iter().map(unequal).collect())),
        ("unchecked", Reply::Array(unchecked.collect())),
    ])
}

pub(super) fn log(entries: &[LogEntry]) -> Reply {
    let entry = |entry: &LogEntry| {
        map([
            ("epoch", integer(entry.epoch)),
            ("at-ms", integer(entry.at)),
            ("what", entry.what.as_str().into()),
            ("who", entry.who.as_str().into()),
            ("slots", entry.slots.as_str().into()),
        ])
    };
    Reply::Array(entries.iter().map(entry).collect())
}
