//! [`WorkerCall`]: what a worker asks for over its call socket, read where it stands in the input.
//!
//! Nothing is copied and nothing allocated: the words of a command are slices of the frame. Nothing is believed either,
//! since code of users runs in the worker: a command is looked through to its end before any of it is used, one of many
//! when its turn has come.

use crate::python::frame::{FrameKind, HEADER_BYTES};

/// The length that no body of a call exceeds. The largest values that servers take by default have half of that.
const LARGEST_BODY: usize = 1 << 30;

/// A call of a worker.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct WorkerCall<'a> {
    /// The worker's number of it, which goes into the answer.
    pub(super) id: u64,
    /// The context of those on whose behalf the code runs that calls.
    pub(super) context: u64,
    pub(super) asked: CallWanted<'a>,
    /// The bytes that it takes of the input.
    pub(super) size: usize,
}

/// Says what is called for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum CallWanted<'a> {
    Execute(CallWords<'a>),
    ExecuteMany(Commands<'a>),
    EnterAtomic,
    LeaveAtomic,
    ConfigGet(&'a [u8]),
    Hashtag,
    AddTimer(TimerWanted<'a>),
    /// The id of a new registration, which comes after so many builders.
    PlanId(u64),
    GetCommand,
    /// A reply in RESP.
    OverrideReply(&'a [u8]),
    /// The arguments, without the name of the command.
    CallNext(CallWords<'a>),
    /// No call: the event of this number is done with.
    EventDone(EventDone<'a>),
}

/// The report of a worker about an event that it was waited for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct EventDone<'a> {
    /// A marshalled value: `(outcome, failure)`.
    pub(super) head: &'a [u8],
    pub(super) section: &'a [u8],
}

/// A function that is to be called again and again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct TimerWanted<'a> {
    pub(super) session: &'a [u8],
    /// The name that the worker has for it.
    pub(super) timer: &'a [u8],
    pub(super) seconds: i64,
    /// The key that it is to live in.
    pub(super) key: Option<&'a [u8]>,
    /// The function, as another worker could be given it; empty without a key.
    pub(super) blob: &'a [u8],
}

/// The words of one command.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct CallWords<'a> {
    count: usize,
    bytes: &'a [u8],
}

/// Several commands, which are not looked at yet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Commands<'a> {
    count: usize,
    bytes: &'a [u8],
}

/// Says why bytes are no call. Nobody knows where the next one begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(super) enum BadCall {
    #[error("it sent a call of {0} bytes, and no more than {LARGEST_BODY} are allowed")]
    TooBig(usize),
    #[error("it sent a call that is not in the form of the protocol: {0}")]
    Form(&'static str),
}

/// Tells whether what stands at the start of the input can be looked at: a whole call, or what cannot be one.
pub(super) fn is_there(input: &[u8]) -> bool {
    input.first_chunk().is_some_and(|body| is_too_big(*body)) || missing(input) == 0
}

fn is_too_big(body: [u8; 4]) -> bool {
    u32::from_le_bytes(body) as usize > LARGEST_BODY
}

/// Returns how many bytes the call has that stands at the start of the input, if its size is there and no more than allowed.
pub(super) fn size_of_first(input: &[u8]) -> Option<usize> {
    let body = input.first_chunk().filter(|body| !is_too_big(**body))?;
    Some(HEADER_BYTES + u32::from_le_bytes(*body) as usize)
}

/// Finds the call that stands at the start of the input. Returns `None` until all of it is there.
///
/// # Errors
/// If what stands there is no call.
pub(super) fn find(input: &[u8]) -> Result<Option<WorkerCall<'_>>, BadCall> {
    if let Some(body) = input.first_chunk().filter(|body| is_too_big(**body)) {
        return Err(BadCall::TooBig(u32::from_le_bytes(*body) as usize));
    }
    let Some((header, rest)) = input.split_first_chunk::<HEADER_BYTES>() else { return Ok(None) };
    let number = |at: usize| u32::from_le_bytes([header[at], header[at + 1], header[at + 2], header[at + 3]]);
    let (body, head) = (number(0) as usize, number(4) as usize);
    let is_done = header[16] == FrameKind::SyncDone as u8;
    if if is_done { head > body } else { head != body } {
        return Err(BadCall::Form("calls have no sections"));
    }
    let id = u64::from(number(8)) | u64::from(number(12)) << 32;
    let Some(body_read) = rest.get(..body) else { return Ok(None) };
    let (context, asked) = if is_done {
        let (head, section) = body_read.split_at(head);
        (0, CallWanted::EventDone(EventDone { head, section }))
    } else {
        read_head(header[16], &mut HeadCursor(body_read))?
    };
    Ok(Some(WorkerCall { id, context, asked, size: HEADER_BYTES + body }))
}

/// Returns how many bytes the input lacks of the call that it begins with, as far as that is known.
pub(super) fn missing(input: &[u8]) -> usize {
    match input.first_chunk::<4>() {
        Some(body) => {
            (HEADER_BYTES + (u32::from_le_bytes(*body) as usize).min(LARGEST_BODY)).saturating_sub(input.len())
        }
        None => HEADER_BYTES - input.len(),
    }
}

fn read_head<'a>(kind: u8, head: &mut HeadCursor<'a>) -> Result<(u64, CallWanted<'a>), BadCall> {
    let is = |known: FrameKind| kind == known as u8;
    let items = head.counted(b'(')?;
    let context = u64::try_from(head.integer()?).map_err(|_| BadCall::Form("the number of a context is negative"))?;
    let (expected, asked) = if is(FrameKind::Execute) {
        (2, CallWanted::Execute(head.words()?))
    } else if is(FrameKind::ExecuteMany) {
        let count = head.counted(b'[')?;
        let bytes = head.take(head.0.len())?;
        (2, CallWanted::ExecuteMany(Commands { count, bytes }))
    } else if is(FrameKind::EnterAtomic) {
        (1, CallWanted::EnterAtomic)
    } else if is(FrameKind::LeaveAtomic) {
        (1, CallWanted::LeaveAtomic)
    } else if is(FrameKind::ConfigGet) {
        (2, CallWanted::ConfigGet(head.string()?))
    } else if is(FrameKind::Hashtag) {
        (1, CallWanted::Hashtag)
    } else if is(FrameKind::AddTimer) {
        let (session, timer, seconds) = (head.string()?, head.string()?, head.integer()?);
        let asked = TimerWanted { session, timer, seconds, key: head.string_or_none()?, blob: head.string()? };
        (6, CallWanted::AddTimer(asked))
    } else if is(FrameKind::PlanId) {
        let builders = head.integer()?;
        (2, CallWanted::PlanId(builders.try_into().map_err(|_| BadCall::Form("a count is negative"))?))
    } else if is(FrameKind::GetCommand) {
        (1, CallWanted::GetCommand)
    } else if is(FrameKind::OverrideReply) {
        (2, CallWanted::OverrideReply(head.string()?))
    } else if is(FrameKind::CallNext) {
        (2, CallWanted::CallNext(head.words_or_none()?))
    } else {
        return Err(BadCall::Form("its kind is not one of calls"));
    };
    if items != expected || !head.0.is_empty() {
        return Err(BadCall::Form("its head has not as many values as it should"));
    }
    Ok((context, asked))
}

