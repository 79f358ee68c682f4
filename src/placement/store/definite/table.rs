//! The rows: each write command of Redis 7.0 to 8.2 and Valkey 9.1, and how it is made definite. Nothing is done here.

use super::made::{CopyRefusal, Definite, WriteCall};
use super::{expiry, once, stored, streams};

/// The way in which a command is made definite.
#[derive(Clone, Copy)]
pub(super) enum Rule {
    /// Every copy runs it as it is, whatever its arguments are.
    Always,
    /// Copies do not run it.
    Refused(CopyRefusal),
    /// Waits until it has something to do, and is definite otherwise.
    Blocks,
    /// By its arguments.
    By(fn(&WriteCall<'_>, &[&[u8]], i64) -> Definite),
    /// May block, by its arguments.
    XReadGroup,
    /// May reach into another database.
    Copy,
    /// By the script, which is its first argument.
    Script,
    /// By the script, which its first argument names.
    ScriptByName,
}

pub(super) const DATABASES: CopyRefusal = "keys have copies in database 0 alone";
const AWAY: CopyRefusal = "it takes keys away to a server that is none of their copies; slots are moved by the handler";
const WHOLE: CopyRefusal = "nodes of a store are no nodes of a cluster";

/// Returns the rule of a command, or of a subcommand as in `xgroup|create`, in lower case; `None` if it is not known.
pub(super) fn rule(name: &str) -> Option<Rule> {
    Some(match name {
        // Strings.
        "append" | "bitfield" | "bitop" | "decr" | "decrby" | "delifeq" | "getdel" | "getset" | "incr" | "incrby"
        | "mset" | "msetnx" | "setbit" | "setnx" | "setrange" => Rule::Always,
        "set" => Rule::By(expiry::set),
        "setex" => Rule::By(expiry::setex),
        "psetex" => Rule::By(expiry::psetex),
        "getex" => Rule::By(expiry::getex),
        "msetex" => Rule::By(expiry::msetex),
        "incrbyfloat" => Rule::By(once::incrbyfloat),
        // Keys.
        "del" | "unlink" | "rename" | "renamenx" | "persist" | "expireat" | "pexpireat" => Rule::Always,
        "copy" => Rule::Copy,
        "expire" => Rule::By(expiry::expire),
        "pexpire" => Rule::By(expiry::pexpire),
        "restore" => Rule::By(expiry::restore),
        "restore-asking" => Rule::By(expiry::restore_asking),
        "sort" => Rule::By(stored::sort),
        "move" | "swapdb" => Rule::Refused(DATABASES),
        "migrate" => Rule::Refused(AWAY),
        // Lists.
        "linsert" | "lmove" | "lmpop" | "lpop" | "lpush" | "lpushx" | "lrem" | "lset" | "ltrim" | "rpop"
        | "rpoplpush" | "rpush" | "rpushx" => Rule::Always,
        "blmove" | "blmpop" | "blpop" | "brpop" | "brpoplpush" => Rule::Blocks,
        // Sets.
        "sadd" | "sdiffstore" | "sinterstore" | "smove" | "srem" | "sunionstore" => Rule::Always,
        "spop" => Rule::By(once::spop),
        // Sorted sets.
        "zadd" | "zdiffstore" | "zincrby" | "zmpop" | "zpopmax" | "zpopmin" | "zrangestore" | "zrem"
        | "zremrangebylex" | "zremrangebyrank" | "zremrangebyscore" => Rule::Always,
        "bzmpop" | "bzpopmax" | "bzpopmin" => Rule::Blocks,
        "zinterstore" | "zunionstore" => Rule::By(stored::sums),
        "geoadd" => Rule::Always,
        "georadius" | "georadiusbymember" | "geosearchstore" => Rule::By(stored::by_distance),
        // Hashes.
        "hdel" | "hexpireat" | "hgetdel" | "hincrby" | "hmset" | "hpersist" | "hpexpireat" | "hset" | "hsetnx" => {
            Rule::Always
        }
        "hexpire" => Rule::By(expiry::hexpire),
        "hpexpire" => Rule::By(expiry::hpexpire),
        "hgetex" => Rule::By(expiry::hgetex),
        "hsetex" => Rule::By(expiry::hsetex),
        "hincrbyfloat" => Rule::By(once::hincrbyfloat),
        // Streams.
        "xack"
        | "xackdel"
        | "xdel"
        | "xdelex"
        | "xgroup|create"
        | "xgroup|createconsumer"
        | "xgroup|delconsumer"
        | "xgroup|destroy"
        | "xgroup|setid"
        | "xsetid" => Rule::Always,
        "xadd" => Rule::By(streams::xadd),
        "xtrim" => Rule::By(streams::xtrim),
        "xclaim" => Rule::By(streams::xclaim),
        "xautoclaim" => Rule::By(streams::xautoclaim),
        "xreadgroup" => Rule::XReadGroup,
        // Sketches. Their bytes follow from their bytes and the arguments.
        "pfadd" | "pfdebug" | "pfmerge" => Rule::Always,
        // Code.
        "eval" => Rule::Script,
        "evalsha" => Rule::ScriptByName,
        // Commands without keys.
        "flushall" | "flushdb" | "function|delete" | "function|flush" | "function|load" | "function|restore" => {
            Rule::Always
        }
        "cluster|flushslot" => Rule::Refused(WHOLE),
        _ => return None,
    })
}

/// Commands that change nothing, and whose replies follow from the data alone: not from a clock, from chance, or from the
/// order in which a node happens to keep fields and members.
pub(super) fn reads_the_same_everywhere(name: &str) -> bool {
    matches!(
        name,
        "get"
            | "mget"
            | "strlen"
            | "getrange"
            | "substr"
            | "getbit"
            | "bitcount"
            | "bitpos"
            | "bitfield_ro"
            | "lcs"
            | "exists"
            | "type"
            | "expiretime"
            | "pexpiretime"
            | "hget"
            | "hmget"
            | "hexists"
            | "hlen"
            | "hstrlen"
            | "hexpiretime"
            | "hpexpiretime"
            | "llen"
            | "lindex"
            | "lrange"
            | "lpos"
            | "scard"
            | "sismember"
            | "smismember"
            | "sintercard"
            | "zscore"
            | "zmscore"
            | "zcard"
            | "zcount"
            | "zlexcount"
            | "zrank"
            | "zrevrank"
            | "zrange"
            | "zrevrange"
            | "zrangebyscore"
            | "zrevrangebyscore"
            | "zrangebylex"
            | "zrevrangebylex"
            | "zintercard"
            | "xlen"
            | "xrange"
            | "xrevrange"
    )
}
