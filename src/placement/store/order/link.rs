//! [`OrderedLink`]: one connection to a node, which does what is appended to it in the order in which it was appended.
//!
//! It is never replaced silently. When it breaks, everything that was appended hears whether it had left: what had may have
//! run, and what had not never does.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use bytes::{Bytes, BytesMut};
use tokio::io::{AsyncReadExt, AsyncWriteExt, split};
use tokio::sync::{mpsc, watch};
use tokio::time::{MissedTickBehavior, interval};

use crate::link::Stream;
use crate::reply::Reply;
use crate::resp::{Scanner, decode};

/// The most bytes that are taken from the queue before they have been written.
const MOST_UNWRITTEN: usize = 1 << 20;

/// The reason why a node has not answered.
#[derive(Debug, Clone)]
pub(super) enum CopyFailure {
    /// The node never got the commands.
    NotSent(String),
    /// The node may have got the commands, and may have done them.
    Unknown(String),
}

/// Hears what a node has answered.
pub(super) trait Answered: Send + Sync {
    /// Takes the replies of the copy with this number.
    fn answered(&self, copy: usize, outcome: Result<Vec<Reply>, CopyFailure>);
}

/// Commands that are one step for a node, and who waits for their replies.
pub(super) struct Appended {
    pub(super) wire: Bytes,
    pub(super) replies: usize,
    pub(super) copy: usize,
    pub(super) waiting: Arc<dyn Answered>,
}

impl Appended {
    fn fail(self, failure: CopyFailure) {
        self.waiting.answered(self.copy, Err(failure));
    }
}

/// One connection to a node. Dropped, it ends once all is answered.
pub(super) struct OrderedLink {
    /// Tells it from all others of this process.
    number: u64,
    queue: mpsc::UnboundedSender<Appended>,
    is_over: Arc<AtomicBool>,
    /// The reason why it is to end, if it is.
    to_end: watch::Sender<Option<String>>,
}

impl OrderedLink {
    /// Takes over a connection whose handshake is done. A node that says nothing for as long as `patience` while it has
    /// something to answer breaks it. `broken` hears of the end, with the number of the connection.
    pub(super) fn over(
        stream: Box<dyn Stream>,
        patience: Duration,
        broken: impl FnOnce(u64, String) + Send + 'static,
    ) -> Self {
        static NUMBERS: AtomicU64 = AtomicU64::new(1);
        let number = NUMBERS.fetch_add(1, Ordering::Relaxed);
        let (queue, inbox) = mpsc::unbounded_channel();
        let is_over = Arc::new(AtomicBool::new(false));
        let (to_end, ends) = watch::channel(None);
        let mut task = LinkTask {
            inbox,
            unwritten: BytesMut::new(),
            sent: 0,
            pending: VecDeque::new(),
            is_over: is_over.clone(),
            patience,
        };
        tokio::spawn(async move {
            if let Some(why) = task.run(stream, ends).await {
                task.fail(&why);
                broken(number, why);
            }
        });
        Self { number, queue, is_over, to_end }
    }

    /// Ends the connection for this reason, as if it had broken: nobody waits for the node any more.
    pub(super) fn end(&self, why: &str) {
        self.to_end.send_replace(Some(why.to_owned()));
    }

    /// Puts commands behind all that was appended before. Never waits.
    pub(super) fn append(&self, appended: Appended) {
        if let Err(mpsc::error::SendError(appended)) = self.queue.send(appended) {
            appended.fail(CopyFailure::NotSent("the connection has broken".into()));
        }
    }

    /// Returns what tells the connection from others.
    pub(super) fn number(&self) -> u64 {
        self.number
    }

    /// Returns whether the connection has broken.
    pub(super) fn is_over(&self) -> bool {
        self.is_over.load(Ordering::Acquire)
    }
}

/// Commands of which something may have left.
struct PendingReplies {
    /// The number of bytes of the connection that come before them.
    begins_at: u64,
    since: Instant,
    left: usize,
    replies: Vec<Reply>,
    appended: Appended,
}

