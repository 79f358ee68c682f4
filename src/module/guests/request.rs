//! [`GuestRequest`]: what a guest wants to be sent, and where the replies go.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::FutureExt;

use super::guest::Guest;
use super::reducer::GuestReducer;
use super::registry;
use crate::command::{Command, integer, printable};
use crate::engine::{Options, Replies, Request, RequestBuilder};
use crate::error::Error;
use crate::flow::{Flow, Records};
use crate::module::flow::home::ServersHome;
use crate::module::request::caller;
use crate::module::request::reply_writer::ReplyWriter;
use crate::module::request::running::{self, GoesOn, Work};
use crate::module::server::context::Ctx;
use crate::module::server::main_thread;
use crate::module::state;
use crate::reduce::Builtin;
use crate::reply::Reply;

/// Something to be sent. The first thing that is wrong with it is kept, and is the reply to it.
pub(in crate::module) struct GuestRequest {
    kind: GuestRequestKind,
    commands: Vec<Command>,
    timeout: Option<Duration>,
    is_partial: bool,
    then: Then,
    fault: Option<Error>,
    /// Its callbacks may be called as long as this is held: it goes last.
    guest: Arc<Guest>,
}

/// Says where commands go.
pub(in crate::module) enum GuestRequestKind {
    Map,
    FanOut,
    /// They go to all keys that a flow reads.
    Flow(Box<Flow>),
}

/// Says what becomes of the replies.
enum Then {
    Gather,
    Builtin(Builtin),
    Reduce(GuestReducer),
    Merge(Box<dyn MergeReplies>),
}

/// A guest's code that gets all replies.
pub(in crate::module) trait MergeReplies: Send {
    /// Merges the replies. Called once, with an array.
    fn merge(self: Box<Self>, replies: &Reply) -> Merged;
}

/// The wish of a guest that has all replies.
pub(in crate::module) enum Merged {
    Reply(Reply),
    Next(Box<GuestRequest>),
    Nothing,
}

impl GuestRequest {
    /// Begins a map or a fan-out with no commands.
    pub(in crate::module) fn new(guest: Arc<Guest>, kind: GuestRequestKind) -> Self {
        Self { guest, kind, commands: Vec::new(), timeout: None, is_partial: false, then: Then::Gather, fault: None }
    }

    /// Begins a flow over the keys that match.
    pub(in crate::module) fn over(guest: Arc<Guest>, pattern: &[u8]) -> Self {
        Self::new(guest, GuestRequestKind::Flow(Box::new(Flow::keys(pattern))))
    }

    /// Changes the flow, if this is one.
    fn change_flow(&mut self, what: &str, change: impl FnOnce(Flow) -> Flow) {
        match &mut self.kind {
            GuestRequestKind::Flow(flow) => **flow = change((**flow).clone()),
            _ => self.fail(format!("{what} is for flows alone")),
        }
    }

    pub(in crate::module) fn set_key_type(&mut self, type_name: &str) {
        self.change_flow("RMR_SetKeyType", |flow| flow.key_type(type_name));
    }

    pub(in crate::module) fn set_limit(&mut self, most: i64) {
        match u64::try_from(most) {
            Ok(most) if most > 0 => self.change_flow("RMR_SetLimit", |flow| flow.limit(most)),
            _ => self.fail(format!("the limit is {most}; give 1 or more")),
        }
    }

    /// Has the records of a flow go through a step.
    pub(in crate::module) fn add_step(&mut self, name: &str, arguments: &[u8]) {
        match registry::step(name) {
            Some(step) => self.change_flow("RMR_AddStep", |flow| flow.shared_step(step, arguments.to_vec())),
            None => self.fail(format!("there is no step '{}'", printable(name.as_bytes()))),
        }
    }

    fn fail(&mut self, why: String) {
        self.fault.get_or_insert(Error::Invalid(why));
    }

