//! The workers whose call sockets the server's event loop reads.
//!
//! The event loop tells that a call has come, also in the middle of a busy script and while data is loaded, so it is read
//! then and nothing more. Calls are answered in a timer that is due in the same round of the event loop: a context that
//! ends, which is when the server replicates what was written, and one that no script and no loading lets come up. A turn
//! takes a millisecond at most, between which the server serves its clients.
//!
//! All of this is the main thread's alone. While a worker is served it is away from the table, since the event loop may call
//! back within a command, as it does within a script that takes long.

use std::cell::RefCell;
use std::collections::{HashMap, VecDeque};
use std::io;
use std::os::fd::{OwnedFd, RawFd};
use std::rc::Rc;
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

use bytes::Bytes;

use super::alone::{AloneEnd, serve_alone};
use super::call_socket::{CallSocket, LentSocket, Transfer};
use super::event::{self, EventDeadline};
use super::execute::ServerCalls;
use super::serving::{Caller, EventSaid, Served, ServedFor};
use crate::module::config;
use crate::module::server::context::Ctx;
use crate::module::server::main_thread::{LONGEST_TURN, with_detached};
use crate::module::server::{event_loop, timer};
use crate::python::{Worker, WorkerNumber};

/// The time between attempts at calls that cannot be answered now, as writes while clients are paused.
const TRIED_AGAIN: Duration = Duration::from_millis(10);

thread_local! {
    static CALLERS: RefCell<Callers> = RefCell::default();
}

#[derive(Default)]
struct Callers {
    /// The callers, by the descriptors of their sockets.
    places: HashMap<RawFd, CallerPlace, foldhash::fast::RandomState>,
    /// The callers with calls to be answered, in the order in which these came.
    ready: VecDeque<RawFd>,
    /// The callers with calls that cannot be answered now.
    held: Vec<RawFd>,
    /// The event loop will come to [`turn`].
    is_scheduled: bool,
    /// The server will come to [`try_again`].
    is_waiting: bool,
    /// The number of pointers to our code that the server holds, with which it will come back.
    outstanding: usize,
}

enum CallerPlace {
    Here(Box<WatchedCaller>),
    /// Being served. Calls that a command of its own causes can be sent over the socket that it has lent.
    Away(LentCaller),
}

/// A worker that waits for the answer to a call.
struct LentCaller {
    number: WorkerNumber,
    lent: Rc<LentSocket>,
}

impl CallerPlace {
    fn number(&self) -> WorkerNumber {
        match self {
            Self::Here(caller) => caller.number,
            Self::Away(caller) => caller.number,
        }
    }
}

/// A worker whose socket the event loop knows.
struct WatchedCaller {
    caller: Caller,
    worker: Weak<Worker>,
    number: WorkerNumber,
    /// The caller stands among those with calls.
    is_ready: bool,
    reads: bool,
    writes: bool,
}

impl Drop for WatchedCaller {
    /// Unwatches the socket before it is closed: the event loop would take the next of the same number for it.
    fn drop(&mut self) {
        self.stop_reading();
        self.stop_writing();
    }
}

impl WatchedCaller {
    fn descriptor(&self) -> RawFd {
        self.caller.socket.descriptor()
    }

    fn lent(&self) -> LentCaller {
        LentCaller { number: self.number, lent: self.caller.socket.lent().clone() }
    }

    fn start_reading(&mut self) -> bool {
        self.reads = self.reads || event_loop::watch(self.descriptor(), readable);
        self.reads
    }

    fn stop_reading(&mut self) {
        if std::mem::take(&mut self.reads) {
            event_loop::unwatch(self.descriptor());
        }
    }

    fn start_writing(&mut self) -> bool {
        self.writes = self.writes || event_loop::watch_writable(self.descriptor(), writable);
        self.writes
    }

    fn stop_writing(&mut self) {
        if std::mem::take(&mut self.writes) {
            event_loop::unwatch_writable(self.descriptor());
        }
    }

    /// Sends answers, or has the event loop tell when they can be sent. Returns `false` if the worker takes none any more.
    fn send(&mut self) -> bool {
        match self.caller.socket.send() {
            Transfer::Done => {
                self.stop_writing();
                true
            }
            Transfer::Blocked => self.start_writing(),
            Transfer::Closed => false,
        }
    }
}

fn with<T>(work: impl FnOnce(&mut Callers) -> T) -> T {
    CALLERS.with_borrow_mut(work)
}

