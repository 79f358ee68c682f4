//! Tells the keys of a slot's list that are still there: the list has keys that have expired and that nobody has asked for since.

use std::collections::{BTreeSet, HashSet};

use bytes::Bytes;

use super::replies::Replies;
use super::request::Request;
use super::slot_keys;
use crate::command::{Command, PerKey};
use crate::error::Error;
use crate::reply::Reply;
use crate::topology::key_slot;

/// The number of times that a key is looked at which is in its slot and seems not to be there.
const MOST_LOOKS: usize = 3;

/// Keys that are there.
#[derive(Debug, Default)]
pub(crate) struct LiveKeys {
    pub(crate) keys: Vec<Bytes>,
    /// The looks that have failed.
    pub(crate) failed: Replies,
    /// Slots that could not be read again, and why.
    pub(crate) missed: Vec<(usize, Error)>,
}

/// Returns those of the keys that are there, and of this type. The look reaps the ones that have expired, as that of a
/// server's own `SCAN` does.
///
/// A key whose slot has changed its direction on the move may seem to be nowhere. A key that was not seen is therefore looked
/// for in its slot again, which a key that has gone is not in, and is shown if that goes on.
///
/// # Errors
/// The first failure of a look; with `partial` it is among the results.
pub(crate) async fn live_keys(
    request: &Request,
    mut keys: Vec<Bytes>,
    type_name: Option<&[u8]>,
    partial: bool,
) -> Result<LiveKeys, Error> {
    let (mut live, mut failed) = (LiveKeys::default(), Vec::new());
    for _ in 0..MOST_LOOKS {
        if keys.is_empty() {
            break;
        }
        let types = request.map_keys(PerKey::new(Command::new("TYPE"), &keys).read_only(true));
        let mut unseen = Vec::new();
        for (key, found) in keys.into_iter().zip(types.partial(partial).await?) {
            match found.result.as_ref().map(Reply::bytes) {
                Err(_) => failed.push(found),
                Ok(Some(b"none")) => unseen.push(key),
                Ok(Some(found)) if type_name.is_none_or(|name| found.eq_ignore_ascii_case(name)) => live.keys.push(key),
                Ok(_) => {}
            }
        }
        keys = unseen;
        if !keys.is_empty() {
            let slots: BTreeSet<usize> = keys.iter().map(|key| usize::from(key_slot(key))).collect();
            let mut read = slot_keys::keys_in(request, slots, partial).await?;
            live.missed.append(&mut read.missed);
            let listed: HashSet<Bytes> = read.keys.into_iter().collect();
            keys.retain(|key| listed.contains(key));
        }
    }
    if type_name.is_none() {
        live.keys.append(&mut keys);
    }
    live.failed = failed.into_iter().collect();
    Ok(live)
}
