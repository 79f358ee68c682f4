//! [`Gate`]: who may send what.

use bytes::Bytes;

use crate::command::CommandSet;
use crate::error::Error;
use crate::topology::BoxFuture;

/// Asked before anything of a request leaves: may this be sent? The module's gate checks the rights of the calling
/// user.
pub trait Gate: Send + Sync + 'static {
    /// Lets the commands pass, or says why not. It may mark those that change nothing as such.
    fn admit(&self, commands: CommandSet) -> BoxFuture<'_, Result<CommandSet, Error>>;

    /// Tells which of these keys may be shown to the caller; `None`, the default, if all may.
    fn may_read(&self, _keys: Vec<Bytes>) -> BoxFuture<'_, Result<Option<Vec<bool>>, Error>> {
        Box::pin(std::future::ready(Ok(None)))
    }
}
