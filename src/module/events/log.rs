//! [`EventLog`]: what has happened to the keys of this node, as long as somebody wants to know.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering::Relaxed};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};
use serde_bytes::ByteBuf;
use tokio::sync::Notify;

use crate::engine::glob::Pattern;
use crate::peer;

/// The time for which events are kept after somebody has asked for them.
const INTEREST: Duration = Duration::from_secs(60);

/// The number of events that are looked at before the server's main thread may add some.
const SLICE: usize = 1000;

/// The memory that an event takes besides its texts, in bytes.
const OVERHEAD: usize = size_of::<KeyEvent>() + 32;

/// An event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct KeyEvent {
    /// Milliseconds since 1970.
    pub(super) time_ms: u64,
    pub(super) database: i32,
    pub(super) name: Box<str>,
    pub(super) key: Box<[u8]>,
}

/// Says which events somebody wants.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(in crate::module) struct EventsWanted {
    pub(in crate::module) database: i32,
    /// A pattern that the key has to match.
    pub(in crate::module) pattern: ByteBuf,
    /// The names of the events; none for all.
    pub(in crate::module) names: Vec<String>,
    /// The most events that are returned.
    pub(in crate::module) count: usize,
}

/// The position of a reader in the log of a node.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct LogPlace {
    /// Tells this log from those that the node had before.
    pub(super) run: u64,
    /// The number of the next event.
    pub(super) next: u64,
}

/// Some events of a node.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct EventPage {
    pub(super) events: Vec<FoundEvent>,
    /// The place where the next page begins.
    pub(super) place: LogPlace,
    /// Tells whether events between the place that was asked for and the first of these are not kept.
    pub(super) is_lost: bool,
}

/// An event that somebody wants.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct FoundEvent {
    pub(super) number: u64,
    pub(super) time_ms: u64,
    pub(super) name: String,
    pub(super) key: ByteBuf,
}

/// The events of the keys of this node.
pub(super) struct EventLog {
    kept: Mutex<Option<KeptEvents>>,
    /// Somebody wants events.
    is_on: AtomicBool,
    /// The number of readers that wait for the next event.
    waiting: AtomicUsize,
    happened: Notify,
    evicted: AtomicU64,
}

struct KeptEvents {
    run: u64,
    /// The number of the next event.
    next: u64,
    events: VecDeque<KeyEvent>,
    bytes: usize,
    /// The moment until which somebody wants the events.
    until: Instant,
}

impl EventLog {
    pub(super) const fn new() -> Self {
        Self {
            kept: Mutex::new(None),
            is_on: AtomicBool::new(false),
            waiting: AtomicUsize::new(0),
            happened: Notify::const_new(),
            evicted: AtomicU64::new(0),
        }
    }

    fn lock(&self) -> MutexGuard<'_, Option<KeptEvents>> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Tells whether events are kept.
    pub(super) fn is_on(&self) -> bool {
        self.is_on.load(Relaxed)
    }

    /// Returns how many events are kept, and how many have gone since others needed the room.
    pub(super) fn counts(&self) -> (u64, u64) {
        (self.lock().as_ref().map_or(0, |kept| kept.events.len() as u64), self.evicted.load(Relaxed))
    }

    /// Forgets all.
    pub(super) fn close(&self) {
        *self.lock() = None;
        self.is_on.store(false, Relaxed);
        self.evicted.store(0, Relaxed);
    }

    /// Keeps an event. The oldest go that would take more than so many bytes; all go when nobody has asked for long.
    pub(super) fn record(&self, event: KeyEvent, now: Instant, most_bytes: usize) {
        let is_awaited = self.waiting.load(Relaxed) > 0;
        let mut log = self.lock();
        let Some(kept) = log.as_mut().filter(|kept| is_awaited || now < kept.until) else {
            *log = None;
            self.is_on.store(false, Relaxed);
            return;
        };
        kept.next += 1;
        kept.bytes += size(&event);
        kept.events.push_back(event);
        while kept.bytes > most_bytes
            && let Some(oldest) = kept.events.pop_front()
        {
            kept.bytes -= size(&oldest);
            self.evicted.fetch_add(1, Relaxed);
        }
        drop(log);
        if is_awaited {
            self.happened.notify_waiters();
        }
    }

    /// Returns the wanted events from a place on, or those that happen from now on. If there are none they are waited for until
    /// then.
    pub(super) async fn read(&self, place: Option<LogPlace>, wanted: &EventsWanted, until: Instant) -> EventPage {
        struct Waits<'a>(&'a AtomicUsize);
        impl Drop for Waits<'_> {
            fn drop(&mut self) {
                self.0.fetch_sub(1, Relaxed);
            }
        }
        self.waiting.fetch_add(1, Relaxed);
        let _waits = Waits(&self.waiting);
        let pattern = Pattern::new(&wanted.pattern);
        let mut place = place;
        loop {
            let mut happened = std::pin::pin!(self.happened.notified());
            happened.as_mut().enable();
            let (page, is_end) = self.slice(place, wanted, &pattern);
            place = Some(page.place);
            if !page.events.is_empty() || page.is_lost {
                return page;
            }
            if is_end && tokio::time::timeout_at(until.into(), happened).await.is_err() {
                return page;
            }
        }
    }

    /// Looks at some events from a place on. Returns what is wanted of them, and whether there are no more.
    fn slice(&self, place: Option<LogPlace>, wanted: &EventsWanted, pattern: &Pattern) -> (EventPage, bool) {
        let mut log = self.lock();
        let now = Instant::now();
        let kept = log.get_or_insert_with(|| KeptEvents {
            run: u64::from_str_radix(&peer::secret_word()[..15], 16).unwrap_or_default(),
            next: 0,
            events: VecDeque::new(),
            bytes: 0,
            until: now,
        });
        kept.until = now + INTEREST;
        self.is_on.store(true, Relaxed);
        let first = kept.next - kept.events.len() as u64;
        let (start, is_lost) = match place {
            None => (kept.next, false),
            Some(place) if place.run == kept.run => (place.next.clamp(first, kept.next), place.next < first),
            // All that is in this log has happened after all that was in the one before.
            Some(_) => (first, true),
        };
        let mut events = Vec::new();
        let mut next = start;
        for event in kept.events.range((start - first) as usize..).take(SLICE) {
            if events.len() == wanted.count {
                break;
            }
            if wanted.wants(event, pattern) {
                events.push(FoundEvent {
                    number: next,
                    time_ms: event.time_ms,
                    name: event.name.to_string(),
                    key: ByteBuf::from(event.key.to_vec()),
                });
            }
            next += 1;
        }
        let place = LogPlace { run: kept.run, next };
        (EventPage { events, place, is_lost }, next == kept.next)
    }
}

