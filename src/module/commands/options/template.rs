//! [`CommandTemplate`]: a command in which a key is still to be filled in. An argument `{}` is the key; where there is none,
//! the key follows the command's name.

use serde_bytes::ByteBuf;

use crate::command::{Command, CommandSet, PerKey, printable};
use crate::error::Error;
use crate::flow::plan::KeyedCommand;

const PLACE: &[u8] = b"{}";

/// A command for keys, as it was typed; never empty.
#[derive(Debug, Clone, Copy)]
pub(super) struct CommandTemplate<'a>(pub(super) &'a [&'a [u8]]);

impl<'a> CommandTemplate<'a> {
    fn places(self) -> impl Iterator<Item = usize> {
        (1..self.0.len()).filter(move |&at| self.0[at] == PLACE)
    }

    /// Returns what stands before the key and behind it, if there is one place for it.
    fn around_key(self) -> (&'a [&'a [u8]], &'a [&'a [u8]]) {
        match self.places().next() {
            Some(at) => (&self.0[..at], &self.0[at + 1..]),
            None => self.0.split_at(1),
        }
    }

    /// Returns the command for each of these keys.
    pub(super) fn for_each(self, keys: &[&[u8]]) -> CommandSet {
        let (name, args) = (self.0[0], &self.0[1..]);
        if self.places().count() > 1 {
            let fill_in = |key: &&[u8]| {
                let add =
                    |command: Command, arg: &&[u8]| if *arg == PLACE { command.key(key) } else { command.arg(arg) };
                args.iter().fold(Command::new(name), add)
            };
            return CommandSet::Each(keys.iter().map(fill_in).collect());
        }
        let (before, after) = self.around_key();
        let head = before[1..].iter().fold(Command::new(name), Command::arg);
        CommandSet::PerKey(after.iter().fold(PerKey::new(head, keys), PerKey::arg))
    }

    /// Returns the command for keys that are found later.
    ///
    /// # Errors
    /// If the key is to stand in several places.
    pub(super) fn to_fill(self) -> Result<KeyedCommand, Error> {
        let count = self.places().count();
        if count > 1 {
            return Err(Error::Invalid(format!(
                "'{}' has {count} places {{}} for the key; over a pattern a command takes its key in one place",
                printable(self.0[0])
            )));
        }
        let (before, after) = self.around_key();
        let words = before.iter().chain(after).map(|&word| ByteBuf::from(word)).collect();
        // The server says whether it only reads.
        Ok(KeyedCommand { words, key_at: before.len() as u32, is_read_only: false })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_filled_in_where_it_is_to_stand() {
        let to_fill = |line: &str| {
            let words: Vec<&[u8]> = line.split(' ').map(str::as_bytes).collect();
            let filled = CommandTemplate(&words).to_fill()?;
            let words: Vec<String> =
                filled.words.iter().map(|word| String::from_utf8_lossy(word).into_owned()).collect();
            Ok::<_, Error>((words.join(" "), filled.key_at))
        };
        assert_eq!(to_fill("MEMORY USAGE {}").unwrap(), ("MEMORY USAGE".into(), 2));
        assert_eq!(to_fill("EXPIRE {} 60 NX").unwrap(), ("EXPIRE 60 NX".into(), 1));
        assert_eq!(to_fill("GETRANGE 0 3").unwrap(), ("GETRANGE 0 3".into(), 1));
        assert_eq!(to_fill("GET").unwrap(), ("GET".into(), 1));
        assert_eq!(to_fill("{} {}").unwrap(), ("{}".into(), 1));
        let error = to_fill("COPY {} {} REPLACE").unwrap_err().to_string();
        assert_eq!(error, "'COPY' has 2 places {} for the key; over a pattern a command takes its key in one place");
    }
}
