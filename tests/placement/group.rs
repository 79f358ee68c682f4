//! Members in this process, and what they are told.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use rmr::placement::member::{Event, Member, MemberOptions};
use rmr::placement::slot::{SlotFunc, SlotHash};
use rmr::testing::Server;
use rmr::{Command, FromReply};
use tokio::task::JoinHandle;

/// The longest that anything may take on a busy machine.
pub const LIMIT: Duration = Duration::from_secs(60);

/// The time after which a member of these tests is given up.
pub const TIMEOUT: Duration = Duration::from_millis(1500);

/// The number of slots.
pub const SLOTS: u16 = 64;

/// The way in which a program acts on the events of its member.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Manner {
    /// Says ready, and gives up, at once.
    Eager,
    /// Does nothing.
    Idle,
}

/// A member, the program that runs it, and all that it was told.
pub struct Worker {
    pub member: Arc<Member>,
    told: Arc<Mutex<Told>>,
    program: JoinHandle<()>,
}

/// The events that a program has taken.
#[derive(Default)]
struct Told {
    events: Vec<Event>,
    /// The slots of which it takes itself for the primary, and their tokens.
    primaries: BTreeMap<u16, u64>,
}

impl Told {
    fn take(&mut self, event: Event) {
        if let Event::Primaries { gained, lost } = &event {
            self.primaries.retain(|slot, _| !lost.contains(slot));
            self.primaries.extend(gained.iter().copied());
        }
        self.events.push(event);
    }
}

impl Drop for Worker {
    /// Ends the program; without a farewell, if the member has not left.
    fn drop(&mut self) {
        self.program.abort();
    }
}

pub fn url(server: &Server) -> String {
    format!("redis://127.0.0.1:{}", server.port())
}

/// Options of a group with few slots, one copy, and a short timeout.
pub fn options(server: &Server, id: &str) -> MemberOptions {
    let slots = SlotFunc::new(SlotHash::Sha1, SLOTS).expect("a number of slots");
    let pause = Duration::from_millis(50);
    MemberOptions::new(id, [url(server)]).name("test").slots(slots).timeout(TIMEOUT).retry_pause(pause)
}

impl Worker {
    /// Joins with these options.
    pub async fn join(options: MemberOptions, manner: Manner) -> Self {
        let member = Arc::new(Member::join(options).await.expect("a member"));
        let told: Arc<Mutex<Told>> = Arc::default();
        let program = tokio::spawn(run(member.clone(), told.clone(), manner));
        Self { member, told, program }
    }

    /// Joins a group of one copy, and does what it is told.
    pub async fn eager(server: &Server, id: &str) -> Self {
        Self::join(options(server, id), Manner::Eager).await
    }

    /// Returns all that was told so far.
    pub fn told(&self) -> Vec<Event> {
        self.told.lock().expect("what was told").events.clone()
    }

    /// Returns whether the program has heard of all slots of which its member is the primary: it takes one event at a time.
    fn has_heard(&self) -> bool {
        self.told.lock().expect("what was told").primaries == self.member.primaries()
    }

    /// Forgets what was told.
    pub fn forget(&self) {
        self.told.lock().expect("what was told").events.clear();
    }

    /// Returns the slots that were told to be missing, in the order in which they were, each as often as it was.
    pub fn told_missing(&self) -> Vec<u16> {
        let slots = |event: Event| if let Event::Missing(slots) = event { slots } else { Vec::new() };
        self.told().into_iter().flat_map(slots).collect()
    }

    /// Returns the slots that were told to be redundant.
    pub fn told_redundant(&self) -> Vec<u16> {
        let slots = |event: Event| if let Event::Redundant(slots) = event { slots } else { Vec::new() };
        self.told().into_iter().flat_map(slots).collect()
    }
}

async fn run(member: Arc<Member>, told: Arc<Mutex<Told>>, manner: Manner) {
    while let Some(event) = member.next_event().await {
        told.lock().expect("what was told").take(event.clone());
        if manner == Manner::Idle {
            continue;
        }
        // An error means that the member was removed, or that the server is away: it is told again then.
        match event {
            Event::Missing(slots) => {
                for slot in slots {
                    let _ = member.ready(slot).await;
                }
            }
            Event::Redundant(slots) => {
                for slot in slots {
                    let _ = member.release(slot).await;
                }
            }
            _ => {}
        }
    }
}

/// Waits until a condition holds.
#[track_caller]
pub fn until(what: &str, condition: impl FnMut() -> bool) -> impl Future<Output = ()> {
    let (what, at) = (what.to_owned(), std::panic::Location::caller());
    let mut condition = condition;
    async move {
        let begun = Instant::now();
        while !condition() {
            assert!(begun.elapsed() < LIMIT, "{at}: not within {LIMIT:?}: {what}");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }
}

/// Waits until the members serve all slots in as many copies as there ought to be, as all of them know, and their programs too.
#[track_caller]
pub fn settled<'a>(workers: &'a [&'a Worker], copies: usize) -> impl Future<Output = ()> + use<'a> {
    until("the members have settled", move || is_settled(workers, copies))
}

fn is_settled(workers: &[&Worker], copies: usize) -> bool {
    let mut ids: Vec<&str> = workers.iter().map(|worker| worker.member.id()).collect();
    ids.sort_unstable();
    let wanted = copies.min(workers.len());
    let first = workers[0].member.routes();
    let is_served = |slot: u16| first.holders(slot).len() == wanted;
    let is_known = |worker: &&Worker| {
        let routes = worker.member.routes();
        let has_no_more_to_do = worker.member.missing().is_empty() && worker.member.redundant().is_empty();
        let agrees = (0..SLOTS).all(|slot| routes.holders(slot) == first.holders(slot));
        worker.member.members() == ids && has_no_more_to_do && agrees && worker.has_heard()
    };
    (0..SLOTS).all(is_served) && workers.iter().all(is_known)
}

/// Runs a command at a server, and converts its reply.
pub fn ask<T: FromReply>(server: &Server, words: &[&str]) -> T {
    let command = words[1..].iter().fold(Command::new(words[0]), |command, word| command.arg(*word));
    T::from_reply(server.call(command).expect("a reply")).expect("a reply of that type")
}

/// Returns the names of all keys at a server, in ascending order.
pub fn keys(server: &Server) -> Vec<String> {
    let mut keys: Vec<String> = ask(server, &["KEYS", "*"]);
    keys.sort_unstable();
    keys
}

/// Runs a command at a server that answers with a number.
pub fn number(server: &Server, words: &[&str]) -> i64 {
    ask(server, words)
}
