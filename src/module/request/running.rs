//! The client that waits for a distributed command: exactly one reply, whatever happens.
//!
//! A request is begun on the main thread, within the command. A request that can be served in process is answered at once;
//! only one that must wait blocks its client. [`BlockedClient`] then owns the client: dropped without an answer, as by a
//! task that panics or is cancelled, it replies an error. A client that disconnects cancels its request.
//!
//! The results that it waits for come to the main thread, which then goes on with it at the end of the round of its event loop, or
//! to the runtime, where it goes on from then on ([`RunningRequest`]).

use std::cell::RefCell;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Wake, Waker};

use futures_util::FutureExt;
use tokio::runtime::Handle;
use tokio::sync::oneshot;

use super::blocked::BlockedClient;
pub(crate) use super::blocked::BlockedTime;
use super::reply_writer::ReplyWriter;
use crate::error::Error;
use crate::link;
use crate::module::server::context::Ctx;
use crate::module::server::main_thread;
use crate::module::state;
use crate::reply::Reply;

/// The future that makes the reply to a command.
pub(crate) type Work = Pin<Box<dyn Future<Output = Result<Reply, Error>> + Send>>;

/// Says where a request goes on when something that it waits for has come.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum GoesOn {
    /// On the main thread, if that has read it, and it is short; else on the runtime. For work that is known to be as
    /// short.
    WhereItIsRead,
    /// On the runtime.
    OnRuntime,
}

/// Serves a request for the client of `ctx`: at once if nothing has to be waited for, else when it is done.
pub(crate) fn serve(ctx: Ctx<'_>, mut work: Work, goes_on: GoesOn, time: BlockedTime) {
    let flags = ctx.flags();
    let client = ReplyWriter { to: ctx.reply_to(), is_resp3: flags.is_resp3() };
    let runtime = match catch_unwind(state::runtime).unwrap_or_else(|_| Err(internal_error())) {
        Ok(runtime) => runtime,
        Err(error) => return client.send(&Err(error)),
    };
    link::cork();
    let _entered = runtime.enter();
    let begun = Arc::new(RunningRequest { runtime: runtime.clone(), goes_on, state: Mutex::default() });
    match main_thread::enter(ctx, || begun.first_poll(&mut work)) {
        Poll::Ready(result) => client.send(&result),
        Poll::Pending => match ctx.why_not_wait() {
            Some(why) => client.send(&Err(Error::Refused(why.into()))),
            None => match BlockedClient::block(ctx, flags.is_resp3(), time) {
                Some((blocked, cancelled)) => begun.park(BlockedRequest { work, blocked, cancelled }),
                None => client.send(&Err(Error::Internal(NOT_BLOCKED.into()))),
            },
        },
    }
}

thread_local! {
    /// Requests for which something has come in this round of the event loop.
    static READY: RefCell<Vec<(Arc<RunningRequest>, BlockedRequest)>> = const { RefCell::new(Vec::new()) };
}

/// Goes on with the requests whose replies have come, and writes what there is to send: the server has taken all
/// commands and all replies of this round of its event loop.
pub(crate) fn end_round() {
    for (begun, parked) in READY.take() {
        begun.go_on(parked);
    }
    link::uncork();
}

/// A request that has been begun. It goes on when something that it waits for has come, and not before.
struct RunningRequest {
    runtime: Handle,
    goes_on: GoesOn,
    state: Mutex<Progress>,
}

#[derive(Default)]
struct Progress {
    is_woken: bool,
    parked: Option<BlockedRequest>,
}

struct BlockedRequest {
    work: Work,
    blocked: BlockedClient,
    cancelled: oneshot::Receiver<()>,
}

impl RunningRequest {
    fn lock(&self) -> MutexGuard<'_, Progress> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Polls the work for the first time, and a second time if it asks for that. A set of futures that has just polled
    /// all that it holds, as where no share is on this node, asks to be polled once more. Nothing has come yet: that is
    /// no reason to leave the request to the runtime.
    fn first_poll(self: &Arc<Self>, work: &mut Work) -> Poll<Result<Reply, Error>> {
        let poll = self.poll(work);
        let polls_again = poll.is_pending() && self.goes_on == GoesOn::WhereItIsRead;
        if polls_again && std::mem::take(&mut self.lock().is_woken) { self.poll(work) } else { poll }
    }

    /// Polls the work, which wakes this when there is more to do. A panic is an error of the request.
    fn poll(self: &Arc<Self>, work: &mut Work) -> Poll<Result<Reply, Error>> {
        let waker = Waker::from(self.clone());
        let poll = || work.as_mut().poll(&mut Context::from_waker(&waker));
        catch_unwind(AssertUnwindSafe(poll)).unwrap_or_else(|_| Poll::Ready(Err(internal_error())))
    }

    /// Keeps the request until something that it waits for has come; that its client has gone is one of these things.
    fn park(self: &Arc<Self>, mut parked: BlockedRequest) {
        let waker = Waker::from(self.clone());
        if parked.cancelled.poll_unpin(&mut Context::from_waker(&waker)).is_ready() {
            return;
        }
        let mut state = self.lock();
        if state.is_woken {
            drop(state);
            self.runtime.spawn(parked.finish());
        } else {
            state.parked = Some(parked);
        }
    }

    /// Goes on in the main thread.
    fn go_on(self: Arc<Self>, mut parked: BlockedRequest) {
        link::cork();
        let _entered = self.runtime.enter();
        self.lock().is_woken = false;
        match link::in_event_loop(|| self.poll(&mut parked.work)) {
            Poll::Ready(result) => parked.blocked.answer(&result),
            Poll::Pending => self.park(parked),
        }
    }
}

impl Wake for RunningRequest {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        let parked = {
            let mut state = self.lock();
            state.is_woken = true;
            state.parked.take()
        };
        let Some(parked) = parked else { return };
        if self.goes_on == GoesOn::WhereItIsRead && link::may_go_on_here() {
            READY.with_borrow_mut(|ready| ready.push((self.clone(), parked)));
        } else {
            // A runtime that has ended drops it, which answers the client with an error.
            self.runtime.spawn(parked.finish());
        }
    }
}

impl BlockedRequest {
    async fn finish(self) {
        let Self { work, blocked, cancelled } = self;
        let result = tokio::select! {
            biased;
            result = AssertUnwindSafe(work).catch_unwind() => result.unwrap_or_else(|_| Err(internal_error())),
            _ = cancelled => return,
        };
        blocked.answer(&result);
    }
}

/// The server has a reason that [`Ctx::why_not_wait`] does not know of.
const NOT_BLOCKED: &str =
    "the server does not let this client wait, and the command may have run; use another connection";

fn internal_error() -> Error {
    Error::Internal("internal error: the request panicked; see the server's log".into())
}
