//! The byte stream below a connection: TCP, TLS over it, or a Unix socket.

use std::io::ErrorKind;
use std::mem::MaybeUninit;
use std::os::fd::OwnedFd;

use socket2::{SockRef, Socket};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpStream, UnixStream};
use tokio_rustls::client::TlsStream;

/// The transport of a connection.
pub(crate) trait Stream: AsyncRead + AsyncWrite + Unpin + Send {
    /// Tells whether the peer has said something that has not been read: at the least, that it has closed the connection. The
    /// operating system is asked, which may know more than the runtime has told so far.
    fn has_pending_input(&self) -> bool;

    /// Gives the socket away if its bytes are those of the stream, so that somebody else than the runtime can watch it.
    /// Otherwise returns the stream itself.
    fn into_socket(self: Box<Self>) -> Result<std::io::Result<Socket>, Box<dyn Stream>>;

    /// Makes the runtime report bytes that arrive from now on, also where a watcher has done so.
    fn read_by_runtime(&mut self) -> std::io::Result<()> {
        Ok(())
    }

    /// Makes the watcher, if there is one, report bytes that arrive from now on.
    fn read_by_watcher(&mut self) {}
}

impl Stream for TcpStream {
    fn has_pending_input(&self) -> bool {
        has_pending_input(SockRef::from(self))
    }

    fn into_socket(self: Box<Self>) -> Result<std::io::Result<Socket>, Box<dyn Stream>> {
        Ok(self.into_std().map(|stream| Socket::from(OwnedFd::from(stream))))
    }
}

impl Stream for UnixStream {
    fn has_pending_input(&self) -> bool {
        has_pending_input(SockRef::from(self))
    }

    fn into_socket(self: Box<Self>) -> Result<std::io::Result<Socket>, Box<dyn Stream>> {
        Ok(self.into_std().map(|stream| Socket::from(OwnedFd::from(stream))))
    }
}

impl Stream for TlsStream<TcpStream> {
    fn has_pending_input(&self) -> bool {
        self.get_ref().0.has_pending_input()
    }

    fn into_socket(self: Box<Self>) -> Result<std::io::Result<Socket>, Box<dyn Stream>> {
        Err(self)
    }
}

/// Tells whether there is something to be read from a socket, its end included.
pub(crate) fn has_pending_input(socket: SockRef<'_>) -> bool {
    let nothing = |error: std::io::Error| matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted);
    !socket.peek(&mut [MaybeUninit::uninit()]).is_err_and(nothing)
}
