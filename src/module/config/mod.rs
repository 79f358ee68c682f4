//! The settings: `CONFIG SET rmr.timeout-ms 1000`, and the same names as arguments of `loadmodule`.
//!
//! One table says all there is to say about each: its name, default, range and whether it can change at run time. Values
//! stand in atomics, so that requests read them without a lock; a change takes effect with the next request. Nothing here
//! knows who uses a setting: [`apply`](super::apply) brings changes to them.

use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use arc_swap::ArcSwapOption;
use redis_module::raw;

use super::server::setting::{ChoiceSetting, NumberSetting, TextSetting};
use super::store;
use crate::engine::{DEFAULT_MAX_IN_FLIGHT, DEFAULT_MAX_REPLY_BYTES, DEFAULT_TIMEOUT_MS};
use crate::exec::Overrides;
use crate::link::Credentials;
use crate::topology::StaticList;
use crate::words::words;

const HOUR_MS: i64 = 3_600_000;

static TIMEOUT: NumberSetting = NumberSetting::new("timeout-ms", DEFAULT_TIMEOUT_MS as i64, 1, HOUR_MS);
static CONNECT_TIMEOUT: NumberSetting = NumberSetting::new("connect-timeout-ms", 1000, 1, HOUR_MS);
static TOPOLOGY_REFRESH: NumberSetting = NumberSetting::new("topology-refresh-ms", 1000, 50, HOUR_MS);
static MAX_IN_FLIGHT: NumberSetting = NumberSetting::new("max-inflight", DEFAULT_MAX_IN_FLIGHT as i64, 1, 10_000_000);
static MAX_REPLY_BYTES: NumberSetting =
    NumberSetting::new("max-reply-bytes", DEFAULT_MAX_REPLY_BYTES as i64, 1024, i64::MAX)
        .with_flags(raw::REDISMODULE_CONFIG_MEMORY);
static THREADS: NumberSetting = NumberSetting::new("threads", 1, 1, 64).with_flags(raw::REDISMODULE_CONFIG_IMMUTABLE);
static FLOW_TIMEOUT: NumberSetting = NumberSetting::new("flow-timeout-ms", 60_000, 1, HOUR_MS);
static FLOW_MEMORY: NumberSetting =
    NumberSetting::new("flow-memory", 256 << 20, 1 << 20, i64::MAX).with_flags(raw::REDISMODULE_CONFIG_MEMORY);
static FLOW_SHARE: NumberSetting = NumberSetting::new("flow-share", 50, 1, 100);
static PYTHON_MEMORY: NumberSetting = NumberSetting::new("python-memory", 1 << 30, 64 << 20, i64::MAX)
    .with_flags(raw::REDISMODULE_CONFIG_MEMORY | raw::REDISMODULE_CONFIG_IMMUTABLE);
static PYTHON_PROCESSES: NumberSetting =
    NumberSetting::new("python-processes", 4096, 16, 1 << 22).with_flags(raw::REDISMODULE_CONFIG_IMMUTABLE);
static ATOMIC_TIMEOUT: NumberSetting = NumberSetting::new("atomic-timeout-ms", 1000, 1, HOUR_MS);

static SYNC_TIMEOUT: NumberSetting = NumberSetting::new("sync-timeout-ms", 1000, 1, HOUR_MS);
static MAX_TRIGGER_DEPTH: NumberSetting = NumberSetting::new("max-trigger-depth", 16, 1, 128);
static STREAM_MAX_RETRIES: NumberSetting = NumberSetting::new("stream-max-retries", 0, 0, 1_000_000);
static MAX_PENDING_EVENTS: NumberSetting = NumberSetting::new("max-pending-events", 100_000, 1, i64::MAX);

static EVENTS_MEMORY: NumberSetting =
    NumberSetting::new("events-memory", 16 << 20, 64 << 10, i64::MAX).with_flags(raw::REDISMODULE_CONFIG_MEMORY);

