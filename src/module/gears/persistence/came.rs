//! Gathers what a load has brought so far.

use std::cell::RefCell;

use super::kept::KeptRegistry;

/// The registrations that have come with a load so far.
#[derive(Default)]
pub(super) struct CameSoFar {
    /// Tells whether they are all that there is.
    pub(super) is_whole: bool,
    /// The registry that stood beside the keys.
    pub(super) aside: Option<KeptRegistry>,
    /// The changes since then.
    pub(super) changes: Vec<KeptRegistry>,
}

thread_local! {
    /// The registrations of the load under way. On the main thread.
    static CAME: RefCell<Option<CameSoFar>> = const { RefCell::new(None) };
}

/// Begins a load.
pub(super) fn begin(is_whole: bool) {
    CAME.set(Some(CameSoFar { is_whole, ..CameSoFar::default() }));
}

/// Takes what stands beside the keys of an RDB. Returns `false` if it is not to be understood.
pub(in crate::module::gears) fn aside(bytes: &[u8]) -> bool {
    match KeptRegistry::read(bytes) {
        Ok(kept) => CAME.with_borrow_mut(|came| came.get_or_insert_default().aside = Some(kept)),
        Err(error) => {
            log::warn!("{error}");
            return false;
        }
    }
    true
}

/// Takes a change.
pub(super) fn change(kept: KeptRegistry) {
    CAME.with_borrow_mut(|came| came.get_or_insert_default().changes.push(kept));
}

/// Returns what has come, once all is there.
pub(super) fn end() -> Option<CameSoFar> {
    CAME.take()
}

/// Forgets what has come: the load has failed.
pub(super) fn reset() {
    CAME.set(None);
}
