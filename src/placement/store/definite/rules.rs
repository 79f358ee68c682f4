//! By which rule a write is made definite.

use super::made::{CopyRefusal, Definite, WriteCall};
use super::table::Rule;
use super::{script, stored, streams, table};
use crate::command::Command;

/// Says how a write has the same effect on every copy of its keys.
///
/// # Errors
/// The error says why it is not run on copies.
pub(crate) fn definite(call: &WriteCall<'_>, now_ms: i64) -> Result<Definite, CopyRefusal> {
    match table::rule(&call.description.name) {
        Some(Rule::Blocks) => Err(BLOCKS),
        Some(Rule::XReadGroup) if streams::blocks(&call.words()) => Err(BLOCKS),
        rule => of_rule(call, rule, now_ms),
    }
}

const BLOCKS: CopyRefusal = "it waits for keys to fill, and is not served where keys have several copies";

/// Applies a rule to a command that cannot block, since it does not inside of a transaction.
pub(super) fn of_rule(call: &WriteCall<'_>, rule: Option<Rule>, now_ms: i64) -> Result<Definite, CopyRefusal> {
    let is_of_module = call.description.has_flag("module");
    if is_of_module || rule.is_none() {
        let changes_nothing = !call.description.has_flag("write") && !call.description.may_run_code();
        return Ok(if changes_nothing { Definite::nothing_more() } else { call.carry_all() });
    }
    if !call.description.takes(call.command.word_count()) {
        return Ok(Definite::AsIs);
    }
    Ok(match rule.expect("known") {
        Rule::Always | Rule::Blocks => Definite::AsIs,
        Rule::Refused(reason) => return Err(reason),
        Rule::By(make) => make(call, &call.words(), now_ms),
        Rule::XReadGroup => streams::xreadgroup(call, &call.words(), now_ms),
        Rule::Copy if stored::is_to_another_database(&call.words()) => return Err(table::DATABASES),
        Rule::Copy => Definite::AsIs,
        Rule::Script => {
            let text = call.script.or_else(|| call.command.args().next());
            let is_definite = text.is_some_and(script::is_definite);
            if is_definite { Definite::AsIs } else { call.carry_all() }
        }
        // By its text, for a copy may have lost it.
        Rule::ScriptByName if call.script.is_some_and(script::is_definite) => {
            let command = Command::new("eval").arg(call.script.expect("a text"));
            Definite::rewritten(call.command.args().skip(1).fold(command, Command::arg), "evalsha")
        }
        Rule::ScriptByName => call.carry_all(),
    })
}
