//! The commands about functions that wait for events.

use super::cluster;
use super::command::{GearsCommand, argument, at_once, control};
use super::registry::asked::RegistryAsked;
use super::registry::live::{LiveRegistration, RegistrationState, StatsNow};
use super::registry::registration::{EventReader, Registration};
use super::registry::set::RegistrationSet;
use super::registry::{self, answers, distribution};
use super::replies::{error, flat, integer};
use crate::error::Error;
use crate::module::commands::spec::{Arg, ArgKind, Call};
use crate::module::request::running::Work;
use crate::reply::Reply;

const ID: Arg = Arg::new(c"id", ArgKind::String);
const ABORTPENDING: Arg = Arg::word(c"abortpending", c"ABORTPENDING").optional();

pub(super) const DUMPREGISTRATIONS: GearsCommand =
    control(c"RG.DUMPREGISTRATIONS", c"Lists the functions that wait for events.", 1, dump);

pub(super) const UNREGISTER: GearsCommand =
    control(c"RG.UNREGISTER", c"Removes a function that waits for events.", -2, unregister)
        .with_args(&[ID, ABORTPENDING]);

pub(super) const PAUSEREGISTRATIONS: GearsCommand =
    control(c"RG.PAUSEREGISTRATIONS", c"Has functions that read streams wait.", -2, pause)
        .with_args(&[ABORTPENDING, ID.multiple()]);

pub(super) const UNPAUSEREGISTRATIONS: GearsCommand =
    control(c"RG.UNPAUSEREGISTRATIONS", c"Has functions that read streams go on.", -2, unpause)
        .with_args(&[ID.multiple()]);

pub(super) const CLEARREGISTRATIONSSTATS: GearsCommand =
    control(c"RG.CLEARREGISTRATIONSSTATS", c"Begins to count anew what functions do.", 1, clear);

fn dump(_call: &Call<'_>) -> Result<Work, Error> {
    let live = registry::live();
    registry::with(|registry| {
        let set_of = |live: &LiveRegistration| {
            registry.sets().find(|set| set.session == live.registration.session).map(plan_data)
        };
        at_once(Reply::Array(live.iter().map(|live| element(live, set_of(live).unwrap_or_default())).collect()))
    })
}

fn element(live: &LiveRegistration, plan_data: String) -> Reply {
    let Registration { id, description, reader, .. } = &*live.registration;
    flat([
        ("id", id.as_str().into()),
        ("reader", reader.name().into()),
        ("desc", description.as_deref().map_or(Reply::Null, Reply::from)),
        ("RegistrationData", data(live)),
        ("PD", plan_data.as_str().into()),
        ("ExecutionThreadPool", "DefaultPool".into()),
    ])
}

/// Returns what has happened so far, and the arguments. Clients read it by position.
fn data(live: &LiveRegistration) -> Reply {
    let now = live.stats.now();
    let StatsNow { triggered, succeeded, failed, aborted, last, total, .. } = &now;
    let mut fields = vec![
        ("mode", live.registration.mode.word().into()),
        ("numTriggered", integer(*triggered)),
        ("numSuccess", integer(*succeeded)),
        ("numFailures", integer(*failed)),
        ("numAborted", integer(*aborted)),
        ("lastRunDurationMS", integer(last.as_millis())),
        ("totalRunDurationMS", integer(total.as_millis())),
        ("avgRunDurationMS", Reply::Double(now.average().as_secs_f64() * 1000.0)),
    ];
    if let EventReader::Stream(_) = live.registration.reader {
        let average = now.average_lag().as_secs_f64() * 1000.0;
        fields.extend([
            ("lastEstimatedLagMS", integer(now.last_lag.as_millis())),
            ("avgEstimatedLagMS", Reply::Double(average)),
        ]);
    }
    fields.push(("lastError", now.last_error.as_deref().map_or(Reply::Null, Reply::from)));
    fields.push(("args", arguments(&live.registration.reader)));
    if let EventReader::Stream(_) = live.registration.reader {
        fields.push(("status", status(live.state()).into()));
    }
    flat(fields)
}

fn arguments(reader: &EventReader) -> Reply {
    let bytes = |bytes: &[u8]| Reply::Bulk(bytes.to_vec().into());
    let texts = |texts: &Option<Vec<String>>| {
        let all = |all: &Vec<String>| Reply::Array(all.iter().map(|text| text.as_str().into()).collect());
        texts.as_ref().map_or(Reply::Null, all)
    };
    match reader {
        EventReader::Keys(wanted) => flat([
            ("regex", bytes(&wanted.prefix)),
            ("eventTypes", texts(&wanted.event_types)),
            ("keyTypes", texts(&wanted.key_types)),
            ("hookCommands", texts(&wanted.commands)),
        ]),
        EventReader::Stream(wanted) => flat([
            ("batchSize", integer(wanted.batch)),
            ("durationMS", integer(wanted.duration_ms)),
            ("stream", bytes(&wanted.prefix)),
            ("trimStream", Reply::Integer(wanted.trim.into())),
            ("onFailedPolicy", wanted.on_failed.word().into()),
            ("retryInterval", integer(wanted.retry_interval_s)),
        ]),
        EventReader::Command(wanted) => {
            let name = wanted.trigger.as_deref().or(wanted.hook.as_deref()).unwrap_or_default();
            flat([("trigger", name.into()), ("inorder", Reply::Integer(wanted.in_order.into()))])
        }
    }
}

