//! [`Pace`]: when long work may have the main thread again, so that clients which wait have their part of it.
//!
//! After a turn the work owes the clients time, as its share says: at 50 per cent as much as it has had. If the event loop
//! comes round without having done anything, or sleeps through most of a millisecond, nobody waits, and nothing is owed any
//! more: on an idle server long work has the whole thread. A short sleep says nothing: clients that send a command, wait for
//! the reply and send the next are all on their way for a moment, again and again.
//!
//! All instants are handed in, so that the rule is tested without a server.

use std::time::{Duration, Instant};

/// An event loop that was awake for less than this since it was last looked at has served nobody.
const NOBODY: Duration = Duration::from_micros(30);

/// The account of the main thread's time between turns of long work.
#[derive(Debug)]
pub(super) struct Pace {
    /// The time that is owed since the last turn; [`None`] if there is none.
    debt: Option<Debt>,
}

/// Time that is owed to clients.
#[derive(Debug)]
struct Debt {
    until: Instant,
    /// The moment when it was last looked whether anybody waits.
    looked: Instant,
    /// The time that the event loop has slept since.
    slept: Duration,
    /// The moment when the event loop fell asleep, if it has not woken up.
    asleep: Option<Instant>,
}

impl Pace {
    pub(super) const fn new() -> Self {
        Self { debt: None }
    }

    /// Notes that the event loop is about to wait for something to do. The clock is looked at only while anything is owed.
    pub(super) fn falls_asleep(&mut self, now: impl FnOnce() -> Instant) {
        if let Some(debt) = &mut self.debt {
            debt.asleep = Some(now());
        }
    }

    /// Notes that the event loop has something to do.
    pub(super) fn wakes_up(&mut self, now: impl FnOnce() -> Instant) {
        if let Some(debt) = &mut self.debt
            && let Some(asleep) = debt.asleep.take()
        {
            debt.slept += now().saturating_duration_since(asleep);
        }
    }

    /// Tells whether clients have to be served before the next turn may begin.
    pub(super) fn is_owing(&mut self, now: Instant) -> bool {
        let Some(debt) = &mut self.debt else { return false };
        let awake = now.saturating_duration_since(debt.looked).saturating_sub(debt.slept);
        if awake < NOBODY || now >= debt.until {
            self.debt = None;
            return false;
        }
        (debt.looked, debt.slept) = (now, Duration::ZERO);
        true
    }

    /// Notes a turn. The work may have `share` per cent of the time while clients wait.
    pub(super) fn has_run(&mut self, began: Instant, ended: Instant, share: u32) {
        let share = share.clamp(1, 100);
        let owed = ended.saturating_duration_since(began) * (100 - share) / share;
        let debt = Debt { until: ended + owed, looked: ended, slept: Duration::ZERO, asleep: None };
        self.debt = (!owed.is_zero()).then_some(debt);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);
    const US: Duration = Duration::from_micros(1);

    /// Makes a pace after a turn of a millisecond, and returns when that ended.
    fn after_turn(share: u32) -> (Pace, Instant) {
        let mut pace = Pace::new();
        let began = Instant::now();
        assert!(!pace.is_owing(began), "before the first turn");
        pace.has_run(began, began + MS, share);
        (pace, began + MS)
    }

    #[test]
    fn as_much_is_owed_as_the_share_says() {
        for (share, owed) in [(50, MS), (25, 3 * MS), (10, 9 * MS), (80, MS / 4), (1, 99 * MS)] {
            let (mut pace, end) = after_turn(share);
            assert!(pace.is_owing(end + owed / 2), "{share} %");
            assert!(pace.is_owing(end + owed - US), "{share} %");
            assert!(!pace.is_owing(end + owed), "{share} %");
            assert!(!pace.is_owing(end + owed + MS), "{share} %: paid once");
        }
        let (mut pace, end) = after_turn(100);
        assert!(!pace.is_owing(end + MS / 2));
    }

    #[test]
    fn a_long_turn_owes_more() {
        let (mut pace, _) = after_turn(50);
        let began = Instant::now();
        pace.has_run(began, began + 7 * MS, 50);
        assert!(pace.is_owing(began + 13 * MS) && !pace.is_owing(began + 14 * MS));
    }

    #[test]
    fn a_round_in_which_nothing_was_done_ends_the_debt() {
        let (mut pace, end) = after_turn(1);
        pace.falls_asleep(|| end + 8 * US);
        pace.wakes_up(|| end + 12 * US);
        assert!(!pace.is_owing(end + 20 * US));
        let (mut pace, end) = after_turn(1);
        assert!(pace.is_owing(end + 200 * US), "somebody was served");
    }

    #[test]
    fn a_server_that_sleeps_until_it_is_looked_at_has_nobody_waiting() {
        let (mut pace, end) = after_turn(1);
        assert!(pace.is_owing(end + 100 * US), "somebody was served");
        pace.falls_asleep(|| end + 110 * US);
        pace.wakes_up(|| end + 1100 * US);
        assert!(!pace.is_owing(end + 1105 * US));
    }

    #[test]
    fn clients_that_are_all_on_their_way_for_a_moment_are_owed_all_the_same() {
        let (mut pace, end) = after_turn(10);
        // Awake for 60 us and asleep for 70, again and again, and looked at after each millisecond.
        let mut now = end;
        for look in 1..=8 {
            for _ in 0..7 {
                pace.falls_asleep(|| now + 60 * US);
                pace.wakes_up(|| now + 130 * US);
                now += 130 * US;
            }
            assert!(pace.is_owing(end + look * MS));
            now = end + look * MS;
        }
        assert!(!pace.is_owing(end + 9 * MS), "it is paid by the time that clients could have had");
    }

    #[test]
    fn over_a_long_time_the_share_holds() {
        for share in [10_u32, 33, 50, 90] {
            let (mut pace, mut now) = (Pace::new(), Instant::now());
            let (start, mut worked) = (now, Duration::ZERO);
            while now < start + 1000 * MS {
                // Others take what they are given in rounds of 200 us.
                if pace.is_owing(now) {
                    now += 200 * US;
                    continue;
                }
                pace.has_run(now, now + MS, share);
                worked += MS;
                now += MS + 200 * US;
            }
            let percent = worked.as_micros() * 100 / (now - start).as_micros();
            assert!(percent <= u128::from(share), "{percent} % of {share} %");
            assert!(percent + 20 >= u128::from(share), "{percent} % of {share} %");
        }
    }
}
