//! The rows: what is special about which command. Nothing is looked up here.

/// A row of the table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Special {
    /// The name in lower case.
    pub(super) name: &'static str,
    /// The reason why connections that all requests share cannot carry the command.
    pub(super) not_shared: Option<&'static str>,
    /// The calls of the command that `not_shared` is about.
    pub(super) not_shared_when: When,
    /// The reason why the command has no meaning cluster-wide.
    pub(super) not_cluster_wide: Option<&'static str>,
    /// The command runs code that may call any other command.
    pub(crate) runs_code: bool,
    /// The command reaches clients of other nodes, as a write reaches their data. The server does not show its flag for
    /// that.
    pub(crate) publishes: bool,
    /// The command stops something that keeps a node or a client busy, and so must not wait behind it.
    pub(super) stops: bool,
    /// The command brings a key to a node that does not own it yet.
    pub(crate) moves_keys: bool,
    /// Its replies have names of keys that its arguments do not name.
    pub(crate) names_keys: bool,
    /// The command means the same key by key: nobody relies on several of its keys being handled at once.
    pub(crate) is_safe_to_split: bool,
    /// The handler that answers cluster-wide in place of the command itself.
    pub(crate) handler: Option<Handler>,
    /// The facts that proxy mode has to know about the command.
    pub(crate) in_proxy_mode: Option<InProxyMode>,
    /// The options with which it reads keys that its arguments do not name.
    pub(super) reads_by: &'static [&'static [u8]],
    /// The options that are followed by values, which may look like options, and by how many.
    pub(super) values: &'static [(&'static [u8], usize)],
}

/// The calls of a command that a row's refusal is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum When {
    Always,
    /// Calls with the option `BLOCK`. The words behind `STREAMS` are keys and ids, whatever they look like.
    WithBlock,
    /// Calls with a line break in an argument.
    WithLineBreak,
}

/// Answers a command cluster-wide that no single node can answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Handler {
    /// A cursor over the keys of all shards.
    Scan,
    /// Returns one of all keys.
    RandomKey,
}

/// The facts that proxy mode has to know about a command before it may rewrite it for the whole cluster.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum InProxyMode {
    /// Begins a transaction.
    BeginsTransaction,
    /// Only clients that know clusters send the command: they expect a redirect to be answered here.
    KnowsClusters,
    /// `CLUSTER`, with which clients may ask who has which slots.
    Cluster,
    /// Asks who has which slots. One that has said `RMR.PROXY ON` may be curious.
    AsksForSlots,
    /// `CLIENT`, which is about the connection that it comes by.
    Client,
    /// Asks to be told of changes of what was read; this node knows of its own keys only.
    TracksKeys,
    /// `CONFIG`: the settings of this module are this node's.
    Config,
    /// Changes who the client is.
    Identity,
    /// Makes a new client of it.
    Reset,
}

pub(super) const CONNECTION: &str = "it changes the state of its connection, which all requests share";
/// The reason why blocking commands are not carried.
pub(crate) const BLOCKING: &str = "it blocks its connection, which all requests share";
pub(super) const TRANSACTION: &str = "transactions do not reach over connections that all requests share";
pub(super) const STREAMING: &str = "it turns its connection into a stream";
const PROCESS: &str = "it stops, reloads or endangers the server that serves the request";
pub(super) const RECURSION: &str = "a distributed command cannot be the share of another";
const SPLITS_REPLIES: &str = "servers repeat its line breaks in an error, which would pass for the replies to others";
pub(super) const CLIENTS_OWN_WRITES: &str =
    "it counts the writes of its own connection, which has none of the caller's";
pub(super) const ONE_NODE: &str = "it decides about one node; name that with NODE";
pub(super) const ITS_NODE: &str = "it belongs to one node; name that with NODE";
const OWN_CONNECTION: &str = "it is about its own connection, which would be none of the caller's; send it as it is";
const BOUND: &str = "it is bound to its connection, which all requests share";

