use std::sync::Arc;
use std::time::Duration;

use proptest::prelude::*;

use super::*;
use crate::combine::{AnyCombine, Origin};
use crate::command::CommandRef;
use crate::fuzz::fuzz_inner;
use crate::peer::envelope::Malformed;
use crate::peer::{Envelope, Kind, VERSION};
use crate::reduce::Builtin;
use crate::reply::Reply;
use crate::resp::Protocol;

fn reduction(commands: usize) -> Reduction {
    let places = (0..commands as u32).map(|at| at * 3).collect();
    let combine: Arc<dyn AnyCombine> = Arc::new(Builtin::Union);
    Reduction { combine, places, time_left: Duration::from_millis(70) }
}

fn encoded(commands: Vec<Command>) -> Vec<u8> {
    let (picks, reduction) = ((0..commands.len() as u32).collect::<Vec<_>>(), reduction(commands.len()));
    let commands = CommandSet::Each(commands);
    let request = ReduceRequest::new(&commands, &picks, &reduction);
    Envelope::new(5, reduction.time_left, 1000, Protocol::Resp2, Kind::Reduce(request)).encode().unwrap()
}

/// Decodes a request from bytes that are well-formed.
fn request(bytes: &[u8]) -> ReduceRequest<'_> {
    match Envelope::decode(bytes).unwrap().kind {
        Kind::Reduce(request) => request,
        other => panic!("{other:?}"),
    }
}

fn answered() -> Vec<u8> {
    let mut reduced = (Arc::new(Builtin::Union) as Arc<dyn AnyCombine>).open();
    let elements = vec!["a".into(), 1.into(), Reply::Double(0.5), Reply::Array(vec![Reply::Null])];
    reduced.take(Origin::new(7, b""), Reply::Set(elements)).unwrap();
    let failed = vec![(0, Bytes::from_static(b"WRONGTYPE")), (2, Bytes::from_static(b"ERR"))];
    let share = ReducedShare { reduced, failed, mixed: Some((1, "a string".into())) };
    match Outcome::Done(share).into_share_reply() {
        Reply::Bulk(bytes) => bytes.into(),
        other => panic!("{other:?}"),
    }
}

fn any_command() -> impl Strategy<Value = Command> {
    let arg = || prop::collection::vec(any::<u8>(), 0..8);
    let args = (prop::collection::vec(arg(), 0..3), prop::option::of(arg()), prop::collection::vec(arg(), 0..3));
    (0..3_u8, args, any::<bool>()).prop_map(|(name, (before, key, after), read_only)| {
        let command = before.iter().fold(Command::new([b'A' + name]), Command::arg);
        let command = key.iter().fold(command, Command::key);
        after.iter().fold(command, Command::arg).read_only(read_only)
    })
}

#[test]
fn commands_of_a_map_travel_as_one() {
    let gets = |count: usize| (0..count).map(|index| Command::new("HGET").key(format!("k{index:03}")).arg("field"));
    let (one, hundred) = (encoded(gets(1).collect()).len(), encoded(gets(100).collect()).len());
    assert!(hundred <= one + 99 * 6 + 1, "{hundred} bytes, where one command takes {one}");
}

#[test]
fn the_wire_is_that_of_version_4() {
    let request = encoded(vec![Command::new("GET").key("k"), Command::new("TIME").read_only(true)]);
    let wire: [&[u8]; 4] = [
        b"\x04\x05\x46\xe8\x07\x00\x00\x05UNION\x00\x02",
        b"\x01\x03GET\x01\x00\x01k\x01\x01",
        b"\x01\x04TIME\x00\x01\x00\x00",
        b"\x02\x00\x03",
    ];
    assert_eq!(request, wire.concat());
}

