//! Running commands in process, with the server's own `RedisModule_Call`.

use std::ffi::{CStr, CString};
use std::marker::PhantomData;
use std::ptr::{self, NonNull};

use bytes::Bytes;
use redis_module::raw;

use super::api::required;
use super::context::{self, Ctx};
use super::string::OwnedString;
use crate::command::Command;
use crate::link::Protocol;
use crate::reply::Reply;
use crate::resp::decode;

/// Says how the server is to take a command.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum CallKind {
    /// The server takes the command as it is.
    Plain,
    /// The server takes it as a write: the values that it stores are encoded as those of clients are.
    Write,
    /// The server takes it as a write, and refuses it where it refuses those of clients: on a replica, with too few
    /// replicas, after a snapshot that has failed.
    GuardedWrite,
}

/// The number of arguments up to which the server may be handed their bytes one by one: a call has a place for each.
const FEW: usize = 4;
const SEVERAL: usize = 16;
const MANY: usize = 64;

/// The formats of calls: ! replicate, 3 reply in RESP3, E errors as replies, M mind maxmemory, S as from a script; then b one
/// string, or v a vector of them.
struct CallFormats {
    one: &'static CStr,
    many: &'static CStr,
    many_guarded: &'static CStr,
    /// The beginning of the format of a write.
    write: &'static str,
    guarded_write: &'static str,
}

const IN_RESP2: CallFormats =
    CallFormats { one: c"!EMb", many: c"!EMv", many_guarded: c"!ESMv", write: "!EM", guarded_write: "!ESM" };
const IN_RESP3: CallFormats =
    CallFormats { one: c"!3EMb", many: c"!3EMv", many_guarded: c"!3ESMv", write: "!3EM", guarded_write: "!3ESM" };
/// The formats of calls in RESP2 that do not mind `maxmemory`.
const WITHOUT_LIMIT: CallFormats =
    CallFormats { one: c"!Eb", many: c"!Ev", many_guarded: c"!ESv", write: "!E", guarded_write: "!ES" };

/// The formats of calls in RESP2, without a limit, for commands that may block their client: K lets them, where others
/// would end the server.
const MAY_BLOCK: CallFormats =
    CallFormats { one: c"!EKb", many: c"!EKv", many_guarded: c"!ESKv", write: "!EK", guarded_write: "!ESK" };

/// The first version, Redis 7.2, in which a call may be let block its client.
const HAS_PROMISES: u32 = 0x0007_0200;

/// Runs commands in process. Its buffers for one command serve the next.
pub(crate) struct CommandRunner<'c> {
    ctx: Ctx<'c>,
    formats: &'static CallFormats,
    name: CString,
    args: Vec<OwnedString>,
    pointers: Vec<*mut raw::RedisModuleString>,
    /// The format of the last call with the bytes of arguments, with the kind and the number of arguments that it is for.
    format: Option<(CallKind, usize, CString)>,
}

/// Calls with the bytes of arguments one by one. The server reads as many as the format says.
macro_rules! call_with_bytes {
    ($call:expr, $ctx:expr, $name:expr, $format:expr, $at:expr, [$($index:literal)*]) => {
        $call($ctx, $name, $format, $($at($index).0, $at($index).1),*)
    };
}

impl<'c> CommandRunner<'c> {
    pub(crate) fn new(ctx: Ctx<'c>, protocol: Protocol) -> Self {
        Self::with_formats(ctx, if protocol == Protocol::Resp3 { &IN_RESP3 } else { &IN_RESP2 })
    }

    /// Makes one that replies in RESP2 and does not mind `maxmemory`.
    pub(crate) fn without_memory_limit(ctx: Ctx<'c>) -> Self {
        Self::with_formats(ctx, &WITHOUT_LIMIT)
    }

    fn with_formats(ctx: Ctx<'c>, formats: &'static CallFormats) -> Self {
        let (name, args, pointers) = (CString::default(), Vec::new(), Vec::new());
        Self { ctx, formats, name, args, pointers, format: None }
    }

