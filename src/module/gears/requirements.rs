//! The packages that scripts require: made sure of on all shards before a script runs, listed, and handed from one server to
//! another that has no network.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use bytes::Bytes;

use super::arguments::text;
use super::asking::{self, GearsAsked};
use super::caller::GearsCaller;
use super::carried::{CarriedRequirements, compiled_os};
use super::command::{GearsCommand, argument, control, said};
use super::{replies, state};
use crate::engine::RequestBuilder;
use crate::error::Error;
use crate::module::commands::spec::{Arg, ArgKind, Call};
use crate::module::inquiry::AskingUser;
use crate::module::request::running::Work;
use crate::module::{config, state as module_state};
use crate::python::{ListedPackages, NOT_INSTALLED, PackageFolder, Sessions, digest_of};
use crate::reply::Reply;
use crate::topology::Node;

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
) -> Result<Option<Arc<PackageFolder>>, Error> {
    if requirements.is_empty() {
        return Ok(None);
    }
    let here = sessions.requirements();
    let names: BTreeSet<String> = requirements.iter().cloned().collect();
    let user = AskingUser::named(caller.caller.clone());
    let missing = here.missing(requirements).await?;
    if missing.is_empty() {
        let carried = CarriedRequirements::new(names.clone(), &[], again);
        let others = asking::others(&caller.requests).await?;
        match on_nodes(&others, carried, caller.requests.clone(), &user).await? {
            Ok(carried) => return carried.keep().await,
            // Another one lacks it: then all are to have the same.
            Err(why) if why == NOT_INSTALLED.as_bytes() => {}
            Err(why) => return Err(Error::Refused(text(&why))),
        }
    }
    let (names, wheels) = match here.kept(&names).filter(|_| !again) {
        Some(kept) => kept,
        None => {
            let links = config::python_wheels();
            let fetched = here.fetch(requirements, Some(&*links).filter(|links| !links.is_empty())).await;
            // Without a network those will do that were imported one by one.
            let apart = || here.kept_apart(&missing).filter(|_| !missing.is_empty());
            (names, fetched.or_else(|error| apart().ok_or(error))?)
        }
    };
    let mut lacking = asking::others(&caller.requests).await?;
    if !again {
        let has = GearsAsked::HasPackages { names: names.clone(), digest: digest_of(&wheels) };
        let answers = asking::ask_nodes(&lacking, &has, caller.requests.clone(), &user).await?;
        let mut answers = answers.into_iter();
        lacking.retain(|_| !matches!(answers.next(), Some(Ok(Reply::Integer(1)))));
    }
    let carried = CarriedRequirements::new(names.clone(), if lacking.is_empty() { &[] } else { &wheels }, again);
    let sent = on_nodes(&lacking, carried, caller.requests.clone(), &user).await?;
    sent.map_err(|_| Error::Refused(NOT_INSTALLED.into()))?;
    here.keep(names, wheels, again).await
}

/// Makes nodes have requirements, and returns these; or what the first one says that refuses.
async fn on_nodes(
    nodes: &[Arc<Node>],
    carried: CarriedRequirements,
    requests: RequestBuilder,
    user: &AskingUser,
) -> Result<Result<CarriedRequirements, Bytes>, Error> {
    let asked = GearsAsked::Require(carried);
    for answer in asking::ask_nodes(nodes, &asked, requests, user).await? {
        if let Reply::Error(why) = answer? {
            return Ok(Err(why));
        }
    }
    let GearsAsked::Require(carried) = asked else { unreachable!("it was made above") };
    Ok(Ok(carried))
}

/// Lists the requirements that this server has, with the packages that are kept for each: those of the set that was
/// used last.
fn known() -> Result<BTreeMap<String, ListedPackages>, Error> {
    let sets = module_state::python_sessions()?.requirements().list();
    let of_each = |set: ListedPackages| set.names.clone().into_iter().map(move |name| (name, set.clone()));
    Ok(sets.into_iter().flat_map(of_each).collect())
}

