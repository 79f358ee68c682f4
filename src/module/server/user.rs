//! Users, and what the server's ACL lets them do: commands, and the keys that commands name.
//!
//! The consequences are decided in [`acl`](crate::module::acl).

use std::ffi::c_int;
use std::ptr::NonNull;

use redis_module::raw;

use super::api::{probe, required};
use super::context::Ctx;
use super::string::OwnedString;
use super::thread;
use crate::describe::KeyUse;

/// A user as the ACL functions want it; freed with this.
pub(crate) struct User(NonNull<raw::RedisModuleUser>);

/// The answer of the ACL to a command.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Permission {
    Granted,
    /// The command, or a channel that it names.
    CommandDenied,
    KeyDenied(Vec<u8>),
}

impl User {
    pub(crate) fn named(name: &[u8]) -> Option<Self> {
        thread::debug_assert_locked();
        let name = OwnedString::new(name);
        // SAFETY: a live string.
        NonNull::new(unsafe { required!(RedisModule_GetModuleUserFromUserName)(name.as_ptr()) }).map(Self)
    }

    /// Returns the user's rules as `ACL LIST` shows them, from Redis 7.0.6.
    pub(crate) fn rules(&self) -> Option<Vec<u8>> {
        let rules = probe!(RedisModule_GetModuleUserACLString)?;
        // SAFETY: a live user; the string is ours to free.
        unsafe { OwnedString::from_raw(rules(self.0.as_ptr())) }.map(|rules| rules.bytes().to_vec())
    }

    /// Tells whether the user may read this key.
    pub(crate) fn may_read(&self, key: &[u8]) -> bool {
        let key = OwnedString::new(key);
        let flags = raw::REDISMODULE_CMD_KEY_ACCESS as c_int;
        // SAFETY: a live user and string.
        let verdict = unsafe { required!(RedisModule_ACLCheckKeyPermissions)(self.0.as_ptr(), key.as_ptr(), flags) };
        verdict == raw::REDISMODULE_OK as c_int
    }

    /// Tells whether the user may run this command with these keys and channels; a refusal goes to `ACL LOG`.
    ///
    /// The caller has counted the arguments: servers before March 2026 read past those of a keyed command that has too few
    /// (redis#14843). `keys` are the command's, to name the one that is denied.
    pub(crate) fn may_run(&self, ctx: Ctx<'_>, args: &[&[u8]], keys: &[KeyUse]) -> Permission {
        let strings: Vec<OwnedString> = args.iter().map(|arg| OwnedString::new(arg)).collect();
        let mut pointers: Vec<_> = strings.iter().map(OwnedString::as_ptr).collect();
        let count = pointers.len() as c_int;
        // SAFETY: a live user, `count` live strings.
        let verdict =
            unsafe { required!(RedisModule_ACLCheckCommandPermissions)(self.0.as_ptr(), pointers.as_mut_ptr(), count) };
        if verdict == raw::REDISMODULE_OK as c_int {
            return Permission::Granted;
        }
        let is_denied = |&at: &usize| {
            let key = keys.iter().find(|key| key.at == at);
            let (reads, writes) = key.map_or((true, true), |key| (key.reads, key.writes));
            let flag = |is_set: bool, flag: u32| if is_set { flag } else { 0 };
            let flags = flag(reads, raw::REDISMODULE_CMD_KEY_ACCESS) | flag(writes, raw::REDISMODULE_CMD_KEY_UPDATE);
            // SAFETY: a live user and string.
            let verdict =
                unsafe { required!(RedisModule_ACLCheckKeyPermissions)(self.0.as_ptr(), pointers[at], flags as c_int) };
            verdict != raw::REDISMODULE_OK as c_int
        };
        // Rights in parentheses belong together: one part may grant the command, another the key, and none both.
        let may_be_both =
            || keys.first().map(|key| key.at).filter(|_| self.rules().is_some_and(|rules| rules.contains(&b'(')));
        let denied_key = keys.iter().map(|key| key.at).find(is_denied).or_else(may_be_both);
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

impl User {
    /// Tells whether the user may run this command, which names no keys. Nothing goes to `ACL LOG`.
    pub(crate) fn may_run_keyless(&self, args: &[&[u8]]) -> bool {
        let strings: Vec<OwnedString> = args.iter().map(|arg| OwnedString::new(arg)).collect();
        let mut pointers: Vec<_> = strings.iter().map(OwnedString::as_ptr).collect();
        let count = pointers.len() as c_int;
        // SAFETY: a live user, `count` live strings.
        let verdict =
            unsafe { required!(RedisModule_ACLCheckCommandPermissions)(self.0.as_ptr(), pointers.as_mut_ptr(), count) };
        verdict == raw::REDISMODULE_OK as c_int
    }

    /// Notes in `ACL LOG` that the user was denied a command.
    pub(crate) fn note_denied(&self, ctx: Ctx<'_>, command: &[u8]) {
        let object = OwnedString::new(command);
        let reason = raw::RedisModuleACLLogEntryReason_REDISMODULE_ACL_LOG_CMD;
        // SAFETY: a live context and user; the server takes a reference to the string.
        unsafe { required!(RedisModule_ACLAddLogEntry)(ctx.as_ptr(), self.0.as_ptr(), object.as_ptr(), reason) };
    }
}

impl Drop for User {
    fn drop(&mut self) {
        // SAFETY: ours, and freed once.
        unsafe { required!(RedisModule_FreeModuleUser)(self.0.as_ptr()) };
    }
}

/// Asks the server where keys stand in these arguments, taken as a command with its name; none if it cannot say. Servers
/// lose a few bytes with each answer of many keys, so this is for commands whose description does not tell.
pub(crate) fn key_positions(ctx: Ctx<'_>, args: &[&[u8]]) -> Vec<usize> {
    let strings: Vec<OwnedString> = args.iter().map(|arg| OwnedString::new(arg)).collect();
    let mut pointers: Vec<_> = strings.iter().map(OwnedString::as_ptr).collect();
    let mut count = 0;
    // SAFETY: invariant 3: the strings live as long as `strings`; the array is ours to free.
    unsafe {
        let find = required!(RedisModule_GetCommandKeys);
        let positions = find(ctx.as_ptr(), pointers.as_mut_ptr(), pointers.len() as c_int, &mut count);
        if positions.is_null() {
            return Vec::new();
        }
        let found = std::slice::from_raw_parts(positions, count as usize);
        let found = found.iter().map(|&position| position as usize).collect();
        required!(RedisModule_Free)(positions.cast());
        found
    }
}
