//! [`PreparedChanges`]: the changes that this node has agreed to, and that are not decided yet.
//!
//! Whoever makes a change asks all shards first, the one with the smallest id before all others: so of two changes that meet
//! one is refused there, and does not get in the way of the other anywhere else.

use std::time::{Duration, Instant};

use super::set::{RegistrationSet, Registry, RegistryChange};

/// The time for which a change that was agreed to keeps others out. The node that makes the change decides sooner, or not at all.
const HOLDS_FOR: Duration = Duration::from_secs(10);

/// The changes that are not decided yet.
#[derive(Debug, Default)]
pub(super) struct PreparedChanges {
    agreed: Vec<PreparedChange>,
    /// The changes that were decided before this node was asked, as a node hears that was away for a while.
    over: Vec<(String, Instant)>,
}

#[derive(Debug)]
struct PreparedChange {
    id: String,
    change: RegistryChange,
    until: Instant,
}

impl PreparedChanges {
    /// Agrees to a change.
    ///
    /// # Errors
    /// The error says why it cannot be made, or which other one is under way.
    pub(super) fn prepare(
        &mut self,
        id: &str,
        change: &RegistryChange,
        registry: &Registry,
        now: Instant,
    ) -> Result<(), String> {
        self.forget_old(now);
        self.agreed.retain(|other| other.id != id);
        if self.over.iter().any(|(over, _)| over == id) {
            return Err("the change was given up meanwhile".to_owned());
        }
        registry.check(change)?;
        registry.check_versions(change)?;
        if let Some(why) = self.agreed.iter().find_map(|other| meeting(&other.change, change)) {
            return Err(why);
        }
        self.agreed.push(PreparedChange { id: id.to_owned(), change: change.clone(), until: now + HOLDS_FOR });
        Ok(())
    }

    /// Forgets a change, which is decided. Returns whether it was agreed to until now.
    pub(super) fn release(&mut self, id: &str, now: Instant) -> bool {
        self.forget_old(now);
        let was_agreed = self.agreed.iter().any(|prepared| prepared.id == id);
        self.agreed.retain(|prepared| prepared.id != id);
        if !was_agreed {
            self.over.push((id.to_owned(), now + HOLDS_FOR));
        }
        was_agreed
    }

    fn forget_old(&mut self, now: Instant) {
        self.agreed.retain(|prepared| prepared.until > now);
        self.over.retain(|(_, until)| *until > now);
    }
}

/// Tells why a change has to wait for one that is under way.
fn meeting(under_way: &RegistryChange, change: &RegistryChange) -> Option<String> {
    let by = |set: &RegistrationSet| format!("by session {} of shard {}", set.session_id, set.version.node);
    for set in &under_way.sets {
        if change.sets.iter().any(|own| own.session_id == set.session_id) {
            return Some(format!(
                "session {} is being changed at this time by shard {}",
                set.session_id, set.version.node
            ));
        }
        for name in triggers(set) {
            if change.sets.iter().flat_map(triggers).any(|own| own == name) {
                return Some(format!("trigger {name} is being registered at this time {}", by(set)));
            }
        }
    }
    None
}

fn triggers(set: &RegistrationSet) -> impl Iterator<Item = &str> {
    set.registrations.iter().filter_map(|registration| registration.reader.trigger())
}

#[cfg(test)]
mod tests {
    use super::super::set::tests::{change, set};
    use super::*;

    #[test]
    fn of_two_changes_that_meet_one_is_refused_and_told_of_the_other() {
        let (registry, now) = (Registry::default(), Instant::now());
        let mut prepared = PreparedChanges::default();
        let first = change(&[set("a", 1, &["1"])]);
        prepared.prepare("x", &first, &registry, now).unwrap();
        // Asked for again, as after a lost answer.
        prepared.prepare("x", &first, &registry, now).unwrap();
        prepared.prepare("y", &change(&[set("b", 1, &["2"])]), &registry, now).unwrap();
        let same_name = prepared.prepare("z", &change(&[set("c", 1, &["1"])]), &registry, now);
        assert_eq!(same_name.unwrap_err(), "trigger t1 is being registered at this time by session A of shard n");
        let same_session = prepared.prepare("z", &change(&[set("a", 1, &["3"])]), &registry, now);
        assert_eq!(same_session.unwrap_err(), "session A is being changed at this time by shard n");
        assert!(prepared.release("x", now) && !prepared.release("x", now));
        // A question that comes after the decision keeps nobody out.
        assert_eq!(prepared.prepare("x", &first, &registry, now).unwrap_err(), "the change was given up meanwhile");
        prepared.prepare("z", &change(&[set("c", 1, &["1"])]), &registry, now).unwrap();
    }

    #[test]
    fn who_does_not_decide_keeps_nobody_out_for_ever() {
        let (registry, now) = (Registry::default(), Instant::now());
        let mut prepared = PreparedChanges::default();
        prepared.prepare("x", &change(&[set("a", 1, &["1"])]), &registry, now).unwrap();
        let later = now + HOLDS_FOR;
        prepared.prepare("y", &change(&[set("b", 1, &["1"])]), &registry, later).unwrap();
        assert!(!prepared.release("x", later));
    }

    #[test]
    fn what_is_older_than_what_is_here_is_refused() {
        let mut registry = Registry::default();
        registry.apply(change(&[set("a", 2, &["1"])]));
        let mut prepared = PreparedChanges::default();
        let now = Instant::now();
        let refused = prepared.prepare("x", &change(&[set("a", 2, &[])]), &registry, now).unwrap_err();
        assert_eq!(refused, "session A has changed meanwhile; try again");
        prepared.prepare("x", &change(&[set("a", 3, &[])]), &registry, now).unwrap();
    }
}
