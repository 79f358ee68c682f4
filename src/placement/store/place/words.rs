//! The arguments of `RMR.PLACE`, and how they are read.

use std::str::FromStr;

use crate::command::printable;
use crate::error::Error;
use crate::placement::config_node::has_spaces;
use crate::topology::Address;

/// The number of changes that `LOG` shows by default.
const LOGGED: u32 = 10;

/// A parsed call of `RMR.PLACE`.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum PlaceCommand {
    Status,
    Nodes,
    Proxies,
    /// The first and the last slot; all slots, if they are not said.
    Slots(Option<(u16, u16)>),
    Key(Vec<u8>),
    Log(u32),
    /// Settings and nodes of a store that has none.
    Create(NewStore),
    /// A node is to be let in.
    Add {
        address: String,
        weight: u32,
        zone: Option<String>,
    },
    /// A server with data is to become the only copy of all slots.
    Adopt(String),
    /// A node is to leave, once others have its copies or at once.
    Remove {
        address: String,
        at_once: bool,
    },
    /// No further slot is to move.
    Pause,
    /// Slots are to move again.
    Resume,
    /// Moves of these slots are to be given up; of all, if none is named.
    Cancel(Vec<u16>),
    /// The moves that are under way, and those that would be planned.
    Plan,
    /// Shares are to be evened out by moves of so many slots at most.
    Rebalance(Option<usize>),
    /// A copy of a slot is to go from a node to another.
    Move {
        slot: u16,
        from: String,
        to: String,
    },
    /// Copies are to be compared: of a slot, or of all; and made equal, if that is said.
    Check {
        slot: Option<u16>,
        repairs: bool,
    },
    /// A setting is to be another.
    Set {
        name: String,
        value: String,
    },
    Help,
}

/// The settings and nodes that a new store is to have.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct NewStore {
    pub(super) settings: Vec<(&'static str, String)>,
    pub(super) nodes: Vec<String>,
}

/// The forms that `HELP` lists: each form with what it does. Other lists of the words follow this one.
pub(super) const FORMS: [(&str, &str); 20] = [
    ("STATUS", "Shows the epoch, the settings, and how many slots are whole."),
    ("NODES", "Shows the data nodes, and how many slots each has."),
    ("PROXIES", "Shows the proxies that live."),
    ("SLOTS [first [last]]", "Shows which nodes have the copies of slots."),
    ("KEY key", "Shows the slot of a key, and which nodes have it."),
    ("LOG [count]", "Shows the last changes, the last one first."),
    (
        "CREATE [SLOTS slots] [COPIES copies] [HASH hash] NODES node [node ...]",
        "Stores the settings of a store that has no nodes, and lets nodes in.",
    ),
    ("ADD node [WEIGHT weight] [ZONE zone]", "Lets a node in."),
    ("ADOPT node", "Makes a server with data the only copy of all slots."),
    ("REMOVE node [FORCE]", "Has a node leave, once others have its copies, or at once."),
    ("PLAN", "Shows which slots move, and which would move."),
    ("REBALANCE [SLOTS slots]", "Has slots move until all nodes have equal shares."),
    ("MOVE slot from to", "Has a copy of a slot move from one node to another."),
    ("PAUSE", "Has no further slot move."),
    ("RESUME", "Has slots move again."),
    ("CANCEL [slot ...]", "Gives up moves whose new copies do not count yet."),
    ("CHECK [slot | ALL] [REPAIR]", "Compares the copies of a slot, or of all slots."),
    ("SET setting value", "Changes a setting."),
    ("COPIES copies", "Changes how many copies there are of each slot."),
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
            (b"CREATE", rest) => NewStore::parse(rest).map(Self::Create),
            (b"ADD", [node, options @ ..]) => add(node, options),
            (b"ADOPT", [node]) => address(node).map(Self::Adopt),
            (b"REMOVE", [node]) => Ok(Self::Remove { address: address(node)?, at_once: false }),
            (b"REMOVE", [node, word]) if word.eq_ignore_ascii_case(b"FORCE") => {
                Ok(Self::Remove { address: address(node)?, at_once: true })
            }
            (b"PLAN", []) => Ok(Self::Plan),
            (b"REBALANCE", []) => Ok(Self::Rebalance(None)),
            (b"REBALANCE", [word, count]) if word.eq_ignore_ascii_case(b"SLOTS") => {
                match number(count).filter(|count| *count > 0) {
                    Some(count) => Ok(Self::Rebalance(Some(count))),
                    None => Err(Error::Invalid(format!("SLOTS '{}': give a number from 1", printable(count)))),
                }
            }
            (b"MOVE", [slot, from, to]) => {
                Ok(Self::Move { slot: slot_number(slot)?, from: address(from)?, to: address(to)? })
            }
            (b"PAUSE", []) => Ok(Self::Pause),
            (b"RESUME", []) => Ok(Self::Resume),
            (b"CANCEL", slots) => {
                slots.iter().map(|slot| slot_number(slot)).collect::<Result<_, _>>().map(Self::Cancel)
            }
            (b"CHECK", rest) => check(rest),
            (b"SET", [name, value]) => Ok(Self::Set { name: text(name).to_ascii_lowercase(), value: text(value) }),
            (b"COPIES", [copies]) => Ok(Self::Set { name: "copies".into(), value: text(copies) }),
            (b"HELP", []) => Ok(Self::Help),
            (name, _) => Err(misread(name)),
        }
    }
}

