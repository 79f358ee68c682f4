//! [`NodeLane`]: the way to one node, over one ordered connection after the other.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::Instant;

use super::clock::NodeClock;
use super::link::OrderedLink;
use crate::command::Command;
use crate::link::{Budget, Failure, Links, Protocol, Session};
use crate::peer::secret_word;
use crate::placement::store::table::StoreNode;
use crate::placement::store::without::is_without;
use crate::reply::Reply;
use crate::topology::{Address, Node};

/// The time in which a connection to a node has to stand.
const DIAL_LIMIT: Duration = Duration::from_secs(1);

/// The user as whom a proxy writes to nodes: another one at each start, so that this start can be kept from a node.
pub(in crate::placement::store) struct NodeLogin {
    name: String,
    password: String,
    /// Says whether a node was seen on which somebody has switched the user off.
    is_fenced: watch::Sender<bool>,
    /// For each node, a lock that is held by the task that logs in there.
    turns: Mutex<HashMap<Box<str>, Arc<tokio::sync::Mutex<()>>>>,
}

impl NodeLogin {
    /// Makes up the user of a proxy.
    pub(super) fn of(proxy: &str) -> Self {
        let (name, password) = (user_of(proxy), secret_word());
        Self { name, password, is_fenced: watch::Sender::new(false), turns: Mutex::default() }
    }

    /// Waits until a node is seen on which somebody has switched the user off.
    pub(in crate::placement::store) async fn until_fenced(&self) {
        // The sender is here: it is not gone.
        let _ = self.is_fenced.subscribe().wait_for(|is_fenced| *is_fenced).await;
    }

    /// Makes the user known to a node, unless somebody has switched it off there, and becomes that user.
    ///
    /// # Errors
    /// The error says why the node does not let the proxy in.
    pub(in crate::placement::store) async fn log_in(&self, node: &str, session: &mut Session) -> Result<(), String> {
        let turn = self.turns.lock().unwrap_or_else(PoisonError::into_inner).entry(node.into()).or_default().clone();
        let _turn = turn.lock().await;
        match call(session, self.acl("GETUSER")).await? {
            Reply::Error(words) => return Err(not_made(&words)),
            Reply::Null => self.make(session).await?,
            user if is_off(&user) => return Err(self.is_kept_out()),
            _ => {}
        }
        if *self.is_fenced.borrow() {
            return Err(KEPT_OUT.into());
        }
        ask(session, Command::new("AUTH").arg(&self.name).arg(&self.password)).await.map(drop)
    }

    /// Makes the user known to a node that did not know it a moment ago. If somebody has switched it off since, this undoes that for a
    /// moment: so no other task of this proxy logs in at the node meanwhile, nor at any if it is not known how this ends.
    async fn make(&self, session: &mut Session) -> Result<(), String> {
        let unsure = FencedIfDropped(self);
        let create = self.acl("SETUSER").arg("reset").arg("on").arg(format!(">{}", self.password));
        let create = create.arg("~*").arg("&*").arg("+@all");
        // In one transaction: nobody can switch the user off between the question and the answer to it.
        let commands = [Command::new("MULTI"), self.acl("GETUSER"), create, Command::new("EXEC")];
        let replies = session.call_all(&commands, &Budget::new(1 << 20), Instant::now() + DIAL_LIMIT).await;
        let done = replies.map_err(|failure| words_of(&failure))?.pop().unwrap_or(Reply::Null);
        let was_off = done.elements().and_then(<[Reply]>::first).is_some_and(is_off);
        if was_off {
            call(session, self.acl("SETUSER").arg("off")).await?;
            return Err(self.is_kept_out());
        }
        // It was not switched off.
        std::mem::forget(unsure);
        let Reply::Array(done) = &done else { return Err(format!("no user can be made for the proxy: {done}")) };
        match done.iter().find(|reply| matches!(reply, Reply::Error(_))) {
            Some(Reply::Error(words)) => Err(not_made(words)),
            _ => Ok(()),
        }
    }

    fn acl(&self, word: &str) -> Command {
        Command::new("ACL").arg(word).arg(&self.name)
    }

    /// Says that another proxy has taken over. Returns that in words.
    fn is_kept_out(&self) -> String {
        self.is_fenced.send_replace(true);
        KEPT_OUT.into()
    }
}

