//! A node on the other end of a socket.
//!
//! A task owns the connection: it dials when there is something to send, and anew after a connection has broken. What is
//! large enough is written past it by whoever sends it, if nobody else is at the connection. The link ends when its last
//! handle is dropped and what was asked has been answered.

use std::cell::RefCell;
use std::future::poll_fn;
use std::hash::BuildHasher;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, LazyLock, Mutex, MutexGuard, PoisonError, TryLockError};
use std::task::{Poll, ready};
use std::time::{Duration, Instant};

use rustls::pki_types::ServerName;
use tokio::net::{TcpStream, UnixStream};
use tokio::sync::{mpsc, oneshot};
use tokio_rustls::TlsConnector;

use super::connection::{Connection, End, Message, Outgoing, ToldBy};
use super::handshake::{Credentials, Words, greet};
use super::inner::{Answer, Request};
use super::pool::LinkOptions;
use super::stream::Stream;
use super::watch::{Reader, Watcher};
use super::{Batch, Budget, Delivery, Failure, Link, LinkState, Protocol, Reduction, Status};
use crate::command::Command;
use crate::reply::Reply;
use crate::topology::{Address, BoxFuture, Endpoint, TlsFiles};

/// After this many requests in a row that ran out of time while the node said nothing, another connection is opened. The
/// old one stays for those with more patience.
const TIMEOUTS_TO_REPLACE: u32 = 3;

/// A batch of so many bytes is worth a write of its own, which whoever sends it does here and now: to wake the task that
/// owns the connection takes as long. Smaller ones are left to it, since those that come together share a write.
const OWN_WRITE: usize = 2 * 1024;

/// At most one line in the log for each node and this time.
const LOG_EVERY: Duration = Duration::from_secs(10);

/// A link over TCP or TLS, with one connection for each protocol that is asked for.
pub struct SocketLink {
    resp2: Arc<Lane>,
    resp3: Arc<Lane>,
    inner: Arc<Inner>,
    status: Arc<Status>,
}

/// Whether the node takes inner commands. Not to be asked while it is known that it does not; what it did not know, a
/// module that is loaded later may bring.
pub(super) struct Inner {
    options: Arc<LinkOptions>,
    /// Milliseconds of the link's life until which it is not asked.
    declined_until: AtomicU64,
    began: Instant,
}

impl Inner {
    /// How long a node that has declined is not asked.
    const PAUSE: Duration = Duration::from_secs(5);

    fn is_offered(&self) -> bool {
        let until = self.declined_until.load(Ordering::Relaxed);
        self.options.inner_command.is_some() && (until == 0 || self.age() >= until)
    }

    fn learn(&self, is_offered: bool) {
        let until = if is_offered { 0 } else { self.age() + Self::PAUSE.as_millis() as u64 };
        self.declined_until.store(until, Ordering::Relaxed);
    }

    fn age(&self) -> u64 {
        self.began.elapsed().as_millis() as u64
    }
}

/// The way to one connection.
struct Lane {
    outbox: mpsc::UnboundedSender<Message>,
    open: Arc<Open>,
    /// Requests in a row that ran out of time; the node's first byte ends the row.
    silence: Arc<AtomicU32>,
}

impl Lane {
    /// `false` if nobody serves the connection any more.
    fn send(self: &Arc<Self>, outgoing: Outgoing) -> bool {
        let is_large = outgoing.len() >= OWN_WRITE;
        let due = CORKED.with_borrow_mut(|corked| match corked {
            None if is_large => Ok(vec![(self.clone(), outgoing)]),
            None => Err(outgoing),
            Some(corked) => {
                corked.push((self.clone(), outgoing));
                Ok(if is_large { std::mem::take(corked) } else { Corked::new() })
            }
        });
        match due {
            Ok(due) => {
                write_now(due);
                !self.outbox.is_closed()
            }
            Err(outgoing) => self.outbox.send(Message::Send(outgoing)).is_ok(),
        }
    }

