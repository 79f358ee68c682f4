//! Moves that operators look at and ask for: [`Store::plan_of_moves`], [`Store::rebalance`], [`Store::move_slot`].

use std::collections::{BTreeMap, HashMap, HashSet};

use super::plan::{WantedMoves, is_even, wanted, wanted_for_even_shares};
use super::record::{CopyMove, NOBODY, Phase};
use super::scripts::{MOVE, MOVES, REBALANCE};
use crate::error::Error;
use crate::placement::store::Store;
use crate::placement::store::scripts::TABLE;
use crate::placement::store::table::{REMOVED, StoredTable, state_of};

/// The number of times that a change is tried while others change something, too.
const TRIES: usize = 5;

/// The moves that are under way, and those that would be planned.
#[derive(Debug, Default)]
pub(in crate::placement::store) struct MovePlan {
    /// No slot moves until somebody says so.
    pub(in crate::placement::store) is_paused: bool,
    /// Nodes get equal shares without being asked.
    pub(in crate::placement::store) is_even: bool,
    /// The number of slots that would get another first copy.
    pub(in crate::placement::store) firsts: usize,
    pub(in crate::placement::store) moves: Vec<AlikeMoves>,
}

/// Moves that have all but their slots in common.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord, Clone)]
pub(in crate::placement::store) struct MoveKind {
    /// The word of its phase; `wanted` for a move that is not planned yet, `by rebalance` for one that nobody plans unasked.
    pub(in crate::placement::store) state: &'static str,
    /// `None` if the slots get one copy more.
    pub(in crate::placement::store) from: Option<String>,
    /// `None` if the slots get one copy less.
    pub(in crate::placement::store) to: Option<String>,
    pub(in crate::placement::store) why: &'static str,
}

/// A kind of moves, and the slots.
pub(in crate::placement::store) type AlikeMoves = (MoveKind, Vec<u16>);

impl Store {
    /// Returns the moves that are under way, and those that would be planned. Changes nothing.
    ///
    /// # Errors
    /// If the configuration node does not answer.
    pub(in crate::placement::store) async fn plan_of_moves(&self) -> Result<MovePlan, Error> {
        let stored: StoredTable = self.shared.tables.run(&TABLE, &[]).await?;
        let (records, is_paused): (HashMap<String, String>, i64) = self.shared.tables.run(&MOVES, &[]).await?;
        Ok(MovePlan { is_paused: is_paused == 1, ..plan_of(&stored, &CopyMove::read_all(&records)) })
    }

    /// Has slots move until all nodes have equal shares of the copies, and of the first copies: the fewest that do, and no more
    /// than `most`. Returns the number of them.
    ///
    /// # Errors
    /// [`Error::Refused`] while slots move; if the configuration node does not answer.
    pub(in crate::placement::store) async fn rebalance(&self, most: Option<usize>) -> Result<usize, Error> {
        for _ in 0..TRIES {
            let stored: StoredTable = self.shared.tables.run(&TABLE, &[]).await?;
            let WantedMoves { mut moves, firsts, .. } = wanted_for_even_shares(&stored);
            moves.truncate(most.unwrap_or(usize::MAX));
            let mut arguments = vec![stored.0.to_string(), firsts.len().to_string()];
            arguments.extend(firsts.into_iter().flat_map(|(slot, node)| [slot.to_string(), node]));
            let count = moves.len();
            arguments.extend(moves.into_iter().flat_map(|(slot, from, to)| [slot.to_string(), from, to]));
            let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
            match self.shared.tables.run::<String>(&REBALANCE, &arguments).await?.as_str() {
                "" => return Ok(count),
                "stale" => {}
                why => return Err(Error::Refused(format!("REBALANCE: {why}"))),
            }
        }
        Err(Error::Refused("REBALANCE: others have changed something at the same moment, again and again".into()))
    }

