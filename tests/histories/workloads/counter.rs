//! Keys that are counted up: nothing that was acknowledged is lost, and nothing is done twice (claim S6).

use super::{Histories, Reads, Workload};
use crate::client::{Client, Outcome};
use crate::common::Random;

pub struct Counters(Histories<Event>);

impl Default for Counters {
    fn default() -> Self {
        Self(Histories::new("counter"))
    }
}

struct Event {
    is_read: bool,
    called: u64,
    returned: u64,
    /// The count that was answered; nothing if the outcome is unknown.
    count: Option<u64>,
}

impl Workload for Counters {
    fn turn(&self, client: &mut Client, random: &mut Random) {
        let key = self.0.key(random);
        self.ask(client, &key, random.chance(30));
    }

    fn look(&self, client: &mut Client, random: &mut Random) {
        let key = self.0.key(random);
        self.ask(client, &key, true);
    }

    fn finish(&self, client: &mut Client) {
        self.0.keys().iter().for_each(|key| self.ask(client, key, true));
    }

    fn judge(&self, reads: Reads) -> Result<String, String> {
        self.0.judge(|history| judge(history, reads))
    }
}

impl Counters {
    fn ask(&self, client: &mut Client, key: &str, is_read: bool) {
        let asked = client.ask(&[if is_read { "GET" } else { "INCR" }, key]);
        if asked.outcome != Outcome::Refused {
            let count = asked.number();
            self.0.keep(key, Event { is_read, called: asked.called, returned: asked.returned, count });
        }
    }
}

fn judge(history: &[Event], reads: Reads) -> Result<(), String> {
    let mut counts: Vec<u64> = history.iter().filter(|event| !event.is_read).filter_map(|event| event.count).collect();
    counts.sort_unstable();
    if let Some(twice) = counts.windows(2).find(|pair| pair[0] == pair[1]) {
        return Err(format!("two INCR were answered {}", twice[0]));
    }
    for event in history {
        let Some(count) = event.count else { continue };
        let before = history.iter().filter(|other| other.returned < event.called);
        // Where a read may ask any copy, reads say nothing of each other, nor of writes that come later.
        let known = before.filter(|other| reads == Reads::Atomic || !other.is_read);
        let least = known.filter_map(|other| other.count).max().unwrap_or(0) + u64::from(!event.is_read);
        let most = history.iter().filter(|other| !other.is_read && other.called <= event.returned).count() as u64;
        if !(least..=most).contains(&count) {
            let what = if event.is_read { "GET" } else { "INCR" };
            let (called, returned) = (event.called, event.returned);
            return Err(format!("{what} from {called} to {returned} was answered {count}, not {least} to {most}"));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::checker::NEVER;

    fn event(is_read: bool, called: u64, returned: u64, count: Option<u64>) -> Event {
        Event { is_read, called, returned, count }
    }

    fn incr(called: u64, returned: u64, count: u64) -> Event {
        event(false, called, returned, Some(count))
    }

    #[test]
    fn what_is_lost_or_done_twice_is_found() {
        let unknown = || event(false, 5, NEVER, None);
        let get = |called, count| event(true, called, called + 1, Some(count));
        let judged = |history: &[Event]| judge(history, Reads::Atomic);
        assert_eq!(judged(&[incr(1, 2, 1), unknown(), incr(10, 11, 2), get(12, 2)]), Ok(()));
        assert_eq!(judged(&[incr(1, 2, 1), unknown(), incr(10, 11, 3), get(12, 3)]), Ok(()));
        assert!(judged(&[incr(1, 2, 1), unknown(), incr(10, 11, 4)]).is_err(), "done twice");
        assert!(judged(&[incr(1, 2, 1), incr(3, 4, 2), get(12, 1)]).is_err(), "lost");
        assert!(judged(&[incr(1, 2, 1), incr(3, 4, 1)]).is_err(), "one answer for two");
        let back = [incr(1, 2, 1), unknown(), get(10, 2), get(20, 1)];
        assert!(judged(&back).is_err(), "back to before");
        assert_eq!(judge(&back, Reads::Regular), Ok(()));
    }
}
