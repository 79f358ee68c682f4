//! The `RMR.*` commands: one file each, and in `spec.rs` what they have in common.
//!
//! To add a command, write its file, and its name twice below: as a module, which rustfmt has to see, and in the list of
//! commands. One that is missing from the list does not go unnoticed: the compiler says that its `SPEC` is never used.

mod batch;
mod events;
mod exec;
mod explain;
mod explain_map;
mod fanout;
mod job;
mod map;
mod matching;
mod options;
mod ping;
mod place;
mod proxy;
mod refresh;
mod scan;
pub(super) mod spec;
mod sum;
mod topology;

use super::server::context::Ctx;

macro_rules! commands {
    ($($command:ident),* $(,)?) => {
        /// Registers all commands.
        pub(super) fn register(ctx: Ctx<'_>) -> Result<(), String> {
            $(spec::register(ctx, &$command::SPEC, $command::SPEC.name, |ctx, argv| {
                spec::serve($command::SPEC.run, ctx, argv);
            })?;)*
            Ok(())
        }
    };
}

commands![sum, fanout, map, job, events, batch, exec, scan, explain, topology, ping, refresh, proxy, place];