impl Callers {
    fn take(&mut self, descriptor: RawFd) -> Option<Box<WatchedCaller>> {
        let place = self.places.get_mut(&descriptor)?;
        let CallerPlace::Here(caller) = place else { return None };
        let away = caller.lent();
        match std::mem::replace(place, CallerPlace::Away(away)) {
            CallerPlace::Here(caller) => Some(caller),
            CallerPlace::Away(_) => None,
        }
    }

    fn descriptor_of(&self, number: WorkerNumber) -> Option<RawFd> {
        self.places.iter().find(|(_, place)| place.number() == number).map(|(descriptor, _)| *descriptor)
    }

    fn put_back(&mut self, caller: Box<WatchedCaller>) {
        self.places.insert(caller.descriptor(), CallerPlace::Here(caller));
    }

    /// Puts a caller with calls behind all others.
    fn make_ready(&mut self, caller: &mut WatchedCaller) {
        if !std::mem::replace(&mut caller.is_ready, true) {
            self.ready.push_back(caller.descriptor());
        }
    }

    fn next_ready(&mut self) -> Option<Box<WatchedCaller>> {
        loop {
            let descriptor = self.ready.pop_front()?;
            if let Some(mut caller) = self.take(descriptor) {
                caller.is_ready = false;
                return Some(caller);
            }
        }
    }
}

/// Takes the server's end of the call socket of a worker.
///
/// # Errors
/// If the event loop does not take it.
pub(super) fn add(worker: &Weak<Worker>, socket: OwnedFd) -> io::Result<()> {
    let Some(number) = worker.upgrade().map(|worker| worker.number()) else { return Ok(()) };
    let caller = Caller::new(CallSocket::new(socket)?);
    let worker = worker.clone();
    let mut watched = Box::new(WatchedCaller { caller, worker, number, is_ready: false, reads: false, writes: false });
    if !watched.start_reading() {
        return Err(io::Error::other("the server's event loop takes no more sockets; maxclients says how many"));
    }
    with(|callers| callers.put_back(watched));
    Ok(())
}

/// Lets go of a worker that has ended.
pub(super) fn remove(number: WorkerNumber) {
    let gone = with(|callers| {
        let descriptor = callers.descriptor_of(number)?;
        let is_here = matches!(callers.places.get(&descriptor), Some(CallerPlace::Here(_)));
        if is_here { callers.places.remove(&descriptor) } else { None }
    });
    drop(gone);
}

/// Lets go of all workers.
///
/// # Errors
/// If the server will come back to our code.
pub(super) fn close() -> Result<(), String> {
    if with(|callers| callers.outstanding > 0) {
        return Err("calls of Python functions are outstanding; try again".into());
    }
    drop(with(std::mem::take));
    Ok(())
}

/// Reads from the socket on which the event loop has found something. Does nothing but that.
fn readable(descriptor: RawFd) {
    let Some(mut caller) = with(|callers| callers.take(descriptor)) else { return };
    if caller.caller.socket.read() == Transfer::Closed {
        drop(with(|callers| callers.places.remove(&descriptor)));
        return;
    }
    if !caller.caller.socket.takes_more() {
        caller.stop_reading();
    }
    with(|callers| {
        if caller.caller.socket.has_call() {
            callers.make_ready(&mut caller);
        }
        callers.put_back(caller);
    });
    schedule(Soon::InThisRound);
}

/// Sends more answers: the event loop has found that a worker has taken some.
fn writable(descriptor: RawFd) {
    let Some(mut caller) = with(|callers| callers.take(descriptor)) else { return };
    if !caller.send() {
        drop(with(|callers| callers.places.remove(&descriptor)));
        return;
    }
    with(|callers| {
        if !caller.writes && caller.caller.socket.has_call() {
            callers.make_ready(&mut caller);
        }
        callers.put_back(caller);
    });
    schedule(Soon::InThisRound);
}

/// Says when calls are to be answered.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Soon {
    /// For callers that are not in a timer.
    InThisRound,
    InTheNext,
}

/// Has [`turn`] called, if there are calls and it is not to be called anyway.
fn schedule(soon: Soon) {
    if with(|callers| callers.is_scheduled || callers.ready.is_empty()) {
        return;
    }
    let is_scheduled = match soon {
        Soon::InThisRound => with_detached(|ctx| timer::after(ctx, Duration::ZERO, turn)).is_some(),
        Soon::InTheNext => event_loop::add_one_shot(next_round),
    };
    with(|callers| {
        callers.is_scheduled = is_scheduled;
        callers.outstanding += usize::from(is_scheduled);
    });
}

