//! Serves the calls of one worker, one after the other, for as long as the turn lasts.
//!
//! A [`CallServer`] answers them: the server, in tests a map. A call that cannot be answered now stays where it
//! is, and so does what has been done of many commands when time is up.

use bytes::Bytes;

use super::call::{BadCall, CallWanted, CallWords, Commands, TimerWanted};
use super::call_socket::{CallError, CallSocket, NoValue};
use crate::python::marshal::Writer;

/// The error for a script that enters an atomic block within another.
pub(super) const ALREADY_ATOMIC: &str = "Already inside an atomic block";

/// Answers calls.
pub(super) trait CallServer {
    /// Runs a command for a context, and writes its reply.
    fn execute(&mut self, context: u64, words: CallWords<'_>, reply: &mut Writer) -> Result<(), NoValue>;

    /// Looks whether a context may have the server for itself.
    fn may_be_alone(&mut self, context: u64) -> Result<(), NoValue>;

    /// Writes a setting that RedisGears does not know itself.
    fn setting(&mut self, name: &[u8], value: &mut Writer);

    /// Returns a text that belongs to a slot of this server.
    fn hashtag(&mut self) -> String;

    /// Has a function called again and again. Returns whether that is so.
    fn add_timer(&mut self, context: u64, timer: TimerWanted<'_>) -> Result<bool, NoValue>;

    /// Returns the id of a new registration, which comes after so many builders.
    fn plan_id(&mut self, builders: u64) -> String;

    /// Writes the command that the event of a context is about.
    fn command_of_event(&mut self, context: u64, words: &mut Writer) -> Result<(), CallError>;

    /// Gives the client of that command another reply.
    fn override_reply(&mut self, context: u64, reply: &[u8]) -> Result<(), CallError>;

    /// Runs the command that the hook of a context stands before, with these arguments, and writes its reply.
    fn call_next(&mut self, context: u64, words: CallWords<'_>, reply: &mut Writer) -> Result<(), NoValue>;

    /// Tells whether other clients are to be served now, or the deadline has passed.
    fn is_time_up(&self) -> bool;

    /// Returns how many bytes the replies to one call may have.
    fn most_reply_bytes(&self) -> usize;
}

/// A worker that calls.
pub(super) struct Caller {
    pub(super) socket: CallSocket,
    /// The part of its call with many commands that is done.
    many: Option<ManyDone>,
    /// The worker's report about the event that it was waited for.
    pub(super) event_end: Option<EventSaid>,
}

/// The report of a worker about an event: the head of its answer, and the results.
pub(super) struct EventSaid {
    pub(super) head: Vec<u8>,
    pub(super) section: Vec<u8>,
}

/// Says what a worker is served for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum ServedFor {
    /// Whatever it calls for.
    All,
    /// The worker has the server for itself, and gives it back in between.
    Alone,
    /// The server waits for the end of an event of this number: other calls have to wait.
    Event(u64),
}

/// The commands of one call that have run, and their replies.
struct ManyDone {
    replies: Writer,
    /// The number of commands that are left.
    left: usize,
    /// The position of these among the commands.
    behind: usize,
}

/// The reason why serving has ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Served {
    /// The calls that have come are answered.
    All,
    /// There are more, and time is up.
    TimeIsUp,
    /// The next call cannot be answered now.
    NotNow,
    /// The worker has to take its answers first.
    IsFull,
    /// The next call wants the server for itself; it is not answered yet.
    WantsAlone { id: u64 },
    /// The worker gives the server back, and is answered.
    HasLeft,
    /// The event is done with.
    EventHasEnded,
    /// The worker was ended by what its call has caused.
    WasEnded,
    /// The worker has sent something that is no call.
    Bad(BadCall),
}

/// Says what comes after a call.
enum AfterCall {
    /// The next one.
    Answered,
    /// The next one; this one waits until the event is done.
    SetAside,
    /// Serving has ended.
    Ends(Served),
}

impl Caller {
    pub(super) fn new(socket: CallSocket) -> Self {
        Self { socket, many: None, event_end: None }
    }