pub(super) static NUMBERS: [&NumberSetting; 17] = [
    &TIMEOUT,
    &CONNECT_TIMEOUT,
    &TOPOLOGY_REFRESH,
    &MAX_IN_FLIGHT,
    &MAX_REPLY_BYTES,
    &THREADS,
    &FLOW_TIMEOUT,
    &FLOW_MEMORY,
    &FLOW_SHARE,
    &PYTHON_MEMORY,
    &PYTHON_PROCESSES,
    &ATOMIC_TIMEOUT,
    &EVENTS_MEMORY,
    &MAX_PENDING_EVENTS,
    &SYNC_TIMEOUT,
    &STREAM_MAX_RETRIES,
    &MAX_TRIGGER_DEPTH,
];

static PROVIDER: ChoiceSetting = ChoiceSetting::new("provider", Provider::WORDS);
static SHARD_FUNC: ChoiceSetting = ChoiceSetting::new("shard-func", ShardBy::WORDS);
static PROXY_MODE: ChoiceSetting = ChoiceSetting::new("proxy-mode", ProxyMode::WORDS);
static CONSISTENT: ChoiceSetting = ChoiceSetting::new("consistent", &["yes", "no"]);
static PUSHDOWN: ChoiceSetting = ChoiceSetting::new("pushdown", &["off", "on"]);
static DIRECT_READS: ChoiceSetting = ChoiceSetting::new("direct-reads", &["off", "on"]);
static GEARS_RIGHTS: ChoiceSetting = ChoiceSetting::new("gears-rights", GearsRights::WORDS);
static GEARS: ChoiceSetting =
    ChoiceSetting::new("gears", GearsUse::WORDS).with_flags(raw::REDISMODULE_CONFIG_IMMUTABLE);

pub(super) static CHOICES: [&ChoiceSetting; 8] =
    [&PROVIDER, &SHARD_FUNC, &PROXY_MODE, &CONSISTENT, &PUSHDOWN, &DIRECT_READS, &GEARS_RIGHTS, &GEARS];

// There may be passwords in it.
static PLACEMENT: TextSetting = TextSetting::new("placement", raw::REDISMODULE_CONFIG_SENSITIVE, check_placement);
static PLACEMENT_NAME: TextSetting =
    TextSetting::new("placement-name", raw::REDISMODULE_CONFIG_DEFAULT, check_placement_name);
static NODES: TextSetting = TextSetting::new("nodes", raw::REDISMODULE_CONFIG_SENSITIVE, check_nodes);
static USER: TextSetting = TextSetting::new("user", raw::REDISMODULE_CONFIG_DEFAULT, |_| Ok(()));
static PASSWORD: TextSetting = TextSetting::new("password", raw::REDISMODULE_CONFIG_SENSITIVE, |_| Ok(()));

static POLICY_OVERRIDES: TextSetting =
    TextSetting::new("policy-overrides", raw::REDISMODULE_CONFIG_DEFAULT, check_overrides);

// The programs that they name run with the rights of the server, or they decide with which rights: so `CONFIG SET` does not
// change them.
static PYTHON: TextSetting =
    TextSetting::new("python", raw::REDISMODULE_CONFIG_IMMUTABLE, check_python).with_default("python3");
static PYTHON_USER: TextSetting =
    TextSetting::new("python-user", raw::REDISMODULE_CONFIG_IMMUTABLE, |_| Ok(())).with_default("nobody");

static PYTHON_WHEELS: TextSetting = TextSetting::new("python-wheels", raw::REDISMODULE_CONFIG_IMMUTABLE, |_| Ok(()));

pub(super) static TEXTS: [&TextSetting; 9] =
    [&NODES, &PLACEMENT, &PLACEMENT_NAME, &USER, &PASSWORD, &POLICY_OVERRIDES, &PYTHON, &PYTHON_USER, &PYTHON_WHEELS];

/// The overrides that the text of [`POLICY_OVERRIDES`] contains.
static OVERRIDES: ArcSwapOption<Overrides> = ArcSwapOption::const_empty();

/// `rmr.provider`
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Provider {
    Auto,
    Single,
    Static,
    Cluster,
    Placement,
}

/// `rmr.shard-func`
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum ShardBy {
    Auto,
    Crc16,
    Crc32,
    Ketama,
    KetamaRb,
    Rendezvous,
}

/// `rmr.proxy-mode`
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum ProxyMode {
    /// No client's commands are rewritten.
    Off,
    /// The commands of connections that have sent `RMR.PROXY ON` are rewritten.
    OptIn,
    /// The commands of all plain clients are rewritten.
    On,
}

