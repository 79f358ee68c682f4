//! A reducer in C, and the memory of its partial results, as safe Rust.
//!
//! `include/rmr.h` tells the author of the other module how the pointers may be used: callbacks come on any thread,
//! of one partial result by one thread at a time. Each of them holds the module's code by its [`Guest`].

use std::ffi::{CStr, c_char, c_int, c_uint, c_void};
use std::ptr::NonNull;
use std::sync::Arc;

use super::given::{OK, VERSION, bytes_of, is_name};
use super::reply::{RawReply, taken};
use crate::combine::Origin;
use crate::module::guests::guest::{Guest, lasting};
use crate::reply::Reply;

/// `RMR_Origin`.
#[repr(C)]
pub(super) struct RawOrigin {
    place: c_uint,
    key: *const c_char,
    key_length: usize,
}

/// `RMR_Reducer`, as the other module gives it: any of the pointers may be null.
#[repr(C)]
pub(super) struct RawReducer {
    version: c_int,
    name: *const c_char,
    flags: c_int,
    data: *mut c_void,
    create: Option<unsafe extern "C" fn(*const c_char, usize, *mut c_void) -> *mut c_void>,
    take: Option<Take>,
    combine: Option<unsafe extern "C" fn(*mut c_void, *const c_void)>,
    encode: Option<unsafe extern "C" fn(*const c_void, *mut Vec<u8>)>,
    decode: Option<unsafe extern "C" fn(*mut c_void, *const c_char, usize) -> c_int>,
    finish: Option<unsafe extern "C" fn(*const c_void) -> *mut RawReply>,
    free: Option<unsafe extern "C" fn(*mut c_void)>,
}

type Take = unsafe extern "C" fn(*mut c_void, *const RawOrigin, *const RawReply) -> c_int;

/// A reducer of another module.
pub(crate) struct ForeignReducer {
    name: &'static str,
    flags: c_int,
    data: *mut c_void,
    create: unsafe extern "C" fn(*const c_char, usize, *mut c_void) -> *mut c_void,
    take: Take,
    combine: unsafe extern "C" fn(*mut c_void, *const c_void),
    encode: unsafe extern "C" fn(*const c_void, *mut Vec<u8>),
    decode: unsafe extern "C" fn(*mut c_void, *const c_char, usize) -> c_int,
    finish: unsafe extern "C" fn(*const c_void) -> *mut RawReply,
    free: unsafe extern "C" fn(*mut c_void),
    guest: Arc<Guest>,
}

// SAFETY: functions that may be called on any thread, and a pointer that is handed to them, as rmr.h says to their author.
unsafe impl Send for ForeignReducer {}
// SAFETY: as above, several at once.
unsafe impl Sync for ForeignReducer {}

impl ForeignReducer {
    const NEEDS_PLACES: c_int = 1;
    const NEEDS_KEYS: c_int = 2;

    /// Copies what another module says of a reducer.
    ///
    /// # Safety
    /// `raw` is null or an `RMR_Reducer`, with functions that are what rmr.h asks of them.
    pub(super) unsafe fn of(raw: *const RawReducer, guest: Arc<Guest>) -> Result<Self, String> {
        if raw.is_null() {
            return Err("there is no reducer".into());
        }
        // SAFETY: as the caller says. The version stands in front in all versions.
        let version = unsafe { (*raw).version };
        if version != VERSION {
            return Err(format!("the reducer has version {version}; give RMR_API_VERSION, {VERSION}"));
        }
        // SAFETY: a structure of this version.
        let raw = unsafe { &*raw };
        // SAFETY: a text that ends in zero.
        let name = if raw.name.is_null() { c"" } else { unsafe { CStr::from_ptr(raw.name) } };
        let name = is_name(name, "reducer")?;
        let missing = |function: &str| format!("the reducer {name} has no function {function}");
        Ok(Self {
            name: lasting(name),
            flags: raw.flags,
            data: raw.data,
            create: raw.create.ok_or_else(|| missing("create"))?,
            take: raw.take.ok_or_else(|| missing("take"))?,
            combine: raw.combine.ok_or_else(|| missing("combine"))?,
            encode: raw.encode.ok_or_else(|| missing("encode"))?,
            decode: raw.decode.ok_or_else(|| missing("decode"))?,
            finish: raw.finish.ok_or_else(|| missing("finish"))?,
            free: raw.free.ok_or_else(|| missing("free"))?,
            guest,
        })
    }

