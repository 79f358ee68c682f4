//! A data type of ours: values of keys that the server keeps in its files, moves and replicates, and data that belongs to no
//! key but stands in the same files.
//!
//! The server calls back to save and load; a child that writes a file does so, too, in which no other thread of ours is left:
//! what is saved there must not need one, nor a lock that one may have had. A module that has a data type is not unloaded,
//! and from Redis 7.2 on it has to say so when it is loaded.

use std::ffi::{CStr, c_int, c_void};
use std::marker::PhantomData;
use std::ptr::{self, NonNull};
use std::sync::atomic::{AtomicPtr, Ordering};

use redis_module::raw;

use super::api::{probe, required};
use super::callback::guarded;
use super::context::{self, Ctx};
use super::string::{OwnedString, string_bytes};

/// Servers from this version of the methods on save nothing where there is nothing.
const SAVES_NOTHING: c_int = 5;

/// A value of a key, as bytes, and the data that stands beside all keys.
pub(crate) trait KeyValue: Sized + Send + 'static {
    /// The name of the type, of nine letters.
    const NAME: &'static CStr;
    /// The version of the bytes; others are refused.
    const VERSION: c_int;
    /// The command by which an AOF makes a value again: its name, the key, the bytes.
    const COMMAND: &'static CStr;

    /// Makes a value of what was saved, which is to live in this key. `None` if it is none.
    fn load(key: &[u8], bytes: &[u8]) -> Option<Self>;

    /// Returns what is saved. Also in a child.
    fn bytes(&self) -> &[u8];

    /// Returns what is saved beside all keys; `None` for nothing. Also in a child.
    fn aside() -> Option<Vec<u8>>;

    /// Takes what was saved beside all keys. Returns `false` if it is not to be understood.
    fn load_aside(bytes: &[u8]) -> bool;
}

/// A data type, once the server knows it.
pub(crate) struct KeyType<V> {
    raw: AtomicPtr<raw::RedisModuleType>,
    of: PhantomData<fn() -> V>,
}

/// The content of a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum KeyHolds<T> {
    Nothing,
    /// A value of another type.
    Other,
    Value(T),
}

impl<V: KeyValue> KeyType<V> {
    pub(crate) const fn new() -> Self {
        Self { raw: AtomicPtr::new(ptr::null_mut()), of: PhantomData }
    }

    /// Tells whether the server knows the type.
    pub(crate) fn is_registered(&self) -> bool {
        !self.raw.load(Ordering::Relaxed).is_null()
    }

    /// Forgets the type: the module is loaded anew.
    pub(crate) fn reset(&self) {
        self.raw.store(ptr::null_mut(), Ordering::Relaxed);
    }

    /// Tells the server of the type, while the module is loaded. Returns `false` if it refuses.
    pub(crate) fn register(&self, ctx: Ctx<'_>) -> bool {
        let version = version();
        let saves_nothing = version >= SAVES_NOTHING;
        let mut methods = raw::RedisModuleTypeMethods {
            version: version.clamp(0, SAVES_NOTHING) as u64,
            rdb_load: Some(load::<V>),
            rdb_save: Some(save::<V>),
            aof_rewrite: Some(rewrite::<V>),
            mem_usage: Some(memory::<V>),
            digest: None,
            free: Some(free::<V>),
            aux_load: Some(load_aside::<V>),
            aux_save: if saves_nothing { None } else { Some(save_aside::<V>) },
            aux_save_triggers: raw::REDISMODULE_AUX_AFTER_RDB as c_int,
            free_effort: None,
            unlink: None,
            copy: None,
            defrag: None,
            mem_usage2: None,
            free_effort2: None,
            unlink2: None,
            copy2: None,
            aux_save2: if saves_nothing { Some(save_aside_if_any::<V>) } else { None },
        };
        // SAFETY: invariants 1, 2, 5 and 6: the server copies the methods, of which it reads those of the version that it knows.
        let kind = unsafe {
            required!(RedisModule_CreateDataType)(ctx.as_ptr(), V::NAME.as_ptr(), V::VERSION, &raw mut methods)
        };
        self.raw.store(kind, Ordering::Relaxed);
        !kind.is_null()
    }

