//! The commands about Python: memory, sessions, profiles.

use futures_util::future::join_all;

use super::arguments::{self, ProfileAsked, SessionsAsked};
use super::command::{GearsCommand, at_once, control, said};
use super::sessions::ListedSession;
use super::{registry, replies, requirements, state};
use crate::error::Error;
use crate::module::commands::spec::{Arg, ArgKind, Call};
use crate::module::request::running::Work;
use crate::module::state as module_state;
use crate::python::frame::FrameKind;
use crate::python::marshal::Value;
use crate::python::{Worker, WorkerError};
use crate::reply::Reply;

const SESSION: Arg = Arg::new(c"session", ArgKind::String);

pub(super) const PYSTATS: GearsCommand =
    control(c"RG.PYSTATS", c"Shows the memory of this server's Python processes.", 1, stats);

pub(super) const PYDUMPSESSIONS: GearsCommand =
    control(c"RG.PYDUMPSESSIONS", c"Lists the sessions that scripts have made on this node.", -1, dump_sessions)
        .with_args(&[
            Arg::word(c"dead", c"DEAD").optional(),
            Arg::word(c"verbose", c"VERBOSE").optional(),
            SESSION.after(c"SESSIONS").optional().multiple(),
        ]);

pub(super) const PYPROFILE: GearsCommand =
    control(c"RG.PYPROFILE", c"Shows where the time of a session's functions goes.", -3, profile).with_args(&[
        Arg::one_of(c"subcommand", &[Arg::word(c"stats", c"STATS"), Arg::word(c"reset", c"RESET")]),
        SESSION,
        Arg::new(c"order", ArgKind::String).optional(),
    ]);

pub(super) const DUMPPLUGINS: GearsCommand =
    control(c"RG.DUMPPLUGINS", c"Lists the languages in which functions are written.", 1, dump_plugins);

pub(super) const PYEXECUTEREMOTE: GearsCommand =
    control(c"RG.PYEXECUTEREMOTE", c"Not supported any more; it says so.", -1, execute_remote);

pub(super) const PYFREEINTERPRETER: GearsCommand =
    control(c"RG.PYFREEINTERPRETER", c"Not supported any more; it says so.", -1, free_interpreter);

/// The version by which clients know this release of RedisGears.
const VERSION: i64 = 10213;

fn dump_plugins(_call: &Call<'_>) -> Result<Work, Error> {
    at_once(Reply::Array(vec![Reply::Array(vec!["GearsPythonPlugin".into(), VERSION.into()])]))
}

fn execute_remote(_call: &Call<'_>) -> Result<Work, Error> {
    at_once(replies::error("Execute remote is not longer supported"))
}

fn free_interpreter(_call: &Call<'_>) -> Result<Work, Error> {
    at_once(replies::error("Free interpreter is not longer supported"))
}

fn stats(_call: &Call<'_>) -> Result<Work, Error> {
    let workers = module_state::python_sessions()?.workers();
    Ok(Box::pin(async move {
        let (mut now, mut peak) = (0, 0);
        for (rss, highest) in join_all(workers.iter().map(|worker| memory(worker))).await.into_iter().flatten() {
            now += rss;
            peak += highest;
        }
        let fields = [("TotalAllocated", peak), ("PeakAllocated", peak), ("CurrAllocated", now)];
        Ok(replies::flat(fields.map(|(name, bytes)| (name, replies::integer(bytes)))))
    }))
}

/// Returns the memory of a process, now and at most; [`None`] for one that does not answer.
async fn memory(worker: &Worker) -> Option<(u64, u64)> {
    let answer = worker.ask(FrameKind::Stats, &Value::Tuple(vec![]), &[]).await.ok()?;
    Some((answer.head.get("rss")?.as_count()?, answer.head.get("peak")?.as_count()?))
}

fn dump_sessions(call: &Call<'_>) -> Result<Work, Error> {
    said(arguments::sessions_asked(&call.args).map(|asked| sessions(&asked, &state::sessions().list())))
}

/// Returns the sessions that are asked for, element by element.
fn sessions(asked: &SessionsAsked, all: &[ListedSession]) -> Reply {
    let fitting = || all.iter().filter(|session| session.is_dead == asked.dead);
    let named = |id: &String| {
        let found = fitting().find(|session| session.facts.id == *id);
        let unknown = || format!("Session {id} does not exists").into();
        found.map_or_else(unknown, |found| session(found, asked.verbose, all))
    };
    Reply::Array(match &asked.only {
        None => fitting().map(|fitting| session(fitting, asked.verbose, all)).collect(),
        Some(ids) => ids.iter().map(named).collect(),
    })
}

