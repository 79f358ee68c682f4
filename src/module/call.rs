//! Running commands in process, with the server's own `RedisModule_Call`.

use std::ffi::CString;

use bytes::{BufMut, BytesMut};
use redis_module::raw;

use super::api::{Ctx, OwnedString, required};
use crate::link::Protocol;

/// Runs commands in process. What it needs for one command serves the next.
pub(super) struct Caller {
    ctx: Ctx,
    protocol: Protocol,
    name: CString,
    args: Vec<OwnedString>,
    pointers: Vec<*mut raw::RedisModuleString>,
}

impl Caller {
    pub(super) fn new(ctx: Ctx, protocol: Protocol) -> Self {
        Self { ctx, protocol, name: CString::default(), args: Vec::new(), pointers: Vec::new() }
    }

    /// Runs a command as the server itself; appends the reply to `out`.
    pub(super) fn call<'a>(&mut self, mut command: impl Iterator<Item = &'a [u8]>, out: &mut BytesMut) -> Called {
        let name = command.next().unwrap_or_default();
        if self.name.as_bytes() != name {
            let Ok(name) = CString::new(name) else {
                out.put_slice(b"-ERR unknown command: its name has a zero byte\r\n");
                return Called::Done;
            };
            self.name = name;
        }
        let first = command.next();
        let second = command.next();
        // ! replicate, 3 reply in RESP3, E errors as replies, M mind maxmemory; then b one string, or v a vector of them.
        let (one, many) = match self.protocol {
            Protocol::Resp2 => (c"!EMb", c"!EMv"),
            Protocol::Resp3 => (c"!3EMb", c"!3EMv"),
        };
        let (call, ctx, name) = (required!(RedisModule_Call), self.ctx.0, self.name.as_ptr());
        errno::set_errno(errno::Errno(0));
        let reply = match (first, second) {
            // SAFETY: the format says what follows: the bytes of one string, and how many they are.
            (Some(only), None) => unsafe { call(ctx, name, one.as_ptr(), only.as_ptr(), only.len()) },
            _ => {
                self.args.clear();
                self.args.extend(first.into_iter().chain(second).chain(command).map(OwnedString::new));
                self.pointers.clear();
                self.pointers.extend(self.args.iter().map(OwnedString::as_ptr));
                let (pointers, count) = (self.pointers.as_mut_ptr(), self.pointers.len());
                // SAFETY: the format says what follows: pointers to strings that live until the call returns, and how
                // many they are.
                unsafe { call(ctx, name, many.as_ptr(), pointers, count) }
            }
        };
        let errno = errno::errno();
        if reply.is_null() {
            out.put_slice(format!("-ERR the call failed: {errno}\r\n").as_bytes());
            return Called::Done;
        }
        // SAFETY: the reply is ours; its bytes live as long as it does.
        unsafe {
            let mut length = 0;
            let start = required!(RedisModule_CallReplyProto)(reply, &mut length);
            out.put_slice(std::slice::from_raw_parts(start.cast(), length));
            required!(RedisModule_FreeCallReply)(reply);
        }
        if matches!(errno.0, libc::EPERM | libc::ENETDOWN | libc::EROFS) { Called::NotHere } else { Called::Done }
    }
}

/// What became of a command that was run in process.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Called {
    /// It ran, or was refused for what it is.
    Done,
    /// It did not run, if its error says so too: its keys are not this node's, or the cluster is down.
    NotHere,
}