    /// Puts a batch to those that leave next, if the connection is open and nobody is at it. `false` if the batch went to
    /// whoever serves the connection instead.
    fn join(&self, outgoing: Outgoing) -> bool {
        /// The thread that writes has other things to do.
        const LARGE: usize = 64 * 1024;
        if outgoing.len() <= LARGE
            && let Ok(mut open) = self.open.0.try_lock()
            && let Some(connection) = &mut *open
        {
            connection.queue(outgoing);
            return true;
        }
        // A driver that has gone drops the batch, which its requester hears.
        let _ = self.outbox.send(Message::Send(outgoing));
        false
    }

    /// Writes what has joined. What cannot leave at once is left to whoever serves the connection.
    fn write(&self) {
        let is_written = match self.open.0.try_lock() {
            Ok(mut open) => open.as_mut().is_some_and(Connection::write_now),
            Err(_) => false,
        };
        if !is_written {
            // A driver that has gone takes what has joined with it.
            let _ = self.outbox.send(Message::Look);
        }
    }
}

impl SocketLink {
    /// A link to this endpoint. Nothing is dialled before something is sent. Must be called within a tokio runtime.
    pub fn new(endpoint: Endpoint, options: Arc<LinkOptions>, watcher: Option<Arc<dyn Watcher>>) -> Self {
        let status = Arc::new(Status::default());
        let inner =
            Arc::new(Inner { options: options.clone(), declined_until: AtomicU64::new(0), began: Instant::now() });
        let lane = |protocol| {
            let (outbox, inbox) = mpsc::unbounded_channel();
            let (open, silence) = (Arc::new(Open::default()), Arc::new(AtomicU32::new(0)));
            let driver = Driver {
                dialler: Dialler {
                    endpoint: endpoint.clone(),
                    protocol,
                    options: options.clone(),
                    inner: Some(inner.clone()),
                },
                watcher: watcher.clone(),
                inbox,
                open: Arc::clone(&open),
                status: status.clone(),
                silence: silence.clone(),
                last_logged: None,
            };
            tokio::spawn(driver.run());
            Arc::new(Lane { outbox, open, silence })
        };
        Self { resp2: lane(Protocol::Resp2), resp3: lane(Protocol::Resp3), inner, status }
    }

    fn lane(&self, protocol: Protocol) -> &Arc<Lane> {
        match protocol {
            Protocol::Resp2 => &self.resp2,
            Protocol::Resp3 => &self.resp3,
        }
    }
}

impl SocketLink {
    /// Hands a message to the connection for the protocol. What comes back counts as in flight until then.
    fn hand_over(
        &self,
        protocol: Protocol,
        outgoing: Outgoing,
        answered: oneshot::Receiver<Delivery>,
    ) -> impl Future<Output = Delivery> + Send + use<> {
        let in_flight = InFlight::enter(self.status.clone());
        let is_open = self.lane(protocol).send(outgoing);
        async move {
            let _in_flight = in_flight;
            match answered.await {
                Ok(delivery) => delivery,
                Err(_) if is_open => Delivery::failed(Failure::Lost("the link was shut down".into())),
                Err(_) => Delivery::failed(Failure::Unreachable("the link was shut down".into())),
            }
        }
    }