    /// Answers calls.
    pub(super) fn serve(&mut self, server: &mut impl CallServer, served_for: ServedFor) -> Served {
        loop {
            if self.socket.is_full() {
                return Served::IsFull;
            }
            self.socket.lend_rest();
            let served = self.serve_next(server, served_for);
            if !self.socket.take_rest_back() {
                return Served::WasEnded;
            }
            match served {
                AfterCall::Ends(why) => return why,
                AfterCall::SetAside => {}
                AfterCall::Answered if !server.is_time_up() => {}
                AfterCall::Answered if self.socket.has_call() => return Served::TimeIsUp,
                AfterCall::Answered => return Served::All,
            }
        }
    }

    /// Answers the next call. Calls that have come behind it are lent meanwhile.
    fn serve_next(&mut self, server: &mut impl CallServer, served_for: ServedFor) -> AfterCall {
        let (call, answers) = match self.socket.next_call() {
            Ok(Some(found)) => found,
            Ok(None) => return AfterCall::Ends(Served::All),
            Err(bad) => return AfterCall::Ends(Served::Bad(bad)),
        };
        let (id, context, size) = (call.id, call.context, call.size);
        if let CallWanted::EventDone(said) = call.asked {
            if served_for != ServedFor::Event(id) {
                return AfterCall::Ends(Served::Bad(BadCall::Form("nobody waits for the end of this event")));
            }
            self.event_end = Some(EventSaid { head: said.head.to_vec(), section: said.section.to_vec() });
            self.socket.has_answered(size);
            return AfterCall::Ends(Served::EventHasEnded);
        }
        if matches!(served_for, ServedFor::Event(event) if event != context) {
            self.socket.set_aside(size);
            return AfterCall::SetAside;
        }
        let mut has_left = false;
        let is_answered = match call.asked {
            CallWanted::Execute(words) => {
                let most = server.most_reply_bytes();
                answers.answer_or_wait(id, |reply| execute(server, context, words, reply, most))
            }
            CallWanted::ExecuteMany(commands) => {
                let so_far = self.many.take().unwrap_or_else(|| ManyDone::begin(commands));
                match so_far.go_on(server, context, commands) {
                    ManyOutcome::Done(replies) => {
                        answers.answer(id, |value| {
                            value.append(&replies?);
                            Ok(())
                        });
                        true
                    }
                    ManyOutcome::Stopped(so_far, why) => {
                        self.many = Some(so_far);
                        return AfterCall::Ends(why);
                    }
                    ManyOutcome::Bad(bad) => return AfterCall::Ends(Served::Bad(bad)),
                }
            }
            CallWanted::EnterAtomic if served_for == ServedFor::All => match server.may_be_alone(context) {
                Ok(()) => return AfterCall::Ends(Served::WantsAlone { id }),
                Err(NoValue::NotNow) => false,
                Err(NoValue::Failed(error)) => {
                    answers.answer(id, |_| Err(error));
                    true
                }
            },
            CallWanted::EnterAtomic => {
                answers.answer(id, |_| Err(CallError::of(ALREADY_ATOMIC)));
                true
            }
            CallWanted::LeaveAtomic => {
                has_left = served_for == ServedFor::Alone;
                answers.answer(id, |value| {
                    value.none();
                    Ok(())
                });
                true
            }
            CallWanted::ConfigGet(name) => {
                answers.answer(id, |value| {
                    server.setting(name, value);
                    Ok(())
                });
                true
            }
            CallWanted::Hashtag => {
                answers.answer(id, |value| {
                    value.text(&server.hashtag());
                    Ok(())
                });
                true
            }
            CallWanted::PlanId(builders) => {
                answers.answer(id, |value| {
                    value.text(&server.plan_id(builders));
                    Ok(())
                });
                true
            }
            CallWanted::GetCommand => {
                answers.answer(id, |value| server.command_of_event(context, value));
                true
            }
            CallWanted::OverrideReply(reply) => {
                answers.answer(id, |value| {
                    server.override_reply(context, reply)?;
                    value.none();
                    Ok(())
                });
                true
            }
            CallWanted::CallNext(words) => answers.answer_or_wait(id, |reply| server.call_next(context, words, reply)),
            // Looked at before.
            CallWanted::EventDone(_) => true,
            CallWanted::AddTimer(timer) => answers.answer_or_wait(id, |value| {
                value.bool(server.add_timer(context, timer)?);
                Ok(())
            }),
        };
        if !is_answered {
            return AfterCall::Ends(Served::NotNow);
        }
        self.socket.has_answered(size);
        if has_left { AfterCall::Ends(Served::HasLeft) } else { AfterCall::Answered }
    }

