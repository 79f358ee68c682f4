//! The floor that speaks to `redis-server`: commands, settings, rights, blocked clients.
//!
//! A module author calls [`register`] when the module is loaded and [`unregister`] when it is unloaded, and [`map`],
//! [`fan_out`] or [`run`] in a command. `librmr.so` itself is [`load`] and [`unregister`].

mod acl;
mod apply;
mod catalog;
mod commands;
mod config;
mod event_loop;
mod events;
mod flow;
mod gears;
mod guests;
mod identity;
mod info;
mod inquiry;
mod last_commands;
mod local;
mod module_options;
mod peer;
mod proxy;
mod python;
mod request;
mod secrets;
#[allow(unsafe_code, reason = "the one folder that speaks to the server")]
mod server;
mod setup;
mod state;
mod store;

use std::borrow::Cow;
use std::sync::atomic::Ordering::Relaxed;

use redis_module::{Context, RedisResult, RedisString, RedisValue, Status, raw};

pub use server::alloc::ModuleAlloc;
pub use setup::Setup;

use crate::command::Argument;
use crate::command::Command;
use crate::engine::{Reducer, Request, RequestBuilder};
use crate::error::Error;
use crate::reply::Reply;
use event_loop::registry;
use local::own_slots;
use request::caller;
use request::reply_writer::ReplyWriter;
use request::running::{self, GoesOn};
use server::context::Ctx;
use server::{api, log, main_thread, paced, shared_api};

impl Argument for RedisString {
    fn to_argument(&self) -> Cow<'_, [u8]> {
        Cow::Borrowed(self.as_slice())
    }
}

/// Makes the engine ready for the commands of an author's module. To be called in the module's `init`.
///
/// The module options that a module declares (`Context::set_module_options`) are left to its author. Its parts from rmr stand
/// in the way of none: not of errors while data is loaded, of `repl-diskless-load swapdb`, or, on Valkey 9, of
/// `CLUSTER MIGRATESLOTS` (`1 << 5`), which a server refuses as long as one of its modules has not declared it.
///
/// Longer pages: [writing a reducer](crate::_docs::writing_a_reducer), [writing a step](crate::_docs::writing_a_step),
/// [what an answer is worth](crate::_docs::guarantees).
///
/// # Errors
/// If the server lacks a function that rmr needs (it has all of them from Redis 7.0 on).
pub fn register(ctx: &Context, setup: Setup) -> Result<(), Error> {
    if let Some(name) = api::missing() {
        return Err(Error::Refused(format!(
            "this server is too old for rmr: it has no {name}; use Redis 7.0 or newer"
        )));
    }
    let ctx = Ctx::of(ctx);
    main_thread::open(ctx);
    log::install();
    ctx.subscribe(raw::REDISMODULE_EVENT_REPLICATION_ROLE_CHANGED, 1, on_change);
    ctx.subscribe(raw::REDISMODULE_EVENT_CLUSTER_SLOT_MIGRATION, 1, on_change);
    ctx.subscribe_to_modules(on_module_change);
    if !ctx.subscribe(raw::REDISMODULE_EVENT_EVENTLOOP, 1, on_event_loop) {
        return Err(Error::Refused("this server is too old for rmr: it does not tell of its event loop".into()));
    }
    ctx.subscribe_to_disconnections(flow::leaves::client_has_gone);
    if let Some(name) = setup.name_of_inner() {
        peer::register(ctx, name).map_err(Error::Refused)?;
    }
    state::set_up(setup)
}

/// Ends the engine and all its threads. To be called in the module's `deinit`; on [`Status::Err`] the module must not
/// be unloaded, and the server's log says why.
pub fn unregister(ctx: &Context) -> Status {
    let log = Ctx::of(ctx);
    let refuse = |why: String| {
        log.log(c"warning", &format!("not unloaded: {why}"));
        Status::Err
    };
    let in_flight = state::engine_if_started().map_or(0, |engine| engine.stats().in_flight.load(Relaxed));
    if in_flight > 0 {
        return refuse(format!("{in_flight} requests are in flight; try again when they are done"));
    }
    let shares = flow::leaves::running();
    if shares > 0 {
        return refuse(format!("{shares} shares of flows of other nodes run here; try again when they are done"));
    }
    let executions = state::executions().list();
    let running: Vec<&str> =
        executions.iter().filter(|execution| !execution.has_ended()).map(|execution| execution.id()).collect();
    if let Some(first) = running.first() {
        let count = running.len();
        return refuse(format!("{count} executions run, {first} among them; RMR.JOB CANCEL ends them"));
    }
    python::expect_close();
    if let Err(why) = state::stop().and_then(|()| python::close()) {
        return refuse(why);
    }
    if main_thread::is_scheduled() || paced::is_scheduled() {
        return refuse("work for the main thread is outstanding; try again".into());
    }
    if let Err(why) = last_commands::close(log) {
        return refuse(why);
    }
    registry::close();
    proxy::leave(log);
    catalog::forget();
    for execution in executions {
        state::executions().forget(execution.id());
    }
    gears::close();
    events::close();
    main_thread::close();
    Status::Ok
}

