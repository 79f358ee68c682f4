//! [`Planner`]: which copies have to go where, from what the configuration node says.

use std::collections::HashMap;
use std::time::Instant;

use super::record::NOBODY;
use super::scripts::{GONE, IMPOSSIBLE, PLAN};
use crate::error::Error;
use crate::placement::balance::{Candidate, even};
use crate::placement::store::scripts::TABLE;
use crate::placement::store::settings::StoreSettings;
use crate::placement::store::table::{REMOVED, SlotTable, StoredTable, state_of};
use crate::placement::store::tables::Tables;

/// Plans moves. Any number of planners may do so at once: a plan counts only if nothing has changed meanwhile.
#[derive(Default)]
pub(in crate::placement::store) struct Planner {
    /// The epoch at which there was nothing to do.
    idle_at: Option<u64>,
    /// The epoch at which each move could be made.
    possible_at: Option<u64>,
    /// Since when slots are short of copies.
    short_since: Option<Instant>,
}

/// The moves that are to be made.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct WantedMoves {
    /// Slot, who loses it, who gets it.
    pub(super) moves: Vec<(u16, String, String)>,
    /// Slots whose copies stay where they are, and of which another should be the first one, with its node.
    pub(super) firsts: Vec<(u16, String)>,
    /// Slots are to get a copy for one that a lost node had.
    replaces: bool,
    /// Nodes that were to leave and hold nothing any more.
    left: Vec<String>,
}

impl Planner {
    /// Writes moves down if there are any to be made. Returns whether there was something to do.
    pub(in crate::placement::store) async fn step(&mut self, tables: &Tables) -> Result<bool, Error> {
        let Some(table) = tables.current() else { return Ok(false) };
        if table.settings.is_moving {
            return self.give_up_impossible(tables, &table).await;
        }
        if Some(table.epoch) == self.idle_at {
            return Ok(false);
        }
        let stored: StoredTable = tables.run(&TABLE, &[]).await?;
        let epoch = stored.0.to_string();
        let wanted = wanted(&stored);
        if !wanted.left.is_empty() {
            let arguments: Vec<&str> = std::iter::once(&epoch).chain(&wanted.left).map(String::as_str).collect();
            return Ok(tables.run::<i64>(&GONE, &arguments).await? > 0);
        }
        if wanted.replaces {
            let since = *self.short_since.get_or_insert_with(Instant::now);
            if since.elapsed() < StoreSettings::read(&stored.1)?.grace {
                return Ok(false);
            }
        } else {
            self.short_since = None;
        }
        if !wanted.moves.is_empty() {
            let words = wanted.moves.iter().map(|(slot, from, to)| [slot.to_string(), from.clone(), to.clone()]);
            let arguments: Vec<String> = std::iter::once(epoch).chain(words.flatten()).collect();
            let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
            let is_planned = tables.run::<i64>(&PLAN, &arguments).await? == 1;
            if is_planned {
                log::info!("{} copies of slots are to move", wanted.moves.len());
            }
            return Ok(is_planned);
        }
        self.idle_at = Some(stored.0);
        Ok(false)
    }

    /// Gives up moves that cannot be made any more since something has changed: no others are planned as long as they stand.
    async fn give_up_impossible(&mut self, tables: &Tables, table: &SlotTable) -> Result<bool, Error> {
        if Some(table.epoch) == self.possible_at {
            return Ok(false);
        }
        let count: i64 = tables.run(&IMPOSSIBLE, &[]).await?;
        if count > 0 {
            log::info!("{count} moves cannot be made any more, and are given up");
        }
        self.possible_at = Some(table.epoch);
        Ok(count > 0)
    }
}

/// Returns whether nodes are to have equal shares without being asked, by the settings.
pub(super) fn is_even(settings: &HashMap<String, String>) -> bool {
    settings.get("balance").is_none_or(|balance| balance != "by-hand")
}

/// Compares who holds which slot with who ought to. With the setting `balance` `by-hand` slots stay whose copies are complete, on
/// nodes that stay.
pub(super) fn wanted(stored: &StoredTable) -> WantedMoves {
    let (_, settings, lists, nodes, _) = stored;
    let mut wanted = wanted_for_even_shares(stored);
    if !is_even(settings) {
        let copies = wanted_copies(settings);
        let is_in = |node: &String| nodes.get(node).and_then(|entry| state_of(entry)) == Some("in");
        let is_complete = |slot: u16| {
            let list = &lists[usize::from(slot)];
            list.len() == copies && list.iter().all(is_in)
        };
        wanted.moves.retain(|(slot, ..)| !is_complete(*slot));
    }
    wanted
}

