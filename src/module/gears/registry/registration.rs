//! [`Registration`]: a function that waits for events, as it is kept and sent to other nodes.

use serde::{Deserialize, Serialize};
use serde_bytes::ByteBuf;

use crate::flow::plan::Passage;
use crate::module::gears::executions::ShownStep;
use crate::module::gears::plans::DescribedFlow;
use crate::python::marshal::Value;

/// A function that waits for events.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(in crate::module::gears) struct Registration {
    /// By which clients know it.
    pub(in crate::module::gears) id: String,
    /// The session's name between nodes.
    pub(in crate::module::gears) session: String,
    /// The ACL user on whose account it runs.
    pub(in crate::module::gears) user: String,
    pub(in crate::module::gears) description: Option<String>,
    pub(in crate::module::gears) mode: RegistrationMode,
    pub(in crate::module::gears) reader: EventReader,
    pub(in crate::module::gears) flow: RegisteredFlow,
    /// The packages that the session requires.
    pub(in crate::module::gears) requirements: Vec<String>,
    /// The version of the interpreter that has made it, such as `3.11`.
    pub(in crate::module::gears) python: String,
}

/// Where and when the function runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(in crate::module::gears) enum RegistrationMode {
    /// After the event, on all shards.
    Async,
    /// After the event, on the shard of the event.
    AsyncLocal,
    /// With the event: the server waits for it.
    Sync,
}

/// Which events a function waits for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(in crate::module::gears) enum EventReader {
    /// Events of keys.
    Keys(KeyEvents),
    /// Entries of streams.
    Stream(StreamEvents),
    /// Calls of a name, or of a command.
    Command(CommandEvents),
}

/// Which events of keys are wanted. Lists are [`None`] for all.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(in crate::module::gears) struct KeyEvents {
    /// A key, or with `*` at its end the beginning of keys.
    pub(in crate::module::gears) prefix: ByteBuf,
    pub(in crate::module::gears) event_types: Option<Vec<String>>,
    pub(in crate::module::gears) key_types: Option<Vec<String>>,
    pub(in crate::module::gears) read_value: bool,
    /// Commands whose clients wait for the function.
    pub(in crate::module::gears) commands: Option<Vec<String>>,
}

/// Which streams are read, and how.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(in crate::module::gears) struct StreamEvents {
    /// A key, or with `*` at its end the beginning of keys.
    pub(in crate::module::gears) prefix: ByteBuf,
    pub(in crate::module::gears) batch: u64,
    /// How long the first entry waits for a full batch; 0 for as long as it takes.
    pub(in crate::module::gears) duration_ms: u64,
    pub(in crate::module::gears) on_failed: OnFailed,
    pub(in crate::module::gears) retry_interval_s: u64,
    /// Entries that were worked on go.
    pub(in crate::module::gears) trim: bool,
}

/// What is done when a batch has failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(in crate::module::gears) enum OnFailed {
    Continue,
    Abort,
    Retry,
}

/// Which calls are wanted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(in crate::module::gears) struct CommandEvents {
    pub(in crate::module::gears) trigger: Option<String>,
    /// A command that it stands before.
    pub(in crate::module::gears) hook: Option<String>,
    /// The beginning of the keys of that command.
    pub(in crate::module::gears) key_prefix: Option<ByteBuf>,
    pub(in crate::module::gears) in_order: bool,
}

/// What the function consists of.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(in crate::module::gears) struct RegisteredFlow {
    /// By which workers know it.
    pub(in crate::module::gears) key: String,
    /// What a new worker makes it of.
    pub(in crate::module::gears) blob: ByteBuf,
    pub(in crate::module::gears) passages: Vec<Passage>,
    pub(in crate::module::gears) steps: Vec<ShownStep>,
}

/// What a script has registered, as its worker describes it: all that the worker knows of a registration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::module::gears) struct DescribedRegistration {
    pub(in crate::module::gears) id: String,
    pub(in crate::module::gears) description: Option<String>,
    pub(in crate::module::gears) mode: RegistrationMode,
    pub(in crate::module::gears) reader: EventReader,
    pub(in crate::module::gears) flow: RegisteredFlow,
}

