//! The table of commands that are unlike the others in a way that the server does not say, or that matters before it is
//! asked.
//!
//! A row stands for a command, or for a subcommand by its full name (`client|reply`), and has a column for each thing that
//! is special. Whoever treats a command differently asks this table: the engine (what must not go over connections that
//! all requests share), `RMR.EXEC` (what has no meaning cluster-wide), proxy mode and the checks of rights.

use super::Description;
use crate::command::{Command, CommandRef};

/// One row of the table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Special {
    /// In lower case.
    name: &'static str,
    /// Why connections that all requests share cannot carry it.
    not_shared: Option<&'static str>,
    /// Which calls of the command that is said about.
    not_shared_when: When,
    /// Why it has no meaning cluster-wide.
    not_cluster_wide: Option<&'static str>,
    /// It runs code that may call any other command.
    pub(crate) runs_code: bool,
    /// It reaches clients of other nodes, as a write reaches their data. The server does not show its flag for that.
    pub(crate) publishes: bool,
    /// It stops what keeps a node or a client busy, and so must not wait behind that.
    stops: bool,
    /// It brings a key to a node that does not own it yet.
    pub(crate) moves_keys: bool,
    /// Its replies have names of keys that its arguments do not name.
    pub(crate) names_keys: bool,
    /// It means the same key by key: nobody relies on several of them happening at once.
    pub(crate) is_safe_to_split: bool,
    /// What answers it cluster-wide in place of the command itself.
    pub(crate) handler: Option<Handler>,
    /// What proxy mode has to know of it.
    pub(crate) in_proxy_mode: Option<InProxyMode>,
    /// The options with which it reads keys that its arguments do not name.
    reads_by: &'static [&'static [u8]],
    /// The options that are followed by values, which may look like options, and by how many.
    values: &'static [(&'static [u8], usize)],
}

/// Which calls of a command a row's refusal is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum When {
    Always,
    /// Those with the option `BLOCK`. What follows `STREAMS` are keys and ids, whatever they look like.
    WithBlock,
    /// Those with a line break in an argument.
    WithLineBreak,
}

/// What answers a command cluster-wide that no node can answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Handler {
    /// A cursor over the keys of all shards.
    Scan,
    /// One key of all.
    RandomKey,
}

/// What proxy mode has to know of a command before it may rewrite it for the whole cluster.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum InProxyMode {
    /// Begins a transaction.
    BeginsTransaction,
    /// What only clients say that know of clusters: they ask for a redirect to be answered here.
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

const CONNECTION: &str = "it changes the state of its connection, which all requests share";
/// Why blocking commands are not carried.
pub(crate) const BLOCKING: &str = "it blocks its connection, which all requests share";
const TRANSACTION: &str = "transactions do not reach over connections that all requests share";
const STREAMING: &str = "it turns its connection into a stream";
const PROCESS: &str = "it stops, reloads or endangers the server that serves the request";
const RECURSION: &str = "a distributed command cannot be the share of another";
const SPLITS_REPLIES: &str = "servers repeat its line breaks in an error, which would pass for the replies to others";
const CLIENTS_OWN_WRITES: &str = "it counts the writes of its own connection, which has none of the caller's";
const ONE_NODE: &str = "it decides about one node; name that with NODE";
const ITS_NODE: &str = "it belongs to one node; name that with NODE";
const OWN_CONNECTION: &str = "it is about its own connection, which would be none of the caller's; send it as it is";
const BOUND: &str = "it is bound to its connection, which all requests share";

const fn row(name: &'static str) -> Special {
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

    /// Returns those of the arguments that stand where the command looks for an option.
    fn options<'a>(&self, mut args: impl Iterator<Item = &'a [u8]>) -> impl Iterator<Item = &'a [u8]> {
        let values_of = |option: &[u8]| {
            let known = self.values.iter().find(|(name, _)| option.eq_ignore_ascii_case(name));
            known.map_or(0, |&(_, values)| values)
        };
        let mut to_pass = 0;
        std::iter::from_fn(move || {
            let option = args.nth(to_pass)?;
            to_pass = values_of(option);
            Some(option)
        })
    }

    /// Tells whether the row is about a command, and not about a subcommand.
    pub(crate) fn is_whole_command(&self) -> bool {
        !self.name.contains('|')
    }

    /// Tells whether the command blocks its client only with an option.
    pub(crate) fn blocks_by_option(&self) -> bool {
        self.not_shared_when == When::WithBlock
    }

    /// Tells whether these arguments, those behind the name, have the option with which the command blocks its client.
    pub(crate) fn has_blocking_option<'a>(&self, args: impl Iterator<Item = &'a [u8]>) -> bool {
        let mut options = self.options(args).take_while(|arg| !arg.eq_ignore_ascii_case(b"STREAMS"));
        self.blocks_by_option() && options.any(|arg| arg.eq_ignore_ascii_case(b"BLOCK"))
    }

    /// Returns why a shared connection cannot carry the command with these arguments, those behind its name.
    fn why_not_shared<'a>(&self, mut args: impl Iterator<Item = &'a [u8]>) -> Option<&'static str> {
        let is_about_this = match self.not_shared_when {
            When::Always => true,
            When::WithBlock => self.has_blocking_option(args),
            When::WithLineBreak => args.any(|arg| arg.iter().any(|byte| matches!(byte, b'\r' | b'\n'))),
        };
        self.not_shared.filter(|_| is_about_this)
    }
}

