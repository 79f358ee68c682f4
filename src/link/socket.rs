//! A node on the other end of a socket.
//!
//! A task owns the connection: it dials when there is something to send, and anew after a connection has broken. The
//! link ends when its last handle is dropped and what was asked has been answered.

use std::cell::RefCell;
use std::future::poll_fn;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use rustls::pki_types::ServerName;
use tokio::net::TcpStream;
use tokio::sync::{mpsc, oneshot};
use tokio_rustls::TlsConnector;

use super::connection::{Connection, End, Message, Outgoing, Stream};
use super::handshake::greet;
use super::pool::LinkOptions;
use super::{Batch, Delivery, Failure, Link, LinkState, Protocol, Status};
use crate::topology::{Address, BoxFuture};

/// After this many requests in a row that ran out of time while the node said nothing, another connection is opened. The
/// old one stays for those with more patience.
const TIMEOUTS_TO_REPLACE: u32 = 3;

/// At most one line in the log for each node and this time.
const LOG_EVERY: Duration = Duration::from_secs(10);

/// A link over TCP or TLS, with one connection for each protocol that is asked for.
pub struct SocketLink {
    resp2: Lane,
    resp3: Lane,
    status: Arc<Status>,
}

/// The way to one connection.
struct Lane {
    outbox: mpsc::UnboundedSender<Message>,
    /// Requests in a row that ran out of time; the node's first byte ends the row.
    silence: Arc<AtomicU32>,
}

impl Lane {
    /// `false` if nobody serves the connection any more.
    fn send(&self, message: Message) -> bool {
        CORKED.with_borrow_mut(|corked| match corked {
            Some(corked) => {
                corked.push((self.outbox.clone(), message));
                true
            }
            None => self.outbox.send(message).is_ok(),
        })
    }
}

impl SocketLink {
    /// A link to this address. Nothing is dialled before something is sent. Must be called within a tokio runtime.
    pub fn new(address: Address, options: Arc<LinkOptions>) -> Self {
        let status = Arc::new(Status::default());
        let lane = |protocol| {
            let (outbox, inbox) = mpsc::unbounded_channel();
            let silence = Arc::new(AtomicU32::new(0));
            let driver = Driver {
                dialler: Dialler { address: address.clone(), protocol, options: options.clone() },
                inbox,
                status: status.clone(),
                silence: silence.clone(),
                last_logged: None,
            };
            tokio::spawn(driver.run());
            Lane { outbox, silence }
        };
        Self { resp2: lane(Protocol::Resp2), resp3: lane(Protocol::Resp3), status }
    }

    fn lane(&self, protocol: Protocol) -> &Lane {
        match protocol {
            Protocol::Resp2 => &self.resp2,
            Protocol::Resp3 => &self.resp3,
        }
    }
}

impl Link for SocketLink {
    fn send(&self, batch: Batch) -> BoxFuture<'static, Delivery> {
        let (answer, answered) = oneshot::channel();
        let in_flight = InFlight::enter(self.status.clone());
        let message = Message::Send(Outgoing::new(&batch, answer));
        let is_open = self.lane(batch.protocol).send(message);
        Box::pin(async move {
            let _in_flight = in_flight;
            match answered.await {
                Ok(delivery) => delivery,
                Err(_) if is_open => Delivery::failed(Failure::Lost("the link was shut down".into())),
                Err(_) => Delivery::failed(Failure::Unreachable("the link was shut down".into())),
            }
        })
    }

    fn status(&self) -> &Status {
        &self.status
    }

    fn note_timeout(&self, protocol: Protocol) {
        let lane = self.lane(protocol);
        if lane.silence.fetch_add(1, Ordering::Relaxed) + 1 >= TIMEOUTS_TO_REPLACE {
            lane.silence.store(0, Ordering::Relaxed);
            // A driver that has gone has no connection to replace.
            let _ = lane.outbox.send(Message::Replace);
        }
    }
}

/// Messages that are kept, each with where it goes.
type Corked = Vec<(mpsc::UnboundedSender<Message>, Message)>;

thread_local! {
    static CORKED: RefCell<Option<Corked>> = const { RefCell::new(None) };
}

/// Keeps what this thread sends until [`uncork`]. A server that takes many commands in one round of its event loop so
/// hands all of them over at once: one wake-up of the runtime, and one write a node.
#[cfg_attr(not(feature = "module"), expect(dead_code, reason = "only a server has such rounds"))]
pub(crate) fn cork() {
    CORKED.with_borrow_mut(|corked| {
        corked.get_or_insert_default();
    });
}

/// Sends what [`cork`] has kept.
#[cfg_attr(not(feature = "module"), expect(dead_code, reason = "only a server has such rounds"))]
pub(crate) fn uncork() {
    for (outbox, message) in CORKED.take().into_iter().flatten() {
        // A driver that has gone drops the message, which its requester hears.
        let _ = outbox.send(message);
    }
}

/// Counts a batch as in flight while it lives.
struct InFlight(Arc<Status>);

impl InFlight {
    fn enter(status: Arc<Status>) -> Self {
        status.in_flight.fetch_add(1, Ordering::Relaxed);
        Self(status)
    }
}

