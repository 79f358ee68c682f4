//! The server's main thread, seen from the runtime.
//!
//! The main thread never waits for us: work for it is queued, its event loop takes it in turns of at most a millisecond,
//! between which the server's clients are served, and the result is awaited. Code that runs on the main thread already, in
//! a command or in such a job, does short work at once ([`with_current`]).

use std::collections::VecDeque;
use std::ffi::{CStr, c_void};
use std::ptr;
use std::sync::atomic::{AtomicPtr, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use redis_module::raw::RedisModuleCtx;
use tokio::sync::oneshot;

use super::api::required;
use super::callback::guarded;
use super::context::{self, Ctx};
use super::thread::CURRENT;
use super::{event_loop, thread};
use crate::error::Error;

/// A context that belongs to no client and lasts as long as the module.
static DETACHED: AtomicPtr<RedisModuleCtx> = AtomicPtr::new(ptr::null_mut());

/// The jobs for the main thread, in the order in which they were handed over.
static QUEUE: Mutex<Queue> = Mutex::new(Queue { jobs: VecDeque::new(), is_scheduled: false });

struct Queue {
    jobs: VecDeque<Job>,
    /// Tells whether the server holds a pointer to our code, with which it will come back to the queue.
    is_scheduled: bool,
}

pub(super) type Job = Box<dyn FnOnce(Turn<'_>) + Send>;

/// The longest that the main thread is kept at a time, by all requests together.
pub(crate) const LONGEST_TURN: Duration = Duration::from_millis(1);

/// The turn of a job on the main thread.
#[derive(Clone, Copy)]
pub(crate) struct Turn<'a> {
    pub(crate) ctx: Ctx<'a>,
    /// The moment when the job should leave off, and go on in another turn.
    pub(crate) until: Instant,
}

fn queue() -> MutexGuard<'static, Queue> {
    QUEUE.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Begins: this is the main thread, and from now on there is a context that belongs to no client.
pub(crate) fn open(ctx: Ctx<'_>) {
    thread::is_main();
    // SAFETY: invariants 1 and 2.
    let detached = unsafe { required!(RedisModule_GetDetachedThreadSafeContext)(ctx.as_ptr()) };
    let before = DETACHED.swap(detached, Ordering::AcqRel);
    debug_assert!(before.is_null(), "registered twice");
}

/// Ends: frees the context that belongs to no client. No thread logs any more.
pub(crate) fn close() {
    thread::debug_assert_main();
    let detached = DETACHED.swap(ptr::null_mut(), Ordering::AcqRel);
    if !detached.is_null() {
        // SAFETY: invariant 4, with nobody left who uses it.
        unsafe { required!(RedisModule_FreeThreadSafeContext)(detached) };
    }
}

/// Does something with the context that belongs to no client; `None` while there is none, and on all other threads.
pub(crate) fn with_detached<T>(work: impl FnOnce(Ctx<'_>) -> T) -> Option<T> {
    if thread::is_another() {
        return None;
    }
    let ctx = DETACHED.load(Ordering::Acquire);
    // SAFETY: invariants 1 and 2: the context is freed by the main thread alone, and this is it: `open` says which it is
    // before there is a context.
    (!ctx.is_null()).then(|| work(unsafe { Ctx::new(ctx) }))
}

/// Writes a line into the server's log, from any thread.
pub(crate) fn log(level: &CStr, text: &str) {
    let ctx = DETACHED.load(Ordering::Acquire);
    if !ctx.is_null() {
        // SAFETY: invariant 1: the context is freed when all threads of ours have ended.
        unsafe { context::log(ctx, level, text) };
    }
}

/// Tells whether the server will come back to our code by itself.
pub(crate) fn is_scheduled() -> bool {
    queue().is_scheduled
}

/// Runs `work` as what the main thread does now, with the context of a command or a job.
pub(crate) fn enter<T>(ctx: Ctx<'_>, work: impl FnOnce() -> T) -> T {
    struct Restore(*mut RedisModuleCtx);
    impl Drop for Restore {
        fn drop(&mut self) {
            CURRENT.set(self.0);
        }
    }
    let _restore = Restore(CURRENT.replace(ctx.as_ptr()));
    work()
}

/// Does something with the context of what the main thread does now; `None` on all other threads.
pub(crate) fn with_current<T>(work: impl FnOnce(Ctx<'_>) -> T) -> Option<T> {
    // SAFETY: the context is used for the length of this call.
    unsafe { current() }.map(work)
}

/// Returns the context of what the main thread does now; `None` on all other threads.
///
/// # Safety
/// The context is not used once control has gone back to who has called [`enter`].
unsafe fn current<'a>() -> Option<Ctx<'a>> {
    let ctx = CURRENT.get();
    // SAFETY: invariant 1, for as long as the caller says: `enter` was given a live one, and is still running.
    (!ctx.is_null()).then(|| unsafe { Ctx::new(ctx) })
}

/// Runs a job on the main thread: at once if this is it, else as soon as its event loop comes to it.
///
/// # Errors
/// If the server does not run the job, or the job panics.
pub(crate) async fn run<T: Send + 'static>(job: impl FnOnce(Ctx<'_>) -> T + Send + 'static) -> Result<T, Error> {
    // SAFETY: used at once, and not across a wait.
    if let Some(ctx) = unsafe { current() } {
        return Ok(job(ctx));
    }
    in_turn(move |turn| job(turn.ctx)).await
}

/// Runs a job in a turn of its own, with a context of no client, even where this is the main thread.
///
/// # Errors
/// As [`run`].
pub(crate) async fn in_turn<T: Send + 'static>(job: impl FnOnce(Turn<'_>) -> T + Send + 'static) -> Result<T, Error> {
    answered(job, |job| post(job)).await
}

