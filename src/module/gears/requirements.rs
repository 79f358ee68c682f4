//! The packages that scripts require: made sure of on all shards before a script runs, listed, and handed from one server to
//! another that has no network.

use std::collections::BTreeSet;
use std::sync::Arc;

use bytes::Bytes;

use super::arguments::text;
use super::caller::GearsCaller;
use super::carried::{CarriedRequirements, KnownRequirement, known};
use super::command::{GearsCommand, argument, control, said};
use super::questions::{self, GearsAsked};
use super::{replies, state};
use crate::engine::RequestBuilder;
use crate::error::Error;
use crate::flow::messages;
use crate::module::commands::spec::{Arg, ArgKind, Call};
use crate::module::inquiry::AskingUser;
use crate::module::request::running::Work;
use crate::module::{config, state as module_state};
use crate::python::{NOT_INSTALLED, Sessions, digest_of};
use crate::reply::Reply;

pub(super) const PYDUMPREQS: GearsCommand =
    control(c"RG.PYDUMPREQS", c"Lists the packages that scripts require.", 1, dump);

pub(super) const PYEXPORTREQ: GearsCommand =
    control(c"RG.PYEXPORTREQ", c"Returns the packages of a requirement, for RG.PYIMPORTREQ.", 2, export)
        .with_args(&[Arg::new(c"requirement", ArgKind::String)]);

pub(super) const PYIMPORTREQ: GearsCommand =
    control(c"RG.PYIMPORTREQ", c"Takes packages that another server has exported.", -2, import).with_args(&[Arg::new(
        c"chunk",
        ArgKind::String,
    )
    .multiple()]);

/// Makes sure that all shards have what a script requires; returns the folder that its workers are to look into.
///
/// # Errors
/// The error as the client gets it.
pub(super) async fn ensure(
    requirements: &[String],
    again: bool,
    caller: &GearsCaller,
    sessions: &Arc<Sessions>,
) -> Result<Option<String>, Error> {
    if requirements.is_empty() {
        return Ok(None);
    }
    let here = sessions.requirements();
    let names: BTreeSet<String> = requirements.iter().cloned().collect();
    if again {
        here.forget(&names);
    }
    let missing = here.missing(requirements).await?;
    let (names, wheels) = match (missing.is_empty(), here.kept(&names)) {
        (true, _) => (names, Vec::new()),
        (false, Some(kept)) => kept,
        (false, None) => {
            let links = config::python_wheels();
            let fetched = here.fetch(&missing, Some(&*links).filter(|links| !links.is_empty())).await;
            // Without a network those will do that were imported one by one.
            let wheels = fetched.or_else(|error| here.kept_apart(&missing).ok_or(error))?;
            (names, wheels)
        }
    };
    let user = AskingUser::named(caller.caller.clone());
    // Without packages there is nothing to be spared.
    let do_all_have = !wheels.is_empty() && {
        let has = GearsAsked::HasPackages { names: names.clone(), digest: digest_of(&wheels) };
        let have = questions::ask_others(&has, caller.requests.clone(), &user).await?;
        have.into_iter().all(|answer| matches!(answer, Ok(Reply::Integer(1))))
    };
    let carried = CarriedRequirements::new(names, wheels);
    let carried = if do_all_have { Ok(carried) } else { on_others(carried, caller.requests.clone(), &user).await? };
    carried.map_err(|_| Error::Refused(NOT_INSTALLED.into()))?.keep().await?;
    here.folder(requirements).await
}

/// Makes all other primaries have requirements, and returns these; or what the first one says that refuses.
async fn on_others(
    carried: CarriedRequirements,
    requests: RequestBuilder,
    user: &AskingUser,
) -> Result<Result<CarriedRequirements, Bytes>, Error> {
    let asked = GearsAsked::Require(carried);
    for answer in questions::ask_others(&asked, requests, user).await? {
        if let Reply::Error(why) = answer? {
            return Ok(Err(why));
        }
    }
    let GearsAsked::Require(carried) = asked else { unreachable!("it was made above") };
    Ok(Ok(carried))
}

