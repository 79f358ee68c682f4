//! For which slots the answers in process hold: what the server says of its own slots before the commands and after.
//!
//! The question takes as long as hundreds of short commands, so one at the end of a round of the event loop serves all
//! shares that are done in this round: their deliveries wait for it. A share that is the first for a while asks at once, and so
//! do callers that cannot wait: between its commands and the question nothing else runs, and nothing has to be known of the
//! time before.

use std::future::poll_fn;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, LazyLock, Mutex, MutexGuard, PoisonError};
use std::task::{Poll, Waker};

use crate::link::{self, Delivery, Failure, OWN_SLOTS_QUESTION, OwnSlotsWatch, Protocol, SlotsAround};
use crate::module::server::call::{CallKind, CommandRunner};
use crate::module::server::context::Ctx;
use crate::module::server::main_thread;
use crate::topology::OwnSlots;

/// The server's answer about its slots, or the reason why there is none.
pub(crate) type SlotsSaid = Result<Arc<OwnSlots>, String>;

/// The server's answers about its slots so far, and the shares that wait for the next one.
#[derive(Default)]
struct Asked {
    watch: OwnSlotsWatch,
    waiting: Vec<WaitingShare>,
}

/// A share that is done, but for its slots.
struct WaitingShare {
    place: Arc<Mutex<EndOfRound>>,
    /// The deliveries of other nodes that are still to come, with which whoever waits looks at this one, too.
    others: Option<Arc<AtomicUsize>>,
    /// The request may go on in the main thread.
    is_short: bool,
}

/// The place where a share finds the server's answer about its slots, and the waker of the task that wants it.
#[derive(Default)]
pub(super) struct EndOfRound {
    said: Option<SlotsSaid>,
    waker: Option<Waker>,
}

/// The facts about a share that is done.
pub(super) struct DoneShare {
    pub(super) others: Option<Arc<AtomicUsize>>,
    pub(super) is_short: bool,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl WaitingShare {
    /// Says what the server says, and wakes whoever waits for it unless others are to come.
    fn hear(self, said: SlotsSaid) {
        let waker = {
            let mut place = lock(&self.place);
            place.said = Some(said);
            place.waker.take()
        };
        // Looked at after what was said is there: whoever counts down to zero looks for that afterwards.
        let looks_again = self.others.is_some_and(|others| others.load(Ordering::Acquire) > 0);
        if let Some(waker) = waker.filter(|_| !looks_again) {
            link::wake(self.is_short, || waker.wake());
        }
    }
}

static ASKED: LazyLock<Mutex<Asked>> = LazyLock::new(Mutex::default);

fn asked() -> MutexGuard<'static, Asked> {
    lock(&ASKED)
}

/// Asks the server now.
pub(crate) fn ask(ctx: Ctx<'_>) -> SlotsSaid {
    asked().watch.has_asked();
    let mut runner = CommandRunner::new(ctx, Protocol::Resp2);
    let called = runner.call(OWN_SLOTS_QUESTION.iter().map(|word| word.as_bytes()), CallKind::Plain);
    asked().watch.hear(called.wire())
}

/// Returns what the server has said last; asks it if it has said nothing so far. Before the first command of a share.
pub(super) fn before(ctx: Ctx<'_>) -> SlotsSaid {
    let last = asked().watch.last().cloned();
    last.map_or_else(|| ask(ctx), Ok)
}

/// The way in which a share that is done hears of its slots.
pub(super) enum SlotsOfShare {
    /// Both answers are known.
    Known(Result<SlotsAround, String>),
    /// The answer from before is known; the end of the round brings the one from after.
    AtEndOfRound { before: SlotsSaid, after: Arc<Mutex<EndOfRound>> },
}

impl SlotsOfShare {
    /// Finds out what holds for a share that has just run all in one, in this callback.
    pub(super) fn of_one_slice(ctx: Ctx<'_>, before: SlotsSaid, can_wait: bool, share: DoneShare) -> Self {
        let is_elsewhere = || main_thread::with_detached(|_| ()).is_none();
        if can_wait && asked().watch.is_fresh() && !is_elsewhere() {
            return Self::of_slices(before, share);
        }
        Self::Known(ask(ctx).map(|said| SlotsAround::new(said.clone(), said)))
    }

    /// Waits in the same way for a share that has taken several turns on the main thread, and has just had its last.
    pub(super) fn of_slices(before: SlotsSaid, share: DoneShare) -> Self {
        let DoneShare { others, is_short } = share;
        let after = Arc::<Mutex<EndOfRound>>::default();
        asked().waiting.push(WaitingShare { place: after.clone(), others, is_short });
        Self::AtEndOfRound { before, after }
    }

    /// Adds what holds to a delivery, once it is known.
    pub(super) async fn add_to(self, delivery: Delivery) -> Delivery {
        let around = match self {
            Self::Known(around) => around,
            Self::AtEndOfRound { before, after } => {
                let after = poll_fn(|context| {
                    let mut place = lock(&after);
                    match place.said.take() {
                        Some(said) => Poll::Ready(said),
                        None => {
                            place.waker = Some(context.waker().clone());
                            Poll::Pending
                        }
                    }
                });
                let after = after.await;
                before.and_then(|before| Ok(SlotsAround::new(before, after?)))
            }
        };
        match around {
            Ok(around) => Delivery { own_slots: Some(around), ..delivery },
            Err(why) => Delivery { failure: delivery.failure.or(Some(Failure::OwnSlotsUnknown(why))), ..delivery },
        }
    }
}

/// Returns how many shares wait for the end of the round.
pub(crate) fn waiting() -> usize {
    asked().waiting.len()
}

/// Asks once for all shares that have come to their end in this round of the event loop. Returns whether there were any,
/// whose requests may go on now.
pub(crate) fn end_round() -> bool {
    let waiting = std::mem::take(&mut asked().waiting);
    if waiting.is_empty() {
        return false;
    }
    let said = main_thread::with_detached(ask).unwrap_or_else(|| Err("the module is being unloaded".into()));
    waiting.into_iter().for_each(|share| share.hear(said.clone()));
    true
}