/// Reads marshalled values, of the few kinds that calls consist of.
struct HeadCursor<'a>(&'a [u8]);

impl<'a> HeadCursor<'a> {
    fn take(&mut self, count: usize) -> Result<&'a [u8], BadCall> {
        let (taken, rest) = self.0.split_at_checked(count).ok_or(BadCall::Form("its head ends too soon"))?;
        self.0 = rest;
        Ok(taken)
    }

    fn byte(&mut self) -> Result<u8, BadCall> {
        Ok(self.take(1)?[0])
    }

    fn count(&mut self) -> Result<usize, BadCall> {
        let (count, rest) = self.0.split_first_chunk().ok_or(BadCall::Form("its head ends too soon"))?;
        self.0 = rest;
        Ok(u32::from_le_bytes(*count) as usize)
    }

    /// Reads the letter of a tuple or list, and how many items follow. Each takes a byte at least.
    fn counted(&mut self, letter: u8) -> Result<usize, BadCall> {
        if self.byte()? != letter {
            return Err(BadCall::Form("it lacks a tuple or a list"));
        }
        let count = self.count()?;
        if count > self.0.len() {
            return Err(BadCall::Form("a count is larger than what is there"));
        }
        Ok(count)
    }

    fn integer(&mut self) -> Result<i64, BadCall> {
        match self.byte()? {
            b'i' => Ok(i64::from(self.count()? as u32 as i32)),
            b'l' => {
                let count = self.count()? as u32 as i32;
                let mut magnitude = 0_i128;
                for place in 0..count.unsigned_abs() {
                    let digit = self.take(2)?;
                    if place > 4 {
                        return Err(BadCall::Form("a number has more than 64 bits"));
                    }
                    magnitude |= i128::from(u16::from_le_bytes([digit[0], digit[1]]) & 0x7fff) << (15 * place);
                }
                let number = if count < 0 { -magnitude } else { magnitude };
                number.try_into().map_err(|_| BadCall::Form("a number has more than 64 bits"))
            }
            _ => Err(BadCall::Form("it lacks a number")),
        }
    }

    fn string(&mut self) -> Result<&'a [u8], BadCall> {
        self.string_or_none()?.ok_or(BadCall::Form("it lacks a string"))
    }

    fn string_or_none(&mut self) -> Result<Option<&'a [u8]>, BadCall> {
        let length = match self.byte()? {
            b's' | b'u' => self.count()?,
            b'z' => usize::from(self.byte()?),
            b'N' => return Ok(None),
            _ => return Err(BadCall::Form("it lacks a string")),
        };
        self.take(length).map(Some)
    }

    fn words(&mut self) -> Result<CallWords<'a>, BadCall> {
        let words = self.words_or_none()?;
        if words.count == 0 { Err(BadCall::Form("a command has no words")) } else { Ok(words) }
    }

    fn words_or_none(&mut self) -> Result<CallWords<'a>, BadCall> {
        let count = self.counted(b'[')?;
        let bytes = self.0;
        for _ in 0..count {
            self.string()?;
        }
        Ok(CallWords { count, bytes: self.read_since(bytes) })
    }

    /// Returns what was read since this was left to be read.
    fn read_since(&self, left: &'a [u8]) -> &'a [u8] {
        &left[..left.len() - self.0.len()]
    }
}

