//! Sockets that are read in the server's event loop, as far as the runtime has to know them too.

use std::io;
use std::sync::Arc;

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