/// Says why a node does not let the proxy make its user.
fn not_made(words: &[u8]) -> String {
    let words = String::from_utf8_lossy(words);
    format!("no user can be made for the proxy with its own login (--user): {words}")
}

/// The error at a node on which somebody has switched the user off.
const KEPT_OUT: &str = "another proxy has taken over, and keeps this one from the node";

/// Takes a proxy for fenced when it is dropped: nobody knows then whether a node still keeps it out.
struct FencedIfDropped<'a>(&'a NodeLogin);

impl Drop for FencedIfDropped<'_> {
    fn drop(&mut self) {
        self.0.is_fenced.send_replace(true);
    }
}

/// Returns whether a user is switched off, by what `ACL GETUSER` says.
fn is_off(user: &Reply) -> bool {
    let flags = user.field("flags").and_then(Reply::elements).unwrap_or_default();
    flags.iter().any(|flag| flag.bytes() == Some(b"off"))
}

/// Returns the name of the user as whom a proxy of this name writes.
pub(in crate::placement::store) fn user_of(proxy: &str) -> String {
    format!("rmr-{}", proxy.rsplit('/').next().unwrap_or_default())
}

const LATE: &str = "no connection within a second";

/// The way to one node.
pub(super) struct NodeLane {
    pub(super) address: Address,
    current: Mutex<Option<Arc<OrderedLink>>>,
    /// The id of the last connection at the node, and of its process. Nobody connects while another does.
    last: tokio::sync::Mutex<Option<LastConnection>>,
    /// Counts the ends of connections of which everything that follows has been done.
    settled: watch::Sender<u64>,
    /// Counts the ends of connections.
    broken: watch::Sender<u64>,
}

struct LastConnection {
    client_id: i64,
    run_id: String,
    /// The time of the node as it was opened, in milliseconds since 1970, if the node tells it.
    time: Option<i64>,
}

impl NodeLane {
    pub(super) fn to(address: Address) -> Arc<Self> {
        Arc::new(Self {
            address,
            current: Mutex::default(),
            last: tokio::sync::Mutex::default(),
            settled: watch::Sender::new(0),
            broken: watch::Sender::new(0),
        })
    }

    fn current(&self) -> MutexGuard<'_, Option<Arc<OrderedLink>>> {
        self.current.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns the connection that is open.
    pub(super) fn open_link(&self) -> Option<Arc<OrderedLink>> {
        self.current().clone().filter(|link| !link.is_over())
    }

    /// Returns whether nothing of this proxy is under way to the node that nobody hears of: a connection that has broken may have
    /// left something unread there until another one has taken its place.
    pub(super) fn is_heard(&self) -> bool {
        !self.is_settling() && (self.open_link().is_some() || *self.broken.borrow() == 0)
    }

    /// Returns whether a connection has broken, and what follows from that is not done yet.
    pub(super) fn is_settling(&self) -> bool {
        *self.settled.borrow() < *self.broken.borrow()
    }

    /// Waits until what follows from the last break is done. Returns whether that is so in time.
    pub(super) async fn until_settled(&self, until: Instant) -> bool {
        let mut settled = self.settled.subscribe();
        let wanted = *self.broken.borrow();
        matches!(tokio::time::timeout_at(until, settled.wait_for(|count| *count >= wanted)).await, Ok(Ok(_)))
    }

    /// Uses the connection of this number no more; with `None`, says that there is none to be had. Returns the number of the
    /// break, if it is a new one.
    pub(super) fn breaks_off(&self, link: Option<u64>) -> Option<u64> {
        let mut current = self.current();
        let is_new = match (link, &*current) {
            (Some(number), Some(open)) => open.number() == number,
            (None, None) => !self.is_settling(),
            (None, Some(open)) => open.is_over(),
            (Some(_), None) => false,
        };
        if !is_new {
            return None;
        }
        *current = None;
        let mut number = 0;
        self.broken.send_modify(|count| {
            *count += 1;
            number = *count;
        });
        Some(number)
    }

    /// Says that all is done that follows from the end of the connection with this number.
    pub(super) fn has_settled(&self, number: u64) {
        self.settled.send_modify(|count| *count = number.max(*count));
    }

