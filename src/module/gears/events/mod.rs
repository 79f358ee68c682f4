//! Events for registrations: what happens on this node, and the flows that run for it.
//!
//! - `home`: the process in which the registrations of a session live
//! - `run`: the flow of a registration, run for events
//! - `everywhere`: the same on all shards
//! - `queue`: events that are not worked on yet
//! - `keys`: events of keys
//! - `streams`: entries of streams, each read in order; `stream_turn`: what is done to a stream at once
//! - `hooks`: commands that functions stand before, or whose clients wait for functions (`linked`); `hook_commands`: what is
//!   run in their place
//! - `triggers`: names that clients call; `trigger_commands`: the commands with which they do

mod everywhere;
mod home;
pub(super) mod hook_commands;
mod hooks;
mod keys;
mod linked;
mod queue;
mod run;
mod stream_turn;
mod streams;
pub(super) mod trigger_commands;
mod triggers;

use std::cell::RefCell;
use std::sync::Arc;

use super::caller::DATABASE;
use super::registry::live::LiveRegistration;
use super::registry::registration::{EventReader, Registration, RegistrationMode};
use crate::error::Error;
use crate::module::server::context::Ctx;
use crate::module::server::keyspace_events::{self, EventSubscription, WithMisses};
use crate::module::server::main_thread;
use home::SessionHome;
use keys::KeyListener;
use run::EventRunner;
use streams::StreamListener;
use triggers::Trigger;

pub(super) use home::come_to_life;

/// A registration that lives on this node.
enum Listening {
    Keys(KeyListener),
    Streams(StreamListener),
    Trigger(Arc<Trigger>),
    /// No events come to it from here: it stands before a command, or cannot live here, and its last error says why.
    Nothing,
}

thread_local! {
    /// The registrations that live on this node, in the order in which they were made. On the main thread.
    static LISTENING: RefCell<Vec<(Arc<LiveRegistration>, Listening)>> = const { RefCell::new(Vec::new()) };

    /// The server tells of events of keys.
    static SUBSCRIPTION: EventSubscription = const { EventSubscription::new() };
}

/// Checks whether a registration can live on a server as this one.
///
/// # Errors
/// The error says why not, as clients are told.
pub(super) fn check(registration: &Registration) -> Result<(), String> {
    let is_sync = registration.mode == RegistrationMode::Sync;
    match registration.reader {
        EventReader::Keys(_) | EventReader::Stream(_) if is_sync && !keyspace_events::has_jobs() => Err(
            "this server cannot run functions with the events of keys (mode='sync'): Redis from 7.2 on and Valkey can; use \
             async_local"
                .to_owned(),
        ),
        _ => {
            main_thread::with_current(|ctx| hooks::check(ctx, &registration.reader)).unwrap_or(Ok(()))
        }
    }
}

/// Makes a registration live on this node. On the main thread.
pub(super) fn began(ctx: Ctx<'_>, live: &Arc<LiveRegistration>) {
    let runner = EventRunner { live: live.clone(), home: SessionHome::of(live), client: None };
    let listening = begin(ctx, live, runner).unwrap_or_else(|error| {
        live.stats.note_error(error.to_string());
        Listening::Nothing
    });
    LISTENING.with_borrow_mut(|all| all.push((live.clone(), listening)));
}

fn begin(ctx: Ctx<'_>, live: &Arc<LiveRegistration>, runner: EventRunner) -> Result<Listening, Error> {
    runner.come_to_life()?;
    let is_of_keys = !matches!(live.registration.reader, EventReader::Command(_));
    let ensure = |subscription: &EventSubscription| subscription.ensure(ctx, WithMisses::Yes, happened);
    if is_of_keys && !SUBSCRIPTION.with(ensure) {
        return Err(Error::Refused("this server does not tell modules of keyspace events".into()));
    }
    hooks::add(ctx, &live.registration, &runner).map_err(Error::Refused)?;
    match &live.registration.reader {
        EventReader::Command(wanted) if wanted.hook.is_some() => Ok(Listening::Nothing),
        EventReader::Keys(wanted) => Ok(Listening::Keys(KeyListener::begin(wanted.clone(), runner)?)),
        EventReader::Command(wanted) => Ok(Listening::Trigger(Trigger::begin(wanted.in_order, runner)?)),
        EventReader::Stream(wanted) => Ok(Listening::Streams(StreamListener::begin(wanted.clone(), runner)?)),
    }
}