/// `rmr.gears-rights`
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum GearsRights {
    /// Commands of Python functions have the rights of the user on whose account the functions run.
    Caller,
    /// They may do everything, as with RedisGears.
    Server,
}

/// `rmr.gears`: what there is of RedisGears.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum GearsUse {
    /// All `RG.*` commands are there, if the server's files stay free of them as long as nothing is registered; else
    /// batches only.
    Auto,
    /// All `RG.*` commands are there. The module has a data type, and cannot be unloaded.
    On,
    /// Functions run, and nothing is registered.
    Batch,
    /// There are no `RG.*` commands.
    Off,
}

words!(pub(super) Provider { Auto = "auto", Single = "single", Static = "static", Cluster = "cluster", Placement = "placement" });

words!(pub(super) ShardBy {
    Auto = "auto",
    Crc16 = "crc16",
    Crc32 = "crc32",
    Ketama = "ketama",
    KetamaRb = "ketama-rb",
    Rendezvous = "rendezvous",
});

words!(pub(super) GearsUse { Auto = "auto", On = "on", Batch = "batch", Off = "off" });

words!(pub(super) GearsRights { Caller = "caller", Server = "server" });

words!(pub(super) ProxyMode { Off = "off", OptIn = "opt-in", On = "on" });

/// Returns the variant that a setting is set to, whose words are those of its type.
fn chosen<T: Copy>(setting: &ChoiceSetting, all: &[T]) -> T {
    all[setting.value.load(Relaxed) as usize]
}

/// `rmr.provider`
pub(super) fn provider() -> Provider {
    chosen(&PROVIDER, Provider::ALL)
}

/// `rmr.shard-func`
pub(super) fn shard_by() -> ShardBy {
    chosen(&SHARD_FUNC, ShardBy::ALL)
}

/// `rmr.proxy-mode`
pub(super) fn proxy_mode() -> ProxyMode {
    chosen(&PROXY_MODE, ProxyMode::ALL)
}

/// `rmr.consistent`: whether answers that depend on keys are exact or errors.
pub(super) fn consistent() -> bool {
    CONSISTENT.value.load(Relaxed) == 0
}

/// `rmr.pushdown`: whether nodes reduce their own share.
pub(super) fn pushdown() -> bool {
    PUSHDOWN.value.load(Relaxed) == 1
}

/// `rmr.direct-reads`: whether strings are read in place.
pub(super) fn direct_reads() -> bool {
    DIRECT_READS.value.load(Relaxed) == 1
}

/// Says who knows where keys are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Placement {
    /// All keys are on this node.
    Alone,
    /// The server knows, as they are where its cluster has them.
    Server,
    /// The engine alone knows.
    Engine,
}

/// Says who knows where keys are, on a server that is or is not in a cluster.
pub(super) fn placement(is_cluster: bool) -> Placement {
    match provider() {
        Provider::Single => Placement::Alone,
        Provider::Auto if nodes().is_empty() && !is_cluster => Placement::Alone,
        Provider::Auto if !nodes().is_empty() => Placement::Engine,
        Provider::Static | Provider::Placement => Placement::Engine,
        Provider::Auto | Provider::Cluster => match shard_by() {
            ShardBy::Auto | ShardBy::Crc16 => Placement::Server,
            ShardBy::Crc32 | ShardBy::Ketama | ShardBy::KetamaRb | ShardBy::Rendezvous => Placement::Engine,
        },
    }
}

pub(super) fn nodes() -> String {
    String::from_utf8_lossy(&NODES.value()).into_owned()
}

/// `rmr.placement` and `rmr.placement-name`
pub(super) fn configuration_node() -> (String, String) {
    let text = |setting: &TextSetting| String::from_utf8_lossy(&setting.value()).trim().to_owned();
    (text(&PLACEMENT), text(&PLACEMENT_NAME))
}

pub(super) fn credentials() -> Option<Credentials> {
    let password = PASSWORD.value().clone();
    let user = USER.value().clone();
    if password.is_empty() && user.is_empty() {
        return None;
    }
    let user = if user.is_empty() { "default".into() } else { String::from_utf8_lossy(&user).into_owned() };
    Some(Credentials::new(user, password))
}

pub(super) fn connect_timeout() -> Duration {
    CONNECT_TIMEOUT.millis()
}

