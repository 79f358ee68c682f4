//! The caller's rights, checked before anything is sent.
//!
//! The links to other nodes run as a user of their own, and so do calls in process. Commands that the calling user may
//! not run must therefore stop here: this is the only check there is.

use std::sync::Arc;

use bytes::Bytes;

use super::catalog::{self, Facts};
use super::server::context::Ctx;
use super::server::main_thread;
use super::server::user::{Permission, User};
use crate::command::printable;
use crate::command::{CommandFlags, CommandRef, CommandSet};
use crate::describe::special;
use crate::engine::Gate;
use crate::error::Error;
use crate::topology::BoxFuture;

/// Lets pass what the caller may do.
pub(super) struct CallersRights {
    caller: Arc<CallingUser>,
    /// A script calls. There is no way to find out whether it may write, so it may not.
    is_script: bool,
}

/// The user who calls.
enum CallingUser {
    /// May do everything: all commands on all keys and channels, or the server itself.
    Unrestricted,
    /// The user of this name, whose rights are looked at for each command.
    Named(Vec<u8>),
}

impl CallersRights {
    /// Takes the rights of whoever runs the command of this context.
    pub(super) fn of(ctx: Ctx<'_>) -> Self {
        let caller = match ctx.user_name() {
            None => CallingUser::Unrestricted,
            Some(name) => match User::named(&name).and_then(|user| user.rules()) {
                Some(rules) if allow_everything(&rules) => CallingUser::Unrestricted,
                _ => CallingUser::Named(name),
            },
        };
        Self { caller: Arc::new(caller), is_script: ctx.flags().is_script() }
    }

    /// Takes the rights of the user of this name, who may be anybody.
    pub(super) fn of_user(name: Vec<u8>) -> Self {
        Self { caller: Arc::new(CallingUser::Named(name)), is_script: false }
    }

    /// Makes the rights of a user who may do everything.
    pub(super) fn full() -> Self {
        Self { caller: Arc::new(CallingUser::Unrestricted), is_script: false }
    }

    /// Returns the rights of the same user, without regard to where the call comes from.
    pub(super) fn of_same_user(&self) -> Self {
        Self { caller: self.caller.clone(), is_script: false }
    }

    /// Returns the name of a caller who may not do everything.
    pub(super) fn name(&self) -> Option<&[u8]> {
        match &*self.caller {
            CallingUser::Unrestricted => None,
            CallingUser::Named(name) => Some(name),
        }
    }

    /// Tells whether the caller may do everything.
    pub(super) fn are_full(&self) -> bool {
        matches!(*self.caller, CallingUser::Unrestricted)
    }

    /// Returns the name of a caller who may not do everything.
    pub(super) fn into_name(self) -> Option<Vec<u8>> {
        match &*self.caller {
            CallingUser::Unrestricted => None,
            CallingUser::Named(name) => Some(name.clone()),
        }
    }

    /// Returns the user, to be asked during one turn on the main thread; `None` for one who may do everything.
    ///
    /// # Errors
    /// If the user does not exist any more.
    pub(super) fn in_turn(&self) -> Result<Option<UserInTurn<'_>>, Error> {
        let CallingUser::Named(name) = &*self.caller else { return Ok(None) };
        Ok(Some(UserInTurn(Restricted { name, user: User::named(name).ok_or_else(|| gone(name))? })))
    }
}

/// A user who may not do everything, during one turn on the main thread.
pub(super) struct UserInTurn<'a>(Restricted<'a>);

impl UserInTurn<'_> {
    /// Tells whether the user may read this key.
    pub(super) fn may_read(&self, key: &[u8]) -> bool {
        self.0.user.may_read(key)
    }

    /// Checks one command.
    ///
    /// # Errors
    /// The error of a key that the user may not touch, within one of all others.
    pub(super) fn check(
        &self,
        ctx: Ctx<'_>,
        command: CommandRef<'_>,
        facts: Facts,
    ) -> Result<Result<(), Error>, Error> {
        match self.0.denied_key(ctx, command, facts)? {
            None => Ok(Ok(())),
            Some(key) => Ok(Err(self.0.denied(command, &with_key(&key)))),
        }
    }
}

/// Refuses what no caller may send, and what cannot be sent.
///
/// # Errors
/// The error says why not.
pub(super) fn check_for_all(command: CommandRef<'_>, facts: Facts) -> Result<(), Error> {
    if facts.is_blocking {
        let name = printable(command.name());
        return Err(Error::Refused(format!("'{name}' cannot be sent to other nodes: {}", special::BLOCKING)));
    }
    Ok(())
}

/// Tells whether a user's rules, as the server shows them, grant everything and take nothing back. In doubt they do
/// not.
fn allow_everything(rules: &[u8]) -> bool {
    let has = |rule: &[u8]| rules.split(|&byte| byte == b' ').any(|known| known == rule);
    let takes_back = rules.split(|&byte| byte == b' ').any(|rule| rule.starts_with(b"-"));
    has(b"~*") && has(b"&*") && has(b"+@all") && !takes_back
}