/// Ends the life of a registration on this node. Events that were not begun are aborted, or still run. On the main
/// thread.
pub(super) fn ended(live: &Arc<LiveRegistration>, aborts_pending: bool) {
    let ended = LISTENING.with_borrow_mut(|all| {
        let place = all.iter().position(|(listening, _)| listening.registration.id == live.registration.id)?;
        Some(all.remove(place).1)
    });
    match ended {
        Some(Listening::Keys(listener)) => listener.end(aborts_pending),
        Some(Listening::Streams(listener)) => listener.end(aborts_pending),
        Some(Listening::Trigger(trigger)) => trigger.end(aborts_pending),
        Some(Listening::Nothing) | None => {}
    }
    hooks::remove(&live.registration.id);
    home::leave(live);
}

/// Takes an event of a key, in the midst of a command.
fn happened(ctx: Ctx<'_>, name: &[u8], key: &[u8]) {
    LISTENING.with_borrow(|all| {
        if all.is_empty() {
            return;
        }
        let flags = ctx.flags();
        if !flags.is_primary() || flags.is_loading() || ctx.selected_database() != DATABASE {
            return;
        }
        for (_, listening) in all {
            match listening {
                Listening::Keys(listener) => listener.take(ctx, name, key),
                Listening::Streams(listener) => listener.take(ctx, name, key),
                Listening::Trigger(_) | Listening::Nothing => {}
            }
        }
    });
}

/// Looks for streams that nobody reads: this node is a primary now that was a replica, or the other way round. On the
/// main thread.
pub(in crate::module) fn role_has_changed() {
    look_for_streams(|_| true);
}

/// Has a registration go on that has paused, or was aborted. On the main thread.
pub(super) fn resumed(id: &str) {
    look_for_streams(|live| live.registration.id == id);
}

fn look_for_streams(is_wanted: impl Fn(&LiveRegistration) -> bool) {
    LISTENING.with_borrow(|all| {
        for (live, listening) in all.iter().filter(|(live, _)| is_wanted(live)) {
            if let Listening::Streams(listener) = listening {
                listener.wake_all();
                if let Err(error) = listener.discover() {
                    live.stats.note_error(error.to_string());
                }
            }
        }
    });
}

/// Returns how many registrations live here, how many events are not begun, and how many there was no room for. For `INFO`, on
/// the main thread.
pub(in crate::module) fn figures() -> (u64, u64, u64) {
    LISTENING.with_borrow(|all| {
        let pending = |listening: &Listening| match listening {
            Listening::Keys(listener) => listener.pending(),
            Listening::Trigger(trigger) => trigger.pending(),
            Listening::Streams(_) | Listening::Nothing => 0,
        };
        let pending: usize = all.iter().map(|(_, listening)| pending(listening)).sum();
        let dropped = all.iter().map(|(live, _)| live.stats.now().dropped).sum();
        (all.len() as u64, pending as u64, dropped)
    })
}

/// Returns the registration that is called by this name. On the main thread.
fn trigger_named(name: &str) -> Option<Arc<Trigger>> {
    LISTENING.with_borrow(|all| {
        all.iter().find_map(|(live, listening)| match (&live.registration.reader, listening) {
            (EventReader::Command(wanted), Listening::Trigger(trigger)) if wanted.trigger.as_deref() == Some(name) => {
                Some(trigger.clone())
            }
            _ => None,
        })
    })
}

/// Forgets all: the module is unloaded, and the server forgets its subscription.
pub(super) fn close() {
    SUBSCRIPTION.with(EventSubscription::reset);
    LISTENING.take();
    hooks::close();
    home::close();
}
