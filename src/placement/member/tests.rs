//! Tests of what a member concludes from its own state, without a server and without waiting.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};

use super::event::Event;
use super::options::{MemberOptions, Settings};
use super::scripts::{News, Standing};
use super::state::State;
use super::table::Holder;
use crate::placement::slot::{SlotFunc, SlotHash};

const SLOTS: u16 = 8;
const TIMEOUT: Duration = Duration::from_secs(4);
const PAUSE: Duration = Duration::from_secs(1);

fn settings() -> Settings {
    let slots = SlotFunc::new(SlotHash::Sha1, SLOTS).unwrap();
    MemberOptions::new("me", ["redis://localhost"]).slots(slots).timeout(TIMEOUT).retry_pause(PAUSE).settings
}

fn holders(ids: &[(&str, u64)]) -> Vec<Holder> {
    ids.iter().map(|&(id, token)| Holder { id: id.into(), token }).collect()
}

/// A member that is told what happens.
struct Fixture {
    state: State,
    events: UnboundedReceiver<Event>,
    begun: Instant,
    epoch: u64,
}

impl Fixture {
    /// Makes a member that was let in by the first change, with these others.
    fn with(others: &[&str]) -> Self {
        let (sender, events) = unbounded_channel();
        let begun = Instant::now();
        let mut fixture = Self { state: State::new(settings(), sender, begun), events, begun, epoch: 1 };
        fixture.state.joined(1, begun, begun);
        assert!(fixture.members(others, 0));
        fixture
    }

    fn at(&self, seconds: u64) -> Instant {
        self.begun + Duration::from_secs(seconds)
    }

    fn news(&mut self, members: Option<BTreeMap<String, Standing>>, slots: &[(u16, &[(&str, u64)])]) -> News {
        self.epoch += 1;
        let slots = slots.iter().map(|(slot, ids)| (*slot, holders(ids))).collect();
        News { epoch: self.epoch, is_all: false, members, slots }
    }

    /// Changes the members: me and these others.
    fn members(&mut self, others: &[&str], seconds: u64) -> bool {
        let listed = |incarnation| Standing { incarnation, weight: 1, is_leaving: false, zone: None };
        let mut members: BTreeMap<String, Standing> = others.iter().map(|id| ((*id).to_owned(), listed(9))).collect();
        members.insert("me".to_owned(), listed(1));
        let targets = State::targets_of(&settings(), &members);
        let news = self.news(Some(members), &[]);
        self.state.take(news, targets, self.at(seconds), self.at(seconds))
    }

    fn slot(&mut self, slot: u16, ids: &[(&str, u64)], seconds: u64) {
        let news = self.news(None, &[(slot, ids)]);
        assert!(self.state.take(news, None, self.at(seconds), self.at(seconds)));
    }

    fn told(&mut self) -> Vec<Event> {
        std::iter::from_fn(|| self.events.try_recv().ok()).collect()
    }
}

#[test]
fn a_slot_is_told_once_until_it_is_settled() {
    let mut fixture = Fixture::with(&[]);
    assert_eq!(fixture.told(), [Event::Missing((0..SLOTS).collect())]);
    assert!(fixture.members(&[], 0));
    assert_eq!(fixture.told(), []);
    fixture.slot(3, &[("me", 5)], 0);
    assert_eq!(fixture.told(), [Event::Primaries { gained: vec![(3, 5)], lost: vec![] }]);
    fixture.slot(3, &[("me", 5), ("other", 6)], 0);
    assert_eq!(fixture.told(), []);
}

#[test]
fn a_slot_is_redundant_when_enough_others_that_stay_hold_it() {
    let mut fixture = Fixture::with(&["other"]);
    fixture.told();
    let slot = (0..SLOTS).find(|slot| !fixture.state.missing().contains(slot)).expect("one of the other's");
    fixture.slot(slot, &[("me", 5)], 0);
    assert_eq!(fixture.state.redundant(), [slot]);
    fixture.slot(slot, &[("me", 5), ("unknown", 6)], 0);
    assert_eq!(fixture.told(), [Event::Primaries { gained: vec![(slot, 5)], lost: vec![] }]);
    fixture.slot(slot, &[("me", 5), ("other", 7)], 0);
    assert_eq!(fixture.told(), [Event::Redundant(vec![slot])]);
    // Giving it up oneself is no news.
    fixture.state.gives_up(slot);
    fixture.slot(slot, &[("other", 8)], 0);
    assert_eq!(fixture.told(), [Event::Primaries { gained: vec![], lost: vec![slot] }]);
}

