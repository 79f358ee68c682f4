//! The server's event loop, which tells of replies that have come on links.
//!
//! Descriptors are given to it and taken from it by the main thread alone, and closed only after it has let them go: it
//! would take the next that has the same number for the one that was closed.

use std::collections::HashMap;
use std::os::fd::{AsRawFd, RawFd};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, LazyLock, Mutex, MutexGuard, PoisonError, Weak};

use foldhash::fast::RandomState;
use socket2::Socket;

use crate::link::SocketReader;
use crate::module::server::context::Flags;
use crate::module::server::{event_loop, main_thread};

/// A socket that the event loop knows.
struct Entry {
    /// Open for as long as the event loop knows it.
    socket: Arc<Socket>,
    reader: Weak<dyn SocketReader>,
    /// The reader does not want to hear of the socket any more.
    is_over: Arc<AtomicBool>,
}

/// Tells whether there are entries to be swept.
static SOME_ARE_OVER: AtomicBool = AtomicBool::new(false);

type Entries = HashMap<RawFd, Entry, RandomState>;

static WATCHED: LazyLock<Mutex<Entries>> = LazyLock::new(Mutex::default);

impl Entry {
    fn is_over(&self) -> bool {
        self.is_over.load(Ordering::Acquire)
    }

    fn reader(&self) -> Option<Arc<dyn SocketReader>> {
        self.reader.upgrade().filter(|_| !self.is_over())
    }
}

fn watched() -> MutexGuard<'static, Entries> {
    WATCHED.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Tells the reader whenever the socket has something to be read, on the main thread. From any thread.
pub(crate) fn watch(socket: Arc<Socket>, reader: Weak<dyn SocketReader>) -> Watch {
    let is_over = Arc::new(AtomicBool::new(false));
    let entry = Entry { socket, reader, is_over: is_over.clone() };
    main_thread::post(|_| add(entry));
    Watch { is_over }
}

/// A socket is watched while this lives.
pub(crate) struct Watch {
    is_over: Arc<AtomicBool>,
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.is_over.store(true, Ordering::Release);
        SOME_ARE_OVER.store(true, Ordering::Release);
    }
}

fn add(entry: Entry) {
    if entry.is_over() {
        return;
    }
    let descriptor = entry.socket.as_raw_fd();
    if let Some(before) = watched().remove(&descriptor) {
        // One socket that was let go and is watched again.
        event_loop::unwatch(before.socket.as_raw_fd());
    }
    if event_loop::watch(descriptor, readable) {
        watched().insert(descriptor, entry);
    } else if let Some(reader) = entry.reader() {
        reader.refused();
    }
}

/// Tells the reader of a socket that the event loop has found something to be read.
fn readable(descriptor: RawFd) {
    let reader = watched().get(&descriptor).and_then(Entry::reader);
    // In the middle of a slow script, and of loading, no round comes to its end before that does.
    let ends_rounds = |flags: Flags| !flags.is_busy() && !flags.is_serving_while_loading();
    let here = main_thread::with_detached(|ctx| ends_rounds(ctx.flags())).unwrap_or_default();
    let read = |reader: Arc<dyn SocketReader>| {
        catch_unwind(AssertUnwindSafe(|| reader.read(here))).unwrap_or_else(|_| {
            // A fault of ours; the task that owns the connection is to meet it, and end.
            reader.refused();
            false
        })
    };
    if !reader.is_some_and(read) {
        forget(descriptor);
    }
}

fn forget(descriptor: RawFd) {
    // Unwatched before it is closed, which happens when the entry goes.
    event_loop::unwatch(descriptor);
    watched().remove(&descriptor);
}

/// Lets go of the sockets of connections that have ended.
pub(crate) fn sweep() {
    if SOME_ARE_OVER.swap(false, Ordering::AcqRel) {
        let over = |(&descriptor, entry): (&RawFd, &Entry)| entry.is_over().then_some(descriptor);
        let over: Vec<RawFd> = watched().iter().filter_map(over).collect();
        over.into_iter().for_each(forget);
    }
}

/// Lets go of all sockets.
pub(crate) fn close() {
    let all: Vec<RawFd> = watched().keys().copied().collect();
    all.into_iter().for_each(forget);
}
