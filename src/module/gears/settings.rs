//! The settings of RedisGears, by its names: arguments of `loadmodule`, `RG.CONFIGGET` and `RG.CONFIGSET`.
//!
//! One table says of each what it is, what it begins with and whether it can change at run time. Those that say how Python is
//! built into the server mean nothing here, since Python is a process of its own; they are taken and shown, so that
//! configurations and clients of RedisGears go on as they are. Values under other names are kept for scripts (`configGet`).

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicI64, Ordering::Relaxed};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;

use crate::command::printable;
use crate::module::config;
use crate::number::Number;
use crate::reply::Reply;

/// A setting of RedisGears.
struct GearsSetting {
    name: &'static str,
    value: SettingValue,
    changes: SettingChanges,
}

/// The value of a setting.
enum SettingValue {
    /// A number from this on.
    Number {
        value: AtomicI64,
        default: i64,
        least: i64,
    },
    /// 0 or 1.
    Flag {
        value: AtomicI64,
        default: i64,
    },
    Text(Mutex<Vec<u8>>),
    /// The texts that were given, one after the other.
    Texts(Mutex<Vec<Vec<u8>>>),
}

/// Says whether a setting changes at run time.
#[derive(Clone, Copy, PartialEq, Eq)]
enum SettingChanges {
    Always,
    AtLoadOnly,
    /// The setting changes at load only, and RedisGears says so in other words, since its Python part says it.
    AtLoadOnlyOfPython,
}

use SettingChanges::{Always, AtLoadOnly, AtLoadOnlyOfPython};

const fn number(name: &'static str, default: i64, least: i64, changes: SettingChanges) -> GearsSetting {
    GearsSetting { name, value: SettingValue::Number { value: AtomicI64::new(default), default, least }, changes }
}

const fn flag(name: &'static str, default: i64, changes: SettingChanges) -> GearsSetting {
    GearsSetting { name, value: SettingValue::Flag { value: AtomicI64::new(default), default }, changes }
}

const fn text(name: &'static str, changes: SettingChanges) -> GearsSetting {
    GearsSetting { name, value: SettingValue::Text(Mutex::new(Vec::new())), changes }
}

static MAX_EXECUTIONS: GearsSetting = number("MaxExecutions", 1000, 0, Always);
static MAX_EXECUTIONS_PER_REGISTRATION: GearsSetting = number("MaxExecutionsPerRegistration", 100, 0, Always);
static PROFILE_EXECUTIONS: GearsSetting = flag("ProfileExecutions", 0, Always);
static EXECUTION_THREADS: GearsSetting = number("ExecutionThreads", 3, 1, AtLoadOnly);
static EXECUTION_MAX_IDLE_TIME: GearsSetting = number("ExecutionMaxIdleTime", 5000, 1, Always);
static SEND_MSG_RETRIES: GearsSetting = number("SendMsgRetries", 3, 0, Always);
static PLUGIN: GearsSetting =
    GearsSetting { name: "Plugin", value: SettingValue::Texts(Mutex::new(Vec::new())), changes: AtLoadOnly };
static CREATE_VENV: GearsSetting = flag("CreateVenv", 0, AtLoadOnlyOfPython);
static DOWNLOAD_DEPS: GearsSetting = flag("DownloadDeps", 0, AtLoadOnlyOfPython);
static FORCE_DOWNLOAD: GearsSetting = flag("ForeceDownloadDepsOnEnterprise", 0, AtLoadOnlyOfPython);
static DEPENDENCIES_URL: GearsSetting = text("DependenciesUrl", AtLoadOnlyOfPython);
static DEPENDENCIES_SHA256: GearsSetting = text("DependenciesSha256", AtLoadOnlyOfPython);
static PYTHON_ATTEMPT_TRACEBACK: GearsSetting = flag("PythonAttemptTraceback", 1, Always);
static OVERRIDE_PYTHON_ALLOCATORS: GearsSetting = flag("OverridePythonAllocators", 1, AtLoadOnlyOfPython);
static PYTHON_INSTALL_REQ_MAX_IDLE_TIME: GearsSetting = number("PythonInstallReqMaxIdleTime", 30_000, 1, Always);
static PYTHON_INSTALLATION_DIR: GearsSetting = text("PythonInstallationDir", AtLoadOnlyOfPython);

