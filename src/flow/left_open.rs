//! [`LeftOpen`]: what a share has not read to its end, since it was on the move. Others read it where it is then.

use super::keyspace::KeySlice;
use super::messages::LeafProgress;
use super::records::Records;

/// The work that the reader of the keys has left open.
#[derive(Default)]
pub(super) struct LeftOpen {
    pub(super) unread: Vec<u16>,
    pub(super) unsettled: Vec<(u16, Vec<u128>)>,
    pub(super) elsewhere: Records,
}

impl LeftOpen {
    /// Takes what a slice has left open, and how far the source is.
    pub(super) fn note(&mut self, slice: KeySlice, progress: &mut LeafProgress) {
        progress.slots_read += slice.slots_read;
        progress.keys_read += slice.keys_read;
        if slice.keys_in_table > 0 {
            progress.keys_in_table = slice.keys_in_table;
        }
        self.unread.extend(slice.unread);
        self.unsettled.extend(slice.unsettled);
        self.elsewhere.append(&slice.elsewhere);
    }

    /// Returns the memory that it takes, in bytes.
    pub(super) fn memory(&self) -> usize {
        let hashes: usize = self.unsettled.iter().map(|(_, hashes)| hashes.len() * size_of::<u128>()).sum();
        hashes + self.elsewhere.byte_len()
    }
}