fn status(state: RegistrationState) -> &'static str {
    match state {
        RegistrationState::Works => "OK",
        RegistrationState::Retries => "WAITING_FOR_RETRY_ON_FAILURE",
        RegistrationState::IsAborted => "ABORTED",
        RegistrationState::IsPaused => "PAUSED",
    }
}

/// Returns what clients read as a Python dictionary: of the session, its registrations and its requirements.
fn plan_data(set: &RegistrationSet) -> String {
    let list = |texts: &mut dyn Iterator<Item = String>| format!("[{}]", texts.collect::<Vec<_>>().join(", "));
    let registrations = list(&mut set.registrations.iter().map(|it| literal(&it.id)));
    let requirement = |name: &String| format!("{{'name': {0}, 'basePath': {0}, 'wheels': []}}", literal(name));
    let requirements = list(&mut set.requirements.iter().map(requirement));
    format!(
        "{{'sessionName': {}, 'sessionDescription': {}, 'refCount': {}, 'linkedTo': 'primary', 'dead': False, \
         'isInstallationNeeded': 0, 'registrationsList': {registrations}, 'depsList': {requirements}}}",
        literal(&set.session_id),
        literal(set.session_description.as_deref().unwrap_or("null")),
        set.registrations.len(),
    )
}

/// Returns a text as Python writes it.
fn literal(text: &str) -> String {
    let mut literal = String::from("'");
    for letter in text.chars() {
        match letter {
            '\'' | '\\' => literal.extend(['\\', letter]),
            letter if letter.is_control() => literal.push_str(&format!("\\u{:04x}", u32::from(letter))),
            letter => literal.push(letter),
        }
    }
    literal.push('\'');
    literal
}

fn unregister(call: &Call<'_>) -> Result<Work, Error> {
    let id = argument(call, 0);
    let aborts_pending = match call.args.get(1) {
        None => false,
        Some(word) if word.eq_ignore_ascii_case(b"ABORTPENDING") => true,
        Some(_) => return at_once(error("ERR the second argument may be ABORTPENDING only")),
    };
    let node = cluster::own_id(call.ctx);
    let Some(change) = registry::change_without(&id, &node) else {
        return at_once(error("execution is not registered"));
    };
    Ok(Box::pin(async move { Ok(answered(distribution::decide(change, None, aborts_pending).await)) }))
}

fn pause(call: &Call<'_>) -> Result<Work, Error> {
    let is_word = argument(call, 0).eq_ignore_ascii_case("ABORTPENDING");
    let ids: Vec<String> = (usize::from(is_word)..call.args.len()).map(|at| argument(call, at)).collect();
    if ids.is_empty() {
        return at_once(error("ERR no registration to pause"));
    }
    set_paused(ids, Paused::Yes { aborts_pending: is_word }, "pause")
}

fn unpause(call: &Call<'_>) -> Result<Work, Error> {
    let ids: Vec<String> = (0..call.args.len()).map(|at| argument(call, at)).collect();
    set_paused(ids, Paused::No, "unpause")
}

/// Says whether registrations are to wait.
#[derive(Clone, Copy)]
enum Paused {
    Yes { aborts_pending: bool },
    No,
}

fn set_paused(ids: Vec<String>, paused: Paused, word: &str) -> Result<Work, Error> {
    let refused = registry::with(|registry| {
        let refused = |id: &String| match registry.find(id).map(|live| &live.registration.reader) {
            None => Some(format!("ERR Execution {id} does not exists on shard")),
            Some(EventReader::Stream(_)) => None,
            Some(reader) => Some(format!("ERR Reader {} does not support {word}", reader.name())),
        };
        ids.iter().find_map(refused)
    });
    if let Some(why) = refused {
        return at_once(error(why));
    }
    let (is_paused, aborts_pending) = match paused {
        Paused::Yes { aborts_pending } => (true, aborts_pending),
        Paused::No => (false, false),
    };
    everywhere(RegistryAsked::SetPaused { ids, is_paused, aborts_pending })
}

fn clear(_call: &Call<'_>) -> Result<Work, Error> {
    everywhere(RegistryAsked::ClearStats)
}

/// Has something done here, and then on all other shards.
fn everywhere(asked: RegistryAsked) -> Result<Work, Error> {
    Ok(Box::pin(async move {
        if let Err(why) = answers::answer(asked.clone()).await {
            return Ok(error(why));
        }
        Ok(answered(distribution::tell_others(asked).await))
    }))
}

/// Returns the reply to a change: of several errors the first.
fn answered(changed: Result<(), Vec<String>>) -> Reply {
    changed.map_or_else(|why| error(why.first().map_or("", String::as_str)), |()| Reply::OK)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_are_literals_of_python() {
        assert_eq!(literal("a'b\\c\n"), "'a\\'b\\\\c\\u000a'");
    }
}
