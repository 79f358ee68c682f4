//! What the server says about a command: arity, flags, tips, key specifications. Read from `COMMAND INFO`.

use std::sync::Arc;

use crate::reply::Reply;

/// One command, or one subcommand.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Description {
    /// In lower case; `config|set` for a subcommand.
    pub(crate) name: String,
    /// The exact number of arguments, the name included; negative for at least so many.
    pub(crate) arity: i64,
    /// As the server spells them: `write`, `readonly`, `blocking`, ...
    pub(crate) flags: Vec<String>,
    /// ACL categories, with their `@`.
    pub(crate) categories: Vec<String>,
    /// `request_policy:all_shards` and the like.
    pub(crate) tips: Vec<String>,
    /// Where its keys stand.
    pub(crate) keys: Vec<KeySpec>,
    /// The commands of a container.
    pub(crate) subcommands: Vec<Arc<Description>>,
    /// Where an argument stands that is no key, but has a slot all the same: the channel of `SPUBLISH`.
    pub(crate) channel: Option<usize>,
}

/// Where some of a command's keys stand, as far as the server can say.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct KeySpec {
    /// How the first key leads to the others.
    pub(crate) find: Find,
    /// The server says that it does not know all of them, or not without the arguments' meaning.
    pub(crate) is_uncertain: bool,
}

/// How the first key leads to the others.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Find {
    /// Every `step`th argument, to the last or some before it.
    Range {
        /// How many arguments belong to a key, itself included.
        step: usize,
    },
    /// So many as an argument says.
    KeyNum {
        /// How far before the first key that argument stands.
        back: usize,
        /// How many arguments belong to a key, itself included.
        step: usize,
    },
    /// Only the server knows.
    Unknown,
}

impl Description {
    /// Reads one row of `COMMAND INFO`; `None` for the null that stands for an unknown command.
    pub(crate) fn parse(row: &Reply) -> Option<Self> {
        let row = row.elements()?;
        let texts = |index: usize| -> Vec<String> {
            row.get(index).and_then(Reply::elements).unwrap_or_default().iter().filter_map(text).collect()
        };
        let nested = |index: usize| row.get(index).and_then(Reply::elements).unwrap_or_default();
        Some(Self {
            name: text(row.first()?)?.to_ascii_lowercase(),
            arity: row.get(1)?.integer()?,
            flags: texts(2),
            categories: texts(6),
            tips: texts(7),
            keys: nested(8).iter().filter(|spec| !has_flag(spec, "not_key")).map(KeySpec::parse).collect(),
            subcommands: nested(9).iter().filter_map(Self::parse).map(Arc::new).collect(),
            channel: nested(8).iter().find(|spec| has_flag(spec, "not_key")).and_then(first_key),
        })
    }

    /// Whether the command carries this flag.
    pub(crate) fn has_flag(&self, flag: &str) -> bool {
        self.flags.iter().any(|known| known == flag)
    }

    /// The value of a tip: `all_shards` for `request_policy`.
    pub(crate) fn tip(&self, name: &str) -> Option<&str> {
        self.tips.iter().find_map(|tip| tip.strip_prefix(name)?.strip_prefix(':'))
    }

    /// The subcommand of this name, in any case.
    pub(crate) fn subcommand(&self, name: &[u8]) -> Option<&Arc<Self>> {
        self.subcommands.iter().find(|known| {
            let own = known.name.rsplit('|').next().unwrap_or_default();
            name.eq_ignore_ascii_case(own.as_bytes())
        })
    }

    /// Whether it may be called with so many arguments, its name included.
    pub(crate) fn takes(&self, count: usize) -> bool {
        let count = count as i64;
        if self.arity >= 0 { count == self.arity } else { count >= -self.arity }
    }
}

impl KeySpec {
    fn parse(spec: &Reply) -> Self {
        let find = spec.field("find_keys");
        let number = |name: &str| {
            let number = find?.field("spec")?.field(name)?.integer()?;
            usize::try_from(number).ok()
        };
        let kind = find.and_then(|find| find.field("type")).and_then(Reply::bytes);
        let begins = spec.field("begin_search").and_then(|begin| begin.field("type")).and_then(Reply::bytes);
        let find = match kind {
            Some(b"range") => number("keystep").map(|step| Find::Range { step: step.max(1) }),
            Some(b"keynum") => {
                let (index, first) = (number("keynumidx").unwrap_or(0), number("firstkey").unwrap_or(1));
                let step = number("keystep").unwrap_or(1).max(1);
                first.checked_sub(index).map(|back| Find::KeyNum { back, step })
            }
            _ => None,
        };
        let find = find.filter(|_| begins != Some(b"unknown")).unwrap_or(Find::Unknown);
        let is_uncertain = has_flag(spec, "incomplete") || has_flag(spec, "variable_flags") || find == Find::Unknown;
        Self { find, is_uncertain }
    }
}

fn has_flag(spec: &Reply, flag: &str) -> bool {
    let flags = spec.field("flags").and_then(Reply::elements).unwrap_or_default();
    flags.iter().any(|known| known.bytes().is_some_and(|known| known.eq_ignore_ascii_case(flag.as_bytes())))
}

fn first_key(spec: &Reply) -> Option<usize> {
    let index = spec.field("begin_search")?.field("spec")?.field("index")?.integer()?;
    usize::try_from(index).ok()
}

fn text(reply: &Reply) -> Option<String> {
    Some(String::from_utf8_lossy(reply.bytes()?).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn list(words: &[&str]) -> Reply {
        words.iter().map(|word| Reply::from(*word)).collect::<Vec<_>>().into()
    }

    fn spec(kind: &str, numbers: &[(&str, i64)]) -> Reply {
        let numbers: Vec<(Reply, Reply)> =
            numbers.iter().map(|(name, value)| ((*name).into(), (*value).into())).collect();
        let begin =
            vec![("type".into(), "index".into()), ("spec".into(), Reply::Map(vec![("index".into(), 1.into())]))];
        Reply::Map(vec![
            ("flags".into(), list(&["RO"])),
            ("begin_search".into(), Reply::Map(begin)),
            ("find_keys".into(), Reply::Map(vec![("type".into(), kind.into()), ("spec".into(), Reply::Map(numbers))])),
        ])
    }

    #[test]
    fn a_row_is_read() {
        let row = Reply::Array(vec![
            "MGET".into(),
            (-2).into(),
            list(&["readonly", "fast"]),
            1.into(),
            (-1).into(),
            1.into(),
            list(&["@read"]),
            list(&["request_policy:multi_shard"]),
            vec![spec("range", &[("lastkey", -1), ("keystep", 1), ("limit", 0)])].into(),
            Reply::Array(vec![]),
        ]);
        let description = Description::parse(&row).unwrap();
        assert_eq!(description.name, "mget");
        assert_eq!(description.tip("request_policy"), Some("multi_shard"));
        assert_eq!(description.tip("response_policy"), None);
        assert_eq!(description.keys, [KeySpec { find: Find::Range { step: 1 }, is_uncertain: false }]);
        assert!(description.takes(2) && description.takes(9) && !description.takes(1));
        assert_eq!(Description::parse(&Reply::Null), None);
    }

    #[test]
    fn key_specs_are_read_in_maps_and_flat_arrays() {
        let parsed = KeySpec::parse(&spec("keynum", &[("keynumidx", 0), ("firstkey", 1), ("keystep", 2)]));
        assert_eq!(parsed.find, Find::KeyNum { back: 1, step: 2 });
        assert!(KeySpec::parse(&spec("unknown", &[])).is_uncertain);
    }
}
