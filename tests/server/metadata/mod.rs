//! What the server tells about rmr, and what it lets be set: command documentation, settings, load arguments, `INFO`.

mod common;

#[path = "metadata/documented.rs"]
mod documented;
#[path = "metadata/loading.rs"]
mod loading;
#[path = "metadata/persisted.rs"]
mod persisted;
#[path = "metadata/settings.rs"]
mod settings;
