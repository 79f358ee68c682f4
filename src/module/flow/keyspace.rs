//! [`ServerKeyspace`]: the keys of the server that this module runs in, for flows.
//!
//! All of it is done on the main thread, in [paced] turns, and without leaving a trace: no key counts as used, none
//! that has expired is shown, and no value is unpacked.

use std::sync::Arc;

use super::key_commands::{AfterTurn, KeyCommands};
use super::name_reader::NameReader;
use super::rights::ShareRights;
use super::sieve::Sieve;
use super::slot_reader::{MOST_LISTED, SlotReader, has_expiring};
use super::table_reader::TableReader;
use super::values;
use crate::command::PerKey;
use crate::error::Error;
use crate::flow::Records;
use crate::flow::keyspace::{CommandsDone, KeySlice, KeySource, KeysWanted, Keyspace, Reducing};
use crate::flow::plan::ValuesRead;
use crate::flow::slots::each;
use crate::flow::values::WantedValues;
use crate::link::Protocol;
use crate::module::server::context::{Ctx, server_version};
use crate::module::server::main_thread::Turn;
use crate::module::server::paced;
use crate::module::server::scan::database_size;
use crate::topology::{BoxFuture, SlotRange};

/// The keys of this server, for one share of a flow.
pub(crate) struct ServerKeyspace {
    database: i32,
    rights: Arc<ShareRights>,
    /// The protocol whose types the replies to commands have.
    protocol: Protocol,
}

impl ServerKeyspace {
    /// Makes the keyspace of a database, with these rights.
    pub(crate) fn new(database: i32, rights: Arc<ShareRights>, protocol: Protocol) -> Self {
        Self { database, rights, protocol }
    }
}

impl Keyspace for ServerKeyspace {
    fn read(&self, wanted: KeysWanted) -> Box<dyn KeySource> {
        let with_missing = wanted.names.as_ref().is_some_and(|names| names.with_missing);
        Box::new(ServerKeys {
            reader: Some(Box::new(KeyReader {
                database: self.database,
                rights: self.rights.clone(),
                sieve: Sieve::new(&wanted.filter),
                values: WantedValues { values: wanted.filter.values, with_missing },
                are_slots: wanted.slots.is_some(),
                place: match wanted.names {
                    None => Place::Start(wanted.slots),
                    Some(named) => Place::Names(NameReader::new(named, wanted.slots.as_deref())),
                },
                waiting: Records::new(),
            })),
        })
    }

    fn run(&self, commands: PerKey, reducing: Option<Reducing>) -> BoxFuture<'_, Result<CommandsDone, Error>> {
        let mut work = KeyCommands::new(commands, reducing, self.database, self.protocol, self.rights.clone());
        Box::pin(async move {
            loop {
                let turn = paced::in_turn(move |turn| {
                    let progress = work.go_on(turn);
                    (work, progress)
                });
                let progress;
                (work, progress) = turn.await?;
                match progress? {
                    AfterTurn::GoesOn => {}
                    AfterTurn::IsDone => return work.deliver().await,
                }
            }
        })
    }
}

/// Reads the keys of this server.
struct ServerKeys {
    /// The reader; it is on the main thread while it reads.
    reader: Option<Box<KeyReader>>,
}

impl KeySource for ServerKeys {
    fn next(&mut self, most: usize) -> BoxFuture<'_, Result<KeySlice, Error>> {
        Box::pin(async move {
            let lost = || Error::Internal("the keys of this node are not read any more".into());
            let mut reader = self.reader.take().ok_or_else(lost)?;
            let mut slice = KeySlice::default();
            if reader.waiting.len() < most && !reader.is_done() {
                let turn = paced::in_turn(move |turn| {
                    let read = reader.read(turn, most);
                    (reader, read)
                });
                let read;
                (reader, read) = turn.await?;
                slice = read?;
            }
            reader.take_slice(most, &mut slice);
            if reader.values.values != ValuesRead::No && !slice.records.is_empty() {
                let read = values::read(slice.records, reader.database, reader.values, reader.are_slots).await?;
                slice.records = read.records;
                slice.elsewhere = read.elsewhere;
                reader.put_back(&read.rest, &mut slice);
            }
            self.reader = Some(reader);
            Ok(slice)
        })
    }

    fn memory(&self) -> u64 {
        self.reader.as_ref().map_or(0, |reader| reader.memory())
    }
}

