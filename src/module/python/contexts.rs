//! On whose behalf code of users runs on this server: the numbers by which workers say it.

use std::sync::LazyLock;

use crate::python::Contexts;

static CONTEXTS: LazyLock<Contexts> = LazyLock::new(Contexts::default);

/// Returns the contexts that are open, and opens others.
pub(in crate::module) fn contexts() -> &'static Contexts {
    &CONTEXTS
}
