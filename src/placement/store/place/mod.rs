//! `RMR.PLACE`: what operators ask a store and tell it, by whatever way they come.
//!
//! - [`words`]: what can be said
//! - [`mod@changes`]: changes of a store
//! - [`shown`]: what is answered

mod changes;
mod shown;
mod words;

use super::Store;
use super::settings::StoreSettings;
use crate::error::Error;
use crate::reply::Reply;
use words::{FORMS, PlaceCommand};

/// Tells whether what stands behind `RMR.PLACE` changes something, if it is understood at all.
pub(crate) fn changes(words: &[&[u8]]) -> bool {
    PlaceCommand::parse(words).is_ok_and(|command| command.changes())
}

impl Store {
    /// Carries out the words behind `RMR.PLACE`. The rights of the caller have been checked.
    ///
    /// # Errors
    /// [`Error::Invalid`] for what is not understood; [`Error::Node`] if the configuration node does not answer.
    pub(crate) async fn place(&self, words: &[&[u8]]) -> Result<Reply, Error> {
        Ok(match PlaceCommand::parse(words)? {
            PlaceCommand::Status => {
                let followed = self.shared.tables.current().map_or(0, |table| table.epoch);
                shown::status(&self.report().await?, &self.shared.tables.config().addresses(), followed)
            }
            PlaceCommand::Nodes => shown::nodes(&self.report().await?),
            PlaceCommand::Proxies => shown::proxies(&self.report().await?),
            PlaceCommand::Slots(range) => shown::slots(&self.report().await?, range)?,
            PlaceCommand::Key(key) => {
                let report = self.report().await?;
                shown::key(&report, StoreSettings::read(&report.settings)?.func, &key)?
            }
            PlaceCommand::Log(count) => shown::log(&self.last_changes(count).await?),
            PlaceCommand::Create(new) => {
                self.create(&new).await?;
                Reply::OK
            }
            PlaceCommand::Add { address, weight, zone } => {
                self.add(&address, weight, zone.as_deref()).await?;
                Reply::OK
            }
            PlaceCommand::Adopt(node) => {
                self.adopt(&node).await?;
                Reply::OK
            }
            PlaceCommand::Remove { address, at_once } => {
                match at_once {
                    true => self.remove_at_once(&address).await?,
                    false => self.drain(&address).await?,
                }
                Reply::OK
            }
            PlaceCommand::Plan => shown::plan(&self.plan_of_moves().await?),
            PlaceCommand::Rebalance(most) => Reply::Integer(self.rebalance(most).await? as i64),
            PlaceCommand::Move { slot, from, to } => {
                self.move_slot(slot, &from, &to).await?;
                Reply::OK
            }
            PlaceCommand::Pause => {
                self.pause_moves().await?;
                Reply::OK
            }
            PlaceCommand::Resume => {
                self.resume_moves().await?;
                Reply::OK
            }
            PlaceCommand::Cancel(slots) => Reply::Integer(self.cancel_moves(&slots).await? as i64),
            PlaceCommand::Check { slot, repairs } => shown::checked(&self.check(slot, repairs).await?),
            PlaceCommand::Set { name, value } => {
                self.set(&name, &value).await?;
                Reply::OK
            }
            PlaceCommand::Help => help(),
        })
    }
}

/// Returns the lines of `HELP`, in the form of Redis.
fn help() -> Reply {
    let head = "RMR.PLACE <subcommand> [<arg> [value] [opt] ...]. Subcommands are:".to_owned();
    let lines = FORMS.iter().flat_map(|(form, what)| [(*form).to_owned(), format!("    {what}")]);
    Reply::Array(std::iter::once(head).chain(lines).map(|line| Reply::Simple(line.into())).collect())
}
