//! The settings: `CONFIG SET rmr.timeout-ms 1000`, and the same names as arguments of `loadmodule`.
//!
//! One table says all there is to say about each: its name, default, range and whether it can change at run time. Values
//! stand in atomics, so that requests read them without a lock; a change takes effect with the next request.

use std::ffi::{CString, c_char, c_int, c_longlong, c_uint, c_void};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicI64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use arc_swap::ArcSwapOption;
use redis_module::raw;

use super::api::{Ctx, OwnedString, required, string_bytes};
use super::proxy::{self, Mode};
use super::{direct, main_thread, state};
use crate::engine::Engine;
use crate::exec::Overrides;
use crate::link::Credentials;
use crate::topology::StaticList;

/// A setting that is a number.
struct Number {
    name: &'static str,
    default: i64,
    min: i64,
    max: i64,
    flags: u32,
    value: AtomicI64,
}

impl Number {
    const fn new(name: &'static str, default: i64, min: i64, max: i64) -> Self {
        Self { name, default, min, max, flags: raw::REDISMODULE_CONFIG_DEFAULT, value: AtomicI64::new(default) }
    }

    const fn with_flags(mut self, flags: u32) -> Self {
        self.flags = flags;
        self
    }

    fn get(&self) -> i64 {
        self.value.load(Relaxed)
    }

    fn set(&self, value: i64) {
        self.value.store(value, Relaxed);
    }

    /// Reads a value as `CONFIG SET` does: a size of memory may have a unit.
    fn parse(&self, text: &str) -> Option<i64> {
        const UNITS: [(&str, i64); 7] = [
            ("kb", 1 << 10),
            ("mb", 1 << 20),
            ("gb", 1 << 30),
            ("k", 1000),
            ("m", 1_000_000),
            ("g", 1_000_000_000),
            ("b", 1),
        ];
        let text = text.to_ascii_lowercase();
        let unit = UNITS.iter().find_map(|(unit, factor)| Some((text.strip_suffix(unit)?, *factor)));
        match unit {
            Some((digits, factor)) if self.flags & raw::REDISMODULE_CONFIG_MEMORY != 0 => {
                digits.parse::<i64>().ok()?.checked_mul(factor)
            }
            _ => text.parse().ok(),
        }
    }

    fn millis(&self) -> Duration {
        Duration::from_millis(self.get().unsigned_abs())
    }
}

/// A setting that is one of a few words.
struct Choice {
    name: &'static str,
    words: &'static [&'static str],
    value: AtomicI64,
}

impl Choice {
    const fn new(name: &'static str, words: &'static [&'static str]) -> Self {
        Self { name, words, value: AtomicI64::new(0) }
    }
}

/// A setting that is text.
struct Text {
    name: &'static str,
    flags: u32,
    /// Says what is wrong with a value.
    check: fn(&[u8]) -> Result<(), String>,
    /// Bytes: a password need not be UTF-8.
    value: Mutex<Vec<u8>>,
}

impl Text {
    const fn new(name: &'static str, flags: u32, check: fn(&[u8]) -> Result<(), String>) -> Self {
        Self { name, flags, check, value: Mutex::new(Vec::new()) }
    }

