//! The server's main thread, seen from the runtime.
//!
//! The main thread never waits for us: work for it is handed to its event loop and the result awaited. Code that runs
//! on the main thread already, in a command or in such a job, does its work at once ([`current`]).

use std::cell::Cell;
use std::ffi::c_void;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::ptr;
use std::sync::atomic::{AtomicPtr, AtomicUsize, Ordering};

use redis_module::raw::RedisModuleCtx;
use tokio::sync::oneshot;

use super::api::{self, Ctx};
use crate::error::Error;

thread_local! {
    static CURRENT: Cell<*mut RedisModuleCtx> = const { Cell::new(ptr::null_mut()) };
}

/// A context that belongs to no client and lasts as long as the module.
static DETACHED: AtomicPtr<RedisModuleCtx> = AtomicPtr::new(ptr::null_mut());

/// Jobs handed to the event loop and not run yet. The server holds pointers to our code for as long.
static OUTSTANDING: AtomicUsize = AtomicUsize::new(0);

/// Sets the context that belongs to no client; gives the one before, which is null at first.
pub(super) fn set_detached(ctx: *mut RedisModuleCtx) -> *mut RedisModuleCtx {
    DETACHED.swap(ctx, Ordering::AcqRel)
}

/// The context that belongs to no client. It may be logged with from any thread.
pub(super) fn detached() -> Option<Ctx> {
    let ctx = DETACHED.load(Ordering::Acquire);
    (!ctx.is_null()).then_some(Ctx(ctx))
}

/// How many jobs the event loop has yet to run.
pub(super) fn outstanding() -> usize {
    OUTSTANDING.load(Ordering::Acquire)
}

/// Runs `work` as what the main thread does now, with the context of a command or a job.
pub(super) fn enter<T>(ctx: Ctx, work: impl FnOnce() -> T) -> T {
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
pub(super) fn current() -> Option<Ctx> {
    let ctx = CURRENT.get();
    (!ctx.is_null()).then_some(Ctx(ctx))
}

/// Runs a job on the main thread: at once if this is it, else as soon as its event loop comes to it.
///
/// # Errors
/// If the server does not run the job, or the job panics.
pub(super) async fn run<T: Send + 'static>(job: impl FnOnce(Ctx) -> T + Send + 'static) -> Result<T, Error> {
    if let Some(ctx) = current() {
        return Ok(job(ctx));
    }
    let (sender, receiver) = oneshot::channel();
    post(Box::new(move |ctx| {
        // Nobody waits any more: the request was given up.
        let _ = sender.send(job(ctx));
    }));
    receiver.await.map_err(|_| Error::Invalid("internal error on the main thread".into()))
}

type Job = Box<dyn FnOnce(Ctx) + Send>;

fn post(job: Job) {
    let data = Box::into_raw(Box::new(job));
    OUTSTANDING.fetch_add(1, Ordering::AcqRel);
    if !api::add_one_shot(arrived, data.cast()) {
        // SAFETY: the server did not take it, so it is still ours.
        unsafe { forget(data) };
    }
}

/// A job has come to the event loop. It runs in a timer that is due at once, since a timer has a context that ends: Redis
/// 7.0 replicates what a job has written, or has found expired, only when such a context does.
///
/// # Safety
/// `data` comes from [`post`], and is given here once.
unsafe extern "C" fn arrived(data: *mut c_void) {
    match detached() {
        Some(ctx) => ctx.create_timer(due, data),
        // SAFETY: see above.
        None => unsafe { forget(data.cast()) },
    }
}

/// # Safety
/// `data` comes from [`post`], and is given here once.
unsafe extern "C" fn due(ctx: *mut RedisModuleCtx, data: *mut c_void) {
    // SAFETY: see above.
    let job = *unsafe { Box::from_raw(data.cast::<Job>()) };
    let ctx = Ctx(ctx);
    // A panic drops the sender of its result, which fails the waiting request.
    let _ = catch_unwind(AssertUnwindSafe(|| enter(ctx, || job(ctx))));
    OUTSTANDING.fetch_sub(1, Ordering::AcqRel);
}

/// Drops a job that cannot run, which fails the waiting request.
///
/// # Safety
/// `data` comes from [`post`], and nobody else has it.
unsafe fn forget(data: *mut Job) {
    // SAFETY: see above.
    drop(unsafe { Box::from_raw(data) });
    OUTSTANDING.fetch_sub(1, Ordering::AcqRel);
}