impl DescribedRegistration {
    /// Reads a registration; [`None`] for what is none.
    pub(in crate::module::gears) fn read(said: &Value) -> Option<Self> {
        let flow = DescribedFlow::read(said.get("flow")?)?;
        Some(Self {
            id: text(said.get("id")?)?,
            description: optional(said.get("description")?, text)?,
            mode: match said.get("mode")?.as_text()? {
                "async" => RegistrationMode::Async,
                "async_local" => RegistrationMode::AsyncLocal,
                "sync" => RegistrationMode::Sync,
                _ => return None,
            },
            reader: EventReader::read(said.get("reader")?.as_text()?, said.get("arguments")?)?,
            flow: flow.into_registered(),
        })
    }
}

impl EventReader {
    fn read(name: &str, arguments: &Value) -> Option<Self> {
        let get = |name: &str| arguments.get(name);
        Some(match name {
            "KeysReader" => Self::Keys(KeyEvents {
                prefix: bytes(get("prefix")?)?,
                event_types: optional(get("event_types")?, texts)?,
                key_types: optional(get("key_types")?, texts)?,
                read_value: get("read_value")?.as_bool()?,
                commands: optional(get("commands")?, texts)?,
            }),
            "StreamReader" => Self::Stream(StreamEvents {
                prefix: bytes(get("prefix")?)?,
                batch: get("batch")?.as_count()?.max(1),
                duration_ms: get("duration_ms")?.as_count()?,
                on_failed: match get("on_failed")?.as_text()? {
                    "continue" => OnFailed::Continue,
                    "abort" => OnFailed::Abort,
                    "retry" => OnFailed::Retry,
                    _ => return None,
                },
                retry_interval_s: get("retry_interval_s")?.as_count()?,
                trim: get("trim")?.as_bool()?,
            }),
            "CommandReader" => Self::Command(CommandEvents {
                trigger: optional(get("trigger")?, text)?,
                hook: optional(get("hook")?, text)?,
                key_prefix: optional(get("key_prefix")?, bytes)?,
                in_order: get("in_order")?.as_bool()?,
            }),
            _ => return None,
        })
    }

    /// Returns the name that scripts and clients know.
    pub(in crate::module::gears) fn name(&self) -> &'static str {
        match self {
            Self::Keys(_) => "KeysReader",
            Self::Stream(_) => "StreamReader",
            Self::Command(_) => "CommandReader",
        }
    }

    /// Returns the name by which `RG.TRIGGER` calls it.
    pub(in crate::module::gears) fn trigger(&self) -> Option<&str> {
        match self {
            Self::Command(wanted) => wanted.trigger.as_deref(),
            Self::Keys(_) | Self::Stream(_) => None,
        }
    }
}

impl RegistrationMode {
    /// Returns the word that scripts and clients know.
    pub(in crate::module::gears) fn word(self) -> &'static str {
        match self {
            Self::Async => "async",
            Self::AsyncLocal => "async_local",
            Self::Sync => "sync",
        }
    }
}

impl OnFailed {
    /// Returns the word that scripts and clients know.
    pub(in crate::module::gears) fn word(self) -> &'static str {
        match self {
            Self::Continue => "continue",
            Self::Abort => "abort",
            Self::Retry => "retry",
        }
    }
}

fn text(value: &Value) -> Option<String> {
    value.as_text().map(str::to_owned)
}

fn bytes(value: &Value) -> Option<ByteBuf> {
    value.as_bytes().map(|bytes| ByteBuf::from(bytes.to_vec()))
}

fn texts(value: &Value) -> Option<Vec<String>> {
    value.items()?.iter().map(text).collect()
}

/// Reads a value that may be none; [`None`] for what is neither.
fn optional<T>(value: &Value, read: impl Fn(&Value) -> Option<T>) -> Option<Option<T>> {
    if *value == Value::None { Some(None) } else { read(value).map(Some) }
}