    pub(crate) fn name(&self) -> &'static str {
        self.name
    }

    /// Returns the module whose reducer this is.
    pub(crate) fn guest(&self) -> &Arc<Guest> {
        &self.guest
    }

    pub(crate) fn needs_places(&self) -> bool {
        self.flags & Self::NEEDS_PLACES != 0
    }

    pub(crate) fn needs_keys(&self) -> bool {
        self.flags & Self::NEEDS_KEYS != 0
    }

    /// Makes the partial result of no replies. `None` if the reducer does not take these arguments.
    pub(crate) fn open(self: &Arc<Self>, arguments: &[u8]) -> Option<ForeignPartial> {
        // SAFETY: as rmr.h asks of the function; bytes that live for the length of the call.
        let memory = unsafe { (self.create)(arguments.as_ptr().cast(), arguments.len(), self.data) };
        Some(ForeignPartial { memory: NonNull::new(memory)?, reducer: self.clone() })
    }
}

/// The partial result of a part of the replies, in memory of another module.
pub(crate) struct ForeignPartial {
    memory: NonNull<c_void>,
    reducer: Arc<ForeignReducer>,
}

// SAFETY: rmr.h says to the author that a partial result is handed from thread to thread.
unsafe impl Send for ForeignPartial {}
// SAFETY: what is done through a shared reference only reads: rmr.h says const there.
unsafe impl Sync for ForeignPartial {}

impl ForeignPartial {
    /// Takes a reply. Returns `false` if the reducer cannot take one of this type.
    pub(crate) fn take(&mut self, origin: Origin<'_>, reply: &Reply) -> bool {
        let origin = RawOrigin { place: origin.place, key: origin.key.as_ptr().cast(), key_length: origin.key.len() };
        // SAFETY: as rmr.h asks of the function; what it is given lives for the length of the call.
        unsafe { (self.reducer.take)(self.memory.as_ptr(), &raw const origin, RawReply::of(reply)) == OK }
    }

    /// Adds another part, of the same reducer.
    pub(crate) fn combine(&mut self, other: &Self) {
        // SAFETY: as rmr.h asks of the function; two different partial results, both live.
        unsafe { (self.reducer.combine)(self.memory.as_ptr(), other.memory.as_ptr()) };
    }

    /// Returns the partial result as it travels.
    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut bytes = Vec::new();
        // SAFETY: as rmr.h asks of the function; the buffer lives for the length of the call.
        unsafe { (self.reducer.encode)(self.memory.as_ptr(), &raw mut bytes) };
        bytes
    }

    /// Becomes what these bytes say. Returns `false` for bytes that say nothing.
    pub(crate) fn decode(&mut self, bytes: &[u8]) -> bool {
        // SAFETY: as rmr.h asks of the function; bytes that live for the length of the call.
        unsafe { (self.reducer.decode)(self.memory.as_ptr(), bytes.as_ptr().cast(), bytes.len()) == OK }
    }

    /// Makes the result. `None` if the reducer gives none.
    pub(crate) fn finish(&self) -> Option<Reply> {
        // SAFETY: as rmr.h asks of the function, which gives a reply that it has created, or null.
        unsafe { taken((self.reducer.finish)(self.memory.as_ptr())) }
    }
}

impl Drop for ForeignPartial {
    fn drop(&mut self) {
        // SAFETY: made by `create`, and freed once. The code is there: the reducer holds it.
        unsafe { (self.reducer.free)(self.memory.as_ptr()) };
    }
}

/// `RMR_Append`.
pub(super) unsafe extern "C" fn append(buffer: *mut Vec<u8>, bytes: *const c_char, length: usize) {
    // SAFETY: the buffer that `encode` was given, for the length of that call, or null; as many bytes as are said.
    let (buffer, bytes) = unsafe { (buffer.as_mut(), bytes_of(bytes, length)) };
    if let Some(buffer) = buffer {
        buffer.extend_from_slice(bytes);
    }
}
