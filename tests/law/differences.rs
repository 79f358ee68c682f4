//! The exceptions to the law, each with its reason: the documented differences between `RMR.EXEC` on a cluster and the same
//! command on a single server.

use std::collections::BTreeSet;

use crate::common::Server;

use super::forms::FORMS;
use super::generate::Argv;
use super::listed::Listed;
use super::reply::{Alike, Reply};

/// Some commands, and what is to be said of them.
pub struct Entry<T> {
    pub commands: &'static [&'static str],
    pub what: T,
    pub because: &'static str,
}

const fn entry<T>(commands: &'static [&'static str], what: T, because: &'static str) -> Entry<T> {
    Entry { commands, what, because }
}

/// The reason that holds for all commands with several keys.
pub const CROSS_SLOT: &str = "only a command whose keys lie in several slots, and that means something else when it is \
    done key by key, answers CROSSSLOT; MSET is split where NONATOMIC says that it may be, MSETEX only without a \
    condition on all of its keys";

/// Refused with the reason, whatever their arguments.
pub const REFUSED: &[Entry<()>] = &[
    entry(
        &[
            "asking",
            "auth",
            "hello",
            "quit",
            "readonly",
            "readwrite",
            "reset",
            "select",
            "client|caching",
            "client|capa",
            "client|import-source",
            "client|no-evict",
            "client|no-touch",
            "client|reply",
            "client|setinfo",
            "client|setname",
            "client|tracking",
            "script|debug",
        ],
        (),
        "they change the connection that they arrive on, and the connections between nodes are shared by all requests",
    ),
    entry(
        &["blmove", "blmpop", "blpop", "brpop", "brpoplpush", "bzmpop", "bzpopmax", "bzpopmin"],
        (),
        "they may block the connection that they arrive on, and the connections between nodes are shared by all requests",
    ),
    entry(&["discard", "exec", "multi", "unwatch", "watch"], (), "a transaction does not reach over several nodes"),
    entry(
        &[
            "monitor",
            "psubscribe",
            "psync",
            "punsubscribe",
            "replconf",
            "ssubscribe",
            "subscribe",
            "sunsubscribe",
            "sync",
            "unsubscribe",
        ],
        (),
        "they turn their connection into a stream; subscribe at any node directly",
    ),
    entry(&["wait", "waitaof"], (), "they count the writes of their own connection, and the caller's went other ways"),
    entry(
        &["debug", "module|load", "module|loadex", "module|unload", "shutdown"],
        (),
        "they stop, reload or endanger the server that serves the request",
    ),
    entry(
        &["acl|whoami", "client|getname", "client|getredir", "client|id", "client|info", "client|trackinginfo"],
        (),
        "they are about the connection that they arrive on, which would not be the caller's; send them without RMR.EXEC",
    ),
    entry(&["failover", "replicaof", "slaveof"], (), "they decide about one node, which has to be named"),
];

/// Refused with the reason where one of the arguments contains this, in any case.
pub const REFUSED_WITH: &[Entry<&str>] = &[
    entry(
        &["xread", "xreadgroup"],
        "BLOCK",
        "they may block the connection that they arrive on, and the connections between nodes are shared by all requests",
    ),
    entry(
        &["function|list"],
        "\r\n",
        "Redis 8 and Valkey 8 repeat the line break in their error, where it would pass for the end of the reply",
    ),
];

/// Not rewritten in proxy mode, besides what is refused otherwise.
pub const NOT_PROXIED: &[Entry<()>] =
    &[entry(&["restore-asking"], (), "nodes that move a slot say it to each other, and each answers for itself")];

/// The commands that rmr-proxy answers itself, besides those that are refused otherwise: its tests are in `tests/serve`.
pub const PROXYS_OWN: &[Entry<()>] = &[entry(
    &["client|*", "info", "ping", "echo"],
    (),
    "they are about the connection of a client, or about the server that it is connected to, which is the proxy",
)];

/// Never sent by the test.
pub const SKIPPED: &[Entry<()>] = &[
    entry(&["cluster|*", "clusterscan"], (), "they are about the cluster, and a single server has none"),
    entry(
        &["bgrewriteaof", "bgsave", "save"],
        (),
        "they write the file of one node, and whether another such write is still going on decides the reply",
    ),
    entry(&["pfselftest"], (), "it touches no data, and keeps a server busy for seconds"),
];

