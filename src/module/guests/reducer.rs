//! [`GuestReducer`]: a reducer whose code is a guest's, as the engine wants it.
//!
//! A partial result of a guest is memory of its own, which it says in bytes when it travels. Bytes that arrive wait until
//! the reducer that they are for is at hand: nothing else can read them.

use std::sync::Arc;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::combine::{Combine, Origin};
use crate::error::Error;
use crate::module::server::shared_api::foreign_reducer::{ForeignPartial, ForeignReducer};
use crate::reply::Reply;

/// A reducer of a guest, with its arguments.
pub(in crate::module) struct GuestReducer {
    foreign: Arc<ForeignReducer>,
    arguments: Vec<u8>,
}

impl GuestReducer {
    /// Takes a reducer with arguments. `None` if they mean nothing to it.
    pub(in crate::module) fn new(foreign: Arc<ForeignReducer>, arguments: &[u8]) -> Option<Self> {
        foreign.open(arguments)?;
        Some(Self { foreign, arguments: arguments.to_vec() })
    }

    fn open(&self) -> Result<ForeignPartial, String> {
        let refused = || {
            format!(
                "{} has not begun: its module has no memory for it, or does not take its arguments",
                self.foreign.name()
            )
        };
        self.foreign.open(&self.arguments).ok_or_else(refused)
    }

    /// Returns the memory of a partial result, which begins here at the latest; `None` for one that has failed.
    fn memory<'a>(&self, partial: &'a mut GuestPartial) -> Option<&'a mut ForeignPartial> {
        let opened = match std::mem::take(partial) {
            GuestPartial::Nothing => self.open(),
            GuestPartial::Encoded(bytes) => self.open().and_then(|mut memory| {
                let is_read = memory.decode(&bytes);
                if is_read {
                    Ok(memory)
                } else {
                    Err(format!("{} cannot read what a node has sent", self.foreign.name()))
                }
            }),
            GuestPartial::InMemory(memory) => Ok(memory),
            GuestPartial::Failed(why) => Err(why),
        };
        *partial = opened.map_or_else(GuestPartial::Failed, GuestPartial::InMemory);
        match partial {
            GuestPartial::InMemory(memory) => Some(memory),
            _ => None,
        }
    }
}

impl Combine for GuestReducer {
    type Partial = GuestPartial;
    type Output = Reply;

    fn name(&self) -> &'static str {
        self.foreign.name()
    }

    fn arguments(&self) -> Vec<u8> {
        self.arguments.clone()
    }

    fn with_arguments(&self, arguments: &[u8]) -> Option<Self> {
        Self::new(self.foreign.clone(), arguments)
    }

    fn needs_places(&self) -> bool {
        self.foreign.needs_places()
    }

    fn needs_keys(&self) -> bool {
        self.foreign.needs_keys()
    }

    fn take(&self, partial: &mut GuestPartial, origin: Origin<'_>, reply: Reply) -> Result<(), String> {
        // A reducer that has failed says so at the end.
        let Some(memory) = self.memory(partial) else { return Ok(()) };
        if memory.take(origin, &reply) { Ok(()) } else { Err(reply.describe()) }
    }

    fn combine(&self, partial: &mut GuestPartial, mut other: GuestPartial) {
        match (&mut *partial, &mut other) {
            (_, GuestPartial::Nothing) | (GuestPartial::Failed(_), _) => {}
            (GuestPartial::Nothing, _) => *partial = other,
            _ => match (self.memory(partial), self.memory(&mut other)) {
                (Some(memory), Some(theirs)) => memory.combine(theirs),
                (_, None) => *partial = other,
                (None, _) => {}
            },
        }
    }

    fn finish(&self, mut partial: GuestPartial) -> Result<Reply, Error> {
        match self.memory(&mut partial) {
            Some(memory) => {
                memory.finish().ok_or_else(|| Error::Refused(format!("{} has given no result", self.foreign.name())))
            }
            None => Err(Error::Refused(partial.into_failure())),
        }
    }
}

/// The partial result of a part of the replies.
#[derive(Default)]
pub(in crate::module) enum GuestPartial {
    #[default]
    Nothing,
    /// The bytes as they have come from another node.
    Encoded(Vec<u8>),
    InMemory(ForeignPartial),
    /// The guest has failed, for this reason.
    Failed(String),
}

impl GuestPartial {
    fn into_failure(self) -> String {
        match self {
            Self::Failed(why) => why,
            _ => "the reducer has failed".into(),
        }
    }
}

/// A partial result as it travels.
#[derive(Serialize, Deserialize)]
enum EncodedGuestPartial {
    Nothing,
    Bytes(#[serde(with = "serde_bytes")] Vec<u8>),
    Failed(String),
}

impl Serialize for GuestPartial {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let encoded = match self {
            Self::Nothing => EncodedGuestPartial::Nothing,
            Self::Encoded(bytes) => EncodedGuestPartial::Bytes(bytes.clone()),
            Self::InMemory(memory) => EncodedGuestPartial::Bytes(memory.encode()),
            Self::Failed(why) => EncodedGuestPartial::Failed(why.clone()),
        };
        encoded.serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for GuestPartial {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Ok(match EncodedGuestPartial::deserialize(deserializer)? {
            EncodedGuestPartial::Nothing => Self::Nothing,
            EncodedGuestPartial::Bytes(bytes) => Self::Encoded(bytes),
            EncodedGuestPartial::Failed(why) => Self::Failed(why),
        })
    }
}
