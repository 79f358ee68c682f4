//! [`RegistrationSet`]: all that one session has registered, which changes as a whole; and [`Registry`]: the sets of a node.
//!
//! A set has a version, and of two versions the larger one holds, on whatever node: so registries that have missed something
//! become one by taking each other's larger versions. A set without registrations says that the session has none any more.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::live::LiveRegistration;
use super::registration::{Registration, RegistrationMode};
use crate::module::gears::sessions::SessionFacts;

/// The number of sets without registrations that are remembered. A node that was away while more sessions have come and
/// gone brings back those that are remembered nowhere.
const MOST_EMPTY: usize = 1024;

/// Tells which of two versions of a set is the later one.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub(in crate::module::gears) struct SetVersion {
    /// Larger than that of any version that its maker knew.
    pub(in crate::module::gears) number: u64,
    /// The node that has made it.
    pub(in crate::module::gears) node: String,
}

/// The registrations of one session.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(in crate::module::gears) struct RegistrationSet {
    /// The session's name between nodes.
    pub(in crate::module::gears) session: String,
    /// The id by which clients know the session.
    pub(in crate::module::gears) session_id: String,
    pub(in crate::module::gears) session_description: Option<String>,
    pub(in crate::module::gears) requirements: Vec<String>,
    /// The number of its first version: sets come to life in the order of these.
    pub(in crate::module::gears) first: u64,
    pub(in crate::module::gears) version: SetVersion,
    /// The registrations in the order in which they were made.
    pub(in crate::module::gears) registrations: Vec<Arc<Registration>>,
}

impl RegistrationSet {
    /// Returns what is said of the session.
    pub(in crate::module::gears) fn session_facts(&self) -> SessionFacts {
        SessionFacts {
            id: self.session_id.clone(),
            name: self.session.clone(),
            description: self.session_description.clone(),
            requirements: self.requirements.clone(),
        }
    }

    /// Returns a later version of the set, with these registrations.
    pub(in crate::module::gears) fn with(&self, version: SetVersion, registrations: Vec<Arc<Registration>>) -> Self {
        Self { version, registrations, ..self.clone() }
    }
}

/// Sets that take the place of those before, all of them or none.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(in crate::module::gears) struct RegistryChange {
    pub(in crate::module::gears) sets: Vec<RegistrationSet>,
}

/// The versions of sets, by the names of their sessions.
pub(super) type SetVersions = BTreeMap<String, SetVersion>;

/// The sets of a node, and the registrations that live there.
#[derive(Debug, Default)]
pub(in crate::module::gears) struct Registry {
    sets: BTreeMap<String, RegistrationSet>,
    /// The registrations in the order in which they came to life.
    live: Vec<Arc<LiveRegistration>>,
}

/// The registrations that a change begins and ends.
#[derive(Debug, Default)]
pub(in crate::module::gears) struct RegistryMoves {
    pub(in crate::module::gears) ended: Vec<Arc<LiveRegistration>>,
    pub(in crate::module::gears) began: Vec<Arc<LiveRegistration>>,
}

impl Registry {
    /// Returns the registrations that live here, the oldest first.
    pub(in crate::module::gears) fn live(&self) -> &[Arc<LiveRegistration>] {
        &self.live
    }

    /// Returns the sets, also those without registrations.
    pub(in crate::module::gears) fn sets(&self) -> impl Iterator<Item = &RegistrationSet> {
        self.sets.values()
    }

    /// Returns a registration that lives here.
    pub(in crate::module::gears) fn find(&self, id: &str) -> Option<&Arc<LiveRegistration>> {
        self.live.iter().find(|live| live.registration.id == id)
    }

    /// Returns the set of the session of this id that has registrations.
    pub(in crate::module::gears) fn set_of_session(&self, id: &str) -> Option<&RegistrationSet> {
        self.sets.values().find(|set| set.session_id == id && !set.registrations.is_empty())
    }

    /// Returns a version that is later than all that there are.
    pub(in crate::module::gears) fn next_version(&self, node: &str) -> SetVersion {
        let last = self.sets.values().map(|set| set.version.number).max().unwrap_or_default();
        SetVersion { number: last + 1, node: node.to_owned() }
    }