fn dump(_call: &Call<'_>) -> Result<Work, Error> {
    let sessions = state::sessions().list();
    let references =
        |name: &String| sessions.iter().filter(|session| session.facts.requirements.contains(name)).count();
    let entries = known().iter().map(|(name, known)| shown(name, known, references(name))).collect();
    said(Ok(Reply::Array(entries)))
}

/// Returns the entry of a requirement that so many sessions have.
pub(super) fn entry(name: &str, references: usize) -> Reply {
    let known = known().get(name).cloned();
    shown(name, &known.unwrap_or_default(), references)
}

fn shown(name: &str, known: &KnownRequirement, references: usize) -> Reply {
    let wheels = known.wheels.iter().map(|wheel| wheel.as_str().into()).collect();
    replies::flat([
        ("GearReqVersion", Reply::Integer(2)),
        ("Name", name.into()),
        ("IsDownloaded", "yes".into()),
        ("IsInstalled", "yes".into()),
        ("CompiledOs", format!("{}-{}", std::env::consts::OS, std::env::consts::ARCH).into()),
        ("Wheels", Reply::Array(wheels)),
        ("Path", known.path.as_str().into()),
        ("RefCount", replies::integer(references)),
        ("IsInReqDictionary", "yes".into()),
    ])
}

/// The longest piece that an export is cut into.
const LONGEST_CHUNK: usize = 10 << 20;

fn export(call: &Call<'_>) -> Result<Work, Error> {
    let name = argument(call, 0);
    let Some(known) = known().get(&name).cloned() else { return said(Err("requirement does not exists".into())) };
    let alone = BTreeSet::from([name.clone()]);
    let (of, wheels) =
        module_state::python_sessions()?.requirements().kept(&alone).unwrap_or_else(|| (alone, Vec::new()));
    let bytes = messages::encode(&CarriedRequirements::new(of, wheels))?;
    let chunks = bytes.chunks(LONGEST_CHUNK).map(|chunk| Reply::Bulk(chunk.to_vec().into())).collect();
    said(Ok(Reply::Array(vec![shown(&name, &known, 0), Reply::Array(chunks)])))
}

fn import(call: &Call<'_>) -> Result<Work, Error> {
    let Ok(carried) = messages::decode::<CarriedRequirements>(&call.args.concat()) else {
        return said(Err("Bad serialization format on reading requirement name".into()));
    };
    let caller = GearsCaller::of(call.ctx)?;
    let user = AskingUser::of(call.ctx);
    Ok(Box::pin(async move {
        let carried = match on_others(carried, caller.requests.clone(), &user).await? {
            Ok(carried) => carried,
            Err(why) => return Ok(replies::error(text(&why))),
        };
        Ok(match carried.keep().await {
            Ok(()) => "OK".into(),
            Err(error) => replies::error(error.to_string()),
        })
    }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::python::Wheel;

    #[test]
    fn requirements_are_shown_element_by_element_and_travel() {
        let known = KnownRequirement { wheels: vec!["redis-3.whl".into()], path: "/packages/1".into() };
        let Reply::Array(fields) = shown("redis==3", &known, 1) else { panic!("no array") };
        assert_eq!((fields.len(), &fields[3]), (18, &Reply::from("redis==3")));
        assert_eq!(fields[11], Reply::Array(vec!["redis-3.whl".into()]));
        assert_eq!(fields[13], Reply::from("/packages/1"));
        let wheel = Wheel { name: "a.whl".into(), data: "bytes".into() };
        let carried = CarriedRequirements::new(BTreeSet::from(["a".to_owned()]), vec![wheel]);
        let wire = messages::encode(&carried).unwrap();
        assert_eq!(messages::decode::<CarriedRequirements>(&wire).unwrap(), carried);
        assert!(messages::decode::<CarriedRequirements>(b"nonsense").is_err());
    }
}