/// Hands a job to a queue, and waits for what it comes to.
///
/// # Errors
/// If the job is dropped, or panics.
pub(super) async fn answered<T: Send + 'static>(
    job: impl FnOnce(Turn<'_>) -> T + Send + 'static,
    post: impl FnOnce(Job),
) -> Result<T, Error> {
    let (sender, receiver) = oneshot::channel();
    post(Box::new(move |turn| {
        if !sender.is_closed() {
            // The request may be given up while the job runs.
            let _ = sender.send(job(turn));
        }
    }));
    receiver.await.map_err(|_| Error::Internal("internal error on the main thread".into()))
}

/// Leaves a job to the main thread.
pub(crate) fn post(job: impl FnOnce(Turn<'_>) + Send + 'static) {
    let mut queue = queue();
    queue.jobs.push_back(Box::new(job));
    if !queue.is_scheduled {
        queue.is_scheduled = event_loop::add_one_shot(arrived);
        if !queue.is_scheduled {
            // Dropping a job fails the request that waits for it.
            queue.jobs.clear();
        }
    }
}

/// Runs jobs: the event loop has come to the queue. They run in a timer that is due at once, since a timer has a
/// context that ends: Redis 7.0 replicates what a job has written, or has found expired, only when such a context does.
fn arrived() {
    if with_detached(create_timer).is_none() {
        let mut queue = queue();
        queue.jobs.clear();
        queue.is_scheduled = false;
    }
}

/// Has [`due`] called in this round of the event loop, or in the next.
fn create_timer(ctx: Ctx<'_>) {
    // SAFETY: invariants 1, 2 and 5; a module with timers is not unloaded.
    unsafe { required!(RedisModule_CreateTimer)(ctx.as_ptr(), 0, Some(due), ptr::null_mut()) };
}

/// Runs jobs until there are none, or until it is time to let the server's clients in.
unsafe extern "C" fn due(ctx: *mut RedisModuleCtx, _: *mut c_void) {
    // SAFETY: invariants 1 and 2: the context of this timer.
    let turn = Turn { ctx: unsafe { Ctx::new(ctx) }, until: Instant::now() + LONGEST_TURN };
    loop {
        let next = {
            let mut queue = queue();
            let next = queue.jobs.pop_front();
            queue.is_scheduled = next.is_some();
            next
        };
        let Some(job) = next else { return };
        // A panic drops the sender of its result, which fails the waiting request.
        guarded(|| enter(turn.ctx, || job(turn)));
        if Instant::now() >= turn.until {
            return create_timer(turn.ctx);
        }
    }
}
