//! The description of a command, as the server gives it: arity, flags, tips, key specifications. Read from `COMMAND INFO`.

mod catalogue;
mod finders;
#[cfg_attr(not(feature = "module"), allow(dead_code, reason = "rights and proxy mode are the module's"))]
pub(crate) mod special;

use std::sync::Arc;

pub(crate) use catalogue::{Catalogue, CommandSource};
pub(crate) use finders::KeyUse;

use crate::command::Command;
use crate::reply::Reply;

/// A command or a subcommand.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Description {
    /// The name in lower case; `config|set` for a subcommand.
    pub(crate) name: String,
    /// The exact number of arguments, the name included; negative for at least so many.
    pub(crate) arity: i64,
    /// The flags as the server spells them: `write`, `readonly`, `blocking`, ...
    pub(crate) flags: Vec<String>,
    /// ACL categories, with their `@`.
    pub(crate) categories: Vec<String>,
    /// `request_policy:all_shards` and the like.
    pub(crate) tips: Vec<String>,
    /// The positions of its keys.
    pub(crate) keys: Vec<KeySpec>,
    /// The commands of a container.
    pub(crate) subcommands: Vec<Arc<Description>>,
    /// The positions of its keys, if they can be told from the arguments alone; `None` if only the server can tell.
    pub(crate) places: Option<Vec<KeyPlace>>,
    /// The position of an argument that is no key and has a slot all the same: the channel of `SPUBLISH`.
    pub(crate) channel: Option<usize>,
}

/// The positions of some of a command's keys, as far as the server can say.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct KeySpec {
    /// The way from the first key to the others.
    pub(crate) find: Find,
    /// The server says that it does not know all of them, or not without the arguments' meaning.
    pub(crate) is_uncertain: bool,
}

/// The way from the first key to the others.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Find {
    /// Every `step`th argument, to the last or some before it.
    Range {
        /// The number of arguments for each key, the key included.
        step: usize,
    },
    /// An argument says how many keys there are.
    KeyNum {
        /// The distance from that argument to the first key.
        back: usize,
        /// The number of arguments for each key, the key included.
        step: usize,
    },
    /// The server alone knows.
    Unknown,
}

/// The positions of one group of keys among the arguments.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct KeyPlace {
    /// The position of the first key.
    begin: usize,
    extent: Extent,
    /// The number of arguments for each key, the key included.
    step: usize,
    reads: bool,
    writes: bool,
}

/// The extent of a group of keys.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Extent {
    /// The last key has this position, counted from the first; a negative one counts from the end of all arguments,
    /// which `limit` divides.
    To { last: i64, limit: i64 },
    /// Behind an argument that says how many there are; both counted from the beginning.
    Counted { count_at: usize, first: usize },
}

impl KeyPlace {
    /// Reads a key specification; `None` if it does not say it all.
    fn parse(spec: &Reply) -> Option<Self> {
        let part = |name: &str, kind: &[u8]| {
            let part = spec.field(name)?;
            part.field("type")?.bytes().filter(|known| *known == kind)?;
            part.field("spec")
        };
        let size = |number: &Reply| usize::try_from(number.integer()?).ok();
        if has_flag(spec, "incomplete") {
            return None;
        }
        let begin = size(part("begin_search", b"index")?.field("index")?)?;
        let reads = has_flag(spec, "access");
        let writes = ["insert", "update", "delete"].iter().any(|flag| has_flag(spec, flag));
        if let Some(range) = part("find_keys", b"range") {
            let (last, limit) = (range.field("lastkey")?.integer()?, range.field("limit")?.integer()?);
            let step = size(range.field("keystep")?)?.max(1);
            return Some(Self { begin, extent: Extent::To { last, limit }, step, reads, writes });
        }
        let counted = part("find_keys", b"keynum")?;
        let (count_at, first) = (size(counted.field("keynumidx")?)?, size(counted.field("firstkey")?)?);
        let step = size(counted.field("keystep")?)?.max(1);
        Some(Self { begin, extent: Extent::Counted { count_at, first }, step, reads, writes })
    }

