//! The questions of a member to the configuration node, as scripts, and the answers as data.

use std::collections::BTreeMap;
use std::sync::LazyLock;

use crate::error::Error;
use crate::placement::config_node::{ConfigNode, ConfigScript};

use super::options::Settings;
use super::table::Holder;

const COMMON: &str = include_str!("common.lua");

static JOIN: LazyLock<ConfigScript> = LazyLock::new(|| ConfigScript::change(&[COMMON, include_str!("join.lua")]));
static RENEW: LazyLock<ConfigScript> = LazyLock::new(|| ConfigScript::look(&[COMMON, include_str!("renew.lua")]));
static READY: LazyLock<ConfigScript> = LazyLock::new(|| ConfigScript::change(&[COMMON, include_str!("ready.lua")]));
static RELEASE: LazyLock<ConfigScript> = LazyLock::new(|| ConfigScript::change(&[COMMON, include_str!("release.lua")]));
static LEAVE: LazyLock<ConfigScript> = LazyLock::new(|| ConfigScript::change(&[COMMON, include_str!("leave.lua")]));
static SYNC: LazyLock<ConfigScript> = LazyLock::new(|| ConfigScript::look(&[include_str!("sync.lua")]));

/// The answer to a request to be let in.
pub(super) enum Joined {
    As(u64),
    /// Somebody with this id is there, for at least so many milliseconds more.
    Taken(u64),
}

/// The answer to a member that says that it is still there.
pub(super) enum Renewed {
    Gone,
    /// The epoch, and in how many milliseconds the first key of a member runs out.
    Here {
        epoch: u64,
        soonest: u64,
    },
}

/// The answer to a change of one slot.
pub(super) enum Changed {
    /// The member that asks is none any more.
    Gone,
    /// The holders of the slot now, and the epoch of that.
    Done { epoch: u64, holders: Vec<Holder> },
    /// Too few others hold it.
    Refused { others: usize },
}

/// The entry of another member in the list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Standing {
    pub(super) incarnation: u64,
    pub(super) weight: u32,
    pub(super) is_leaving: bool,
    pub(super) zone: Option<String>,
}

/// The changes since the last look.
pub(super) struct News {
    pub(super) epoch: u64,
    /// Tells whether all slots are named that have holders.
    pub(super) is_all: bool,
    /// The members, if they may have changed.
    pub(super) members: Option<BTreeMap<String, Standing>>,
    pub(super) slots: Vec<(u16, Vec<Holder>)>,
}

pub(super) async fn join(node: &ConfigNode, settings: &Settings, nonce: &str) -> Result<Joined, Error> {
    let (limit, weight) = (settings.timeout_ms().to_string(), settings.weight.to_string());
    let zone = settings.zone.as_deref().unwrap_or_default();
    let mut args = vec![settings.id.as_str(), nonce, &limit, &weight, zone];
    let shared = settings.shared();
    args.extend(shared.iter().flat_map(|(name, value)| [*name, value.as_str()]));
    let answer: Vec<String> = node.run(&JOIN, &args).await?;
    match &words(&answer)[..] {
        ["joined", incarnation] => Ok(Joined::As(number(incarnation)?)),
        ["taken", left] => Ok(Joined::Taken(number(left)?)),
        ["differ", differ @ ..] => {
            let named = |words: &[&str]| format!("{} is {} there and {} here", words[0], words[1], words[2]);
            let differ: Vec<String> = differ.chunks_exact(3).map(named).collect();
            Err(Error::Invalid(format!("the settings of the other members differ: {}", differ.join(", "))))
        }
        _ => Err(unexpected(&answer)),
    }
}

pub(super) async fn renew(node: &ConfigNode, settings: &Settings, incarnation: u64) -> Result<Renewed, Error> {
    let (incarnation, limit) = (incarnation.to_string(), settings.timeout_ms().to_string());
    let answer: Vec<String> = node.run(&RENEW, &[&settings.id, &incarnation, &limit]).await?;
    match &words(&answer)[..] {
        ["gone", ..] => Ok(Renewed::Gone),
        ["here", epoch, soonest] => Ok(Renewed::Here { epoch: number(epoch)?, soonest: number(soonest)? }),
        _ => Err(unexpected(&answer)),
    }
}

