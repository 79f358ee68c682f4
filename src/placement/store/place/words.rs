//! What can be said with `RMR.PLACE`, and how it is read.

use std::str::FromStr;

use crate::command::printable;
use crate::error::Error;

/// How many changes `LOG` shows if nothing is said.
const LOGGED: u32 = 10;

/// What is wanted.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum PlaceCommand {
    Status,
    Nodes,
    Proxies,
    /// The first and the last slot; all slots, if they are not said.
    Slots(Option<(u16, u16)>),
    Key(Vec<u8>),
    Log(u32),
    Help,
}

/// What `HELP` says: each form with what it does. Other lists of the words follow this one.
pub(super) const FORMS: [(&str, &str); 7] = [
    ("STATUS", "Shows the epoch, the settings, and how many slots are whole."),
    ("NODES", "Shows the data nodes, and how many slots each has."),
    ("PROXIES", "Shows the proxies that live."),
    ("SLOTS [first [last]]", "Shows which nodes have the copies of slots."),
    ("KEY key", "Shows the slot of a key, and which nodes have it."),
    ("LOG [count]", "Shows the last changes, the last one first."),
    ("HELP", "Shows this text."),
];

impl PlaceCommand {
    /// Reads what stands behind `RMR.PLACE`.
    ///
    /// # Errors
    /// [`Error::Invalid`] with what was given and what is allowed.
    pub(super) fn parse(words: &[&[u8]]) -> Result<Self, Error> {
        let Some((name, rest)) = words.split_first() else {
            return Err(Error::Invalid(format!("RMR.PLACE stands alone; give one of {}", names())));
        };
        let name = name.to_ascii_uppercase();
        match (name.as_slice(), rest) {
            (b"STATUS", []) => Ok(Self::Status),
            (b"NODES", []) => Ok(Self::Nodes),
            (b"PROXIES", []) => Ok(Self::Proxies),
            (b"SLOTS", []) => Ok(Self::Slots(None)),
            (b"SLOTS", [slot]) => slot_number(slot).map(|slot| Self::Slots(Some((slot, slot)))),
            (b"SLOTS", [first, last]) => match (slot_number(first)?, slot_number(last)?) {
                (first, last) if first > last => {
                    Err(Error::Invalid(format!("SLOTS {first} {last}: the first slot comes first")))
                }
                slots => Ok(Self::Slots(Some(slots))),
            },
            (b"KEY", [key]) => Ok(Self::Key(key.to_vec())),
            (b"LOG", []) => Ok(Self::Log(LOGGED)),
            (b"LOG", [count]) => match number(count).filter(|count| (1..=10_000).contains(count)) {
                Some(count) => Ok(Self::Log(count)),
                None => Err(Error::Invalid(format!("LOG '{}': give a number from 1 to 10000", printable(count)))),
            },
            (b"HELP", []) => Ok(Self::Help),
            (name, _) => Err(misread(name)),
        }
    }
}

impl PlaceCommand {
    /// Tells whether it changes something.
    pub(super) fn changes(&self) -> bool {
        false
    }
}

/// Returns what whoever has said this is told: how the word is used, or which words there are.
fn misread(name: &[u8]) -> Error {
    let is_it = |form: &&(&str, &str)| word_of(form.0).as_bytes() == name;
    Error::Invalid(match FORMS.iter().find(is_it) {
        Some((form, _)) => format!("it is RMR.PLACE {form}"),
        None => format!("RMR.PLACE '{}' is not known; give one of {}", printable(name), names()),
    })
}

fn slot_number(text: &[u8]) -> Result<u16, Error> {
    number(text).ok_or_else(|| Error::Invalid(format!("SLOTS '{}': this is no number of a slot", printable(text))))
}

fn number<T: FromStr>(text: &[u8]) -> Option<T> {
    std::str::from_utf8(text).ok()?.parse().ok()
}

fn names() -> String {
    FORMS.map(|(form, _)| word_of(form)).join(", ")
}

fn word_of(form: &str) -> &str {
    form.split(' ').next().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(line: &str) -> Result<PlaceCommand, String> {
        let words: Vec<&[u8]> = line.split_whitespace().map(str::as_bytes).collect();
        PlaceCommand::parse(&words).map_err(|error| error.to_string())
    }

    #[test]
    fn words_are_read_in_any_letters() {
        for (line, command) in [
            ("status", PlaceCommand::Status),
            ("Slots", PlaceCommand::Slots(None)),
            ("SLOTS 7", PlaceCommand::Slots(Some((7, 7)))),
            ("SLOTS 7 9", PlaceCommand::Slots(Some((7, 9)))),
            ("KEY Key", PlaceCommand::Key(b"Key".to_vec())),
            ("LOG", PlaceCommand::Log(LOGGED)),
            ("LOG 3", PlaceCommand::Log(3)),
        ] {
            assert_eq!(parse(line), Ok(command), "{line}");
        }
    }

    #[test]
    fn what_is_not_understood_is_refused_with_what_is_allowed() {
        for (line, why) in [
            ("", "give one of STATUS, NODES"),
            ("STATUSES", "'STATUSES' is not known; give one of STATUS, NODES"),
            ("NODES now", "it is RMR.PLACE NODES"),
            ("KEY", "it is RMR.PLACE KEY key"),
            ("SLOTS 1 2 3", "it is RMR.PLACE SLOTS [first [last]]"),
            ("SLOTS -1", "SLOTS '-1': this is no number of a slot"),
            ("SLOTS 9 7", "the first slot comes first"),
            ("LOG 0", "LOG '0': give a number from 1 to 10000"),
        ] {
            let refusal = parse(line).unwrap_err();
            assert!(refusal.contains(why), "{line}: {refusal}");
        }
    }

    #[test]
    fn each_form_is_read() {
        for (form, _) in FORMS {
            let line = form.replace(['[', ']'], "").replace("first", "1").replace("last", "2").replace("count", "3");
            assert!(parse(&line).is_ok(), "{line}");
        }
    }
}