    /// Lists the positions of the keys in a command of these arguments, its name included. There are none where the
    /// arguments are too few or make no sense: the server that runs the command tells its caller so.
    fn positions(self, args: &[&[u8]]) -> impl Iterator<Item = usize> {
        let count = args.len() as i64;
        let begin = self.begin as i64;
        let (first, last) = match self.extent {
            Extent::To { last, .. } if last >= 0 => (begin, begin + last),
            Extent::To { last, limit: 0 } => (begin, count + last),
            Extent::To { last, limit } => (begin, begin + (count - begin) / limit + last),
            Extent::Counted { count_at, first } => {
                let keys = args.get(self.begin + count_at).and_then(|text| std::str::from_utf8(text).ok());
                let keys = keys.and_then(|text| text.parse::<i64>().ok()).filter(|keys| (0..=count).contains(keys));
                let first = begin + first as i64;
                (first, first + (keys.unwrap_or(0) - 1) * self.step as i64)
            }
        };
        let fits = first < count && last < count && first <= last;
        let end = if fits { last + 1 } else { first };
        (first as usize..end as usize).step_by(self.step)
    }
}

impl Description {
    /// Returns the position of the only key, if the command always has one key in the same place, as most commands do.
    pub(crate) fn only_key_at(&self) -> Option<usize> {
        match self.places.as_deref()? {
            [KeyPlace { begin, extent: Extent::To { last: 0, .. }, .. }] => Some(*begin),
            _ => None,
        }
    }

    /// Returns the positions of all keys in a command of these arguments, its name included; `None` if only the server can
    /// tell. An argument that has a slot stands in for a key where there is none.
    pub(crate) fn keys_by_specs(&self, args: &[&[u8]]) -> Option<Vec<usize>> {
        let keys = match &self.places {
            Some(places) => places.iter().flat_map(|place| place.positions(args)).collect(),
            None => self.key_uses(args)?.into_iter().map(|key| key.at).collect(),
        };
        Some(self.in_order(keys, args.len()))
    }

    /// Returns where keys stand in a command of these arguments, its name included, and what is done to each; `None` if
    /// only the server can tell.
    pub(crate) fn key_uses(&self, args: &[&[u8]]) -> Option<Vec<KeyUse>> {
        let Some(places) = &self.places else {
            let find = finders::of(&self.name).filter(|_| !self.has_flag("module"))?;
            return Some(find(args));
        };
        let uses = |place: &KeyPlace| {
            let KeyPlace { reads, writes, .. } = *place;
            place.positions(args).map(move |at| KeyUse { at, reads, writes })
        };
        Some(places.iter().flat_map(uses).collect())
    }

    /// Tells whether a command of this kind may have more than one key.
    #[cfg_attr(not(feature = "module"), allow(dead_code, reason = "only a server runs commands in process"))]
    pub(crate) fn may_have_several_keys(&self) -> bool {
        self.only_key_at().is_none() && self.places.as_ref().is_none_or(|places| !places.is_empty())
    }

    /// Returns the positions of all keys, and asks the server for them only where its specifications do not say it all.
    pub(crate) fn keys(&self, args: &[&[u8]], ask: impl FnOnce() -> Vec<usize>) -> Vec<usize> {
        self.keys_by_specs(args).unwrap_or_else(|| self.in_order(ask(), args.len()))
    }

    fn in_order(&self, mut keys: Vec<usize>, count: usize) -> Vec<usize> {
        keys.sort_unstable();
        keys.dedup();
        keys.extend(self.channel.filter(|&at| keys.is_empty() && at < count));
        keys
    }