pub(super) const fn row(name: &'static str) -> Special {
    Special {
        name,
        not_shared: None,
        not_shared_when: When::Always,
        not_cluster_wide: None,
        runs_code: false,
        publishes: false,
        stops: false,
        moves_keys: false,
        names_keys: false,
        is_safe_to_split: false,
        handler: None,
        in_proxy_mode: None,
        reads_by: &[],
        values: &[],
    }
}

impl Special {
    const fn not_shared(self, reason: &'static str) -> Self {
        Self { not_shared: Some(reason), ..self }
    }

    const fn when(self, when: When) -> Self {
        Self { not_shared_when: when, ..self }
    }

    const fn not_cluster_wide(self, reason: &'static str) -> Self {
        Self { not_cluster_wide: Some(reason), ..self }
    }

    const fn runs_code(self) -> Self {
        Self { runs_code: true, ..self }
    }

    const fn publishes(self) -> Self {
        Self { publishes: true, ..self }
    }

    const fn stops(self) -> Self {
        Self { stops: true, ..self }
    }

    const fn safe_to_split(self) -> Self {
        Self { is_safe_to_split: true, ..self }
    }

    const fn names_keys(self) -> Self {
        Self { names_keys: true, ..self }
    }

    const fn answered_by(self, handler: Handler) -> Self {
        Self { handler: Some(handler), ..self }
    }

    const fn proxy(self, role: InProxyMode) -> Self {
        Self { in_proxy_mode: Some(role), ..self }
    }

    const fn reads_by(self, options: &'static [&'static [u8]]) -> Self {
        Self { reads_by: options, ..self }
    }

    const fn values(self, values: &'static [(&'static [u8], usize)]) -> Self {
        Self { values, ..self }
    }
}

