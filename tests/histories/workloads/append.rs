//! Lists to which each element is appended once: the cheapest strong test there is.

use std::collections::{HashMap, HashSet};
use std::sync::atomic::{AtomicU64, Ordering};

use redis::Value;

use super::{Histories, Reads, Workload};
use crate::client::{Client, Outcome, number};
use crate::common::Random;

pub struct Lists {
    histories: Histories<Event>,
    ids: AtomicU64,
}

impl Default for Lists {
    fn default() -> Self {
        Self { histories: Histories::new("list"), ids: AtomicU64::new(1) }
    }
}

enum Event {
    /// The element, when, and how long the list is with it; nothing if the outcome is unknown.
    Append {
        id: u64,
        called: u64,
        returned: u64,
        length: Option<u64>,
    },
    Read {
        called: u64,
        returned: u64,
        ids: Vec<u64>,
    },
}

impl Workload for Lists {
    fn turn(&self, client: &mut Client, random: &mut Random) {
        let key = self.histories.key(random);
        if random.chance(25) {
            return self.read(client, &key);
        }
        let id = self.ids.fetch_add(1, Ordering::Relaxed);
        let asked = client.ask(&["RPUSH", &key, &id.to_string()]);
        if asked.outcome != Outcome::Refused {
            let (called, returned, length) = (asked.called, asked.returned, asked.number());
            self.histories.keep(&key, Event::Append { id, called, returned, length });
        }
    }

    fn look(&self, client: &mut Client, random: &mut Random) {
        let key = self.histories.key(random);
        self.read(client, &key);
    }

    fn finish(&self, client: &mut Client) {
        self.histories.keys().iter().for_each(|key| self.read(client, key));
    }

    fn judge(&self, reads: Reads) -> Result<String, String> {
        self.histories.judge(|history| judge(history, reads))
    }
}

impl Lists {
    fn read(&self, client: &mut Client, key: &str) {
        let asked = client.ask(&["LRANGE", key, "0", "-1"]);
        if let Some(Value::Array(values)) = asked.answer() {
            let ids = values.iter().map(|value| number(value).unwrap_or(0)).collect();
            self.histories.keep(key, Event::Read { called: asked.called, returned: asked.returned, ids });
        }
    }
}

fn judge(history: &[Event], level: Reads) -> Result<(), String> {
    let mut reads: Vec<(u64, u64, &Vec<u64>)> = Vec::new();
    let mut appends: HashMap<u64, (u64, u64, Option<u64>)> = HashMap::new();
    for event in history {
        match event {
            Event::Read { called, returned, ids } => reads.push((*called, *returned, ids)),
            Event::Append { id, called, returned, length } => {
                appends.insert(*id, (*called, *returned, *length));
            }
        }
    }
    let Some((.., last)) = reads.iter().max_by_key(|(called, ..)| *called).copied() else { return Ok(()) };
    if last.iter().collect::<HashSet<_>>().len() != last.len() {
        return Err(format!("an element is in the list twice: {last:?}"));
    }
    let place_of: HashMap<u64, usize> = last.iter().enumerate().map(|(place, id)| (*id, place)).collect();
    for (called, returned, ids) in &reads {
        let same = ids.iter().zip(last).take_while(|(id, other)| id == other).count();
        // A write that nobody has acknowledged may go with the one copy that had it.
        let may_be_lost = |id: &u64| appends.get(id).is_some_and(|(.., length)| length.is_none());
        let is_lost = |id: &u64| level == Reads::Regular && may_be_lost(id) && !place_of.contains_key(id);
        if !ids[same..].iter().all(is_lost) {
            return Err(format!("two orders were read: {ids:?} and {last:?}"));
        }
        if let Some(id) = ids.iter().find(|id| appends.get(id).is_none_or(|(sent, ..)| sent > returned)) {
            return Err(format!("{id} was read out of nowhere, or before it was sent: {ids:?}"));
        }
        let missing = |(id, (_, acknowledged, _)): &(&u64, &(u64, u64, Option<u64>))| {
            acknowledged < called && place_of.get(id).is_none_or(|place| *place >= same)
        };
        if let Some((id, _)) = appends.iter().find(missing) {
            return Err(format!("{id} was acknowledged before {called}, and a read from then on gives {ids:?}"));
        }
        let is_older = |other: &&(u64, u64, &Vec<u64>)| other.1 < *called && other.2.len() > ids.len();
        if level == Reads::Atomic && reads.iter().any(|other| is_older(&other)) {
            return Err(format!("a read from {called} to {returned} is older than one that was over by then: {ids:?}"));
        }
    }
    for (id, (called, _, length)) in &appends {
        let Some(place) = place_of.get(id) else { continue };
        if length.is_some_and(|length| length != *place as u64 + 1) {
            return Err(format!("{id} was answered the length {length:?}, and is at {place} of {last:?}"));
        }
        let is_late = |other: &&u64| appends[*other].1 < *called;
        if let Some(earlier) = last[place + 1..].iter().find(is_late) {
            return Err(format!("{earlier} was acknowledged before {id} was sent, and comes after it: {last:?}"));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::checker::NEVER;

    fn append(id: u64, called: u64, length: Option<u64>) -> Event {
        Event::Append { id, called, returned: if length.is_some() { called + 1 } else { NEVER }, length }
    }

    fn read(called: u64, ids: &[u64]) -> Event {
        Event::Read { called, returned: called + 1, ids: ids.to_vec() }
    }

    #[test]
    fn elements_that_are_lost_doubled_or_moved_are_found() {
        let judged = |history: Vec<Event>| judge(&history, Reads::Atomic);
        let begin = || vec![append(1, 10, Some(1)), append(2, 20, Some(2)), append(3, 25, None)];
        let with = |events: Vec<Event>| judged(begin().into_iter().chain(events).collect());
        assert_eq!(with(vec![read(30, &[1, 2]), read(40, &[1, 2, 3])]), Ok(()));
        for (wrong, why) in [
            (vec![read(30, &[1])], "lost"),
            (vec![read(30, &[1, 2, 2])], "twice"),
            (vec![read(30, &[2, 1])], "the other way round"),
            (vec![read(30, &[1, 2, 9])], "out of nowhere"),
            (vec![read(22, &[1, 2, 3])], "before it was sent"),
            (vec![read(30, &[1, 2, 3]), read(40, &[1, 2])], "back to before"),
            (vec![append(4, 50, Some(3)), read(60, &[1, 2, 3, 4])], "at another place than was answered"),
        ] {
            assert!(with(wrong).is_err(), "{why}");
        }
    }

    #[test]
    fn what_nobody_has_acknowledged_may_go_with_the_copy_that_had_it() {
        let history = [append(1, 10, Some(1)), append(2, 20, None), read(30, &[1, 2]), read(40, &[1]), read(50, &[1])];
        assert!(judge(&history, Reads::Atomic).is_err());
        let after =
            [append(1, 10, Some(1)), append(2, 20, None), read(30, &[1, 2]), append(3, 35, Some(2)), read(40, &[1, 3])];
        assert_eq!(judge(&after, Reads::Regular), Ok(()));
    }
}
