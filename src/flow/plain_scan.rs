//! [`ScannedKeys`]: the keys of one server that knows no slots, read by `SCAN`.
//!
//! `SCAN` shows each key that exists throughout, some more than once: those are known by hashes of 128 bits.

use std::collections::HashSet;
use std::sync::Arc;

use bytes::Bytes;

use super::keyspace::{KeySlice, KeySource, KeysWanted, key_hash, names_memory};
use super::requests::FlowRequests;
use super::values::{WantedValues, records_of};
use crate::command::Command;
use crate::engine::{Request, Targets, slot_keys};
use crate::error::Error;
use crate::reply::Reply;
use crate::topology::{BoxFuture, Node};

/// The number of keys that a server looks at each time.
const COUNT: u64 = 1000;

/// Reads the keys of a server.
pub(super) struct ScannedKeys {
    requests: FlowRequests,
    wanted: KeysWanted,
    node: Arc<Node>,
    /// The cursor at which the server goes on; [`None`] when it has come to its end.
    cursor: Option<Bytes>,
    seen: HashSet<u128>,
    /// Keys that were read and not shown.
    keys: Vec<Bytes>,
    is_sized: bool,
}

impl ScannedKeys {
    pub(super) fn new(requests: FlowRequests, wanted: KeysWanted, node: Arc<Node>) -> Self {
        let cursor = Some(Bytes::from_static(b"0"));
        Self { requests, wanted, node, cursor, seen: HashSet::new(), keys: Vec::new(), is_sized: false }
    }

    /// Asks the server for more keys, from this cursor on.
    async fn scan(&mut self, request: &Request, cursor: Bytes) -> Result<(), Error> {
        let filter = &self.wanted.filter;
        let command = Command::new("SCAN").arg(&cursor).arg("MATCH").arg(&filter.pattern).arg("COUNT").arg(COUNT);
        let command = filter.type_name.iter().fold(command, |command, name| command.arg("TYPE").arg(name));
        let Reply::Array(answer) = ask(request, &self.node, command).await? else { return Err(self.bad_answer()) };
        let [cursor, keys] = <[Reply; 2]>::try_from(answer).map_err(|_| self.bad_answer())?;
        let (Some(cursor), Some(keys)) = (cursor.into_bytes(), keys.into_elements()) else {
            return Err(self.bad_answer());
        };
        for key in keys.iter().filter_map(Reply::bytes).filter(|key| !slot_keys::is_under_construction(key)) {
            if self.seen.insert(key_hash(key)) {
                self.keys.push(Bytes::copy_from_slice(key));
            }
        }
        self.cursor = (cursor != b"0"[..]).then(|| Bytes::copy_from_slice(&cursor));
        Ok(())
    }

    fn bad_answer(&self) -> Error {
        let why = "did not answer SCAN with a cursor and keys".into();
        Error::BadReply { node: self.node.to_string(), why }
    }
}

/// Asks a server something.
async fn ask(request: &Request, node: &Node, command: Command) -> Result<Reply, Error> {
    let asked = request.fan_out(command.read_only(true)).targets(Targets::Nodes(vec![node.id.clone()])).await?;
    let nothing = || Error::BadReply { node: node.to_string(), why: "did not answer".into() };
    asked.into_all()?.pop().ok_or_else(nothing)
}

impl KeySource for ScannedKeys {
    fn next(&mut self, most: usize) -> BoxFuture<'_, Result<KeySlice, Error>> {
        Box::pin(async move {
            let request = self.requests.begin();
            let inner = request.without_gate();
            let (mut keys_in_table, mut keys_read) = (0, 0);
            if !std::mem::replace(&mut self.is_sized, true) {
                let size = ask(&inner, &self.node, Command::new("DBSIZE")).await?;
                keys_in_table = size.integer().and_then(|size| u64::try_from(size).ok()).unwrap_or(0);
            }
            if self.keys.is_empty()
                && let Some(cursor) = self.cursor.take()
            {
                self.scan(&inner, cursor).await?;
                keys_read = COUNT;
            }
            let keys = self.keys.split_off(self.keys.len().saturating_sub(most));
            let keys = request.readable(keys).await?;
            let records =
                records_of(&inner, Some(&self.node), keys, WantedValues::of_found(self.wanted.filter.values)).await?;
            let is_end = self.keys.is_empty() && self.cursor.is_none();
            Ok(KeySlice { records, keys_in_table, keys_read, is_end, ..KeySlice::default() })
        })
    }

    fn memory(&self) -> u64 {
        (names_memory(&self.keys) + self.seen.capacity() * 18) as u64
    }
}
