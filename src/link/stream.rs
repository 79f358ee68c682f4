//! What a connection runs over: TCP, TLS over it, or a Unix socket.

use std::io::ErrorKind;
use std::mem::MaybeUninit;
use std::os::fd::OwnedFd;

use socket2::{SockRef, Socket};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpStream, UnixStream};
use tokio_rustls::client::TlsStream;

/// What a connection runs over.
pub(crate) trait Stream: AsyncRead + AsyncWrite + Unpin + Send {
    /// Tells whether the peer has said something that has not been read: at the least, that it has closed the connection. The
    /// operating system is asked, which may know more than the runtime has told so far.
    fn has_pending_input(&self) -> bool;

    /// The socket, if its bytes are those of the stream, for somebody else than the runtime to watch; else the stream
    /// itself.
    fn into_socket(self: Box<Self>) -> Result<std::io::Result<Socket>, Box<dyn Stream>>;

    /// From now on the runtime tells what has come, also where somebody else has done so.
    fn read_by_runtime(&mut self) -> std::io::Result<()> {
        Ok(())
    }

    /// From now on whoever else there is tells what has come.
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
