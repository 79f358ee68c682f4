//! Reducers as they are typed: `SUM`, `TOP n`, `PREFIX separator reducer`.

use super::cursor::{ArgumentCursor, integer, wrong};
use crate::error::Error;
use crate::reduce::{Builtin, Prefix};

/// A reducer as it was typed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::module::commands) enum NamedReducer {
    Builtin(Builtin),
    ByPrefix(Prefix),
}

impl ArgumentCursor<'_> {
    /// `LIST|SUM|...|TOP n|...`
    pub(super) fn builtin(&mut self, option: &str, more: &str) -> Result<Builtin, Error> {
        let allowed = format!("one of {}{more}", Builtin::ALL.map(shown).join(", "));
        let given = self.value(option, &allowed)?;
        let reducer = Builtin::named(given).ok_or_else(|| wrong(option, given, &allowed))?;
        match reducer.most() {
            None => Ok(reducer),
            Some(_) => Ok(reducer.with_most(self.most(reducer.name())?)),
        }
    }

    /// Reads the number behind the name of a reducer.
    fn most(&mut self, name: &str) -> Result<u32, Error> {
        const MOST: u32 = Builtin::MOST_WANTED;
        let allowed = format!("how many are wanted, from 1 to {MOST}");
        let given = self.value(name, &allowed)?;
        let most = integer(given).and_then(|most| u32::try_from(most).ok()).filter(|most| (1..=MOST).contains(most));
        most.ok_or_else(|| wrong(name, given, &allowed))
    }

    /// Reads a built-in reducer, or `PREFIX separator reducer`.
    pub(super) fn reducer(&mut self, option: &str) -> Result<NamedReducer, Error> {
        if !self.word("PREFIX") {
            return Ok(NamedReducer::Builtin(self.builtin(option, ", PREFIX separator reducer")?));
        }
        let separator = self.value("PREFIX", "a separator, then a reducer")?;
        if separator.is_empty() {
            return Err(Error::Invalid(
                "the separator of PREFIX is empty; give what ends a prefix, such as ':'".into(),
            ));
        }
        Ok(NamedReducer::ByPrefix(Prefix::new(separator, self.builtin("the reducer of PREFIX", "")?)))
    }
}

/// Names a reducer as messages do.
fn shown(reducer: Builtin) -> String {
    if reducer.most().is_some() { format!("{} n", reducer.name()) } else { reducer.name().to_owned() }
}
