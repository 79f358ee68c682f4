//! Running commands in process, with the server's own `RedisModule_Call`.

use std::ffi::CString;
use std::ptr::NonNull;

use bytes::Bytes;
use redis_module::raw;

use super::api::required;
use super::context::Ctx;
use super::string::OwnedString;
use crate::command::Command;
use crate::link::Protocol;
use crate::reply::Reply;
use crate::resp::decode;

/// Runs commands in process. What it needs for one command serves the next.
pub(crate) struct CommandRunner<'c> {
    ctx: Ctx<'c>,
    protocol: Protocol,
    name: CString,
    args: Vec<OwnedString>,
    pointers: Vec<*mut raw::RedisModuleString>,
}

impl<'c> CommandRunner<'c> {
    pub(crate) fn new(ctx: Ctx<'c>, protocol: Protocol) -> Self {
        Self { ctx, protocol, name: CString::default(), args: Vec::new(), pointers: Vec::new() }
    }

    /// Runs a command as the server itself.
    pub(crate) fn call<'a>(&mut self, mut command: impl Iterator<Item = &'a [u8]>) -> Called {
        let name = command.next().unwrap_or_default();
        if self.name.as_bytes() != name {
            let Ok(name) = CString::new(name) else {
                return Called::Refused("-ERR unknown command: its name has a zero byte\r\n".into());
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
        let (call, ctx, name) = (required!(RedisModule_Call), self.ctx.as_ptr(), self.name.as_ptr());
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
        match NonNull::new(reply) {
            Some(reply) => {
                let did_not_run = matches!(errno.0, libc::EPERM | libc::ENETDOWN | libc::EROFS);
                Called::Answered { reply: ServersReply(reply), did_not_run }
            }
            None => Called::Refused(format!("-ERR the call failed: {errno}\r\n")),
        }
    }
}

/// What became of a command that was run in process.
pub(crate) enum Called {
    /// The server has answered. With an error it may say that the command did not run: its keys are not this node's, or the
    /// cluster is down.
    Answered { reply: ServersReply, did_not_run: bool },
    /// It could not be called, as this error says.
    Refused(String),
}

impl Called {
    /// The reply, as the server encodes it.
    pub(crate) fn wire(&self) -> &[u8] {
        match self {
            Self::Answered { reply, .. } => reply.wire(),
            Self::Refused(error) => error.as_bytes(),
        }
    }

    /// Whether the server refused the command for keys that are not this node's. It does not say whose they are.
    pub(crate) fn is_not_here(&self) -> bool {
        const REFUSALS: [&[u8]; 2] = [b"-ERR Attempted to access ", b"-ERR Can not execute a "];
        matches!(self, Self::Answered { did_not_run: true, .. })
            && REFUSALS.iter().any(|refusal| self.wire().starts_with(refusal))
    }
}

/// A reply that the server holds for us.
pub(crate) struct ServersReply(NonNull<raw::RedisModuleCallReply>);

impl ServersReply {
    fn wire(&self) -> &[u8] {
        let mut length = 0;
        // SAFETY: the reply is ours; its bytes live as long as it does.
        unsafe {
            let start = required!(RedisModule_CallReplyProto)(self.0.as_ptr(), &mut length);
            std::slice::from_raw_parts(start.cast(), length)
        }
    }
}

impl Drop for ServersReply {
    fn drop(&mut self) {
        // SAFETY: the reply is ours, and not used any more.
        unsafe { required!(RedisModule_FreeCallReply)(self.0.as_ptr()) };
    }
}

/// Runs one command in process and reads its reply. On the main thread.
pub(crate) fn run(ctx: Ctx<'_>, command: &Command) -> Reply {
    let called = CommandRunner::new(ctx, Protocol::Resp3).call(command.words());
    let failed = |error| Reply::Error(Bytes::from(format!("ERR {error}")));
    decode(&Bytes::copy_from_slice(called.wire()), &mut 0).unwrap_or_else(failed)
}

/// One setting of the server; empty if it has none of this name. On the main thread.
pub(crate) fn config_get(ctx: Ctx<'_>, name: &str) -> Vec<u8> {
    let reply = run(ctx, &Command::new("CONFIG").arg("GET").arg(name));
    reply.field(name).and_then(Reply::bytes).unwrap_or_default().to_vec()
}