pub(super) fn refresh_every() -> Duration {
    TOPOLOGY_REFRESH.millis()
}

pub(super) fn threads() -> usize {
    THREADS.get() as usize
}

/// `rmr.policy-overrides`
pub(super) fn overrides() -> Arc<Overrides> {
    OVERRIDES.load_full().unwrap_or_default()
}

fn check_overrides(text: &[u8]) -> Result<(), String> {
    Overrides::parse(&String::from_utf8_lossy(text)).map(drop)
}

/// Brings the text of `rmr.policy-overrides` into use.
pub(super) fn read_overrides() -> Result<(), String> {
    let overrides = Overrides::parse(&String::from_utf8_lossy(&POLICY_OVERRIDES.value()))?;
    OVERRIDES.store(Some(Arc::new(overrides)));
    Ok(())
}

/// `rmr.timeout-ms`
pub(super) fn timeout() -> Duration {
    TIMEOUT.millis()
}

/// `rmr.max-inflight`
pub(super) fn max_in_flight() -> usize {
    MAX_IN_FLIGHT.get() as usize
}

/// `rmr.max-reply-bytes`
pub(super) fn max_reply_bytes() -> usize {
    MAX_REPLY_BYTES.get() as usize
}

/// `rmr.flow-timeout-ms`: the time that a flow has if it does not say.
pub(super) fn flow_timeout() -> Duration {
    FLOW_TIMEOUT.millis()
}

/// `rmr.flow-memory`: the memory that one flow may take on this node, in bytes.
pub(super) fn flow_memory() -> u64 {
    FLOW_MEMORY.get().unsigned_abs()
}

/// `rmr.flow-share`: the per cent of the main thread's time that flows get while clients wait.
pub(super) fn flow_share() -> u32 {
    FLOW_SHARE.get() as u32
}

/// `rmr.python`: the interpreter, a path or a name that is looked for in `PATH`.
pub(super) fn python() -> Vec<u8> {
    PYTHON.value().clone()
}

/// `rmr.python-memory`: the memory that one Python process may take, in bytes.
pub(super) fn python_memory() -> u64 {
    PYTHON_MEMORY.get().unsigned_abs()
}

/// `rmr.python-processes`: how many processes and threads the user of Python processes may have.
pub(super) fn python_processes() -> u64 {
    PYTHON_PROCESSES.get().unsigned_abs()
}

/// `rmr.python-user`: as whom Python processes run where the server is root; empty: as root.
pub(super) fn python_user() -> Vec<u8> {
    PYTHON_USER.value().clone()
}

/// `rmr.python-wheels`: the folder of packages that scripts may require; empty for none.
pub(super) fn python_wheels() -> String {
    String::from_utf8_lossy(&PYTHON_WHEELS.value()).into_owned()
}

/// `rmr.max-trigger-depth`: how deep functions that the server waits for may call each other.
pub(super) fn max_trigger_depth() -> usize {
    usize::try_from(MAX_TRIGGER_DEPTH.get()).unwrap_or(1)
}

/// `rmr.stream-max-retries`: how often a batch of a stream is tried again before its entries go to the dead letters; [`None`]
/// for as often as it takes.
pub(super) fn stream_max_retries() -> Option<u64> {
    u64::try_from(STREAM_MAX_RETRIES.get()).ok().filter(|&most| most > 0)
}

/// `rmr.sync-timeout-ms`: how long a function may keep the server that waits for its end.
pub(super) fn sync_timeout() -> Duration {
    SYNC_TIMEOUT.millis()
}

/// `rmr.max-pending-events`: how many events of one registration wait at most.
pub(super) fn max_pending_events() -> usize {
    usize::try_from(MAX_PENDING_EVENTS.get()).unwrap_or(usize::MAX)
}

/// `rmr.events-memory`: how much room there is for keyspace events, in bytes.
pub(super) fn events_memory() -> usize {
    usize::try_from(EVENTS_MEMORY.get()).unwrap_or(usize::MAX)
}

/// `rmr.atomic-timeout-ms`: how long a Python function may keep the server for itself.
pub(super) fn atomic_timeout() -> Duration {
    ATOMIC_TIMEOUT.millis()
}