/// Does everything that `librmr.so` does when it is loaded: settings, commands, `INFO rmr`, engine.
pub fn load(ctx: &Context, args: &[RedisString]) -> Status {
    let log = Ctx::of(ctx);
    let args: Vec<&[u8]> = args.iter().map(RedisString::as_slice).collect();
    let loaded = register(ctx, Setup::new().inner_command("RMR.INNER").heeding_pushdown())
        .map_err(|error| error.to_string())
        .and_then(|()| apply::register(log, &args))
        .and_then(|()| commands::register(log))
        .and_then(|()| gears::register(log))
        .and_then(|()| shared_api::export(log));
    match loaded {
        Ok(()) => {
            module_options::declare(log);
            info::register(log);
            let server = log.server_info(c"server", c"redis_version").unwrap_or_default();
            let mode = if log.flags().is_cluster() { "cluster" } else { "standalone" };
            log.log(c"notice", &format!("rmr {} on {server}, {mode}", env!("CARGO_PKG_VERSION")));
            Status::Ok
        }
        Err(why) => {
            log.log(c"warning", &format!("not loaded: {}", why));
            unregister(ctx);
            Status::Err
        }
    }
}

/// Sends each command to its shard, reduces the replies, and answers the client of `ctx`, now or later.
///
/// The commands are checked against the rights of the calling user. Always `Ok(RedisValue::NoReply)`: the reply, an
/// error too, goes to the client by itself.
///
/// ```no_run
/// use redis_module::{Context, RedisResult, RedisString};
/// use rmr::{Command, Replies, Step};
///
/// /// SUM key [key ...]
/// fn sum(ctx: &Context, args: Vec<RedisString>) -> RedisResult {
///     let gets = args[1..].iter().map(|key| Command::new("GET").key(key));
///     rmr::map(ctx, gets, |replies: Replies| Ok(Step::reply(replies.integers().sum::<i64>())))
/// }
/// ```
pub fn map(ctx: &Context, commands: impl IntoIterator<Item = Command>, reducer: impl Reducer) -> RedisResult {
    let commands: Vec<Command> = commands.into_iter().collect();
    serve(ctx, |request| request.map(commands).reduce(reducer))
}

/// Sends one command to every primary that holds data, reduces the replies, and answers the client of `ctx`.
pub fn fan_out(ctx: &Context, command: Command, reducer: impl Reducer) -> RedisResult {
    serve(ctx, |request| request.fan_out(command).reduce(reducer))
}

/// Runs any request of one or more steps, and answers the client of `ctx` with what it gives. All steps together have
/// one deadline: the default timeout, unless the request takes another with [`Request::timeout`]. A
/// [`Flow`](crate::flow::Flow) that is run on it has a time of its own.
///
/// ```no_run
/// use redis_module::{Context, RedisResult, RedisString};
/// use rmr::{Command, Reply};
///
/// /// BIGGEST: the number of keys of the biggest shard
/// fn biggest(ctx: &Context, _args: Vec<RedisString>) -> RedisResult {
///     rmr::run(ctx, |request| async move {
///         let sizes = request.fan_out(Command::new("DBSIZE")).await?;
///         Ok(Reply::from(sizes.integers().max()))
///     })
/// }
/// ```
pub fn run<F>(ctx: &Context, steps: impl FnOnce(Request) -> F) -> RedisResult
where
    F: Future<Output = Result<Reply, Error>> + Send + 'static,
{
    serve_as(ctx, caller::request_with_home, |request| Box::pin(steps(request.begin())))
}

fn serve(ctx: &Context, work: impl FnOnce(RequestBuilder) -> running::Work) -> RedisResult {
    serve_as(ctx, caller::request, work)
}

fn serve_as(
    ctx: &Context,
    prepare: fn(Ctx<'_>) -> Result<RequestBuilder, Error>,
    work: impl FnOnce(RequestBuilder) -> running::Work,
) -> RedisResult {
    let ctx = Ctx::of(ctx);
    match main_thread::enter(ctx, || prepare(ctx)) {
        Ok(request) => running::serve(ctx, work(request), GoesOn::OnRuntime, running::BlockedTime::Waits),
        Err(error) => ReplyWriter { to: ctx.reply_to(), is_resp3: false }.send(&Err(error)),
    }
    Ok(RedisValue::NoReply)
}

/// Hears that the event loop is about to sleep, or has slept.
fn on_event_loop(subevent: u64) {
    if subevent == raw::REDISMODULE_SUBEVENT_EVENTLOOP_BEFORE_SLEEP {
        // A panic is one of a request: those not handed over yet are dropped, which answers their clients.
        registry::sweep();
        end_round();
        paced::falls_asleep();
    } else {
        paced::wakes_up();
    }
}

/// Ends a round of the event loop: the server has taken all its commands and all its replies.
fn end_round() {
    /// Replies to no more requests than this are read by this thread.
    const FEW: usize = 4;
    if own_slots::waiting() > FEW {
        // Nothing that other nodes say about these requests comes before they wait again: the runtime would go on with them
        // while this thread does.
        own_slots::end_round();
    }
    running::end_round();
    // Requests for other nodes travel meanwhile.
    if own_slots::end_round() {
        running::end_round();
    }
}

/// Hears that the node's role has changed, or that slots have moved.
fn on_change(_: u64) {
    if let Some(engine) = state::engine_if_started() {
        engine.hint_change();
    }
    gears::role_has_changed();
}

/// Hears that a module has come or gone, and its commands with it.
fn on_module_change(gone: Option<&str>) {
    if let Some(gone) = gone {
        guests::registry::forget(gone);
    }
    main_thread::with_detached(catalog::learn_all);
    proxy::forget_commands();
}