    /// Adds a command of these words, with the place of its key.
    pub(in crate::module) fn add<'a>(&mut self, key_at: i32, words: impl Iterator<Item = &'a [u8]>) {
        let Some(mut command) = Command::from_args(words) else { return self.fail("a command has no words".into()) };
        let is_keyed = usize::try_from(key_at).is_ok_and(|at| (1..command.word_count()).contains(&at));
        match self.kind {
            GuestRequestKind::FanOut if !self.commands.is_empty() => {
                return self.fail("a fan-out sends one command, and was given two".into());
            }
            GuestRequestKind::FanOut => {}
            _ if !is_keyed => {
                let (name, last) = (printable(command.name()), command.word_count() - 1);
                return self.fail(format!("the key of {name} is said to be word {key_at}; give 1 to {last}"));
            }
            GuestRequestKind::Map => command.route_by_argument(key_at as usize),
            GuestRequestKind::Flow(_) => {
                command.route_by_argument(key_at as usize);
                return self.change_flow("a command", |flow| flow.command(command));
            }
        }
        self.commands.push(command);
    }

    pub(in crate::module) fn set_timeout(&mut self, millis: i64) {
        match u64::try_from(millis) {
            Ok(millis) if millis > 0 => self.timeout = Some(Duration::from_millis(millis)),
            _ => self.fail(format!("the timeout is {millis} ms; give 1 or more")),
        }
    }

    pub(in crate::module) fn set_partial(&mut self, partial: bool) {
        self.is_partial = partial;
    }

    /// Has the replies reduced where they are.
    pub(in crate::module) fn reduce_with(&mut self, name: &[u8], arguments: &[u8]) {
        let builtin = Builtin::named(name).filter(|builtin| builtin.can_be_split());
        let found = match builtin {
            Some(builtin) => with_number(builtin, arguments).map(Then::Builtin),
            None => std::str::from_utf8(name)
                .ok()
                .and_then(|name| registry::reducer(name, arguments))
                .map(Then::Reduce)
                .ok_or_else(|| format!("there is no reducer '{}' with these arguments", printable(name))),
        };
        match found {
            Ok(then) => self.then = then,
            Err(why) => self.fail(why),
        }
    }

    /// Hands all replies to code of the guest.
    pub(in crate::module) fn merge_with(&mut self, merge: Box<dyn MergeReplies>) {
        self.then = Then::Merge(merge);
    }

    /// Answers the client of a command that runs, now or later.
    pub(in crate::module) fn serve(self: Box<Self>, ctx: Ctx<'_>) {
        match main_thread::enter(ctx, || caller::request_with_home(ctx)) {
            Ok(prepared) => {
                running::serve(ctx, Box::pin(self.run(prepared)), GoesOn::OnRuntime, running::BlockedTime::Waits)
            }
            Err(error) => ReplyWriter { to: ctx.reply_to(), is_resp3: false }.send(&Err(error)),
        }
    }

    /// Calls back with the result, from the runtime, with the rights of whoever the context is of.
    pub(in crate::module) fn call_back(
        self: Box<Self>,
        ctx: Ctx<'_>,
        done: impl FnOnce(Result<Reply, Error>) + Send + 'static,
    ) {
        let mut done = CallBack(Some(done), self.guest.clone());
        let begun = main_thread::enter(ctx, || {
            Ok((state::runtime()?, caller::request_of(ctx)?.with_home(ServersHome::of(ctx)?)))
        });
        match begun {
            Err(error) => done.call(Err(error)),
            Ok((runtime, prepared)) => {
                let work: Work = Box::pin(self.run(prepared));
                runtime.spawn(async move {
                    let result = AssertUnwindSafe(work).catch_unwind().await;
                    done.call(result.unwrap_or_else(|_| {
                        Err(Error::Internal("internal error: the request panicked; see the server's log".into()))
                    }));
                });
            }
        }
    }

    /// Sends this and what follows it, all within one deadline.
    async fn run(self: Box<Self>, prepared: RequestBuilder) -> Result<Reply, Error> {
        let request = self.timeout.into_iter().fold(prepared, RequestBuilder::timeout).begin();
        let mut next = self;
        loop {
            match next.send(&request).await? {
                Merged::Reply(reply) => return Ok(reply),
                Merged::Next(then) => next = then,
                Merged::Nothing => {
                    return Err(Error::Refused("the module has given neither a reply nor a next request".into()));
                }
            }
        }
    }

    async fn send(self: Box<Self>, request: &Request) -> Result<Merged, Error> {
        let Self { guest: _guest, kind, mut commands, timeout, is_partial, then, fault } = *self;
        if let Some(fault) = fault {
            return Err(fault);
        }
        let options = timeout.into_iter().fold(Options::new().partial(is_partial), Options::timeout);
        macro_rules! reduced {
            ($reducer:expr) => {
                match kind {
                    GuestRequestKind::Flow(flow) => {
                        let flow = timeout.into_iter().fold(flow.partial(is_partial), Flow::timeout);
                        flow.reduce($reducer).run(request).await?
                    }
                    GuestRequestKind::Map => request.map(commands).with_options(options).combine($reducer).await?,
                    GuestRequestKind::FanOut => {
                        request.fan_out(the_one(&mut commands)?).with_options(options).combine($reducer).await?
                    }
                }
            };
        }
        let merge = match then {
            Then::Builtin(reducer) => return Ok(Merged::Reply(reduced!(reducer))),
            Then::Reduce(reducer) => return Ok(Merged::Reply(reduced!(reducer))),
            Then::Merge(merge) => Some(merge),
            Then::Gather => None,
        };
        let replies = match kind {
            GuestRequestKind::Map => in_places(request.map(commands).with_options(options).await?),
            GuestRequestKind::FanOut => {
                in_places(request.fan_out(the_one(&mut commands)?).with_options(options).await?)
            }
            GuestRequestKind::Flow(flow) => {
                let flow = timeout.into_iter().fold(flow.partial(is_partial), Flow::timeout);
                by_key(&flow.collect().run(request).await?)?
            }
        };
        Ok(merge.map_or_else(|| Merged::Reply(replies.clone()), |merge| merge.merge(&replies)))
    }
}

