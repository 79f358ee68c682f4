//! Calls over real sockets, answered by a map in the place of the server.

use std::collections::HashMap;
use std::io::{ErrorKind, Read, Write};
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

use bytes::Bytes;

use super::alone::{AloneEnd, serve_alone};
use super::call::{BadCall, CallWords, TimerWanted};
use super::call_socket::{CallError, CallSocket, NoValue, Transfer};
use super::event;
use super::serving::{CallServer, Caller, EventSaid, Served, ServedFor};
use crate::python::frame::{FrameKind, FrameReader, encode, start_of};
use crate::python::marshal::{Value, Writer};

/// Answers from a map.
#[derive(Default)]
struct MapServer {
    values: HashMap<Vec<u8>, Vec<u8>>,
    /// The number of calls of [`CallServer::is_time_up`] after which time is up; 0 for never.
    looks_in_turn: usize,
    looks: std::cell::Cell<usize>,
    is_paused: bool,
    ran: usize,
    most: Option<usize>,
}

impl CallServer for MapServer {
    fn execute(&mut self, context: u64, words: CallWords<'_>, reply: &mut Writer) -> Result<(), NoValue> {
        if context != 9 {
            return Err(CallError::Aborted.into());
        }
        let words: Vec<&[u8]> = words.iter().collect();
        match words[..] {
            [b"GET", key] => match self.values.get(key) {
                Some(value) => reply.text_or_bytes(value),
                None => reply.none(),
            },
            [b"SET", ..] if self.is_paused => return Err(NoValue::NotNow),
            [b"SET", key, value] => {
                self.values.insert(key.to_vec(), value.to_vec());
                reply.text("OK");
            }
            _ => {
                reply.text("a part of a reply that is not to stay");
                return Err(CallError::of("No such file or directory").into());
            }
        }
        self.ran += 1;
        Ok(())
    }

    fn may_be_alone(&mut self, _: u64) -> Result<(), NoValue> {
        if self.is_paused { Err(NoValue::NotNow) } else { Ok(()) }
    }

    fn setting(&mut self, name: &[u8], value: &mut Writer) {
        if name == b"known" { value.text("yes") } else { value.none() }
    }

    fn hashtag(&mut self) -> String {
        "06S".into()
    }

    fn add_timer(&mut self, _: u64, timer: TimerWanted<'_>) -> Result<bool, NoValue> {
        Ok(timer.key.is_none())
    }

    fn plan_id(&mut self, builders: u64) -> String {
        format!("0-{builders}")
    }

    fn command_of_event(&mut self, _: u64, _: &mut Writer) -> Result<(), CallError> {
        Err(CallError::of("Can not get command ctx"))
    }

    fn override_reply(&mut self, _: u64, _: &[u8]) -> Result<(), CallError> {
        Err(CallError::of("Can not get command ctx"))
    }

    fn call_next(&mut self, _: u64, _: CallWords<'_>, _: &mut Writer) -> Result<(), NoValue> {
        Err(CallError::of("Can not get CommandHook ctx").into())
    }

    fn is_time_up(&self) -> bool {
        self.looks.set(self.looks.get() + 1);
        self.looks_in_turn > 0 && self.looks.get().is_multiple_of(self.looks_in_turn)
    }

    fn most_reply_bytes(&self) -> usize {
        self.most.unwrap_or(1 << 20)
    }
}

/// The worker's end.
struct WorkerEnd {
    socket: UnixStream,
    reader: FrameReader,
    last: u64,
}

/// Makes a worker that calls, and the caller that answers it.
fn pair() -> (WorkerEnd, Caller) {
    let (theirs, ours) = UnixStream::pair().unwrap();
    theirs.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
    (
        WorkerEnd { socket: theirs, reader: FrameReader::default(), last: 0 },
        Caller::new(CallSocket::new(ours.into()).unwrap()),
    )
}

impl WorkerEnd {
    /// Sends a call; returns its number.
    fn call(&mut self, kind: FrameKind, head: Vec<Value>) -> u64 {
        self.last += 1;
        self.socket.write_all(&encode(kind, self.last, &Value::Tuple(head).to_marshal())).unwrap();
        self.last
    }