    /// Has the node reduce its share.
    fn send_inner(&self, name: &str, batch: &Batch, reduction: Reduction) -> BoxFuture<'static, Delivery> {
        let id = next_id();
        let Ok(request) = Request::of(batch, &reduction, id).encode() else {
            return Box::pin(std::future::ready(Delivery::failed(Failure::Declined)));
        };
        let (answer, answered) = oneshot::channel();
        let outgoing = Outgoing::one(&Command::new(name).arg(&request), batch.budget.clone(), Some(answer));
        let answered = self.hand_over(batch.protocol, outgoing, answered);
        // The connection of the request itself is not read before that is answered.
        let other = match batch.protocol {
            Protocol::Resp2 => &self.resp3,
            Protocol::Resp3 => &self.resp2,
        };
        let (outbox, give_up) = (other.outbox.clone(), Command::new(name).arg("GIVEUP").arg(id));
        let mut until_answered = GiveUp { outbox, command: (batch.picks.len() > WORTH_GIVING_UP).then_some(give_up) };
        let (inner, commands) = (self.inner.clone(), batch.picks.len());
        Box::pin(async move {
            let Delivery { mut replies, failure, .. } = answered.await;
            until_answered.is_over();
            match replies.pop() {
                Some(Reply::Bulk(answer)) => match Answer::decode(&answer, &reduction, commands) {
                    Ok(partial) => Delivery::reduced(partial),
                    Err(why) => Delivery::failed(Failure::Lost(why.into())),
                },
                Some(Reply::Error(message)) if has_begun(&message) => {
                    Delivery::failed(Failure::Lost(String::from_utf8_lossy(&message).into_owned()))
                }
                Some(Reply::Error(message)) if message.starts_with(b"RMRTOOBIG") => Delivery::failed(Failure::TooBig),
                Some(_) => {
                    inner.learn(false);
                    Delivery::failed(Failure::Declined)
                }
                None => Delivery { failure, ..Delivery::default() },
            }
        })
    }
}

/// Whether the error of an inner command leaves open how much of it was done. All others are given instead of it, by our
/// module or, in its own words, by the server.
fn has_begun(error: &[u8]) -> bool {
    error.starts_with(b"RMRINNER") || error.starts_with(b"ERR") && !error.starts_with(b"ERR unknown command")
}

/// A share of so few commands is done before it could be given up.
const WORTH_GIVING_UP: usize = 256;

/// Tells the node that nobody waits for its answer any more, unless it has come.
struct GiveUp {
    outbox: mpsc::UnboundedSender<Message>,
    command: Option<Command>,
}

impl GiveUp {
    fn is_over(&mut self) {
        self.command = None;
    }
}

impl Drop for GiveUp {
    fn drop(&mut self) {
        if let Some(command) = self.command.take() {
            let outgoing = Outgoing::one(&command, Arc::new(Budget::new(usize::MAX)), None);
            // A driver that has gone has nobody to tell.
            let _ = self.outbox.send(Message::Send(outgoing));
        }
    }
}

/// An id that no other request has, here or, as good as surely, on another node.
fn next_id() -> u64 {
    static FIRST: LazyLock<u64> = LazyLock::new(|| std::hash::RandomState::new().hash_one(std::process::id()));
    static COUNT: AtomicU64 = AtomicU64::new(0);
    FIRST.wrapping_add(COUNT.fetch_add(1, Ordering::Relaxed))
}