    fn value(&self) -> MutexGuard<'_, Vec<u8>> {
        self.value.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

const HOUR_MS: i64 = 3_600_000;

static TIMEOUT: Number = Number::new("timeout-ms", 5000, 1, HOUR_MS);
static CONNECT_TIMEOUT: Number = Number::new("connect-timeout-ms", 1000, 1, HOUR_MS);
static TOPOLOGY_REFRESH: Number = Number::new("topology-refresh-ms", 1000, 50, HOUR_MS);
static MAX_IN_FLIGHT: Number = Number::new("max-inflight", 10_000, 1, 10_000_000);
static MAX_REPLY_BYTES: Number =
    Number::new("max-reply-bytes", 1 << 30, 1024, i64::MAX).with_flags(raw::REDISMODULE_CONFIG_MEMORY);
static THREADS: Number = Number::new("threads", 1, 1, 64).with_flags(raw::REDISMODULE_CONFIG_IMMUTABLE);

static NUMBERS: [&Number; 6] =
    [&TIMEOUT, &CONNECT_TIMEOUT, &TOPOLOGY_REFRESH, &MAX_IN_FLIGHT, &MAX_REPLY_BYTES, &THREADS];

static PROVIDER: Choice = Choice::new("provider", &["auto", "single", "static", "cluster"]);
static SHARD_FUNC: Choice = Choice::new("shard-func", &["auto", "crc16", "crc32", "ketama", "ketama-rb", "rendezvous"]);

static PROXY_MODE: Choice = Choice::new("proxy-mode", &["off", "opt-in", "on"]);

static PUSHDOWN: Choice = Choice::new("pushdown", &["off", "on"]);
static DIRECT_READS: Choice = Choice::new("direct-reads", &["off", "on"]);

static CHOICES: [&Choice; 5] = [&PROVIDER, &SHARD_FUNC, &PROXY_MODE, &PUSHDOWN, &DIRECT_READS];

// There may be passwords in it.
static NODES: Text = Text::new("nodes", raw::REDISMODULE_CONFIG_SENSITIVE, check_nodes);
static USER: Text = Text::new("user", raw::REDISMODULE_CONFIG_DEFAULT, |_| Ok(()));
static PASSWORD: Text = Text::new("password", raw::REDISMODULE_CONFIG_SENSITIVE, |_| Ok(()));

static POLICY_OVERRIDES: Text = Text::new("policy-overrides", raw::REDISMODULE_CONFIG_DEFAULT, check_overrides);

static TEXTS: [&Text; 4] = [&NODES, &USER, &PASSWORD, &POLICY_OVERRIDES];

/// What the text of [`POLICY_OVERRIDES`] says.
static OVERRIDES: ArcSwapOption<Overrides> = ArcSwapOption::const_empty();

/// `rmr.provider`
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Provider {
    Auto,
    Single,
    Static,
    Cluster,
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

pub(super) fn provider() -> Provider {
    [Provider::Auto, Provider::Single, Provider::Static, Provider::Cluster][PROVIDER.value.load(Relaxed) as usize]
}

pub(super) fn shard_by() -> ShardBy {
    use ShardBy::{Auto, Crc16, Crc32, Ketama, KetamaRb, Rendezvous};
    [Auto, Crc16, Crc32, Ketama, KetamaRb, Rendezvous][SHARD_FUNC.value.load(Relaxed) as usize]
}

/// `rmr.proxy-mode`
pub(super) fn proxy_mode() -> Mode {
    [Mode::Off, Mode::OptIn, Mode::On][PROXY_MODE.value.load(Relaxed) as usize]
}

/// `rmr.pushdown`: whether nodes reduce their own share.
pub(super) fn pushdown() -> bool {
    PUSHDOWN.value.load(Relaxed) == 1
}

/// `rmr.direct-reads`: whether strings are read in place.
pub(super) fn direct_reads() -> bool {
    DIRECT_READS.value.load(Relaxed) == 1
}

/// Who knows where keys are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Placement {
    /// All of them are on this node.
    Alone,
    /// The server knows, as they are where its cluster has them.
    Server,
    /// Only the engine does.
    Engine,
}

/// Who knows where keys are, on a server that is or is not in a cluster.
pub(super) fn placement(is_cluster: bool) -> Placement {
    match provider() {
        Provider::Single => Placement::Alone,
        Provider::Auto if nodes().is_empty() && !is_cluster => Placement::Alone,
        Provider::Auto if !nodes().is_empty() => Placement::Engine,
        Provider::Static => Placement::Engine,
        Provider::Auto | Provider::Cluster => match shard_by() {
            ShardBy::Auto | ShardBy::Crc16 => Placement::Server,
            ShardBy::Crc32 | ShardBy::Ketama | ShardBy::KetamaRb | ShardBy::Rendezvous => Placement::Engine,
        },
    }
}

pub(super) fn nodes() -> String {
    String::from_utf8_lossy(&NODES.value()).into_owned()
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

fn read_overrides() -> Result<(), String> {
    let overrides = Overrides::parse(&String::from_utf8_lossy(&POLICY_OVERRIDES.value()))?;
    OVERRIDES.store(Some(Arc::new(overrides)));
    Ok(())
}

/// Hands the limits to an engine.
pub(super) fn apply_limits(engine: &Engine) {
    engine.set_timeout(TIMEOUT.millis());
    engine.set_max_in_flight(MAX_IN_FLIGHT.get() as usize);
    engine.set_max_reply_bytes(MAX_REPLY_BYTES.get() as usize);
}

fn check_nodes(nodes: &[u8]) -> Result<(), String> {
    let nodes = &String::from_utf8_lossy(nodes);
    if nodes.trim().is_empty() {
        return Ok(());
    }
    StaticList::parse(nodes).map(drop).map_err(|error| error.to_string().trim_start_matches("ERR ").to_owned())
}

/// What does not go together.
fn check_together() -> Result<(), String> {
    let is_cluster = main_thread::detached().is_some_and(|ctx| ctx.flags().is_cluster());
    match provider() {
        Provider::Static if nodes().trim().is_empty() => {
            Err("rmr.provider static needs rmr.nodes \"host:port ...\"".into())
        }
        Provider::Cluster if !is_cluster => Err("rmr.provider is cluster, but cluster-enabled is no".into()),
        _ if direct_reads() => {
            direct::why_not(is_cluster).map_or_else(|| proxy::check(proxy_mode()), |why| Err(why.to_owned()))
        }
        _ => proxy::check(proxy_mode()),
    }
}

/// Registers all settings, with what `loadmodule` was given as their values.
pub(super) fn register(ctx: Ctx, args: &[&[u8]]) -> Result<(), String> {
    reset();
    read_arguments(args)?;
    for number in NUMBERS {
        register_number(ctx, number)?;
    }
    for choice in CHOICES {
        register_choice(ctx, choice)?;
    }
    for text in TEXTS {
        register_text(ctx, text)?;
    }
    // SAFETY: a context of OnLoad.
    if unsafe { required!(RedisModule_LoadConfigs)(ctx.0) } != raw::REDISMODULE_OK as c_int {
        return Err("the settings in the configuration are not accepted".into());
    }
    check_together()?;
    read_overrides()?;
    proxy::enter(proxy_mode())
}

/// A library that stays mapped after it was unloaded keeps its values; a new load begins anew.
fn reset() {
    NUMBERS.iter().for_each(|number| number.set(number.default));
    CHOICES.iter().for_each(|choice| choice.value.store(0, Relaxed));
    TEXTS.iter().for_each(|text| text.value().clear());
}

fn read_arguments(args: &[&[u8]]) -> Result<(), String> {
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
            let names = NUMBERS.iter().map(|number| number.name);
            let names = names.chain(CHOICES.iter().map(|choice| choice.name)).chain(TEXTS.iter().map(|text| text.name));
            let names: Vec<&str> = names.collect();
            return Err(format!("there is no argument '{name}'; known are {}", names.join(", ")));
        }
    }
    Ok(())
}

fn registered(name: &str, status: c_int) -> Result<(), String> {
    if status == raw::REDISMODULE_OK as c_int {
        Ok(())
    } else {
        Err(format!("the setting rmr.{name} cannot be registered"))
    }
}

fn privdata<T>(setting: &'static T) -> *mut c_void {
    std::ptr::from_ref(setting).cast_mut().cast()
}

fn register_number(ctx: Ctx, number: &'static Number) -> Result<(), String> {
    let name = CString::new(number.name).unwrap_or_default();
    // SAFETY: a context of OnLoad; the private data is a static `Number`, as the callbacks take it to be.
    let status = unsafe {
        required!(RedisModule_RegisterNumericConfig)(
            ctx.0,
            name.as_ptr(),
            number.get(),
            number.flags,
            number.min,
            number.max,
            Some(get_number),
            Some(set_number),
            Some(apply),
            privdata(number),
        )
    };
    registered(number.name, status)
}

fn register_choice(ctx: Ctx, choice: &'static Choice) -> Result<(), String> {
    let name = CString::new(choice.name).unwrap_or_default();
    let words: Vec<CString> = choice.words.iter().map(|word| CString::new(*word).unwrap_or_default()).collect();
    let mut pointers: Vec<*const c_char> = words.iter().map(|word| word.as_ptr()).collect();
    let values: Vec<c_int> = (0..words.len() as c_int).collect();
    // SAFETY: as above; the server copies words and values.
    let status = unsafe {
        required!(RedisModule_RegisterEnumConfig)(
            ctx.0,
            name.as_ptr(),
            choice.value.load(Relaxed) as c_int,
            raw::REDISMODULE_CONFIG_DEFAULT as c_uint,
            pointers.as_mut_ptr(),
            values.as_ptr(),
            words.len() as c_int,
            Some(get_choice),
            Some(set_choice),
            Some(apply),
            privdata(choice),
        )
    };
    registered(choice.name, status)
}

fn register_text(ctx: Ctx, text: &'static Text) -> Result<(), String> {
    let name = CString::new(text.name).unwrap_or_default();
    let default = CString::new(text.value().as_slice()).map_err(|_| format!("{} holds a zero byte", text.name))?;
    // SAFETY: as above.
    let status = unsafe {
        required!(RedisModule_RegisterStringConfig)(
            ctx.0,
            name.as_ptr(),
            default.as_ptr(),
            text.flags,
            Some(get_text),
            Some(set_text),
            Some(apply),
            privdata(text),
        )
    };
    registered(text.name, status)
}

unsafe extern "C" fn get_number(_: *const c_char, number: *mut c_void) -> c_longlong {
    // SAFETY: the private data of `register_number`.
    unsafe { &*number.cast::<Number>() }.get()
}

/// The server has checked the range.
unsafe extern "C" fn set_number(
    _: *const c_char,
    value: c_longlong,
    number: *mut c_void,
    _: *mut *mut raw::RedisModuleString,
) -> c_int {
    // SAFETY: the private data of `register_number`.
    unsafe { &*number.cast::<Number>() }.set(value);
    raw::REDISMODULE_OK as c_int
}

unsafe extern "C" fn get_choice(_: *const c_char, choice: *mut c_void) -> c_int {
    // SAFETY: the private data of `register_choice`.
    unsafe { &*choice.cast::<Choice>() }.value.load(Relaxed) as c_int
}

/// The server has checked that it is one of the values.
unsafe extern "C" fn set_choice(
    _: *const c_char,
    value: c_int,
    choice: *mut c_void,
    _: *mut *mut raw::RedisModuleString,
) -> c_int {
    // SAFETY: the private data of `register_choice`.
    unsafe { &*choice.cast::<Choice>() }.value.store(i64::from(value), Relaxed);
    raw::REDISMODULE_OK as c_int
}

thread_local! {
    /// What `CONFIG GET` was last answered with: the server copies it, and does not free it.
    static SHOWN: std::cell::RefCell<Option<OwnedString>> = const { std::cell::RefCell::new(None) };
}

unsafe extern "C" fn get_text(_: *const c_char, text: *mut c_void) -> *mut raw::RedisModuleString {
    // SAFETY: the private data of `register_text`.
    let text = unsafe { &*text.cast::<Text>() };
    let shown = OwnedString::new(&text.value());
    let pointer = shown.as_ptr();
    SHOWN.with_borrow_mut(|last| *last = Some(shown));
    pointer
}

unsafe extern "C" fn set_text(
    _: *const c_char,
    value: *mut raw::RedisModuleString,
    text: *mut c_void,
    error: *mut *mut raw::RedisModuleString,
) -> c_int {
    // SAFETY: the private data of `register_text`, and a string that lives for this call.
    let (text, value) = unsafe { (&*text.cast::<Text>(), string_bytes(value)) };
    match (text.check)(value) {
        Ok(()) => {
            *text.value() = value.to_vec();
            raw::REDISMODULE_OK as c_int
        }
        Err(why) => {
            // SAFETY: a place for a string, which the server frees.
            unsafe { refuse(error, &why) }
        }
    }
}

/// Called once after all settings of one `CONFIG SET`; a refusal puts the old values back.
unsafe extern "C" fn apply(
    _: *mut raw::RedisModuleCtx,
    _: *mut c_void,
    error: *mut *mut raw::RedisModuleString,
) -> c_int {
    let applied = catch_unwind(AssertUnwindSafe(|| {
        check_together()?;
        read_overrides()?;
        if let Some(engine) = state::engine_if_started() {
            apply_limits(&engine);
        }
        state::rebuild_if_changed().map_err(|error| error.to_string())?;
        proxy::enter(proxy_mode())
    }));
    match applied.unwrap_or_else(|_| Err("internal error".into())) {
        Ok(()) => raw::REDISMODULE_OK as c_int,
        // SAFETY: a place for a string, which the server frees.
        Err(why) => unsafe { refuse(error, &why) },
    }
}

/// # Safety
/// `error` is null or a place for a string.
unsafe fn refuse(error: *mut *mut raw::RedisModuleString, why: &str) -> c_int {
    if !error.is_null() {
        // SAFETY: as the caller says. The string is handed over.
        unsafe { *error = OwnedString::new(why.as_bytes()).into_raw() };
    }
    raw::REDISMODULE_ERR as c_int
}

/// What an engine is built from. A change of it means a new engine. There are passwords in it.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct Fingerprint(Provider, ShardBy, String, Vec<u8>, Vec<u8>, bool);

pub(super) fn fingerprint() -> Fingerprint {
    Fingerprint(provider(), shard_by(), nodes(), USER.value().clone(), PASSWORD.value().clone(), pushdown())
}
