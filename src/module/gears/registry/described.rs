//! [`DescribedRegistration`]: what a script has registered, read from what its worker says; of which nothing is taken for
//! granted, since code of users runs in workers.

use serde_bytes::ByteBuf;

use super::registration::{
    CommandEvents, EventReader, GROUP, KeyEvents, OnFailed, RegisteredFlow, RegistrationMode, StreamEvents,
};
use crate::module::gears::plans::DescribedFlow;
use crate::python::marshal::Value;

/// A registration of a script, as its worker describes it: all that the worker knows of it.
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
            reader: reader(said.get("reader")?.as_text()?, said.get("arguments")?)?,
            flow: flow.into_registered(),
        })
    }
}

fn reader(name: &str, arguments: &Value) -> Option<EventReader> {
    let get = |name: &str| arguments.get(name);
    Some(match name {
        "KeysReader" => EventReader::Keys(KeyEvents {
            prefix: bytes(get("prefix")?)?,
            event_types: optional(get("event_types")?, texts)?,
            key_types: optional(get("key_types")?, texts)?,
            read_value: get("read_value")?.as_bool()?,
            commands: optional(get("commands")?, texts)?,
        }),
        "StreamReader" => EventReader::Stream(StreamEvents {
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
            group: GROUP.to_owned(),
        }),
        "CommandReader" => EventReader::Command(CommandEvents {
            trigger: optional(get("trigger")?, text)?,
            hook: optional(get("hook")?, text)?,
            key_prefix: optional(get("key_prefix")?, bytes)?,
            in_order: get("in_order")?.as_bool()?,
        }),
        _ => return None,
    })
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