    /// Runs a command as the server itself.
    pub(crate) fn call<'a>(&mut self, mut command: impl Iterator<Item = &'a [u8]>, kind: CallKind) -> Called<'c> {
        let name = command.next().unwrap_or_default();
        if self.name.as_bytes() != name {
            let Ok(name) = CString::new(name) else {
                return Called::Refused("-ERR unknown command: its name has a zero byte\r\n".into());
            };
            self.name = name;
        }
        let mut few = [&[][..]; FEW];
        let mut count = 0;
        for (at, arg) in few.iter_mut().zip(&mut command) {
            *at = arg;
            count += 1;
        }
        let only = match (count, kind) {
            (1, CallKind::Plain) => few[0],
            (FEW, _) => {
                let args: Vec<&[u8]> = few.into_iter().chain(command).collect();
                return match args.len() {
                    ..=FEW => self.call_with_bytes(&args, kind),
                    ..=MANY if kind != CallKind::Plain => self.call_with_bytes(&args, kind),
                    _ => self.call_many(args.into_iter(), kind),
                };
            }
            _ => return self.call_with_bytes(&few[..count], kind),
        };
        let format = self.formats.one;
        let (call, ctx, name) = (required!(RedisModule_Call), self.ctx.as_ptr(), self.name.as_ptr());
        errno::set_errno(errno::Errno(0));
        // SAFETY: the format says what follows: the bytes of one string, and how many they are.
        Called::of(self.ctx, unsafe { call(ctx, name, format.as_ptr(), only.as_ptr(), only.len()) })
    }

    /// Runs a command of another module, in RESP2 and without a limit of memory. Not all modules ask whether their client can
    /// be blocked, and servers end themselves where it cannot: `VSIM` does so to Redis 8.2.
    pub(crate) fn call_others<'a>(&mut self, command: impl Iterator<Item = &'a [u8]>, kind: CallKind) -> Called<'c> {
        if context::server_version() < HAS_PROMISES {
            return self.call(command, kind);
        }
        let usual = std::mem::replace(&mut self.formats, &MAY_BLOCK);
        self.format = None;
        let called = self.call(command, kind);
        self.formats = usual;
        self.format = None;
        called
    }

    /// Calls with a vector of strings.
    fn call_many<'a>(&mut self, args: impl Iterator<Item = &'a [u8]>, kind: CallKind) -> Called<'c> {
        let is_guarded = kind == CallKind::GuardedWrite;
        let format = if is_guarded { self.formats.many_guarded } else { self.formats.many };
        self.args.clear();
        self.args.extend(args.map(OwnedString::new));
        self.pointers.clear();
        self.pointers.extend(self.args.iter().map(OwnedString::as_ptr));
        let (pointers, count) = (self.pointers.as_mut_ptr(), self.pointers.len());
        let (call, ctx, name) = (required!(RedisModule_Call), self.ctx.as_ptr(), self.name.as_ptr());
        errno::set_errno(errno::Errno(0));
        // SAFETY: the format says what follows: pointers to strings that live until the call returns, and how many they
        // are.
        Called::of(self.ctx, unsafe { call(ctx, name, format.as_ptr(), pointers, count) })
    }

    /// Calls with the bytes of each argument. The server makes the strings, knows that nobody else has them, and so may
    /// store a number as a number.
    fn call_with_bytes(&mut self, args: &[&[u8]], kind: CallKind) -> Called<'c> {
        let format = self.format.take().filter(|(of_kind, count, _)| (*of_kind, *count) == (kind, args.len()));
        let format = format.unwrap_or_else(|| {
            let is_guarded = kind == CallKind::GuardedWrite;
            let start = if is_guarded { self.formats.guarded_write } else { self.formats.write };
            (kind, args.len(), CString::new(format!("{start}{}", "b".repeat(args.len()))).unwrap_or_default())
        });
        let at = |index: usize| args.get(index).map_or((ptr::null(), 0), |arg| (arg.as_ptr(), arg.len()));
        let (call, ctx, name) = (required!(RedisModule_Call), self.ctx.as_ptr(), self.name.as_ptr());
        let format = self.format.insert(format).2.as_ptr();
        errno::set_errno(errno::Errno(0));
        // SAFETY: the format says what follows: the bytes of so many strings, and how many they are. Arguments behind
        // these are not read.
        let reply = unsafe {
            if args.len() <= FEW {
                call_with_bytes!(call, ctx, name, format, at, [0 1 2 3])
            } else if args.len() <= SEVERAL {
                call_with_bytes!(call, ctx, name, format, at, [0 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15])
            } else {
                call_with_bytes!(call, ctx, name, format, at, [
                    0 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20 21 22 23 24 25 26 27 28 29 30 31
                    32 33 34 35 36 37 38 39 40 41 42 43 44 45 46 47 48 49 50 51 52 53 54 55 56 57 58 59 60 61 62 63
                ])
            }
        };
        Called::of(self.ctx, reply)
    }
}

