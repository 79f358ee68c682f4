//! A TCP proxy in front of a server that does what networks do: delays, cuts, swallows, spoils.
//!
//! To be named in `rmr.nodes` in the server's place. A fault strikes once the first words have been exchanged on a
//! connection, so that what is struck is a request and not the handshake; [`Proxy::strike_greetings`] changes that.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, Shutdown, TcpListener, TcpStream};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

/// A fault that strikes the traffic.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fault {
    /// Nothing.
    Pass,
    /// Replies come this much later. Requests do not wait for each other's replies.
    Delay(Duration),
    /// The connection is cut when a request comes, which the server never sees.
    CutRequest,
    /// The request is carried out, and the connection cut instead of passing the reply on.
    CutReply,
    /// Requests are taken and not passed on, the connection stays open: a peer that went away without a word.
    HalfOpen,
    /// These bytes come in the place of the reply.
    Garbage(Vec<u8>),
    /// The connection is closed as soon as it is made.
    Refuse,
}

/// A running proxy on 127.0.0.1. Its threads end when it is dropped.
pub struct Proxy {
    port: u16,
    shared: Arc<Shared>,
}

struct Shared {
    target: u16,
    state: Mutex<State>,
}

struct State {
    fault: Fault,
    /// The number of times that the fault is still to strike; after that everything passes.
    times: usize,
    strikes_greetings: bool,
    struck: usize,
    connections: usize,
    open: Vec<TcpStream>,
    is_closing: bool,
}

