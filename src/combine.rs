//! [`Combine`]: a reducer whose work can be split, so that each node reduces its own share of the replies.
//!
//! Where a node runs the same module, one inner command carries the commands and the reducer's name to it, and one
//! partial result comes back. Everywhere else the replies come here and are taken one by one. Both ways call the same
//! [`take`](Combine::take), so the answer is the same.

use std::any::Any;
use std::sync::Arc;

use bytes::Bytes;
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::error::Error;
use crate::reply::Reply;

/// A reducer that can be split. Both sides know it by its name: an author's module gives it to its
/// [`Setup`](https://docs.rs/rmr/latest/rmr/struct.Setup.html), and maps with it by [`Map::combine`](crate::engine::Map::combine).
///
/// Shares come in any order, so what is made of them must not depend on it; where order matters, keep the places, or keys.
///
/// ```
/// use rmr::{Combine, Error, Origin, Reply};
///
/// /// The longest string.
/// struct Longest;
///
/// impl Combine for Longest {
///     type Partial = Vec<u8>;
///     type Output = Reply;
///
///     fn name(&self) -> &'static str {
///         "LONGEST"
///     }
///
///     fn take(&self, longest: &mut Vec<u8>, _origin: Origin<'_>, reply: Reply) -> Result<(), String> {
///         match reply.bytes() {
///             Some(text) if text.len() > longest.len() => *longest = text.to_vec(),
///             Some(_) => {}
///             None if reply.is_null() => {}
///             None => return Err(reply.describe()),
///         }
///         Ok(())
///     }
///
///     fn combine(&self, longest: &mut Vec<u8>, other: Vec<u8>) {
///         if other.len() > longest.len() {
///             *longest = other;
///         }
///     }
///
///     fn finish(&self, longest: Vec<u8>) -> Result<Reply, Error> {
///         Ok(Reply::Bulk(longest.into()))
///     }
/// }
/// ```
///
/// (Of two strings of one length this keeps whichever comes first; a sound reducer would keep its place too.)
///
/// [Writing a reducer](crate::_docs::writing_a_reducer) has the rules, and a test of them.
pub trait Combine: Send + Sync + 'static {
    /// The partial result of a part of the replies; it travels between nodes.
    type Partial: Default + Serialize + DeserializeOwned + Send + Sync + 'static;

    /// The result of all replies.
    type Output: Send + 'static;

    /// Returns the name by which the nodes know the reducer. Change it with the meaning or the shape of what it gives.
    fn name(&self) -> &'static str;

    /// Returns what the reducer was given beside its name, as it travels: the ten of "the ten greatest". Default: nothing.
    fn arguments(&self) -> Vec<u8> {
        Vec::new()
    }

    /// Makes the same reducer with what another node was given. `None` for bytes that mean nothing, and for whatever a
    /// reducer without arguments is given, which is the default.
    fn with_arguments(&self, _arguments: &[u8]) -> Option<Self>
    where
        Self: Sized,
    {
        None
    }

    /// Tells whether [`take`](Self::take) looks at places. One that does not spares its nodes a number for each
    /// command; the place may then be any. Default: `true`.
    fn needs_places(&self) -> bool {
        true
    }

    /// Tells whether [`take`](Self::take) looks at keys. Where it does not, the key may be any. Default: `false`.
    fn needs_keys(&self) -> bool {
        false
    }

    /// Takes one reply, which is never an error.
    ///
    /// # Errors
    /// The reply that it cannot take, as [`Reply::describe`] says it: the request then ends in [`Error::Mixed`].
    fn take(&self, partial: &mut Self::Partial, origin: Origin<'_>, reply: Reply) -> Result<(), String>;

    /// Takes a bulk string that somebody else holds, as [`take`](Self::take) takes a reply. Worth having for a reducer
    /// that reads strings and keeps none: the default copies it.
    ///
    /// # Errors
    /// As [`take`](Self::take).
    fn take_bulk(&self, partial: &mut Self::Partial, origin: Origin<'_>, bytes: &[u8]) -> Result<(), String> {
        self.take(partial, origin, Reply::Bulk(Bytes::copy_from_slice(bytes)))
    }

    /// Adds what another part of the replies came to.
    fn combine(&self, partial: &mut Self::Partial, other: Self::Partial);

    /// Returns the memory that a partial takes, in bytes, more or less: a flow over many keys ends in an error before it takes
    /// more than it may. Default: the size of the type, as of a partial that keeps nothing elsewhere.
    fn memory(&self, _partial: &Self::Partial) -> usize {
        size_of::<Self::Partial>()
    }

    /// Makes the result.
    ///
    /// # Errors
    /// The request ends in the error that this returns.
    fn finish(&self, partial: Self::Partial) -> Result<Self::Output, Error>;
}

/// Says where a reply comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct Origin<'a> {
    /// The place of its command in the whole request: from 0 on in a map, and in a fan-out that of the node.
    pub place: u32,
    /// The key that its command is routed by; in a fan-out the address of the node.
    pub key: &'a [u8],
}