impl PlaceCommand {
    /// Tells whether it changes something, or keeps writes waiting.
    pub(super) fn changes(&self) -> bool {
        use PlaceCommand::{Help, Key, Log, Nodes, Plan, Proxies, Slots, Status};
        !matches!(self, Help | Key(_) | Log(_) | Nodes | Plan | Proxies | Slots(_) | Status)
    }
}

impl NewStore {
    fn parse(mut words: &[&[u8]]) -> Result<Self, Error> {
        let mut settings = Vec::new();
        loop {
            match words {
                [word, nodes @ ..] if word.eq_ignore_ascii_case(b"NODES") && !nodes.is_empty() => {
                    let nodes = nodes.iter().map(|node| address(node)).collect::<Result<Vec<_>, _>>()?;
                    if let Some(twice) = nodes.iter().enumerate().find(|(at, node)| nodes[..*at].contains(node)) {
                        return Err(Error::Invalid(format!("the node {} is named twice", twice.1)));
                    }
                    return Ok(Self { settings, nodes });
                }
                [word, value, rest @ ..] => {
                    let names = ["slots", "copies", "hash"];
                    let name = names.into_iter().find(|name| name.as_bytes().eq_ignore_ascii_case(word));
                    settings.push((name.ok_or_else(|| misread(b"CREATE"))?, text(value).to_ascii_lowercase()));
                    words = rest;
                }
                _ => return Err(misread(b"CREATE")),
            }
        }
    }
}

/// Reads what follows `ADD`.
fn add(node: &[u8], options: &[&[u8]]) -> Result<PlaceCommand, Error> {
    /// With more, one node's share takes long to be worked out.
    const HEAVIEST: u32 = 1000;
    let (mut weight, mut zone) = (1, None);
    for option in options.chunks(2) {
        match *option {
            [word, value] if word.eq_ignore_ascii_case(b"WEIGHT") => {
                let read = number(value).filter(|weight| (0..=HEAVIEST).contains(weight));
                let refused = || format!("WEIGHT '{}': give a number from 0 to {HEAVIEST}", printable(value));
                weight = read.ok_or_else(|| Error::Invalid(refused()))?;
            }
            [word, value] if word.eq_ignore_ascii_case(b"ZONE") => {
                let value = text(value);
                if value.is_empty() || value == "-" || has_spaces(&value) {
                    let value = printable(value.as_bytes());
                    return Err(Error::Invalid(format!("ZONE '{value}': give a name without spaces")));
                }
                zone = Some(value);
            }
            _ => return Err(misread(b"ADD")),
        }
    }
    Ok(PlaceCommand::Add { address: address(node)?, weight, zone })
}

/// Reads what follows `CHECK`.
fn check(words: &[&[u8]]) -> Result<PlaceCommand, Error> {
    let is = |word: &[u8], name: &str| word.eq_ignore_ascii_case(name.as_bytes());
    let (words, repairs) = match words {
        [words @ .., last] if is(last, "REPAIR") => (words, true),
        words => (words, false),
    };
    match words {
        [] => Ok(PlaceCommand::Check { slot: None, repairs }),
        [word] if is(word, "ALL") => Ok(PlaceCommand::Check { slot: None, repairs }),
        [word] => Ok(PlaceCommand::Check { slot: Some(slot_number(word)?), repairs }),
        _ => Err(misread(b"CHECK")),
    }
}