pub(super) async fn ready(node: &ConfigNode, id: &str, incarnation: u64, slot: u16) -> Result<Changed, Error> {
    changed(&node.run::<Vec<String>>(&READY, &[id, &incarnation.to_string(), &slot.to_string()]).await?)
}

/// Gives a slot up if `wanted` others hold it; `what` is how the log calls that.
pub(super) async fn release(
    node: &ConfigNode,
    id: &str,
    incarnation: u64,
    slot: u16,
    what: &str,
    wanted: usize,
) -> Result<Changed, Error> {
    let (incarnation, slot, wanted) = (incarnation.to_string(), slot.to_string(), wanted.to_string());
    changed(&node.run::<Vec<String>>(&RELEASE, &[id, &incarnation, &slot, what, &wanted]).await?)
}

/// Says that a member will leave: others get its slots.
pub(super) async fn announce_leave(node: &ConfigNode, id: &str, incarnation: u64) -> Result<(), Error> {
    node.run::<Vec<String>>(&LEAVE, &[id, &incarnation.to_string(), "0", "announce"]).await.map(drop)
}

/// Leaves. Returns the slots that fewer than `wanted` others hold, and how many do.
pub(super) async fn leave(
    node: &ConfigNode,
    id: &str,
    incarnation: u64,
    wanted: usize,
) -> Result<Vec<(u16, usize)>, Error> {
    let answer: Vec<String> = node.run(&LEAVE, &[id, &incarnation.to_string(), &wanted.to_string(), "go"]).await?;
    let pairs = answer.get(1..).unwrap_or_default().chunks_exact(2);
    let mut short = pairs.map(|pair| Ok((number(&pair[0])?, number(&pair[1])?))).collect::<Result<Vec<_>, Error>>()?;
    short.sort_unstable();
    Ok(short)
}

/// Asks what has changed since an epoch, or for everything.
pub(super) async fn sync(node: &ConfigNode, since: Option<u64>) -> Result<News, Error> {
    let since = since.map_or_else(|| "-1".to_owned(), |epoch| epoch.to_string());
    let (epoch, kind, members, slots): (String, String, Vec<String>, Vec<String>) = node.run(&SYNC, &[&since]).await?;
    let is_all = kind == "all";
    let members = (is_all || kind == "members").then(|| {
        let pairs = members.chunks_exact(2);
        pairs.map(|pair| Ok((pair[0].clone(), listed(&pair[1])?))).collect::<Result<_, Error>>()
    });
    let slots = slots.chunks_exact(2).map(|pair| Ok((number(&pair[0])?, holders(&pair[1])?)));
    Ok(News {
        epoch: number(&epoch)?,
        is_all,
        members: members.transpose()?,
        slots: slots.collect::<Result<_, Error>>()?,
    })
}

fn changed(answer: &[String]) -> Result<Changed, Error> {
    match &words(answer)[..] {
        ["gone", ..] => Ok(Changed::Gone),
        ["refused", _, _, others] => Ok(Changed::Refused { others: number(others)? }),
        ["ready" | "released", epoch, text] => Ok(Changed::Done { epoch: number(epoch)?, holders: holders(text)? }),
        _ => Err(unexpected(answer)),
    }
}

/// Reads `id token id token`.
fn holders(text: &str) -> Result<Vec<Holder>, Error> {
    let words: Vec<&str> = text.split_whitespace().collect();
    words.chunks_exact(2).map(|pair| Ok(Holder { id: pair[0].into(), token: number(pair[1])? })).collect()
}

/// Reads `incarnation weight state nonce [zone]`.
fn listed(text: &str) -> Result<Standing, Error> {
    let words: Vec<&str> = text.split_whitespace().collect();
    let [incarnation, weight, state, _nonce, zone @ ..] = &words[..] else {
        return Err(unexpected(&[text.to_owned()]));
    };
    Ok(Standing {
        incarnation: number(incarnation)?,
        weight: number(weight)?,
        is_leaving: *state == "leaving",
        zone: zone.first().map(|&zone| zone.to_owned()),
    })
}

fn words(answer: &[String]) -> Vec<&str> {
    answer.iter().map(String::as_str).collect()
}

fn number<T: std::str::FromStr>(text: &str) -> Result<T, Error> {
    text.parse().map_err(|_| unexpected(&[text.to_owned()]))
}

fn unexpected(answer: &[String]) -> Error {
    Error::BadReply { node: "configuration node".into(), why: format!("keeps what cannot be read: {answer:?}") }
}