    /// Looks at what a key has. It counts as read.
    pub(crate) fn find<T>(&self, ctx: Ctx<'_>, key: &[u8], look: impl FnOnce(&V) -> T) -> KeyHolds<T> {
        let Some(key) = OpenKey::open(ctx, key, raw::REDISMODULE_READ) else { return KeyHolds::Nothing };
        match key.kind() {
            kind if kind == raw::REDISMODULE_KEYTYPE_EMPTY as c_int => KeyHolds::Nothing,
            kind if kind == raw::REDISMODULE_KEYTYPE_MODULE as c_int => {
                // SAFETY: the key is open, and has a value of a module.
                let kind = unsafe { required!(RedisModule_ModuleTypeGetType)(key.0.as_ptr()) };
                if !self.is_registered() || kind != self.raw.load(Ordering::Relaxed) {
                    return KeyHolds::Other;
                }
                // SAFETY: the value is of our type, so it is one that we have given the server; it stays while the key is open
                // and nothing is written.
                let value = unsafe { required!(RedisModule_ModuleTypeGetValue)(key.0.as_ptr()).cast::<V>().as_ref() };
                value.map_or(KeyHolds::Nothing, |value| KeyHolds::Value(look(value)))
            }
            _ => KeyHolds::Other,
        }
    }

    /// Gives a key this value, whatever it had. Returns `false` if the server does not take it.
    pub(crate) fn set(&self, ctx: Ctx<'_>, key: &[u8], value: V) -> bool {
        let kind = self.raw.load(Ordering::Relaxed);
        if kind.is_null() {
            return false;
        }
        let Some(key) = OpenKey::open(ctx, key, raw::REDISMODULE_READ | raw::REDISMODULE_WRITE) else { return false };
        let value = Box::into_raw(Box::new(value));
        // SAFETY: the key is open for writing, and no iterator is; the value is one of this type, and the server's from now on.
        let status = unsafe { required!(RedisModule_ModuleTypeSetValue)(key.0.as_ptr(), kind, value.cast()) };
        if status == raw::REDISMODULE_OK as c_int {
            return true;
        }
        // SAFETY: invariant 4: it was not taken.
        drop(unsafe { Box::from_raw(value) });
        false
    }
}

/// Tells whether the server can save nothing beside all keys, so that its files are free of us where we have nothing.
pub(crate) fn saves_nothing() -> bool {
    version() >= SAVES_NOTHING
}

/// Returns which methods of types the server knows.
fn version() -> c_int {
    // SAFETY: takes nothing, and only reads.
    probe!(RedisModule_GetTypeMethodVersion).map_or(0, |version| unsafe { version() })
}

/// A key that is open.
struct OpenKey<'c>(NonNull<raw::RedisModuleKey>, PhantomData<Ctx<'c>>);

impl<'c> OpenKey<'c> {
    fn open(ctx: Ctx<'c>, name: &[u8], mode: u32) -> Option<Self> {
        let name = OwnedString::new(name);
        // SAFETY: a live context and a live string, of which the server keeps a reference of its own.
        let key = unsafe { required!(RedisModule_OpenKey)(ctx.as_ptr(), name.as_ptr(), mode as c_int) };
        NonNull::new(key).map(|key| Self(key, PhantomData))
    }

    fn kind(&self) -> c_int {
        // SAFETY: the key is open.
        unsafe { required!(RedisModule_KeyType)(self.0.as_ptr()) }
    }
}

impl Drop for OpenKey<'_> {
    fn drop(&mut self) {
        // SAFETY: the key is open, and not used any more.
        unsafe { required!(RedisModule_CloseKey)(self.0.as_ptr()) };
    }
}

/// Reads one string of a file; `None` where it ends too soon.
///
/// # Safety
/// The file is one that the server is loading now.
unsafe fn read_string(file: *mut raw::RedisModuleIO) -> Option<Vec<u8>> {
    let mut length = 0;
    // SAFETY: as the caller says; the server gives a buffer of this length, which is ours to free, or null.
    unsafe {
        let start = required!(RedisModule_LoadStringBuffer)(file, &mut length);
        if start.is_null() {
            return None;
        }
        let bytes = std::slice::from_raw_parts(start.cast(), length).to_vec();
        required!(RedisModule_Free)(start.cast());
        Some(bytes)
    }
}

/// # Safety
/// The file is one that the server is writing now.
unsafe fn write_string(file: *mut raw::RedisModuleIO, bytes: &[u8]) {
    // SAFETY: as the caller says, and invariant 6.
    unsafe { required!(RedisModule_SaveStringBuffer)(file, bytes.as_ptr().cast(), bytes.len()) };
}

