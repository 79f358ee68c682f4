//! The task that owns a connection: dials, runs it, and dials anew.

use std::future::poll_fn;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::task::{Poll, ready};
use std::time::{Duration, Instant};

use tokio::sync::mpsc;

use super::{Connection, EncodedBatch, End, Marking, Message, ReadBy};
use crate::link::batch::Failure;
use crate::link::dial::Dialler;
use crate::link::own_slots::LatestOwnSlots;
use crate::link::shared_connection::SharedConnection;
use crate::link::stats::{LinkState, LinkStats};
use crate::link::stream::Stream;
use crate::link::watch::{SocketReader, Watcher};

/// The time in which a node has at most one line in the log.
const LOG_EVERY: Duration = Duration::from_secs(10);

/// Owns the connection of a [`Channel`](crate::link::channel::Channel).
pub(in crate::link) struct ConnectionTask {
    pub(in crate::link) dialler: Dialler,
    pub(in crate::link) inbox: mpsc::UnboundedReceiver<Message>,
    pub(in crate::link) watcher: Option<Arc<dyn Watcher>>,
    pub(in crate::link) shared: Arc<SharedConnection>,
    pub(in crate::link) stats: Arc<LinkStats>,
    pub(in crate::link) silence: Arc<AtomicU32>,
    pub(in crate::link) marking: Arc<Marking>,
    pub(in crate::link) own_slots: Arc<LatestOwnSlots>,
    pub(in crate::link) last_logged: Option<Instant>,
}

impl ConnectionTask {
    /// Serves the channel until nobody uses it any more.
    pub(in crate::link) async fn run(mut self) {
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
    async fn serve(&mut self, stream: Box<dyn Stream>, mut queued: Vec<EncodedBatch>) -> Option<Vec<EncodedBatch>> {
        self.stats.connects.fetch_add(1, Ordering::Relaxed);
        self.stats.set_state(LinkState::Connected);
        if let Err(error) = self.open(stream, &mut queued) {
            self.fail_queued(queued, &error.to_string());
            return Some(Vec::new());
        }
        let (gathers, mut has_let_others_go_first) = (self.dialler.options.gathers, false);
        let ended = poll_fn(|context| {
            if gathers && !has_let_others_go_first && !self.inbox.is_empty() {
                // A task that wakes itself runs behind those that are ready by then.
                has_let_others_go_first = true;
                context.waker().wake_by_ref();
                return Poll::Pending;
            }
            has_let_others_go_first = false;
            let mut open = self.shared.lock();
            let Some(connection) = &mut *open else { return Poll::Ready(None) };
            let end = ready!(connection.poll_run(&mut self.inbox, context));
            // In the same moment, so that nobody writes to it any more.
            Poll::Ready(open.take().map(|connection| (end, connection)))
        });
        let ended = ended.await;
        self.stats.set_state(LinkState::Idle);
        let (end, mut connection) = ended?;
        match end {
            End::Unused => None,
            End::Replaced => {
                self.stats.failures.fetch_add(1, Ordering::Relaxed);
                self.log("the node has stopped answering; trying another connection");
                tokio::spawn(connection.run_out());
                Some(Vec::new())
            }
            End::Broken(cause) => {
                self.stats.failures.fetch_add(1, Ordering::Relaxed);
                self.log(&cause);
                Some(connection.take_unsent(&cause))
            }
        }
    }

    /// Opens the connection for all who want to be at it, with what is queued.
    fn open(&self, stream: Box<dyn Stream>, queued: &mut Vec<EncodedBatch>) -> std::io::Result<()> {
        // Held from here on, as somebody may be told at once that there is something to be read.
        let mut open = self.shared.lock();
        let (stream, read_by): (Box<dyn Stream>, _) = match &self.watcher {
            None => (stream, ReadBy::Runtime),
            Some(watcher) => match stream.into_socket() {
                Ok(socket) => {
                    let reader: Arc<dyn SocketReader> = self.shared.clone();
                    (watcher.watch(socket?, Arc::downgrade(&reader))?, ReadBy::Watcher)
                }
                Err(stream) => (stream, ReadBy::Runtime),
            },
        };
        let connection = open.insert(Connection::new(
            stream,
            read_by,
            self.stats.clone(),
            self.silence.clone(),
            self.marking.clone(),
            self.own_slots.clone(),
        ));
        queued.drain(..).for_each(|batch| connection.queue(batch));
        Ok(())
    }

    /// Fails the batches that are waiting by now, so that they do not wait for another attempt: the engine decides who
    /// tries again, and where.
    fn fail_queued(&mut self, mut queued: Vec<EncodedBatch>, cause: &str) {
        self.stats.failures.fetch_add(1, Ordering::Relaxed);
        self.stats.set_state(LinkState::Failed);
        self.log(cause);
        while let Ok(message) = self.inbox.try_recv() {
            if let Message::Send(batch) = message {
                queued.push(batch);
            }
        }
        for batch in queued {
            batch.fail(Failure::Unreachable(cause.to_owned()));
        }
    }

    /// Dials, and meanwhile takes what comes, so that what is given up by then takes no memory.
    async fn dial(&mut self, queued: &mut Vec<EncodedBatch>) -> Result<Box<dyn Stream>, String> {
        let dialler = self.dialler.clone();
        let dial = dialler.dial(&self.stats);
        tokio::pin!(dial);
        loop {
            tokio::select! {
                biased;
                dialled = &mut dial => return dialled,
                Some(message) = self.inbox.recv() => {
                    queued.retain(|batch| !batch.is_given_up());
                    if let Message::Send(batch) = message {
                        queued.push(batch);
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