/// Replies that are compared in another way than the command's tips say.
pub const COMPARED: &[Entry<Alike>] = &[
    entry(
        &[
            "commandlog|get",
            "function|stats",
            "info",
            "latency|doctor",
            "latency|graph",
            "latency|histogram",
            "latency|history",
            "latency|latest",
            "memory|doctor",
            "memory|malloc-stats",
            "memory|stats",
            "slowlog|get",
        ],
        Alike::ByNode,
        "what is said of each node by itself cannot be merged: the reply is a map of node to the reply of that node",
    ),
    entry(
        &["expiretime", "pexpiretime", "hexpiretime", "hpexpiretime", "xinfo|stream"],
        Alike::InTime,
        "two servers that run a command after each other read different clocks",
    ),
    entry(
        &["acl|cat", "config|get"],
        Alike::InAnyOrder,
        "commands and settings are kept in a hash table, whose order is each server's own",
    ),
    entry(
        &["vsim"],
        Alike::InShape,
        "the search is approximate, and what is equally similar comes in an order that is made by chance",
    ),
    entry(&["command|count"], Alike::InShape, "the nodes of a cluster hide what is for each other from clients"),
    entry(&["vinfo"], Alike::InShape, "each server numbers its vector sets"),
    entry(&["memory|usage"], Alike::InShape, "memory is counted by each server's allocator"),
    entry(&["acl|genpass", "lolwut", "vlinks", "vrandmember"], Alike::InKind, "the reply is made by chance"),
    entry(&["function|dump"], Alike::InKind, "libraries are kept in a hash table, whose order is each server's own"),
];

/// The same, for commands with this argument only.
pub const COMPARED_WITH: &[Entry<(&str, Alike)>] = &[entry(
    &["sort", "sort_ro"],
    ("BY", Alike::InShape),
    "BY a pattern without * does not sort, and an unsorted set has an order of each server's own",
)];

/// Errors that a cluster gives where a single server would not.
pub const CLUSTER_ONLY: &[Entry<&str>] = &[
    entry(&["copy", "move", "swapdb"], " not allowed in cluster mode", "a cluster has one database"),
    entry(&["copy", "move"], "ERR DB index is out of range", "a cluster has one database"),
    entry(&["client|list", "client|kill"], "ERR DB number should be between 0 and 0", "a cluster has one database"),
    entry(
        &["sort", "sort_ro"],
        " option of SORT denied in ",
        "the keys that BY and GET make up may lie on other shards, so the servers refuse them in a cluster",
    ),
    entry(&["scan"], "ERR invalid cursor", "cursors are those that the cluster's SCAN gave, not any number"),
    entry(
        &["eval", "eval_ro"],
        "Script attempted to access a non local key",
        "a script runs on the shard of the keys that it declares, and reaches no others",
    ),
];

/// Errors that are not the same while a guard is set: what the cluster says begins with this, and the single server says the
/// guard's words.
const UNDER_A_GUARD: &[Entry<&str>] = &[
    entry(
        &["eval", "evalsha", "fcall", "fcall_ro"],
        "-MISCONF ",
        "in process it is the engine of scripts that refuses, in words of its own",
    ),
    entry(
        &["fcall_ro"],
        "-ERR Can not execute a script with write flag using *_ro",
        "what may not write is told so at once, in process",
    ),
    entry(&["ping"], "", "the servers refuse PING after a failed BGSAVE, to warn who watches them, but not in process"),
    entry(&["mset", "msetex"], "-ERR wrong number of arguments", "what is to be split is looked at before it is sent"),
];

/// Returns whether this answer of the cluster may differ from the single server's error while a guard is set.
pub fn may_differ_under_a_guard(command: &Listed, cluster: &Reply) -> bool {
    let shown = cluster.to_string();
    UNDER_A_GUARD.iter().any(|entry| entry.commands.contains(&&*command.name) && shown.starts_with(entry.what))
}

/// The commands that would lift a guard on one side only.
pub const LIFTS: [&str; 2] = ["client|unpause", "swapdb"];

/// The commands that the test keeps apart, since the answer would depend on the node.
pub const KEPT_APART: &[Entry<()>] = &[entry(
    &["evalsha", "evalsha_ro", "script|exists", "script|show"],
    (),
    "EVAL leaves its script behind on the one node where it ran; SCRIPT LOAD loads it everywhere",
)];

/// Commands that never succeed here.
pub const ONLY_ERRORS: &[Entry<()>] = &[
    entry(&["acl|load", "acl|save"], (), "the servers of the test have no ACL file"),
    entry(&["client|pause"], (), "the test gives it wrong arguments only: it would halt the servers"),
    entry(&["config|rewrite"], (), "the servers of the test have no configuration file"),
    entry(&["function|kill", "script|kill"], (), "no script is running at that time"),
    entry(&["latency|graph"], (), "nothing was slow"),
    entry(&["move", "swapdb"], (), "a cluster has one database"),
];