unsafe extern "C" fn load<V: KeyValue>(file: *mut raw::RedisModuleIO, version: c_int) -> *mut c_void {
    if version != V::VERSION {
        return ptr::null_mut();
    }
    // SAFETY: the server's own file, for the length of this call.
    let Some(bytes) = (unsafe { read_string(file) }) else { return ptr::null_mut() };
    // SAFETY: as above; the name stays for the length of this call.
    let key = unsafe {
        let name = required!(RedisModule_GetKeyNameFromIO)(file);
        if name.is_null() { &[] } else { string_bytes(name.cast_mut()) }
    };
    let value = guarded(|| V::load(key, &bytes)).flatten();
    value.map_or(ptr::null_mut(), |value| Box::into_raw(Box::new(value)).cast())
}

unsafe extern "C" fn save<V: KeyValue>(file: *mut raw::RedisModuleIO, value: *mut c_void) {
    // SAFETY: a value that `load` or `set` has given the server, and the server's own file.
    unsafe { write_string(file, (*value.cast::<V>()).bytes()) };
}

unsafe extern "C" fn rewrite<V: KeyValue>(
    file: *mut raw::RedisModuleIO,
    key: *mut raw::RedisModuleString,
    value: *mut c_void,
) {
    // SAFETY: as for `save`; the format says what follows: a string of the server's, and the bytes of another.
    unsafe {
        let bytes = (*value.cast::<V>()).bytes();
        let emit = required!(RedisModule_EmitAOF);
        emit(file, V::COMMAND.as_ptr(), c"sb".as_ptr(), key, bytes.as_ptr(), bytes.len());
    }
}

unsafe extern "C" fn memory<V: KeyValue>(value: *const c_void) -> usize {
    // SAFETY: a value that `load` or `set` has given the server.
    size_of::<V>() + unsafe { (*value.cast::<V>()).bytes().len() }
}

/// Also called on threads of the server that free what is large.
unsafe extern "C" fn free<V: KeyValue>(value: *mut c_void) {
    // SAFETY: invariant 4: made by `load` or `set`; a value may be sent to other threads.
    guarded(|| drop(unsafe { Box::from_raw(value.cast::<V>()) }));
}

unsafe extern "C" fn save_aside<V: KeyValue>(file: *mut raw::RedisModuleIO, _: c_int) {
    let bytes = guarded(V::aside).flatten().unwrap_or_default();
    // SAFETY: the server's own file, for the length of this call.
    unsafe { write_string(file, &bytes) };
}

unsafe extern "C" fn save_aside_if_any<V: KeyValue>(file: *mut raw::RedisModuleIO, _: c_int) {
    if let Some(bytes) = guarded(V::aside).flatten() {
        // SAFETY: the server's own file, for the length of this call.
        unsafe { write_string(file, &bytes) };
    }
}

unsafe extern "C" fn load_aside<V: KeyValue>(file: *mut raw::RedisModuleIO, version: c_int, _: c_int) -> c_int {
    // SAFETY: the server's own file, for the length of this call.
    let bytes = unsafe { read_string(file) }.filter(|_| version == V::VERSION);
    let is_taken = bytes.is_some_and(|bytes| bytes.is_empty() || guarded(|| V::load_aside(&bytes)) == Some(true));
    if is_taken { raw::REDISMODULE_OK as c_int } else { raw::REDISMODULE_ERR as c_int }
}

/// Says where a command goes that this node replicates.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ReplicateTo {
    AofAndReplicas,
    Aof,
}

/// Replicates a command, when the context ends. Not while writes are
/// [paused](context::writes_are_paused): the server would end itself.
pub(crate) fn replicate(ctx: Ctx<'_>, to: ReplicateTo, name: &CStr, args: &[&[u8]]) {
    debug_assert!(!context::writes_are_paused(), "replicated while writes are paused");
    let strings: Vec<OwnedString> = args.iter().map(|arg| OwnedString::new(arg)).collect();
    let mut pointers: Vec<_> = strings.iter().map(OwnedString::as_ptr).collect();
    let format = if to == ReplicateTo::Aof { c"Rv" } else { c"v" };
    // SAFETY: a live context; the format says what follows: pointers to strings that live until the call returns, and how
    // many they are.
    unsafe {
        let replicate = required!(RedisModule_Replicate);
        replicate(ctx.as_ptr(), name.as_ptr(), format.as_ptr(), pointers.as_mut_ptr(), pointers.len());
    }
}

/// Replicates the command that runs as it is.
pub(crate) fn replicate_this(ctx: Ctx<'_>) {
    // SAFETY: a live context.
    unsafe { required!(RedisModule_ReplicateVerbatim)(ctx.as_ptr()) };
}
