//! Connections that are read by the event loop of the server that rmr lives in.
//!
//! A reply is then read by the thread that also answers the client, which spares two changes of thread for each: to the
//! runtime, and back. That is worth it while little has to be read; the rest is left to the runtime, which takes the load
//! off that thread.

use std::cell::Cell;
use std::sync::Weak;

use socket2::Socket;

use super::stream::Stream;

/// An event loop that tells which sockets have something to be read.
pub(crate) trait Watcher: Send + Sync {
    /// The socket as a stream of which `reader` is told whenever there is something to be read, always in the same thread,
    /// until it does not want to hear it any more, or the stream is dropped. Within the runtime.
    fn watch(&self, socket: Socket, reader: Weak<dyn Reader>) -> std::io::Result<Box<dyn Stream>>;
}

/// Who reads a stream of a [`Watcher`].
pub(crate) trait Reader: Send + Sync {
    /// There is something to be read. `here`: whether who waits for it may go on in this thread. `false` to hear no more.
    fn read(&self, here: bool) -> bool;

    /// Nothing will be told: the event loop does not take the socket.
    fn refused(&self);
}

thread_local! {
    static IS_HERE: Cell<bool> = const { Cell::new(false) };
}

/// Whether what is woken now may go on in this thread: it has read, for a [`Watcher`], a short reply that it waits for.
pub(crate) fn may_go_on_here() -> bool {
    IS_HERE.get()
}

/// Does what wakes somebody, and says to them whether they may go on in this thread.
pub(super) fn wake(here: bool, waking: impl FnOnce()) {
    let before = IS_HERE.replace(here);
    waking();
    IS_HERE.set(before);
}