/// Returns a session; with `is_verbose` its requirements have all that `RG.PYDUMPREQS` says of them.
fn session(session: &ListedSession, is_verbose: bool, all: &[ListedSession]) -> Reply {
    let references = |name: &String| all.iter().filter(|other| other.facts.requirements.contains(name)).count();
    let requirement = |name: &String| match is_verbose {
        true => requirements::entry(name, references(name)),
        false => name.as_str().into(),
    };
    let requirements = session.facts.requirements.iter().map(requirement).collect();
    let registrations = registry::of_session(&session.facts.name).iter().map(|id| id.as_str().into()).collect();
    let (linked, dead) = if session.is_dead { ("None", "true") } else { ("primary", "false") };
    replies::flat([
        ("ID", session.facts.id.as_str().into()),
        ("sessionDescription", session.facts.description.as_deref().map_or(Reply::Null, Reply::from)),
        ("refCount", replies::integer(session.references)),
        ("linked", linked.into()),
        ("dead", dead.into()),
        ("requirementInstallationNeeded", Reply::Integer(0)),
        ("requirements", Reply::Array(requirements)),
        ("registrations", Reply::Array(registrations)),
    ])
}

fn profile(call: &Call<'_>) -> Result<Work, Error> {
    let asked = match arguments::profile_asked(&call.args) {
        Ok(asked) => asked,
        Err(why) => return said(Err(why)),
    };
    let (what, id, order) = match asked {
        ProfileAsked::Stats { session, order } => ("stats", session, Some(order)),
        ProfileAsked::Reset { session } => ("reset", session, None),
    };
    let listed = state::sessions().list();
    let name = listed.iter().find(|session| session.facts.id == id).map(|session| session.facts.name.clone());
    let sessions = module_state::python_sessions()?.list();
    let worker = name.and_then(|name| sessions.into_iter().find(|session| session.id == name));
    let Some(worker) = worker else { return said(Err("session does not exists".into())) };
    let is_reset = order.is_none();
    let head = [what.into(), worker.id.as_str().into()].into_iter().chain(order.as_deref().map(Value::from));
    let head = Value::Tuple(head.collect());
    Ok(Box::pin(async move {
        Ok(match worker.worker.ask(FrameKind::Profile, &head, &[]).await {
            Ok(_) if is_reset => Reply::OK,
            Ok(answer) => answer.head.as_text().unwrap_or_default().into(),
            Err(WorkerError::Failed { text, .. } | WorkerError::Gone(text)) => replies::error(text),
        })
    }))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::module::gears::sessions::SessionFacts;

    fn listed(id: &str, is_dead: bool) -> ListedSession {
        let requirements = vec!["redis==3".to_owned()];
        let facts = SessionFacts { id: id.into(), name: format!("{id}:1"), description: None, requirements };
        ListedSession { facts: Arc::new(facts), references: 2, is_dead }
    }

    fn shown(asked: &SessionsAsked) -> String {
        let mut bytes = Vec::new();
        sessions(asked, &[listed("a", false), listed("b", true)]).write_to(&mut bytes);
        String::from_utf8_lossy(&bytes).replace("\r\n", " ").trim_end().to_owned()
    }

    #[test]
    fn sessions_are_shown_element_by_element() {
        let asked = SessionsAsked { dead: false, verbose: false, only: None };
        assert_eq!(
            shown(&asked),
            "*1 *16 $2 ID $1 a $18 sessionDescription _ $8 refCount :2 $6 linked $7 primary $4 dead $5 false \
             $29 requirementInstallationNeeded :0 $12 requirements *1 $8 redis==3 $13 registrations *0"
        );
        let dead = shown(&SessionsAsked { dead: true, ..asked });
        assert!(dead.starts_with("*1 *16 $2 ID $1 b") && dead.contains("$6 linked $4 None $4 dead $4 true"), "{dead}");
        let verbose = shown(&SessionsAsked { dead: false, verbose: true, only: None });
        assert!(verbose.contains("$12 requirements *1 *18 $14 GearReqVersion :2 $4 Name $8 redis==3"), "{verbose}");
        let only = Some(vec!["b".to_owned(), "a".into()]);
        let named = shown(&SessionsAsked { dead: false, verbose: false, only });
        assert!(named.starts_with("*2 $25 Session b does not exists *16 $2 ID $1 a"), "{named}");
    }
}