/// Tells whether going through the table takes less than asking for each of these slots: if it has few keys in all, or few a
/// slot. The hashes that it takes are few then, too.
///
/// Before Redis 7.4 and Valkey 8 all slots are in one table, and each has a list of its keys: asking takes less there, unless
/// each key has to be opened for its type or its time to live, which the table comes with.
fn are_sparse(ctx: Ctx<'_>, slots: &[SlotRange], keys: u64, has_type: bool) -> bool {
    const KEYS_A_SLOT: u64 = 32;
    const HAS_TABLE_PER_SLOT: u32 = 0x0007_0400;
    let are_few = keys <= each(slots).count() as u64 * KEYS_A_SLOT;
    keys <= MOST_LISTED as u64 || (are_few && (server_version() >= HAS_TABLE_PER_SLOT || has_type || has_expiring(ctx)))
}

/// The progress of reading a keyspace.
struct KeyReader {
    database: i32,
    rights: Arc<ShareRights>,
    sieve: Sieve,
    values: WantedValues,
    /// Tells whether slots are read, which may go to other nodes.
    are_slots: bool,
    place: Place,
    /// Keys that have been read and not shown.
    waiting: Records,
}

/// The part of the keyspace that is being read.
enum Place {
    /// Nothing has been read: these slots are to be, or the whole table.
    Start(Option<Vec<SlotRange>>),
    Slots(SlotReader),
    Table(TableReader),
    Names(NameReader),
    End,
}

impl KeyReader {
    fn is_done(&self) -> bool {
        matches!(self.place, Place::End)
    }

    fn memory(&self) -> u64 {
        let beside = match &self.place {
            Place::Table(table) => table.memory(),
            Place::Names(names) => names.memory(),
            Place::Start(_) | Place::Slots(_) | Place::End => 0,
        };
        self.waiting.byte_len() as u64 + beside
    }

    /// Reads for one turn on the main thread.
    fn read(&mut self, turn: Turn<'_>, most: usize) -> Result<KeySlice, Error> {
        turn.ctx.in_database(self.database, || self.read_selected(turn, most))?
    }

    fn read_selected(&mut self, turn: Turn<'_>, most: usize) -> Result<KeySlice, Error> {
        let keys_in_table = database_size(turn.ctx);
        let mut slice = KeySlice { keys_in_table, ..KeySlice::default() };
        if let Place::Start(slots) = &mut self.place {
            self.place = match slots.take() {
                None => Place::Table(TableReader::of_all()),
                Some(slots) if are_sparse(turn.ctx, &slots, keys_in_table, self.sieve.is_by_type()) => {
                    Place::Table(TableReader::of_slots(each(&slots)))
                }
                Some(slots) => Place::Slots(SlotReader::new(&slots)),
            };
        }
        match &mut self.place {
            Place::Slots(slots) => {
                slots.read(turn, &self.sieve, &self.rights, most, &mut slice)?;
                if slots.is_done() {
                    let big = slots.take_big();
                    self.place = if big.is_empty() { Place::End } else { Place::Table(TableReader::of_slots(big)) };
                }
            }
            Place::Table(table) => table.read(turn, &self.sieve, &self.rights, most, &mut slice)?,
            Place::Names(names) => {
                let only_existing = self.values.values == ValuesRead::No && !self.values.with_missing;
                names.read(turn, &self.rights, only_existing, most, &mut slice)?;
                if names.is_done() {
                    self.place = Place::End;
                }
            }
            Place::Start(_) | Place::End => {}
        }
        Ok(slice)
    }

    /// Puts back keys of a slice whose values were not read.
    fn put_back(&mut self, keys: &Records, slice: &mut KeySlice) {
        let mut waiting = keys.clone();
        waiting.append(&self.waiting);
        self.waiting = waiting;
        slice.is_end &= self.waiting.is_empty();
    }

    /// Moves what a turn has read to what waits, and takes the next slice of that. On the runtime.
    fn take_slice(&mut self, most: usize, slice: &mut KeySlice) {
        let read = std::mem::take(&mut slice.records);
        if let Place::Table(table) = &mut self.place {
            self.waiting.append(&table.drop_doubles(&read));
            if table.is_done() {
                let (unsteady, shown) = table.take_unsteady();
                self.place =
                    if unsteady.is_empty() { Place::End } else { Place::Slots(SlotReader::again(&unsteady, shown)) };
            }
        } else {
            self.waiting.append(&read);
        }
        slice.records = self.waiting.take_first(most);
        slice.is_end = self.is_done() && self.waiting.is_empty();
    }
}
