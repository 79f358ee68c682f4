//! The clients that wait for events: by the numbers of the events' executions, what their functions may know and do of them.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::call_socket::CallError;
use crate::module::server::context::Ctx;
use crate::python::marshal::Writer;

/// A client that waits for an event.
pub(in crate::module) trait EventClient: Send + Sync {
    /// Returns the words of its command; [`None`] if the event is not linked to one.
    fn command(&self) -> Option<&[bytes::Bytes]>;

    /// Takes another reply, in RESP, than that of the command.
    ///
    /// # Errors
    /// The error says why it cannot have one.
    fn override_reply(&self, reply: &[u8]) -> Result<(), &'static str>;

    /// Returns the words of the command that comes after this hook, with these arguments, and what stands before it; [`None`]
    /// where there is no hook.
    fn next(&self, arguments: &[&[u8]]) -> Option<NextCommand>;
}

/// The command that comes after a hook.
pub(in crate::module) enum NextCommand {
    /// The command itself.
    Command(Vec<bytes::Bytes>),
    /// Another hook.
    Hook(RunHook),
}

/// Runs a hook within another one, and writes its reply.
pub(in crate::module) type RunHook = Box<dyn FnOnce(Ctx<'_>, &mut Writer) -> Result<(), String>>;

static CLIENTS: Mutex<Option<HashMap<u64, Arc<dyn EventClient>>>> = Mutex::new(None);

fn clients() -> MutexGuard<'static, Option<HashMap<u64, Arc<dyn EventClient>>>> {
    CLIENTS.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A client, known by the number of an execution until this is dropped.
#[derive(Debug)]
pub(in crate::module) struct BoundClient(u64);

/// Binds a client to the execution of its event.
pub(in crate::module) fn bind(execution: u64, client: Arc<dyn EventClient>) -> BoundClient {
    clients().get_or_insert_default().insert(execution, client);
    BoundClient(execution)
}

impl Drop for BoundClient {
    fn drop(&mut self) {
        if let Some(clients) = &mut *clients() {
            clients.remove(&self.0);
        }
    }
}

fn client_of(execution: u64) -> Option<Arc<dyn EventClient>> {
    clients().as_ref()?.get(&execution).cloned()
}

const NO_COMMAND: &str = "Can not get command ctx";

/// Writes the command of the client that waits for an event.
pub(super) fn write_command(execution: u64, to: &mut Writer) -> Result<(), CallError> {
    let client = client_of(execution).ok_or_else(|| CallError::of(NO_COMMAND))?;
    let words = client.command().ok_or_else(|| CallError::of(NO_COMMAND))?;
    to.begin_list(words.len());
    words.iter().for_each(|word| to.text_or_bytes(word));
    Ok(())
}

/// Gives that client another reply.
pub(super) fn override_reply(execution: u64, reply: &[u8]) -> Result<(), CallError> {
    let client = client_of(execution).ok_or_else(|| CallError::of(NO_COMMAND))?;
    client.override_reply(reply).map_err(CallError::of)
}

/// Returns what comes after the hook of an event.
pub(super) fn next(execution: u64, arguments: &[&[u8]]) -> Result<NextCommand, CallError> {
    let next = client_of(execution).and_then(|client| client.next(arguments));
    next.ok_or_else(|| CallError::of("Can not get CommandHook ctx"))
}
