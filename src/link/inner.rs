//! Inner commands: what one node asks of another that runs the same module, and what that answers.
//!
//! `RMR.INNER request` carries the commands of one node's share and the name of a reducer; the answer is what the share
//! comes to. Request and answer are a byte for the version, and a struct in the [postcard] format. All of it is read from
//! somebody else, so that nothing is taken for granted: what is not well-formed is an error.
//!
//! A refusal before anything has run begins with `RMRDECLINED`: the share is then sent as plain commands.
//!
//! [postcard]: https://postcard.jamesmunns.com/

use std::borrow::Cow;

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use super::{Batch, Partial, Protocol, Reduction};
use crate::command::{AroundKey, Command};
use crate::command::{CommandSet, PerKey};

/// The version of requests and answers. A node that has another declines.
pub(crate) const VERSION: u8 = 2;

/// The prefix with which an inner command is refused before anything of it has run.
pub(crate) const DECLINED: &str = "RMRDECLINED";

/// One node's share of a request.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Request<'a> {
    /// By which it can be given up, from another connection.
    pub(crate) id: u64,
    /// The reducer.
    pub(crate) reducer: &'a str,
    /// Whose types the replies have that the reducer sees.
    is_resp3: bool,
    /// Milliseconds after which nobody waits for the answer any more.
    pub(crate) time_left: u64,
    /// The most memory that replies may take on the way, in bytes.
    pub(crate) reply_bytes: u64,
    #[serde(borrow)]
    runs: Vec<Run<'a>>,
    /// The places of the commands in the whole request: each as its distance from the one before, which begins at 0. None
    /// if the reducer needs no places.
    places: Vec<u32>,
}

/// Commands that differ in their keys only, as those of a map do.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Run<'a> {
    /// Name and arguments, without the key.
    #[serde(borrow)]
    args: Vec<&'a serde_bytes::Bytes>,
    /// Where the key stands; 0 for one command without.
    key_at: u32,
    read_only: bool,
    /// The keys, one behind the other, and the length of each.
    #[serde(borrow, with = "serde_bytes")]
    keys: Cow<'a, [u8]>,
    lengths: Vec<u32>,
}

/// A request that is not one.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Malformed {
    #[error("{DECLINED} the request has version {0}, this node has {VERSION}")]
    Version(u8),
    #[error("{DECLINED} the request is malformed: {0}")]
    Format(&'static str),
}

impl<'a> Request<'a> {
    /// The share of a batch that is to be reduced.
    pub(crate) fn of(batch: &'a Batch, reduction: &'a Reduction, id: u64) -> Self {
        let mut before = 0;
        let distance = |place: &u32| place.wrapping_sub(std::mem::replace(&mut before, *place));
        Self {
            id,
            reducer: reduction.name(),
            is_resp3: batch.protocol == Protocol::Resp3,
            time_left: reduction.time_left.as_millis().try_into().unwrap_or(u64::MAX),
            reply_bytes: batch.budget.left() as u64,
            places: reduction.places.iter().map(distance).collect(),
            runs: runs(batch),
        }
    }

    /// As it travels.
    pub(crate) fn encode(&self) -> Result<Vec<u8>, postcard::Error> {
        postcard::to_extend(self, vec![VERSION])
    }

    /// Reads what another node has sent.
    pub(crate) fn decode(bytes: &'a [u8]) -> Result<Self, Malformed> {
        let Some((&version, rest)) = bytes.split_first() else { return Err(Malformed::Format("it is empty")) };
        if version != VERSION {
            return Err(Malformed::Version(version));
        }
        let (request, rest): (Self, _) =
            postcard::take_from_bytes(rest).map_err(|_| Malformed::Format("it is damaged"))?;
        if !rest.is_empty() {
            return Err(Malformed::Format("there is more than the request"));
        }
        if !request.places.is_empty() && request.commands_len() != request.places.len() {
            return Err(Malformed::Format("it has not one place a command"));
        }
        let is_named = |run: &Run<'_>| !run.args.is_empty() && run.key_at as usize <= run.args.len();
        if !request.runs.iter().all(is_named) {
            return Err(Malformed::Format("a command has no name, or its key no place"));
        }
        if !request.runs.iter().all(Run::has_its_keys) {
            return Err(Malformed::Format("the keys have other lengths"));
        }
        Ok(request)
    }

    pub(crate) fn protocol(&self) -> Protocol {
        if self.is_resp3 { Protocol::Resp3 } else { Protocol::Resp2 }
    }

    /// The commands.
    pub(crate) fn commands(&self) -> CommandSet {
        match &self.runs[..] {
            [run] if run.key_at > 0 => run.per_key().into(),
            runs => {
                let mut commands = Vec::with_capacity(self.places.len());
                for run in runs {
                    match run.key_at {
                        0 => commands.push(command(&run.args, run.read_only)),
                        _ => {
                            let per_key = run.per_key();
                            commands.extend((0..per_key.len()).map(|place| per_key.command(place)));
                        }
                    }
                }
                commands.into()
            }
        }
    }

