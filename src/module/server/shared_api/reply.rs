//! Replies as C sees them: `RMR_Reply`, which is a [`Reply`].

use std::ffi::{CStr, c_char, c_double, c_int, c_longlong};
use std::ptr;

use bytes::Bytes;

use super::super::callback::guarded;
use super::given::{ERR, OK, bytes_of};
use crate::number::Number;
use crate::reply::Reply;

/// A reply that C holds a pointer to.
#[repr(transparent)]
pub(in crate::module) struct RawReply(Reply);

impl RawReply {
    /// Returns the pointer to a reply that is lent for as long as a callback runs.
    pub(super) fn of(reply: &Reply) -> *const Self {
        ptr::from_ref(reply).cast()
    }
}

/// Takes over a reply that was created for C; `None` for null.
///
/// # Safety
/// `reply` is null, or comes from [`given`] and has not been taken over.
pub(super) unsafe fn taken(reply: *mut RawReply) -> Option<Reply> {
    // SAFETY: as the caller says.
    (!reply.is_null()).then(|| unsafe { Box::from_raw(reply) }.0)
}

/// Gives a reply away.
fn given(reply: Reply) -> *mut RawReply {
    Box::into_raw(Box::new(RawReply(reply)))
}

/// Returns the reply itself, without attributes; a null for null.
///
/// # Safety
/// `reply` is null or lives for `'a`.
unsafe fn seen<'a>(reply: *const RawReply) -> &'a Reply {
    // SAFETY: as the caller says.
    let mut reply = unsafe { reply.as_ref() }.map_or(&Reply::Null, |reply| &reply.0);
    while let Reply::Attributed { reply: inner, .. } = reply {
        reply = inner;
    }
    reply
}

/// `RMR_ReplyType`.
pub(super) unsafe extern "C" fn kind(reply: *const RawReply) -> c_int {
    // SAFETY: a reply that the caller holds.
    match unsafe { seen(reply) } {
        Reply::Null | Reply::NullArray => 0,
        Reply::Integer(_) => 1,
        Reply::Double(_) => 2,
        Reply::Boolean(_) => 3,
        Reply::Simple(_) | Reply::Bulk(_) | Reply::Verbatim { .. } | Reply::BigNumber(_) => 4,
        Reply::Error(_) => 5,
        Reply::Array(_) => 6,
        Reply::Set(_) => 7,
        Reply::Map(_) => 8,
        Reply::Attributed { .. } => 0,
    }
}

/// `RMR_ReplyInteger`.
pub(super) unsafe extern "C" fn integer(reply: *const RawReply, integer: *mut c_longlong) -> c_int {
    // SAFETY: a reply that the caller holds, and a place for an integer or null.
    match (unsafe { seen(reply) }.integer(), unsafe { integer.as_mut() }) {
        (Some(found), Some(integer)) => {
            *integer = found;
            OK
        }
        _ => ERR,
    }
}

/// `RMR_ReplyDouble`.
pub(super) unsafe extern "C" fn double(reply: *const RawReply, double: *mut c_double) -> c_int {
    // SAFETY: a reply that the caller holds, and a place for a double or null.
    match (unsafe { seen(reply) }.number(), unsafe { double.as_mut() }) {
        (Some(found), Some(double)) => {
            *double = match found {
                Number::Integer(integer) => integer as c_double,
                Number::Double(double) => double,
            };
            OK
        }
        _ => ERR,
    }
}

/// `RMR_ReplyBytes`.
pub(super) unsafe extern "C" fn bytes(reply: *const RawReply, length: *mut usize) -> *const c_char {
    // SAFETY: a reply that the caller holds, and a place for a length or null.
    let (reply, length) = unsafe { (seen(reply), length.as_mut()) };
    let bytes = match reply {
        Reply::Error(message) => Some(&message[..]),
        reply => reply.bytes(),
    };
    if let Some(length) = length {
        *length = bytes.map_or(0, <[u8]>::len);
    }
    bytes.map_or(ptr::null(), |bytes| bytes.as_ptr().cast())
}

/// `RMR_ReplyLength`.
pub(super) unsafe extern "C" fn length(reply: *const RawReply) -> usize {
    // SAFETY: a reply that the caller holds.
    match unsafe { seen(reply) } {
        Reply::Map(pairs) => 2 * pairs.len(),
        reply => reply.elements().map_or(0, <[Reply]>::len),
    }
}

/// `RMR_ReplyElement`.
pub(super) unsafe extern "C" fn element(reply: *const RawReply, at: usize) -> *const RawReply {
    // SAFETY: a reply that the caller holds.
    let element = match unsafe { seen(reply) } {
        Reply::Map(pairs) => pairs.get(at / 2).map(|(key, value)| if at.is_multiple_of(2) { key } else { value }),
        reply => reply.elements().and_then(|elements| elements.get(at)),
    };
    element.map_or(ptr::null(), RawReply::of)
}

