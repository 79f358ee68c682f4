//! [`Forwarded`]: commands that one proxy sends to another one, which orders them.

use crate::command::Command;
#[cfg(feature = "placement")]
use crate::command::CommandRef;
use crate::reply::Reply;
use crate::topology::BoxFuture;

/// The command by which a proxy says that it is one: its argument is the secret that all proxies of a placement share.
/// Steps follow on the connection, and a reply to each in their order.
pub(crate) const FORWARD: &str = "RMR.FORWARD";

/// The first command of a step that is to be done only if keys are as they were when a client began to watch them. The reply to
/// the client's `WATCH` follows. No server knows the command.
pub(crate) const UNLESS_WRITTEN: &str = "UNLESS-WRITTEN";

/// The name of a command that stands for others, which are one step for the copies of their slot. No server knows it.
const TOGETHER: &str = "STEP-TOGETHER";

/// Makes one command of several, which has each with how many words it has.
pub(crate) fn together(commands: &[Command]) -> Command {
    commands.iter().fold(Command::new(TOGETHER), |all, command| {
        command.words().fold(all.arg(command.word_count() as u64), |all, word| all.arg(word))
    })
}

/// Returns the commands that one stands for; `None` if it stands for itself.
#[cfg(any(feature = "placement", test))]
pub(crate) fn taken_apart<'a>(name: &[u8], mut words: impl Iterator<Item = &'a [u8]>) -> Option<Vec<Command>> {
    if name != TOGETHER.as_bytes() {
        return None;
    }
    let mut commands = Vec::new();
    while let Some(count) = words.next() {
        let count: usize = std::str::from_utf8(count).ok()?.parse().ok()?;
        let command: Vec<&[u8]> = words.by_ref().take(count).collect();
        if command.len() < count {
            return None;
        }
        commands.push(Command::from_args(command)?);
    }
    (!commands.is_empty()).then_some(commands)
}

/// Returns the commands that one stands for, or the command itself.
#[cfg(feature = "placement")]
pub(crate) fn each_of(command: CommandRef<'_>) -> Vec<Command> {
    let itself = || vec![command.command().into_owned()];
    taken_apart(command.name(), command.args()).unwrap_or_else(itself)
}

/// Takes commands that other proxies forward.
pub(crate) trait Forwarded: Send + Sync {
    /// Returns whether whoever knows this secret is another proxy.
    fn is_peer(&self, secret: &[u8]) -> bool;

    /// Takes a step. It has its place in the order of its slot when this is ready.
    fn take(&self, step: Command) -> BoxFuture<'_, ForwardedStep>;
}

/// A step that has its place, and whose reply is to come.
pub(crate) struct ForwardedStep(pub(crate) BoxFuture<'static, Reply>);

#[cfg(feature = "placement")]
impl ForwardedStep {
    /// Makes one that is answered already.
    pub(crate) fn answered(reply: Reply) -> Self {
        Self(Box::pin(std::future::ready(reply)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commands_that_went_together_come_apart_as_they_were() {
        let commands = vec![Command::new("SET").arg("a b").arg(""), Command::new("GET").arg("\r\n")];
        let all = together(&commands);
        assert_eq!(taken_apart(all.name(), all.args()), Some(commands));
        for wrong in [Command::new("GET").arg("1").arg("a"), together(&[]), together(&[]).arg(3).arg("GET")] {
            assert_eq!(taken_apart(wrong.name(), wrong.args()), None);
        }
    }
}