/// Reads an address, which is written down as it is read.
fn address(node: &[u8]) -> Result<String, Error> {
    let address = Address::parse(&text(node))?;
    match address.port() {
        Some(_) => Ok(address.to_string()),
        None => Err(Error::Invalid(format!("the node '{}' is no host:port", printable(node)))),
    }
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
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
    number(text).ok_or_else(|| Error::Invalid(format!("'{}' is no number of a slot", printable(text))))
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
            ("SET Coverage slot", PlaceCommand::Set { name: "coverage".into(), value: "slot".into() }),
            ("COPIES 2", PlaceCommand::Set { name: "copies".into(), value: "2".into() }),
            ("remove a:1", PlaceCommand::Remove { address: "a:1".into(), at_once: false }),
            ("REMOVE a:1 force", PlaceCommand::Remove { address: "a:1".into(), at_once: true }),
            ("ADOPT a:1", PlaceCommand::Adopt("a:1".into())),
            ("Pause", PlaceCommand::Pause),
            ("CANCEL", PlaceCommand::Cancel(Vec::new())),
            ("plan", PlaceCommand::Plan),
            ("REBALANCE", PlaceCommand::Rebalance(None)),
            ("REBALANCE slots 9", PlaceCommand::Rebalance(Some(9))),
            ("MOVE 3 a:1 b:2", PlaceCommand::Move { slot: 3, from: "a:1".into(), to: "b:2".into() }),
            ("CHECK", PlaceCommand::Check { slot: None, repairs: false }),
            ("CHECK all repair", PlaceCommand::Check { slot: None, repairs: true }),
            ("CHECK 3 Repair", PlaceCommand::Check { slot: Some(3), repairs: true }),
            ("CANCEL 3 4", PlaceCommand::Cancel(vec![3, 4])),
            ("ADD a:1", PlaceCommand::Add { address: "a:1".into(), weight: 1, zone: None }),
            (
                "ADD a:1 zone r1 weight 3",
                PlaceCommand::Add { address: "a:1".into(), weight: 3, zone: Some("r1".into()) },
            ),
            (
                "CREATE COPIES 2 nodes a:1 b:2",
                PlaceCommand::Create(NewStore {
                    settings: vec![("copies", "2".into())],
                    nodes: vec!["a:1".into(), "b:2".into()],
                }),
            ),
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
            ("SLOTS -1", "'-1' is no number of a slot"),
            ("CANCEL 3 x", "'x' is no number of a slot"),
            ("REBALANCE SLOTS 0", "SLOTS '0': give a number from 1"),
            ("REBALANCE 3", "it is RMR.PLACE REBALANCE [SLOTS slots]"),
            ("MOVE 3 a:1", "it is RMR.PLACE MOVE slot from to"),
            ("CHECK x", "'x' is no number of a slot"),
            ("CHECK 1 2", "it is RMR.PLACE CHECK [slot | ALL] [REPAIR]"),
            ("REMOVE", "it is RMR.PLACE REMOVE node"),
            ("PAUSE 3", "it is RMR.PLACE PAUSE"),
            ("SLOTS 9 7", "the first slot comes first"),
            ("ADD", "it is RMR.PLACE ADD node"),
            ("ADD a:1 WEIGHT", "it is RMR.PLACE ADD node"),
            ("ADD a:1 WEIGHT many", "WEIGHT 'many': give a number from 0 to 1000"),
            ("ADD a:1 ZONE -", "ZONE '-': give a name"),
            ("ADD nonsense", "nonsense"),
            ("CREATE", "it is RMR.PLACE CREATE"),
            ("CREATE NODES", "it is RMR.PLACE CREATE"),
            ("CREATE VERSION 2 NODES a:1", "it is RMR.PLACE CREATE"),
            ("CREATE NODES a:1 b:2 a:1", "the node a:1 is named twice"),
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
            let line = line
                .replace("slot from to", "7 a:1 b:2")
                .replace("REBALANCE SLOTS slots", "REBALANCE SLOTS 9")
                .replace("slot ...", "7")
                .replace("slot | ALL", "7")
                .replace("node ...", "b:2")
                .replace("node", "a:1")
                .replace(" weight", " 2");
            assert!(parse(&line).is_ok(), "{line}");
        }
    }
}