static SETTINGS: [&GearsSetting; 16] = [
    &MAX_EXECUTIONS,
    &MAX_EXECUTIONS_PER_REGISTRATION,
    &PROFILE_EXECUTIONS,
    &EXECUTION_THREADS,
    &EXECUTION_MAX_IDLE_TIME,
    &SEND_MSG_RETRIES,
    &PLUGIN,
    &CREATE_VENV,
    &DOWNLOAD_DEPS,
    &FORCE_DOWNLOAD,
    &DEPENDENCIES_URL,
    &DEPENDENCIES_SHA256,
    &PYTHON_ATTEMPT_TRACEBACK,
    &OVERRIDE_PYTHON_ALLOCATORS,
    &PYTHON_INSTALL_REQ_MAX_IDLE_TIME,
    &PYTHON_INSTALLATION_DIR,
];

/// Values that scripts read, by names that are no settings.
static EXTRA: Mutex<BTreeMap<Vec<u8>, Vec<u8>>> = Mutex::new(BTreeMap::new());

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// `MaxExecutions`: how many executions are remembered; [`None`] for all.
pub(super) fn max_executions() -> Option<usize> {
    usize::try_from(MAX_EXECUTIONS.number()).ok().filter(|&most| most > 0)
}

/// `MaxExecutionsPerRegistration`: how many events of a registration are remembered that have ended; [`None`] for all.
pub(super) fn max_executions_per_registration() -> Option<usize> {
    usize::try_from(MAX_EXECUTIONS_PER_REGISTRATION.number()).ok().filter(|&most| most > 0)
}

/// `ExecutionThreads`: how many executions of one registration run side by side.
pub(super) fn execution_threads() -> usize {
    usize::try_from(EXECUTION_THREADS.number()).unwrap_or(1).max(1)
}

/// `ExecutionMaxIdleTime`: how long an execution waits for other shards that get no further.
pub(super) fn execution_max_idle() -> Option<Duration> {
    u64::try_from(EXECUTION_MAX_IDLE_TIME.number()).ok().map(Duration::from_millis)
}

/// `ProfileExecutions`: whether it is measured where the time of functions goes.
pub(in crate::module) fn profiles_executions() -> bool {
    PROFILE_EXECUTIONS.number() != 0
}

/// `PythonAttemptTraceback`: whether errors of functions have a traceback.
pub(in crate::module) fn attempts_traceback() -> bool {
    PYTHON_ATTEMPT_TRACEBACK.number() != 0
}

/// Returns the value that scripts find under a name that is no setting (`configGet`).
pub(in crate::module) fn extra(name: &[u8]) -> Option<Vec<u8>> {
    lock(&EXTRA).get(name).cloned()
}

/// Takes those arguments of `loadmodule` that are settings of RedisGears, in whatever case, and values for scripts
/// (`configGet`); returns the others. A setting with a list may be given several times.
///
/// # Errors
/// The error says what is allowed.
pub(in crate::module) fn take_arguments<'a>(args: &[&'a [u8]]) -> Result<Vec<&'a [u8]>, String> {
    let mut others = Vec::new();
    for pair in args.chunks(2) {
        match (named(pair[0]), pair.get(1)) {
            (Some(setting), Some(value)) => {
                let refused = |allowed| format!("{} is '{}'; give {allowed}", setting.name, printable(value));
                setting.set(value).map_err(refused)?;
            }
            (None, Some(value)) if is_of_scripts(pair[0]) => {
                lock(&EXTRA).insert(pair[0].to_vec(), value.to_vec());
            }
            _ => others.extend(pair),
        }
    }
    Ok(others)
}

