//! A client that the server has blocked for a command of ours: replied to from any thread, and unblocked once.

use std::collections::HashMap;
use std::sync::{LazyLock, Mutex, MutexGuard, PoisonError};

use foldhash::fast::RandomState;
use redis_module::raw;
use tokio::sync::oneshot;

use super::api::required;
use super::callback::{guarded, note_answer};
use super::context::{Ctx, ReplyTo};

/// The channels by which tasks hear that a blocked client has gone, by the address of its handle.
static WAITING: LazyLock<Mutex<Gone>> = LazyLock::new(Mutex::default);

type Gone = HashMap<usize, oneshot::Sender<()>, RandomState>;

fn waiting() -> MutexGuard<'static, Gone> {
    WAITING.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The handle of a blocked client, which is unblocked when this is dropped.
pub(crate) struct BlockedHandle {
    handle: *mut raw::RedisModuleBlockedClient,
    ctx: *mut raw::RedisModuleCtx,
    is_measured: bool,
}

// SAFETY: the server allows replies to a blocked client and its unblocking from any thread, one at a time; a handle has
// one owner, and is used through `&mut` alone.
unsafe impl Send for BlockedHandle {}

impl BlockedHandle {
    /// Blocks the client of a command. The receiver hears of its disconnection. `None` if the server blocks no such client.
    pub(crate) fn block(ctx: Ctx<'_>) -> Option<(Self, oneshot::Receiver<()>)> {
        // SAFETY: invariants 1, 2 and 5. The context for replies is made here, since the server reads the client while it
        // makes it.
        let (handle, reply_ctx) = unsafe {
            let handle = required!(RedisModule_BlockClient)(ctx.as_ptr(), None, None, None, 0);
            if handle.is_null() {
                return None;
            }
            note_answer();
            required!(RedisModule_SetDisconnectCallback)(handle, Some(disconnected));
            (handle, required!(RedisModule_GetThreadSafeContext)(handle))
        };
        let (gone, cancelled) = oneshot::channel();
        waiting().insert(handle as usize, gone);
        Some((Self { handle, ctx: reply_ctx, is_measured: false }, cancelled))
    }

    /// Makes the time from now on until the client is unblocked count as what its command has taken, in the slow log and the
    /// statistics of commands.
    pub(crate) fn measure(&mut self) {
        // SAFETY: invariant 2: the handle is blocked. The server reads what was measured once it is not, and nobody else uses
        // the handle meanwhile.
        unsafe { required!(RedisModule_BlockedClientMeasureTimeStart)(self.handle) };
        self.is_measured = true;
    }

    /// Returns where replies to the client go.
    pub(crate) fn reply_to(&mut self) -> ReplyTo<'_> {
        // SAFETY: invariant 1: the context is freed when `self` is. Replies need neither the main thread nor the lock.
        unsafe { ReplyTo::new(self.ctx) }
    }
}

impl Drop for BlockedHandle {
    fn drop(&mut self) {
        waiting().remove(&(self.handle as usize));
        // SAFETY: invariant 4 for both; the client is unblocked last, as the handle is the server's from then on.
        unsafe {
            required!(RedisModule_FreeThreadSafeContext)(self.ctx);
            if self.is_measured {
                required!(RedisModule_BlockedClientMeasureTimeEnd)(self.handle);
            }
            required!(RedisModule_UnblockClient)(self.handle, std::ptr::null_mut());
        }
    }
}

/// Tells the task that serves a client that it has gone. The task unblocks the handle in its own time.
unsafe extern "C" fn disconnected(_: *mut raw::RedisModuleCtx, handle: *mut raw::RedisModuleBlockedClient) {
    guarded(|| {
        if let Some(gone) = waiting().remove(&(handle as usize)) {
            // A task that has just ended needs not hear it.
            let _ = gone.send(());
        }
    });
}