    fn execute(&mut self, line: &str) -> u64 {
        self.call(FrameKind::Execute, vec![9_u64.into(), words(line)])
    }

    fn execute_many(&mut self, lines: &[&str]) -> u64 {
        let commands = lines.iter().map(|line| words(line)).collect();
        self.call(FrameKind::ExecuteMany, vec![9_u64.into(), Value::List(commands)])
    }

    /// Reads the next answer: number, kind and head.
    fn answer(&mut self) -> (u64, FrameKind, Value) {
        loop {
            if let Some(frame) = self.reader.next().unwrap() {
                assert!(frame.sections.is_empty());
                return (frame.id, frame.kind, frame.head);
            }
            let mut bytes = [0; 4096];
            let count = self.socket.read(&mut bytes).expect("an answer");
            assert!(count > 0, "the server has closed its end");
            self.reader.room().extend_from_slice(&bytes[..count]);
        }
    }

    fn value_of(&mut self, number: u64) -> Value {
        let (id, kind, head) = self.answer();
        assert_eq!((id, kind), (number, FrameKind::Done), "{head:?}");
        head.items().unwrap()[0].clone()
    }

    fn error_of(&mut self, number: u64) -> (String, String) {
        let (id, kind, head) = self.answer();
        assert_eq!((id, kind), (number, FrameKind::Failed), "{head:?}");
        let [code, text] = head.items().unwrap() else { panic!("{head:?}") };
        (code.as_text().unwrap().to_owned(), text.as_text().unwrap().to_owned())
    }
}

fn words(line: &str) -> Value {
    Value::List(line.split(' ').map(|word| Value::Bytes(Bytes::copy_from_slice(word.as_bytes()))).collect())
}

/// Reads all that has come, and answers it.
fn serve(caller: &mut Caller, server: &mut MapServer) -> Served {
    while caller.socket.takes_more() && caller.socket.read() == Transfer::Done {}
    let served = caller.serve(server, ServedFor::All);
    caller.socket.send();
    served
}

#[test]
fn a_call_is_answered_with_a_value_or_an_error() {
    let (mut worker, mut caller) = pair();
    let mut server = MapServer::default();
    server.values.insert(b"k".to_vec(), b"v".to_vec());
    server.values.insert(b"raw".to_vec(), b"\xff".to_vec());
    let calls =
        [worker.execute("GET k"), worker.execute("GET raw"), worker.execute("GET none"), worker.execute("NOSUCH")];
    let settings = [
        worker.call(FrameKind::ConfigGet, vec![9_u64.into(), "known".into()]),
        worker.call(FrameKind::ConfigGet, vec![9_u64.into(), "other".into()]),
        worker.call(FrameKind::Hashtag, vec![9_u64.into()]),
        worker.call(FrameKind::LeaveAtomic, vec![9_u64.into()]),
    ];
    let timer = |key: Value| vec![9_u64.into(), "s".into(), "1".into(), 5_u64.into(), key, Value::Bytes(Bytes::new())];
    let timers =
        [worker.call(FrameKind::AddTimer, timer(Value::None)), worker.call(FrameKind::AddTimer, timer("key".into()))];
    assert_eq!(serve(&mut caller, &mut server), Served::All);
    let text = |text: &str| Value::text(text);
    assert_eq!(worker.answer(), (calls[0], FrameKind::Done, Value::Tuple(vec![text("v"), false.into()])));
    let raw = Value::Bytes(Bytes::from_static(b"\xff"));
    assert_eq!(worker.answer(), (calls[1], FrameKind::Done, Value::Tuple(vec![raw, true.into()])));
    assert_eq!(worker.answer(), (calls[2], FrameKind::Done, Value::Tuple(vec![Value::None, false.into()])));
    assert_eq!(worker.error_of(calls[3]), ("error".into(), "No such file or directory".into()));
    assert_eq!(worker.value_of(settings[0]), text("yes"));
    assert_eq!(worker.value_of(settings[1]), Value::None);
    assert_eq!(worker.value_of(settings[2]), text("06S"));
    assert_eq!(worker.value_of(settings[3]), Value::None);
    assert_eq!(worker.value_of(timers[0]), true.into());
    assert_eq!(worker.value_of(timers[1]), false.into());
    let other = worker.call(FrameKind::Execute, vec![1_u64.into(), words("GET k")]);
    assert_eq!(serve(&mut caller, &mut server), Served::All);
    assert_eq!(worker.error_of(other).0, "aborted");
}