/// `rmr.gears`: what there is of RedisGears.
pub(super) fn gears() -> GearsUse {
    chosen(&GEARS, GearsUse::ALL)
}

/// `rmr.gears-rights`: whose rights the commands of Python functions have.
pub(super) fn gears_rights() -> GearsRights {
    chosen(&GEARS_RIGHTS, GearsRights::ALL)
}

fn check_python(interpreter: &[u8]) -> Result<(), String> {
    if interpreter.is_empty() {
        return Err("it is empty; give the path of an interpreter, or a name that is in PATH".into());
    }
    Ok(())
}

fn check_nodes(nodes: &[u8]) -> Result<(), String> {
    let nodes = &String::from_utf8_lossy(nodes);
    if nodes.is_empty() {
        return Ok(());
    }
    if nodes.trim().is_empty() {
        return Err("the list of hosts is blank; give host:port ..., or nothing at all".into());
    }
    StaticList::parse(nodes).map(drop).map_err(|error| error.to_string())
}

fn check_placement(addresses: &[u8]) -> Result<(), String> {
    let addresses = String::from_utf8_lossy(addresses);
    if addresses.trim().is_empty() { Ok(()) } else { store::check(&addresses, "") }
}

fn check_placement_name(name: &[u8]) -> Result<(), String> {
    let name = String::from_utf8_lossy(name);
    if name.trim().is_empty() { Ok(()) } else { store::check("redis://127.0.0.1", &name) }
}

/// Sets all values back to their defaults: a library that stays mapped after it was unloaded keeps its values, and a
/// new load begins anew.
pub(super) fn reset() {
    NUMBERS.iter().for_each(|number| number.set(number.default));
    CHOICES.iter().for_each(|choice| choice.value.store(0, Relaxed));
    TEXTS.iter().for_each(|text| text.reset());
}

/// Tells whether an argument of `loadmodule` is called so, in whatever case.
pub(super) fn is_argument(name: &[u8]) -> bool {
    names().any(|known| known.as_bytes().eq_ignore_ascii_case(name))
}

/// Returns the names of all settings.
fn names() -> impl Iterator<Item = &'static str> {
    let numbers = NUMBERS.iter().map(|number| number.name);
    numbers.chain(CHOICES.iter().map(|choice| choice.name)).chain(TEXTS.iter().map(|text| text.name))
}

/// Takes the arguments of `loadmodule` for values.
pub(super) fn read_arguments(args: &[&[u8]]) -> Result<(), String> {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let mut args = args.iter();
    while let Some(name) = args.next() {
        let name = text(name).to_ascii_lowercase();
        let name = name.strip_prefix("rmr.").unwrap_or(&name);
        let bytes = args.next().ok_or_else(|| format!("the argument '{name}' has no value; give name value"))?;
        let value = text(bytes);
        if let Some(number) = NUMBERS.iter().find(|number| number.name == name) {
            let range = || format!("{name} is '{value}'; give a number from {} to {}", number.min, number.max);
            let value = number.parse(&value).filter(|value| (number.min..=number.max).contains(value));
            number.set(value.ok_or_else(range)?);
        } else if let Some(choice) = CHOICES.iter().find(|choice| choice.name == name) {
            let index = choice.words.iter().position(|word| word.eq_ignore_ascii_case(&value));
            let index = index.ok_or_else(|| format!("{name} is '{value}'; give one of {}", choice.words.join(", ")))?;
            choice.value.store(index as i64, Relaxed);
        } else if let Some(setting) = TEXTS.iter().find(|setting| setting.name == name) {
            (setting.check)(bytes).map_err(|error| format!("{name}: {error}"))?;
            *setting.value() = bytes.to_vec();
        } else {
            let names: Vec<&str> = names().collect();
            return Err(format!("there is no argument '{name}'; known are {}", names.join(", ")));
        }
    }
    Ok(())
}

/// The settings that an engine is built from. A change of it means a new engine. There are passwords in it.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct Fingerprint(Provider, ShardBy, String, (String, String), Vec<u8>, Vec<u8>, bool);

pub(super) fn fingerprint() -> Fingerprint {
    let (user, password) = (USER.value().clone(), PASSWORD.value().clone());
    Fingerprint(provider(), shard_by(), nodes(), configuration_node(), user, password, pushdown())
}
