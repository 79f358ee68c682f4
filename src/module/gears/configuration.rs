//! `RG.CONFIGGET` and `RG.CONFIGSET`, for this server alone.

use super::command::{GearsCommand, at_once, control};
use super::settings;
use crate::error::Error;
use crate::module::commands::spec::{Arg, ArgKind, Call};
use crate::module::request::running::Work;
use crate::module::state as module_state;

const NAME: Arg = Arg::new(c"name", ArgKind::String);
const NAME_AND_VALUE: &[Arg] = &[NAME, Arg::new(c"value", ArgKind::String)];

pub(super) const CONFIGGET: GearsCommand =
    control(c"RG.CONFIGGET", c"Shows settings of RedisGears.", -2, config_get).with_args(&[NAME.multiple()]);

pub(super) const CONFIGSET: GearsCommand =
    control(c"RG.CONFIGSET", c"Changes settings of RedisGears on this server.", -3, config_set)
        .with_args(&[Arg::block(c"setting", NAME_AND_VALUE).multiple()]);

fn config_get(call: &Call<'_>) -> Result<Work, Error> {
    at_once(settings::shown(&call.args))
}

fn config_set(call: &Call<'_>) -> Result<Work, Error> {
    let (reply, matters_to_workers) = settings::changed(&call.args);
    if !matters_to_workers {
        return at_once(reply);
    }
    let sessions = module_state::python_sessions()?;
    Ok(Box::pin(async move {
        sessions.change_settings(settings::attempts_traceback(), settings::profiles_executions()).await;
        Ok(reply)
    }))
}