#[test]
fn pauses_after_failures_grow_and_begin_anew_after_a_success() {
    let mut fixture = Fixture::with(&[]);
    fixture.told();
    fixture.state.failed(2, fixture.at(0));
    fixture.state.tick(fixture.at(0));
    assert_eq!(fixture.told(), []);
    assert_eq!(fixture.state.next_tick(fixture.at(0)), Some(fixture.at(1)));
    fixture.state.tick(fixture.at(1));
    assert_eq!(fixture.told(), [Event::Missing(vec![2])]);
    fixture.state.renewed(fixture.at(2), fixture.at(2));
    fixture.state.failed(2, fixture.at(2));
    assert_eq!(fixture.state.next_tick(fixture.at(2)), Some(fixture.at(4)));
    for _ in 0..20 {
        fixture.state.failed(2, fixture.at(3));
    }
    fixture.state.renewed(fixture.at(99), fixture.at(99));
    assert_eq!(fixture.state.next_tick(fixture.at(3)), Some(fixture.at(3 + 64)));
    // Served for longer than the pause was, it begins anew.
    fixture.state.changed(1, 2, 90, holders(&[("me", 90)]), fixture.at(100));
    fixture.state.failed(2, fixture.at(165));
    fixture.state.renewed(fixture.at(170), fixture.at(170));
    assert_eq!(fixture.state.next_tick(fixture.at(165)), Some(fixture.at(166)));
}

#[test]
fn primaries_are_none_once_the_lease_is_over() {
    let mut fixture = Fixture::with(&[]);
    fixture.slot(3, &[("me", 5)], 0);
    fixture.told();
    assert_eq!(fixture.state.primary_token(3, fixture.at(3)), Some(5));
    assert_eq!(fixture.state.primary_token(3, fixture.at(4)), None);
    assert!(fixture.state.primaries(fixture.at(4)).is_empty());
    fixture.state.tick(fixture.at(4));
    assert_eq!(fixture.told(), [Event::Primaries { gained: vec![], lost: vec![3] }]);
    // An answer to a question from before the pause says nothing about now.
    fixture.state.renewed(fixture.at(2), fixture.at(9));
    assert_eq!(fixture.told(), []);
    fixture.state.renewed(fixture.at(9), fixture.at(9));
    assert_eq!(fixture.told(), [Event::Primaries { gained: vec![(3, 5)], lost: vec![] }]);
}

#[test]
fn who_was_removed_hears_that_first_and_takes_no_answers_of_its_former_life() {
    let mut fixture = Fixture::with(&[]);
    fixture.slot(3, &[("me", 5)], 0);
    fixture.told();
    let news = fixture.news(Some(BTreeMap::new()), &[]);
    assert!(!fixture.state.take(news, None, fixture.at(1), fixture.at(1)));
    fixture.state.removed();
    assert_eq!(fixture.told(), [Event::Lost(vec![3]), Event::Primaries { gained: vec![], lost: vec![3] }]);
    fixture.state.changed(1, 4, 99, holders(&[("me", 99)]), fixture.at(1));
    assert!(fixture.state.held().is_empty());
    assert_eq!(fixture.told(), []);
}

#[test]
fn what_is_known_already_is_not_replaced_by_what_came_before() {
    let mut fixture = Fixture::with(&[]);
    fixture.state.changed(1, 4, 50, holders(&[("me", 50)]), fixture.at(0));
    fixture.told();
    fixture.slot(4, &[], 0);
    assert_eq!(fixture.state.held(), [4]);
    assert_eq!(fixture.told(), []);
    // Unless the server is another one, and that is all it knows.
    fixture.state.forget_epoch();
    fixture.slot(4, &[], 0);
    let lost = Event::Primaries { gained: vec![], lost: vec![4] };
    assert_eq!(fixture.told(), [Event::Lost(vec![4]), lost, Event::Missing(vec![4])]);
}
