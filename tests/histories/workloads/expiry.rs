//! Keys that expire: there until then, and gone after it (claim S8).

use std::sync::atomic::Ordering;
use std::time::Duration;

use super::{Histories, Reads, Workload};
use crate::client::{Client, Outcome};
use crate::common::Random;

/// The nanoseconds by which the time of a key may be off: clocks of nodes may be 50 ms apart, and the answers take some time on a
/// busy machine.
const SLACK: u64 = Duration::from_millis(100).as_nanos() as u64;

pub struct Expiring(Histories<Event>);

impl Default for Expiring {
    fn default() -> Self {
        Self(Histories::new("expiring"))
    }
}

/// A key is written by one command, once. Nothing else but reads concerns it.
enum Event {
    /// The time of a write, and for how long the key lives.
    Written {
        called: u64,
        returned: u64,
        lives: u64,
    },
    Read {
        called: u64,
        returned: u64,
        is_there: bool,
    },
}

impl Workload for Expiring {
    fn turn(&self, client: &mut Client, random: &mut Random) {
        match random.chance(10) {
            true => self.write(client, random),
            false => self.look(client, random),
        }
    }

    fn look(&self, client: &mut Client, random: &mut Random) {
        let place = random.below(40);
        if let Some(key) = self.0.with(|kept| kept.keys().rev().nth(place).cloned()) {
            self.read(client, &key);
        }
    }

    fn finish(&self, client: &mut Client) {
        self.0.keys().iter().for_each(|key| self.read(client, key));
    }

    fn judge(&self, _reads: Reads) -> Result<String, String> {
        self.0.judge(judge)
    }
}

impl Expiring {
    fn write(&self, client: &mut Client, random: &mut Random) {
        let lives = random.pick(&[80, 300, 1000, 3000, 30_000]);
        // In the order in which they were written.
        let key = format!("expiring:{:010}", self.0.turns.fetch_add(1, Ordering::Relaxed));
        let value = "v";
        let asked = match random.below(3) {
            0 => client.ask(&["SET", &key, value, "PX", &lives.to_string()]),
            1 => client.ask(&["PSETEX", &key, &lives.to_string(), value]),
            _ => client.ask(&["SET", &key, value, "NX", "PX", &lives.to_string()]),
        };
        if asked.outcome != Outcome::Refused {
            let (called, returned, lives) = (asked.called, asked.returned, lives * 1_000_000);
            self.0.keep(&key, Event::Written { called, returned, lives });
        }
    }

    fn read(&self, client: &mut Client, key: &str) {
        let asked = client.ask(&["EXISTS", key]);
        if let Some(there) = asked.number() {
            let (called, returned) = (asked.called, asked.returned);
            self.0.keep(key, Event::Read { called, returned, is_there: there == 1 });
        }
    }
}

fn judge(history: &[Event]) -> Result<(), String> {
    let written = history.iter().find_map(|event| match event {
        Event::Written { called, returned, lives } => Some((*called, *returned, *lives)),
        Event::Read { .. } => None,
    });
    let Some((sent, acknowledged, lives)) = written else { return Ok(()) };
    for event in history {
        let Event::Read { called, returned, is_there } = event else { continue };
        let may_be_there = *called <= acknowledged.saturating_add(lives + SLACK);
        let may_be_gone = *called <= acknowledged || returned + SLACK >= sent + lives;
        if !(if *is_there { may_be_there } else { may_be_gone }) {
            let is = if *is_there { "there" } else { "gone" };
            return Err(format!(
                "it was written for {lives} ns, from {sent} to {acknowledged}, and is {is} from {called} to {returned}"
            ));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_that_lives_too_long_or_too_short_is_found() {
        const SECOND: u64 = 1_000_000_000;
        let judged = |at: u64, is_there: bool| {
            let written = Event::Written { called: SECOND, returned: SECOND + 1000, lives: SECOND };
            judge(&[written, Event::Read { called: at, returned: at + 1000, is_there }])
        };
        assert!(judged(SECOND / 2, false).is_ok() && judged(3 * SECOND / 2, true).is_ok());
        assert!(judged(3 * SECOND, false).is_ok());
        assert!(judged(3 * SECOND / 2, false).is_err(), "gone too soon");
        assert!(judged(3 * SECOND, true).is_err(), "back from the dead");
    }
}