/// Commands that not all servers have, and who has them.
pub const NOT_EVERYWHERE: &[(&str, Since)] = &[
    ("client|capa", Since::Valkey),
    ("client|import-source", Since::Valkey),
    ("clusterscan", Since::Valkey),
    ("commandlog|get", Since::Valkey),
    ("client|no-touch", Since::Redis(7, 2)),
    ("client|setinfo", Since::Redis(7, 2)),
    ("hexpiretime", Since::Either(7, 4, 9)),
    ("hpexpiretime", Since::Either(7, 4, 9)),
    ("msetex", Since::Either(8, 4, 9)),
    ("script|show", Since::Valkey),
    ("vadd", Since::Redis(8, 0)),
    ("vcard", Since::Redis(8, 0)),
    ("vdim", Since::Redis(8, 0)),
    ("vemb", Since::Redis(8, 0)),
    ("vgetattr", Since::Redis(8, 0)),
    ("vinfo", Since::Redis(8, 0)),
    ("vismember", Since::Redis(8, 2)),
    ("vlinks", Since::Redis(8, 0)),
    ("vrandmember", Since::Redis(8, 0)),
    ("vrem", Since::Redis(8, 0)),
    ("vsetattr", Since::Redis(8, 0)),
    ("vsim", Since::Redis(8, 0)),
    ("waitaof", Since::Redis(7, 2)),
    ("xackdel", Since::Redis(8, 2)),
];

/// The servers that have a command.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Since {
    /// Redis from this version on, and what is compatible with that.
    Redis(u32, u32),
    Valkey,
    /// Redis from this version on, and Valkey from that.
    Either(u32, u32, u32),
}

impl Since {
    /// Returns whether this server has such commands.
    pub fn includes(self, server: &Server) -> bool {
        match self {
            Self::Redis(major, minor) => server.redis_version() >= (major, minor),
            Self::Valkey => valkey_version(server).is_some(),
            Self::Either(major, minor, valkey) => {
                server.redis_version() >= (major, minor) || valkey_version(server).is_some_and(|major| major >= valkey)
            }
        }
    }
}

/// Returns the first number of the version of Valkey; none for Redis.
fn valkey_version(server: &Server) -> Option<u32> {
    let info = server.run::<String>(&["INFO", "server"]);
    let version = info.lines().find_map(|line| line.strip_prefix("valkey_version:"))?;
    version.split('.').next()?.parse().ok()
}

/// Returns all names that the tables mention.
pub fn mentioned() -> BTreeSet<&'static str> {
    let plain = [REFUSED, ONLY_ERRORS, KEPT_APART].into_iter().flatten().flat_map(|entry| entry.commands);
    let plain = plain.chain(PROXYS_OWN.iter().flat_map(|entry| entry.commands));
    let plain = plain.chain(NOT_PROXIED.iter().flat_map(|entry| entry.commands));
    let plain = plain.chain(SKIPPED.iter().flat_map(|entry| entry.commands));
    let plain = plain.chain(REFUSED_WITH.iter().flat_map(|entry| entry.commands));
    let others = COMPARED.iter().flat_map(|entry| entry.commands);
    let others = others.chain(COMPARED_WITH.iter().flat_map(|entry| entry.commands));
    let errors = CLUSTER_ONLY.iter().chain(UNDER_A_GUARD).flat_map(|entry| entry.commands);
    plain.chain(others).chain(errors).copied().chain(FORMS.iter().map(|form| form.name)).collect()
}

/// Returns the entry of a command in a table.
pub fn find<T>(table: &'static [Entry<T>], name: &str) -> Option<&'static Entry<T>> {
    table.iter().find(|entry| entry.commands.iter().any(|listed| means(listed, name)))
}

/// Returns whether a name of the tables is that of a command; `cluster|*` is that of all its subcommands.
pub fn means(listed: &str, name: &str) -> bool {
    listed.strip_suffix('*').map_or(listed == name, |prefix| name.starts_with(prefix))
}

/// Returns whether the tables let a command be refused.
pub fn may_be_refused(command: &Listed, argv: &Argv) -> bool {
    let has = |what: &str| argv.iter().any(|arg| String::from_utf8_lossy(arg).to_uppercase().contains(what));
    find(REFUSED, &command.name).is_some() || find(REFUSED_WITH, &command.name).is_some_and(|entry| has(entry.what))
}

/// Returns whether a command is the node's own in proxy mode.
pub fn is_nodes_own(command: &Listed, argv: &Argv) -> bool {
    may_be_refused(command, argv) || find(NOT_PROXIED, &command.name).is_some()
}

/// Returns whether a command is answered by rmr-proxy itself, or makes something else of the connection to it.
pub fn is_proxys_own(command: &Listed, argv: &Argv) -> bool {
    may_be_refused(command, argv) || find(PROXYS_OWN, &command.name).is_some()
}

/// Returns how alike the replies to a command have to be: as the tables say, else as the server's own tips.
pub fn how_alike(command: &Listed, argv: &Argv) -> Alike {
    let with = find(COMPARED_WITH, &command.name).map(|entry| entry.what);
    if let Some((argument, how)) = with
        && argv.iter().any(|arg| arg.eq_ignore_ascii_case(argument.as_bytes()))
    {
        return how;
    }
    match find(COMPARED, &command.name) {
        Some(entry) => entry.what,
        None if command.has_tip("nondeterministic_output") => Alike::InShape,
        None if command.has_tip("nondeterministic_output_order") => Alike::InAnyOrder,
        None => Alike::Exactly,
    }
}