/// Tells whether a value is for scripts: its name is in mixed case, as RedisGears writes names, and nobody else's. Names in
/// one case or with a hyphen look like rmr's, so that a mistyped one is seen.
fn is_of_scripts(name: &[u8]) -> bool {
    let is_mixed = name.iter().any(u8::is_ascii_uppercase) && name.iter().any(u8::is_ascii_lowercase);
    let has_prefix = name.get(..4).is_some_and(|start| start.eq_ignore_ascii_case(b"rmr."));
    is_mixed && !name.contains(&b'-') && !has_prefix && !config::is_argument(name)
}

/// Sets all settings back to their defaults: a library that stays mapped after it was unloaded keeps its values, and a
/// new load begins anew.
pub(in crate::module) fn reset() {
    for setting in SETTINGS {
        match &setting.value {
            SettingValue::Number { value, default, .. } | SettingValue::Flag { value, default } => {
                value.store(*default, Relaxed);
            }
            SettingValue::Text(text) => lock(text).clear(),
            SettingValue::Texts(texts) => lock(texts).clear(),
        }
    }
    lock(&EXTRA).clear();
}

/// `RG.CONFIGGET name [name ...]`: an element for each.
pub(super) fn shown(names: &[&[u8]]) -> Reply {
    // Unlike all other ways to name a setting, this one minds the case.
    let exact = |name: &[u8]| SETTINGS.iter().find(|setting| setting.name.as_bytes() == name);
    let element = |name: &&[u8]| match (exact(name), extra(name)) {
        (Some(setting), _) => setting.shown(),
        (None, Some(value)) => Reply::Bulk(value.into()),
        (None, None) => said(format!("(error) Unsupported config parameter: {}", printable(name))),
    };
    Reply::Array(names.iter().map(element).collect())
}

/// `RG.CONFIGSET name value [name value ...]`: an element for each pair. Tells whether a setting has changed that workers know.
pub(super) fn changed(pairs: &[&[u8]]) -> (Reply, bool) {
    let mut matters_to_workers = false;
    let element = |pair: &[&[u8]]| {
        let name = printable(pair[0]);
        let Some(value) = pair.get(1) else { return said(format!("(error) Value was not given to {name}")) };
        match named(pair[0]) {
            None => {
                lock(&EXTRA).insert(pair[0].to_vec(), value.to_vec());
                Reply::Simple(Bytes::from_static(b"OK - value was saved in extra config dictionary"))
            }
            Some(setting) => match setting.changes {
                AtLoadOnly => said(format!("(error) Config value {name} not modifiable at runtime")),
                AtLoadOnlyOfPython => said(format!("(error) {name} is not configurable at runtime")),
                Always => match setting.set(value) {
                    Ok(()) => {
                        matters_to_workers |= ["ProfileExecutions", "PythonAttemptTraceback"].contains(&setting.name);
                        Reply::OK
                    }
                    Err(_) => said(format!("(error) Failed setting config value {name}")),
                },
            },
        }
    };
    let elements = pairs.chunks(2).map(element).collect();
    (Reply::Array(elements), matters_to_workers)
}

fn said(text: String) -> Reply {
    Reply::Bulk(text.into())
}

fn named(name: &[u8]) -> Option<&'static GearsSetting> {
    SETTINGS.iter().copied().find(|setting| setting.name.as_bytes().eq_ignore_ascii_case(name))
}

impl GearsSetting {
    fn number(&self) -> i64 {
        match &self.value {
            SettingValue::Number { value, .. } | SettingValue::Flag { value, .. } => value.load(Relaxed),
            SettingValue::Text(_) | SettingValue::Texts(_) => 0,
        }
    }

    fn shown(&self) -> Reply {
        match &self.value {
            SettingValue::Number { value, .. } | SettingValue::Flag { value, .. } => value.load(Relaxed).into(),
            SettingValue::Text(text) => Reply::Bulk(lock(text).clone().into()),
            SettingValue::Texts(texts) => {
                Reply::Array(lock(texts).iter().map(|text| Reply::Bulk(text.clone().into())).collect())
            }
        }
    }