    /// The place of each command in the whole request.
    pub(crate) fn places(&self) -> Vec<u32> {
        let mut place = 0_u32;
        let next = |distance: &u32| {
            place = place.wrapping_add(*distance);
            place
        };
        self.places.iter().map(next).collect()
    }

    fn commands_len(&self) -> usize {
        self.runs.iter().map(|run| if run.key_at == 0 { 1 } else { run.lengths.len() }).sum()
    }
}

impl<'a> Run<'a> {
    /// The command for as yet no key, with room for so many.
    fn of(keyed: &AroundKey<'a>, read_only: bool, room: usize) -> Self {
        let before: Vec<_> = keyed.args_before().map(serde_bytes::Bytes::new).collect();
        let key_at = before.len() as u32;
        let args = before.into_iter().chain(keyed.args_after().map(serde_bytes::Bytes::new)).collect();
        let keys = Cow::Owned(Vec::with_capacity(room * (keyed.key.len() + 1)));
        Self { args, key_at, read_only, keys, lengths: Vec::with_capacity(room) }
    }

    fn push(&mut self, key: &[u8]) {
        self.keys.to_mut().extend_from_slice(key);
        self.lengths.push(key.len() as u32);
    }

    /// Whether the lengths are those of the keys, of which there are some, or none.
    fn has_its_keys(&self) -> bool {
        let total: u64 = self.lengths.iter().map(|&length| u64::from(length)).sum();
        (self.key_at == 0) == self.lengths.is_empty() && total == self.keys.len() as u64
    }

    /// The command for each of its keys, of which there are some.
    fn per_key(&self) -> PerKey {
        let (before, after) = self.args.split_at(self.key_at as usize);
        let per_key = PerKey::joined(command(before, self.read_only), &self.keys, &self.lengths);
        after.iter().fold(per_key, |per_key, arg| per_key.arg(&arg[..]))
    }
}

/// A command of these arguments, its name first.
fn command(args: &[&serde_bytes::Bytes], read_only: bool) -> Command {
    let (name, args) = args.split_first().map_or((&[][..], args), |(name, args)| (&name[..], args));
    args.iter().fold(Command::new(name), |command, arg| command.arg(&arg[..])).read_only(read_only)
}

/// The commands of a batch, those that differ in their keys only together.
fn runs(batch: &Batch) -> Vec<Run<'_>> {
    if let CommandSet::PerKey(per_key) = &*batch.commands
        && let Some(first) = batch.picked().next()
        && let Some(keyed) = first.around_key()
    {
        let mut run = Run::of(&keyed, first.is_read_only(), batch.picks.len());
        batch.picks.iter().for_each(|&pick| run.push(per_key.key(pick as usize)));
        return vec![run];
    }
    let mut runs: Vec<Run<'_>> = Vec::new();
    let mut shape = None;
    for command in batch.picked() {
        let Some(keyed) = command.around_key() else {
            let args = command.args().map(serde_bytes::Bytes::new).collect();
            let (keys, lengths) = (Cow::Borrowed(&[][..]), Vec::new());
            runs.push(Run { args, key_at: 0, read_only: command.is_read_only(), keys, lengths });
            shape = None;
            continue;
        };
        let own = (keyed.before, keyed.after, command.is_read_only());
        if shape != Some(own) {
            runs.push(Run::of(&keyed, command.is_read_only(), 1));
            shape = Some(own);
        }
        if let Some(run) = runs.last_mut() {
            run.push(keyed.key);
        }
    }
    runs
}

