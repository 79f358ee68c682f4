//! What the server says about its commands, as far as it matters here: does a command write, does it block?
//!
//! Asked once for each name with `COMMAND INFO`, and kept. On the main thread only.

use std::cell::RefCell;
use std::collections::HashMap;

use super::api::Ctx;
use super::local;
use crate::command::Command;
use crate::reply::Reply;

/// What matters of a command's flags.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Facts {
    /// It may change data. So may all that is neither said to read only nor known at all.
    pub(super) is_write: bool,
    /// It may change data or reach other clients, as scripts that only read may not.
    pub(super) may_replicate: bool,
    /// It changes nothing, and may be sent twice.
    pub(super) is_read_only: bool,
    /// It may block its client.
    pub(super) is_blocking: bool,
    /// It runs code that may call any other command.
    pub(super) is_script: bool,
}

/// Names beyond this many are asked for again and again; the server has some 400.
const MOST_NAMES: usize = 4096;

thread_local! {
    static KNOWN: RefCell<Known> = RefCell::default();
}

#[derive(Default)]
struct Known {
    by_name: HashMap<Vec<u8>, Facts>,
    /// A map asks for one name a thousand times.
    last: Option<(Vec<u8>, Facts)>,
}

impl Known {
    fn get(&mut self, name: &[u8]) -> Option<Facts> {
        if let Some((last, facts)) = &self.last
            && last == name
        {
            return Some(*facts);
        }
        let facts = *self.by_name.get(name)?;
        self.last = Some((name.to_vec(), facts));
        Some(facts)
    }

    fn insert(&mut self, name: &[u8], facts: Facts) {
        if self.by_name.len() < MOST_NAMES {
            self.by_name.insert(name.to_vec(), facts);
        }
    }
}

/// What the server says about this command; for one with subcommands, about the subcommand.
pub(super) fn facts(ctx: Ctx, command: &Command) -> Facts {
    let name = command.name();
    if let Some(facts) = KNOWN.with_borrow_mut(|known| known.get(name)) {
        return facts;
    }
    let row = local::call(ctx, &Command::new("COMMAND").arg("INFO").arg(name));
    let row = row.elements().and_then(|rows| rows.first());
    let Some(row) = row.and_then(Reply::elements) else {
        // Unknown now; a module that is loaded later may bring it.
        return Facts { is_write: true, may_replicate: true, ..Facts::default() };
    };
    let subcommands = row.get(9).and_then(Reply::elements).unwrap_or_default();
    if subcommands.is_empty() {
        let facts = read(name, row);
        KNOWN.with_borrow_mut(|known| known.insert(name, facts));
        return facts;
    }
    let wanted = command.args().nth(1).unwrap_or_default();
    let subcommand = subcommands.iter().filter_map(Reply::elements).find(|row| {
        let full = row.first().and_then(Reply::bytes).unwrap_or_default();
        full.rsplit(|&byte| byte == b'|').next().is_some_and(|own| own.eq_ignore_ascii_case(wanted))
    });
    read(name, subcommand.unwrap_or(row))
}

fn read(name: &[u8], row: &[Reply]) -> Facts {
    let flags = row.get(2).and_then(Reply::elements).unwrap_or_default();
    let has = |flag: &str| flags.iter().any(|known| known.bytes() == Some(flag.as_bytes()));
    let categories = row.get(6).and_then(Reply::elements).unwrap_or_default();
    let is_scripting = categories.iter().any(|category| category.bytes() == Some(b"@scripting"));
    let runs_code = is_one_of(name, &["eval", "eval_ro", "evalsha", "evalsha_ro", "fcall", "fcall_ro"]);
    let is_write = has("write") || (is_scripting && !has("readonly"));
    Facts {
        is_write,
        // The flag is not among those that the server shows.
        may_replicate: is_write || is_one_of(name, &["publish", "spublish"]),
        is_read_only: has("readonly"),
        // These two block only with an option, which the engine looks for itself.
        is_blocking: has("blocking") && !is_one_of(name, &["xread", "xreadgroup"]),
        is_script: is_scripting && runs_code,
    }
}

fn is_one_of(name: &[u8], names: &[&str]) -> bool {
    names.iter().any(|known| name.eq_ignore_ascii_case(known.as_bytes()))
}

/// Forgets everything, as when the module is unloaded.
pub(super) fn forget() {
    KNOWN.with_borrow_mut(|known| *known = Known::default());
}
