//! [`Script`]: a Lua script that is called by its SHA-1, and by its text where that is not known.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

use crate::command::Argument;
use crate::command::Command;

/// A Lua script. Cheap to clone.
///
/// ```
/// use rmr::client::Script;
///
/// let script = Script::new("return {KEYS, ARGV}");
/// assert_eq!(script.sha1(), "25798f6e367278f6dedc9713a90c526c253106f3");
/// ```
#[derive(Clone)]
pub struct Script {
    parts: Arc<ScriptParts>,
}

struct ScriptParts {
    body: Vec<u8>,
    sha1: String,
    /// A server has refused to say whether it has the script.
    is_not_to_be_asked_for: AtomicBool,
}

impl PartialEq for Script {
    fn eq(&self, other: &Self) -> bool {
        self.body() == other.body()
    }
}

impl Eq for Script {}

impl Script {
    /// Makes a script of this text.
    pub fn new(body: impl Argument) -> Self {
        let body = body.to_argument().into_owned();
        let sha1 = sha1_smol::Sha1::from(&body).digest().to_string();
        Self { parts: Arc::new(ScriptParts { body, sha1, is_not_to_be_asked_for: AtomicBool::new(false) }) }
    }

    /// Returns the text.
    pub fn body(&self) -> &[u8] {
        &self.parts.body
    }

    /// Returns the SHA-1 of the text in 40 lower case digits, by which servers know it.
    pub fn sha1(&self) -> &str {
        &self.parts.sha1
    }

    /// Makes a call with these keys and arguments.
    pub fn call<K: Argument, A: Argument>(
        &self,
        keys: impl IntoIterator<Item = K>,
        args: impl IntoIterator<Item = A>,
    ) -> ScriptCall {
        let keys: Vec<K> = keys.into_iter().collect();
        let call = Command::new("EVALSHA").arg(self.sha1()).arg(keys.len());
        let call = keys.into_iter().fold(call, Command::key);
        ScriptCall { script: self.clone(), command: args.into_iter().fold(call, Command::arg) }
    }

    /// Tells whether hosts say if they have it. A user may lack the right to ask, and each try stands in a log of the server.
    pub(super) fn may_be_asked_for(&self) -> bool {
        !self.parts.is_not_to_be_asked_for.load(Relaxed)
    }

    /// Keeps that a host does not say.
    pub(super) fn is_not_to_be_asked_for(&self) {
        self.parts.is_not_to_be_asked_for.store(true, Relaxed);
    }

    /// Returns this call of it with its text in place of its SHA-1. The server then knows it, for as long as it keeps what
    /// was called by text.
    pub(crate) fn by_text(&self, call: &Command) -> Command {
        let mut by_text = Command::with_room("EVAL", call.wire_len() + self.body().len()).arg(self.body());
        by_text.push_args(call.args_wire(), call.word_count() - 1, 1);
        match call.routing_key() {
            Some(key) => by_text.routed_by(key).read_only(call.is_read_only()),
            None => by_text.read_only(call.is_read_only()),
        }
    }
}

impl fmt::Debug for Script {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Script({})", self.sha1())
    }
}

/// A call of a [`Script`] with its keys and arguments.
#[derive(Debug, Clone)]
pub struct ScriptCall {
    pub(crate) script: Script,
    pub(crate) command: Command,
}
