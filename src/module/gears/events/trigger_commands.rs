//! `RG.TRIGGER` and `RG.TRIGGERONKEY`: clients call a registration by its name.

use bytes::Bytes;

use super::trigger_named;
use crate::error::Error;
use crate::module::commands::spec::{Arg, ArgKind, Call};
use crate::module::gears::command::{GearsCommand, argument, at_once, own};
use crate::module::gears::replies;
use crate::module::request::running::Work;

const NAME: Arg = Arg::new(c"trigger", ArgKind::String);
const ARGS: Arg = Arg::new(c"arg", ArgKind::String).optional().multiple();

pub(in crate::module::gears) const TRIGGER: GearsCommand =
    own(c"RG.TRIGGER", c"Runs the function that waits for this name.", -2, trigger)
        .with_args(&[NAME, ARGS])
        .that_works();

pub(in crate::module::gears) const TRIGGERONKEY: GearsCommand =
    own(c"RG.TRIGGERONKEY", c"Runs the function that waits for this name, where a key is.", -3, trigger)
        .with_keys(c"readonly blocking getkeys-api", |_, words| (2..words.len()).take(1).collect())
        .with_args(&[NAME, Arg::new(c"key", ArgKind::String), ARGS])
        .that_works();

fn trigger(call: &Call<'_>) -> Result<Work, Error> {
    let Some(trigger) = trigger_named(&argument(call, 0)) else {
        return at_once(replies::error("ERR subcommand not found"));
    };
    let words: Vec<Bytes> = call.args.iter().map(|word| Bytes::copy_from_slice(word)).collect();
    if trigger.is_sync() {
        return Ok(trigger.call_now(call.ctx, words));
    }
    if call.ctx.why_not_wait().is_some() {
        return at_once(replies::cannot_wait());
    }
    let answered = trigger.call(words);
    let lost = |_| Error::Internal("internal error: the call was lost".into());
    Ok(Box::pin(async move { answered.await.map_err(lost) }))
}