struct LinkTask {
    inbox: mpsc::UnboundedReceiver<Appended>,
    unwritten: BytesMut,
    /// The number of bytes that were written in all.
    sent: u64,
    pending: VecDeque<PendingReplies>,
    is_over: Arc<AtomicBool>,
    patience: Duration,
}

impl LinkTask {
    /// Writes and reads. Returns why the connection has broken; `None` once nobody can append any more.
    async fn run(&mut self, stream: Box<dyn Stream>, mut ends: watch::Receiver<Option<String>>) -> Option<String> {
        let (mut reader, mut writer) = split(stream);
        let (mut input, mut scanner) = (BytesMut::with_capacity(4096), Scanner::default());
        let mut incoming: Vec<Appended> = Vec::new();
        let mut heard = Instant::now();
        let mut ticks = interval(self.patience / 8);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut is_unused = false;
        // Steps under way are answered first.
        while !is_unused || !self.pending.is_empty() {
            tokio::select! {
                read = reader.read_buf(&mut input) => {
                    match read {
                        Ok(0) => return Some("the node closed the connection".into()),
                        Ok(_) => heard = Instant::now(),
                        Err(error) => return Some(error.to_string()),
                    }
                    if let Err(why) = self.take_replies(&mut input, &mut scanner) {
                        return Some(why);
                    }
                }
                wrote = writer.write(&self.unwritten), if !self.unwritten.is_empty() => match wrote {
                    Ok(bytes) => {
                        self.sent += bytes as u64;
                        let _ = self.unwritten.split_to(bytes);
                    }
                    Err(error) => return Some(error.to_string()),
                },
                count = self.inbox.recv_many(&mut incoming, 256), if !is_unused && self.unwritten.len() < MOST_UNWRITTEN => {
                    is_unused = count == 0;
                    incoming.drain(..).for_each(|appended| self.take(appended));
                }
                Ok(why) = ends.wait_for(Option::is_some) => return why.clone(),
                _ = ticks.tick() => {
                    let waits = self.pending.front().map(|first| first.since.max(heard).elapsed());
                    if waits.is_some_and(|waits| waits >= self.patience) {
                        return Some(format!("no answer for {} ms", self.patience.as_millis()));
                    }
                }
            }
        }
        None
    }

    fn take(&mut self, appended: Appended) {
        let begins_at = self.sent + self.unwritten.len() as u64;
        self.unwritten.extend_from_slice(&appended.wire);
        let (left, replies) = (appended.replies, Vec::with_capacity(appended.replies));
        self.pending.push_back(PendingReplies { begins_at, since: Instant::now(), left, replies, appended });
    }

    fn take_replies(&mut self, input: &mut BytesMut, scanner: &mut Scanner) -> Result<(), String> {
        while scanner.scan(input).map_err(|error| error.to_string())? {
            let bytes = input.split_to(scanner.forget()).freeze();
            scanner.next_reply();
            let reply = decode(&bytes, &mut 0).map_err(|error| error.to_string())?;
            let first = self.pending.front_mut().ok_or("the node sent a reply that nobody had asked for")?;
            first.replies.push(reply);
            first.left -= 1;
            if first.left == 0
                && let Some(done) = self.pending.pop_front()
            {
                done.appended.waiting.answered(done.appended.copy, Ok(done.replies));
            }
        }
        Ok(())
    }

