//! [`NamedKeys`]: keys that are wanted by their names, read by plain commands.

use std::sync::Arc;

use bytes::Bytes;

use super::keyspace::{KeySlice, KeySource, KeysWanted, names_memory};
use super::plan::ValuesRead;
use super::requests::FlowRequests;
use super::values::{WantedValues, existing, records_of};
use crate::error::Error;
use crate::topology::{BoxFuture, Node};

/// Reads keys of these names.
pub(super) struct NamedKeys {
    requests: FlowRequests,
    /// The server that has them; [`None`] in a cluster, where each is wherever its slot is.
    node: Option<Arc<Node>>,
    wanted: WantedValues,
    names: Vec<Bytes>,
}

impl NamedKeys {
    /// Makes the source of the names that are wanted; [`None`] if it is not by names that keys are.
    pub(super) fn of(requests: &FlowRequests, node: Option<&Arc<Node>>, wanted: &KeysWanted) -> Option<Self> {
        let mut named = wanted.names.clone()?;
        named.keep_those_in(wanted.slots.as_deref());
        Some(Self {
            requests: requests.clone(),
            node: node.cloned(),
            wanted: WantedValues { values: wanted.filter.values, with_missing: named.with_missing },
            names: named.names.into_iter().map(|name| Bytes::from(name.into_vec())).collect(),
        })
    }
}

impl KeySource for NamedKeys {
    fn next(&mut self, most: usize) -> BoxFuture<'_, Result<KeySlice, Error>> {
        Box::pin(async move {
            let names = self.names.split_off(self.names.len().saturating_sub(most));
            let keys_read = names.len() as u64;
            let request = self.requests.begin();
            let names = request.readable(names).await?;
            let inner = request.without_gate();
            let names = match self.wanted.values {
                ValuesRead::No if !self.wanted.with_missing => existing(&inner, self.node.as_ref(), names).await?,
                ValuesRead::No | ValuesRead::Replies | ValuesRead::Typed => names,
            };
            let records = records_of(&inner, self.node.as_ref(), names, self.wanted).await?;
            Ok(KeySlice { records, keys_read, is_end: self.names.is_empty(), ..KeySlice::default() })
        })
    }

    fn memory(&self) -> u64 {
        names_memory(&self.names) as u64
    }
}
