//! Names of keys in replies: a caller sees those that it may read, whatever way the command has taken.
//!
//! The [gate](super::gate) marks commands of a caller with fewer rights than all that show more keys than they name: `KEYS`,
//! `SCAN`, `RANDOMKEY`, `CLUSTER GETKEYSINSLOT`. Their replies are not reduced where they are: how many keys there are, or
//! which is the first, would say as much as their names.

use std::sync::Arc;

use bytes::Bytes;

use super::outcomes::{Gathered, Outcomes};
use super::replies::{Replies, ShardReply};
use super::request::Request;
use crate::combine::AnyCombine;
use crate::command::CommandSet;
use crate::error::Error;
use crate::reply::Reply;

/// Says of each unit of a step whether its reply names keys.
pub(super) struct HiddenKeys {
    are_in: Vec<bool>,
    /// There is one command, which is that of all of the units.
    is_one: bool,
    combine: Option<Arc<dyn AnyCombine>>,
    /// The commands of a map, by whose keys its reducer may go.
    keyed: Option<Arc<CommandSet>>,
}

impl HiddenKeys {
    /// Takes the reducer of a step away, if there are keys to be hidden from it first. A command by itself is that of all
    /// of the units.
    pub(super) fn of(commands: &CommandSet, combine: &mut Option<Arc<dyn AnyCombine>>) -> Option<Self> {
        if !commands.any_names_keys() {
            return None;
        }
        let are_in = commands.iter().map(|command| command.names_keys()).collect();
        Some(Self { are_in, is_one: commands.len() == 1, combine: combine.take(), keyed: None })
    }

    /// Says that the units are these commands, by whose keys they are reduced.
    pub(super) fn by_keys_of(self, commands: &Arc<CommandSet>) -> Self {
        Self { keyed: Some(commands.clone()), ..self }
    }

    /// Leaves them out of the replies, and then reduces these.
    pub(super) async fn leave_out(self, request: &Request, mut replies: Replies) -> Result<Gathered, Error> {
        let mut entries = Vec::with_capacity(replies.len());
        let missed = replies.take_missed();
        let are_in = self.are_in.into_iter().chain(std::iter::repeat(self.is_one));
        for (ShardReply { node, result }, are_in) in replies.into_iter().zip(are_in) {
            let result = match result {
                Ok(reply) if are_in => Ok(request.without_hidden_keys(reply).await?),
                other => other,
            };
            entries.push(ShardReply { node, result });
        }
        let mut outcomes = Outcomes::of(entries.len(), self.combine);
        if let Some(commands) = &self.keyed {
            outcomes = outcomes.by_keys_of(commands);
        }
        for (unit, entry) in entries.into_iter().enumerate() {
            outcomes.put(unit as u32, entry);
        }
        let mut gathered = outcomes.finish()?;
        gathered.0.set_missed(missed);
        Ok(gathered)
    }
}

impl Request {
    /// Returns those of the keys that the caller may read.
    pub(crate) async fn readable(&self, keys: Vec<Bytes>) -> Result<Vec<Bytes>, Error> {
        Ok(match self.may_read(keys.clone()).await? {
            Some(verdicts) => keys.into_iter().zip(verdicts).filter_map(|(key, may)| may.then_some(key)).collect(),
            None => keys,
        })
    }

    /// Returns a reply that names keys, without those that the caller may not read.
    pub(crate) async fn without_hidden_keys(&self, reply: Reply) -> Result<Reply, Error> {
        // Attributes may say anything of any key.
        let mut reply = if let Reply::Attributed { reply, .. } = reply { *reply } else { reply };
        if let Some(list) = list_of_keys(&mut reply) {
            let keys = list.iter().filter_map(Reply::bytes).map(Bytes::copy_from_slice).collect();
            *list = self.readable(keys).await?.into_iter().map(Reply::Bulk).collect();
            return Ok(reply);
        }
        let is_shown = match (&reply, reply.bytes()) {
            (Reply::Error(_), _) => true,
            (Reply::Map(_), _) => false,
            (_, Some(key)) => !self.readable(vec![Bytes::copy_from_slice(key)]).await?.is_empty(),
            (_, None) => true,
        };
        Ok(if is_shown { reply } else { Reply::Null })
    }
}

/// Finds the list in a reply: the reply itself, or what stands behind a cursor.
fn list_of_keys(reply: &mut Reply) -> Option<&mut Vec<Reply>> {
    let (Reply::Array(elements) | Reply::Set(elements)) = reply else { return None };
    if !matches!(elements[..], [_, Reply::Array(_)]) {
        return Some(elements);
    }
    match &mut elements[1] {
        Reply::Array(keys) => Some(keys),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::{Engine, Gate};
    use crate::topology::BoxFuture;

    /// Lets keys be read that begin with an `a`.
    struct OnlyA;

    impl Gate for OnlyA {
        fn admit(&self, commands: CommandSet) -> BoxFuture<'_, Result<CommandSet, Error>> {
            Box::pin(async { Ok(commands) })
        }

        fn may_read(&self, keys: Vec<Bytes>) -> BoxFuture<'_, Result<Option<Vec<bool>>, Error>> {
            Box::pin(async move { Ok(Some(keys.iter().map(|key| key.starts_with(b"a")).collect())) })
        }
    }

    fn list(words: &[&str]) -> Reply {
        words.iter().map(|word| Reply::from(*word)).collect::<Vec<_>>().into()
    }

    #[tokio::test]
    async fn keys_are_left_out_of_replies_of_any_form() {
        let request = Engine::builder().build().request().gate(Arc::new(OnlyA)).begin();
        let page = |keys| Reply::Array(vec!["17".into(), list(keys)]);
        for (reply, expected) in [
            (list(&["a1", "b", "a2"]), list(&["a1", "a2"])),
            (list(&["b", "a"]), list(&["a"])),
            (list(&[]), list(&[])),
            (page(&["b", "a"]), page(&["a"])),
            (Reply::Set(vec!["b".into()]), Reply::Set(Vec::new())),
            ("a".into(), "a".into()),
            ("b".into(), Reply::Null),
            (Reply::Null, Reply::Null),
            (Reply::Error(Bytes::from_static(b"ERR b")), Reply::Error(Bytes::from_static(b"ERR b"))),
            (Reply::Map(vec![("b".into(), 1.into())]), Reply::Null),
            (
                Reply::Attributed { attributes: vec![("b".into(), 1.into())], reply: Box::new(list(&["b", "a"])) },
                list(&["a"]),
            ),
        ] {
            assert_eq!(request.without_hidden_keys(reply.clone()).await.unwrap(), expected, "{reply:?}");
        }
    }
}
