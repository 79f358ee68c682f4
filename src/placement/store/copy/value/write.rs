//! Putting a value together at a node, of pieces that come from another one.
//!
//! It grows under another name and takes the place of the key in one step: nobody sees half of it, and what is cut off leaves
//! the key as it was.

use std::collections::BTreeSet;

use super::read::PieceReader;
use super::stream::{Group, StreamHead};
use super::{CarriedEntry, Id, Piece, ValueKind};
use crate::command::{Command, printable};
use crate::error::Error;
use crate::placement::store::copy::node::DataNode;
use crate::placement::store::copy::unfinished;
use crate::reply::Reply;

/// The number of commands that are sent at once for elements that need a command each.
const COMMANDS_AT_ONCE: usize = 500;

/// Carries one value from a source to targets in pieces. Returns how many elements it had, or bytes of a string; `None` if the
/// source has no such key.
///
/// # Errors
/// Those of the nodes, and [`Error::BadReply`] for a value that a target cannot hold.
pub(in super::super) async fn put_together(
    source: &mut DataNode,
    targets: &mut [DataNode],
    key: &[u8],
) -> Result<Option<()>, Error> {
    let Some(mut reader) = PieceReader::open(source, key).await? else { return Ok(None) };
    let name = unfinished(key);
    on_all(targets, &[Command::new("UNLINK").key(&name)]).await?;
    let mut filler = Filler::of(reader.head.as_ref());
    if reader.kind == ValueKind::Text {
        on_all(targets, &[Command::new("SET").key(&name).arg("")]).await?;
    }
    while let Some(piece) = reader.next(source).await? {
        if let Piece::Fields(fields) = &piece
            && fields.iter().any(|field| field.expires.is_some())
            && let Some(target) = targets.iter().find(|target| !target.has_field_ttls)
        {
            let key = printable(key);
            return Err(target.odd(&format!("knows no TTLs of fields, and the hash {key} has some")));
        }
        let commands = match piece {
            Piece::Entries(entries) => filler.commands(&name, entries),
            piece => commands(&name, reader.kind, piece),
        };
        on_all(targets, &commands).await?;
    }
    if let Some(head) = &reader.head {
        on_all(targets, &filler.rest(&name)).await?;
        for commands in end_of_stream(&name, head, &filler).chunks(COMMANDS_AT_ONCE) {
            on_all(targets, commands).await?;
        }
    }
    let expires = source.call(Command::new("PEXPIRETIME").key(key)).await?.integer().unwrap_or(-2);
    for target in targets {
        take_the_place(source, target, key, &name, expires).await?;
    }
    Ok(Some(()))
}

async fn on_all(targets: &mut [DataNode], commands: &[Command]) -> Result<(), Error> {
    for target in targets {
        target.call_all(commands).await?;
    }
    Ok(())
}

/// Lets what has been put together be the value of the key.
async fn take_the_place(
    source: &mut DataNode,
    target: &mut DataNode,
    key: &[u8],
    name: &[u8],
    expires: i64,
) -> Result<(), Error> {
    let expire = (expires >= 0).then(|| Command::new("PEXPIREAT").key(name).arg(expires));
    // A rename frees what was there before at once, however large it is.
    let unlink = Command::new("UNLINK").key(key);
    let rename = Command::new("RENAME").key(name).key(key);
    let replies = target.transaction(expire.into_iter().chain([unlink, rename]).collect()).await?;
    let Some(refused) = replies.iter().find_map(|reply| target.refusal(reply)) else { return Ok(()) };
    // It has expired, or all of its fields have.
    let is_gone = target.call(Command::new("EXISTS").key(name)).await? == Reply::Integer(0);
    if is_gone && source.call(Command::new("EXISTS").key(key)).await? == Reply::Integer(0) {
        return Ok(());
    }
    Err(refused)
}

/// Returns what adds a piece of a value that is no stream.
fn commands(name: &[u8], kind: ValueKind, piece: Piece) -> Vec<Command> {
    match piece {
        Piece::Text(text) if text.is_empty() => Vec::new(),
        Piece::Text(text) => vec![Command::new("APPEND").key(name).arg(text)],
        Piece::Elements(elements) if elements.is_empty() => Vec::new(),
        Piece::Elements(elements) => {
            let add = Command::new(if kind == ValueKind::List { "RPUSH" } else { "SADD" }).key(name);
            vec![elements.into_iter().fold(add, Command::arg)]
        }
        Piece::Scores(scores) if scores.is_empty() => Vec::new(),
        Piece::Scores(scores) => {
            let add = Command::new("ZADD").key(name);
            vec![scores.into_iter().fold(add, |add, (member, score)| add.arg(score).arg(member))]
        }
        Piece::Fields(fields) if fields.is_empty() => Vec::new(),
        Piece::Fields(fields) => {
            let expiring = fields.iter().filter_map(|field| Some((field.expires?, field.name.clone())));
            let expire = |(at, field)| Command::new("HPEXPIREAT").key(name).arg(at).arg("FIELDS").arg(1).arg(field);
            let expire: Vec<Command> = expiring.map(expire).collect();
            let set = Command::new("HSET").key(name);
            let set = fields.into_iter().fold(set, |set, field| set.arg(field.name).arg(field.value));
            std::iter::once(set).chain(expire).collect()
        }
        Piece::Entries(_) => Vec::new(),
    }
}

