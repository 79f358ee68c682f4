//! Functions that the server calls back.
//!
//! The server takes a bare C function. Most of ours are generic over a Rust function that carries no data, which needs no
//! place to be kept: an item or a closure that captures nothing is its type alone.

use std::cell::Cell;
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

thread_local! {
    /// Tells whether the command that runs on this thread has begun to answer its client, or has blocked it.
    static IS_ANSWERED: Cell<bool> = const { Cell::new(false) };
}

/// Notes that a reply has been begun, or is left to a blocked client.
pub(super) fn note_answer() {
    IS_ANSWERED.set(true);
}

/// Runs a command, which may call others. Returns whether it panicked before it had answered: its client still needs a
/// reply then, as each later one on the connection would be taken for the one before.
pub(super) fn ends_unanswered(command: impl FnOnce()) -> bool {
    let outer = IS_ANSWERED.replace(false);
    let has_panicked = guarded(command).is_none();
    let is_answered = IS_ANSWERED.replace(outer);
    has_panicked && !is_answered
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_that_panics_lacks_a_reply_unless_it_has_begun_one() {
        assert!(ends_unanswered(|| panic!("before any reply")));
        assert!(!ends_unanswered(|| {
            note_answer();
            panic!("in the middle of a reply");
        }));
        assert!(!ends_unanswered(|| ()));
    }

    #[test]
    fn the_reply_to_a_command_within_is_not_that_of_the_command_without() {
        assert!(ends_unanswered(|| {
            assert!(!ends_unanswered(note_answer));
            panic!("before any reply of its own");
        }));
        assert!(!ends_unanswered(|| {
            note_answer();
            assert!(ends_unanswered(|| panic!("within")));
            panic!("without");
        }));
    }
}