/// What a share comes to.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Answer<'a> {
    /// What the replies were reduced to, as its reducer encodes it.
    #[serde(borrow)]
    reduced: &'a serde_bytes::Bytes,
    /// Errors, each with the number of its command in the request, in ascending order.
    #[serde(borrow)]
    refused: Vec<(u32, &'a serde_bytes::Bytes)>,
    /// The number of the first command whose reply the reducer cannot take, and what that was.
    untaken: Option<(u32, &'a str)>,
}

impl<'a> Answer<'a> {
    /// As it travels.
    pub(crate) fn encode(partial: &Partial) -> Result<Vec<u8>, postcard::Error> {
        let reduced = partial.reduced.encode()?;
        let answer = Answer {
            reduced: serde_bytes::Bytes::new(&reduced),
            refused: partial.refused.iter().map(|(at, error)| (*at, serde_bytes::Bytes::new(error))).collect(),
            untaken: partial.untaken.as_ref().map(|(at, found)| (*at, found.as_str())),
        };
        postcard::to_extend(&answer, vec![VERSION])
    }

    /// Reads what another node has sent about so many commands.
    ///
    /// # Errors
    /// What is wrong with it.
    pub(crate) fn decode(bytes: &'a Bytes, reduction: &Reduction, commands: usize) -> Result<Partial, &'static str> {
        let rest = bytes.strip_prefix(&[VERSION]).ok_or("the answer to an inner command has another version")?;
        let damaged = |_| "the answer to an inner command is damaged";
        let (answer, rest): (Answer<'_>, _) = postcard::take_from_bytes(rest).map_err(damaged)?;
        let is_ascending = answer.refused.windows(2).all(|pair| pair[0].0 < pair[1].0);
        let ats = answer.refused.iter().map(|(at, _)| at).chain(answer.untaken.iter().map(|(at, _)| at));
        if !rest.is_empty() || !is_ascending || !ats.into_iter().all(|&at| (at as usize) < commands) {
            return Err("the answer to an inner command is damaged");
        }
        let mut reduced = reduction.combine.clone().open();
        reduced.combine_encoded(answer.reduced).map_err(damaged)?;
        Ok(Partial {
            reduced,
            refused: answer.refused.iter().map(|(at, error)| (*at, bytes.slice_ref(error))).collect(),
            untaken: answer.untaken.map(|(at, found)| (at, found.to_owned())),
        })
    }
}

/// Reads bytes as a request and as an answer: whatever they are, they do no harm.
#[cfg(any(test, fuzzing))]
pub fn fuzz_inner(bytes: &[u8]) {
    use std::sync::Arc;
    use std::time::Duration;

    use crate::reduce::Builtin;

    if let Ok(request) = Request::decode(bytes) {
        let (commands, places) = (request.commands().len(), request.places().len());
        assert!(places == 0 || places == commands);
    }
    for reducer in Builtin::ALL {
        let (places, time_left) = (vec![0, 7, 3], Duration::ZERO);
        let reduction = Reduction { combine: Arc::new(reducer), places, time_left };
        if let Ok(partial) = Answer::decode(&Bytes::copy_from_slice(bytes), &reduction, 3) {
            // The result may be an error, as of a sum that is too large.
            let _ = crate::combine::finish(&reducer, partial.reduced);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::time::Duration;

    use proptest::prelude::*;

    use super::*;
    use crate::combine::AnyCombine;
    use crate::command::CommandRef;
    use crate::link::{Budget, Mode};
    use crate::reduce::Builtin;
    use crate::reply::Reply;

    fn batch(commands: Vec<Command>) -> (Batch, Reduction) {
        let places = (0..commands.len() as u32).map(|at| at * 3).collect();
        let combine: Arc<dyn AnyCombine> = Arc::new(Builtin::Union);
        let batch = Batch {
            picks: (0..commands.len() as u32).collect(),
            commands: Arc::new(CommandSet::Each(commands)),
            mode: Mode::Plain,
            protocol: Protocol::Resp2,
            database: 0,
            budget: Arc::new(Budget::new(1000)),
            reduction: None,
        };
        (batch, Reduction { combine, places, time_left: Duration::from_millis(70) })
    }

    fn encoded(commands: Vec<Command>) -> Vec<u8> {
        let (batch, reduction) = batch(commands);
        Request::of(&batch, &reduction, 5).encode().unwrap()
    }

    fn answered() -> Vec<u8> {
        let mut reduced = (Arc::new(Builtin::Union) as Arc<dyn AnyCombine>).open();
        let elements = vec!["a".into(), 1.into(), Reply::Double(0.5), Reply::Array(vec![Reply::Null])];
        reduced.take(7, Reply::Set(elements)).unwrap();
        let refused = vec![(0, Bytes::from_static(b"WRONGTYPE")), (2, Bytes::from_static(b"ERR"))];
        Answer::encode(&Partial { reduced, refused, untaken: Some((1, "a string".into())) }).unwrap()
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
    fn an_answer_reads_back() {
        let (_, reduction) = batch(vec![Command::new("A"), Command::new("B"), Command::new("C")]);
        let partial = Answer::decode(&answered().into(), &reduction, 3).unwrap();
        assert_eq!(partial.refused[1], (2, Bytes::from_static(b"ERR")));
        assert_eq!(partial.untaken, Some((1, "a string".into())));
        let union = crate::combine::finish(&Builtin::Union, partial.reduced).unwrap();
        assert_eq!(union.elements().map(<[Reply]>::len), Some(4));
        // Numbers of commands that were not sent.
        assert!(Answer::decode(&answered().into(), &reduction, 1).is_err());
    }

    #[test]
    fn another_version_is_declined() {
        let mut request = encoded(vec![Command::new("GET").key("k")]);
        request[0] = VERSION + 1;
        assert_eq!(Request::decode(&request), Err(Malformed::Version(VERSION + 1)));
        request[0] = VERSION;
        request.push(0);
        assert!(matches!(Request::decode(&request), Err(Malformed::Format(_))));
    }

    proptest! {
        #[test]
        fn a_request_reads_back(commands in prop::collection::vec(any_command(), 1..20)) {
            let bytes = encoded(commands.clone());
            let request = Request::decode(&bytes).unwrap();
            prop_assert_eq!(request.places(), (0..commands.len() as u32).map(|at| at * 3).collect::<Vec<u32>>());
            prop_assert_eq!((request.id, request.reducer, request.time_left), (5, "UNION", 70));
            let wire = |command: CommandRef<'_>| command.args().map(<[u8]>::to_vec).collect::<Vec<_>>();
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
}