impl<'a> CallWords<'a> {
    /// Returns the name of the command.
    pub(super) fn name(self) -> &'a [u8] {
        self.iter().next().unwrap_or_default()
    }

    /// Returns the name and the arguments, in order. All of them have been looked at.
    pub(super) fn iter(self) -> impl Iterator<Item = &'a [u8]> + Clone {
        WordsIter { left: self.count, cursor: self.bytes }
    }
}

/// Words that the server itself has written, as a worker would.
pub(super) struct WrittenWords {
    count: usize,
    bytes: Vec<u8>,
}

impl WrittenWords {
    pub(super) fn of<'w>(words: impl Iterator<Item = &'w [u8]>) -> Self {
        let mut written = Self { count: 0, bytes: Vec::new() };
        for word in words {
            written.count += 1;
            written.bytes.push(b's');
            written.bytes.extend_from_slice(&(word.len() as u32).to_le_bytes());
            written.bytes.extend_from_slice(word);
        }
        written
    }

    pub(super) fn words(&self) -> CallWords<'_> {
        CallWords { count: self.count, bytes: &self.bytes }
    }
}

/// Goes through words.
#[derive(Clone)]
struct WordsIter<'a> {
    left: usize,
    cursor: &'a [u8],
}

impl<'a> Iterator for WordsIter<'a> {
    type Item = &'a [u8];

    fn next(&mut self) -> Option<&'a [u8]> {
        self.left = self.left.checked_sub(1)?;
        let mut cursor = HeadCursor(self.cursor);
        let word = cursor.string().ok();
        self.cursor = cursor.0;
        word
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        (self.left, Some(self.left))
    }
}

impl<'a> Commands<'a> {
    /// Returns how many there are.
    pub(super) fn count(self) -> usize {
        self.count
    }

    /// Returns how far into the commands the next one begins.
    pub(super) fn behind(self, whole: Self) -> usize {
        whole.bytes.len() - self.bytes.len()
    }

    /// Returns the commands from that far on, of which there are so many.
    pub(super) fn from(self, behind: usize, count: usize) -> Self {
        Self { count, bytes: self.bytes.get(behind..).unwrap_or_default() }
    }
}

impl<'a> Iterator for Commands<'a> {
    type Item = Result<CallWords<'a>, BadCall>;

    fn next(&mut self) -> Option<Result<CallWords<'a>, BadCall>> {
        let Some(left) = self.count.checked_sub(1) else {
            let is_all = std::mem::take(&mut self.bytes).is_empty();
            return (!is_all).then_some(Err(BadCall::Form("there is more than its commands")));
        };
        self.count = left;
        let mut cursor = HeadCursor(self.bytes);
        let words = cursor.words();
        self.bytes = cursor.0;
        Some(words)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Returns the frame of this name in the vectors that the worker's program is tested with.
    fn vector(name: &str) -> Vec<u8> {
        let lines = include_str!("../../python/worker/vectors.txt").lines();
        let mut lines = lines.map(|line| line.split('\t').collect::<Vec<_>>());
        let line = lines.find(|line| line[0] == name).unwrap_or_else(|| panic!("no vector {name}"));
        let digits = line[2].as_bytes().chunks(2).map(|pair| std::str::from_utf8(pair).unwrap());
        digits.map(|pair| u8::from_str_radix(pair, 16).unwrap()).collect()
    }

    fn words(words: CallWords<'_>) -> Vec<&[u8]> {
        words.iter().collect()
    }