impl Link for SocketLink {
    fn send(&self, mut batch: Batch) -> BoxFuture<'static, Delivery> {
        if let Some(reduction) = batch.reduction.take()
            && let Some(name) = &self.inner.options.inner_command
        {
            return self.send_inner(name, &batch, reduction);
        }
        let (answer, answered) = oneshot::channel();
        let outgoing = Outgoing::new(&batch, answer);
        Box::pin(self.hand_over(batch.protocol, outgoing, answered))
    }

    fn reduces(&self) -> bool {
        self.inner.is_offered()
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

/// Batches that are kept, each with where it goes.
type Corked = Vec<(Arc<Lane>, Outgoing)>;

thread_local! {
    static CORKED: RefCell<Option<Corked>> = const { RefCell::new(None) };
}

/// Keeps what this thread sends until [`uncork`], but for large batches. A server that takes many commands in one round of
/// its event loop so sends all that they have for a node in one write.
#[cfg_attr(not(feature = "module"), expect(dead_code, reason = "only a server has such rounds"))]
pub(crate) fn cork() {
    CORKED.with_borrow_mut(|corked| {
        corked.get_or_insert_default();
    });
}

/// Sends what [`cork`] has kept.
#[cfg_attr(not(feature = "module"), expect(dead_code, reason = "only a server has such rounds"))]
pub(crate) fn uncork() {
    CORKED.take().into_iter().for_each(write_now);
}

/// Sends batches: to a few nodes by writing here and now, which spares waking the runtime and gives the node all of a round
/// at once; to the others by the runtime, so that this thread is not kept.
fn write_now(batches: Corked) {
    /// Each write takes some microseconds.
    const MOST_WRITES: usize = 8;
    let mut joined: Vec<Arc<Lane>> = Vec::new();
    for (lane, outgoing) in batches {
        let is_known = joined.iter().any(|known| Arc::ptr_eq(known, &lane));
        if !is_known && joined.len() == MOST_WRITES {
            // A driver that has gone drops the batch, which its requester hears.
            let _ = lane.outbox.send(Message::Send(outgoing));
        } else if lane.join(outgoing) && !is_known {
            joined.push(lane);
        }
    }
    joined.iter().for_each(|lane| lane.write());
}

/// The connection that is open now, for whoever wants to write at once, or is told that there is something to be read.
#[derive(Default)]
struct Open(Mutex<Option<Connection>>);

impl Open {
    fn lock(&self) -> MutexGuard<'_, Option<Connection>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Reader for Open {
    fn read(&self) -> bool {
        match self.0.try_lock() {
            Ok(mut open) => open.as_mut().is_none_or(Connection::read_now),
            // Whoever is at it is so for a moment.
            Err(TryLockError::WouldBlock) => true,
            Err(TryLockError::Poisoned(_)) => false,
        }
    }

    fn refused(&self) {
        self.lock().iter_mut().for_each(Connection::leave_to_runtime);
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
    pub(super) endpoint: Endpoint,
    pub(super) protocol: Protocol,
    pub(super) options: Arc<LinkOptions>,
    /// What is learnt about the node's inner command; it is not asked about it without.
    pub(super) inner: Option<Arc<Inner>>,
}

struct Driver {
    dialler: Dialler,
    inbox: mpsc::UnboundedReceiver<Message>,
    watcher: Option<Arc<dyn Watcher>>,
    open: Arc<Open>,
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
            while !queued.is_empty() {
                queued = match self.dial(&mut queued).await {
                    Ok(stream) => match self.serve(stream, queued).await {
                        Some(unsent) => unsent,
                        None => return,
                    },
                    Err(cause) => {
                        self.fail_queued(queued, &cause);
                        Vec::new()
                    }
                };
            }
        }
    }

    /// Runs one connection to its end. Gives what is to be sent by another; `None` when the link is not used any more.
    async fn serve(&mut self, stream: Box<dyn Stream>, mut queued: Vec<Outgoing>) -> Option<Vec<Outgoing>> {
        self.status.connects.fetch_add(1, Ordering::Relaxed);
        self.status.set_state(LinkState::Connected);
        if let Err(error) = self.open(stream, &mut queued) {
            self.fail_queued(queued, &error.to_string());
            return Some(Vec::new());
        }
        let ended = poll_fn(|context| {
            let mut open = self.open.lock();
            let Some(connection) = &mut *open else { return Poll::Ready(None) };
            let end = ready!(connection.poll_run(&mut self.inbox, context));
            // In the same moment, so that nobody writes to it any more.
            Poll::Ready(open.take().map(|connection| (end, connection)))
        });
        let ended = ended.await;
        self.status.set_state(LinkState::Idle);
        let (end, mut connection) = ended?;
        match end {
            End::Unused => None,
            End::Replaced => {
                self.status.failures.fetch_add(1, Ordering::Relaxed);
                self.log("the node has stopped answering; trying another connection");
                tokio::spawn(connection.run_out());
                Some(Vec::new())
            }
            End::Broken(cause) => {
                self.status.failures.fetch_add(1, Ordering::Relaxed);
                self.log(&cause);
                Some(connection.take_unsent(&cause))
            }
        }
    }

    /// Opens the connection for all who want to be at it, with what is queued.
    fn open(&self, stream: Box<dyn Stream>, queued: &mut Vec<Outgoing>) -> std::io::Result<()> {
        // Held from here on, as somebody may be told at once that there is something to be read.
        let mut open = self.open.lock();
        let (stream, told_by): (Box<dyn Stream>, _) = match &self.watcher {
            None => (stream, ToldBy::Runtime),
            Some(watcher) => match stream.into_socket() {
                Ok(socket) => {
                    let reader: Arc<dyn Reader> = self.open.clone();
                    (watcher.watch(socket?, Arc::downgrade(&reader))?, ToldBy::Watcher)
                }
                Err(stream) => (stream, ToldBy::Runtime),
            },
        };
        let connection = open.insert(Connection::new(stream, told_by, self.status.clone(), self.silence.clone()));
        queued.drain(..).for_each(|outgoing| connection.queue(outgoing));
        Ok(())
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
            log::warn!("link to {}: {cause}", self.dialler.endpoint.address);
        }
    }
}

