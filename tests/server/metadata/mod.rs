//! Tests what the server tells about rmr, and what it lets be set: command documentation, settings, load arguments, `INFO`.

mod documented;
mod loading;
mod persisted;
mod settings;