fn dump(_call: &Call<'_>) -> Result<Work, Error> {
    let sessions = state::sessions().list();
    let references =
        |name: &String| sessions.iter().filter(|session| session.facts.requirements.contains(name)).count();
    let entries = known()?.iter().map(|(name, known)| shown(name, known, references(name))).collect();
    said(Ok(Reply::Array(entries)))
}

/// Returns the entry of a requirement that so many sessions have.
pub(super) fn entry(name: &str, references: usize) -> Reply {
    let known = known().ok().and_then(|mut known| known.remove(name));
    shown(name, &known.unwrap_or_default(), references)
}

fn shown(name: &str, known: &ListedPackages, references: usize) -> Reply {
    let wheels = known.wheels.iter().map(|wheel| wheel.as_str().into()).collect();
    replies::flat([
        ("GearReqVersion", Reply::Integer(2)),
        ("Name", name.into()),
        ("IsDownloaded", "yes".into()),
        ("IsInstalled", "yes".into()),
        ("CompiledOs", compiled_os().into()),
        ("Wheels", Reply::Array(wheels)),
        ("Path", known.path.as_str().into()),
        ("RefCount", replies::integer(references)),
        ("IsInReqDictionary", "yes".into()),
    ])
}

/// The error in the words of RedisGears.
const NOT_IMPORTED: &str = "Failed install requirement on shard, check shard log for more info.";

/// The longest piece that an export is cut into.
const LONGEST_CHUNK: usize = 10 << 20;

fn export(call: &Call<'_>) -> Result<Work, Error> {
    let name = argument(call, 0);
    let Some(known) = known()?.remove(&name) else { return said(Err("requirement does not exists".into())) };
    let alone = BTreeSet::from([name.clone()]);
    let (of, wheels) =
        module_state::python_sessions()?.requirements().kept(&alone).unwrap_or_else(|| (alone, Vec::new()));
    let bytes = CarriedRequirements::new(of, &wheels, false).to_export()?;
    let chunks = bytes.chunks(LONGEST_CHUNK).map(|chunk| Reply::Bulk(chunk.to_vec().into())).collect();
    said(Ok(Reply::Array(vec![shown(&name, &known, 0), Reply::Array(chunks)])))
}

fn import(call: &Call<'_>) -> Result<Work, Error> {
    let carried = match CarriedRequirements::from_export(&call.args.concat()) {
        Ok(carried) => carried,
        Err(why) => return said(Err(why)),
    };
    let caller = GearsCaller::of(call.ctx)?;
    let user = AskingUser::of(call.ctx);
    Ok(Box::pin(async move {
        let others = asking::others(&caller.requests).await?;
        let sent = on_nodes(&others, carried, caller.requests.clone(), &user).await?;
        let Ok(carried) = sent else { return Ok(replies::error(NOT_IMPORTED)) };
        Ok(match carried.keep().await {
            Ok(_) => "OK".into(),
            Err(Error::Refused(why)) if why == NOT_INSTALLED => replies::error(NOT_IMPORTED),
            Err(error) => replies::error(error.to_string()),
        })
    }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::flow::messages;
    use crate::python::Wheel;

    #[test]
    fn requirements_are_shown_element_by_element_and_travel() {
        let known = ListedPackages {
            names: BTreeSet::from(["redis==3".to_owned()]),
            wheels: vec!["redis-3.whl".into()],
            path: "/packages/1".into(),
        };
        let Reply::Array(fields) = shown("redis==3", &known, 1) else { panic!("no array") };
        assert_eq!((fields.len(), &fields[3]), (18, &Reply::from("redis==3")));
        assert_eq!(fields[11], Reply::Array(vec!["redis-3.whl".into()]));
        assert_eq!(fields[13], Reply::from("/packages/1"));
        let wheel = Wheel { name: "a.whl".into(), data: "bytes".into() };
        let carried = CarriedRequirements::new(BTreeSet::from(["a".to_owned()]), &[wheel], true);
        let wire = messages::encode(&carried).unwrap();
        assert_eq!(messages::decode::<CarriedRequirements>(&wire).unwrap(), carried);
        assert!(messages::decode::<CarriedRequirements>(b"nonsense").is_err());
    }
}
