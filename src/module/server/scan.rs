//! Looking at the keys of a database without leaving a trace: a cursor over the table, and keys opened by name.
//!
//! Neither counts as a use of the key: its LRU and LFU stay as they are. A key that has expired and is still in the table
//! is not there. Servers before 7.2 delete such a key when it is opened by name, as they do for any command that reads
//! it, and count it among hits and misses; the cursor does neither on any server.

use std::ffi::{c_int, c_void};
use std::marker::PhantomData;
use std::ptr::{self, NonNull};
use std::time::{SystemTime, UNIX_EPOCH};

use redis_module::raw;

use super::api::{probe, required};
use super::callback::guarded;
use super::context::Ctx;
use super::keyspace_events::quietly;
use super::string::{OwnedString, string_bytes};

/// The type of a key's value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum KeyKind {
    String,
    List,
    Hash,
    Set,
    SortedSet,
    Stream,
    /// A type of a module, or one that this code does not know: `TYPE` says which.
    Other,
}

impl KeyKind {
    /// Returns the name that `TYPE` gives it, unless a module has named it.
    pub(crate) fn name(self) -> Option<&'static str> {
        match self {
            Self::String => Some("string"),
            Self::List => Some("list"),
            Self::Hash => Some("hash"),
            Self::Set => Some("set"),
            Self::SortedSet => Some("zset"),
            Self::Stream => Some("stream"),
            Self::Other => None,
        }
    }
}

/// A key that is open for the length of a callback.
#[derive(Clone, Copy)]
pub(crate) struct KeyView<'c> {
    key: NonNull<raw::RedisModuleKey>,
    of: PhantomData<&'c ()>,
}

impl KeyView<'_> {
    /// Returns what the key holds.
    pub(crate) fn kind(self) -> KeyKind {
        // SAFETY: the key is open.
        match unsafe { required!(RedisModule_KeyType)(self.key.as_ptr()) } as isize {
            raw::REDISMODULE_KEYTYPE_STRING => KeyKind::String,
            raw::REDISMODULE_KEYTYPE_LIST => KeyKind::List,
            raw::REDISMODULE_KEYTYPE_HASH => KeyKind::Hash,
            raw::REDISMODULE_KEYTYPE_SET => KeyKind::Set,
            raw::REDISMODULE_KEYTYPE_ZSET => KeyKind::SortedSet,
            raw::REDISMODULE_KEYTYPE_STREAM => KeyKind::Stream,
            _ => KeyKind::Other,
        }
    }

    /// Tells whether the key had expired at this time.
    pub(crate) fn has_expired(self, now: Now) -> bool {
        // SAFETY: the key is open.
        let expires = unsafe { required!(RedisModule_GetAbsExpire)(self.key.as_ptr()) };
        expires >= 0 && now.0 > expires
    }

    /// Returns how many elements the value has, or the length of a string; an integer stays one.
    pub(crate) fn len(self) -> usize {
        // SAFETY: the key is open.
        unsafe { required!(RedisModule_ValueLength)(self.key.as_ptr()) }
    }

    /// Returns how long the key has not been used, or how often it was, whichever the server keeps.
    pub(crate) fn usage(self) -> Usage {
        let mut usage = Usage { idle: -1, frequency: -1 };
        // SAFETY: the key is open, and each place takes a number.
        unsafe {
            required!(RedisModule_GetLRU)(self.key.as_ptr(), &mut usage.idle);
            required!(RedisModule_GetLFU)(self.key.as_ptr(), &mut usage.frequency);
        }
        usage
    }

    /// Puts back what [`usage`](Self::usage) has returned.
    pub(crate) fn set_usage(self, usage: Usage) {
        // SAFETY: the key is open.
        unsafe {
            if usage.frequency >= 0 {
                required!(RedisModule_SetLFU)(self.key.as_ptr(), usage.frequency);
            } else if usage.idle >= 0 {
                required!(RedisModule_SetLRU)(self.key.as_ptr(), usage.idle);
            }
        }
    }
}

/// The use of a key, by which servers choose what to evict.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Usage {
    /// The idle time in milliseconds; -1 if the server counts uses.
    idle: i64,
    /// -1 if the server does not count uses.
    frequency: i64,
}

/// A moment, by the clock that keys expire by.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Now(i64);

impl Now {
    /// Reads the clock.
    pub(crate) fn read() -> Self {
        Self(SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_millis() as i64))
    }
}

