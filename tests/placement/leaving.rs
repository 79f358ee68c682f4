//! A member leaves when others serve what it serves.

use std::time::Duration;

use rmr::testing::Server;

use crate::group::{LIMIT, Manner, SLOTS, Worker, options, settled, until};

/// R8 for one that leaves: it stays until others are ready, and all slots are served at every moment.
#[tokio::test(flavor = "multi_thread")]
async fn who_leaves_waits_for_the_others() {
    let server = Server::start();
    let (one, two) = (Worker::eager(&server, "one").await, Worker::eager(&server, "two").await);
    let watcher = Worker::eager(&server, "watcher").await;
    settled(&[&one, &two, &watcher], 1).await;
    let leaving = two.member.leave(LIMIT);
    tokio::pin!(leaving);
    let left = loop {
        tokio::select! {
            left = &mut leaving => break left.expect("left"),
            () = tokio::time::sleep(Duration::from_millis(1)) => {
                let routes = watcher.member.routes();
                assert!((0..SLOTS).all(|slot| routes.primary(slot).is_some()));
            }
        }
    };
    assert_eq!(left.short, []);
    settled(&[&one, &watcher], 1).await;
}

/// A member that leaves goes when its time is over, and says which slots it leaves short.
#[tokio::test(flavor = "multi_thread")]
async fn who_has_no_more_time_says_what_is_short() {
    let server = Server::start();
    let one = Worker::eager(&server, "one").await;
    settled(&[&one], 1).await;
    let idle = Worker::join(options(&server, "idle"), Manner::Idle).await;
    until("the other one is there", || one.member.members().len() == 2).await;
    let moved = idle.member.missing();
    idle.member.ready(moved[0]).await.expect("a token");
    let left = one.member.leave(Duration::from_millis(300)).await.expect("left");
    let short: Vec<(u16, usize)> = (0..SLOTS).filter(|slot| *slot != moved[0]).map(|slot| (slot, 0)).collect();
    assert_eq!(left.short, short);
    until("the rest is missing", || idle.member.missing().len() == usize::from(SLOTS) - 1).await;
}
