//! Numbers for whom code of users runs: one for each session's own code, and one for each execution on this server.
//!
//! A worker sends the number with every call. By it the server knows whose rights a command has, and to which session a
//! line in the log belongs. Numbers are given once, so that the number of what has ended means nothing any more.

use std::any::Any;
use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

/// Says on whose behalf code runs.
pub(crate) struct Context {
    /// The session of the code.
    pub(crate) session: String,
    /// The rights that its commands have. Only the floor that runs commands knows what they are.
    pub(crate) rights: Arc<dyn Any + Send + Sync>,
}

/// Knows the contexts that are open.
#[derive(Clone, Default)]
pub(crate) struct Contexts {
    shared: Arc<ContextTable>,
}

#[derive(Default)]
struct ContextTable {
    last: AtomicU64,
    open: Mutex<HashMap<u64, OpenContext>>,
}

struct OpenContext {
    context: Arc<Context>,
    guards: usize,
}

impl Contexts {
    /// Opens a context, until the guard is dropped.
    pub(crate) fn open(&self, context: Context) -> ContextGuard {
        let number = self.shared.last.fetch_add(1, Ordering::Relaxed) + 1;
        self.shared.table().insert(number, OpenContext { context: Arc::new(context), guards: 1 });
        ContextGuard { number, shared: self.shared.clone() }
    }

    /// Keeps all contexts of a session open that are, as code which it has left behind needs them.
    pub(crate) fn keep(&self, session: &str) -> Vec<ContextGuard> {
        let mut table = self.shared.table();
        let of_session = table.iter_mut().filter(|(_, open)| open.context.session == session);
        let keep = |(&number, open): (&u64, &mut OpenContext)| {
            open.guards += 1;
            ContextGuard { number, shared: self.shared.clone() }
        };
        of_session.map(keep).collect()
    }

    /// Returns the context of a number, if it is still open.
    pub(crate) fn find(&self, number: u64) -> Option<Arc<Context>> {
        self.shared.table().get(&number).map(|open| open.context.clone())
    }
}

impl ContextTable {
    fn table(&self) -> std::sync::MutexGuard<'_, HashMap<u64, OpenContext>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Keeps a context open.
pub(crate) struct ContextGuard {
    number: u64,
    shared: Arc<ContextTable>,
}

impl ContextGuard {
    /// Returns the number of the context or execution.
    pub(crate) fn number(&self) -> u64 {
        self.number
    }
}

impl Drop for ContextGuard {
    fn drop(&mut self) {
        let mut table = self.shared.table();
        if let Some(open) = table.get_mut(&self.number) {
            open.guards -= 1;
            if open.guards == 0 {
                table.remove(&self.number);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_means_something_as_long_as_its_context_is_open() {
        let contexts = Contexts::default();
        let open = |session: &str| contexts.open(Context { session: session.into(), rights: Arc::new(()) });
        let (first, second) = (open("a"), open("b"));
        assert_ne!(first.number(), second.number());
        assert_eq!(contexts.find(second.number()).map(|found| found.session.clone()), Some("b".into()));
        let number = first.number();
        drop(first);
        assert!(contexts.find(number).is_none());
        assert_ne!(open("c").number(), number);
        let kept = contexts.keep("b");
        let number = second.number();
        drop(second);
        assert!(kept.len() == 1 && contexts.find(number).is_some(), "somebody else needs it");
        drop(kept);
        assert!(contexts.find(number).is_none() && contexts.keep("b").is_empty());
    }
}