    /// Returns the versions of all sets.
    pub(super) fn versions(&self) -> SetVersions {
        self.sets.values().map(|set| (set.session.clone(), set.version.clone())).collect()
    }

    /// Returns the sets that are later than these versions.
    pub(super) fn later_than(&self, versions: &SetVersions) -> RegistryChange {
        let is_later = |set: &&RegistrationSet| versions.get(&set.session).is_none_or(|version| *version < set.version);
        RegistryChange { sets: self.sets.values().filter(is_later).cloned().collect() }
    }

    /// Tells whether a set is later than what is here.
    pub(super) fn is_news(&self, set: &RegistrationSet) -> bool {
        self.sets.get(&set.session).is_none_or(|own| own.version < set.version)
    }

    /// Checks that a change is later than what is here.
    ///
    /// # Errors
    /// The session that has changed since.
    pub(super) fn check_versions(&self, change: &RegistryChange) -> Result<(), String> {
        match change.sets.iter().find(|set| !self.is_news(set)) {
            None => Ok(()),
            Some(set) => Err(format!("session {} has changed meanwhile; try again", set.session_id)),
        }
    }

    /// Checks whether a change may be made.
    ///
    /// # Errors
    /// The error says why not, as clients are told.
    pub(in crate::module::gears) fn check(&self, change: &RegistryChange) -> Result<(), String> {
        let mut names: Vec<&str> = Vec::new();
        let stays = |set: &&RegistrationSet| change.sets.iter().all(|changed| changed.session != set.session);
        let staying = self.sets.values().filter(stays);
        let others: Vec<_> = staying.clone().flat_map(|set| &set.registrations).cloned().collect();
        let has_registrations = |set: &&RegistrationSet| !set.registrations.is_empty();
        for set in change.sets.iter().filter(has_registrations) {
            if staying.clone().filter(has_registrations).any(|other| other.session_id == set.session_id) {
                return Err(format!("Session {} already exists", set.session_id));
            }
        }
        let changed = || change.sets.iter().flat_map(|set| &set.registrations);
        check_hooks(&others, &changed().cloned().collect::<Vec<_>>())?;
        for registration in changed() {
            let Some(name) = registration.reader.trigger() else { continue };
            if names.contains(&name) {
                return Err("trigger already registered in this session".to_owned());
            }
            if others.iter().any(|other| other.reader.trigger() == Some(name)) {
                return Err("trigger already registered".to_owned());
            }
            names.push(name);
        }
        Ok(())
    }

    /// Returns all sets, as a change that makes another registry the same.
    pub(in crate::module::gears) fn whole(&self) -> RegistryChange {
        RegistryChange { sets: self.sets.values().cloned().collect() }
    }

    /// Takes these sets for all that there are, whatever their versions. Registrations that are among them live on.
    pub(in crate::module::gears) fn replace(&mut self, change: RegistryChange) -> RegistryMoves {
        let stays = |live: &Arc<LiveRegistration>| {
            change.sets.iter().flat_map(|set| &set.registrations).any(|staying| *staying == live.registration)
        };
        let (staying, ended) = std::mem::take(&mut self.live).into_iter().partition(stays);
        (self.live, self.sets) = (staying, BTreeMap::new());
        let mut moves = self.apply(change);
        moves.ended = ended;
        moves
    }

    /// Takes those sets of a change that are later than what is here. The others leave all as it was.
    pub(in crate::module::gears) fn apply(&mut self, mut change: RegistryChange) -> RegistryMoves {
        let mut moves = RegistryMoves::default();
        change.sets.sort_by_key(|set| set.first);
        for set in change.sets {
            let before = self.sets.get(&set.session);
            if before.is_some_and(|before| before.version >= set.version) {
                continue;
            }
            let stays =
                |live: &LiveRegistration| set.registrations.iter().any(|staying| staying.id == live.registration.id);
            let is_of_set = |live: &LiveRegistration| live.registration.session == set.session;
            let (ended, staying): (Vec<_>, Vec<_>) =
                std::mem::take(&mut self.live).into_iter().partition(|live| is_of_set(live) && !stays(live));
            self.live = staying;
            moves.ended.extend(ended);
            for registration in &set.registrations {
                if self.find(&registration.id).is_none() {
                    let live = LiveRegistration::new(registration.clone());
                    self.live.push(live.clone());
                    moves.began.push(live);
                }
            }
            self.sets.insert(set.session.clone(), set);
        }
        self.forget_empty();
        moves
    }