/// Puts entries into a stream that are pending and were deleted: a group can only be given what is there. They are taken out again
/// at the end.
#[derive(Default)]
struct Filler {
    /// Those that are still to be put in, in order.
    missing: BTreeSet<Id>,
    first: Option<Id>,
    put_in: Vec<Id>,
}

impl Filler {
    fn of(head: Option<&StreamHead>) -> Self {
        let pending = head.into_iter().flat_map(|head| &head.groups).flat_map(|group| &group.pending);
        Self { missing: pending.map(|pending| pending.id).collect(), ..Self::default() }
    }

    /// Returns what adds these entries, and those in between that are missing.
    fn commands(&mut self, name: &[u8], entries: Vec<CarriedEntry>) -> Vec<Command> {
        let mut commands = Vec::new();
        for entry in entries {
            self.first.get_or_insert(entry.id);
            while let Some(id) = self.missing.first().copied().filter(|id| *id < entry.id) {
                commands.push(self.fill(name, id));
            }
            self.missing.remove(&entry.id);
            let add = Command::new("XADD").key(name).arg(entry.id.to_string());
            commands.push(entry.words.into_iter().fold(add, Command::arg));
        }
        commands
    }

    /// Returns what adds those that are missing behind the last entry.
    fn rest(&mut self, name: &[u8]) -> Vec<Command> {
        let left: Vec<Id> = self.missing.iter().copied().collect();
        left.into_iter().map(|id| self.fill(name, id)).collect()
    }

    fn fill(&mut self, name: &[u8], id: Id) -> Command {
        self.missing.remove(&id);
        self.put_in.push(id);
        Command::new("XADD").key(name).arg(id.to_string()).arg("").arg("")
    }
}

/// Returns what a stream needs once its entries are there.
fn end_of_stream(name: &[u8], head: &StreamHead, filler: &Filler) -> Vec<Command> {
    let group = |word: &str| Command::new("XGROUP").arg(word).key(name);
    let mut commands = Vec::new();
    if filler.first.is_none() && filler.put_in.is_empty() {
        // This makes a stream without an entry.
        commands.extend([group("CREATE").arg(name).arg("0").arg("MKSTREAM"), group("DESTROY").arg(name)]);
    }
    for of_head in &head.groups {
        let Group { name: group_name, last, read, consumers, pending } = of_head;
        let create = group("CREATE").arg(group_name).arg(last.to_string());
        commands.push(match read {
            Some(read) => create.arg("ENTRIESREAD").arg(*read),
            None => create,
        });
        let create = |consumer| group("CREATECONSUMER").arg(group_name).arg(consumer);
        commands.extend(consumers.iter().map(create));
        commands.extend(pending.iter().map(|pending| {
            let claim = Command::new("XCLAIM").key(name).arg(group_name).arg(&pending.consumer).arg(0);
            let claim = claim.arg(pending.id.to_string()).arg("TIME").arg(pending.given);
            claim.arg("RETRYCOUNT").arg(pending.times).arg("FORCE").arg("JUSTID")
        }));
    }
    // Entries that are trimmed do not count as deleted, and the other way round.
    match filler.first {
        None if !filler.put_in.is_empty() => commands.push(Command::new("XTRIM").key(name).arg("MAXLEN").arg(0)),
        Some(first) if filler.put_in.first().is_some_and(|id| *id < first) => {
            commands.push(Command::new("XTRIM").key(name).arg("MINID").arg(first.to_string()));
        }
        _ => {}
    }
    let between = filler.put_in.iter().filter(|id| filler.first.is_some_and(|first| **id > first));
    commands.extend(between.map(|id| Command::new("XDEL").key(name).arg(id.to_string())));
    let set = Command::new("XSETID").key(name).arg(head.last.to_string());
    commands.push(set.arg("ENTRIESADDED").arg(head.added).arg("MAXDELETEDID").arg(head.deleted.to_string()));
    commands
}