impl Proxy {
    /// Starts a proxy in front of a port of 127.0.0.1. So far, everything passes.
    pub fn to(target: u16) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port for the proxy");
        let port = listener.local_addr().expect("the port of the proxy").port();
        let state = State {
            fault: Fault::Pass,
            times: usize::MAX,
            strikes_greetings: false,
            struck: 0,
            connections: 0,
            open: Vec::new(),
            is_closing: false,
        };
        let shared = Arc::new(Shared { target, state: Mutex::new(state) });
        let accepting = shared.clone();
        thread::spawn(move || accepting.accept(&listener));
        Self { port, shared }
    }

    /// Returns the address where the proxy listens.
    pub fn address(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    /// From now on, this happens to everything.
    pub fn set(&self, fault: Fault) {
        self.set_times(fault, usize::MAX);
    }

    /// This happens so many times, then everything passes again.
    pub fn set_times(&self, fault: Fault, times: usize) {
        let mut state = self.shared.state();
        state.fault = fault;
        state.times = times;
        state.struck = 0;
    }

    /// Sets whether faults strike the first words on a connection too.
    pub fn strike_greetings(&self, strike: bool) {
        self.shared.state().strikes_greetings = strike;
    }

    /// Returns the number of times that the fault has struck since it was set.
    pub fn struck(&self) -> usize {
        self.shared.state().struck
    }

    /// Returns the number of connections that have been made to it.
    pub fn connections(&self) -> usize {
        self.shared.state().connections
    }

    /// Cuts what is open now.
    pub fn cut_all(&self) {
        self.shared.cut_all();
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.shared.state().is_closing = true;
        self.shared.cut_all();
        // The listener wakes up for a last connection, and sees that it is over.
        let _ = TcpStream::connect((Ipv4Addr::LOCALHOST, self.port));
    }
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn cut_all(&self) {
        for stream in self.state().open.drain(..) {
            // It may have been closed by its peers already.
            let _ = stream.shutdown(Shutdown::Both);
        }
    }

    /// Takes the fault for the next piece of traffic. Only faults of `kinds` strike here.
    fn strike(&self, greeted: bool, kinds: impl FnOnce(&Fault) -> bool) -> Fault {
        let mut state = self.state();
        let is_due = state.times > 0 && (greeted || state.strikes_greetings) && kinds(&state.fault);
        if !is_due {
            return Fault::Pass;
        }
        state.times -= 1;
        state.struck += 1;
        state.fault.clone()
    }

    fn accept(self: Arc<Self>, listener: &TcpListener) {
        for client in listener.incoming() {
            let Ok(client) = client else { continue };
            if self.state().is_closing {
                return;
            }
            self.state().connections += 1;
            if self.strike(true, |fault| *fault == Fault::Refuse) == Fault::Refuse {
                continue;
            }
            let Ok(server) = TcpStream::connect((Ipv4Addr::LOCALHOST, self.target)) else { continue };
            self.connect(&client, &server);
        }
    }

    fn connect(self: &Arc<Self>, client: &TcpStream, server: &TcpStream) {
        let handle = |stream: &TcpStream| {
            stream.set_nodelay(true).expect("a socket option");
            stream.try_clone().expect("a second handle of a socket")
        };
        self.state().open.extend([handle(client), handle(server)]);
        let (requests, replies) = (self.clone(), self.clone());
        let (late, due) = channel();
        let (from_client, to_server) = (handle(client), handle(server));
        thread::spawn(move || requests.carry_requests(from_client, to_server));
        let (from_server, to_client) = (handle(server), handle(client));
        thread::spawn(move || replies.carry_replies(from_server, to_client, &late));
        let to_client = handle(client);
        thread::spawn(move || deliver_late(to_client, &due));
    }

    fn carry_requests(&self, mut client: TcpStream, mut server: TcpStream) {
        let mut greeted = false;
        let strikes_here = |fault: &Fault| matches!(fault, Fault::CutRequest | Fault::HalfOpen);
        each_piece(&mut client, |piece| {
            let fault = self.strike(greeted, strikes_here);
            greeted = true;
            match fault {
                Fault::CutRequest => false,
                Fault::HalfOpen => true,
                _ => server.write_all(piece).is_ok(),
            }
        });
        // Either end closes the other; a second close harms nobody.
        let _ = server.shutdown(Shutdown::Both);
        let _ = client.shutdown(Shutdown::Both);
    }

    fn carry_replies(&self, mut server: TcpStream, mut client: TcpStream, late: &Sender<(Instant, Vec<u8>)>) {
        let mut greeted = false;
        // Replies behind a late one must not overtake it.
        let mut is_late = false;
        let strikes_here = |fault: &Fault| matches!(fault, Fault::CutReply | Fault::Garbage(_) | Fault::Delay(_));
        each_piece(&mut server, |piece| {
            let fault = self.strike(greeted, strikes_here);
            greeted = true;
            match fault {
                Fault::CutReply => false,
                Fault::Garbage(bytes) => client.write_all(&bytes).is_ok(),
                Fault::Delay(time) => {
                    is_late = true;
                    late.send((Instant::now() + time, piece.to_vec())).is_ok()
                }
                _ if is_late => late.send((Instant::now(), piece.to_vec())).is_ok(),
                _ => client.write_all(piece).is_ok(),
            }
        });
        let _ = client.shutdown(Shutdown::Both);
        let _ = server.shutdown(Shutdown::Both);
    }
}

/// Reads until the stream ends or `carry` says that it is over.
fn each_piece(stream: &mut TcpStream, mut carry: impl FnMut(&[u8]) -> bool) {
    let mut buffer = [0; 64 * 1024];
    while let Ok(length) = stream.read(&mut buffer) {
        if length == 0 || !carry(&buffer[..length]) {
            return;
        }
    }
}

/// Writes each piece when its time has come.
fn deliver_late(mut client: TcpStream, due: &Receiver<(Instant, Vec<u8>)>) {
    // Nothing is sent on this channel: time passes on it.
    let (_never, silence) = channel::<()>();
    while let Ok((at, piece)) = due.recv() {
        let wait = at.saturating_duration_since(Instant::now());
        if silence.recv_timeout(wait) == Err(RecvTimeoutError::Disconnected) || client.write_all(&piece).is_err() {
            return;
        }
    }
}
