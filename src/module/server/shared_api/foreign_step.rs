//! A step of flows in C, and the records that it is given and gives, as safe Rust.

use std::ffi::{CStr, c_char, c_int, c_void};
use std::ptr;
use std::sync::Arc;

use super::given::{ERR, OK, VERSION, bytes_of, is_name};
use super::reply::{RawReply, taken};
use crate::module::guests::guest::Guest;
use crate::reply::Reply;

type Run = unsafe extern "C" fn(
    *const ForeignRecords,
    *mut ForeignRecords,
    *const c_char,
    usize,
    *mut c_void,
) -> *mut RawReply;

/// `RMR_Step`, as the other module gives it: any of the pointers may be null.
#[repr(C)]
pub(super) struct RawStep {
    version: c_int,
    name: *const c_char,
    data: *mut c_void,
    run: Option<Run>,
}

/// `RMR_Records`: keys, each with a reply.
#[derive(Default)]
pub(crate) struct ForeignRecords(Vec<(Vec<u8>, Reply)>);

impl ForeignRecords {
    /// Adds a record.
    pub(crate) fn push(&mut self, key: Vec<u8>, reply: Reply) {
        self.0.push((key, reply));
    }

    /// Returns the records, in order.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (&[u8], &Reply)> {
        self.0.iter().map(|(key, reply)| (&key[..], reply))
    }
}

/// A step of another module.
pub(crate) struct ForeignStep {
    name: String,
    data: *mut c_void,
    run: Run,
    guest: Arc<Guest>,
}

// SAFETY: a function that may be called on any thread, and a pointer that is handed to it, as rmr.h says to their author.
unsafe impl Send for ForeignStep {}
// SAFETY: as above, several at once.
unsafe impl Sync for ForeignStep {}

impl ForeignStep {
    /// Copies what another module says of a step.
    ///
    /// # Safety
    /// `raw` is null or an `RMR_Step`, with a function that is what rmr.h asks of it.
    pub(super) unsafe fn of(raw: *const RawStep, guest: Arc<Guest>) -> Result<Self, String> {
        if raw.is_null() {
            return Err("there is no step".into());
        }
        // SAFETY: as the caller says. The version stands in front in all versions.
        let version = unsafe { (*raw).version };
        if version != VERSION {
            return Err(format!("the step has version {version}; give RMR_API_VERSION, {VERSION}"));
        }
        // SAFETY: a structure of this version, whose name is a text that ends in zero, or null.
        let (raw, name) = unsafe { (&*raw, (*raw).name) };
        // SAFETY: as above.
        let name = if name.is_null() { c"" } else { unsafe { CStr::from_ptr(name) } };
        let name = is_name(name, "step")?;
        let run = raw.run.ok_or_else(|| format!("the step {name} has no function run"))?;
        Ok(Self { name: name.to_owned(), data: raw.data, run, guest })
    }

    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    /// Returns the module whose step this is.
    pub(crate) fn guest(&self) -> &Arc<Guest> {
        &self.guest
    }

    /// Makes new records of a batch. The error is a line.
    pub(crate) fn run(&self, records: &ForeignRecords, arguments: &[u8]) -> Result<ForeignRecords, Vec<u8>> {
        let mut made = ForeignRecords::default();
        let (start, length) = (arguments.as_ptr().cast(), arguments.len());
        // SAFETY: as rmr.h asks of the function; what it is given lives for the length of the call, and an error that it
        // gives is ours.
        let error = unsafe { taken((self.run)(ptr::from_ref(records), &raw mut made, start, length, self.data)) };
        match error {
            None | Some(Reply::Null) => Ok(made),
            Some(Reply::Error(line)) => Err(line.to_vec()),
            Some(other) => Err(format!("ERR it has given {} instead of an error", other.describe()).into()),
        }
    }
}

/// `RMR_RecordCount`.
pub(super) unsafe extern "C" fn count(records: *const ForeignRecords) -> usize {
    // SAFETY: records that the caller holds, or null.
    unsafe { records.as_ref() }.map_or(0, |records| records.0.len())
}

/// `RMR_RecordKey`.
pub(super) unsafe extern "C" fn key(records: *const ForeignRecords, at: usize, length: *mut usize) -> *const c_char {
    // SAFETY: records that the caller holds, and a place for a length, or null.
    let (records, length) = unsafe { (records.as_ref(), length.as_mut()) };
    let key = records.and_then(|records| records.0.get(at)).map(|(key, _)| &key[..]);
    if let Some(length) = length {
        *length = key.map_or(0, <[u8]>::len);
    }
    key.map_or(ptr::null(), |key| key.as_ptr().cast())
}

/// `RMR_RecordReply`.
pub(super) unsafe extern "C" fn reply(records: *const ForeignRecords, at: usize) -> *const RawReply {
    // SAFETY: records that the caller holds, or null.
    let records = unsafe { records.as_ref() };
    records.and_then(|records| records.0.get(at)).map_or(ptr::null(), |(_, reply)| RawReply::of(reply))
}

/// `RMR_AddRecord`.
pub(super) unsafe extern "C" fn add(
    records: *mut ForeignRecords,
    key: *const c_char,
    length: usize,
    reply: *mut RawReply,
) -> c_int {
    // SAFETY: the records that the step is to fill, as many bytes as are said, and a reply that the caller gives away.
    let (records, key, reply) = unsafe { (records.as_mut(), bytes_of(key, length), taken(reply)) };
    let Some(records) = records else { return ERR };
    records.push(key.to_vec(), reply.unwrap_or(Reply::Null));
    OK
}
