//! Work that goes on in threads while the test does something to the servers.

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

/// Repeats work on one thread for each of `workers`, for as long as `meanwhile` runs.
///
/// `begin` makes a thread's work, with all that it keeps between its turns. Each thread takes one turn at least, and no
/// thread is in the midst of one when this returns. A panic here or there ends the test, not only its thread.
pub fn while_repeating<'w, W, T, R>(
    workers: &'w [W],
    begin: impl Fn(&'w W) -> T + Sync,
    meanwhile: impl FnOnce() -> R,
) -> R
where
    W: Sync,
    T: FnMut(),
{
    let over = AtomicBool::new(false);
    thread::scope(|scope| {
        let (over, begin) = (&over, &begin);
        let threads: Vec<_> = workers
            .iter()
            .map(|worker| {
                scope.spawn(move || {
                    let mut turn = begin(worker);
                    while {
                        turn();
                        !over.load(Ordering::Relaxed)
                    } {}
                })
            })
            .collect();
        let result = {
            // The threads must hear of the end in a panic too: the scope waits for them.
            let _over = SetOnDrop(over);
            meanwhile()
        };
        threads.into_iter().for_each(|thread| thread.join().expect("the load in the background failed"));
        result
    })
}

struct SetOnDrop<'a>(&'a AtomicBool);

impl Drop for SetOnDrop<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}