impl Drop for InFlight {
    fn drop(&mut self) {
        self.0.in_flight.fetch_sub(1, Ordering::Relaxed);
    }
}

/// What it takes to connect.
#[derive(Clone)]
pub(super) struct Dialler {
    pub(super) address: Address,
    pub(super) protocol: Protocol,
    pub(super) options: Arc<LinkOptions>,
}

struct Driver {
    dialler: Dialler,
    inbox: mpsc::UnboundedReceiver<Message>,
    status: Arc<Status>,
    silence: Arc<AtomicU32>,
    last_logged: Option<Instant>,
}

impl Driver {
    async fn run(mut self) {
        while let Some(message) = self.inbox.recv().await {
            let Message::Send(first) = message else { continue };
            if first.is_given_up() {
                continue;
            }
            let mut queued = vec![first];
            match self.dial(&mut queued).await {
                Ok(stream) => {
                    if !self.serve(stream, queued).await {
                        return;
                    }
                }
                Err(cause) => self.fail_queued(queued, &cause),
            }
        }
    }

    /// Runs one connection to its end. `false` when the link is not used any more.
    async fn serve(&mut self, stream: Box<dyn Stream>, queued: Vec<Outgoing>) -> bool {
        self.status.connects.fetch_add(1, Ordering::Relaxed);
        self.status.set_state(LinkState::Connected);
        let mut connection = Connection::new(stream, self.status.clone(), self.silence.clone());
        queued.into_iter().for_each(|outgoing| connection.queue(outgoing));
        let end = poll_fn(|context| connection.poll_run(&mut self.inbox, context)).await;
        self.status.set_state(LinkState::Idle);
        match end {
            End::Unused => false,
            End::Replaced => {
                self.status.failures.fetch_add(1, Ordering::Relaxed);
                self.log("the node has stopped answering; trying another connection");
                tokio::spawn(connection.run_out());
                true
            }
            End::Broken(cause) => {
                self.status.failures.fetch_add(1, Ordering::Relaxed);
                self.log(&cause);
                true
            }
        }
    }

    /// Nobody who waits by now is kept waiting for another attempt: the engine decides who tries again, and where.
    fn fail_queued(&mut self, mut queued: Vec<Outgoing>, cause: &str) {
        self.status.failures.fetch_add(1, Ordering::Relaxed);
        self.status.set_state(LinkState::Failed);
        self.log(cause);
        while let Ok(message) = self.inbox.try_recv() {
            if let Message::Send(outgoing) = message {
                queued.push(outgoing);
            }
        }
        for outgoing in queued {
            outgoing.fail(Failure::Unreachable(cause.to_owned()));
        }
    }

    /// Dials, and meanwhile takes what comes, so that what is given up by then takes no memory.
    async fn dial(&mut self, queued: &mut Vec<Outgoing>) -> Result<Box<dyn Stream>, String> {
        let dialler = self.dialler.clone();
        let dial = dialler.dial(&self.status);
        tokio::pin!(dial);
        loop {
            tokio::select! {
                biased;
                dialled = &mut dial => return dialled,
                Some(message) = self.inbox.recv() => {
                    queued.retain(|outgoing| !outgoing.is_given_up());
                    if let Message::Send(outgoing) = message {
                        queued.push(outgoing);
                    }
                }
            }
        }
    }

    fn log(&mut self, cause: &str) {
        if self.last_logged.is_none_or(|last| last.elapsed() >= LOG_EVERY) {
            self.last_logged = Some(Instant::now());
            log::warn!("link to {}: {cause}", self.dialler.address);
        }
    }
}

impl Dialler {
    pub(super) async fn dial(&self, status: &Status) -> Result<Box<dyn Stream>, String> {
        status.set_state(LinkState::Connecting);
        let limit = (self.options.connect_timeout)();
        let connected = tokio::time::timeout(limit, async {
            let candidates = match &self.options.credentials {
                Some(source) => source.credentials().await,
                None => Vec::new(),
            };
            let mut stream = self.connect().await?;
            greet(&mut *stream, &candidates, self.protocol).await?;
            Ok(stream)
        });
        connected.await.unwrap_or_else(|_| Err(format!("no connection within {} ms", limit.as_millis())))
    }

    async fn connect(&self) -> Result<Box<dyn Stream>, String> {
        let Address { host, port } = &self.address;
        let tcp = TcpStream::connect((host.as_str(), *port)).await.map_err(|error| error.to_string())?;
        // Without this, small batches wait for the acknowledgement of the ones before.
        tcp.set_nodelay(true).map_err(|error| error.to_string())?;
        let Some(source) = &self.options.tls else { return Ok(Box::new(tcp)) };
        let config = source.files().await.and_then(|files| files.load()).map_err(|error| error.to_string())?;
        let name = ServerName::try_from(host.clone()).map_err(|error| format!("'{host}': {error}"))?;
        let tls = TlsConnector::from(config).connect(name, tcp).await.map_err(|error| format!("TLS: {error}"))?;
        Ok(Box::new(tls))
    }
}
