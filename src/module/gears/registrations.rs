//! The commands about functions that wait for events, of which there are none: they answer as a server without registrations.

use super::command::{GearsCommand, argument, at_once, control, own};
use super::replies;
use crate::error::Error;
use crate::module::commands::spec::{Arg, ArgKind, Call};
use crate::module::request::running::Work;
use crate::reply::Reply;

const ID: Arg = Arg::new(c"id", ArgKind::String);
const TRIGGER_NAME: Arg = Arg::new(c"trigger", ArgKind::String);
const ARGS: Arg = Arg::new(c"arg", ArgKind::String).optional().multiple();

pub(super) const DUMPREGISTRATIONS: GearsCommand =
    control(c"RG.DUMPREGISTRATIONS", c"Lists the functions that wait for events.", 1, dump);

pub(super) const UNREGISTER: GearsCommand =
    control(c"RG.UNREGISTER", c"Removes a function that waits for events.", -2, unregister)
        .with_args(&[ID, Arg::word(c"abortpending", c"ABORTPENDING").optional()]);

pub(super) const PAUSEREGISTRATIONS: GearsCommand =
    control(c"RG.PAUSEREGISTRATIONS", c"Has functions that read streams wait.", -2, pause)
        .with_args(&[Arg::word(c"abortpending", c"ABORTPENDING").optional(), ID.multiple()]);

pub(super) const UNPAUSEREGISTRATIONS: GearsCommand =
    control(c"RG.UNPAUSEREGISTRATIONS", c"Has functions that read streams go on.", -2, unpause)
        .with_args(&[ID.multiple()]);

pub(super) const CLEARREGISTRATIONSSTATS: GearsCommand =
    control(c"RG.CLEARREGISTRATIONSSTATS", c"Begins to count anew what functions do.", 1, clear);

pub(super) const TRIGGER: GearsCommand =
    own(c"RG.TRIGGER", c"Runs the function that waits for this name.", -2, trigger).with_args(&[TRIGGER_NAME, ARGS]);

pub(super) const TRIGGERONKEY: GearsCommand =
    own(c"RG.TRIGGERONKEY", c"Runs the function that waits for this name, where a key is.", -3, trigger).with_args(&[
        TRIGGER_NAME,
        Arg::new(c"key", ArgKind::String),
        ARGS,
    ]);

fn dump(_call: &Call<'_>) -> Result<Work, Error> {
    at_once(Reply::Array(Vec::new()))
}

fn unregister(_call: &Call<'_>) -> Result<Work, Error> {
    at_once(replies::error("execution is not registered"))
}

fn pause(call: &Call<'_>) -> Result<Work, Error> {
    let is_word = argument(call, 0).eq_ignore_ascii_case("ABORTPENDING");
    match call.args.get(usize::from(is_word)) {
        None => at_once(replies::error("ERR no registration to pause")),
        Some(_) => at_once(unknown(&argument(call, usize::from(is_word)))),
    }
}

fn unpause(call: &Call<'_>) -> Result<Work, Error> {
    at_once(unknown(&argument(call, 0)))
}

fn unknown(id: &str) -> Reply {
    replies::error(format!("ERR Execution {id} does not exists on shard"))
}

fn clear(_call: &Call<'_>) -> Result<Work, Error> {
    at_once(Reply::OK)
}

fn trigger(_call: &Call<'_>) -> Result<Work, Error> {
    at_once(replies::error("ERR subcommand not found"))
}