    /// Forgets the oldest sets without registrations.
    fn forget_empty(&mut self) {
        let empty = self.sets.values().filter(|set| set.registrations.is_empty());
        let mut empty: Vec<_> = empty.map(|set| (set.version.clone(), set.session.clone())).collect();
        if let Some(too_many) = empty.len().checked_sub(MOST_EMPTY) {
            empty.sort();
            empty[..too_many].iter().for_each(|(_, session)| drop(self.sets.remove(session)));
        }
    }
}

/// Checks that whatever stands before a command behind another function is waited for by the server, so that it can be called by
/// that.
fn check_hooks(others: &[Arc<Registration>], new: &[Arc<Registration>]) -> Result<(), String> {
    let is_before = |one: &Registration, other: &Registration| {
        let hook = one.reader.hook();
        hook.is_some() && hook == other.reader.hook() && one.id != other.id && one.mode != RegistrationMode::Sync
    };
    for (at, registration) in new.iter().enumerate() {
        if others.iter().any(|other| is_before(other, registration)) {
            return Err("Can not override a none sync registration".to_owned());
        }
        if new[..at].iter().any(|other| is_before(other, registration)) {
            return Err("Can not override a none sync registration which already created on this session".to_owned());
        }
    }
    Ok(())
}

#[cfg(test)]
pub(super) mod tests {
    use serde_bytes::ByteBuf;

    use super::*;
    use crate::module::gears::registry::registration::{CommandEvents, EventReader, RegisteredFlow, RegistrationMode};

    fn registration(session: &str, id: &str) -> Arc<Registration> {
        let flow = RegisteredFlow { key: id.into(), blob: ByteBuf::new(), passages: vec![], steps: vec![] };
        let wanted = CommandEvents { trigger: Some(format!("t{id}")), hook: None, key_prefix: None, in_order: false };
        Arc::new(Registration {
            id: id.into(),
            session: session.into(),
            user: "default".into(),
            description: None,
            mode: RegistrationMode::Async,
            reader: EventReader::Command(wanted),
            flow,
            requirements: vec![],
            python: "3.11".into(),
        })
    }

    pub(in super::super) fn set(session: &str, number: u64, ids: &[&str]) -> RegistrationSet {
        RegistrationSet {
            session: session.into(),
            session_id: session.to_uppercase(),
            session_description: None,
            requirements: vec![],
            first: number,
            version: SetVersion { number, node: "n".into() },
            registrations: ids.iter().map(|id| registration(session, id)).collect(),
        }
    }

    pub(in super::super) fn change(sets: &[RegistrationSet]) -> RegistryChange {
        RegistryChange { sets: sets.to_vec() }
    }

    fn ids(live: &[Arc<LiveRegistration>]) -> Vec<&str> {
        live.iter().map(|live| live.registration.id.as_str()).collect()
    }

    #[test]
    fn the_larger_version_holds_in_whatever_order_they_come() {
        let (old, new) = (set("a", 1, &["1", "2"]), set("a", 2, &["2"]));
        for order in [[&old, &new], [&new, &old]] {
            let mut registry = Registry::default();
            order.iter().for_each(|set| drop(registry.apply(change(&[(*set).clone()]))));
            assert_eq!(ids(registry.live()), ["2"]);
        }
        let mut registry = Registry::default();
        registry.apply(change(std::slice::from_ref(&old)));
        let moves = registry.apply(change(&[new]));
        assert_eq!((ids(&moves.ended), ids(&moves.began)), (vec!["1"], vec![]));
        assert_eq!(registry.next_version("m"), SetVersion { number: 3, node: "m".into() });
        assert!(registry.apply(change(&[old])).began.is_empty());
    }

