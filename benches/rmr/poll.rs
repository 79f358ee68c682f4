//! Waiting for many sockets at once: the system's `epoll`, since a wait must cost a client next to nothing.

use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};

/// The most sockets that one wait reports.
const MOST: usize = 64;

/// Sockets to wait for.
pub struct Poll {
    epoll: OwnedFd,
    events: [libc::epoll_event; MOST],
}

impl Poll {
    /// Makes a poll without sockets.
    pub fn new() -> io::Result<Self> {
        // SAFETY: no pointers.
        let fd = unsafe { libc::epoll_create1(libc::EPOLL_CLOEXEC) };
        if fd < 0 {
            return Err(io::Error::last_os_error());
        }
        // SAFETY: a new descriptor that nobody else owns.
        let epoll = unsafe { OwnedFd::from_raw_fd(fd) };
        Ok(Self { epoll, events: [libc::epoll_event { events: 0, u64: 0 }; MOST] })
    }

    /// Adds a socket, to be reported under this index whenever it has something to read.
    pub fn add(&self, socket: RawFd, index: usize) -> io::Result<()> {
        let mut event = libc::epoll_event { events: libc::EPOLLIN as u32, u64: index as u64 };
        // SAFETY: the event lives through the call.
        match unsafe { libc::epoll_ctl(self.epoll.as_raw_fd(), libc::EPOLL_CTL_ADD, socket, &mut event) } {
            0 => Ok(()),
            _ => Err(io::Error::last_os_error()),
        }
    }

    /// Waits until at least one socket has something to read; the indexes of those that have.
    pub fn wait(&mut self) -> io::Result<impl Iterator<Item = usize>> {
        // SAFETY: room for `MOST` events, which the call fills in part.
        let count =
            unsafe { libc::epoll_wait(self.epoll.as_raw_fd(), self.events.as_mut_ptr(), MOST as libc::c_int, -1) };
        let count = usize::try_from(count).map_err(|_| io::Error::last_os_error())?;
        Ok(self.events[..count].iter().map(|event| event.u64 as usize))
    }
}
