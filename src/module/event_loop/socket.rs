//! Links whose replies the server's event loop tells of.
//!
//! Writing stays with the runtime, and so does reading where there is much of it ([`Stream::read_by_runtime`]).

use std::io::{ErrorKind, IoSlice};
use std::pin::Pin;
use std::sync::{Arc, Weak};
use std::task::{Context, Poll, ready};

use socket2::{SockRef, Socket};
use tokio::io::unix::AsyncFd;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::registry::{self, Watch};
use crate::link::{SocketReader, Stream, Watcher, has_pending_input};
use crate::module::server::socket;

/// The event loop of the server that we live in.
pub(crate) struct EventLoop;

impl Watcher for EventLoop {
    fn watch(&self, socket: Socket, reader: Weak<dyn SocketReader>) -> std::io::Result<Box<dyn Stream>> {
        let socket = Arc::new(socket);
        let writing = socket::writable(socket.clone())?;
        let reading = Reading::Watched { _watch: registry::watch(socket.clone(), reader.clone()) };
        Ok(Box::new(Watched { socket, writing, reader, reading }))
    }
}

/// A socket of which the event loop tells when to read it, and the runtime when to write.
struct Watched {
    socket: Arc<Socket>,
    writing: AsyncFd<Arc<Socket>>,
    reader: Weak<dyn SocketReader>,
    reading: Reading,
}

enum Reading {
    Watched { _watch: Watch },
    ByRuntime(AsyncFd<Socket>),
}

impl Stream for Watched {
    fn has_pending_input(&self) -> bool {
        has_pending_input(SockRef::from(&*self.socket))
    }

    fn into_socket(self: Box<Self>) -> Result<std::io::Result<Socket>, Box<dyn Stream>> {
        Err(self)
    }

    fn read_by_runtime(&mut self) -> std::io::Result<()> {
        if let Reading::Watched { .. } = self.reading {
            // A descriptor of its own, as the runtime takes each once.
            let socket = self.socket.try_clone()?;
            self.reading = Reading::ByRuntime(socket::readable(socket)?);
        }
        Ok(())
    }

    fn read_by_watcher(&mut self) {
        if let Reading::ByRuntime(_) = self.reading {
            self.reading = Reading::Watched { _watch: registry::watch(self.socket.clone(), self.reader.clone()) };
        }
    }
}

impl AsyncRead for Watched {
    /// Reads from the socket. Where the runtime does not report what has arrived, it wakes nobody.
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<std::io::Result<()>> {
        let mut read = || socket::receive(&self.socket, buffer);
        match &self.reading {
            Reading::Watched { .. } => match read() {
                Err(error) if error.kind() == ErrorKind::WouldBlock => Poll::Pending,
                read => Poll::Ready(read),
            },
            Reading::ByRuntime(reading) => loop {
                if let Ok(read) = ready!(reading.poll_read_ready(context))?.try_io(|_| read()) {
                    return Poll::Ready(read);
                }
            },
        }
    }
}

impl AsyncWrite for Watched {
    fn poll_write(self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<std::io::Result<usize>> {
        self.poll_write_vectored(context, &[IoSlice::new(bytes)])
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<std::io::Result<usize>> {
        loop {
            let mut guard = ready!(self.writing.poll_write_ready(context))?;
            if let Ok(written) = guard.try_io(|socket| socket.get_ref().send_vectored(slices)) {
                return Poll::Ready(written);
            }
        }
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Poll::Ready(self.socket.shutdown(std::net::Shutdown::Write))
    }
}
