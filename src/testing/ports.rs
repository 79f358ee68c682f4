//! Ports nobody listens on.

use std::net::{Ipv4Addr, TcpListener};
use std::sync::LazyLock;
use std::sync::atomic::{AtomicU64, Ordering};

use super::scratch::random;

/// The distance from the port of the clients to that of the cluster bus.
pub(super) const BUS_OFFSET: u16 = 10_000;

/// Client ports come from here, so bus ports lie in the 10 000 above: the two never meet, and both
/// stay below the range from which systems take the local ports of outgoing connections.
const FIRST: u16 = 10_000;
const COUNT: u16 = 10_000;

/// Returns a port of 127.0.0.1 that is free, and whose bus port is free too.
///
/// A test process starts at a random place and walks on from there, so it hands out no port twice
/// before all were used, and two processes seldom meet. When they do, the server says that the
/// address is in use, and its starter asks for another port.
pub fn free_port() -> u16 {
    static NEXT: LazyLock<AtomicU64> = LazyLock::new(|| AtomicU64::new(random() >> 1));

    (0..COUNT)
        .map(|_| FIRST + (NEXT.fetch_add(1, Ordering::Relaxed) % u64::from(COUNT)) as u16)
        .find(|&port| is_free(port) && is_free(port + BUS_OFFSET))
        .expect("no free port left")
}

/// Tells whether a listener can be bound to the port now.
fn is_free(port: u16) -> bool {
    TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_ok()
}
