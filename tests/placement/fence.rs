//! A worker that was stopped, and goes on as if nothing had happened, is refused by what it writes to.

use rmr::testing::{Server, eventually};

use crate::group::LIMIT;
use crate::pool::{Worker, done, holders, push, settled};

/// The job takes long. Its worker is stopped in the middle of it; others take the slot over and do the job; the first one wakes up and
/// wants to count it as done, too.
#[test]
fn the_late_write_of_a_stopped_worker_is_refused() {
    let server = Server::start();
    let mut workers = ["one", "two"].map(|id| Worker::start(&server, id, 1));
    settled(&server, &["one", "two"], 1);
    let slot = push(&server, "2000 long job");
    let first = holders(&server)[usize::from(slot)][0].clone();
    let first = workers.iter().position(|worker| worker.id == first).expect("its worker");
    workers[first].await_line("'2000 long job' begins");
    workers[first].process.stop();

    workers[1 - first].await_line("'2000 long job' is done");
    assert_eq!(done(&server), [1]);
    workers[first].process.cont();
    workers[first].await_line("'2000 long job' is refused");
    assert_eq!(done(&server), [1]);
    // It has heard of it, and works again.
    eventually(LIMIT, "it has lost its slots", || workers[first].output().contains("are lost"));
    settled(&server, &["one", "two"], 1);
}