#[test]
fn answers_are_the_bytes_that_the_worker_is_tested_with() {
    let vectors = include_str!("../../python/worker/vectors.txt");
    let vector = |name: &str| {
        let line = vectors.lines().find(|line| line.split('\t').next() == Some(name)).unwrap();
        let digits = line.split('\t').nth(2).unwrap().as_bytes().chunks(2);
        digits.map(|pair| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap()).collect::<Vec<u8>>()
    };
    let (mut worker, mut caller) = pair();
    let mut server = MapServer::default();
    server.values.insert(b"k".to_vec(), b"v".to_vec());
    worker.socket.write_all(&[vector("execute"), vector("execute many")].concat()).unwrap();
    assert_eq!(serve(&mut caller, &mut server), Served::All);
    let mut expected = FrameReader::default();
    expected.room().extend_from_slice(&[vector("executed"), vector("executed many")].concat());
    for _ in 0..2 {
        let frame = expected.next().unwrap().unwrap();
        assert_eq!(worker.answer(), (frame.id, frame.kind, frame.head));
    }
}

#[test]
fn a_call_that_comes_byte_by_byte_is_answered_once() {
    let (worker, mut caller) = pair();
    let mut worker = WorkerEnd { last: 1, ..worker };
    let mut server = MapServer::default();
    let frame = encode(FrameKind::Execute, 1, &Value::Tuple(vec![9_u64.into(), words("GET k")]).to_marshal());
    for byte in &frame {
        assert_eq!(server.ran, 0);
        worker.socket.write_all(&[*byte]).unwrap();
        assert_eq!(serve(&mut caller, &mut server), Served::All);
    }
    assert_eq!(worker.value_of(1), Value::None);
    assert_eq!(server.ran, 1);
}

#[test]
fn many_commands_have_their_errors_in_their_places_however_many_turns_they_take() {
    for looks_in_turn in [0, 1, 2] {
        let (mut worker, mut caller) = pair();
        let mut server = MapServer { looks_in_turn, ..MapServer::default() };
        let many = worker.execute_many(&["SET a 1", "NOSUCH", "GET a", "GET b"]);
        let next = worker.execute("GET a");
        let mut turns = 1;
        while serve(&mut caller, &mut server) == Served::TimeIsUp {
            turns += 1;
            assert!(turns < 20);
        }
        assert_eq!(turns > 1, looks_in_turn > 0, "{turns} turns");
        let item = |is_reply: bool, item: Value| Value::List(vec![is_reply.into(), item]);
        let expected = vec![
            item(true, "OK".into()),
            item(false, "No such file or directory".into()),
            item(true, "1".into()),
            item(true, Value::None),
        ];
        assert_eq!(worker.value_of(many), Value::List(expected));
        assert_eq!(worker.value_of(next), "1".into());
        assert_eq!(server.ran, 4);
    }
    let (mut worker, mut caller) = pair();
    let none = worker.execute_many(&[]);
    assert_eq!(serve(&mut caller, &mut MapServer::default()), Served::All);
    assert_eq!(worker.value_of(none), Value::List(vec![]));
}