/// Opens a key that exists and has not expired, does something with it, and closes it.
pub(crate) fn with_key<T>(ctx: Ctx<'_>, name: &[u8], now: Now, look: impl FnOnce(KeyView<'_>) -> T) -> Option<T> {
    struct Closing(NonNull<raw::RedisModuleKey>);
    impl Drop for Closing {
        fn drop(&mut self) {
            // SAFETY: the key is open, and not used any more.
            unsafe { required!(RedisModule_CloseKey)(self.0.as_ptr()) };
        }
    }
    let name = OwnedString::new(name);
    // SAFETY: a live context and a live string, of which the server keeps a reference of its own.
    let key = quietly(|| unsafe { required!(RedisModule_OpenKey)(ctx.as_ptr(), name.as_ptr(), mode()) });
    let closing = Closing(NonNull::new(key)?);
    let view = KeyView { key: closing.0, of: PhantomData };
    (!view.has_expired(now)).then(|| look(view))
}

/// Returns the mode in which keys are opened: without any effect, as far as the server knows how.
fn mode() -> c_int {
    const QUIET: u32 =
        raw::REDISMODULE_OPEN_KEY_NONOTIFY | raw::REDISMODULE_OPEN_KEY_NOSTATS | raw::REDISMODULE_OPEN_KEY_NOEXPIRE;
    // SAFETY: takes nothing, and only reads.
    let known = probe!(RedisModule_GetOpenKeyModesAll).map_or(0, |known| unsafe { known() } as u32);
    (raw::REDISMODULE_READ | raw::REDISMODULE_OPEN_KEY_NOTOUCH | (QUIET & known)) as c_int
}

/// Returns how many keys the selected database has, with those that have expired and are still in the table.
pub(crate) fn database_size(ctx: Ctx<'_>) -> u64 {
    // SAFETY: a live context.
    unsafe { required!(RedisModule_DbSize)(ctx.as_ptr()) }
}

/// A place in the table of a database, with which it is gone through as by `SCAN`: a key that is there all the time is
/// shown at least once.
pub(crate) struct TableCursor {
    cursor: NonNull<raw::RedisModuleScanCursor>,
    is_at_end: bool,
}

// SAFETY: a cursor is a few numbers on the heap, which nobody else has.
unsafe impl Send for TableCursor {}

impl TableCursor {
    /// Makes a cursor at the beginning.
    pub(crate) fn new() -> Self {
        // SAFETY: takes nothing; the cursor is ours to free.
        let cursor = unsafe { required!(RedisModule_ScanCursorCreate)() };
        Self { cursor: NonNull::new(cursor).expect("the server is out of memory"), is_at_end: false }
    }

    /// Tells whether the whole table has been gone through.
    pub(crate) fn is_at_end(&self) -> bool {
        self.is_at_end
    }

    /// Shows the next few keys, by name and opened, those that have expired too. Nothing may be written, or read by a
    /// command, before this returns.
    pub(crate) fn step<F: FnMut(&[u8], KeyView<'_>)>(&mut self, ctx: Ctx<'_>, show: &mut F) {
        unsafe extern "C" fn shown<F: FnMut(&[u8], KeyView<'_>)>(
            ctx: *mut raw::RedisModuleCtx,
            name: *mut raw::RedisModuleString,
            key: *mut raw::RedisModuleKey,
            to: *mut c_void,
        ) {
            guarded(|| {
                // SAFETY: the private data of `step`, which is waiting for this; nobody else has it.
                let show = unsafe { &mut *to.cast::<F>() };
                // SAFETY: invariant 3, until this returns.
                let bytes = unsafe { string_bytes(name) };
                match NonNull::new(key) {
                    Some(key) => show(bytes, KeyView { key, of: PhantomData }),
                    None => {
                        // SAFETY: invariants 1 and 2: the context of `step`.
                        let ctx = unsafe { Ctx::new(ctx) };
                        with_key(ctx, bytes, Now::read(), |view| show(bytes, view));
                    }
                }
            });
        }
        // SAFETY: invariants 1, 2 and 5; the private data is what the callback takes it to be, and outlives the call.
        let goes_on = unsafe {
            required!(RedisModule_Scan)(
                ctx.as_ptr(),
                self.cursor.as_ptr(),
                Some(shown::<F>),
                ptr::from_mut(show).cast::<c_void>(),
            )
        };
        self.is_at_end = goes_on == 0;
    }
}

impl Drop for TableCursor {
    fn drop(&mut self) {
        // SAFETY: invariant 4.
        unsafe { required!(RedisModule_ScanCursorDestroy)(self.cursor.as_ptr()) };
    }
}
