//! Accounts between which a script moves money: the total never changes.

use redis::Value;

use super::{Histories, Reads, Workload};
use crate::client::{Asked, Client, Outcome, number};
use crate::common::Random;

const ACCOUNTS: usize = 5;
const EACH: u64 = 100;

const MOVE: &str = "local has=tonumber(redis.call('GET',KEYS[1])) if not has or has<tonumber(ARGV[1]) then return 0 end \
    redis.call('DECRBY',KEYS[1],ARGV[1]) redis.call('INCRBY',KEYS[2],ARGV[1]) return 1";

pub struct Banks(Histories<Event>);

impl Default for Banks {
    fn default() -> Self {
        Self(Histories::new("bank"))
    }
}

enum Event {
    Opened {
        called: u64,
        returned: u64,
    },
    Moved,
    /// The balance of each account; nothing in all of them is a bank that is not open yet.
    Read {
        called: u64,
        returned: u64,
        has: Vec<u64>,
    },
}

impl Workload for Banks {
    fn turn(&self, client: &mut Client, random: &mut Random) {
        let bank = self.0.key(random);
        let account = |number: usize| format!("{{{bank}}}:{number}");
        let is_opened = |event: &Event| matches!(event, Event::Opened { .. });
        let is_new = self.0.with(|kept| !kept.get(&bank).is_some_and(|history| history.iter().any(is_opened)));
        if is_new {
            // Whoever comes second opens nothing.
            let accounts: Vec<String> = (0..ACCOUNTS).map(account).collect();
            let each = EACH.to_string();
            let pairs = accounts.iter().flat_map(|name| [name.as_str(), each.as_str()]);
            let asked = client.ask(&["MSETNX"].into_iter().chain(pairs).collect::<Vec<_>>());
            if asked.outcome != Outcome::Refused {
                self.0.keep(&bank, Event::Opened { called: asked.called, returned: asked.returned });
            }
        } else if random.chance(30) {
            self.read(client, &bank);
        } else {
            let (from, to) = (random.below(ACCOUNTS), random.below(ACCOUNTS));
            let amount = (random.below(60) + 1).to_string();
            client.ask(&["EVAL", MOVE, "2", &account(from), &account(to), &amount]);
            self.0.keep(&bank, Event::Moved);
        }
    }

    fn look(&self, client: &mut Client, random: &mut Random) {
        let bank = self.0.key(random);
        self.read(client, &bank);
    }

    fn finish(&self, client: &mut Client) {
        self.0.keys().iter().for_each(|bank| self.read(client, bank));
    }

    fn judge(&self, _reads: Reads) -> Result<String, String> {
        self.0.judge(judge)
    }
}

impl Banks {
    fn read(&self, client: &mut Client, bank: &str) {
        let accounts: Vec<String> = (0..ACCOUNTS).map(|number| format!("{{{bank}}}:{number}")).collect();
        let words: Vec<&str> = ["MGET"].into_iter().chain(accounts.iter().map(String::as_str)).collect();
        let Asked { called, returned, outcome } = client.ask(&words);
        if let Outcome::Answer(Value::Array(values)) = outcome {
            let has = values.iter().map(|value| number(value).unwrap_or(u64::MAX / 10)).collect();
            self.0.keep(bank, Event::Read { called, returned, has });
        }
    }
}

fn judge(history: &[Event]) -> Result<(), String> {
    let opened = |event: &Event| match event {
        Event::Opened { called, returned } => Some((*called, *returned)),
        _ => None,
    };
    let sent = history.iter().filter_map(opened).map(|(called, _)| called).min().unwrap_or(u64::MAX);
    let open = history.iter().filter_map(opened).map(|(_, returned)| returned).min().unwrap_or(u64::MAX);
    for event in history {
        let Event::Read { called, returned, has } = event else { continue };
        let total: u64 = has.iter().sum();
        let is_right = match total {
            0 => *called <= open,
            total => total == EACH * ACCOUNTS as u64 && *returned >= sent,
        };
        if !is_right {
            return Err(format!("{has:?} were read from {called} to {returned}; it was opened from {sent} to {open}"));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_total_that_changes_is_found() {
        let judged = |called: u64, has: [u64; ACCOUNTS]| {
            let read = Event::Read { called, returned: called + 1, has: has.to_vec() };
            judge(&[Event::Opened { called: 10, returned: 20 }, Event::Moved, read])
        };
        assert_eq!(judged(30, [100, 50, 150, 100, 100]), Ok(()));
        assert_eq!(judged(15, [0; ACCOUNTS]), Ok(()));
        assert!(judged(30, [100, 50, 100, 100, 100]).is_err(), "half of a transfer");
        assert!(judged(30, [0; ACCOUNTS]).is_err(), "lost");
    }
}