#[test]
fn what_cannot_be_answered_now_waits_and_is_not_done_twice() {
    let (mut worker, mut caller) = pair();
    let mut server = MapServer { is_paused: true, ..MapServer::default() };
    let many = worker.execute_many(&["GET a", "GET b", "SET a 1", "GET a"]);
    let enter = worker.call(FrameKind::EnterAtomic, vec![9_u64.into()]);
    for _ in 0..3 {
        assert_eq!(serve(&mut caller, &mut server), Served::NotNow);
        assert_eq!(server.ran, 2);
    }
    server.is_paused = false;
    assert_eq!(serve(&mut caller, &mut server), Served::WantsAlone { id: enter });
    let Value::List(replies) = worker.value_of(many) else { panic!() };
    assert_eq!((replies.len(), server.ran), (4, 4));
    server.is_paused = true;
    assert_eq!(serve(&mut caller, &mut server), Served::NotNow);
}

#[test]
fn a_reply_that_is_too_big_is_an_error() {
    let (mut worker, mut caller) = pair();
    let mut server = MapServer { most: Some(1000), ..MapServer::default() };
    server.values.insert(b"k".to_vec(), vec![b'x'; 900]);
    server.values.insert(b"big".to_vec(), vec![b'x'; 1000]);
    let calls = [worker.execute("GET k"), worker.execute("GET big"), worker.execute_many(&["GET k", "GET k"])];
    let fits = worker.execute_many(&["GET k"]);
    assert_eq!(serve(&mut caller, &mut server), Served::All);
    worker.value_of(calls[0]);
    for call in &calls[1..] {
        assert!(worker.error_of(*call).1.contains("rmr.max-reply-bytes allows no more"));
    }
    worker.value_of(fits);
}

#[test]
fn what_is_no_call_is_told_apart() {
    for bytes in [&[0xff; 40][..], &encode(FrameKind::Load, 1, b"N"), &encode(FrameKind::Execute, 1, b"N")] {
        let (mut worker, mut caller) = pair();
        worker.socket.write_all(bytes).unwrap();
        assert!(matches!(serve(&mut caller, &mut MapServer::default()), Served::Bad(_)), "{bytes:?}");
    }
    // An announced size takes no memory, and one of many commands that is none ends all.
    let (mut worker, mut caller) = pair();
    worker.socket.write_all(&(2_u32 << 30).to_le_bytes()).unwrap();
    assert_eq!(serve(&mut caller, &mut MapServer::default()), Served::Bad(BadCall::TooBig(2 << 30)));
    let (mut worker, mut caller) = pair();
    let commands = Value::List(vec![words("GET k"), Value::None]);
    worker.call(FrameKind::ExecuteMany, vec![9_u64.into(), commands]);
    let mut server = MapServer::default();
    assert!(matches!(serve(&mut caller, &mut server), Served::Bad(_)));
    assert_eq!(server.ran, 1);
}

#[test]
fn a_worker_that_takes_no_answers_gets_no_more_of_them() {
    let (mut worker, mut caller) = pair();
    let mut server = MapServer::default();
    server.values.insert(b"k".to_vec(), vec![b'x'; 100_000]);
    worker.socket.set_nonblocking(true).unwrap();
    let frame = encode(FrameKind::Execute, 1, &Value::Tuple(vec![9_u64.into(), words("GET k")]).to_marshal());
    let mut sent = 0;
    let mut served = Served::All;
    while served != Served::IsFull {
        worker.socket.write_all(&frame).unwrap();
        sent += 1;
        assert!(sent < 100, "it is answered on and on");
        served = serve(&mut caller, &mut server);
    }
    let ran = server.ran;
    assert_eq!(serve(&mut caller, &mut server), Served::IsFull);
    assert_eq!(server.ran, ran);
    // Its messages meanwhile are read up to a limit.
    loop {
        match worker.socket.write(&frame) {
            Ok(count) if count == frame.len() => sent += 1,
            Ok(_) => break,
            Err(error) => {
                assert_eq!(error.kind(), ErrorKind::WouldBlock);
                break;
            }
        }
        if caller.socket.takes_more() {
            caller.socket.read();
        }
    }
    assert!(!caller.socket.takes_more(), "{sent} calls are read and not answered");
}