impl Dialler {
    pub(super) async fn dial(&self, status: &Status) -> Result<Box<dyn Stream>, String> {
        status.set_state(LinkState::Connecting);
        let limit = (self.options.connect_timeout)();
        let connected = tokio::time::timeout(limit, async {
            let candidates = match (&self.endpoint.login, &self.options.credentials) {
                (Some(login), _) => vec![Credentials::of(login)],
                (None, Some(source)) => source.credentials().await,
                (None, None) => Vec::new(),
            };
            let mut stream = self.connect().await?;
            let words = Words {
                protocol: self.protocol,
                database: self.endpoint.database,
                inner_command: self.options.inner_command.as_deref().filter(|_| self.inner.is_some()),
            };
            let offers_inner = greet(&mut *stream, &candidates, &words).await?;
            self.inner.iter().for_each(|inner| inner.learn(offers_inner));
            Ok(stream)
        });
        connected.await.unwrap_or_else(|_| Err(format!("no connection within {} ms", limit.as_millis())))
    }

    async fn connect(&self) -> Result<Box<dyn Stream>, String> {
        let (host, port) = match &self.endpoint.address {
            Address::Tcp { host, port } => (host, *port),
            Address::Unix { path } => {
                return Ok(Box::new(UnixStream::connect(path).await.map_err(|error| error.to_string())?));
            }
        };
        let tcp = TcpStream::connect((host.as_str(), port)).await.map_err(|error| error.to_string())?;
        // Without this, small batches wait for the acknowledgement of the ones before.
        tcp.set_nodelay(true).map_err(|error| error.to_string())?;
        let Some(files) = self.certificates().await? else { return Ok(Box::new(tcp)) };
        let config = files.load().map_err(|error| error.to_string())?;
        let name = ServerName::try_from(host.clone()).map_err(|error| format!("'{host}': {error}"))?;
        let tls = TlsConnector::from(config).connect(name, tcp).await.map_err(|error| format!("TLS: {error}"))?;
        Ok(Box::new(tls))
    }

    /// With which certificates TLS is to be spoken; `None` if it is not.
    async fn certificates(&self) -> Result<Option<TlsFiles>, String> {
        let by_default = self.options.tls_by_default && self.options.tls.is_some();
        if !self.endpoint.tls.unwrap_or(by_default) {
            return Ok(None);
        }
        match (&self.endpoint.tls_files, &self.options.tls) {
            (Some(files), _) => Ok(Some(files.clone())),
            (None, Some(source)) => source.files().await.map(Some).map_err(|error| error.to_string()),
            (None, None) => Err("TLS needs certificates, and neither the host nor the engine's links have any".into()),
        }
    }
}