    /// Has a copy of a slot move from one node to another.
    ///
    /// # Errors
    /// [`Error::Refused`] with the reason; if the configuration node does not answer.
    pub(in crate::placement::store) async fn move_slot(&self, slot: u16, from: &str, to: &str) -> Result<(), Error> {
        let number = slot.to_string();
        let why: String = self.shared.tables.run(&MOVE, &[&number, from, to]).await?;
        if why.is_empty() { Ok(()) } else { Err(Error::Refused(format!("MOVE {slot}: {why}"))) }
    }
}

/// Returns the moves that are under way, and those that are wanted besides.
fn plan_of(stored: &StoredTable, under_way: &[CopyMove]) -> MovePlan {
    let is_even = is_even(&stored.1);
    let is_leaving = |node: &str| {
        let state = stored.3.get(node).and_then(|entry| state_of(entry));
        matches!(state, Some("leaving" | REMOVED))
    };
    let why = |from: &str, to: &str, otherwise| match (from, to) {
        (NOBODY, _) => "a copy is missing",
        (_, NOBODY) => "there is a copy too many",
        (from, _) if is_leaving(from) => "the node leaves",
        _ => otherwise,
    };
    let mut kinds: BTreeMap<MoveKind, Vec<u16>> = BTreeMap::new();
    let mut add = |slot: u16, state, from: &str, to: &str, why| {
        let node = |name: &str| (name != NOBODY).then(|| name.to_owned());
        kinds.entry(MoveKind { state, from: node(from), to: node(to), why }).or_default().push(slot);
    };
    for one in under_way {
        let state = match one.phase {
            Phase::Planned => "planned",
            Phase::Copying => "copying",
            Phase::Flipped => "flipped",
            Phase::Cancelled => "cancelled",
        };
        let (from, to) = (CopyMove::word(&one.from), CopyMove::word(&one.to));
        add(one.slot, state, from, to, why(from, to, if is_even { "even shares" } else { "by hand" }));
    }
    let mut known: HashSet<u16> = under_way.iter().map(|one| one.slot).collect();
    let evening = wanted_for_even_shares(stored);
    for (state, wanted) in [("wanted", wanted(stored).moves), ("by rebalance", evening.moves)] {
        for (slot, from, to) in wanted {
            if known.insert(slot) {
                add(slot, state, &from, &to, why(&from, &to, "even shares"));
            }
        }
    }
    MovePlan { is_paused: false, is_even, firsts: evening.firsts.len(), moves: kinds.into_iter().collect() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_plan_says_what_moves_and_why() {
        let map = |pairs: &[(&str, &str)]| -> HashMap<String, String> {
            pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
        };
        let lists = ["a", "a", "a", "b", "b", "b"].map(|node| vec![node.to_owned()]).to_vec();
        let mut stored: StoredTable = (
            7,
            map(&[("copies", "1")]),
            lists,
            map(&[("a", "id 1 - in 1"), ("b", "id 1 - leaving 1"), ("c", "id 1 - in 1")]),
            HashMap::new(),
        );
        let under_way = CopyMove::read_all(&map(&[("3", "b c copying 7")]));
        let shown = |plan: MovePlan| -> Vec<(&'static str, &'static str, usize)> {
            plan.moves.iter().map(|(kind, slots)| (kind.state, kind.why, slots.len())).collect()
        };
        let plan = plan_of(&stored, &under_way);
        assert!(plan.is_even && plan.firsts == 0);
        assert_eq!(shown(plan), [("copying", "the node leaves", 1), ("wanted", "the node leaves", 2)]);
        stored.1.insert("balance".into(), "by-hand".into());
        stored.3.insert("b".into(), "id 1 - in 1".into());
        let plan = plan_of(&stored, &CopyMove::read_all(&map(&[("0", "a b planned 7")])));
        assert!(!plan.is_even);
        let kinds: HashSet<_> = shown(plan).into_iter().map(|(state, why, _)| (state, why)).collect();
        assert_eq!(kinds, HashSet::from([("by rebalance", "even shares"), ("planned", "by hand")]));
    }
}