/// Serves alone in this thread, while the worker does something in another.
fn alone(
    server: &mut MapServer,
    timeout: Duration,
    worker: impl FnOnce(&mut WorkerEnd) + Send,
) -> (AloneEnd, Caller, WorkerEnd, Duration) {
    let (mut end, mut caller) = pair();
    let id = end.call(FrameKind::EnterAtomic, vec![9_u64.into()]);
    assert_eq!(serve(&mut caller, server), Served::WantsAlone { id });
    let began = Instant::now();
    let how = std::thread::scope(|scope| {
        let thread = scope.spawn(|| {
            assert_eq!(end.value_of(id), Value::None);
            worker(&mut end);
        });
        let how = serve_alone(&mut caller, id, server, began + timeout);
        thread.join().unwrap();
        how
    });
    (how, caller, end, began.elapsed())
}

const LONG: Duration = Duration::from_secs(10);

#[test]
fn one_worker_is_served_alone_until_it_leaves() {
    let mut server = MapServer::default();
    let mut left = 0;
    let (how, mut caller, mut worker, _) = alone(&mut server, LONG, |worker| {
        for round in 0..50 {
            let call = worker.execute(&format!("SET k {round}"));
            assert_eq!(worker.value_of(call), "OK".into());
        }
        let nested = worker.call(FrameKind::EnterAtomic, vec![9_u64.into()]);
        assert_eq!(worker.error_of(nested), ("error".into(), "Already inside an atomic block".into()));
        left = worker.call(FrameKind::LeaveAtomic, vec![9_u64.into()]);
        assert_eq!(worker.value_of(left), Value::None);
    });
    assert_eq!((how, server.ran), (AloneEnd::HasLeft, 50));
    let after = worker.execute("GET k");
    assert_eq!(serve(&mut caller, &mut server), Served::All);
    assert_eq!(worker.value_of(after), "49".into());
}

#[test]
fn a_worker_that_stays_alone_too_long_is_given_up() {
    let short = Duration::from_millis(30);
    // It says nothing, says half of a call, says ever more, or takes no answers.
    let (how, ..) = alone(&mut MapServer::default(), short, |_| {});
    assert_eq!(how, AloneEnd::TooLong);
    let (how, ..) = alone(&mut MapServer::default(), short, |worker| worker.socket.write_all(&[1, 0, 0]).unwrap());
    assert_eq!(how, AloneEnd::TooLong);
    let (how, _, _, took) = alone(&mut MapServer::default(), short, |worker| {
        worker.socket.set_nonblocking(true).unwrap();
        let until = Instant::now() + 2 * short;
        while Instant::now() < until {
            let _ = worker.socket.write(&encode(FrameKind::Hashtag, 7, &Value::Tuple(vec![9_u64.into()]).to_marshal()));
            let _ = worker.socket.read(&mut [0; 4096]);
        }
    });
    assert!(matches!(how, AloneEnd::TooLong | AloneEnd::Bad(_)) && took < LONG, "{how:?} after {took:?}");
    let mut server = MapServer::default();
    server.values.insert(b"k".to_vec(), vec![b'x'; 1 << 19]);
    let (how, ..) = alone(&mut server, short, |worker| (0..4).for_each(|_| _ = worker.execute("GET k")));
    assert_eq!(how, AloneEnd::TooLong);
}

#[test]
fn a_worker_that_ends_alone_gives_the_server_back_at_once() {
    let (how, .., took) = alone(&mut MapServer::default(), LONG, |worker| {
        worker.execute("SET k 1");
        worker.socket.shutdown(std::net::Shutdown::Both).unwrap();
    });
    assert!(how == AloneEnd::IsGone && took < LONG / 2, "{how:?} after {took:?}");
}

#[test]
fn a_worker_that_says_nonsense_alone_is_given_up() {
    let (how, ..) = alone(&mut MapServer::default(), LONG, |worker| worker.socket.write_all(&[0xff; 64]).unwrap());
    assert!(matches!(how, AloneEnd::Bad(_)), "{how:?}");
}