fn wanted_copies(settings: &HashMap<String, String>) -> usize {
    settings.get("copies").and_then(|copies| copies.parse().ok()).unwrap_or(1)
}

/// Compares who holds which slot with who ought to, so that all nodes have equal shares.
pub(super) fn wanted_for_even_shares((_, settings, lists, nodes, _): &StoredTable) -> WantedMoves {
    if lists.iter().all(Vec::is_empty) {
        return WantedMoves::default();
    }
    let state: HashMap<&str, &str> =
        nodes.iter().filter_map(|(node, entry)| Some((node.as_str(), state_of(entry)?))).collect();
    let state = &state;
    let in_state =
        |wanted: &'static str| nodes.iter().filter(move |(node, _)| state.get(node.as_str()) == Some(&wanted));
    let candidate = |(node, entry): (&String, &String)| {
        let words: Vec<&str> = entry.split(' ').collect();
        let candidate = Candidate::new(node).weight(words.get(1).and_then(|weight| weight.parse().ok()).unwrap_or(1));
        match words.get(2) {
            Some(&zone) if zone != NOBODY => candidate.zone(zone),
            _ => candidate,
        }
    };
    let copies = wanted_copies(settings);
    let plan = even(copies, in_state("in").map(candidate), lists);
    let (mut moves, mut firsts) = (Vec::new(), Vec::new());
    for (slot, (now, planned)) in lists.iter().zip(&plan).enumerate() {
        let loses = now.iter().find(|node| !planned.contains(node));
        let gets = planned.iter().find(|node| !now.contains(node));
        // A slot that nobody holds has nothing to be copied, and the last copy stays.
        if let (None, None, Some(first)) = (loses, gets, planned.first().filter(|first| now.first() != Some(first))) {
            firsts.push((slot as u16, first.clone()));
        }
        if now.is_empty() || (loses.is_none() && gets.is_none()) || (gets.is_none() && now.len() < 2) {
            continue;
        }
        // A copy at a node that was lost to other slots is a good one.
        let is_out = |node: &String| state.get(node.as_str()) == Some(&"out");
        if gets.is_none() && now.len() <= copies && loses.is_some_and(is_out) {
            continue;
        }
        let word = |node: Option<&String>| node.map_or(NOBODY, String::as_str).to_owned();
        moves.push((slot as u16, word(loses), word(gets)));
    }
    let has_lost = in_state("out").next().is_some();
    let replaces = has_lost && moves.iter().any(|(_, from, _)| from == NOBODY);
    let holds = |node: &String| lists.iter().any(|list| list.contains(node));
    let is_to_drop = |node: &String| lists.iter().any(|list| list.len() > 1 && list.contains(node));
    if in_state(REMOVED).any(|(node, _)| is_to_drop(node)) {
        // Nothing is planned with copies that are about to be dropped.
        return WantedMoves::default();
    }
    let left = in_state("leaving").chain(in_state(REMOVED)).map(|(node, _)| node.clone());
    let left = left.filter(|node| !holds(node)).collect();
    WantedMoves { moves, firsts, replaces, left }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stored(copies: &str, lists: &[&str], nodes: &[(&str, &str)]) -> StoredTable {
        let settings = HashMap::from([("copies".to_owned(), copies.to_owned())]);
        let lists = lists.iter().map(|list| list.split_whitespace().map(str::to_owned).collect()).collect();
        let nodes = nodes.iter().map(|(node, state)| ((*node).to_owned(), format!("id 1 - {state} 1"))).collect();
        (7, settings, lists, nodes, HashMap::new())
    }

    /// Two copies of each slot on the same nodes, of which one has all the first ones.
    #[test]
    fn first_copies_are_spread_where_no_copy_has_to_move() {
        let found = wanted(&stored("2", &["a b", "a b", "a b", "a b"], &[("a", "in"), ("b", "in")]));
        assert_eq!((found.moves.len(), found.firsts.len()), (0, 2));
        assert!(found.firsts.iter().all(|(_, node)| node == "b"));
    }

    #[test]
    fn by_hand_only_what_has_to_move_does() {
        let nodes = [("a", "in"), ("b", "leaving"), ("c", "in"), ("d", "in")];
        let mut stored = stored("2", &["a c", "a c", "a c", "a b", "a"], &nodes);
        assert!(wanted(&stored).moves.len() > 2);
        stored.1.insert("balance".into(), "by-hand".into());
        let slots: Vec<u16> = wanted(&stored).moves.iter().map(|(slot, ..)| *slot).collect();
        assert_eq!(slots, [3, 4]);
    }

    /// B52: a third node gets 341 of 1024 slots, from both.
    #[test]
    fn a_third_node_gets_its_share_from_both() {
        let lists: Vec<&str> = (0..1024).map(|slot| if slot % 2 == 0 { "a" } else { "b" }).collect();
        let wanted = wanted(&stored("1", &lists, &[("a", "in"), ("b", "in"), ("c", "in")]));
        assert_eq!(wanted.moves.len(), 341);
        assert!(wanted.moves.iter().all(|(_, _, to)| to == "c") && !wanted.replaces);
        let from_a = wanted.moves.iter().filter(|(_, from, _)| from == "a").count();
        assert!((170..=171).contains(&from_a), "{from_a}");
    }

    #[test]
    fn one_copy_more_has_no_source_and_one_less_no_target() {
        let nodes = [("a", "in"), ("b", "in")];
        let more = wanted(&stored("2", &["a", "b", "a b"], &nodes));
        let words = |slot, from: &str, to: &str| (slot, from.to_owned(), to.to_owned());
        assert_eq!(more.moves, [words(0, "-", "b"), words(1, "-", "a")]);
        assert!(!more.replaces);
        let less = wanted(&stored("1", &["a b", "a b"], &nodes));
        assert!(less.moves.len() == 2 && less.moves.iter().all(|(_, from, to)| from != "-" && to == "-"));
        let replaced = wanted(&stored("2", &["a", "b"], &[("a", "in"), ("b", "in"), ("c", "out")]));
        assert!(replaced.replaces);
        assert_eq!(wanted(&stored("2", &["", ""], &nodes)), WantedMoves::default());
    }

    #[test]
    fn a_copy_at_a_node_that_is_out_stays_where_there_is_no_other_node_for_it() {
        let nodes = [("a", "in"), ("b", "out"), ("c", "out")];
        let words = |slot, from: &str, to: &str| (slot, from.to_owned(), to.to_owned());
        let found = wanted(&stored("2", &["a b", "b c", "a"], &nodes));
        assert_eq!(found.moves, [words(1, "b", "a")]);
        let less = wanted(&stored("1", &["a b"], &nodes));
        assert_eq!(less.moves, [words(0, "b", "-")]);
    }

    #[test]
    fn nothing_is_planned_until_the_copies_of_a_removed_node_are_dropped() {
        let nodes = [("a", "in"), ("b", "removed"), ("c", "in")];
        assert_eq!(wanted(&stored("2", &["a b", "a"], &nodes)), WantedMoves::default());
        let dropped = wanted(&stored("2", &["a", "a"], &nodes));
        assert_eq!(dropped.left, ["b"]);
        assert!(dropped.moves.len() == 2 && dropped.moves.iter().all(|(_, from, to)| from == "-" && to == "c"));
        assert!(!dropped.replaces, "nobody is waited for");
    }

    /// The other copies were lost meanwhile.
    #[test]
    fn the_only_copy_of_a_slot_leaves_a_removed_node_as_it_leaves_others() {
        let nodes = [("a", "in"), ("b", "removed"), ("c", "in")];
        let found = wanted(&stored("2", &["a c", "b"], &nodes));
        assert!(found.left.is_empty());
        assert_eq!(found.moves.len(), 1);
        assert_eq!((found.moves[0].0, &*found.moves[0].1), (1, "b"));
    }

    #[test]
    fn a_node_that_leaves_gives_all_it_has_and_is_gone_then() {
        let nodes = [("a", "in"), ("b", "leaving")];
        let drained = wanted(&stored("1", &["a", "b", "b"], &nodes));
        assert_eq!(drained.moves.iter().map(|(slot, ..)| *slot).collect::<Vec<_>>(), [1, 2]);
        assert!(drained.left.is_empty());
        assert_eq!(wanted(&stored("1", &["a", "a", "a"], &nodes)).left, ["b"]);
        assert_eq!(wanted(&stored("1", &["a", "b"], &[("b", "leaving")])).moves, []);
    }
}