#[rustfmt::skip]
const TABLE: &[Special] = &[
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
    // What stops others.
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
const FAMILIES: &[(&str, Option<&str>, &str)] = &[
    ("cluster|", Some("admin"), ONE_NODE),
    ("hotkeys|", None, ITS_NODE),
    ("ft.cursor", None, ITS_NODE),
    ("himport|", None, BOUND),
];

/// The table in the order of its names.
static ROWS: [Special; TABLE.len()] = sorted();

const fn sorted() -> [Special; TABLE.len()] {
    let mut rows = [row(""); TABLE.len()];
    let mut count = 0;
    while count < TABLE.len() {
        let mut at = count;
        while at > 0 && is_before(TABLE[count].name.as_bytes(), rows[at - 1].name.as_bytes()) {
            rows[at] = rows[at - 1];
            at -= 1;
        }
        rows[at] = TABLE[count];
        count += 1;
    }
    rows
}

const fn is_before(name: &[u8], other: &[u8]) -> bool {
    let mut at = 0;
    while at < name.len() && at < other.len() {
        if name[at] != other[at] {
            return name[at] < other[at];
        }
        at += 1;
    }
    name.len() < other.len()
}

/// For each first letter of a row's command: the lengths of those commands' names, as bits. Almost every command that is
/// sent is in no row, and this says so without a search.
static LENGTHS: [u32; 256] = lengths();

const fn lengths() -> [u32; 256] {
    let (mut lengths, mut row) = ([0; 256], 0);
    while row < TABLE.len() {
        let name = TABLE[row].name.as_bytes();
        let mut length = 0;
        while length < name.len() && name[length] != b'|' {
            length += 1;
        }
        lengths[name[0] as usize] |= 1 << length;
        row += 1;
    }
    lengths
}

/// Tells whether a command, or one of its subcommands, may stand in a row.
fn may_be_special(name: &[u8]) -> bool {
    let Some(first) = name.first() else { return false };
    name.len() < 32 && LENGTHS[usize::from(first.to_ascii_lowercase())] & (1 << name.len()) != 0
}

/// Finds a row by its name, in whatever letters.
fn find(name: impl Iterator<Item = u8> + Clone) -> Option<&'static Special> {
    let name = name.map(|byte| byte.to_ascii_lowercase());
    let at = ROWS.binary_search_by(|row| row.name.bytes().cmp(name.clone())).ok()?;
    Some(&ROWS[at])
}

/// Returns the row of a command, or of a subcommand as in `client|reply`; `None` if nothing is special about it.
pub(crate) fn special(name: &[u8]) -> Option<&'static Special> {
    find(name.iter().copied())
}

/// Returns the row of a command's subcommand.
pub(crate) fn special_subcommand(name: &[u8], subcommand: &[u8]) -> Option<&'static Special> {
    find(name.iter().chain(b"|").chain(subcommand).copied())
}

/// Returns why connections that all requests share cannot carry this command; `None` if they can.
pub(crate) fn why_not_shared(command: &Command) -> Option<&'static str> {
    let name = command.name();
    if is_of_rmr(name) {
        return Some(RECURSION);
    }
    if !may_be_special(name) {
        return None;
    }
    let mut args = command.args();
    match special(name).filter(|own| own.is_whole_command()) {
        Some(own) if own.not_shared.is_some() => own.why_not_shared(args),
        _ => special_subcommand(name, args.next()?)?.why_not_shared(args),
    }
}

/// Tells whether a command may run code of others: a script, or a module whose names have a dot, or what a catalogue has
/// said to. Some servers let such code end in an error of several lines.
pub(crate) fn may_run_code(command: CommandRef<'_>) -> bool {
    command.is_said_to_run_code() || names_code(command.name())
}

fn names_code(name: &[u8]) -> bool {
    let is_script = || special(name).is_some_and(|special| special.runs_code);
    // Looked at for each command that is sent: most begin with another letter.
    matches!(name.first(), Some(b'e' | b'E' | b'f' | b'F')) && is_script() || name.contains(&b'.')
}