    /// Looks at nothing but an event, and at the calls that are made for it.
    pub(super) fn begin_event(&mut self, id: u64, head: &[u8], sections: &[Bytes]) -> BeforeEvent {
        self.socket.send_event(id, head, sections);
        BeforeEvent(self.many.take())
    }

    /// Goes on where calls were left. Returns what the worker has said of the event.
    pub(super) fn end_event(&mut self, before: BeforeEvent) -> Option<EventSaid> {
        self.socket.bring_back();
        self.many = before.0;
        self.event_end.take()
    }

    /// Says that the worker has the server for itself.
    pub(super) fn has_entered(&mut self, id: u64) {
        if let Ok(Some((call, answers))) = self.socket.next_call() {
            let size = call.size;
            answers.answer(id, |value| {
                value.none();
                Ok(())
            });
            self.socket.has_answered(size);
        }
    }
}

/// Runs a command, whose reply may have so many bytes.
fn execute(
    server: &mut impl CallServer,
    context: u64,
    words: CallWords<'_>,
    reply: &mut Writer,
    most: usize,
) -> Result<(), NoValue> {
    let start = reply.len();
    server.execute(context, words, reply)?;
    if reply.len() - start > most { Err(too_big(most).into()) } else { Ok(()) }
}

fn too_big(most: usize) -> CallError {
    CallError::of(format!("the replies to one call grew past {most} bytes; rmr.max-reply-bytes allows no more"))
}

/// The call that was under way when an event was begun.
pub(super) struct BeforeEvent(Option<ManyDone>);

/// The outcome of a call with many commands.
enum ManyOutcome {
    Done(Result<Writer, CallError>),
    Stopped(ManyDone, Served),
    Bad(BadCall),
}

impl ManyDone {
    fn begin(commands: Commands<'_>) -> Self {
        let mut replies = Writer::default();
        replies.begin_list(commands.count());
        Self { replies, left: commands.count(), behind: 0 }
    }

    /// Runs commands until all are done, or no more can be done now.
    fn go_on(mut self, server: &mut impl CallServer, context: u64, whole: Commands<'_>) -> ManyOutcome {
        let most = server.most_reply_bytes();
        let mut rest = whole.from(self.behind, self.left);
        while let Some(words) = rest.next() {
            let words = match words {
                Ok(words) => words,
                Err(bad) => return ManyOutcome::Bad(bad),
            };
            let start = self.replies.len();
            self.replies.begin_list(2);
            self.replies.bool(true);
            match server.execute(context, words, &mut self.replies) {
                Ok(()) => {}
                Err(NoValue::NotNow) => {
                    self.replies.truncate(start);
                    return ManyOutcome::Stopped(self, Served::NotNow);
                }
                Err(NoValue::Failed(CallError::Error(text))) => {
                    self.replies.truncate(start);
                    self.replies.begin_list(2);
                    self.replies.bool(false);
                    self.replies.text(&String::from_utf8_lossy(&text));
                }
                Err(NoValue::Failed(error @ CallError::Aborted)) => return ManyOutcome::Done(Err(error)),
            }
            if self.replies.len() > most {
                return ManyOutcome::Done(Err(too_big(most)));
            }
            (self.left, self.behind) = (rest.count(), rest.behind(whole));
            if self.left > 0 && server.is_time_up() {
                return ManyOutcome::Stopped(self, Served::TimeIsUp);
            }
        }
        ManyOutcome::Done(Ok(self.replies))
    }
}
