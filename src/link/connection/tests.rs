use std::time::Duration;

use tokio::io::AsyncWriteExt;
use tokio::net::UnixStream;
use tokio::sync::oneshot;
use tokio::task::yield_now;

use super::*;
use crate::command::Command;
use crate::link::{Budget, Delivery};

/// Queues a command; gives what hears of its end.
fn ask(connection: &mut Connection, command: &Command) -> oneshot::Receiver<Delivery> {
    let (answer, answered) = oneshot::channel();
    connection.queue(EncodedBatch::one(command, Arc::new(Budget::new(usize::MAX)), Some(answer)));
    answered
}

/// A connection that an event loop tells of, with one command that has left, and the other end of it.
async fn asked() -> (Connection, UnixStream, oneshot::Receiver<Delivery>) {
    let (ours, theirs) = UnixStream::pair().expect("a pair of sockets");
    let mut connection = Connection::new(Box::new(ours), ReadBy::Watcher, Arc::default(), Arc::default());
    let answered = ask(&mut connection, &Command::new("KEYS").arg("*"));
    while !connection.write_now() {
        yield_now().await;
    }
    (connection, theirs, answered)
}

/// Reads as an event loop does, until it needs not tell any more.
async fn read_until_left(connection: &mut Connection) {
    let read = async {
        while connection.read_now(true) {
            yield_now().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(5), read).await.expect("it is left at some time");
}

#[tokio::test]
async fn a_long_reply_of_short_elements_is_left_to_the_runtime_before_it_is_whole() {
    let (mut connection, mut theirs, mut answered) = asked().await;
    theirs.write_all(b"*20000\r\n").await.expect("written");
    theirs.write_all(&b"$1\r\nx\r\n".repeat(3000)).await.expect("written");
    read_until_left(&mut connection).await;
    assert!(connection.read_by == ReadBy::RuntimeUntilIdle && connection.ended.is_none());
    assert!(answered.try_recv().is_err());
}

#[tokio::test]
async fn nothing_is_written_to_a_connection_that_has_ended() {
    for (said, left_to_the_next) in [(&b""[..], 0), (b"*0\r\n", 1)] {
        let (mut connection, mut theirs, _answered) = asked().await;
        theirs.write_all(said).await.expect("written");
        theirs.shutdown().await.expect("closed for writing");
        read_until_left(&mut connection).await;
        let _next_answered = ask(&mut connection, &Command::new("INCR").arg("k"));
        assert!(!connection.write_now());
        // One that has never worked leaves nothing to the next, which would not work either.
        assert_eq!(connection.take_unsent("the node closed the connection").len(), left_to_the_next);
    }
}
