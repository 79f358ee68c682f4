use std::sync::Arc;
use std::task::{Context, Waker};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;
use tokio::sync::oneshot;
use tokio::task::yield_now;

use super::*;
use crate::command::Command;
use crate::link::connection::tests::connected;
use crate::link::connection::{EncodedBatch, Marking, ReadBy};
use crate::link::{Batch, Budget, Delivery, SlotsAround};
use crate::reply::Reply;

fn queue(connection: &mut Connection, command: Command, asks_own_slots: bool) -> oneshot::Receiver<Delivery> {
    let (answer, answered) = oneshot::channel();
    let budget = Arc::new(Budget::new(usize::MAX));
    let batch = Batch { asks_own_slots, ..Batch::new(Arc::new(vec![command].into()), vec![0], budget) };
    connection.queue(EncodedBatch::new(&batch, &Marking::default(), answer));
    answered
}

/// Queues a command whose answer depends on slots.
fn count(connection: &mut Connection) -> oneshot::Receiver<Delivery> {
    queue(connection, Command::new("DBSIZE"), true)
}

/// Queues one whose answer does not.
fn ping(connection: &mut Connection) -> oneshot::Receiver<Delivery> {
    queue(connection, Command::new("PING"), false)
}

/// Writes what is queued. Returns the commands that came to the other end.
async fn sent(connection: &mut Connection, theirs: &mut UnixStream) -> Vec<String> {
    while !connection.write_now() {
        yield_now().await;
    }
    let mut bytes = vec![0; 4096];
    let length = theirs.read(&mut bytes).await.expect("what was asked");
    let text = String::from_utf8(bytes[..length].to_vec()).expect("words");
    let words = |command: &str| {
        let words = command.split("\r\n").skip(1).filter(|word| !word.is_empty() && !word.starts_with('$'));
        words.collect::<Vec<_>>().join(" ")
    };
    text.split('*').filter(|command| !command.is_empty()).map(words).collect()
}

/// Writes the node's answer about its slots, as it travels.
fn nodes(epoch: u64, slots: &str) -> Vec<u8> {
    let text = format!("aa 10.0.0.1:7001@17001 myself,master - 0 {epoch} {epoch} connected {slots}\n");
    format!("${}\r\n{text}\r\n", text.len()).into_bytes()
}

async fn say(connection: &mut Connection, theirs: &mut UnixStream, parts: &[&[u8]]) {
    theirs.write_all(&parts.concat()).await.expect("written");
    read(connection).await;
}

/// Reads what has come.
async fn read(connection: &mut Connection) {
    for _ in 0..10 {
        yield_now().await;
        connection.drain_ready();
    }
}

fn delivered(answered: &mut oneshot::Receiver<Delivery>) -> (Vec<Reply>, Option<SlotsAround>) {
    let delivery = answered.try_recv().expect("it is answered");
    assert!(delivery.failure.is_none(), "{delivery:?}");
    (delivery.replies, delivery.own_slots)
}

const QUESTION_SENT: &str = "CLUSTER NODES";

/// Sends and answers a command with a question in front and one behind, and finds that the slots of the answer are known.
async fn is_asked_before_and_after(
    connection: &mut Connection,
    theirs: &mut UnixStream,
    counted: &mut oneshot::Receiver<Delivery>,
) {
    assert_eq!(sent(connection, theirs).await, [QUESTION_SENT, "DBSIZE", QUESTION_SENT]);
    let same = nodes(1, "0-9");
    say(connection, theirs, &[&same, b":1\r\n", &same]).await;
    assert!(delivered(counted).1.is_some());
}

