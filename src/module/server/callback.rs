//! Functions that the server calls back.
//!
//! The server takes a bare C function. Most of ours are generic over a Rust function that carries no data, which needs no
//! place to be kept: an item or a closure that captures nothing is its type alone.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::ptr::NonNull;

/// Returns the function of a type that carries no data. Whoever names the type has had a value of it: callbacks are
/// registered with one.
pub(super) fn stateless<F: Copy + 'static>() -> F {
    const { assert!(size_of::<F>() == 0, "the function captures something") };
    // SAFETY: a type without a size has one value at any aligned address, and there has been one, which could be copied.
    unsafe { NonNull::<F>::dangling().read() }
}

/// Runs what a callback does. A panic must not leave it, as there is C on the other side; `None` stands for one.
pub(super) fn guarded<T>(work: impl FnOnce() -> T) -> Option<T> {
    catch_unwind(AssertUnwindSafe(work)).ok()
}
