//! [`Member`]: work that is cut into slots, shared among processes that agree through one Redis on who serves which.
//!
//! Each member reckons by itself which slots it ought to serve, from the list of the members that are there. The program is told
//! what is [missing](Event::Missing) and what is [redundant](Event::Redundant), does what that takes, and says when it is done; only
//! then the routes of all change. Of those who serve a slot one is the primary; what that means is the program's affair.
//!
//! A member has one key at the configuration node that runs out when it is not renewed. The member that notices removes it, and
//! all of its slots get another primary in the same moment. Every such change has a number, the epoch, and the numbers are
//! tokens: a primary sends the token of its slot along with what it writes, and who is written to refuses a token that is lower
//! than the highest it has seen. So a process that was stopped for a while, and does not know yet that others have gone on, does
//! no harm.
//!
//! ```no_run
//! use rmr::placement::member::{Event, Member, MemberOptions};
//!
//! # async fn run() -> Result<(), rmr::Error> {
//! let member = Member::join(MemberOptions::new("worker-1", ["redis://127.0.0.1:6379"])).await?;
//! while let Some(event) = member.next_event().await {
//!     match event {
//!         Event::Missing(slots) => {
//!             for slot in slots {
//!                 // Whatever it takes to serve the slot, and then:
//!                 member.ready(slot).await?;
//!             }
//!         }
//!         Event::Redundant(slots) => {
//!             for slot in slots {
//!                 if member.release(slot).await?.is_done() {
//!                     // Nobody is sent here any more: clean up.
//!                 }
//!             }
//!         }
//!         Event::Primaries { gained, lost } => println!("primary of {gained:?}, no more of {lost:?}"),
//!         Event::Lost(slots) => println!("others serve {slots:?}: stop"),
//!         _ => {}
//!     }
//! }
//! # Ok(())
//! # }
//! ```
//!
//! [Which of the three](crate::_docs::which_of_the_three) says what else there is for programs.

mod agent;
mod event;
mod options;
mod scripts;
mod state;
mod table;

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::Mutex;
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};
use tokio::task::JoinHandle;
use tokio::time::timeout;

pub use event::Event;
pub use options::MemberOptions;
pub use table::{Holder, Routes};

use self::agent::Agent;
use self::scripts::Changed;
use crate::error::Error;
use crate::placement::config_node::ConfigNode;

/// The answer to a request to give a slot up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Release {
    /// The slot is not served here any more, and nobody's routes say so.
    Done,
    /// Too few others serve it: it stays, and becomes [redundant](Event::Redundant) when there are enough.
    Refused {
        /// The number of others that serve it.
        others: usize,
        /// The number of others that have to.
        wanted: usize,
    },
}

impl Release {
    /// Returns whether the slot was given up.
    pub fn is_done(self) -> bool {
        self == Self::Done
    }
}

/// The state in which a member has left the slots.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Left {
    /// The slots that fewer members serve now than there ought to be copies, and how many do.
    pub short: Vec<(u16, usize)>,
}

/// A process among those that share work. Dropping it without [`leave`](Self::leave) is like a crash: the others notice
/// after its timeout.
pub struct Member {
    agent: Arc<Agent>,
    events: Mutex<UnboundedReceiver<Event>>,
    tasks: Vec<JoinHandle<()>>,
}

impl Drop for Member {
    fn drop(&mut self) {
        self.tasks.iter().for_each(JoinHandle::abort);
    }
}

impl Member {
    /// Joins the others. A member of the same id that died is waited for, until its key has run out.
    ///
    /// # Errors
    /// [`Error::Invalid`] for options that cannot be, and for settings that are not those of the others: it names both values.
    /// [`Error::Refused`] if a living member has this id. [`Error::Node`] if the configuration node cannot be reached.
    pub async fn join(options: MemberOptions) -> Result<Self, Error> {
        options.check()?;
        let limit = (options.settings.timeout / 4).min(Duration::from_secs(1));
        let node = ConfigNode::new(&options.addresses, options.name.as_deref(), limit)?;
        let (sender, events) = unbounded_channel();
        let agent = Arc::new(Agent::new(node, options.settings, sender));
        agent.join().await?;
        agent.sync().await?;
        let tasks = vec![tokio::spawn(agent.clone().listen()), tokio::spawn(agent.clone().run())];
        Ok(Self { agent, events: Mutex::new(events), tasks })
    }

    /// Waits for the next thing to do or to know. `None` after [`leave`](Self::leave), once the events from before it are taken.
    /// Nothing waits for the program: while it works on one event, the member stays alive and its routes stay fresh.
    pub async fn next_event(&self) -> Option<Event> {
        self.events.lock().await.recv().await
    }

