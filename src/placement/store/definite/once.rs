//! Commands by chance, and sums of a machine's own precision: the first copy runs them, the others get what came out.

use bytes::Bytes;

use super::made::{After, Definite, FollowUp, WriteCall};
use crate::command::Command;
use crate::reply::Reply;

/// The number of members that one `SREM` takes out.
const AT_ONCE: usize = 1000;

/// `SPOP key [count]`
pub(super) fn spop(_: &WriteCall<'_>, words: &[&[u8]], _: i64) -> Definite {
    let key = Bytes::copy_from_slice(words[1]);
    Definite::First(FollowUp::new(None, move |reply| {
        let one = std::slice::from_ref(reply);
        let members: Vec<&[u8]> = reply.elements().unwrap_or(one).iter().filter_map(Reply::bytes).collect();
        let remove = |members: &[&[u8]]| members.iter().fold(Command::new("SREM").arg(&key), Command::arg);
        After::by_others(members.chunks(AT_ONCE).map(remove).collect())
    }))
}

/// `INCRBYFLOAT key increment`: the server counts in the longest floating point numbers that its machine has.
pub(super) fn incrbyfloat(_: &WriteCall<'_>, words: &[&[u8]], _: i64) -> Definite {
    let key = Bytes::copy_from_slice(words[1]);
    Definite::First(FollowUp::new(None, move |reply| {
        let set = |sum| Command::new("SET").arg(&key).arg(sum).arg("KEEPTTL");
        After::by_others(reply.bytes().map(set).into_iter().collect())
    }))
}

/// Sets a field, and leaves it its expiry time. Servers before 7.4 know none, those before 8.0 take it away with `HSET`.
const SET_FIELD: &str = "local e=redis.pcall('HPEXPIRETIME',KEYS[1],'FIELDS',1,ARGV[1]) \
     redis.call('HSET',KEYS[1],ARGV[1],ARGV[2]) \
     if not e.err and e[1] and e[1]>0 then redis.call('HPEXPIREAT',KEYS[1],e[1],'FIELDS',1,ARGV[1]) end";

/// `HINCRBYFLOAT key field increment`
pub(super) fn hincrbyfloat(_: &WriteCall<'_>, words: &[&[u8]], _: i64) -> Definite {
    let [key, field] = [1, 2].map(|at| Bytes::copy_from_slice(words[at]));
    Definite::First(FollowUp::new(None, move |reply| {
        let set = |sum| Command::new("EVAL").arg(SET_FIELD).arg(1).arg(&key).arg(&field).arg(sum);
        After::by_others(reply.bytes().map(set).into_iter().collect())
    }))
}