/// Begins the next round of the event loop.
fn next_round() {
    with(|callers| {
        callers.is_scheduled = false;
        callers.outstanding -= 1;
    });
    schedule(Soon::InThisRound);
}

/// Answers calls until there are none, or until it is time to let the server's clients in.
fn turn(ctx: Ctx<'_>) {
    /// Comes back for what is left, whatever happens.
    struct ComesBack;
    impl Drop for ComesBack {
        fn drop(&mut self) {
            schedule(Soon::InTheNext);
        }
    }
    with(|callers| {
        callers.is_scheduled = false;
        callers.outstanding -= 1;
    });
    let _comes_back = ComesBack;
    let until = Instant::now() + LONGEST_TURN;
    // Functions know of no other database.
    let done = ctx.in_database(0, || {
        let mut server = ServerCalls::new(ctx, until);
        while let Some(caller) = with(Callers::next_ready) {
            if answer(ctx, caller, &mut server) == TurnGoesOn::No || Instant::now() >= until {
                break;
            }
        }
    });
    if let Err(error) = done {
        log::warn!("calls of Python functions cannot be answered: {error}");
    }
}

/// Says whether the turn goes on.
#[derive(Clone, Copy, PartialEq, Eq)]
enum TurnGoesOn {
    Yes,
    No,
}

/// Answers the calls of one worker.
fn answer(ctx: Ctx<'_>, mut caller: Box<WatchedCaller>, server: &mut ServerCalls<'_>) -> TurnGoesOn {
    let descriptor = caller.descriptor();
    server.serve_worker(&caller.worker);
    let mut served = caller.caller.serve(server, ServedFor::All);
    let mut goes_on = TurnGoesOn::Yes;
    if let Served::WantsAlone { id } = served {
        goes_on = TurnGoesOn::No;
        if !server.has_run_commands() {
            served = match serve_caller_alone(ctx, &mut caller, id) {
                Ok(()) => Served::All,
                // The task that has started it will tell how it has ended.
                Err(None) => {
                    drop(with(|callers| callers.places.remove(&descriptor)));
                    return goes_on;
                }
                Err(Some(why)) => return give_up(caller, &why),
            };
        }
    }
    if served == Served::WasEnded {
        drop(with(|callers| callers.places.remove(&descriptor)));
        return goes_on;
    }
    if let Served::Bad(bad) = served {
        return give_up(caller, &format!("the Python process was ended: {bad}"));
    }
    if !caller.send() {
        drop(with(|callers| callers.places.remove(&descriptor)));
        return goes_on;
    }
    if caller.caller.socket.takes_more() && !caller.start_reading() {
        return give_up(caller, "the server's event loop does not take the socket of the Python process any more");
    }
    with(|callers| {
        match served {
            // A caller that was left alone may have more calls.
            Served::All | Served::TimeIsUp if caller.caller.socket.has_call() => callers.make_ready(&mut caller),
            // A turn of its own begins with it.
            Served::WantsAlone { .. } => {
                caller.is_ready = true;
                callers.ready.push_front(descriptor);
            }
            Served::NotNow => callers.held.push(descriptor),
            // Goes on once it has taken its answers.
            Served::IsFull if !caller.writes => callers.make_ready(&mut caller),
            _ => {}
        }
        callers.put_back(caller);
    });
    wait_for_held(ctx);
    goes_on
}

/// Lets a worker have the server for itself. The error is why it is to end, if it has not ended by itself.
fn serve_caller_alone(ctx: Ctx<'_>, caller: &mut WatchedCaller, id: u64) -> Result<(), Option<String>> {
    let timeout = config::atomic_timeout();
    let deadline = Instant::now() + timeout;
    let mut server = ServerCalls::alone(ctx, deadline);
    server.serve_worker(&caller.worker);
    match serve_alone(&mut caller.caller, id, &mut server, deadline) {
        AloneEnd::HasLeft => Ok(()),
        AloneEnd::IsGone => Err(None),
        AloneEnd::TooLong => Err(Some(format!(
            "the Python process kept the server for longer than the {} ms of rmr.atomic-timeout-ms in atomic()",
            timeout.as_millis()
        ))),
        AloneEnd::Bad(bad) => Err(Some(format!("the Python process was ended: {bad}"))),
    }
}