impl<'a> Origin<'a> {
    /// Says that a reply comes from this place and key.
    pub fn new(place: u32, key: &'a [u8]) -> Self {
        Self { place, key }
    }
}

/// A [`Combine`] of whatever types.
pub(crate) trait AnyCombine: Send + Sync {
    fn name(&self) -> &'static str;

    #[cfg_attr(not(feature = "module"), allow(dead_code, reason = "only a server is asked to reduce"))]
    fn arguments(&self) -> Vec<u8>;

    /// Makes the same reducer with these arguments, which may be its own.
    #[cfg_attr(not(feature = "module"), allow(dead_code, reason = "only a server is asked to reduce"))]
    fn with_arguments(self: Arc<Self>, arguments: &[u8]) -> Option<Arc<dyn AnyCombine>>;

    fn needs_places(&self) -> bool;

    fn needs_keys(&self) -> bool;

    /// Begins with an empty partial result.
    fn open(self: Arc<Self>) -> Box<dyn AnyPartial>;
}

/// A partial result that takes more replies.
pub(crate) trait AnyPartial: Send + Sync {
    fn take(&mut self, origin: Origin<'_>, reply: Reply) -> Result<(), String>;

    #[cfg_attr(not(feature = "module"), allow(dead_code, reason = "only replies in process are somebody else's"))]
    fn take_bulk(&mut self, origin: Origin<'_>, bytes: &[u8]) -> Result<(), String>;

    /// Adds another part of the same reducer.
    fn combine(&mut self, other: Box<dyn AnyPartial>);

    /// Returns the memory that it takes, in bytes, more or less.
    fn memory(&self) -> usize;

    /// Encodes the partial result as it travels between nodes.
    #[cfg_attr(not(feature = "module"), allow(dead_code, reason = "only a server sends it"))]
    fn encode(&self) -> Result<Vec<u8>, postcard::Error>;

    /// Adds what another node has encoded.
    fn combine_encoded(&mut self, encoded: &[u8]) -> Result<(), postcard::Error>;

    fn into_any(self: Box<Self>) -> Box<dyn Any>;
}

impl<C: Combine> AnyCombine for C {
    fn name(&self) -> &'static str {
        Combine::name(self)
    }

    fn arguments(&self) -> Vec<u8> {
        Combine::arguments(self)
    }

    fn with_arguments(self: Arc<Self>, arguments: &[u8]) -> Option<Arc<dyn AnyCombine>> {
        if Combine::arguments(&*self) == arguments {
            return Some(self);
        }
        let same = Combine::with_arguments(&*self, arguments)?;
        Some(Arc::new(same))
    }

    fn needs_places(&self) -> bool {
        Combine::needs_places(self)
    }

    fn needs_keys(&self) -> bool {
        Combine::needs_keys(self)
    }

    fn open(self: Arc<Self>) -> Box<dyn AnyPartial> {
        Box::new(OpenPartial { combine: self, partial: C::Partial::default() })
    }
}

/// Holds a partial result with the reducer that it is of.
struct OpenPartial<C: Combine> {
    combine: Arc<C>,
    partial: C::Partial,
}

impl<C: Combine> AnyPartial for OpenPartial<C> {
    fn take(&mut self, origin: Origin<'_>, reply: Reply) -> Result<(), String> {
        self.combine.take(&mut self.partial, origin, reply)
    }

    fn take_bulk(&mut self, origin: Origin<'_>, bytes: &[u8]) -> Result<(), String> {
        self.combine.take_bulk(&mut self.partial, origin, bytes)
    }

    fn combine(&mut self, other: Box<dyn AnyPartial>) {
        if let Ok(other) = other.into_any().downcast::<Self>() {
            self.combine.combine(&mut self.partial, other.partial);
        }
    }

    fn memory(&self) -> usize {
        self.combine.memory(&self.partial)
    }

    fn encode(&self) -> Result<Vec<u8>, postcard::Error> {
        postcard::to_stdvec(&self.partial)
    }

    fn combine_encoded(&mut self, encoded: &[u8]) -> Result<(), postcard::Error> {
        let (other, rest) = postcard::take_from_bytes(encoded)?;
        if !rest.is_empty() {
            return Err(postcard::Error::DeserializeBadEncoding);
        }
        self.combine.combine(&mut self.partial, other);
        Ok(())
    }

    fn into_any(self: Box<Self>) -> Box<dyn Any> {
        self
    }
}

/// Makes the result of `partial`. It is of this reducer, as [`AnyCombine::open`] made it.
pub(crate) fn finish<C: Combine>(combine: &C, partial: Box<dyn AnyPartial>) -> Result<C::Output, Error> {
    match partial.into_any().downcast::<OpenPartial<C>>() {
        Ok(open) => combine.finish(open.partial),
        Err(_) => Err(Error::Internal("internal error: a partial result of another reducer".into())),
    }
}
