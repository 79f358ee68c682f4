//! The commands of RedisGears (`RG.*`): scripts in Python, what they run on all shards, and what has come of it.
//!
//! They say and answer what those of release 1.2.13 do, to the letter where clients depend on it. A server that has RedisGears
//! itself keeps its commands: ours are not registered then.

mod access;
mod administration;
mod arguments;
mod asking;
mod caller;
mod carried;
mod cluster;
mod command;
mod configuration;
mod event_result;
mod events;
mod executions;
mod finished;
mod flows;
mod host;
mod last_events;
mod loaded;
mod persistence;
mod plans;
mod questions;
mod registrations;
pub(super) mod registry;
mod replies;
mod requirements;
mod script;
mod sessions;
pub(super) mod settings;
mod shown;
mod started;
mod state;
pub(super) mod timers;

use std::sync::Arc;

use super::commands::spec;
use super::config::{self, GearsUse};
use super::server::call;
use super::server::context::Ctx;
use super::state as module_state;
use crate::command::Command;
use crate::python::Sessions;
use crate::reply::Reply;
use command::GearsCommand;
use registry::catching_up;

pub(super) use events::{figures, role_has_changed};
pub(super) use questions::answer;
macro_rules! commands {
    ($($command:path),* $(,)?) => {
        fn register_all(ctx: Ctx<'_>) -> Result<(), String> {
            $({
                static COMMAND: GearsCommand = $command;
                let spec = &COMMAND.spec;
                spec::register_in(ctx, spec, spec.name, &[spec.acl_categories], |ctx, argv| COMMAND.serve(ctx, argv))?;
            })*
            Ok(())
        }
    };
}

commands![
    script::PYEXECUTE,
    finished::GETRESULTS,
    finished::GETRESULTSBLOCKING,
    finished::GETEXECUTION,
    finished::DUMPEXECUTIONS,
    finished::DROPEXECUTION,
    finished::ABORTEXECUTION,
    configuration::CONFIGGET,
    configuration::CONFIGSET,
    administration::PYSTATS,
    administration::PYDUMPSESSIONS,
    administration::PYPROFILE,
    requirements::PYDUMPREQS,
    requirements::PYEXPORTREQ,
    requirements::PYIMPORTREQ,
    administration::DUMPPLUGINS,
    administration::PYEXECUTEREMOTE,
    administration::PYFREEINTERPRETER,
    cluster::INFOCLUSTER,
    cluster::REFRESHCLUSTER,
    cluster::HELLO,
    cluster::NETWORKTEST,
    registrations::DUMPREGISTRATIONS,
    registrations::UNREGISTER,
    registrations::PAUSEREGISTRATIONS,
    registrations::UNPAUSEREGISTRATIONS,
    registrations::CLEARREGISTRATIONSSTATS,
    events::trigger_commands::TRIGGER,
    events::trigger_commands::TRIGGERONKEY,
    events::hook_commands::HOOKED,
    events::hook_commands::HOOKED_FOR_ALL,
];

/// Registers the commands, unless the server has RedisGears.
///
/// # Errors
/// The command that cannot be registered.
pub(super) fn register(ctx: Ctx<'_>) -> Result<(), String> {
    if has_redisgears(ctx) {
        ctx.log(c"warning", "RedisGears is loaded: its RG.* commands stay, and those of rmr are not registered");
        return Ok(());
    }
    if config::gears() == GearsUse::Off {
        return Ok(());
    }
    register_all(ctx)?;
    registry::hear_news(catching_up::begin);
    persistence::register(ctx)?;
    timers::register(ctx)?;
    module_state::set_python_sessions(Some(Arc::new(Sessions::new(Arc::new(host::ServerHost)))));
    Ok(())
}

/// Forgets everything, as when the module is loaded.
pub(super) fn reset() {
    settings::reset();
    events::close();
    registry::reset();
    catching_up::reset();
    persistence::reset();
    timers::reset();
    state::reset();
}

/// Lets go of everything: the module is unloaded.
pub(super) fn close() {
    module_state::set_python_sessions(None);
    reset();
}

/// Tells whether the server knows the command that runs scripts. One that was told to call `COMMAND` something else says
/// nothing: the registration then shows it.
fn has_redisgears(ctx: Ctx<'_>) -> bool {
    let info = call::run(ctx, &Command::new("COMMAND").arg("INFO").arg("RG.PYEXECUTE"));
    info.elements().and_then(<[Reply]>::first).is_some_and(|first| first.elements().is_some_and(|it| !it.is_empty()))
}
