//! [`Builtin`]: the reducers that have a name, and what each of them makes of replies.

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use super::distinct::Distinct;
use super::elements::Elements;
use super::groups::Groups;
use super::limit::too_big;
use super::order::compare;
use super::ranking::{Ranking, Wanted};
use super::summary::Summary;
use super::total::Total;
use crate::combine::{Combine, Origin};
use crate::engine::{Replies, ShardReply};
use crate::error::Error;
use crate::number::Number;
use crate::reply::Reply;

/// A reducer that is known by a name.
///
/// ```
/// use rmr::reduce::Builtin;
///
/// assert_eq!(Builtin::named(b"avg"), Some(Builtin::Avg));
/// assert_eq!(Builtin::named(b"median"), None);
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Builtin {
    /// Gathers all replies, in order.
    List,
    /// The sum of numbers. Nulls add nothing.
    Sum,
    /// The mean of numbers, a double. Nulls do not count; null if there is no number.
    Avg,
    /// The smallest number; null if there is none.
    Min,
    /// The largest number; null if there is none.
    Max,
    /// Counts the replies that are not null.
    Count,
    /// The elements of all arrays and sets, in order. Nulls have none.
    Concat,
    /// The elements of all arrays and sets, each once, in the order in which they were first seen; a set.
    Union,
    /// The keys with so many greatest numbers, each with its number, greatest first; of equal numbers by the keys' bytes.
    /// Nulls do not count.
    Top(u32),
    /// Keeps the least numbers in the same way, least first.
    Bottom(u32),
    /// Counts how often each reply occurs: a map of reply to count, in order: numbers, then strings. For replies that
    /// are single values. Nulls do not count.
    Group,
    /// Keeps this many of the replies that occur most often, each with its count, most frequent first, then in the
    /// order of `Group`. The result is exact. Takes any replies.
    TopGroups(u32),
    /// Count, sum, least, greatest, mean, standard deviation and percentiles of numbers; a map. Nulls do not count.
    Stats,
    /// Counts the different replies. The result is a map that says how they were counted. Nulls do not count.
    Distinct,
}

impl Builtin {
    /// The most keys or groups that a reducer can be asked for.
    #[cfg_attr(not(feature = "module"), allow(dead_code, reason = "only the commands of a server take a number"))]
    pub(crate) const MOST_WANTED: u32 = 1_000_000;

    /// Lists all of them, in the order in which messages name them; those that take a number have 10.
    pub const ALL: [Self; 14] = [
        Self::List,
        Self::Sum,
        Self::Avg,
        Self::Min,
        Self::Max,
        Self::Count,
        Self::Concat,
        Self::Union,
        Self::Top(10),
        Self::Bottom(10),
        Self::Group,
        Self::TopGroups(10),
        Self::Stats,
        Self::Distinct,
    ];

    /// Finds the reducer of this name, in any case; one that takes a number has 10.
    pub fn named(name: &[u8]) -> Option<Self> {
        Self::ALL.into_iter().find(|&reducer| name.eq_ignore_ascii_case(reducer.name().as_bytes()))
    }

    /// Returns the name, in capitals.
    pub const fn name(self) -> &'static str {
        match self {
            Self::List => "LIST",
            Self::Sum => "SUM",
            Self::Avg => "AVG",
            Self::Min => "MIN",
            Self::Max => "MAX",
            Self::Count => "COUNT",
            Self::Concat => "CONCAT",
            Self::Union => "UNION",
            Self::Top(_) => "TOP",
            Self::Bottom(_) => "BOTTOM",
            Self::Group => "GROUP",
            Self::TopGroups(_) => "TOPGROUPS",
            Self::Stats => "STATS",
            Self::Distinct => "DISTINCT",
        }
    }

    /// Returns how many keys or groups the answer has at most, if that is for the caller to say.
    pub const fn most(self) -> Option<u32> {
        match self {
            Self::Top(most) | Self::Bottom(most) | Self::TopGroups(most) => Some(most),
            _ => None,
        }
    }

    /// Returns the same reducer for this many keys or groups, where that is for the caller to say.
    #[must_use]
    pub const fn with_most(self, most: u32) -> Self {
        match self {
            Self::Top(_) => Self::Top(most),
            Self::Bottom(_) => Self::Bottom(most),
            Self::TopGroups(_) => Self::TopGroups(most),
            other => other,
        }
    }

    /// Tells whether nodes may reduce their own shares: all but `LIST`, which keeps every reply.
    pub fn can_be_split(self) -> bool {
        self != Self::List
    }

    /// Reduces the replies that arrived. Failures are for the caller to report; `LIST` keeps them in their places,
    /// and slots without an owner behind them. The key of a reply is its node's address, as in a fan-out.
    ///
    /// # Errors
    /// [`Error::Mixed`] for a reply of a type that this reducer cannot take; an error for what comes to too much.
    pub fn reduce(self, replies: Replies) -> Result<Reply, Error> {
        if self == Self::List {
            let missed = replies.missed_slots().into_iter().map(|(_, error)| Reply::Error(error.to_line().into()));
            return Ok(Reply::Array(replies.into_iter().map(in_place).chain(missed).collect()));
        }
        let mut partial = BuiltinPartial::default();
        for (place, ShardReply { node, result }) in replies.into_iter().enumerate() {
            if let Ok(reply) = result {
                let name = if self.needs_keys() { node.name() } else { String::new() };
                let taken = self.take(&mut partial, Origin::new(place as u32, name.as_bytes()), reply);
                taken.map_err(|found| Error::Mixed { reducer: self.name(), found, node: node.to_string() })?;
            }
        }
        self.finish(partial)
    }
}

