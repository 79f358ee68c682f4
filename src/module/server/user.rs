//! Users, and what the server's ACL lets them do: commands, and the keys that commands name.
//!
//! What is done with that is decided in [`acl`](crate::module::acl).

use std::ffi::c_int;
use std::ptr::{self, NonNull};

use redis_module::raw;

use super::api::{probe, required};
use super::context::Ctx;
use super::string::OwnedString;
use super::thread;

/// A user as the ACL functions want it; freed with this.
pub(crate) struct User(NonNull<raw::RedisModuleUser>);

/// What the ACL says to a command.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Permission {
    Granted,
    /// The command, or a channel that it names.
    CommandDenied,
    KeyDenied(Vec<u8>),
    /// The server does not know the command.
    UnknownCommand,
    WrongArity,
}

impl User {
    pub(crate) fn named(name: &[u8]) -> Option<Self> {
        thread::debug_assert_main();
        let name = OwnedString::new(name);
        // SAFETY: a live string.
        NonNull::new(unsafe { required!(RedisModule_GetModuleUserFromUserName)(name.as_ptr()) }).map(Self)
    }

    /// The user's rules as `ACL LIST` shows them, from Redis 7.0.6.
    pub(crate) fn rules(&self) -> Option<Vec<u8>> {
        let rules = probe!(RedisModule_GetModuleUserACLString)?;
        // SAFETY: a live user; the string is ours to free.
        unsafe { OwnedString::from_raw(rules(self.0.as_ptr())) }.map(|rules| rules.bytes().to_vec())
    }

    /// Whether the user may read this key.
    pub(crate) fn may_read(&self, key: &[u8]) -> bool {
        let key = OwnedString::new(key);
        let flags = raw::REDISMODULE_CMD_KEY_ACCESS as c_int;
        // SAFETY: a live user and string.
        let verdict = unsafe { required!(RedisModule_ACLCheckKeyPermissions)(self.0.as_ptr(), key.as_ptr(), flags) };
        verdict == raw::REDISMODULE_OK as c_int
    }

    /// Whether the user may run this command with these keys and channels; a refusal goes to `ACL LOG`.
    pub(crate) fn may_run(&self, ctx: Ctx<'_>, args: &[&[u8]]) -> Permission {
        let strings: Vec<OwnedString> = args.iter().map(|arg| OwnedString::new(arg)).collect();
        let mut pointers: Vec<_> = strings.iter().map(OwnedString::as_ptr).collect();
        let count = pointers.len() as c_int;
        // Servers before March 2026 read past the arguments of a keyed command that has too few of them (redis#14843);
        // looking for its keys counts them first.
        // SAFETY: invariant 3: they live as long as `strings`.
        let keys = match unsafe { keys(ctx, &mut pointers) } {
            Ok(keys) => keys,
            Err(refusal) => return refusal,
        };
        // SAFETY: a live user, `count` live strings.
        let verdict =
            unsafe { required!(RedisModule_ACLCheckCommandPermissions)(self.0.as_ptr(), pointers.as_mut_ptr(), count) };
        if verdict == raw::REDISMODULE_OK as c_int {
            return Permission::Granted;
        }
        let is_denied = |&&(position, flags): &&(usize, c_int)| {
            // SAFETY: a live user and string.
            let verdict =
                unsafe { required!(RedisModule_ACLCheckKeyPermissions)(self.0.as_ptr(), pointers[position], flags) };
            verdict != raw::REDISMODULE_OK as c_int
        };
        let denied_key = keys.iter().find(is_denied).map(|&(position, _)| position);
        let reason = match denied_key {
            Some(_) => raw::RedisModuleACLLogEntryReason_REDISMODULE_ACL_LOG_KEY,
            None => raw::RedisModuleACLLogEntryReason_REDISMODULE_ACL_LOG_CMD,
        };
        let object = pointers[denied_key.unwrap_or(0)];
        // SAFETY: a live context and user; the server takes a reference to the string.
        unsafe { required!(RedisModule_ACLAddLogEntry)(ctx.as_ptr(), self.0.as_ptr(), object, reason) };
        denied_key.map_or(Permission::CommandDenied, |key| Permission::KeyDenied(args[key].to_vec()))
    }
}

impl Drop for User {
    fn drop(&mut self) {
        // SAFETY: ours, and freed once.
        unsafe { required!(RedisModule_FreeModuleUser)(self.0.as_ptr()) };
    }
}

/// Returns where a command's keys stand, each with what is done to it.
///
/// # Safety
/// Invariant 3 holds for all of `args`.
pub(super) unsafe fn keys(
    ctx: Ctx<'_>,
    args: &mut [*mut raw::RedisModuleString],
) -> Result<Vec<(usize, c_int)>, Permission> {
    let (mut count, mut flags) = (0, ptr::null_mut());
    errno::set_errno(errno::Errno(0));
    // SAFETY: a live context and live strings; both arrays are ours to free.
    unsafe {
        let find = required!(RedisModule_GetCommandKeysWithFlags);
        let positions = find(ctx.as_ptr(), args.as_mut_ptr(), args.len() as c_int, &mut count, &mut flags);
        if positions.is_null() {
            return match errno::errno().0 {
                libc::ENOENT => Err(Permission::UnknownCommand),
                libc::EINVAL => Err(Permission::WrongArity),
                _ => Ok(Vec::new()),
            };
        }
        let count = count as usize;
        let keys = std::slice::from_raw_parts(positions, count)
            .iter()
            .zip(std::slice::from_raw_parts(flags, count))
            .map(|(&position, &flags)| (position as usize, flags))
            .collect();
        required!(RedisModule_Free)(positions.cast());
        required!(RedisModule_Free)(flags.cast());
        Ok(keys)
    }
}
