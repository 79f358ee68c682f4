//! [`Sieve`]: which of the keys that are found are those of a flow.
//!
//! By the name first, which costs least; then whether the key is there, or has expired; then its type. A key that the users
//! may not read is none, and neither is a result under construction.

use crate::command::Command;
use crate::engine::glob::Pattern;
use crate::engine::slot_keys::UNDER_CONSTRUCTION;
use crate::error::Error;
use crate::flow::Records;
use crate::flow::plan::KeyFilter;
use crate::module::acl::UserInTurn;
use crate::module::flow::rights::ShareRights;
use crate::module::server::call;
use crate::module::server::context::Ctx;
use crate::module::server::scan::{KeyView, Now, with_key};

/// Says what keys have to be to pass.
pub(super) struct Sieve {
    pattern: Pattern,
    type_name: Option<String>,
}

impl Sieve {
    pub(super) fn new(filter: &KeyFilter) -> Self {
        Self { pattern: Pattern::new(&filter.pattern), type_name: filter.type_name.clone() }
    }

    /// Tells whether the type of a key matters.
    pub(super) fn is_by_type(&self) -> bool {
        self.type_name.is_some()
    }

    /// Makes the sieve ready for one turn on the main thread.
    ///
    /// # Errors
    /// If a user does not exist any more.
    pub(super) fn in_turn<'a>(&'a self, rights: &'a ShareRights) -> Result<SieveInTurn<'a>, Error> {
        let users = rights.users()?;
        Ok(SieveInTurn { sieve: self, users, now: Now::read(), read: 0, taken: Records::new(), doubtful: Vec::new() })
    }
}

/// A sieve, and what has passed it, within one turn on the main thread.
pub(super) struct SieveInTurn<'a> {
    sieve: &'a Sieve,
    users: Vec<UserInTurn<'a>>,
    now: Now,
    /// The number of keys that were looked at.
    pub(super) read: u64,
    /// The keys that have passed.
    pub(super) taken: Records,
    /// Names of keys whose type only a command tells.
    doubtful: Vec<Vec<u8>>,
}

impl SieveInTurn<'_> {
    /// Takes a key of this name if it is one of the flow's. With `may_be_gone` the list that it stands in may have keys that
    /// have expired.
    pub(super) fn take_name(&mut self, ctx: Ctx<'_>, name: &[u8], may_be_gone: bool) {
        self.read += 1;
        if self.fits_by_name(name) {
            if self.sieve.type_name.is_none() && !may_be_gone {
                self.taken.push(name, &[]);
            } else {
                let now = self.now;
                with_key(ctx, name, now, |key| self.take_of_type(name, key));
            }
        }
    }

    /// Takes a key that the table has, if it is one of the flow's.
    pub(super) fn take_key(&mut self, name: &[u8], key: KeyView<'_>) {
        self.read += 1;
        if self.fits_by_name(name) && !key.has_expired(self.now) {
            self.take_of_type(name, key);
        }
    }

    /// Asks the server for the types of keys that no function of the module API tells. Not while the table is gone through.
    pub(super) fn settle_doubtful(&mut self, ctx: Ctx<'_>) {
        for name in std::mem::take(&mut self.doubtful) {
            let found = call::run(ctx, &Command::new("TYPE").key(&name));
            let wanted = self.sieve.type_name.as_deref().unwrap_or_default();
            if found.bytes().is_some_and(|found| found.eq_ignore_ascii_case(wanted.as_bytes())) {
                self.taken.push(&name, &[]);
            }
        }
    }

    fn fits_by_name(&self, name: &[u8]) -> bool {
        self.sieve.pattern.fits(name)
            && !name.starts_with(UNDER_CONSTRUCTION)
            && self.users.iter().all(|user| user.may_read(name))
    }

    fn take_of_type(&mut self, name: &[u8], key: KeyView<'_>) {
        let Some(wanted) = &self.sieve.type_name else { return self.taken.push(name, &[]) };
        match key.kind().name() {
            Some(found) if found.eq_ignore_ascii_case(wanted) => self.taken.push(name, &[]),
            Some(_) => {}
            None => self.doubtful.push(name.to_vec()),
        }
    }
}
