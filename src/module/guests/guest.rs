//! [`Guest`]: another module of the server that has announced itself.

use std::collections::BTreeSet;
use std::sync::{Mutex, PoisonError};

use crate::module::server::shared_api::library::PinnedLibrary;

/// A module that uses rmr, from when it says so until nothing of it is in use. Whatever may call its code holds one.
#[derive(Debug)]
pub(in crate::module) struct Guest {
    name: String,
    /// Keeps the code where it is.
    _library: PinnedLibrary,
}

impl Guest {
    /// Announces a module of this name with this code.
    pub(in crate::module) fn new(name: &str, library: PinnedLibrary) -> Self {
        Self { name: name.to_owned(), _library: library }
    }

    /// Returns the name that the server knows the module by.
    pub(in crate::module) fn name(&self) -> &str {
        &self.name
    }
}

/// Returns a name that lasts as long as the process. There are as many as guests have given, each once.
pub(in crate::module) fn lasting(name: &str) -> &'static str {
    static NAMES: Mutex<BTreeSet<&'static str>> = Mutex::new(BTreeSet::new());
    let mut names = NAMES.lock().unwrap_or_else(PoisonError::into_inner);
    match names.get(name) {
        Some(known) => known,
        None => {
            let name: &'static str = name.to_owned().leak();
            names.insert(name);
            name
        }
    }
}