    /// Tells everybody who waits.
    fn fail(&mut self, why: &str) {
        self.is_over.store(true, Ordering::Release);
        self.inbox.close();
        for pending in self.pending.drain(..) {
            let has_left = pending.begins_at < self.sent;
            let failure = if has_left { CopyFailure::Unknown } else { CopyFailure::NotSent };
            pending.appended.fail(failure(why.to_owned()));
        }
        while let Ok(appended) = self.inbox.try_recv() {
            appended.fail(CopyFailure::NotSent(why.to_owned()));
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use tokio::net::{TcpListener, TcpStream};
    use tokio::sync::oneshot;

    use super::*;
    use crate::command::Command;

    #[derive(Default)]
    struct Heard(Mutex<Option<oneshot::Sender<Outcome>>>);

    type Outcome = Result<Vec<Reply>, CopyFailure>;

    impl Answered for Heard {
        fn answered(&self, _copy: usize, outcome: Result<Vec<Reply>, CopyFailure>) {
            if let Some(tell) = self.0.lock().unwrap().take() {
                let _ = tell.send(outcome);
            }
        }
    }

    fn append(link: &OrderedLink, words: &[&str]) -> oneshot::Receiver<Outcome> {
        let (tell, heard) = oneshot::channel();
        let mut wire = Vec::new();
        Command::from_args(words.iter().copied()).unwrap().write_to(&mut wire);
        let waiting = Arc::new(Heard(Mutex::new(Some(tell))));
        link.append(Appended { wire: wire.into(), replies: 1, copy: 0, waiting });
        heard
    }

    async fn pair(patience: Duration) -> (OrderedLink, TcpStream, oneshot::Receiver<String>) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let client = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        let (node, _) = listener.accept().await.unwrap();
        let (tell, broken) = oneshot::channel();
        let link = OrderedLink::over(Box::new(client), patience, move |_, why| {
            let _ = tell.send(why);
        });
        (link, node, broken)
    }

    #[tokio::test]
    async fn replies_come_in_the_order_of_what_was_appended() {
        let (link, mut node, _broken) = pair(Duration::from_secs(10)).await;
        let waiting: Vec<_> = (0..100).map(|number| append(&link, &["ECHO", &number.to_string()])).collect();
        tokio::spawn(async move {
            let mut read = Vec::new();
            let wanted: usize = (0..100).map(|number: u32| 20 + number.to_string().len()).sum();
            while read.len() < wanted {
                node.read_buf(&mut read).await.unwrap();
            }
            for number in 0..100 {
                node.write_all(format!(":{number}\r\n").as_bytes()).await.unwrap();
            }
            std::future::pending::<()>().await;
        });
        for (number, answer) in waiting.into_iter().enumerate() {
            assert_eq!(answer.await.unwrap().unwrap(), [Reply::Integer(number as i64)]);
        }
    }

    #[tokio::test]
    async fn a_break_tells_what_had_left() {
        let (link, mut node, broken) = pair(Duration::from_secs(10)).await;
        let answer = append(&link, &["INCR", "a"]);
        let mut seen = Vec::new();
        node.read_buf(&mut seen).await.unwrap();
        drop(node);
        assert!(matches!(answer.await.unwrap(), Err(CopyFailure::Unknown(_))));
        broken.await.unwrap();
        assert!(link.is_over());
        assert!(matches!(append(&link, &["INCR", "a"]).await.unwrap(), Err(CopyFailure::NotSent(_))));
    }

    #[tokio::test]
    async fn an_end_is_a_break() {
        let (link, mut node, broken) = pair(Duration::from_secs(10)).await;
        let answer = append(&link, &["INCR", "a"]);
        let mut seen = Vec::new();
        node.read_buf(&mut seen).await.unwrap();
        link.end("nobody waits");
        assert!(matches!(answer.await.unwrap(), Err(CopyFailure::Unknown(why)) if why == "nobody waits"));
        assert_eq!(broken.await.unwrap(), "nobody waits");
        assert!(link.is_over());
    }

    #[tokio::test]
    async fn silence_breaks_the_connection_only_while_something_is_asked() {
        let (link, _node, mut broken) = pair(Duration::from_millis(40)).await;
        let quiet = tokio::time::timeout(Duration::from_millis(120), &mut broken).await;
        assert!(quiet.is_err(), "nothing was asked");
        let answer = append(&link, &["INCR", "a"]);
        assert!(matches!(answer.await.unwrap(), Err(CopyFailure::Unknown(why)) if why == "no answer for 40 ms"));
        assert_eq!(broken.await.unwrap(), "no answer for 40 ms");
    }
}