/// `RMR_CreateNull`.
pub(super) unsafe extern "C" fn create_null() -> *mut RawReply {
    given(Reply::Null)
}

/// `RMR_CreateInteger`.
pub(super) unsafe extern "C" fn create_integer(integer: c_longlong) -> *mut RawReply {
    given(Reply::Integer(integer))
}

/// `RMR_CreateDouble`.
pub(super) unsafe extern "C" fn create_double(double: c_double) -> *mut RawReply {
    given(Reply::Double(double))
}

/// `RMR_CreateString`.
pub(super) unsafe extern "C" fn create_string(bytes: *const c_char, length: usize) -> *mut RawReply {
    // SAFETY: as many bytes as are said.
    given(Reply::Bulk(Bytes::copy_from_slice(unsafe { bytes_of(bytes, length) })))
}

/// `RMR_CreateError`.
pub(super) unsafe extern "C" fn create_error(text: *const c_char) -> *mut RawReply {
    // SAFETY: a text that ends in zero, or null.
    let text = if text.is_null() { c"ERR" } else { unsafe { CStr::from_ptr(text) } };
    let line = text.to_bytes().iter().map(|&byte| if byte.is_ascii_control() { b' ' } else { byte });
    given(Reply::Error(line.collect()))
}

/// `RMR_CreateArray`.
pub(super) unsafe extern "C" fn create_array() -> *mut RawReply {
    given(Reply::Array(Vec::new()))
}

/// `RMR_CreateMapReply`.
pub(super) unsafe extern "C" fn create_map() -> *mut RawReply {
    given(Reply::Map(Vec::new()))
}

/// `RMR_Push`. A key in a map has a null as its value until that is pushed, and a null that was pushed is one in a box of
/// attributes, so that the two can be told apart.
pub(super) unsafe extern "C" fn push(to: *mut RawReply, element: *mut RawReply) -> c_int {
    if to == element {
        return ERR;
    }
    // SAFETY: two replies that the caller has created, or null; the second is taken over.
    let (Some(to), Some(element)) = (unsafe { to.as_mut() }, unsafe { taken(element) }) else { return ERR };
    match &mut to.0 {
        Reply::Array(elements) => elements.push(element),
        Reply::Map(pairs) => match pairs.last_mut() {
            Some((_, value)) if is_open(value) => *value = element,
            _ => pairs.push((element, open())),
        },
        _ => return ERR,
    }
    OK
}

/// Makes the reply that stands for the value of a key in a map until the value is pushed.
fn open() -> Reply {
    Reply::Attributed { attributes: Vec::new(), reply: Box::new(Reply::Null) }
}

fn is_open(value: &Reply) -> bool {
    matches!(value, Reply::Attributed { attributes, .. } if attributes.is_empty())
}

/// `RMR_CopyReply`.
pub(super) unsafe extern "C" fn copy(reply: *const RawReply) -> *mut RawReply {
    // SAFETY: a reply that the caller holds, or null.
    let reply = unsafe { seen(reply) };
    guarded(|| given(reply.clone())).unwrap_or(ptr::null_mut())
}

/// `RMR_FreeReply`.
pub(super) unsafe extern "C" fn free(reply: *mut RawReply) {
    // SAFETY: a reply that the caller has created and not given away, or null.
    guarded(|| drop(unsafe { taken(reply) }));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_map_takes_keys_and_values_in_turn_nulls_too() {
        // SAFETY: replies that were created here, each given away once.
        unsafe {
            let map = create_map();
            for element in [create_integer(1), create_null(), create_integer(2), create_array()] {
                assert_eq!(push(map, element), OK);
            }
            assert_eq!((kind(map), length(map)), (8, 4));
            assert_eq!((kind(element(map, 1)), kind(element(map, 3)), element(map, 4)), (0, 6, ptr::null()));
            let pairs = vec![(1.into(), Reply::Null), (2.into(), Reply::Array(vec![]))];
            assert_eq!(taken(map), Some(Reply::Map(pairs)));
        }
    }

    #[test]
    fn null_pointers_are_nulls() {
        let (nothing, mut number) = (ptr::null(), 0);
        // SAFETY: null is allowed everywhere.
        unsafe {
            assert_eq!((kind(nothing), length(nothing), element(nothing, 0)), (0, 0, nothing));
            assert_eq!((integer(nothing, &raw mut number), bytes(nothing, ptr::null_mut())), (ERR, ptr::null()));
            assert_eq!(push(ptr::null_mut(), create_null()), ERR);
            free(ptr::null_mut());
            assert_eq!(taken(create_string(ptr::null(), 3)), Some(Reply::Bulk(Bytes::new())));
        }
    }

    #[test]
    fn an_error_is_one_line() {
        // SAFETY: a text that ends in zero.
        assert_eq!(unsafe { taken(create_error(c"ERR a\r\nb".as_ptr())) }, Some(Reply::Error("ERR a  b".into())));
    }
}
