//! On whose account a share of a flow runs: the user of the connection that asks for it, and the user who began the flow.
//!
//! Both have to be allowed what the share does. The user who began it is known by name, and must be the same one here: the
//! request carries a hash of the rules, without passwords, which may differ from node to node.

use xxhash_rust::xxh3::xxh3_128;

use crate::command::printable;
use crate::error::Error;
use crate::flow::messages::CallerId;
use crate::module::acl::{self, CallersRights};
use crate::module::server::context::Ctx;
use crate::module::server::user::User;

/// The users whose rights hold for a share, but for those who may do everything. By default nothing is restricted.
#[derive(Default)]
pub(crate) struct ShareRights {
    restricted: Vec<CallersRights>,
}

impl ShareRights {
    /// Finds the users: the one whose command runs, and the one on whose account it does.
    ///
    /// # Errors
    /// If that user does not exist here, or is another.
    pub(crate) fn of(ctx: Ctx<'_>, caller: Option<&CallerId>) -> Result<Self, Error> {
        let mut restricted = vec![CallersRights::of(ctx)];
        if let Some(caller) = caller {
            let name = printable(&caller.name);
            let refuse = |why: &str| Err(Error::NoPermission(format!("the user {name} {why} on this node")));
            match User::named(&caller.name) {
                None => return refuse("does not exist"),
                Some(user) if rules_hash(&user) != caller.rules => return refuse("has other rules"),
                Some(_) => restricted.push(CallersRights::of_user(caller.name.clone())),
            }
        }
        restricted.retain(|rights| !rights.are_full());
        Ok(Self { restricted })
    }

    /// Takes the rights of the user of this name, as they are when they are asked for.
    pub(in crate::module) fn of_user(name: Vec<u8>) -> Self {
        Self { restricted: vec![CallersRights::of_user(name)] }
    }

    /// Checks that these keys may be read. On the main thread.
    ///
    /// # Errors
    /// The first key that may not, or that a user is gone.
    pub(in crate::module) fn check_reading<'k>(&self, mut keys: impl Iterator<Item = &'k [u8]>) -> Result<(), Error> {
        let users = self.users()?;
        match keys.find(|key| users.iter().any(|user| !user.may_read(key))) {
            Some(key) => Err(Error::NoPermission(format!("the user may not read the key '{}'", printable(key)))),
            None => Ok(()),
        }
    }

    /// Returns who lets the requests of code pass that runs with these rights.
    pub(crate) fn gate(&self) -> CallersRights {
        self.restricted.last().map_or_else(CallersRights::full, CallersRights::of_same_user)
    }

    /// Returns the user on whose account code runs that has these rights, as other nodes are told; [`None`] for one who may do
    /// everything. On the main thread.
    pub(crate) fn caller(&self) -> Option<CallerId> {
        let name = self.restricted.last()?.name()?;
        let rules = User::named(name).map_or(0, |user| rules_hash(&user));
        Some(CallerId { name: name.to_vec(), rules })
    }

    /// Tells whether everything is allowed.
    pub(crate) fn are_full(&self) -> bool {
        self.restricted.is_empty()
    }

    /// Returns the users, to be asked during one turn on the main thread.
    ///
    /// # Errors
    /// If one of them does not exist any more.
    pub(in crate::module) fn users(&self) -> Result<Vec<acl::UserInTurn<'_>>, Error> {
        self.restricted.iter().filter_map(|rights| rights.in_turn().transpose()).collect()
    }
}

/// Returns who calls, as other nodes are told; `None` if the caller may do everything.
pub(crate) fn caller_id(ctx: Ctx<'_>) -> Option<CallerId> {
    let name = CallersRights::of(ctx).into_name()?;
    let rules = User::named(&name).map_or(0, |user| rules_hash(&user));
    Some(CallerId { name, rules })
}

/// Hashes what a user may do. A server that does not say it, as those before 7.0.6, gives one hash for all.
fn rules_hash(user: &User) -> u128 {
    user.rules().map_or(0, |rules| hash_of_rules(&rules))
}

fn hash_of_rules(rules: &[u8]) -> u128 {
    let words = rules.split(|byte| *byte == b' ').filter(|word| !word.is_empty() && !is_about_passwords(word));
    let mut words: Vec<&[u8]> = words.collect();
    // A rule in parentheses has several words: their order matters, and is the same on all nodes that were told the
    // same.
    if !words.iter().any(|word| word.contains(&b'(')) {
        words.sort_unstable();
    }
    xxh3_128(&words.join(&b' '))
}

fn is_about_passwords(word: &[u8]) -> bool {
    matches!(word, [b'#' | b'>' | b'<' | b'!', ..])
        || matches!(word, b"nopass" | b"sanitize-payload" | b"skip-sanitize-payload")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn users_are_the_same_whatever_their_passwords() {
        let hash = |rules: &str| hash_of_rules(rules.as_bytes());
        let one = hash("on nopass sanitize-payload ~a* resetchannels -@all +get");
        assert_eq!(one, hash("on #aabb skip-sanitize-payload ~a* resetchannels -@all +get"));
        assert_eq!(one, hash("on ~a* -@all resetchannels +get"));
        for other in
            ["on ~b* resetchannels -@all +get", "on ~a* resetchannels -@all", "off ~a* resetchannels -@all +get"]
        {
            assert_ne!(one, hash(other), "{other}");
        }
        assert_ne!(hash("on -@all (~a +get) (~b +set)"), hash("on -@all (~a +set) (~b +get)"));
    }
}
