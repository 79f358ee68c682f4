//! The answers of this node to changes of the registry, made by another node or by itself.

use std::time::Instant;

use xxhash_rust::xxh3::xxh3_128;

use super::asked::RegistryAsked;
use super::set::{RegistryChange, SetVersions};
use super::{commit, lock, with};
use crate::error::Error;
use crate::flow::messages;
use crate::module::gears::events;
use crate::module::gears::persistence::saved;
use crate::module::server::context::{self, Ctx};
use crate::module::server::main_thread;
use crate::module::state as module_state;
use crate::reply::Reply;

/// Agrees to a change on this node.
pub(super) async fn prepare(id: String, change: RegistryChange) -> Result<(), String> {
    can_run(&change).await?;
    main_thread::run(move |ctx| prepare_here(ctx, &id, &change)).await.map_err(|error| error.to_string())?
}

fn prepare_here(ctx: Ctx<'_>, id: &str, change: &RegistryChange) -> Result<(), String> {
    check_place(ctx)?;
    let mut locked = lock();
    let node = locked.get();
    let is_new = |id: &String| node.registry.find(id).is_none();
    let new = change.sets.iter().flat_map(|set| &set.registrations).filter(|registration| is_new(&registration.id));
    for registration in new {
        saved::check_kept()?;
        events::check(registration)?;
    }
    node.prepared.prepare(id, change, &node.registry, Instant::now())
}

/// Checks that the registry of this node may change otherwise than by what its primary or its files say.
pub(super) fn check_place(ctx: Ctx<'_>) -> Result<(), String> {
    let flags = ctx.flags();
    if flags.is_loading() {
        return Err("the server loads its data".to_owned());
    }
    if context::writes_are_paused() {
        return Err("registrations do not change while writes are paused; try again".to_owned());
    }
    if flags.is_primary() {
        Ok(())
    } else {
        Err("functions are registered at primaries, and this is a replica".to_owned())
    }
}

/// Checks that the interpreter of this node runs what is new in a change, and has the packages for it.
async fn can_run(change: &RegistryChange) -> Result<(), String> {
    let failed = |error: Error| error.to_string();
    let is_new = |id: &String| with(|registry| registry.find(id).is_none());
    let registrations = change.sets.iter().flat_map(|set| &set.registrations);
    let new: Vec<_> = registrations.filter(|registration| is_new(&registration.id)).collect();
    if new.is_empty() {
        return Ok(());
    }
    let sessions = module_state::python_sessions().map_err(failed)?;
    let own = sessions.python_version().await.map_err(failed)?;
    for registration in new {
        if *registration.python != *own {
            return Err(format!("this shard has Python {own}, and the function was made by {}", registration.python));
        }
        sessions.requirements().folder(&registration.requirements).await.map_err(failed)?;
    }
    Ok(())
}

/// Answers another node.
pub(in crate::module::gears) async fn answer(asked: RegistryAsked) -> Result<Reply, String> {
    let failed = |error: Error| error.to_string();
    match asked {
        RegistryAsked::Prepare { id, change } => prepare(id, change).await.map(|()| Reply::OK),
        RegistryAsked::Commit { id, change, aborts_pending } => {
            let committed = main_thread::run(move |ctx| {
                lock().get().prepared.release(&id, Instant::now());
                take(ctx, change, aborts_pending)
            });
            committed.await.map_err(failed)?
        }
        RegistryAsked::Drop { id } => {
            lock().get().prepared.release(&id, Instant::now());
            Ok(Reply::OK)
        }
        RegistryAsked::Compare { digest } => {
            let versions = with(|registry| registry.versions());
            Ok(if digest_of(&versions) == digest { Reply::OK } else { encoded(&versions).map_err(failed)? })
        }
        RegistryAsked::Take { change } => {
            main_thread::run(move |ctx| take(ctx, change, false)).await.map_err(failed)?
        }
        RegistryAsked::SetPaused { ids, is_paused, aborts_pending } => {
            main_thread::run(move |_| super::set_paused(&ids, is_paused, aborts_pending)).await.map_err(failed)?;
            Ok(Reply::OK)
        }
        RegistryAsked::ClearStats => {
            super::live().iter().for_each(|live| live.stats.clear());
            Ok(Reply::OK)
        }
    }
}

/// Takes what another primary knows. On the main thread.
fn take(ctx: Ctx<'_>, change: RegistryChange, aborts_pending: bool) -> Result<Reply, String> {
    check_place(ctx)?;
    commit(ctx, change, aborts_pending);
    Ok(Reply::OK)
}

fn encoded(versions: &SetVersions) -> Result<Reply, Error> {
    Ok(Reply::Bulk(messages::encode(versions)?.into()))
}

/// Tells apart registries that have not the same versions.
pub(super) fn digest_of(versions: &SetVersions) -> u128 {
    let bytes = messages::encode(versions).unwrap_or_default();
    xxh3_128(&bytes)
}