#[tokio::test]
async fn one_question_serves_all_batches_of_a_write() {
    let (mut connection, mut theirs) = connected();
    let mut counted = [count(&mut connection), count(&mut connection)];
    let mut pinged = ping(&mut connection);
    let asked = sent(&mut connection, &mut theirs).await;
    assert_eq!(asked, [QUESTION_SENT, "DBSIZE", "DBSIZE", QUESTION_SENT, "PING"]);
    let same = nodes(1, "0-9");
    say(&mut connection, &mut theirs, &[&same, b":1\r\n:2\r\n", &same, b"+PONG\r\n"]).await;
    let mut said = None;
    for (answered, expected) in counted.iter_mut().zip([1, 2]) {
        let (replies, around) = delivered(answered);
        assert_eq!(replies, [Reply::Integer(expected)]);
        let held = around.expect("it was asked").held().expect("nothing has changed").clone();
        assert!(Arc::ptr_eq(said.get_or_insert(held.clone()), &held));
    }
    assert!(delivered(&mut pinged).1.is_none());

    // The last state that was told is the one that held before.
    let mut next = count(&mut connection);
    assert_eq!(sent(&mut connection, &mut theirs).await, ["DBSIZE", QUESTION_SENT]);
    say(&mut connection, &mut theirs, &[b":3\r\n", &nodes(2, "0-9 11")]).await;
    let around = delivered(&mut next).1.expect("it was asked");
    assert!(around.held().is_none() && Some(around.before) == said);
    assert_eq!(around.after.owned, [(0, 9), (11, 11)]);
}

#[tokio::test]
async fn an_answer_of_long_ago_is_asked_for_again() {
    let (mut connection, mut theirs) = connected();
    let _counted = count(&mut connection);
    sent(&mut connection, &mut theirs).await;
    tokio::time::sleep(Duration::from_millis(30)).await;
    let _counted = [ping(&mut connection), count(&mut connection)];
    assert_eq!(sent(&mut connection, &mut theirs).await, ["PING", QUESTION_SENT, "DBSIZE", QUESTION_SENT]);
}

#[tokio::test]
async fn nothing_is_asked_for_batches_that_do_not_want_to_know_or_are_given_up() {
    let (mut connection, mut theirs) = connected();
    drop(count(&mut connection));
    let mut pinged = ping(&mut connection);
    assert_eq!(sent(&mut connection, &mut theirs).await, ["PING"]);
    say(&mut connection, &mut theirs, &[b"+PONG\r\n"]).await;
    delivered(&mut pinged);
}

#[tokio::test]
async fn batches_wait_for_the_answer_however_it_is_parted() {
    let same = nodes(1, "0-9 [9->-bb]");
    let all = [&same[..], b":1\r\n", &same].concat();
    for at in 1..all.len() {
        let (mut connection, mut theirs) = connected();
        let mut counted = count(&mut connection);
        sent(&mut connection, &mut theirs).await;
        say(&mut connection, &mut theirs, &[&all[..at]]).await;
        assert!(counted.try_recv().is_err(), "{at}");
        say(&mut connection, &mut theirs, &[&all[at..]]).await;
        let (replies, around) = delivered(&mut counted);
        assert_eq!(replies, [Reply::Integer(1)]);
        assert_eq!(around.unwrap().held().unwrap().moving[0].slot, 9);
        assert_eq!(connection.in_flight(), 0);
    }
}

#[tokio::test]
async fn the_answer_to_a_question_that_nobody_waits_for_any_more_is_nobody_elses() {
    let (mut connection, mut theirs) = connected();
    drop({
        let counted = count(&mut connection);
        sent(&mut connection, &mut theirs).await;
        counted
    });
    let mut pinged = ping(&mut connection);
    assert_eq!(sent(&mut connection, &mut theirs).await, ["PING"]);
    let same = nodes(1, "0-9");
    say(&mut connection, &mut theirs, &[&same, b":1\r\n", &same, b"+PONG\r\n"]).await;
    assert_eq!(delivered(&mut pinged).0, [Reply::Simple("PONG".into())]);
}

#[tokio::test]
async fn a_node_that_does_not_say_it_answers_all_the_same() {
    let (mut connection, mut theirs) = connected();
    let mut counted = count(&mut connection);
    sent(&mut connection, &mut theirs).await;
    say(&mut connection, &mut theirs, &[b"-NOPERM no\r\n:1\r\n-NOPERM no\r\n"]).await;
    let delivery = counted.try_recv().expect("it is answered");
    assert_eq!(delivery.replies, [Reply::Integer(1)]);
    assert!(matches!(delivery.failure, Some(Failure::OwnSlotsUnknown(why)) if why == "NOPERM no"));
    // It is asked in front again: nothing is known of what held before.
    let mut counted = count(&mut connection);
    is_asked_before_and_after(&mut connection, &mut theirs, &mut counted).await;
}

