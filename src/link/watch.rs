//! Connections that are read by the event loop of the server that rmr lives in.
//!
//! A reply is then read by the thread that also answers the client, which spares two changes of thread for each: to the
//! runtime, and back. That is worth it while little has to be read; the rest is left to the runtime, which takes the load
//! off that thread.

use std::cell::Cell;
use std::sync::Weak;
use std::thread::LocalKey;

use socket2::Socket;

use super::budget::{Budget, LARGE};
use super::stream::Stream;

/// An event loop that tells which sockets have something to be read.
pub(crate) trait Watcher: Send + Sync {
    /// Makes a stream of the socket. Tells `reader` whenever there is something to be read, always in the same thread,
    /// until `reader` does not want to hear of it any more or the stream is dropped.
    fn watch(&self, socket: Socket, reader: Weak<dyn SocketReader>) -> std::io::Result<Box<dyn Stream>>;
}

/// Reads a stream of a [`Watcher`].
pub(crate) trait SocketReader: Send + Sync {
    /// Reads: there is something to be read. With `here`, the task that waits for it may go on in this thread. Returns
    /// `false` to hear no more.
    fn read(&self, here: bool) -> bool;

    /// Hears that nothing will be told: the event loop does not take the socket.
    fn refused(&self);
}

thread_local! {
    static IS_HERE: Cell<bool> = const { Cell::new(false) };
    static IN_EVENT_LOOP: Cell<bool> = const { Cell::new(false) };
}

/// Tells whether a task that is woken now may go on in this thread, since the thread has read, for a [`Watcher`], a
/// short reply that the task waits for.
pub(crate) fn may_go_on_here() -> bool {
    IS_HERE.get()
}

/// Does what wakes somebody, and says to them whether they may go on in this thread.
pub(crate) fn wake(here: bool, waking: impl FnOnce()) {
    with(&IS_HERE, here, waking);
}

/// Goes on with a request in the thread of a [`Watcher`].
pub(crate) fn in_event_loop<T>(work: impl FnOnce() -> T) -> T {
    with(&IN_EVENT_LOOP, true, work)
}

/// Does something while this is said to be so.
fn with<T>(said: &'static LocalKey<Cell<bool>>, is_so: bool, work: impl FnOnce() -> T) -> T {
    let before = said.replace(is_so);
    let done = work();
    said.set(before);
    done
}

/// Leaves the thread of a [`Watcher`], by asking to be polled again, if what has come for a request is long: some of it
/// has been read by the runtime meanwhile.
pub(crate) async fn leave_event_loop_if_long(budget: &Budget) {
    if IN_EVENT_LOOP.get() && budget.used() > LARGE {
        tokio::task::yield_now().await;
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt;

    use super::*;

    #[test]
    fn only_long_replies_leave_the_event_loop() {
        let budget = Budget::new(usize::MAX);
        let stays = || leave_event_loop_if_long(&budget).now_or_never().is_some();
        budget.take(LARGE);
        assert!(in_event_loop(stays));
        budget.take(1);
        assert!(stays());
        assert!(!in_event_loop(stays));
    }
}
