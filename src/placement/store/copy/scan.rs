//! Search for the keys that a node has of some slots. A plain server has no index of slots: one pass over all names finds those of as many
//! slots as are asked for.

use std::collections::BTreeMap;

use bytes::Bytes;
use tokio::task::yield_now;

use super::node::DataNode;
use super::{UNFINISHED, is_ours};
use crate::command::Command;
use crate::error::Error;
use crate::placement::slot::SlotFunc;
use crate::reply::Reply;

/// The number of names that a node is asked for at once: less than a millisecond for it.
const NAMES_AT_ONCE: usize = 1000;

/// Returns the keys that a node has of the slots for which `wanted` says yes, each once, in order. A key that comes or goes
/// meanwhile may be among them or not.
///
/// # Errors
/// Those of the node.
pub(in crate::placement::store) async fn keys_of(
    node: &mut DataNode,
    func: SlotFunc,
    wanted: impl Fn(u16) -> bool,
) -> Result<BTreeMap<u16, Vec<Box<[u8]>>>, Error> {
    let mut found: BTreeMap<u16, Vec<Box<[u8]>>> = BTreeMap::new();
    let mut names = Names::default();
    while let Some(page) = names.next(node).await? {
        for name in page.iter().filter_map(Reply::bytes).filter(|name| !is_ours(name)) {
            let slot = func.slot(name);
            if wanted(slot) {
                found.entry(slot).or_default().push(name.into());
            }
        }
    }
    for keys in found.values_mut() {
        keys.sort_unstable();
        keys.dedup();
        // There may be millions of them all together.
        yield_now().await;
    }
    Ok(found)
}

/// Lets a node forget its keys of the slots for which `wanted` says yes, and what was left unfinished of them. Returns how many
/// there were.
///
/// # Errors
/// Those of the node.
pub(in crate::placement::store) async fn drop_slots(
    node: &mut DataNode,
    func: SlotFunc,
    wanted: impl Fn(u16) -> bool,
) -> Result<u64, Error> {
    let (mut dropped, mut names) = (0, Names::default());
    while let Some(page) = names.next(node).await? {
        let is_wanted = |name: &&[u8]| match name.strip_prefix(UNFINISHED) {
            Some(key) => wanted(func.slot(key)),
            None => !is_ours(name) && wanted(func.slot(name)),
        };
        let names: Vec<&[u8]> = page.iter().filter_map(Reply::bytes).filter(is_wanted).collect();
        if !names.is_empty() {
            let unlink = names.iter().fold(Command::new("UNLINK"), |unlink, name| unlink.key(*name));
            dropped += node.call(unlink).await?.integer().unwrap_or_default().unsigned_abs();
        }
    }
    Ok(dropped)
}

/// Returns those of some keys that a node does not have.
///
/// # Errors
/// Those of the node.
pub(in crate::placement::store) async fn missing_of(node: &mut DataNode, keys: &[Bytes]) -> Result<Vec<Bytes>, Error> {
    let exists: Vec<Command> = keys.iter().map(|key| Command::new("EXISTS").key(&key[..])).collect();
    let found = node.call_all(&exists).await?;
    let missing = keys.iter().zip(found).filter(|(_, found)| found.integer() == Some(0));
    Ok(missing.map(|(key, _)| key.clone()).collect())
}

/// A walk over the names of all keys of a node.
#[derive(Default)]
pub(in crate::placement::store) struct Names {
    cursor: Vec<u8>,
}

impl Names {
    /// Returns the next names of clients' keys, some of which may have been there before; `None` at the end.
    ///
    /// # Errors
    /// Those of the node.
    pub(in crate::placement::store) async fn next_keys(
        &mut self,
        node: &mut DataNode,
    ) -> Result<Option<Vec<Bytes>>, Error> {
        let page = self.next(node).await?;
        let keys = |page: Vec<Reply>| page.into_iter().filter_map(Reply::into_bytes).filter(|name| !is_ours(name));
        Ok(page.map(|page| keys(page).collect()))
    }

    /// Returns the next names, some of which may have been there before; `None` at the end.
    async fn next(&mut self, node: &mut DataNode) -> Result<Option<Vec<Reply>>, Error> {
        let cursor: &[u8] = match &*self.cursor {
            b"" => b"0",
            b"0" => return Ok(None),
            cursor => cursor,
        };
        let scan = Command::new("SCAN").arg(cursor).arg("COUNT").arg(NAMES_AT_ONCE);
        let (cursor, names) = page(node, scan).await?;
        self.cursor = cursor;
        Ok(Some(names))
    }
}

/// Asks for a page of a scan: its reply is the next cursor and what was found.
pub(super) async fn page(node: &mut DataNode, scan: Command) -> Result<(Vec<u8>, Vec<Reply>), Error> {
    let mut reply = node.call(scan).await?.into_elements().unwrap_or_default().into_iter();
    let cursor = reply.next().and_then(|cursor| Some(cursor.bytes()?.to_vec()));
    match (cursor, reply.next().and_then(Reply::into_elements)) {
        (Some(cursor), Some(found)) => Ok((cursor, found)),
        _ => Err(node.odd("answers a scan with no cursor")),
    }
}
