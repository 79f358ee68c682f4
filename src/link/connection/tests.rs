use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;
use tokio::sync::oneshot;
use tokio::task::yield_now;

use super::*;
use crate::command::Command;
use crate::link::{Batch, Budget, Delivery};
use crate::reply::Reply;

/// Queues a command; gives what hears of its end.
fn ask(connection: &mut Connection, command: &Command) -> oneshot::Receiver<Delivery> {
    let (answer, answered) = oneshot::channel();
    connection.queue(EncodedBatch::one(command, Arc::new(Budget::new(usize::MAX)), Some(answer)));
    answered
}

/// Makes a connection that an event loop watches, and returns its other end too.
pub(super) fn connected() -> (Connection, UnixStream) {
    let (ours, theirs) = UnixStream::pair().expect("a pair of sockets");
    let (stats, silence, marking, own_slots) = (Arc::default(), Arc::default(), Arc::default(), Arc::default());
    (Connection::new(Box::new(ours), ReadBy::Watcher, stats, silence, marking, own_slots), theirs)
}

/// Makes a connection that an event loop watches, with one command that has left, and returns its other end too.
async fn asked() -> (Connection, UnixStream, oneshot::Receiver<Delivery>) {
    let (mut connection, theirs) = connected();
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

/// Makes a connection by which the call of a script and a command of another request have left, and returns its other
/// end too.
async fn asked_for_code() -> (Connection, UnixStream, [oneshot::Receiver<Delivery>; 2], Vec<u8>) {
    let (mut connection, mut theirs) = connected();
    let call = Command::new("EVAL").arg("error('x')").arg(0);
    let batch = Batch::new(Arc::new(vec![call].into()), vec![0], Arc::new(Budget::new(usize::MAX)));
    let (answer, of_call) = oneshot::channel();
    connection.queue(EncodedBatch::new(&batch, &Marking::default(), answer));
    let of_other = ask(&mut connection, &Command::new("GET").arg("k"));
    while !connection.write_now() {
        yield_now().await;
    }
    let mut sent = vec![0; 1024];
    let length = theirs.read(&mut sent).await.expect("what was asked");
    const HEAD: &[u8] = b"ECHO\r\n$32\r\n";
    let at = memchr::memmem::find(&sent, HEAD).expect("a marker") + HEAD.len();
    assert!(length > at);
    (connection, theirs, [of_call, of_other], sent[at..at + 32].to_vec())
}

/// Reads until this is answered, or the connection has ended.
async fn read_until_answered(connection: &mut Connection, answered: &mut oneshot::Receiver<Delivery>) -> Option<Reply> {
    let read = async {
        loop {
            connection.read_now(false);
            match answered.try_recv() {
                Ok(mut delivery) => return delivery.replies.pop(),
                Err(_) if connection.ended.is_some() => return None,
                Err(_) => yield_now().await,
            }
        }
    };
    tokio::time::timeout(Duration::from_secs(5), read).await.expect("it is answered at some time")
}

#[tokio::test]
async fn what_stands_before_a_marker_belongs_to_the_script_however_it_is_parted() {
    let bodies: [(&[u8], &[u8]); 5] = [
        (b"-ERR x\r\n+forged\r\n", b"ERR x  +forged"),
        (b"-ERR x\r\n+forged\r\n+forged\r\n", b"ERR x  +forged  +forged"),
        (b"-ERR x\r\n$100\r\nshort\r\n", b"ERR x  $100  short"),
        (b"-ERR x\njunk\r\n\r\n", b"ERR x junk  "),
        (b"-ERR x\r\n$32\r\n0123456789abcdef0123456789abcdef\r\n", b"ERR x  $32  0123456789abcdef0123456789abcdef"),
    ];
    for (said, text) in bodies {
        for at in 1..said.len() {
            let (mut connection, mut theirs, [mut of_call, mut of_other], digits) = asked_for_code().await;
            let all = [said, b"$32\r\n", &digits, b"\r\n$5\r\nvalue\r\n"].concat();
            theirs.write_all(&all[..at]).await.expect("written");
            yield_now().await;
            connection.read_now(false);
            theirs.write_all(&all[at..]).await.expect("written");
            let answer = read_until_answered(&mut connection, &mut of_call).await;
            assert_eq!(answer, Some(Reply::Error(text.to_vec().into())));
            let answer = read_until_answered(&mut connection, &mut of_other).await;
            assert_eq!(answer, Some(Reply::from("value")));
        }
    }
}

#[tokio::test]
async fn a_node_that_refuses_markers_answers_all_the_same() {
    const NOPERM: &[u8] = b"-NOPERM no 'echo'\r\n";
    // A reply that is no error is one reply; behind an error the connection is of no use any more.
    for (said, survives) in [(&b":1\r\n"[..], true), (b"-ERR x\r\n", false)] {
        let (mut connection, mut theirs, [mut of_call, mut of_other], _) = asked_for_code().await;
        theirs.write_all(&[said, NOPERM, b"$5\r\nvalue\r\n"].concat()).await.expect("written");
        assert!(read_until_answered(&mut connection, &mut of_call).await.is_some());
        assert_eq!(read_until_answered(&mut connection, &mut of_other).await.is_some(), survives);
        assert_eq!(connection.ended.is_none(), survives);
    }
}

#[tokio::test]
async fn a_call_that_is_given_up_takes_its_marker_with_it() {
    for said in [&b"-ERR x\r\n+forged\r\n"[..], b"*1\r\n-inner\r\n"] {
        let (mut connection, mut theirs, [of_call, mut of_other], digits) = asked_for_code().await;
        drop(of_call);
        theirs.write_all(&[said, b"$32\r\n", &digits, b"\r\n$5\r\nvalue\r\n"].concat()).await.expect("written");
        assert_eq!(read_until_answered(&mut connection, &mut of_other).await, Some(Reply::from("value")));
    }
}