/// Tells whether the server refuses even a call that is about no key. Servers without dry runs do not come to that.
pub(crate) fn refuses_all(ctx: Ctx<'_>) -> bool {
    if context::server_version() < HAS_DRY_RUNS {
        return false;
    }
    let call = required!(RedisModule_Call);
    errno::set_errno(errno::Errno(0));
    // SAFETY: the format says that nothing follows.
    let reply = unsafe { call(ctx.as_ptr(), c"PING".as_ptr(), c"D".as_ptr()) };
    !reply.is_null() && Called::of(ctx, reply).is_not_here()
}

/// The server's answer to writes that cannot be called as [guarded](CallKind::GuardedWrite).
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum WritesNow {
    Allowed,
    /// The error line, as it stands on the wire.
    Refused(Vec<u8>),
    /// The server has no command to be asked by.
    Unknown,
}

/// The first version, Redis 7.2, in which a call may be a dry run: the server looks whether it would run the command,
/// and leaves it at that.
const HAS_DRY_RUNS: u32 = 0x0007_0200;

/// Asks whether the server takes writes now, apart from whose keys are and how full its memory is. It is asked by a write
/// that does nothing, in case that the server has no dry runs; a dry run is seen by no `MONITOR` and counted nowhere.
///
/// Without a key of this node that write is wrong: guards come before the look at arguments. With one it lets the key expire
/// in 1970 if that is later than the key does now.
pub(crate) fn writes_now(ctx: Ctx<'_>, key: Option<&[u8]>) -> WritesNow {
    let is_dry = context::server_version() >= HAS_DRY_RUNS;
    let (call, at) = (required!(RedisModule_Call), ctx.as_ptr());
    errno::set_errno(errno::Errno(0));
    let reply = match key {
        None => {
            let format = if is_dry { c"DSEc" } else { c"SEc" };
            // SAFETY: the format says what follows: a string that ends in zero.
            unsafe { call(at, c"FLUSHALL".as_ptr(), format.as_ptr(), c"RMR".as_ptr()) }
        }
        Some(key) => {
            let format = if is_dry { c"DSEbcc" } else { c"SEbcc" };
            let (time, only_later) = (c"1".as_ptr(), c"GT".as_ptr());
            // SAFETY: the format says what follows: the bytes of one string, and how many they are, and two strings that end in
            // zero.
            unsafe { call(at, c"EXPIREAT".as_ptr(), format.as_ptr(), key.as_ptr(), key.len(), time, only_later) }
        }
    };
    if is_dry && reply.is_null() {
        return WritesNow::Allowed;
    }
    let called = Called::of(ctx, reply);
    match called.wire() {
        wire if called.is_guarded() => WritesNow::Refused(wire.to_vec()),
        wire if wire.starts_with(b"-ERR syntax error") || wire.starts_with(b":") => WritesNow::Allowed,
        _ => WritesNow::Unknown,
    }
}

/// The outcome of a command that was run in process.
pub(crate) enum Called<'c> {
    /// The server has answered. `errno` says something of an error only.
    Answered { reply: ServersReply<'c>, errno: i32 },
    /// The command could not be called, as this error says.
    Refused(String),
}

