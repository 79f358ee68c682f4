//! Acts that must be quick, on machines that do other things too.

use std::time::{Duration, Instant};

/// The number of tries.
const TRIES: usize = 5;

/// Does something that must end within a time, and returns its result. If it took longer, it is done again: a busy machine keeps
/// processes waiting now and then, and a fault does so each time.
#[track_caller]
pub fn in_time<R>(limit: Duration, mut act: impl FnMut() -> R) -> R {
    let mut took = Vec::new();
    while took.len() < TRIES {
        let began = Instant::now();
        let result = act();
        match began.elapsed() {
            quick if quick < limit => return result,
            slow => took.push(slow),
        }
    }
    panic!("each time it took longer than {limit:?}: {took:?}");
}