impl EventsWanted {
    fn wants(&self, event: &KeyEvent, pattern: &Pattern) -> bool {
        let is_named = self.names.is_empty() || self.names.iter().any(|name| name.eq_ignore_ascii_case(&event.name));
        is_named && event.database == self.database && pattern.fits(&event.key)
    }
}

fn size(event: &KeyEvent) -> usize {
    event.name.len() + event.key.len() + OVERHEAD
}

#[cfg(test)]
mod tests {
    use super::*;

    const ROOM: usize = 1 << 20;

    fn event(name: &str, key: &str) -> KeyEvent {
        KeyEvent { time_ms: 1, database: 0, name: name.into(), key: key.as_bytes().into() }
    }

    fn wanted(pattern: &str, names: &[&str]) -> EventsWanted {
        let names = names.iter().map(|name| (*name).to_owned()).collect();
        EventsWanted { database: 0, pattern: ByteBuf::from(pattern), names, count: 10 }
    }

    async fn read(log: &EventLog, place: Option<LogPlace>, wanted: &EventsWanted) -> (Vec<String>, LogPlace, bool) {
        let page = log.read(place, wanted, Instant::now()).await;
        let keys = page.events.iter().map(|event| format!("{} {}", event.name, String::from_utf8_lossy(&event.key)));
        (keys.collect(), page.place, page.is_lost)
    }

    #[tokio::test]
    async fn events_are_kept_from_the_first_question_on() {
        let log = EventLog::new();
        assert!(!log.is_on());
        let all = wanted("*", &[]);
        let (events, place, is_lost) = read(&log, None, &all).await;
        assert!(events.is_empty() && !is_lost && log.is_on());
        for (name, key) in [("set", "a:1"), ("del", "a:1"), ("set", "b:1")] {
            log.record(event(name, key), Instant::now(), ROOM);
        }
        let (events, end, _) = read(&log, Some(place), &all).await;
        assert_eq!(events, ["set a:1", "del a:1", "set b:1"]);
        assert!(read(&log, Some(end), &all).await.0.is_empty());
        assert_eq!(read(&log, Some(place), &wanted("a:*", &["SET"])).await.0, ["set a:1"]);
        let other = EventsWanted { database: 1, ..all.clone() };
        assert!(read(&log, Some(place), &other).await.0.is_empty());
        // Page by page.
        let two = EventsWanted { count: 2, ..all.clone() };
        let (events, place, _) = read(&log, Some(place), &two).await;
        assert_eq!(events, ["set a:1", "del a:1"]);
        assert_eq!(read(&log, Some(place), &two).await.0, ["set b:1"]);
    }

    #[tokio::test]
    async fn what_is_not_kept_is_said_to_be_lost() {
        let log = EventLog::new();
        let all = wanted("*", &[]);
        let (_, place, _) = read(&log, None, &all).await;
        let room = 3 * size(&event("set", "k0"));
        (0..5).for_each(|number| log.record(event("set", &format!("k{number}")), Instant::now(), room));
        let (events, end, is_lost) = read(&log, Some(place), &all).await;
        assert_eq!((events, is_lost), (vec!["set k2".to_owned(), "set k3".into(), "set k4".into()], true));
        assert_eq!(log.counts(), (3, 2));
        assert!(!read(&log, Some(end), &all).await.2);
        // A node that has begun anew.
        log.close();
        let (_, other, _) = read(&log, None, &all).await;
        assert_ne!(other.run, end.run);
        log.record(event("set", "new"), Instant::now(), room);
        assert_eq!(
            read(&log, Some(end), &all).await,
            (vec!["set new".to_owned()], LogPlace { next: 1, ..other }, true)
        );
    }

    #[tokio::test]
    async fn nothing_is_kept_once_nobody_has_asked_for_long() {
        let log = EventLog::new();
        read(&log, None, &wanted("*", &[])).await;
        log.record(event("set", "k"), Instant::now() + INTEREST, ROOM);
        assert!(!log.is_on() && log.counts().0 == 0);
    }

    #[tokio::test]
    async fn an_event_wakes_those_who_wait() {
        let log = EventLog::new();
        let all = wanted("k*", &[]);
        let waiting = log.read(None, &all, Instant::now() + Duration::from_secs(60));
        let happening = async {
            tokio::task::yield_now().await;
            log.record(event("set", "other"), Instant::now(), ROOM);
            tokio::task::yield_now().await;
            log.record(event("set", "k"), Instant::now(), ROOM);
        };
        let (page, ()) = tokio::join!(waiting, happening);
        assert_eq!(page.events.len(), 1);
        assert_eq!(log.waiting.load(Relaxed), 0);
    }
}