    /// Says that every request for a slot can be served here. Returns the token of the slot: the epoch by which this member
    /// became ready, or its primary if it is that. Can be said again. After an error the slot is asked for again.
    ///
    /// # Errors
    /// [`Error::Refused`] if this member was removed meanwhile; it hears that it has [lost](Event::Lost) its slots.
    /// [`Error::Invalid`] for a slot that does not exist. [`Error::Node`] if the configuration node cannot be reached.
    pub async fn ready(&self, slot: u16) -> Result<u64, Error> {
        let agent = &self.agent;
        let incarnation = agent.incarnation(slot)?;
        let answer = scripts::ready(&agent.node, agent.id(), incarnation, slot).await;
        if answer.is_err() {
            agent.state().failed(slot, Instant::now());
            agent.wake();
        }
        match answer? {
            Changed::Done { epoch, holders } => {
                let token =
                    holders.iter().find(|holder| *holder.id == *agent.id()).map_or(epoch, |holder| holder.token);
                agent.changed(incarnation, slot, epoch, holders);
                Ok(token)
            }
            Changed::Gone | Changed::Refused { .. } => Err(agent.removed()),
        }
    }

    /// Asks to give a slot up. If that is done, it is in nobody's routes already.
    ///
    /// # Errors
    /// As [`ready`](Self::ready).
    pub async fn release(&self, slot: u16) -> Result<Release, Error> {
        self.give_up(slot, "released", self.agent.settings.copies).await
    }

    /// Says that a slot cannot be served here. It is given up whatever others there are, and asked for again after a pause that
    /// grows with each failure.
    ///
    /// # Errors
    /// As [`ready`](Self::ready); the pause counts in any case.
    pub async fn failed(&self, slot: u16) -> Result<(), Error> {
        self.agent.incarnation(slot)?;
        self.agent.state().failed(slot, Instant::now());
        self.agent.wake();
        self.give_up(slot, "failed", 0).await.map(drop)
    }

    async fn give_up(&self, slot: u16, what: &str, wanted: usize) -> Result<Release, Error> {
        let agent = &self.agent;
        let incarnation = agent.incarnation(slot)?;
        agent.state().gives_up(slot);
        let answer = scripts::release(&agent.node, agent.id(), incarnation, slot, what, wanted).await;
        let answer = match answer {
            Ok(Changed::Done { epoch, holders }) => {
                agent.changed(incarnation, slot, epoch, holders);
                Ok(Release::Done)
            }
            Ok(Changed::Refused { others }) => Ok(Release::Refused { others, wanted }),
            Ok(Changed::Gone) => Err(agent.removed()),
            Err(error) => Err(error),
        };
        let is_done = matches!(answer, Ok(Release::Done));
        agent.state().has_given_up(slot, is_done, Instant::now());
        agent.wake();
        answer
    }

    /// Returns the slots of which this member is the primary, each with its token. It is empty as soon as others may have taken
    /// the member for dead, by its own clock: also in a process that was stopped, from its first step on.
    pub fn primaries(&self) -> BTreeMap<u16, u64> {
        self.agent.state().primaries(Instant::now())
    }

    /// Returns the token of a slot if this member is its primary.
    pub fn primary_token(&self, slot: u16) -> Option<u64> {
        self.agent.state().primary_token(slot, Instant::now())
    }

    /// Returns the slots that are served here, in ascending order.
    pub fn held(&self) -> Vec<u16> {
        self.agent.state().held()
    }

    /// Returns the slots that ought to be served here and are not, whether that was told already or not.
    pub fn missing(&self) -> Vec<u16> {
        self.agent.state().missing()
    }

    /// Returns the slots that are served here and need not be, also those that cannot be given up yet.
    pub fn redundant(&self) -> Vec<u16> {
        self.agent.state().redundant()
    }

    /// Returns who serves which slot. It asks nobody.
    pub fn routes(&self) -> Routes {
        self.agent.state().routes()
    }

    /// Returns the ids of all members, in ascending order.
    pub fn members(&self) -> Vec<String> {
        self.agent.state().members()
    }

    /// Returns its own id.
    pub fn id(&self) -> &str {
        self.agent.id()
    }

    /// Returns the slot of an object.
    pub fn slot_of(&self, object: &[u8]) -> u16 {
        self.agent.settings.slots.slot(object)
    }

    /// Leaves: others are asked to serve its slots, and it goes when enough of them do, or when the time is over. Until then it
    /// serves, and may give up slots as they become redundant. Returns what is served by fewer than there ought to be.
    ///
    /// # Errors
    /// [`Error::Node`] if the configuration node cannot be reached: the others notice after the timeout.
    pub async fn leave(&self, within: Duration) -> Result<Left, Error> {
        let agent = &self.agent;
        let left = match agent.known_incarnation() {
            Some(incarnation) => {
                scripts::announce_leave(&agent.node, agent.id(), incarnation).await?;
                let mut changes = agent.changes();
                let replaced = async { while !agent.state().can_leave() && changes.changed().await.is_ok() {} };
                let _ = timeout(within, replaced).await;
                agent.stop();
                scripts::leave(&agent.node, agent.id(), incarnation, agent.settings.copies).await
            }
            // It was removed, and holds nothing.
            None => Ok(Vec::new()),
        };
        agent.stop();
        self.tasks.iter().for_each(JoinHandle::abort);
        agent.state().close();
        left.map(|short| Left { short })
    }
}