/// Holds what replies have come to so far. Each reducer uses the fields that it needs.
#[derive(Default, Serialize, Deserialize)]
pub struct BuiltinPartial {
    total: Total,
    count: u64,
    best: Option<Best>,
    elements: Elements,
    ranking: Option<Box<Ranking>>,
    groups: Option<Box<Groups>>,
    summary: Option<Box<Summary>>,
    distinct: Option<Box<Distinct>>,
}

/// Holds the best number so far. Of equal ones the first counts, which may be an integer or a double.
#[derive(Clone, Copy, Serialize, Deserialize)]
struct Best {
    number: Number,
    place: u32,
}

impl Combine for Builtin {
    type Partial = BuiltinPartial;
    type Output = Reply;

    fn name(&self) -> &'static str {
        (*self).name()
    }

    fn arguments(&self) -> Vec<u8> {
        self.most().map(|most| most.to_string().into_bytes()).unwrap_or_default()
    }

    fn with_arguments(&self, arguments: &[u8]) -> Option<Self> {
        let most = std::str::from_utf8(arguments).ok()?.parse().ok()?;
        self.most().map(|_| self.with_most(most))
    }

    fn needs_places(&self) -> bool {
        matches!(self, Self::List | Self::Min | Self::Max | Self::Concat | Self::Union)
    }

    fn memory(&self, partial: &BuiltinPartial) -> usize {
        size_of::<BuiltinPartial>() + partial.bytes()
    }

    fn needs_keys(&self) -> bool {
        matches!(self, Self::Top(_) | Self::Bottom(_))
    }

    fn take(&self, partial: &mut BuiltinPartial, origin: Origin<'_>, reply: Reply) -> Result<(), String> {
        if reply.is_null() {
            return Ok(());
        }
        match self {
            Self::Sum | Self::Avg | Self::Min | Self::Max | Self::Top(_) | Self::Bottom(_) | Self::Stats => {
                let number = reply.number().ok_or_else(|| reply.describe())?;
                self.take_number(partial, origin, number);
            }
            Self::Count => partial.count += 1,
            Self::List => partial.elements.add_all(origin.place, vec![reply]),
            Self::Concat | Self::Union => match reply {
                Reply::Array(elements) | Reply::Set(elements) => match self {
                    Self::Union => partial.elements.add_new(origin.place, elements),
                    _ => partial.elements.add_all(origin.place, elements),
                },
                other => return Err(other.describe()),
            },
            // To most clients an array is no key of a map.
            Self::Group if reply.is_aggregate() => return Err(format!("{} (TOPGROUPS can)", reply.describe())),
            Self::Group | Self::TopGroups(_) => partial.groups.get_or_insert_default().add(reply),
            Self::Distinct => partial.distinct.get_or_insert_default().add(reply),
        }
        Ok(())
    }

    fn take_bulk(&self, partial: &mut BuiltinPartial, origin: Origin<'_>, bytes: &[u8]) -> Result<(), String> {
        match self {
            Self::Count => partial.count += 1,
            Self::Group | Self::TopGroups(_) => partial.groups.get_or_insert_default().add_text(bytes),
            Self::Distinct => partial.distinct.get_or_insert_default().add_text(bytes),
            Self::List | Self::Concat | Self::Union => {
                return self.take(partial, origin, Reply::Bulk(Bytes::copy_from_slice(bytes)));
            }
            _ => match Number::parse(bytes) {
                Some(number) => self.take_number(partial, origin, number),
                None => return Err(Reply::Bulk(Bytes::copy_from_slice(bytes)).describe()),
            },
        }
        Ok(())
    }

    fn combine(&self, partial: &mut BuiltinPartial, other: BuiltinPartial) {
        partial.total.add_total(&other.total);
        partial.count = partial.count.saturating_add(other.count);
        if let Some(best) = other.best {
            self.keep_best(&mut partial.best, best);
        }
        match self {
            Self::Union => partial.elements.merge(other.elements),
            _ => partial.elements.append(other.elements),
        }
        if let (Some(wanted), Some(other)) = (self.wanted(), other.ranking) {
            partial.ranking.get_or_insert_default().merge(wanted, *other);
        }
        if let Some(other) = other.groups {
            partial.groups.get_or_insert_default().merge(*other);
        }
        if let Some(other) = other.summary {
            partial.summary.get_or_insert_default().merge(*other);
        }
        if let Some(other) = other.distinct {
            partial.distinct.get_or_insert_default().merge(*other);
        }
    }

    fn finish(&self, partial: BuiltinPartial) -> Result<Reply, Error> {
        Ok(match self {
            Self::Sum => partial.total.finish()?.into(),
            Self::Avg if partial.count == 0 => Reply::Null,
            Self::Avg => Reply::Double(partial.total.mean(partial.count)),
            Self::Min | Self::Max => partial.best.map(|best| best.number).into(),
            Self::Count => integer(partial.count),
            Self::List | Self::Concat => Reply::Array(partial.elements.finish()),
            Self::Union => Reply::Set(partial.elements.finish()),
            Self::Top(_) | Self::Bottom(_) => {
                let ranking = partial.ranking.unwrap_or_default();
                let wanted = self.wanted().filter(|_| !ranking.is_over).ok_or_else(|| too_big(self.name()))?;
                let pair = |(key, number): (Vec<u8>, Number)| Reply::Array(vec![key.into(), number.into()]);
                Reply::Array(ranking.finish(wanted).into_iter().map(pair).collect())
            }
            Self::Group | Self::TopGroups(_) => {
                let groups = partial.groups.unwrap_or_default();
                if groups.is_over {
                    return Err(too_big(self.name()));
                }
                let groups = groups.finish();
                match self.most() {
                    None => Reply::Map(groups.into_iter().map(|(reply, times)| (reply, integer(times))).collect()),
                    Some(most) => Reply::Array(most_frequent(groups, most)),
                }
            }
            Self::Stats => partial.summary.unwrap_or_default().finish(),
            Self::Distinct => partial.distinct.unwrap_or_default().finish(),
        })
    }
}

