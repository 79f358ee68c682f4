//! Starts workers, and attends to each until it has ended: its log lines, its output, the flows that its scripts start,
//! and its end.

use std::sync::atomic::{AtomicI64, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::net::unix::pipe::Receiver;
use tokio::sync::{oneshot, watch};
use tokio::time::timeout;

use super::channel::FrameChannel;
use super::event_ends::EventEnds;
use super::exit::WITH_TEMPLATE;
use super::frame::{Frame, FrameKind, LARGEST_BODY};
use super::host::PythonHost;
use super::marshal::Value;
use super::output::{LineRate, read_lines, shown};
use super::template::{Forked, Template};
use super::worker::{StartReply, StartedFlow, Worker, WorkerNumber, WorkerSettings, lock};
use crate::error::Error;

/// The time that a worker that is asked to end may take.
const TO_LEAVE: Duration = Duration::from_secs(1);

/// The time that a new worker may take for its first answer.
const TO_BEGIN: Duration = Duration::from_secs(20);

/// The number of flows that the scripts of one worker may wait for at the same time.
const MOST_STARTED: usize = 1000;

static LAST_NUMBER: AtomicU64 = AtomicU64::new(0);

/// Counts the workers that have not ended.
#[derive(Clone)]
pub(super) struct Living(watch::Sender<usize>);

impl Living {
    pub(super) fn new() -> Self {
        Self(watch::Sender::new(0))
    }

    pub(super) fn count(&self) -> usize {
        *self.0.borrow()
    }

    /// Waits until all have ended.
    pub(super) async fn ended(&self) {
        let _ = self.0.subscribe().wait_for(|count| *count == 0).await;
    }

    fn one_more(&self) -> OneLiving {
        self.0.send_modify(|count| *count += 1);
        OneLiving(self.0.clone())
    }
}

struct OneLiving(watch::Sender<usize>);

impl Drop for OneLiving {
    fn drop(&mut self) {
        self.0.send_modify(|count| *count -= 1);
    }
}

/// Forks a worker, and tells it what it has to know.
pub(super) async fn start_worker(
    template: Arc<Template>,
    host: &Arc<dyn PythonHost>,
    settings: &WorkerSettings,
    living: &Living,
) -> Result<Arc<Worker>, Error> {
    let Forked { pid, flow, call, output, end } = template.fork().await?;
    let fault = |error: std::io::Error| Error::Refused(format!("no Python process can be started: {error}"));
    let largest = match template.interpreter().memory {
        0 => LARGEST_BODY - 1,
        memory => usize::try_from(memory).unwrap_or(usize::MAX).min(LARGEST_BODY - 1),
    };
    let channel = FrameChannel::new(flow, largest).map_err(fault)?;
    let output = Receiver::from_owned_fd(output.into()).map_err(fault)?;
    let (gone, gone_receiver) = watch::channel(false);
    let number = WorkerNumber(LAST_NUMBER.fetch_add(1, Ordering::Relaxed) + 1);
    let worker = Arc::new(Worker {
        number,
        pid,
        channel: channel.clone(),
        template: template.clone(),
        session: Arc::default(),
        why: Arc::default(),
        is_gone: gone_receiver,
        ends: Arc::default(),
        executions: AtomicI64::new(0),
        settings: tokio::sync::Mutex::new(settings.clone()),
    });
    tokio::spawn(log_output(output, host.clone(), worker.session.clone()));
    let attendance = Attendance {
        number,
        pid,
        channel,
        template,
        host: host.clone(),
        why: worker.why.clone(),
        ends: worker.ends.clone(),
        gone,
        _living: living.one_more(),
    };
    tokio::spawn(attendance.attend(end));
    host.serve_calls(Arc::downgrade(&worker), call);
    match timeout(TO_BEGIN, worker.ask(FrameKind::Hello, &settings.head(), &[])).await {
        Ok(answer) => answer?,
        Err(_) => {
            worker.kill("it did not begin");
            return Err(Error::Refused(format!("a new Python process did not answer for {} s", TO_BEGIN.as_secs())));
        }
    };
    Ok(worker)
}

/// Is what attends to one worker. It does not keep the worker: who lets go of that ends it.
struct Attendance {
    number: WorkerNumber,
    pid: u32,
    channel: Arc<FrameChannel>,
    template: Arc<Template>,
    host: Arc<dyn PythonHost>,
    why: Arc<Mutex<Option<String>>>,
    ends: Arc<EventEnds>,
    gone: watch::Sender<bool>,
    _living: OneLiving,
}

impl Attendance {
    async fn attend(self, mut end: oneshot::Receiver<String>) {
        let mut receiver = FrameReceiver {
            channel: self.channel.clone(),
            host: self.host.clone(),
            ends: self.ends.clone(),
            rate: LineRate::new(),
            unanswered: Arc::default(),
        };
        let mut fault = None;
        let mut told = None;
        {
            let mut reading = std::pin::pin!(self.channel.read(|frame| receiver.receive(frame)));
            tokio::select! {
                wrong = &mut reading => fault = wrong,
                () = self.channel.write_left_over() => {}
                how = &mut end => {
                    told = Some(how);
                    // Its last messages are read. Its end of the socket may be open still: children have copies.
                    self.channel.shut_down();
                    let _ = reading.await;
                }
            }
        }
        self.channel.shut_down();
        if let Some(wrong) = &fault {
            lock(&self.why).get_or_insert_with(|| format!("the Python process was ended: {wrong}"));
            self.template.kill(self.pid);
        }
        let how = match told {
            Some(how) => how,
            None => match timeout(TO_LEAVE, &mut end).await {
                Ok(how) => how,
                Err(_) => {
                    self.template.kill(self.pid);
                    end.await
                }
            },
        };
        let how = how.unwrap_or_else(|_| WITH_TEMPLATE.to_owned());
        let why = lock(&self.why).take().unwrap_or(how);
        self.channel.end(&why);
        self.ends.close();
        let _ = self.gone.send(true);
        self.host.worker_gone(self.number);
    }
}

/// Takes what a worker says without having been asked.
struct FrameReceiver {
    channel: Arc<FrameChannel>,
    host: Arc<dyn PythonHost>,
    ends: Arc<EventEnds>,
    rate: LineRate,
    unanswered: Arc<AtomicUsize>,
}

impl FrameReceiver {
    fn receive(&mut self, frame: Frame) {
        match frame.kind {
            FrameKind::Log => self.log(&frame.head),
            FrameKind::Start => self.start(frame),
            FrameKind::EventEnded => self.ends.take(&frame.head, &frame.sections),
            // An answer that nobody waits for, or what only another socket has.
            _ => {}
        }
    }

    fn log(&mut self, head: &Value) {
        let said = |place: usize| head.items()?.get(place)?.as_text();
        let level = ["debug", "verbose", "warning"].into_iter().find(|level| said(0) == Some(level));
        let level = level.unwrap_or("notice");
        let (session, text) = (said(1).unwrap_or_default(), said(2).unwrap_or_default());
        for line in text.lines() {
            self.rate.log(&shown(line.as_bytes()), |line| self.host.log(level, session, line));
        }
    }

    fn start(&mut self, frame: Frame) {
        let channel = self.channel.clone();
        let refuse = |text: &str| channel.answer(frame.id, &Err(("error", text)), &[]);
        let context = frame.head.get("context").and_then(Value::as_count);
        let (Some(context), Some(flow)) = (context, frame.head.get("flow").cloned()) else {
            return refuse("there is no flow to run");
        };
        if self.unanswered.fetch_add(1, Ordering::Relaxed) >= MOST_STARTED {
            self.unanswered.fetch_sub(1, Ordering::Relaxed);
            return refuse(&format!("a session waits for {MOST_STARTED} flows already, which is the most that it may"));
        }
        let unanswered = self.unanswered.clone();
        let reply = StartReply { id: frame.id, channel: self.channel.clone(), unanswered, is_answered: false };
        self.host.start_flow(StartedFlow { context, flow, reply });
    }
}

/// Logs what a worker prints.
async fn log_output(output: Receiver, host: Arc<dyn PythonHost>, session: Arc<Mutex<String>>) {
    let mut rate = LineRate::new();
    let log = |line: &str| {
        let session = lock(&session).clone();
        host.log("notice", &session, line);
    };
    let _ = read_lines(output, |line| rate.log(line, log)).await;
    rate.finish(log);
}