impl<'c> Called<'c> {
    /// Takes what a call has just returned.
    fn of(_: Ctx<'c>, reply: *mut raw::RedisModuleCallReply) -> Self {
        let errno = errno::errno();
        match NonNull::new(reply) {
            Some(reply) => Self::Answered { reply: ServersReply { reply, of: PhantomData }, errno: errno.0 },
            None => Self::Refused(format!("-ERR the call failed: {errno}\r\n")),
        }
    }

    /// Returns the reply, as the server encodes it.
    pub(crate) fn wire(&self) -> &[u8] {
        match self {
            Self::Answered { reply, .. } => reply.wire(),
            Self::Refused(error) => error.as_bytes(),
        }
    }

    /// Tells whether the command has blocked its client, and so has no reply that could be read.
    pub(crate) fn has_blocked(&self) -> bool {
        let Self::Answered { reply, .. } = self else { return false };
        // SAFETY: the reply is ours.
        let kind = unsafe { required!(RedisModule_CallReplyType)(reply.reply.as_ptr()) };
        kind as isize == raw::REDISMODULE_REPLY_PROMISE
    }

    /// Tells whether the server refused the command for keys that are not this node's, or because the cluster is down.
    /// It does not say whose they are.
    pub(crate) fn is_not_here(&self) -> bool {
        const REFUSALS: [&[u8]; 2] = [b"-ERR Attempted to access ", b"-ERR Can not execute a "];
        matches!(self, Self::Answered { errno: libc::EPERM | libc::ENETDOWN | libc::EROFS, .. })
            && REFUSALS.iter().any(|refusal| self.wire().starts_with(refusal))
    }

    /// Returns what the server says of why it has not run the command at all, as an error of the operating system; `None` if
    /// it has, or says it in words only.
    pub(crate) fn errno_of_refusal(&self) -> Option<i32> {
        let Self::Answered { reply, errno } = self else { return None };
        let begins =
            |words: &[u8]| reply.wire().get(..words.len()).is_some_and(|wire| wire.eq_ignore_ascii_case(words));
        match *errno {
            libc::ENOENT if begins(b"-ERR unknown ") => Some(libc::ENOENT),
            libc::EINVAL if begins(b"-ERR wrong number of arg") => Some(libc::EINVAL),
            errno if self.is_not_here() => Some(errno),
            _ => None,
        }
    }

    /// Tells whether the server refused a guarded write for what it is or lacks.
    pub(crate) fn is_guarded(&self) -> bool {
        matches!(self, Self::Answered { errno: libc::ESPIPE, .. }) && self.wire().first() == Some(&b'-')
    }
}

/// A reply that the server holds for us, within the callback whose context has called.
pub(crate) struct ServersReply<'c> {
    reply: NonNull<raw::RedisModuleCallReply>,
    of: PhantomData<Ctx<'c>>,
}

impl ServersReply<'_> {
    fn wire(&self) -> &[u8] {
        let mut length = 0;
        // SAFETY: the reply is ours; its bytes live as long as it does.
        unsafe {
            let start = required!(RedisModule_CallReplyProto)(self.reply.as_ptr(), &mut length);
            std::slice::from_raw_parts(start.cast(), length)
        }
    }
}

impl Drop for ServersReply<'_> {
    fn drop(&mut self) {
        // SAFETY: the reply is ours, and not used any more.
        unsafe { required!(RedisModule_FreeCallReply)(self.reply.as_ptr()) };
    }
}

/// Runs one command in process and reads its reply. On the main thread.
pub(crate) fn run(ctx: Ctx<'_>, command: &Command) -> Reply {
    let called = CommandRunner::new(ctx, Protocol::Resp3).call(command.words(), CallKind::Plain);
    let failed = |error| Reply::Error(Bytes::from(format!("ERR {error}")));
    decode(&Bytes::copy_from_slice(called.wire()), &mut 0).unwrap_or_else(failed)
}

/// Returns one setting of the server; empty if it has none of this name. On the main thread.
pub(crate) fn config_get(ctx: Ctx<'_>, name: &str) -> Vec<u8> {
    let reply = run(ctx, &Command::new("CONFIG").arg("GET").arg(name));
    reply.field(name).and_then(Reply::bytes).unwrap_or_default().to_vec()
}