    /// Returns a connection, opened if there is none. The one before is ended at the node first: what is still unread of it
    /// would run behind what is appended now.
    ///
    /// # Errors
    /// The error says why the node cannot be used.
    pub(super) async fn connect(
        &self,
        links: &Links,
        node: &StoreNode,
        patience: Duration,
        login: &NodeLogin,
        clock: &NodeClock,
        broken: impl FnOnce(u64, String) + Send + 'static,
    ) -> Result<Arc<OrderedLink>, String> {
        if let Some(link) = self.open_link() {
            return Ok(link);
        }
        let mut last = self.last.lock().await;
        if let Some(link) = self.open_link() {
            return Ok(link);
        }
        let opening = open(links, node, Some(login), last.as_ref());
        let (session, opened) = tokio::time::timeout(DIAL_LIMIT, opening).await.map_err(|_| LATE.to_owned())??;
        let stream = session.into_stream().ok_or("the connection has ended")?;
        let link = Arc::new(OrderedLink::over(stream, patience, broken));
        if let Some(time) = opened.time {
            clock.is_now(time);
        }
        *last = Some(opened);
        *self.current() = Some(link.clone());
        Ok(link)
    }
}

/// Checks that the server at a node's address is the process that was let in.
///
/// # Errors
/// That it is not, or why that cannot be known.
pub(in crate::placement::store) async fn is_same_process(links: &Links, node: &StoreNode) -> Result<(), String> {
    tokio::time::timeout(DIAL_LIMIT, open(links, node, None, None))
        .await
        .map_or_else(|_| Err(LATE.into()), |open| open.map(drop))
}

async fn open(
    links: &Links,
    node: &StoreNode,
    login: Option<&NodeLogin>,
    last: Option<&LastConnection>,
) -> Result<(Session, LastConnection), String> {
    let endpoint = Node::new(node.address.clone()).endpoint();
    let mut session = links.open_session(endpoint, Protocol::Resp3).await.map_err(|failure| words_of(&failure))?;
    let info = ask(&mut session, Command::new("INFO").arg("server")).await?;
    let told = Instant::now();
    let info = String::from_utf8_lossy(info.bytes().unwrap_or_default()).into_owned();
    let run_id = field(&info, "run_id:").to_owned();
    if !node.run_id.is_empty() && run_id != node.run_id && !is_without("process") {
        return Err(other_process(&node.address.to_string()));
    }
    if let Some(login) = login {
        login.log_in(&node.address.to_string(), &mut session).await?;
    }
    let client_id = ask(&mut session, Command::new("CLIENT").arg("ID")).await?.integer().unwrap_or_default();
    if let Some(last) = last.filter(|last| last.run_id == run_id) {
        // The node says that there is no such client, more often than not.
        let kill = Command::new("CLIENT").arg("KILL").arg("ID").arg(last.client_id);
        call(&mut session, kill).await?;
    }
    let micros: Option<i64> = field(&info, "server_time_usec:").parse().ok();
    let time = micros.map(|micros| micros / 1000 + told.elapsed().as_millis() as i64);
    Ok((session, LastConnection { client_id, run_id, time }))
}

async fn ask(session: &mut Session, command: Command) -> Result<Reply, String> {
    match call(session, command).await? {
        Reply::Error(words) => Err(String::from_utf8_lossy(&words).into_owned()),
        reply => Ok(reply),
    }
}

async fn call(session: &mut Session, command: Command) -> Result<Reply, String> {
    let called = session.call(&command, &Budget::new(1 << 20), Instant::now() + DIAL_LIMIT).await;
    called.map_err(|failure| words_of(&failure))
}

/// Returns a field of `INFO`, whose name ends with a colon; nothing if there is none.
fn field<'i>(info: &'i str, name: &str) -> &'i str {
    info.lines().find_map(|line| line.strip_prefix(name)).map(str::trim).unwrap_or_default()
}

/// Says that a server is not the one that was let in.
fn other_process(address: &str) -> String {
    format!("the server at {address} has been started again since it was let in, and what it holds is not relied on")
}

/// Returns why a node, or another proxy, does not answer.
pub(super) fn words_of(failure: &Failure) -> String {
    match failure {
        Failure::Unreachable(why) | Failure::Lost(why) => why.clone(),
        other => format!("{other:?}"),
    }
}