#[tokio::test]
async fn a_connection_that_ends_before_the_answer_gives_the_replies_without() {
    let (mut connection, mut theirs) = connected();
    let mut counted = count(&mut connection);
    let mut pinged = ping(&mut connection);
    sent(&mut connection, &mut theirs).await;
    say(&mut connection, &mut theirs, &[&nodes(1, "0-9"), b":1\r\n"]).await;
    assert!(counted.try_recv().is_err() && connection.has_requesters());
    connection.fail_pending("cut");
    let delivery = counted.try_recv().expect("it has ended");
    assert_eq!(delivery.replies, [Reply::Integer(1)]);
    assert!(delivery.own_slots.is_none() && matches!(delivery.failure, Some(Failure::Lost(why)) if why == "cut"));
    assert!(pinged.try_recv().expect("it has ended").replies.is_empty());
}

#[tokio::test]
async fn what_has_not_left_is_asked_about_by_the_next_connection() {
    let (mut connection, mut theirs) = connected();
    let mut pinged = ping(&mut connection);
    sent(&mut connection, &mut theirs).await;
    say(&mut connection, &mut theirs, &[b"+PONG\r\n"]).await;
    delivered(&mut pinged);
    let mut counted = count(&mut connection);
    connection.queue_questions();
    let unsent = connection.take_unsent("cut");
    assert_eq!(unsent.len(), 1);
    let (mut connection, mut theirs) = connected();
    unsent.into_iter().for_each(|batch| connection.queue(batch));
    is_asked_before_and_after(&mut connection, &mut theirs, &mut counted).await;
}

#[tokio::test]
async fn a_question_does_not_keep_the_event_loop_from_reading() {
    let (mut connection, mut theirs) = connected();
    let mut counted = [(); 4].map(|()| count(&mut connection));
    sent(&mut connection, &mut theirs).await;
    assert!(connection.read_now(true), "four requests are few");
    connection.read_by = ReadBy::RuntimeUntilIdle;
    let same = nodes(1, "0-9");
    theirs.write_all(&[&same[..], &b":1\r\n".repeat(3)].concat()).await.expect("written");
    let mut context = Context::from_waker(Waker::noop());
    yield_now().await;
    let _ = connection.poll_read_by_runtime(&mut context);
    theirs.write_all(&[b":1\r\n", &same[..]].concat()).await.expect("written");
    yield_now().await;
    while counted[3].try_recv().is_err() {
        yield_now().await;
        let _ = connection.poll_read_by_runtime(&mut context);
    }
    assert!(connection.read_by == ReadBy::RuntimeUntilIdle, "there were many");
    let mut last = count(&mut connection);
    sent(&mut connection, &mut theirs).await;
    theirs.write_all(&[b":1\r\n", &same[..]].concat()).await.expect("written");
    while last.try_recv().is_err() {
        yield_now().await;
        let _ = connection.poll_read_by_runtime(&mut context);
    }
    assert!(connection.read_by == ReadBy::Watcher);
}

#[tokio::test]
async fn the_error_of_a_script_ends_before_the_answer_to_the_question() {
    let (mut connection, mut theirs) = connected();
    let mut counted = queue(&mut connection, Command::new("EVAL_RO").arg("return 1").arg(0), true);
    let asked = sent(&mut connection, &mut theirs).await;
    assert_eq!((&*asked[0], &*asked[1], &*asked[3]), (QUESTION_SENT, "EVAL_RO return 1 0", QUESTION_SENT));
    let digits = asked[2].strip_prefix("ECHO ").expect("a marker").to_owned();
    let echoed = format!("$32\r\n{digits}\r\n").into_bytes();
    let (same, forged) = (nodes(1, "0-9"), nodes(1, "0-8"));
    say(&mut connection, &mut theirs, &[&same, b"-ERR x\r\n", &forged, &echoed, &same]).await;
    let (replies, around) = delivered(&mut counted);
    assert!(matches!(&replies[..], [Reply::Error(_)]));
    assert_eq!(around.unwrap().held().unwrap().owned, [(0, 9)]);
}
