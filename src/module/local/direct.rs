//! `GET` without a command: a third of the cost, for the many keys of a share (`rmr.direct-reads`).
//!
//! The module API gives a string's bytes in place, but for short ones and integers only after the server has unpacked
//! them, and unpacked they stay: `OBJECT ENCODING` then says `raw`, and an integer takes some 16 bytes more. This is why it
//! is the operator's choice.
//!
//! A command would also be refused for a slot that is not this node's. Here a key that is there is taken to be this
//! node's: up to Redis 8.2 and Valkey 8, a primary that loses a slot deletes its keys in the same moment. A key that is
//! not there may be on another node, and is left to a command; so is the first of each turn, which finds out whether the
//! cluster serves anybody at all.

use crate::module::config;
use crate::module::server::context::{self, Ctx};
use crate::module::server::key::StringKey;

/// The first version, Redis 8.4, in which slots move as a whole, and keys that have gone are deleted in the background.
/// Valkey does so from 9 on.
const MOVES_WHOLE_SLOTS: u32 = 0x0008_0400;

/// Returns the reason why strings cannot be read in place here; `None` if they can.
pub(crate) fn why_not(is_cluster: bool) -> Option<&'static str> {
    (is_cluster && context::server_version() >= MOVES_WHOLE_SLOTS).then_some(
        "rmr.direct-reads cannot be on here: in a cluster of this server, keys outlive the move of their slot",
    )
}

/// Reads keys for one turn of a share.
pub(crate) struct Direct<'a> {
    ctx: Ctx<'a>,
    /// A node of a cluster serves the keys that it has only while the cluster is up.
    is_serving: bool,
}

impl<'a> Direct<'a> {
    /// Begins to read strings in place. Returns `None` where they are not read so.
    pub(crate) fn begin(ctx: Ctx<'a>) -> Option<Self> {
        if !config::direct_reads() {
            return None;
        }
        let is_cluster = ctx.flags().is_cluster();
        let may = ctx.flags().is_primary() && why_not(is_cluster).is_none();
        may.then_some(Self { ctx, is_serving: !is_cluster })
    }

    /// Notes that the server has run a command.
    pub(crate) fn has_served(&mut self) {
        self.is_serving = true;
    }

    /// Opens the string that a `GET` of this key returns, if it is there. If it is not, the server has to run the
    /// command. The string is let go before the server is told to run one.
    pub(crate) fn read(&self, key: &[u8]) -> Option<StringKey<'_>> {
        if self.is_serving { StringKey::open(self.ctx, key) } else { None }
    }
}