#[test]
fn an_answer_reads_back() {
    let reduction = reduction(3);
    let reply = Reply::Bulk(answered().into());
    let Outcome::Done(partial) = Outcome::of_share(&reply, &reduction, 3) else { panic!("{reply:?}") };
    assert_eq!(partial.failed[1], (2, Bytes::from_static(b"ERR")));
    assert_eq!(partial.mixed, Some((1, "a string".into())));
    let union = crate::combine::finish(&Builtin::Union, partial.reduced).unwrap();
    assert_eq!(union.elements().map(<[Reply]>::len), Some(4));
    // Numbers of commands that were not sent.
    assert!(matches!(Outcome::of_share(&reply, &reduction, 1), Outcome::Failed(_)));
}

#[test]
fn another_version_is_declined() {
    let mut request = encoded(vec![Command::new("GET").key("k")]);
    request[0] = VERSION + 1;
    assert_eq!(Envelope::decode(&request), Err(Malformed::Version(VERSION + 1)));
    request[0] = VERSION;
    request.push(0);
    assert!(matches!(Envelope::decode(&request), Err(Malformed::Format(_))));
}

proptest! {
    #[test]
    fn a_request_reads_back(commands in prop::collection::vec(any_command(), 1..20)) {
        let bytes = encoded(commands.clone());
        let envelope = Envelope::decode(&bytes).unwrap();
        let asked = (envelope.id, envelope.time_left(), envelope.reply_bytes(), envelope.protocol());
        prop_assert_eq!(asked, (5, Duration::from_millis(70), 1000, Protocol::Resp2));
        let request = request(&bytes);
        prop_assert_eq!(request.places(), (0..commands.len() as u32).map(|at| at * 3).collect::<Vec<u32>>());
        prop_assert_eq!(request.reducer, "UNION");
        let wire = |command: CommandRef<'_>| command.words().map(<[u8]>::to_vec).collect::<Vec<_>>();
        let read: Vec<_> = request.commands().iter().map(|command| (wire(command), command.is_read_only())).collect();
        let sent: Vec<_> = commands.iter().map(|command| (wire(command.into()), command.is_read_only())).collect();
        prop_assert_eq!(read, sent);
    }

    #[test]
    fn bytes_of_whatever_kind_do_no_harm(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        fuzz_inner(&bytes);
        fuzz_inner(&[&[VERSION], &bytes[..]].concat());
    }

    #[test]
    fn every_kind_reads_back_and_no_other_bytes_do(
        kind in 1..7_u8,
        body in prop::collection::vec(any::<u8>(), 0..40),
        (id, time_left, reply_bytes) in (any::<u64>(), any::<u32>(), any::<u32>()),
        cut in any::<prop::sample::Index>(),
    ) {
        let bytes = serde_bytes::Bytes::new(&body);
        let kind = match kind {
            1 => Kind::RunFlow(bytes),
            2 => Kind::NextReport(bytes),
            3 => Kind::TakeRecords(bytes),
            4 => Kind::Jobs(bytes),
            5 => Kind::Events(bytes),
            _ => Kind::GiveUp,
        };
        let time_left = Duration::from_millis(time_left.into());
        let sent = Envelope::new(id, time_left, reply_bytes as usize, Protocol::Resp3, kind);
        let wire = sent.encode().unwrap();
        let read = Envelope::decode(&wire);
        prop_assert_eq!(read.as_ref(), Ok(&sent));
        prop_assert!(Envelope::decode(&wire[..cut.index(wire.len())]).is_err());
        prop_assert!(Envelope::decode(&[&wire[..], b"\0"].concat()).is_err());
    }

    #[test]
    fn damage_does_no_harm(
        commands in prop::collection::vec(any_command(), 1..5),
        at in any::<prop::sample::Index>(),
        byte in any::<u8>(),
        cut in any::<prop::sample::Index>(),
    ) {
        for mut bytes in [encoded(commands), answered()] {
            let at = at.index(bytes.len());
            bytes[at] = byte;
            fuzz_inner(&bytes);
            fuzz_inner(&bytes[..cut.index(bytes.len())]);
        }
    }
}