    /// Takes a value; the error says what is allowed.
    fn set(&self, given: &[u8]) -> Result<(), String> {
        let integer = match Number::parse(given) {
            Some(Number::Integer(integer)) => Some(integer),
            _ => None,
        };
        match &self.value {
            SettingValue::Number { value, least, .. } => {
                let integer = integer.filter(|integer| integer >= least);
                value.store(integer.ok_or_else(|| format!("a number from {least} on"))?, Relaxed);
            }
            SettingValue::Flag { value, .. } => {
                let flag = match given.to_ascii_lowercase().as_slice() {
                    b"yes" | b"true" => Some(1),
                    b"no" | b"false" => Some(0),
                    _ => integer.map(|integer| i64::from(integer != 0)),
                };
                value.store(flag.ok_or("0 or 1")?, Relaxed);
            }
            SettingValue::Text(text) => *lock(text) = given.to_vec(),
            SettingValue::Texts(texts) => lock(texts).push(given.to_vec()),
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(line: &str) -> Vec<&[u8]> {
        line.split(' ').map(str::as_bytes).collect()
    }

    // Settings are the server's own, so that one test does it all.
    #[test]
    fn settings_are_shown_and_changed_as_redisgears_does_it() {
        reset();
        let unknown = Reply::from("(error) Unsupported config parameter: Nope");
        assert_eq!(shown(&words("MaxExecutions Nope")), Reply::Array(vec![1000.into(), unknown]));
        // The case matters where a value is asked for, and nowhere else.
        assert!(format!("{:?}", shown(&words("maxexecutions"))).contains("Unsupported"));
        let (reply, matters) =
            changed(&words("maxexecutions 3 ExecutionThreads 4 CreateVenv 1 own x ProfileExecutions"));
        let expected = [
            Reply::OK,
            Reply::from("(error) Config value ExecutionThreads not modifiable at runtime"),
            Reply::from("(error) CreateVenv is not configurable at runtime"),
            Reply::Simple("OK - value was saved in extra config dictionary".into()),
            Reply::from("(error) Value was not given to ProfileExecutions"),
        ];
        assert_eq!((reply, matters), (Reply::Array(expected.to_vec()), false));
        assert_eq!((max_executions(), extra(b"own")), (Some(3), Some(b"x".to_vec())));
        assert_eq!(extra(b"MaxExecutions"), None);
        let (reply, _) = changed(&words("MaxExecutions many"));
        assert_eq!(reply, Reply::Array(vec!["(error) Failed setting config value MaxExecutions".into()]));
        assert!(changed(&words("PythonAttemptTraceback 0")).1 && !attempts_traceback());

        let others = take_arguments(&words("plugin a.so timeout-ms 5 Plugin b.so CREATEVENV 1 maxexecutions")).unwrap();
        assert_eq!(others, words("timeout-ms 5 maxexecutions"));
        let plugins = Reply::Array(vec!["a.so".into(), "b.so".into()]);
        assert_eq!(shown(&words("Plugin CreateVenv")), Reply::Array(vec![plugins, 1.into()]));
        let own = words("OwnValue 7 ownvalue 8 OWNVALUE 9 Time-Ms 1 RMR.Nodez x Python p");
        assert_eq!(take_arguments(&own).unwrap(), own[2..]);
        assert_eq!((extra(b"OwnValue"), extra(b"Python")), (Some(b"7".to_vec()), None));
        let refused = take_arguments(&words("maxexecutions -1")).unwrap_err();
        assert_eq!(refused, "MaxExecutions is '-1'; give a number from 0 on");
        take_arguments(&words("MAXEXECUTIONS 0")).unwrap();
        assert_eq!(max_executions(), None);
        reset();
        assert_eq!((max_executions(), profiles_executions()), (Some(1000), false));
    }
}