    /// Returns the description of a command with these arguments, those behind the name: of its subcommand, where it has
    /// such. `None` if there is no such subcommand.
    pub(crate) fn of_call<'a>(self: Arc<Self>, mut args: impl Iterator<Item = &'a [u8]>) -> Option<Arc<Self>> {
        match args.next() {
            Some(subcommand) if !self.subcommands.is_empty() => self.subcommand(subcommand).cloned(),
            _ => Some(self),
        }
    }

    /// Reads one row of `COMMAND INFO`; `None` for the null that stands for an unknown command.
    pub(crate) fn parse(row: &Reply) -> Option<Self> {
        let row = row.elements()?;
        let texts = |index: usize| -> Vec<String> {
            row.get(index).and_then(Reply::elements).unwrap_or_default().iter().filter_map(text).collect()
        };
        let nested = |index: usize| row.get(index).and_then(Reply::elements).unwrap_or_default();
        let specs = || nested(8).iter().filter(|spec| !has_flag(spec, "not_key"));
        let flags = texts(2);
        // Modules may find their keys by code of their own, whatever their specifications say.
        let only_server_knows =
            flags.iter().any(|flag| flag == "movablekeys") && flags.iter().any(|flag| flag == "module");
        let places = if only_server_knows { None } else { specs().map(KeyPlace::parse).collect() };
        Some(Self {
            name: text(row.first()?)?.to_ascii_lowercase(),
            arity: row.get(1)?.integer()?,
            flags,
            categories: texts(6),
            tips: texts(7),
            keys: specs().map(KeySpec::parse).collect(),
            places,
            subcommands: nested(9).iter().filter_map(Self::parse).map(Arc::new).collect(),
            channel: nested(8).iter().find(|spec| has_flag(spec, "not_key")).and_then(first_key),
        })
    }

    /// Tells whether the command carries this flag.
    pub(crate) fn has_flag(&self, flag: &str) -> bool {
        self.flags.iter().any(|known| known == flag)
    }

    /// Returns the value of a tip: `all_shards` for `request_policy`.
    pub(crate) fn tip(&self, name: &str) -> Option<&str> {
        self.tips.iter().find_map(|tip| tip.strip_prefix(name)?.strip_prefix(':'))
    }

    /// Finds the subcommand of this name, in any case.
    pub(crate) fn subcommand(&self, name: &[u8]) -> Option<&Arc<Self>> {
        self.subcommands.iter().find(|known| {
            let own = known.name.rsplit('|').next().unwrap_or_default();
            name.eq_ignore_ascii_case(own.as_bytes())
        })
    }

    /// Tells whether the command may be called with `count` words, its name included.
    pub(crate) fn takes(&self, count: usize) -> bool {
        fits_arity(self.arity, count)
    }
}

/// Tells whether so many arguments, the name included, fit an arity: the exact number, or negative the least.
pub(crate) fn fits_arity(arity: i64, count: usize) -> bool {
    let count = count as i64;
    if arity >= 0 { count == arity } else { count >= -arity }
}

/// Returns the question where the keys of a command stand, for servers whose descriptions do not say it.
pub(crate) fn getkeys(command: &Command) -> Command {
    command.words().fold(Command::new("COMMAND").arg("GETKEYS"), Command::arg).read_only(true)
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
    fn keys_are_found_by_position_and_by_count() {
        let positions = |kind: &str, numbers: &[(&str, i64)], line: &str| -> Vec<usize> {
            let place = KeyPlace::parse(&spec(kind, numbers)).unwrap();
            let args: Vec<&[u8]> = line.split(' ').map(str::as_bytes).collect();
            place.positions(&args).collect()
        };
        let range = |last, step, limit| [("lastkey", last), ("keystep", step), ("limit", limit)];
        assert_eq!(positions("range", &range(0, 1, 0), "GET k"), [1]);
        assert_eq!(positions("range", &range(0, 1, 0), "GET"), [0; 0]);
        assert_eq!(positions("range", &range(-2, 1, 0), "BLPOP foo 0"), [1]);
        assert_eq!(positions("range", &range(-2, 1, 0), "BRPOP a b 0"), [1, 2]);
        assert_eq!(positions("range", &range(-1, 2, 0), "MSET a 1 b 2"), [1, 3]);
        assert_eq!(positions("range", &range(1, 1, 0), "LMOVE a b LEFT LEFT"), [1, 2]);
        assert_eq!(positions("range", &range(-1, 1, 2), "X s1 s2 0 0"), [1, 2]);
        let counted = [("keynumidx", 0), ("firstkey", 1), ("keystep", 1)];
        assert_eq!(positions("keynum", &counted, "ZUNION 2 a b WITHSCORES"), [2, 3]);
        for odd in ["ZUNION 0", "ZUNION 3 a", "ZUNION x a", "ZUNION", "ZUNION -1 a", "ZUNION 99999999999 a"] {
            assert_eq!(positions("keynum", &counted, odd), [0; 0], "{odd}");
        }
        assert_eq!(KeyPlace::parse(&spec("unknown", &[])), None);
    }

    #[test]
    fn key_specs_are_read_in_maps_and_flat_arrays() {
        let parsed = KeySpec::parse(&spec("keynum", &[("keynumidx", 0), ("firstkey", 1), ("keystep", 2)]));
        assert_eq!(parsed.find, Find::KeyNum { back: 1, step: 2 });
        assert!(KeySpec::parse(&spec("unknown", &[])).is_uncertain);
    }
}
