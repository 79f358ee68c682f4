//! Sockets that are read in the server's event loop, as far as the runtime has to know them too.

use std::io;
use std::os::fd::RawFd;
use std::sync::Arc;
use std::time::{Duration, Instant};

use socket2::Socket;
use tokio::io::unix::AsyncFd;
use tokio::io::{Interest, ReadBuf};

/// Has the runtime tell when the socket can be written.
pub(crate) fn writable(socket: Arc<Socket>) -> io::Result<AsyncFd<Arc<Socket>>> {
    // SAFETY: the `Arc` keeps the socket open, with the same descriptor.
    Ok(unsafe { AsyncFd::register_with_interest(socket, Interest::WRITABLE) }?)
}

/// Has the runtime tell when a socket of its own can be read.
pub(crate) fn readable(socket: Socket) -> io::Result<AsyncFd<Socket>> {
    // SAFETY: the socket is the runtime's own from here on.
    Ok(unsafe { AsyncFd::register_with_interest(socket, Interest::READABLE) }?)
}

/// Reads into the room that a buffer has left, without making it zero first.
pub(crate) fn receive(socket: &Socket, buffer: &mut ReadBuf<'_>) -> io::Result<()> {
    // SAFETY: nothing that is initialized is made uninitialized.
    let count = socket.recv(unsafe { buffer.unfilled_mut() })?;
    // SAFETY: the socket has filled so many.
    unsafe { buffer.assume_init(count) };
    buffer.advance(count);
    Ok(())
}

/// The state that a socket is waited for to reach.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Readiness {
    Readable,
    Writable,
}

/// Waits until a socket is ready, or closed by the other side. Returns `false` at the deadline. A wait on the main thread
/// keeps all clients waiting.
///
/// # Errors
/// The error of the operating system.
pub(crate) fn wait(descriptor: RawFd, readiness: Readiness, deadline: Instant) -> io::Result<bool> {
    let events = match readiness {
        Readiness::Readable => libc::POLLIN,
        Readiness::Writable => libc::POLLOUT,
    };
    loop {
        let left = deadline.saturating_duration_since(Instant::now());
        // Rounded up: a wait of zero milliseconds does not wait.
        let milliseconds = (left + Duration::from_micros(999)).as_millis().min(i32::MAX as u128) as i32;
        let mut watched = libc::pollfd { fd: descriptor, events, revents: 0 };
        // SAFETY: one structure, and the count says so.
        match unsafe { libc::poll(&mut watched, 1, milliseconds) } {
            0 if left.is_zero() => return Ok(false),
            0 => {}
            1.. => return Ok(true),
            _ => {
                let error = io::Error::last_os_error();
                if error.kind() != io::ErrorKind::Interrupted {
                    return Err(error);
                }
            }
        }
    }
}