#[rustfmt::skip]
pub(super) const TABLE: &[Special] = &[
    // The connection's state.
    row("auth").not_shared(CONNECTION).proxy(InProxyMode::Identity),
    row("hello").not_shared(CONNECTION).proxy(InProxyMode::Identity),
    row("reset").not_shared(CONNECTION).proxy(InProxyMode::Reset),
    row("quit").not_shared(CONNECTION),
    row("select").not_shared(CONNECTION),
    row("readonly").not_shared(CONNECTION).proxy(InProxyMode::KnowsClusters),
    row("readwrite").not_shared(CONNECTION),
    row("asking").not_shared(CONNECTION).proxy(InProxyMode::KnowsClusters),
    row("client").proxy(InProxyMode::Client),
    row("client|reply").not_shared(CONNECTION),
    row("client|tracking").not_shared(CONNECTION).proxy(InProxyMode::TracksKeys),
    row("client|caching").not_shared(CONNECTION),
    row("client|no-evict").not_shared(CONNECTION),
    row("client|no-touch").not_shared(CONNECTION),
    row("client|setname").not_shared(CONNECTION),
    row("client|setinfo").not_shared(CONNECTION),
    row("client|capa").not_shared(CONNECTION),
    row("client|import-source").not_shared(CONNECTION),
    row("client|getname").not_cluster_wide(OWN_CONNECTION),
    row("client|getredir").not_cluster_wide(OWN_CONNECTION),
    row("client|id").not_cluster_wide(OWN_CONNECTION),
    row("client|info").not_cluster_wide(OWN_CONNECTION),
    row("client|trackinginfo").not_cluster_wide(OWN_CONNECTION),
    row("acl|whoami").not_cluster_wide(OWN_CONNECTION),
    row("script|debug").not_shared(CONNECTION),
    // Commands that end scripts of others, or tell of them.
    row("script|kill").stops(),
    row("function|kill").stops(),
    row("function|stats").stops(),
    row("client|kill").stops(),
    row("client|unblock").stops(),
    row("client|unpause").stops(),
    // Transactions and streams.
    row("multi").not_shared(TRANSACTION).proxy(InProxyMode::BeginsTransaction),
    row("exec").not_shared(TRANSACTION),
    row("discard").not_shared(TRANSACTION),
    row("watch").not_shared(TRANSACTION),
    row("unwatch").not_shared(TRANSACTION),
    row("subscribe").not_shared(STREAMING),
    row("psubscribe").not_shared(STREAMING),
    row("ssubscribe").not_shared(STREAMING),
    row("unsubscribe").not_shared(STREAMING),
    row("punsubscribe").not_shared(STREAMING),
    row("sunsubscribe").not_shared(STREAMING),
    row("monitor").not_shared(STREAMING),
    row("sync").not_shared(STREAMING),
    row("psync").not_shared(STREAMING),
    row("replconf").not_shared(STREAMING),
    row("publish").publishes(),
    row("spublish").publishes(),
    // Blocking.
    row("blpop").not_shared(BLOCKING),
    row("brpop").not_shared(BLOCKING),
    row("brpoplpush").not_shared(BLOCKING),
    row("blmove").not_shared(BLOCKING),
    row("blmpop").not_shared(BLOCKING),
    row("bzpopmin").not_shared(BLOCKING),
    row("bzpopmax").not_shared(BLOCKING),
    row("bzmpop").not_shared(BLOCKING),
    row("xread").not_shared(BLOCKING).when(When::WithBlock).values(&[(b"COUNT", 1)]),
    row("xreadgroup").not_shared(BLOCKING).when(When::WithBlock).values(&[(b"GROUP", 2), (b"COUNT", 1), (b"CLAIM", 1)]),
    row("wait").not_shared(CLIENTS_OWN_WRITES).not_cluster_wide(CLIENTS_OWN_WRITES),
    row("waitaof").not_shared(CLIENTS_OWN_WRITES).not_cluster_wide(CLIENTS_OWN_WRITES),
    // The process, and one node's place among the others.
    row("shutdown").not_shared(PROCESS),
    row("debug").not_shared(PROCESS),
    row("module|load").not_shared(PROCESS),
    row("module|loadex").not_shared(PROCESS),
    row("module|unload").not_shared(PROCESS),
    row("replicaof").not_cluster_wide(ONE_NODE),
    row("slaveof").not_cluster_wide(ONE_NODE),
    row("failover").not_cluster_wide(ONE_NODE),
    row("cluster").proxy(InProxyMode::Cluster),
    row("cluster|slots").proxy(InProxyMode::AsksForSlots),
    row("cluster|shards").proxy(InProxyMode::AsksForSlots),
    row("cluster|nodes").proxy(InProxyMode::AsksForSlots),
    row("config").proxy(InProxyMode::Config),
    Special { moves_keys: true, ..row("migrate") },
    // Code.
    row("eval").runs_code(),
    row("eval_ro").runs_code(),
    row("evalsha").runs_code(),
    row("evalsha_ro").runs_code(),
    row("fcall").runs_code(),
    row("fcall_ro").runs_code(),
    // Redis 8 and Valkey 8 say "Unknown argument", and the argument as it came.
    row("function|list").not_shared(SPLITS_REPLIES).when(When::WithLineBreak),
    // Keys.
    row("scan").names_keys().answered_by(Handler::Scan),
    row("randomkey").names_keys().answered_by(Handler::RandomKey),
    row("keys").names_keys(),
    row("cluster|getkeysinslot").names_keys(),
    row("hotkeys|get").names_keys(),
    row("del").safe_to_split(),
    row("unlink").safe_to_split(),
    row("touch").safe_to_split(),
    row("sort").reads_by(&[b"BY", b"GET"]).values(&[(b"LIMIT", 2), (b"STORE", 1)]),
    row("sort_ro").reads_by(&[b"BY", b"GET"]).values(&[(b"LIMIT", 2)]),
];

/// Commands of these beginnings that have no meaning cluster-wide, all of them or those with a flag.
pub(super) const FAMILIES: &[(&str, Option<&str>, &str)] = &[
    ("cluster|", Some("admin"), ONE_NODE),
    ("hotkeys|", None, ITS_NODE),
    ("ft.cursor", None, ITS_NODE),
    ("himport|", None, BOUND),
];
