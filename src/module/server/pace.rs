//! [`Pace`]: when long work may have the main thread again, so that clients which wait have their part of it.
//!
//! After a turn the work owes the clients time, as its share says: at 50 per cent as much as it has had. Time is paid while
//! the thread does anything else and is awake. If the event loop sleeps in between, or comes round without having done
//! anything, nobody waits, and nothing is owed any more: on an idle server long work has the whole thread.
//!
//! All instants are handed in, so that the rule is tested without a server.

use std::time::{Duration, Instant};

/// An event loop that waits longer than this for something to do has nobody waiting for it.
const SLEEP: Duration = Duration::from_micros(50);

/// An event loop that comes round in less than this, awake, has served nobody on the way.
const EMPTY_ROUND: Duration = Duration::from_micros(30);

/// The account of the main thread's time between turns of long work.
#[derive(Debug, Default)]
pub(super) struct Pace {
    /// When the last turn ended, unless what it owed is paid.
    ended: Option<Instant>,
    owed: Duration,
    /// When the event loop fell asleep, and has not woken up since.
    asleep: Option<Instant>,
    /// How long it has slept since the last turn.
    slept: Duration,
}

impl Pace {
    pub(super) const fn new() -> Self {
        Self { ended: None, owed: Duration::ZERO, asleep: None, slept: Duration::ZERO }
    }

    /// Notes that the event loop is about to wait for something to do. The clock is looked at only while anything is owed.
    pub(super) fn falls_asleep(&mut self, now: impl FnOnce() -> Instant) {
        if self.ended.is_some() {
            self.asleep = Some(now());
        }
    }

    /// Notes that the event loop has something to do.
    pub(super) fn wakes_up(&mut self, now: impl FnOnce() -> Instant) {
        if let Some(asleep) = self.asleep.take() {
            let nap = now().saturating_duration_since(asleep);
            if nap >= SLEEP {
                self.ended = None;
            }
            self.slept += nap;
        }
    }

    /// Tells whether clients have to be served before the next turn may begin.
    pub(super) fn is_owing(&mut self, now: Instant) -> bool {
        let Some(ended) = self.ended else { return false };
        let others = now.saturating_duration_since(ended).saturating_sub(self.slept);
        if others < EMPTY_ROUND || others >= self.owed {
            self.ended = None;
        }
        self.ended.is_some()
    }

    /// Notes a turn. The work may have `share` per cent of the time while clients wait.
    pub(super) fn has_run(&mut self, began: Instant, ended: Instant, share: u32) {
        let share = share.clamp(1, 100);
        let owed = ended.saturating_duration_since(began) * (100 - share) / share;
        *self = Self { ended: (!owed.is_zero()).then_some(ended), owed, ..Self::new() };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);
    const US: Duration = Duration::from_micros(1);

    /// A pace after a turn of a millisecond, and when that ended.
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
    fn a_server_that_sleeps_has_nobody_waiting() {
        let (mut pace, end) = after_turn(10);
        pace.falls_asleep(|| end + 40 * US);
        pace.wakes_up(|| end + 140 * US);
        assert!(!pace.is_owing(end + 150 * US));
    }

    #[test]
    fn naps_between_one_client_s_commands_pay_nothing_and_end_nothing() {
        let (mut pace, end) = after_turn(50);
        // Awake for 60 us and asleep for 40, again and again.
        let mut now = end;
        for _ in 0..16 {
            pace.falls_asleep(|| now + 60 * US);
            pace.wakes_up(|| now + 100 * US);
            now += 100 * US;
            assert!(pace.is_owing(now));
        }
        assert!(pace.is_owing(now + 30 * US));
        assert!(!pace.is_owing(now + 40 * US), "a millisecond awake");
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