fn the_one(commands: &mut Vec<Command>) -> Result<Command, Error> {
    commands.pop().ok_or_else(|| Error::Invalid("a fan-out has no command".into()))
}

/// Returns all replies in their places, failures as errors.
fn in_places(replies: Replies) -> Reply {
    let missed: Vec<Reply> = replies.missed_slots().into_iter().map(|(_, error)| error_reply(&error)).collect();
    let replies = replies.into_iter().map(|reply| reply.result.unwrap_or_else(|error| error_reply(&error)));
    Reply::Array(replies.chain(missed).collect())
}

/// Returns records as a map of key to value; keys alone have a null.
fn by_key(records: &Records) -> Result<Reply, Error> {
    let pairs = records.replies().map(|(key, reply)| Ok((Reply::Bulk(Bytes::copy_from_slice(key)), reply?)));
    pairs.collect::<Result<_, Error>>().map(Reply::Map)
}

fn error_reply(error: &Error) -> Reply {
    Reply::Error(error.to_line().into())
}

/// Returns a built-in reducer with the number that it takes, in digits.
fn with_number(builtin: Builtin, arguments: &[u8]) -> Result<Builtin, String> {
    const MOST_WANTED: i64 = Builtin::MOST_WANTED as i64;
    let name = builtin.name();
    match (builtin.most(), integer(arguments)) {
        (None, _) if arguments.is_empty() => Ok(builtin),
        (None, _) => Err(format!("{name} takes no arguments")),
        (Some(_), Some(most @ 1..=MOST_WANTED)) => Ok(builtin.with_most(most as u32)),
        (Some(_), _) => Err(format!(
            "the argument of {name} is '{}'; give how many are wanted, from 1 to {MOST_WANTED}",
            printable(arguments)
        )),
    }
}

/// Code of a guest that is called once: with the result, or when there will be none.
struct CallBack<F: FnOnce(Result<Reply, Error>)>(Option<F>, Arc<Guest>);

impl<F: FnOnce(Result<Reply, Error>)> CallBack<F> {
    fn call(&mut self, result: Result<Reply, Error>) {
        if let Some(done) = self.0.take() {
            done(result);
        }
    }
}

impl<F: FnOnce(Result<Reply, Error>)> Drop for CallBack<F> {
    fn drop(&mut self) {
        self.call(Err(Error::Internal(format!("the request of {} ended without a reply", self.1.name()))));
    }
}