/// Returns so many groups that occur most often, of equal ones those that come first.
fn most_frequent(mut groups: Vec<(Reply, u64)>, most: u32) -> Vec<Reply> {
    groups.sort_by_key(|&(_, times)| std::cmp::Reverse(times));
    groups.truncate(most as usize);
    groups.into_iter().map(|(reply, times)| Reply::Array(vec![reply, integer(times)])).collect()
}

fn integer(count: u64) -> Reply {
    Reply::Integer(i64::try_from(count).unwrap_or(i64::MAX))
}

impl Builtin {
    fn take_number(self, partial: &mut BuiltinPartial, origin: Origin<'_>, number: Number) {
        match self {
            Self::Min | Self::Max => self.keep_best(&mut partial.best, Best { number, place: origin.place }),
            Self::Stats => partial.summary.get_or_insert_default().add(number),
            Self::Top(_) | Self::Bottom(_) => {
                if let Some(wanted) = self.wanted() {
                    partial.ranking.get_or_insert_default().add(wanted, number, origin.key);
                }
            }
            _ => {
                partial.total.add(number);
                partial.count += 1;
            }
        }
    }

    /// Returns which keys are wanted, where some are.
    const fn wanted(self) -> Option<Wanted> {
        match self {
            Self::Top(most) => Some(Wanted { greatest: true, most: most as usize }),
            Self::Bottom(most) => Some(Wanted { greatest: false, most: most as usize }),
            _ => None,
        }
    }

    fn keep_best(self, best: &mut Option<Best>, new: Best) {
        let is_better = |known: &Best| {
            let order = compare(new.number, known.number);
            let order = if self == Self::Max { order.reverse() } else { order };
            order.then(new.place.cmp(&known.place)).is_lt()
        };
        if best.as_ref().is_none_or(is_better) {
            *best = Some(new);
        }
    }
}

impl BuiltinPartial {
    /// Returns the memory that it takes, in bytes, more or less.
    pub(super) fn bytes(&self) -> usize {
        self.elements.bytes()
            + self.ranking.as_ref().map_or(0, |ranking| ranking.bytes())
            + self.groups.as_ref().map_or(0, |groups| groups.bytes())
            + self.summary.as_ref().map_or(0, |summary| size_of::<Summary>() + summary.bytes())
            + self.distinct.as_ref().map_or(0, |distinct| distinct.bytes())
    }
}

/// Returns the reply, or the error as an error reply in its place.
pub(crate) fn in_place(entry: ShardReply) -> Reply {
    entry.result.unwrap_or_else(|error| Reply::Error(error.to_line().into()))
}

#[cfg(test)]
mod tests;
