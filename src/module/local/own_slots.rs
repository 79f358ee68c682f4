//! For which slots the answers in process hold: what the server says of its own slots before the commands and after.
//!
//! The question takes as long as hundreds of short commands, so one at the end of a round of the event loop serves all
//! shares that are done in this round: their deliveries wait for it. A share that is the first for a while asks at once, and so
//! do callers that cannot wait: between its commands and the question nothing else runs, and nothing has to be known of the
//! time before.

use std::sync::{Arc, LazyLock, Mutex, MutexGuard, PoisonError};

use tokio::sync::oneshot;

use crate::link::{self, Delivery, Failure, OWN_SLOTS_QUESTION, OwnSlotsWatch, Protocol, SlotsAround};
use crate::module::server::call::{CallKind, CommandRunner};
use crate::module::server::context::Ctx;
use crate::module::server::main_thread;
use crate::topology::OwnSlots;

/// What the server has said, or why it has not.
pub(super) type SlotsSaid = Result<Arc<OwnSlots>, String>;

/// What the server has said so far, and who waits for it to say more.
#[derive(Default)]
struct Asked {
    watch: OwnSlotsWatch,
    waiting: Vec<WaitingShare>,
}

/// A share that is done, but for its slots.
struct WaitingShare {
    answer: oneshot::Sender<SlotsSaid>,
    /// The request may go on in the main thread.
    is_short: bool,
}

static ASKED: LazyLock<Mutex<Asked>> = LazyLock::new(Mutex::default);

fn asked() -> MutexGuard<'static, Asked> {
    ASKED.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Asks the server now.
fn ask(ctx: Ctx<'_>) -> SlotsSaid {
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

/// How a share that is done hears of its slots.
pub(super) enum SlotsOfShare {
    /// All is known.
    Known(Result<SlotsAround, String>),
    /// What held before is known; the end of the round says what holds after.
    AtEndOfRound { before: SlotsSaid, after: oneshot::Receiver<SlotsSaid> },
}

impl SlotsOfShare {
    /// Finds out what holds for a share that has just run all in one, in this callback.
    pub(super) fn of_one_slice(ctx: Ctx<'_>, before: SlotsSaid, can_wait: bool, is_short: bool) -> Self {
        let is_elsewhere = || main_thread::with_detached(|_| ()).is_none();
        if can_wait && asked().watch.is_fresh() && !is_elsewhere() {
            return Self::of_slices(before, is_short);
        }
        Self::Known(ask(ctx).map(|said| SlotsAround::new(said.clone(), said)))
    }

    /// The same for a share that has taken several turns on the main thread, and has just had its last.
    pub(super) fn of_slices(before: SlotsSaid, is_short: bool) -> Self {
        let (answer, after) = oneshot::channel();
        asked().waiting.push(WaitingShare { answer, is_short });
        Self::AtEndOfRound { before, after }
    }

    /// Adds what holds to a delivery, once it is known.
    pub(super) async fn add_to(self, delivery: Delivery) -> Delivery {
        let around = match self {
            Self::Known(around) => around,
            Self::AtEndOfRound { before, after } => {
                let after = after.await.unwrap_or_else(|_| Err("the server has not come to say it".into()));
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
    for share in waiting {
        link::wake(share.is_short, || {
            // A request that was given up needs no answer.
            let _ = share.answer.send(said.clone());
        });
    }
    true
}
