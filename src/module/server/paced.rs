//! Turns on the main thread for long work, as a flow is: at most a millisecond at a time, and while clients wait at most
//! the share of the thread's time that `rmr.flow-share` says.
//!
//! This is a queue apart from that of requests, which clients wait for. A turn is taken in a timer, since a timer has a context
//! that ends ([`main_thread`](super::main_thread)). Work that goes on comes back by the event loop's own way, not by the next
//! timer: a timer that is made within a timer is not due before a millisecond has gone, which would leave an idle server idle
//! for half of the time. Only work that owes clients time waits for a timer of a millisecond.
//!
//! The account of time is the main thread's alone, without a lock; the queue's lock is held for the length of a push.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::ffi::c_void;
use std::ptr;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering::Relaxed};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use redis_module::raw::RedisModuleCtx;

use super::api::required;
use super::callback::guarded;
use super::context::Ctx;
use super::main_thread::{Job, LONGEST_TURN, Turn, answered, enter, with_detached};
use super::pace::Pace;
use super::{event_loop, thread};
use crate::error::Error;

/// The jobs of flows for the main thread, in the order in which they were handed over.
static QUEUE: Mutex<PacedQueue> = Mutex::new(PacedQueue { jobs: VecDeque::new(), is_scheduled: false });

/// The per cent of its time that the main thread gives to flows while clients wait.
static SHARE: AtomicU32 = AtomicU32::new(50);

/// The number of turns that have been taken, for `INFO`, which takes no lock.
pub(crate) static TURNS: AtomicU64 = AtomicU64::new(0);

/// The time that all turns took together, in nanoseconds.
pub(crate) static BUSY: AtomicU64 = AtomicU64::new(0);

/// The number of times that a turn had to wait since clients did.
pub(crate) static WAITS: AtomicU64 = AtomicU64::new(0);

struct PacedQueue {
    jobs: VecDeque<Job>,
    /// Tells whether the server holds a pointer to our code, with which it will come back to the queue.
    is_scheduled: bool,
}

thread_local! {
    /// The account, on the main thread.
    static PACE: RefCell<Pace> = const { RefCell::new(Pace::new()) };
}

fn queue() -> MutexGuard<'static, PacedQueue> {
    QUEUE.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Sets the share of the main thread's time, in per cent.
pub(crate) fn set_share(percent: u32) {
    SHARE.store(percent, Relaxed);
}

/// Tells whether the server will come back to our code by itself.
pub(crate) fn is_scheduled() -> bool {
    queue().is_scheduled
}

/// Notes that the event loop is about to wait.
pub(crate) fn falls_asleep() {
    PACE.with_borrow_mut(|pace| pace.falls_asleep(Instant::now));
}

/// Notes that the event loop has something to do.
pub(crate) fn wakes_up() {
    PACE.with_borrow_mut(|pace| pace.wakes_up(Instant::now));
}

/// Runs a job in a paced turn, with a context of no client. The turn says when the job should leave off.
///
/// # Errors
/// If the server does not run the job, or the job panics.
pub(crate) async fn in_turn<T: Send + 'static>(job: impl FnOnce(Turn<'_>) -> T + Send + 'static) -> Result<T, Error> {
    answered(job, post).await
}

fn post(job: Job) {
    let mut queue = queue();
    queue.jobs.push_back(job);
    if !queue.is_scheduled {
        come_back(&mut queue);
    }
}

/// Has the event loop come to the queue in its next round.
fn come_back(queue: &mut PacedQueue) {
    queue.is_scheduled = event_loop::add_one_shot(arrived);
    if !queue.is_scheduled {
        // Dropping a job fails the flow that waits for it.
        queue.jobs.clear();
    }
}

/// Runs jobs: the event loop has come to the queue.
fn arrived() {
    if with_detached(|ctx| create_timer(ctx, 0)).is_none() {
        let mut queue = queue();
        queue.jobs.clear();
        queue.is_scheduled = false;
    }
}

/// Has [`due`] called after so many milliseconds, or at once.
fn create_timer(ctx: Ctx<'_>, milliseconds: i64) {
    // SAFETY: invariants 1, 2 and 5; a module with timers is not unloaded.
    unsafe { required!(RedisModule_CreateTimer)(ctx.as_ptr(), milliseconds, Some(due), ptr::null_mut()) };
}

/// Takes a turn, unless clients are to be served first.
unsafe extern "C" fn due(ctx: *mut RedisModuleCtx, _: *mut c_void) {
    thread::debug_assert_main();
    // SAFETY: invariants 1 and 2: the context of this timer.
    let ctx = unsafe { Ctx::new(ctx) };
    let began = Instant::now();
    if PACE.with_borrow_mut(|pace| pace.is_owing(began)) {
        WAITS.fetch_add(1, Relaxed);
        return create_timer(ctx, 1);
    }
    TURNS.fetch_add(1, Relaxed);
    let turn = Turn { ctx, until: began + LONGEST_TURN };
    let ended = loop {
        let Some(job) = queue().jobs.pop_front() else { break Instant::now() };
        // A panic drops the sender of its result, which fails the waiting flow.
        guarded(|| enter(ctx, || job(turn)));
        let now = Instant::now();
        if now >= turn.until {
            break now;
        }
    };
    BUSY.fetch_add(ended.saturating_duration_since(began).as_nanos() as u64, Relaxed);
    PACE.with_borrow_mut(|pace| pace.has_run(began, ended, SHARE.load(Relaxed)));
    let mut queue = queue();
    queue.is_scheduled = false;
    if !queue.jobs.is_empty() {
        come_back(&mut queue);
    }
}
