//! The state of a loaded module: a runtime, and the engine that runs on it.
//!
//! Both begin with the first request that needs them and end with `MODULE UNLOAD`. Nothing here is set once and for
//! all: a server may keep the library mapped after unloading it, and load it again with these statics as they were.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, LazyLock, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use arc_swap::ArcSwapOption;
use tokio::runtime::{Builder, Handle, Runtime};

use super::config::{self, Fingerprint};
use super::setup::Setup;
use super::store;
use crate::combine::AnyCombine;
use crate::engine::Engine;
use crate::error::Error;
use crate::flow::BatchStep;
use crate::flow::executions::Executions;
use crate::python::Sessions;

/// Read by every request without a lock.
struct RunningEngine {
    handle: Handle,
    engine: Engine,
    built_from: Fingerprint,
}

static RUNNING: ArcSwapOption<RunningEngine> = ArcSwapOption::const_empty();
static RUNTIME: Mutex<Option<Runtime>> = Mutex::new(None);
static SETUP: Mutex<Option<Setup>> = Mutex::new(None);

static EXECUTIONS: LazyLock<Executions> = LazyLock::new(Executions::new);

/// The sessions of functions in Python. Made when the module is loaded.
static PYTHON: Mutex<Option<Arc<Sessions>>> = Mutex::new(None);

/// Threads of the runtime that have begun and not ended.
static THREADS: AtomicUsize = AtomicUsize::new(0);

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Says how the engine is to be built. One that runs is replaced; requests under way end on the old one.
pub(super) fn set_up(setup: Setup) -> Result<(), Error> {
    *lock(&SETUP) = Some(setup);
    if RUNNING.load().is_some() { start().map(drop) } else { Ok(()) }
}

/// Builds the engine anew if what it is built from has changed.
pub(super) fn rebuild_if_changed() -> Result<(), Error> {
    match &*RUNNING.load() {
        Some(running) if running.built_from != config::fingerprint() => start().map(drop),
        _ => Ok(()),
    }
}

/// Returns the runtime, and starts it if need be. On the main thread.
pub(super) fn runtime() -> Result<Handle, Error> {
    running().map(|running| running.handle.clone())
}

/// Returns the engine, and starts it if need be. On the main thread.
pub(super) fn engine() -> Result<Engine, Error> {
    running().map(|running| running.engine.clone())
}

/// Returns the engine if it has been started; from any thread, and without a lock.
pub(super) fn engine_if_started() -> Option<Engine> {
    RUNNING.load().as_ref().map(|running| running.engine.clone())
}

/// Returns the reducer of this name with these arguments: the module's own, or one of those that all have.
pub(super) fn reducer(name: &str, arguments: &[u8]) -> Option<Arc<dyn AnyCombine>> {
    lock(&SETUP).as_ref()?.reducer_named(name, arguments)
}

/// Returns the executions that run or have run at this node.
pub(super) fn executions() -> &'static Executions {
    &EXECUTIONS
}

/// Says where the sessions of functions in Python are.
pub(super) fn set_python_sessions(sessions: Option<Arc<Sessions>>) {
    *lock(&PYTHON) = sessions;
}

/// Returns the sessions of functions in Python.
///
/// # Errors
/// If this is a module that runs none.
pub(super) fn python_sessions() -> Result<Arc<Sessions>, Error> {
    lock(&PYTHON).clone().ok_or_else(|| Error::Refused("this module runs no functions in Python".into()))
}

/// Returns the step of flows of this name: the module's own, or one of another module.
pub(super) fn step(name: &str) -> Option<Arc<dyn BatchStep>> {
    lock(&SETUP).as_ref()?.step_named(name)
}

fn running() -> Result<Arc<RunningEngine>, Error> {
    match RUNNING.load_full() {
        Some(running) => Ok(running),
        None => start(),
    }
}

fn start() -> Result<Arc<RunningEngine>, Error> {
    let setup = lock(&SETUP).clone().ok_or_else(|| Error::Refused("rmr is not registered".into()))?;
    let mut runtime = lock(&RUNTIME);
    let handle = match &*runtime {
        Some(runtime) => runtime.handle().clone(),
        None => {
            let new = Builder::new_multi_thread()
                .worker_threads(setup.worker_threads())
                .thread_name("rmr-io")
                .on_thread_start(|| {
                    THREADS.fetch_add(1, Ordering::AcqRel);
                })
                .on_thread_stop(|| {
                    THREADS.fetch_sub(1, Ordering::AcqRel);
                })
                .enable_all()
                .build()
                .map_err(|error| Error::Unusable {
                    what: "the runtime cannot be started".into(),
                    cause: error.into(),
                })?;
            runtime.insert(new).handle().clone()
        }
    };
    let engine = {
        let _entered = handle.enter();
        setup.engine()?
    };
    let running = Arc::new(RunningEngine { handle, engine, built_from: config::fingerprint() });
    RUNNING.store(Some(running.clone()));
    Ok(running)
}

/// Ends every thread. The main thread waits for that, since the code is unmapped afterwards.
///
/// # Errors
/// If a thread does not end; a later request then starts anew.
pub(super) fn stop() -> Result<(), String> {
    /// Long enough for threads that are at work, short enough for a server that is asked to unload.
    const PATIENCE: Duration = Duration::from_secs(3);
    RUNNING.store(None);
    store::forget();
    if let Some(runtime) = lock(&RUNTIME).take() {
        if let Ok(sessions) = python_sessions() {
            runtime.block_on(sessions.stop());
        }
        runtime.shutdown_timeout(PATIENCE);
    }
    match THREADS.load(Ordering::Acquire) {
        0 => Ok(()),
        threads => Err(format!("{threads} threads are still at work, as in a slow name lookup; try again later")),
    }
}