    #[test]
    fn one_set_takes_the_place_of_another_in_one_change() {
        let mut registry = Registry::default();
        registry.apply(change(&[set("a", 1, &["1"])]));
        let upgrade = change(&[set("b", 2, &["1x", "3"]), set("a", 2, &[])]);
        registry.check(&upgrade).unwrap();
        let moves = registry.apply(upgrade);
        assert_eq!((ids(&moves.ended), ids(&moves.began)), (vec!["1"], vec!["1x", "3"]));
        assert!(registry.set_of_session("A").is_none() && registry.set_of_session("B").is_some());
    }

    #[test]
    fn what_was_loaded_takes_the_place_of_all() {
        let mut registry = Registry::default();
        registry.apply(change(&[set("a", 7, &["1", "2"]), set("b", 8, &["3"])]));
        let moves = registry.replace(change(&[set("a", 2, &["1"]), set("c", 3, &["4"])]));
        assert_eq!((ids(&moves.ended), ids(&moves.began)), (vec!["2", "3"], vec!["4"]));
        assert_eq!(ids(registry.live()), ["1", "4"]);
        assert_eq!(registry.whole().sets.len(), 2);
        assert!(registry.set_of_session("B").is_none());
    }

    #[test]
    fn a_name_is_called_by_one_registration_only() {
        let mut registry = Registry::default();
        registry.apply(change(&[set("a", 1, &["1"])]));
        assert_eq!(registry.check(&change(&[set("b", 2, &["1"])])).unwrap_err(), "trigger already registered");
        // A set that takes the place of the other one may have it.
        registry.check(&change(&[set("b", 2, &["1"]), set("a", 2, &[])])).unwrap();
        let twice = registry.check(&change(&[set("b", 2, &["2", "2"])])).unwrap_err();
        assert_eq!(twice, "trigger already registered in this session");
    }

    #[test]
    fn sets_come_to_life_in_the_order_in_which_they_were_made() {
        let mut registry = Registry::default();
        registry.apply(change(&[set("a", 5, &["5"]), set("z", 2, &["2a", "2b"])]));
        assert_eq!(ids(registry.live()), ["2a", "2b", "5"]);
    }

    #[test]
    fn a_session_is_there_once() {
        let mut registry = Registry::default();
        registry.apply(change(&[set("a", 1, &["1"])]));
        let other = RegistrationSet { session_id: "A".into(), ..set("b", 2, &["2"]) };
        assert_eq!(registry.check(&change(std::slice::from_ref(&other))).unwrap_err(), "Session A already exists");
        registry.check(&change(&[other, set("a", 2, &[])])).unwrap();
    }

    #[test]
    fn registries_become_one_by_what_the_other_lacks() {
        let (mut one, mut other) = (Registry::default(), Registry::default());
        one.apply(change(&[set("a", 1, &["1"]), set("b", 3, &[])]));
        other.apply(change(&[set("b", 2, &["2"]), set("c", 1, &["3"])]));
        let to_other = one.later_than(&other.versions());
        let to_one = other.later_than(&one.versions());
        assert_eq!((to_other.sets.len(), to_one.sets.len()), (2, 1));
        one.apply(to_one);
        let moves = other.apply(to_other);
        assert_eq!((ids(&moves.ended), ids(&moves.began)), (vec!["2"], vec!["1"]));
        assert_eq!(one.versions(), other.versions());
        assert!(one.later_than(&other.versions()).sets.is_empty());
    }

    #[test]
    fn sets_without_registrations_are_not_kept_for_ever() {
        let mut registry = Registry::default();
        registry.apply(change(&[set("stays", 1, &["1"])]));
        for number in 0..MOST_EMPTY as u64 + 5 {
            registry.apply(change(&[set(&format!("s{number}"), 2 + number, &[])]));
        }
        assert_eq!(registry.versions().len(), MOST_EMPTY + 1);
        assert!(!registry.versions().contains_key("s4") && registry.versions().contains_key("s5"));
    }
}