/// Has the worker run event 9 and waits for its end in this thread, while the worker does something in another.
fn event(
    server: &mut MapServer,
    timeout: Duration,
    worker: impl FnOnce(&mut WorkerEnd) + Send,
) -> (Result<EventSaid, AloneEnd>, Caller, WorkerEnd) {
    let (mut end, mut caller) = pair();
    let deadline = Instant::now() + timeout;
    let said = std::thread::scope(|scope| {
        let thread = scope.spawn(|| {
            let (id, kind, head) = end.answer();
            assert_eq!((id, kind, head), (9, FrameKind::Sync, Value::Tuple(vec!["the event".into()])));
            worker(&mut end);
        });
        let head = Value::Tuple(vec!["the event".into()]).to_marshal();
        let said = event::run(&mut caller, 9, &head, &[], server, deadline);
        thread.join().unwrap();
        said
    });
    (said, caller, end)
}

/// Says that the event is done with, in a frame with a section.
fn done(worker: &mut WorkerEnd, id: u64) {
    let head = Value::Tuple(vec![Value::None, Value::None]).to_marshal();
    let mut frame = start_of(FrameKind::SyncDone, id, &head, 3);
    frame.extend_from_slice(b"abc");
    worker.socket.write_all(&frame).unwrap();
}

#[test]
fn calls_of_an_event_are_answered_and_all_others_wait_for_its_end() {
    let mut server = MapServer::default();
    let (mut before, mut alone) = (0, 0);
    let (said, mut caller, mut worker) = event(&mut server, LONG, |worker| {
        before = worker.call(FrameKind::Execute, vec![8_u64.into(), words("GET k")]);
        alone = worker.call(FrameKind::EnterAtomic, vec![8_u64.into()]);
        let own = worker.execute("SET k v");
        assert_eq!(worker.value_of(own), "OK".into());
        let many = worker.execute_many(&["GET k", "GET none"]);
        assert_eq!(worker.value_of(many).items().map(<[Value]>::len), Some(2));
        done(worker, 9);
    });
    let said = said.unwrap();
    assert_eq!((said.section, server.ran), (b"abc".to_vec(), 3));
    // In the order in which they came.
    assert_eq!(serve(&mut caller, &mut server), Served::WantsAlone { id: alone });
    assert_eq!(worker.error_of(before).0, "aborted");
}

#[test]
fn a_call_with_many_commands_goes_on_where_it_was_when_an_event_has_come_between() {
    let (mut worker, mut caller) = pair();
    let mut server = MapServer { looks_in_turn: 1, ..MapServer::default() };
    let many = worker.execute_many(&["SET a 1", "SET b 2"]);
    assert_eq!(serve(&mut caller, &mut server), Served::TimeIsUp);
    server.looks_in_turn = 0;
    done(&mut worker, 4);
    let said = event::run(&mut caller, 4, &Value::None.to_marshal(), &[], &mut server, Instant::now() + LONG).unwrap();
    assert_eq!(said.section, b"abc");
    assert_eq!(worker.answer().1, FrameKind::Sync);
    assert_eq!(serve(&mut caller, &mut server), Served::All);
    assert_eq!((worker.value_of(many).items().map(<[Value]>::len), server.ran), (Some(2), 2));
}

#[test]
fn a_worker_that_does_not_come_to_the_end_of_an_event_is_given_up() {
    let short = Duration::from_millis(50);
    let why = |timeout, work: fn(&mut WorkerEnd)| event(&mut MapServer::default(), timeout, work).0.err();
    assert_eq!(why(short, |_| {}), Some(AloneEnd::TooLong));
    assert_eq!(why(LONG, |worker| worker.socket.shutdown(std::net::Shutdown::Both).unwrap()), Some(AloneEnd::IsGone));
    // The end of another event.
    assert!(matches!(why(LONG, |worker| done(worker, 5)), Some(AloneEnd::Bad(_))));
    // And where nobody waits for one.
    let (mut worker, mut caller) = pair();
    done(&mut worker, 5);
    assert!(matches!(serve(&mut caller, &mut MapServer::default()), Served::Bad(_)));
}
