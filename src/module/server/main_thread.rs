//! The server's main thread, seen from the runtime.
//!
//! The main thread never waits for us: work for it is queued, its event loop takes it in turns of at most a millisecond,
//! between which the server's clients are served, and the result is awaited. Code that runs on the main thread already, in
//! a command or in such a job, does short work at once ([`current`]).

use std::cell::Cell;
use std::collections::VecDeque;
use std::ffi::c_void;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::ptr;
use std::sync::atomic::{AtomicPtr, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use redis_module::raw::RedisModuleCtx;
use tokio::sync::oneshot;

use super::api::{self, Ctx};
use crate::error::Error;

thread_local! {
    static CURRENT: Cell<*mut RedisModuleCtx> = const { Cell::new(ptr::null_mut()) };
}

/// A context that belongs to no client and lasts as long as the module.
static DETACHED: AtomicPtr<RedisModuleCtx> = AtomicPtr::new(ptr::null_mut());

/// What the main thread is to do, in the order in which it was handed over.
static QUEUE: Mutex<Queue> = Mutex::new(Queue { jobs: VecDeque::new(), is_scheduled: false });

struct Queue {
    jobs: VecDeque<Job>,
    /// Whether the server holds a pointer to our code, with which it will come back to the queue.
    is_scheduled: bool,
}

type Job = Box<dyn FnOnce(Turn) + Send>;

/// The longest that the main thread is kept at a time, by all requests together.
pub(crate) const LONGEST_TURN: Duration = Duration::from_millis(1);

/// What a job has of the main thread.
#[derive(Clone, Copy)]
pub(crate) struct Turn {
    pub(crate) ctx: Ctx,
    /// When the job should leave off, and go on in another turn.
    pub(crate) until: Instant,
}

fn queue() -> MutexGuard<'static, Queue> {
    QUEUE.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Sets the context that belongs to no client; gives the one before, which is null at first.
pub(crate) fn set_detached(ctx: *mut RedisModuleCtx) -> *mut RedisModuleCtx {
    DETACHED.swap(ctx, Ordering::AcqRel)
}

/// The context that belongs to no client. It may be logged with from any thread.
pub(crate) fn detached() -> Option<Ctx> {
    let ctx = DETACHED.load(Ordering::Acquire);
    (!ctx.is_null()).then_some(Ctx(ctx))
}

/// Whether the server will come back to our code by itself.
pub(crate) fn is_scheduled() -> bool {
    queue().is_scheduled
}

/// Runs `work` as what the main thread does now, with the context of a command or a job.
pub(crate) fn enter<T>(ctx: Ctx, work: impl FnOnce() -> T) -> T {
    struct Restore(*mut RedisModuleCtx);
    impl Drop for Restore {
        fn drop(&mut self) {
            CURRENT.set(self.0);
        }
    }
    let _restore = Restore(CURRENT.replace(ctx.0));
    work()
}

/// The context of what the main thread does now. `None` on all other threads.
pub(crate) fn current() -> Option<Ctx> {
    let ctx = CURRENT.get();
    (!ctx.is_null()).then_some(Ctx(ctx))
}

/// Runs a job on the main thread: at once if this is it, else as soon as its event loop comes to it.
///
/// # Errors
/// If the server does not run the job, or the job panics.
pub(crate) async fn run<T: Send + 'static>(job: impl FnOnce(Ctx) -> T + Send + 'static) -> Result<T, Error> {
    if let Some(ctx) = current() {
        return Ok(job(ctx));
    }
    in_turn(move |turn| job(turn.ctx)).await
}

/// Runs a job in a turn of its own, with a context of no client, even where this is the main thread.
///
/// # Errors
/// As [`run`].
pub(crate) async fn in_turn<T: Send + 'static>(job: impl FnOnce(Turn) -> T + Send + 'static) -> Result<T, Error> {
    let (sender, receiver) = oneshot::channel();
    post(move |turn| {
        if !sender.is_closed() {
            // The request may be given up while the job runs.
            let _ = sender.send(job(turn));
        }
    });
    receiver.await.map_err(|_| Error::Invalid("internal error on the main thread".into()))
}

/// Leaves a job to the main thread.
pub(crate) fn post(job: impl FnOnce(Turn) + Send + 'static) {
    let mut queue = queue();
    queue.jobs.push_back(Box::new(job));
    if !queue.is_scheduled {
        queue.is_scheduled = api::add_one_shot(arrived);
        if !queue.is_scheduled {
            // Dropping a job fails the request that waits for it.
            queue.jobs.clear();
        }
    }
}

/// The event loop has come to the queue. Jobs run in a timer that is due at once, since a timer has a context that ends:
/// Redis 7.0 replicates what a job has written, or has found expired, only when such a context does.
unsafe extern "C" fn arrived(_: *mut c_void) {
    match detached() {
        Some(ctx) => ctx.create_timer(due),
        None => {
            let mut queue = queue();
            queue.jobs.clear();
            queue.is_scheduled = false;
        }
    }
}

/// Runs jobs until there are none, or until it is time to let the server's clients in.
unsafe extern "C" fn due(ctx: *mut RedisModuleCtx, _: *mut c_void) {
    let turn = Turn { ctx: Ctx(ctx), until: Instant::now() + LONGEST_TURN };
    loop {
        let next = {
            let mut queue = queue();
            let next = queue.jobs.pop_front();
            queue.is_scheduled = next.is_some();
            next
        };
        let Some(job) = next else { return };
        // A panic drops the sender of its result, which fails the waiting request.
        let _ = catch_unwind(AssertUnwindSafe(|| enter(turn.ctx, || job(turn))));
        if Instant::now() >= turn.until {
            return turn.ctx.create_timer(due);
        }
    }
}