/// Tells whether a command stops what keeps a node or a client busy, and so must not wait behind that on a connection.
pub(crate) fn stops_others(command: CommandRef<'_>) -> bool {
    let name = command.name();
    // Looked at for each command that is sent by itself.
    let is_one = [&b"CLIENT"[..], b"SCRIPT", b"FUNCTION"].iter().any(|known| name.eq_ignore_ascii_case(known));
    let subcommand = || command.words().nth(1);
    is_one && subcommand().and_then(|sub| special_subcommand(name, sub)).is_some_and(|special| special.stops)
}

/// Tells whether [`why_not_shared`] depends on more of a command than its name.
pub(crate) fn differs_by_arguments(name: &[u8]) -> bool {
    if !may_be_special(name) {
        return false;
    }
    let own = special(name).is_some_and(|own| own.not_shared.is_some() && own.not_shared_when != When::Always);
    let start = name.iter().chain(b"|").map(u8::to_ascii_lowercase);
    let from = ROWS.partition_point(|row| row.name.bytes().lt(start.clone()));
    let mut subcommands = ROWS[from..].iter().take_while(|row| row.name.bytes().take(name.len() + 1).eq(start.clone()));
    own || subcommands.any(|row| row.not_shared.is_some())
}

/// Tells whether a command with these arguments, those behind its key, reads keys that they do not name, as `SORT` does with
/// `BY` or `GET`.
pub(crate) fn reads_by_pattern<'a>(name: &[u8], args: impl Iterator<Item = &'a [u8]>) -> bool {
    let Some(special) = special(name).filter(|special| !special.reads_by.is_empty()) else { return false };
    let is_one = |arg: &[u8]| special.reads_by.iter().any(|option| arg.eq_ignore_ascii_case(option));
    special.options(args).any(is_one)
}

fn is_of_rmr(name: &[u8]) -> bool {
    name.get(..4).is_some_and(|start| start.eq_ignore_ascii_case(b"RMR."))
}