/// Has a worker run an event, and waits for its end: on the main thread, which does nothing else meanwhile. The number is that
/// of its execution. The worker may itself wait for the answer to a call, by which the event was caused.
///
/// # Errors
/// The error says why it has not come to its end; then the worker is ended.
pub(super) fn run_event(
    ctx: Ctx<'_>,
    worker: &Arc<Worker>,
    number: u64,
    head: &[u8],
    sections: &[Bytes],
) -> Result<EventSaid, String> {
    let place = with(|callers| {
        let descriptor = callers.descriptor_of(worker.number())?;
        match callers.places.get(&descriptor) {
            Some(CallerPlace::Away(lent)) => Some(Err(lent.lent.clone())),
            _ => callers.take(descriptor).map(Ok),
        }
    });
    let run = |caller: &mut Caller| {
        let deadline = EventDeadline::begin();
        let mut server = ServerCalls::alone(ctx, deadline.at());
        server.serve_worker(&Arc::downgrade(worker));
        // Functions know of no other database.
        ctx.in_database(0, || event::run(caller, number, head, sections, &mut server, deadline.at()))
            .unwrap_or(Err(AloneEnd::TooLong))
    };
    match place {
        None => Err("the Python process has ended".into()),
        Some(Ok(mut caller)) => match run(&mut caller.caller) {
            Ok(said) => {
                with(|callers| {
                    if caller.caller.socket.has_call() {
                        callers.make_ready(&mut caller);
                    }
                    callers.put_back(caller);
                });
                schedule(Soon::InTheNext);
                Ok(said)
            }
            Err(end) => {
                let why = why_no_end(end, caller.caller.socket.lent());
                give_up(caller, &why);
                Err(why)
            }
        },
        Some(Err(outer)) => {
            let mut caller = Caller::new(outer.within());
            let lend = |lent: &Rc<LentSocket>| {
                with(|callers| {
                    let descriptor = callers.descriptor_of(worker.number());
                    if let Some(CallerPlace::Away(away)) = descriptor.and_then(|at| callers.places.get_mut(&at)) {
                        away.lent = lent.clone();
                    }
                });
            };
            lend(caller.socket.lent());
            let ran = run(&mut caller);
            lend(&outer);
            ran.inspect(|_| outer.take_back(&caller.socket)).map_err(|end| {
                let why = why_no_end(end, caller.socket.lent());
                outer.end(&why);
                kill(worker, &why);
                why
            })
        }
    }
}

/// Says why an event has not come to its end.
fn why_no_end(end: AloneEnd, lent: &LentSocket) -> String {
    match end {
        AloneEnd::IsGone | AloneEnd::HasLeft => {
            lent.why_ended().unwrap_or_else(|| "the Python process has ended".to_owned())
        }
        AloneEnd::TooLong => format!(
            "the function kept the server for longer than the {} ms of rmr.sync-timeout-ms",
            config::sync_timeout().as_millis()
        ),
        AloneEnd::Bad(bad) => format!("the Python process was ended: {bad}"),
    }
}

/// Ends a worker, for what it has done.
fn give_up(caller: Box<WatchedCaller>, why: &str) -> TurnGoesOn {
    with(|callers| callers.places.remove(&caller.descriptor()));
    if let Some(worker) = caller.worker.upgrade() {
        kill(&worker, why);
    }
    TurnGoesOn::No
}

fn kill(worker: &Worker, why: &str) {
    if worker.is_ended_for_something() {
        return;
    }
    log::warn!("Python process {} is ended: {why}", worker.pid());
    worker.kill(why);
}

/// Has [`try_again`] called, if there are calls that could not be answered.
fn wait_for_held(ctx: Ctx<'_>) {
    let waits = with(|callers| {
        let waits = !callers.held.is_empty() && !std::mem::replace(&mut callers.is_waiting, !callers.held.is_empty());
        callers.outstanding += usize::from(waits);
        waits
    });
    if waits {
        timer::after(ctx, TRIED_AGAIN, try_again);
    }
}

/// Tries calls again that could not be answered before.
fn try_again(_: Ctx<'_>) {
    with(|callers| {
        callers.is_waiting = false;
        callers.outstanding -= 1;
        for descriptor in std::mem::take(&mut callers.held) {
            if let Some(mut caller) = callers.take(descriptor) {
                callers.make_ready(&mut caller);
                callers.put_back(caller);
            }
        }
    });
    schedule(Soon::InTheNext);
}