    fn call(frame: &[u8]) -> WorkerCall<'_> {
        let call = find(frame).unwrap().expect("a whole call");
        assert_eq!(call.size, frame.len());
        call
    }

    #[test]
    fn calls_are_read_as_the_worker_writes_them() {
        let frame = vector("execute");
        let WorkerCall { id: 1, context: 9, asked: CallWanted::Execute(command), .. } = call(&frame) else { panic!() };
        assert_eq!((command.name(), words(command)), (&b"GET"[..], vec![&b"GET"[..], b"k"]));

        let frame = vector("execute many");
        let WorkerCall { id: 3, context: 9, asked: CallWanted::ExecuteMany(commands), .. } = call(&frame) else {
            panic!()
        };
        assert_eq!(commands.count(), 2);
        let commands: Vec<_> = commands.map(|command| words(command.unwrap())).collect();
        assert_eq!(commands, [vec![&b"GET"[..], b"k"], vec![&b"NOSUCH"[..]]]);

        assert_eq!(call(&vector("enter atomic")).asked, CallWanted::EnterAtomic);
        assert_eq!(call(&vector("leave atomic")).asked, CallWanted::LeaveAtomic);
        assert_eq!(call(&vector("hashtag")).asked, CallWanted::Hashtag);
        let frame = vector("config get");
        assert!(matches!(call(&frame).asked, CallWanted::ConfigGet(name) if !name.is_empty()));
        let frame = vector("add timer");
        let CallWanted::AddTimer(timer) = call(&frame).asked else { panic!() };
        assert!(timer.seconds > 0 && !timer.session.is_empty() && !timer.timer.is_empty(), "{timer:?}");
    }

    #[test]
    fn many_commands_can_be_gone_on_with_where_they_were_left() {
        let frame = vector("execute many");
        let CallWanted::ExecuteMany(whole) = call(&frame).asked else { panic!() };
        let mut rest = whole;
        rest.next();
        let again = whole.from(rest.behind(whole), rest.count());
        assert_eq!(again.map(|command| words(command.unwrap())).collect::<Vec<_>>(), [vec![&b"NOSUCH"[..]]]);
        assert!(matches!(whole.from(1 << 20, 3).next(), Some(Err(BadCall::Form(_)))));
        assert!(matches!(whole.from(0, 1).nth(1), Some(Err(BadCall::Form(_)))), "more than were announced");
    }

    #[test]
    fn a_call_is_found_once_all_of_it_is_there() {
        let frame = vector("execute many");
        for length in 0..frame.len() {
            assert_eq!((find(&frame[..length]), is_there(&frame[..length])), (Ok(None), false), "{length} bytes");
            assert!(missing(&frame[..length]) > 0 && missing(&frame[..length]) <= frame.len() - length);
        }
        assert_eq!((missing(&frame), is_there(&frame)), (0, true));
        let two = [&frame[..], &frame[..5]].concat();
        assert_eq!(find(&two).unwrap().map(|call| call.size), Some(frame.len()));
    }

    #[test]
    fn what_is_no_call_is_refused() {
        let frame = vector("execute");
        let with = |at: usize, byte: u8| {
            let mut frame = frame.clone();
            frame[at] = byte;
            frame
        };
        // sizes, kind, letters, counts, lengths
        assert_eq!(find(&with(3, 0xff)), Err(BadCall::TooBig(0xff00_001d)));
        assert!(is_there(&with(3, 0xff)));
        for (at, byte) in [(4, 1), (16, 1), (16, 99), (17, b'['), (18, 3), (22, b'N'), (26, 0xff), (27, b'('), (28, 9)]
        {
            assert!(matches!(find(&with(at, byte)), Err(BadCall::Form(_))), "byte {at}");
        }
        assert!(matches!(find(&with(28, 0)), Err(BadCall::Form(_))), "no words");
        assert!(matches!(find(&with(33, 200)), Err(BadCall::Form(_))), "a word that ends behind the frame");
    }

    proptest! {
        #[test]
        fn bytes_by_chance_are_refused_or_wait_for_more(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let _ = find(&bytes);
            let _ = missing(&bytes);
        }

        #[test]
        fn a_frame_with_bytes_changed_never_panics(
            at in 0_usize..60, byte in any::<u8>(), name in prop::sample::select(vec!["execute", "execute many", "add timer"]),
        ) {
            let mut frame = vector(name);
            let at = at.min(frame.len() - 1);
            frame[at] = byte;
            if let Ok(Some(WorkerCall { asked: CallWanted::ExecuteMany(commands), .. })) = find(&frame) {
                let read = commands.map_while(Result::ok).map(|words| words.iter().count());
                prop_assert!(read.filter(|&count| count > 0).count() <= commands.count());
            }
        }
    }
}