impl Description {
    /// Returns what is special about the command.
    pub(crate) fn special(&self) -> Option<&'static Special> {
        special(self.name.as_bytes())
    }

    /// Tells whether shared connections cannot carry the command, whatever its arguments are.
    pub(crate) fn is_never_shared(&self) -> bool {
        let refuses = |special: &Special| special.not_shared.is_some() && special.not_shared_when == When::Always;
        is_of_rmr(self.name.as_bytes()) || self.special().is_some_and(refuses)
    }

    /// Returns why the command is not run cluster-wide; `None` if it is. What shared connections cannot carry at all is
    /// refused by the engine itself.
    pub(crate) fn why_not_cluster_wide(&self) -> Option<&'static str> {
        self.special().and_then(|special| special.not_cluster_wide).or_else(|| {
            let family = FAMILIES
                .iter()
                .find(|(start, flag, _)| self.name.starts_with(start) && flag.is_none_or(|flag| self.has_flag(flag)));
            family.map(|&(.., reason)| reason)
        })
    }

    /// Tells whether the command belongs to those about scripts and functions.
    pub(crate) fn is_about_scripts(&self) -> bool {
        self.categories.iter().any(|category| category == "@scripting")
    }

    /// Tells whether the command may run code of others, by whatever name.
    pub(crate) fn may_run_code(&self) -> bool {
        let is_part_of_another = self.name.contains('|') || !self.subcommands.is_empty();
        self.has_flag("module") || (self.is_about_scripts() && self.has_flag("noscript") && !is_part_of_another)
    }

    /// Tells whether the command blocks its client, unless that takes an option.
    pub(crate) fn blocks_always(&self) -> bool {
        self.has_flag("blocking") && !self.special().is_some_and(Special::blocks_by_option)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_name_has_one_row_in_lower_case_that_is_found_in_any_letters() {
        for (at, row) in TABLE.iter().enumerate() {
            assert!(TABLE[..at].iter().all(|other| other.name != row.name), "{} stands twice", row.name);
            assert_eq!(row.name, row.name.to_ascii_lowercase());
            let found = special(row.name.to_ascii_uppercase().as_bytes()).unwrap();
            assert_eq!(found.name, row.name);
        }
        assert!(ROWS.is_sorted_by_key(|row| row.name));
        for row in &ROWS {
            let name = row.name.split('|').next().unwrap_or_default();
            assert!(may_be_special(name.to_uppercase().as_bytes()), "{name}");
        }
        assert!(["", "get", "zrangebyscore"].iter().all(|name| !may_be_special(name.as_bytes())));
        assert!(special(b"get").is_none() && special(b"client|list").is_none() && special(b"").is_none());
        assert_eq!(special_subcommand(b"Client", b"REPLY"), special(b"client|reply"));
        assert!(special(b"a name that is longer than all that there are").is_none());
    }

    #[test]
    fn code_of_others_is_known_by_name() {
        for row in TABLE {
            assert_eq!(names_code(row.name.to_ascii_uppercase().as_bytes()), row.runs_code, "{}", row.name);
        }
        assert!(names_code(b"JSON.SET") && !names_code(b"EXISTS") && !names_code(b"FUNCTION") && !names_code(b""));
    }

    #[test]
    fn code_of_others_is_known_by_whatever_name_the_server_describes_it() {
        let runs_code = |name: &str, flags: &[&str], category: &str| {
            let flags = flags.iter().map(|flag| (*flag).to_owned()).collect();
            let description =
                Description { name: name.into(), flags, categories: vec![category.into()], ..Description::default() };
            description.may_run_code()
        };
        assert!(runs_code("renamed", &["noscript"], "@scripting") && runs_code("set2", &["module"], "@write"));
        assert!(!runs_code("script|kill", &["noscript"], "@scripting") && !runs_code("get", &["readonly"], "@read"));
    }

    #[test]
    fn what_stops_others_is_known() {
        let stops = |line: &str| stops_others((&Command::from_args(line.split(' ')).unwrap()).into());
        let rows = TABLE.iter().filter(|row| row.stops);
        assert!(
            rows.clone().count() > 3 && rows.into_iter().all(|row| stops(&row.name.to_uppercase().replace('|', " ")))
        );
        assert!(!stops("CLIENT LIST") && !stops("CLIENT") && !stops("SET KILL") && !stops("SCRIPT LOAD kill"));
    }

    #[test]
    fn some_commands_differ_by_their_arguments() {
        for name in ["CLIENT", "function", "MODULE", "script", "XREAD", "xreadgroup"] {
            assert!(differs_by_arguments(name.as_bytes()), "{name}");
        }
        for name in ["GET", "BLPOP", "CLUSTER", "ACL", "CLIEN", "CLIENTS", "client|reply", "zzz", ""] {
            assert!(!differs_by_arguments(name.as_bytes()), "{name}");
        }
    }

    #[test]
    fn a_stream_is_read_without_blocking_unless_an_option_says_so() {
        let blocks = |name: &str, line: &str| {
            let special = special(name.as_bytes()).unwrap();
            special.has_blocking_option(line.split(' ').map(str::as_bytes))
        };
        assert!(blocks("XREAD", "COUNT 1 block 0 STREAMS s $"));
        assert!(!blocks("XREAD", "COUNT 1 STREAMS BLOCK 0"));
        assert!(blocks("xreadgroup", "GROUP g c BLOCK 0 STREAMS s >"));
        assert!(blocks("xreadgroup", "NOACK block 0 GROUP count streams STREAMS s >"));
        for (group, consumer) in [("block", "c"), ("g", "BLOCK"), ("streams", "block"), ("COUNT", "block")] {
            assert!(
                !blocks("xreadgroup", &format!("GROUP {group} {consumer} COUNT 1 STREAMS block >")),
                "{group} {consumer}"
            );
            assert!(
                blocks("XREADGROUP", &format!("count 1 group {group} {consumer} BLOCK 0 STREAMS s >")),
                "{group} {consumer}"
            );
        }
        assert!(!blocks("XREAD", "COUNT block STREAMS s $") && !blocks("XREADGROUP", "GROUP"));
        assert!(!blocks("blpop", "BLOCK 0"), "it always does");
    }

    #[test]
    fn only_sort_reads_by_patterns() {
        let reads = |name: &str, line: &str| reads_by_pattern(name.as_bytes(), line.split(' ').map(str::as_bytes));
        assert!(reads("SORT", "ALPHA by w_*") && reads("sort_ro", "GET #"));
        assert!(!reads("SORT", "ALPHA DESC") && !reads("LPUSH", "BY GET"));
        assert!(
            !reads("SORT", "LIMIT 0 1 STORE get") && reads("SORT", "STORE get GET #") && !reads("SORT", "LIMIT by by")
        );
    }

    #[test]
    fn what_is_about_one_node_is_not_run_cluster_wide() {
        let described = |name: &str, flags: &[&str]| Description {
            name: name.into(),
            flags: flags.iter().map(|flag| (*flag).to_owned()).collect(),
            ..Description::default()
        };
        assert_eq!(described("cluster|meet", &["admin"]).why_not_cluster_wide(), Some(ONE_NODE));
        assert_eq!(described("cluster|info", &[]).why_not_cluster_wide(), None);
        assert_eq!(described("ft.cursor", &[]).why_not_cluster_wide(), Some(ITS_NODE));
        assert_eq!(described("wait", &[]).why_not_cluster_wide(), Some(CLIENTS_OWN_WRITES));
        assert_eq!(described("get", &[]).why_not_cluster_wide(), None);
    }
}
