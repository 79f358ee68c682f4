//! [`Prefix`]: any other reducer, for the keys of each prefix by themselves.

use std::collections::HashMap;

use serde::{Deserialize, Serialize};
use serde_bytes::ByteBuf;

use super::builtin::{Builtin, BuiltinPartial};
use super::limit::{ENTRY, MOST_BYTES, too_big};
use crate::combine::{Combine, Origin};
use crate::error::Error;
use crate::reply::Reply;

/// Reduces the replies of all keys that begin alike, and answers a map of prefix to what they come to, in the order of the
/// prefixes. A prefix is what stands before the first separator; a key without one is its own.
///
/// ```
/// use rmr::reduce::{Builtin, Prefix};
///
/// let memory_by_kind = Prefix::new(":", Builtin::Sum);
/// assert_eq!(memory_by_kind.prefix_of(b"user:17:name"), b"user");
/// assert_eq!(memory_by_kind.prefix_of(b"visits"), b"visits");
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Prefix {
    separator: Vec<u8>,
    reducer: Builtin,
}

/// Holds what the replies of each prefix have come to so far.
#[derive(Default, Serialize, Deserialize)]
pub struct PrefixPartial {
    prefixes: HashMap<ByteBuf, BuiltinPartial>,
    is_over: bool,
    #[serde(skip)]
    bytes: usize,
}

impl Prefix {
    /// Goes by what stands before the separator. An empty one stands before every key, so that all have one prefix.
    pub fn new(separator: impl Into<Vec<u8>>, reducer: Builtin) -> Self {
        Self { separator: separator.into(), reducer }
    }

    /// Returns the prefix of a key.
    pub fn prefix_of<'k>(&self, key: &'k [u8]) -> &'k [u8] {
        let end = memchr::memmem::find(key, &self.separator).unwrap_or(key.len());
        &key[..end]
    }

    /// Reads what another node has been given.
    #[cfg_attr(not(feature = "module"), allow(dead_code, reason = "only a server is asked to reduce"))]
    pub(super) fn from_arguments(arguments: &[u8]) -> Option<Self> {
        let (separator, name, most): (&serde_bytes::Bytes, &str, u32) = postcard::from_bytes(arguments).ok()?;
        let reducer = Builtin::named(name.as_bytes())?.with_most(most);
        Some(Self::new(&separator[..], reducer))
    }
}

impl Combine for Prefix {
    type Partial = PrefixPartial;
    type Output = Reply;

    fn name(&self) -> &'static str {
        "PREFIX"
    }

    fn arguments(&self) -> Vec<u8> {
        let Self { separator, reducer } = self;
        let most = reducer.most().unwrap_or_default();
        postcard::to_stdvec(&(serde_bytes::Bytes::new(separator), reducer.name(), most)).unwrap_or_default()
    }

    fn with_arguments(&self, arguments: &[u8]) -> Option<Self> {
        Self::from_arguments(arguments)
    }

    fn needs_places(&self) -> bool {
        self.reducer.needs_places()
    }

    fn memory(&self, partial: &PrefixPartial) -> usize {
        size_of::<PrefixPartial>() + partial.bytes
    }

    fn needs_keys(&self) -> bool {
        true
    }

    fn take(&self, partial: &mut PrefixPartial, origin: Origin<'_>, reply: Reply) -> Result<(), String> {
        if reply.is_null() {
            return Ok(());
        }
        let taken = partial.change(self.prefix_of(origin.key), |partial| self.reducer.take(partial, origin, reply));
        taken.map_err(|found| self.found(&found))
    }

    fn take_bulk(&self, partial: &mut PrefixPartial, origin: Origin<'_>, bytes: &[u8]) -> Result<(), String> {
        let taken =
            partial.change(self.prefix_of(origin.key), |partial| self.reducer.take_bulk(partial, origin, bytes));
        taken.map_err(|found| self.found(&found))
    }

    fn combine(&self, partial: &mut PrefixPartial, other: PrefixPartial) {
        if other.is_over {
            partial.give_up();
        }
        for (prefix, other) in other.prefixes {
            let added = partial.change(&prefix, |partial| {
                self.reducer.combine(partial, other);
                Ok(())
            });
            debug_assert!(added.is_ok(), "adding does not fail");
        }
    }

    fn finish(&self, partial: PrefixPartial) -> Result<Reply, Error> {
        if partial.is_over {
            return Err(too_big("PREFIX"));
        }
        let mut prefixes: Vec<_> = partial.prefixes.into_iter().collect();
        prefixes.sort_unstable_by(|(a, _), (b, _)| a.cmp(b));
        let finish = |(prefix, partial): (ByteBuf, BuiltinPartial)| {
            Ok((Reply::from(prefix.into_vec()), self.reducer.finish(partial)?))
        };
        Ok(Reply::Map(prefixes.into_iter().map(finish).collect::<Result<_, Error>>()?))
    }
}

impl Prefix {
    fn found(&self, found: &str) -> String {
        format!("{found} (for {})", self.reducer.name())
    }
}

impl PrefixPartial {
    /// Changes what the replies of a prefix have come to.
    fn change(
        &mut self,
        prefix: &[u8],
        change: impl FnOnce(&mut BuiltinPartial) -> Result<(), String>,
    ) -> Result<(), String> {
        if self.is_over {
            return Ok(());
        }
        let changed = match self.prefixes.get_mut(serde_bytes::Bytes::new(prefix)) {
            Some(known) => {
                let before = known.bytes();
                let changed = change(known);
                // Some forms take less when there is more.
                self.bytes = (self.bytes + known.bytes()).saturating_sub(before);
                changed
            }
            None => {
                let mut new = BuiltinPartial::default();
                let changed = change(&mut new);
                self.bytes += size_of::<BuiltinPartial>() + ENTRY + prefix.len() + new.bytes();
                self.prefixes.insert(ByteBuf::from(prefix), new);
                changed
            }
        };
        if self.bytes > MOST_BYTES {
            self.give_up();
        }
        changed
    }

    fn give_up(&mut self) {
        *self = Self { is_over: true, ..Self::default() };
    }
}