impl Gate for CallersRights {
    fn admit(&self, commands: CommandSet) -> BoxFuture<'_, Result<CommandSet, Error>> {
        let (caller, is_script) = (self.caller.clone(), self.is_script);
        Box::pin(async move { main_thread::run(move |ctx| check(ctx, &caller, is_script, commands)).await? })
    }

    fn may_read(&self, keys: Vec<Bytes>) -> BoxFuture<'_, Result<Option<Vec<bool>>, Error>> {
        /// The number of commands that take a small part of a turn.
        const AT_ONCE: usize = 256;
        Box::pin(async move {
            let CallingUser::Named(name) = &*self.caller else { return Ok(None) };
            let mut verdicts = Vec::with_capacity(keys.len());
            for keys in keys.chunks(AT_ONCE) {
                let (name, keys) = (name.clone(), keys.to_vec());
                let look = move |_: Ctx<'_>| {
                    let user = User::named(&name).ok_or_else(|| gone(&name))?;
                    Ok::<_, Error>(keys.iter().map(|key| user.may_read(key)).collect::<Vec<bool>>())
                };
                verdicts.extend(main_thread::run(look).await??);
            }
            Ok(Some(verdicts))
        })
    }
}

/// Lets all commands pass or none. Those that only read are marked as such.
fn check(ctx: Ctx<'_>, caller: &CallingUser, is_script: bool, mut commands: CommandSet) -> Result<CommandSet, Error> {
    let restricted = match caller {
        CallingUser::Unrestricted => None,
        CallingUser::Named(name) => Some(Restricted { name, user: User::named(name).ok_or_else(|| gone(name))? }),
    };
    let mut known = catalog::InTurn::default();
    commands.mark(|command| {
        let facts = known.facts(ctx, command);
        check_for_all(command, facts)?;
        if let Some(restricted) = &restricted {
            restricted.check(ctx, command, facts)?;
        }
        let is_about_all_keys = restricted.is_none() && !facts.is_of_subcommand;
        let (runs_code, names_keys) = (facts.runs_code, restricted.is_some() && facts.names_keys);
        Ok::<_, Error>(CommandFlags { is_read_only: facts.is_read_only, runs_code, names_keys, is_about_all_keys })
    })?;
    // Rights come first: they say more, and a refusal stands in the log.
    if is_script && let Some(command) = commands.iter().find(|&command| catalog::facts(ctx, command).may_replicate) {
        let name = printable(command.name());
        return Err(Error::Refused(format!("'{name}' may change data: scripts write by themselves, not through rmr")));
    }
    // The server ends itself when a script begins within another.
    let begins_another = |command: &CommandRef<'_>| {
        let facts = catalog::facts(ctx, *command);
        facts.is_script || (facts.runs_code && !facts.is_of_module)
    };
    if is_script && let Some(command) = commands.iter().find(begins_another) {
        let name = printable(command.name());
        return Err(Error::Refused(format!("'{name}' runs a script, and none can run within another")));
    }
    Ok(commands)
}

/// A user who may not do everything.
struct Restricted<'a> {
    name: &'a [u8],
    user: User,
}

impl Restricted<'_> {
    fn check(&self, ctx: Ctx<'_>, command: CommandRef<'_>, facts: Facts) -> Result<(), Error> {
        match self.denied_key(ctx, command, facts)? {
            None => Ok(()),
            Some(key) => Err(self.denied(command, &with_key(&key))),
        }
    }

    /// Checks a command. Returns the key that the user may not touch with it, if it is for that key alone that it is denied.
    fn denied_key(&self, ctx: Ctx<'_>, command: CommandRef<'_>, facts: Facts) -> Result<Option<Vec<u8>>, Error> {
        let args: Vec<&[u8]> = command.words().collect();
        let Some(description) = catalog::description(ctx, command) else {
            return Err(
                self.denied(command, ": this node does not know the command, so the right to it cannot be checked")
            );
        };
        if !description.takes(args.len()) {
            let name = printable(command.name()).to_lowercase();
            return Err(Error::Invalid(format!("wrong number of arguments for '{name}' command")));
        }
        match self.user.may_run(ctx, &args, &catalog::key_uses(ctx, &description, &args)) {
            Permission::Granted => {}
            Permission::CommandDenied => return Err(self.denied(command, "")),
            Permission::KeyDenied(key) => return Ok(Some(key)),
        }
        if facts.is_script || special::reads_by_pattern(command.name(), command.words().skip(2)) {
            return Err(self.denied(
                command,
                " on other nodes: what it touches cannot be checked beforehand, and the user's rights are restricted",
            ));
        }
        Ok(None)
    }

    fn denied(&self, command: CommandRef<'_>, why: &str) -> Error {
        let (user, name) = (printable(self.name), printable(command.name()));
        Error::NoPermission(format!("user {user} may not run '{name}'{why}"))
    }
}

fn with_key(key: &[u8]) -> String {
    format!(" with the key '{}'", printable(key))
}

fn gone(name: &[u8]) -> Error {
    Error::NoPermission(format!("user {} does not exist any more", printable(name)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_full_rights_count_as_full() {
        for rules in [&b"on nopass sanitize-payload ~* &* +@all"[..], b"on #abc ~* &* +@all (+get ~x)"] {
            assert!(allow_everything(rules), "{}", rules.escape_ascii());
        }
        for rules in [
            &b"on nopass ~* &* +@all -flushall"[..],
            b"on ~app:* &* +@all",
            b"on ~* +@all",
            b"on ~* &* +@read",
            b"on ~* &* -@all +get",
            b"on ~x &* -@all (~* &* +@all)",
            b"",
        ] {
            assert!(!allow_everything(rules), "{}", rules.escape_ascii());
        }
    }
}
