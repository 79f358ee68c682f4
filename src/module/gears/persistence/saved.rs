//! The registrations as they are saved, ready as bytes.
//!
//! A child that writes a file has none of our other threads, and a lock that one of them had would never be let go: it has
//! the bytes and nothing else.

use std::cell::RefCell;

use super::kept::KeptRegistry;
use crate::module::config::{self, GearsUse};
use crate::module::gears::registry::set::Registry;
use crate::module::server::data_type;

/// The registry of this node, as it is saved.
#[derive(Default)]
struct SavedRegistry {
    has_registrations: bool,
    bytes: Vec<u8>,
}

thread_local! {
    /// The saved registry. On the main thread, and in children of it.
    static SAVED: RefCell<SavedRegistry> = RefCell::default();
}

/// Tells whether the server keeps what is registered.
pub(super) fn is_kept() -> bool {
    match config::gears() {
        GearsUse::Auto => data_type::saves_nothing(),
        GearsUse::On => true,
        GearsUse::Batch | GearsUse::Off => false,
    }
}

/// Says why nothing can be registered.
///
/// # Errors
/// The reason, and how that is changed.
pub(in crate::module) fn check_kept() -> Result<(), String> {
    match config::gears() {
        _ if is_kept() => Ok(()),
        GearsUse::Auto => {
            Err("this server could not keep registrations without leaving a piece of this module in every RDB \
                               file, which no server without it loads: load the module with 'gears on' to have it so"
                .to_owned())
        }
        _ => Err("this server was told to keep no registrations: load the module with 'gears on'".to_owned()),
    }
}

/// Keeps what the registry has now ready to be saved. On the main thread.
pub(in crate::module::gears) fn keep(registry: &Registry) {
    match KeptRegistry::of(registry.whole()).to_bytes() {
        Ok(bytes) => SAVED.set(SavedRegistry { has_registrations: !registry.live().is_empty(), bytes }),
        Err(error) => log::warn!("registrations cannot be saved: {error}"),
    }
}

/// Returns what is saved beside the keys; [`None`] as long as there is no registration. Also in a child of the server's.
pub(in crate::module::gears) fn saved() -> Option<Vec<u8>> {
    SAVED.with_borrow(|saved| saved.has_registrations.then(|| saved.bytes.clone()))
}

/// Does something with all sets, also those without registrations.
pub(super) fn with_whole<T>(work: impl FnOnce(&[u8]) -> T) -> T {
    SAVED.with_borrow(|saved| work(&saved.bytes))
}

/// Forgets everything, as when the module is loaded.
pub(super) fn reset() {
    SAVED.set(SavedRegistry::default());
}
