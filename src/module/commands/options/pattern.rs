//! The part of `RMR.MAP` behind `MATCH`: which keys, and what is to be done with each.

use super::cursor::{ArgumentCursor, integer, wrong};
use super::template::CommandTemplate;
use crate::command::printable;
use crate::error::Error;
use crate::flow::into::{ResultKey, ResultKind};
use crate::flow::plan::{KeyFilter, KeyedCommand, ValuesRead};

/// Keys by their names and what they hold, as they were typed.
#[derive(Debug, PartialEq, Eq)]
pub(in crate::module::commands) struct KeysByPattern {
    pub(in crate::module::commands) filter: KeyFilter,
    /// The most keys that are taken.
    pub(in crate::module::commands) limit: Option<u64>,
    /// The command that is run for each key; `None` if the keys themselves are asked for.
    pub(in crate::module::commands) command: Option<KeyedCommand>,
}

impl ArgumentCursor<'_> {
    /// `STREAM|LIST|HASH key`
    pub(super) fn result_key(&mut self) -> Result<ResultKey, Error> {
        let allowed = "STREAM, LIST or HASH, then a key";
        let given = self.value("INTO", allowed)?;
        let kind = match given.to_ascii_uppercase().as_slice() {
            b"STREAM" => ResultKind::Stream,
            b"LIST" => ResultKind::List,
            b"HASH" => ResultKind::Hash,
            _ => return Err(wrong("INTO", given, allowed)),
        };
        let key = self.value("INTO", "the key that the results go to")?.to_vec();
        Ok(ResultKey { kind, key })
    }

    /// `PRIMARIES|REPLICAS`: whether replicas are meant.
    pub(super) fn on_replicas(&mut self) -> Result<bool, Error> {
        let allowed = "PRIMARIES or REPLICAS";
        let given = self.value("ON", allowed)?;
        let is = |word: &[u8]| given.eq_ignore_ascii_case(word);
        if is(b"PRIMARIES") || is(b"REPLICAS") { Ok(is(b"REPLICAS")) } else { Err(wrong("ON", given, allowed)) }
    }

    /// `pattern [TYPE type] [LIMIT n] [--] [command [arg ...]]`, to the end of the arguments.
    pub(super) fn keys_by_pattern(&mut self) -> Result<KeysByPattern, Error> {
        let pattern = self.value("MATCH", "a pattern, such as 'user:*'")?.to_vec();
        let (mut type_name, mut limit) = (None, None);
        loop {
            if self.word("TYPE") {
                type_name = Some(self.type_name()?);
            } else if self.word("LIMIT") {
                limit = Some(self.limit()?);
            } else {
                break;
            }
        }
        let has_end = self.word("--");
        let command = match self.args {
            [] if has_end => {
                return Err(Error::Invalid("there is no command behind '--'; give command [arg ...]".into()));
            }
            [] => None,
            words => Some(CommandTemplate(words).to_fill()?),
        };
        self.args = &[];
        Ok(KeysByPattern { filter: KeyFilter { pattern, type_name, values: ValuesRead::No }, limit, command })
    }

    fn type_name(&mut self) -> Result<String, Error> {
        let allowed = "the name of a type, such as string or hash; a command TYPE stands behind '--'";
        let given = self.value("TYPE", allowed)?;
        let is_name =
            !given.is_empty() && given.iter().all(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(byte));
        let name = std::str::from_utf8(given).ok().filter(|_| is_name);
        Ok(name.ok_or_else(|| wrong("TYPE", given, allowed))?.to_ascii_lowercase())
    }

    fn limit(&mut self) -> Result<u64, Error> {
        let allowed = "how many keys at most, 1 or more; a command LIMIT stands behind '--'";
        let given = self.value("LIMIT", allowed)?;
        integer(given).filter(|&limit| limit > 0).ok_or_else(|| wrong("LIMIT", given, allowed))
    }
}

/// Refuses a word that is meant for keys that are given by pattern, where keys are given by name.
pub(super) fn needs_match(option: &str, given: &[u8]) -> Error {
    Error::Invalid(format!(
        "{option} needs MATCH pattern behind the reducer, and there is '{}'; keys that are given by name are few enough \
         to be waited for",
        printable(given)
    ))
}
