//! [`MemberOptions`]: who a member is, and what all members of a group have to agree on.

use std::time::Duration;

use crate::error::Error;
use crate::placement::balance::Order;
use crate::placement::config_node::has_spaces;
use crate::placement::slot::SlotFunc;

/// The shortest time after which a silent member can be given up.
const LEAST_TIMEOUT: Duration = Duration::from_millis(100);

/// Says how a member joins. Slots, copies, order and minimum are stored at the configuration node by the first one; a
/// member that has others is not let in.
///
/// ```no_run
/// use std::time::Duration;
/// use rmr::placement::member::{Member, MemberOptions};
/// use rmr::placement::slot::{SlotFunc, SlotHash};
///
/// # async fn run() -> Result<(), rmr::Error> {
/// let options = MemberOptions::new("worker-1", ["redis://10.0.0.1:6379", "redis://10.0.0.2:6379"])
///     .name("workers")
///     .slots(SlotFunc::new(SlotHash::Sha1, 512)?)
///     .copies(2)
///     .timeout(Duration::from_secs(3));
/// let member = Member::join(options).await?;
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct MemberOptions {
    pub(super) addresses: Vec<String>,
    pub(super) name: Option<String>,
    pub(super) settings: Settings,
}

/// The settings that are needed again and again, without those that are only needed to connect.
#[derive(Clone)]
pub(super) struct Settings {
    pub(super) id: String,
    pub(super) timeout: Duration,
    pub(super) retry_pause: Duration,
    pub(super) weight: u32,
    pub(super) zone: Option<String>,
    pub(super) slots: SlotFunc,
    pub(super) copies: usize,
    pub(super) order: Order,
    pub(super) min_members: usize,
}

impl MemberOptions {
    /// Names the member, and the addresses of the configuration node: its primary and the replicas that may take its place, as
    /// `redis://[user:password@]host:port[/database]`.
    ///
    /// The id is what others know the member by, so it often is the address at which it serves. It has no spaces.
    pub fn new<A: Into<String>>(id: impl Into<String>, addresses: impl IntoIterator<Item = A>) -> Self {
        Self {
            addresses: addresses.into_iter().map(Into::into).collect(),
            name: None,
            settings: Settings {
                id: id.into(),
                timeout: Duration::from_secs(5),
                retry_pause: Duration::from_secs(1),
                weight: 1,
                zone: None,
                slots: SlotFunc::default(),
                copies: 1,
                order: Order::default(),
                min_members: 1,
            },
        }
    }

    /// Names the group: its keys begin with `{rmr:NAME}:`. Without a name they have no prefix, and a server has one group.
    #[must_use]
    pub fn name(self, name: impl Into<String>) -> Self {
        Self { name: Some(name.into()), ..self }
    }

    /// Says how many slots there are, and which one an object belongs to. 1024 by SHA1 if not said. Shared.
    #[must_use]
    pub fn slots(mut self, slots: SlotFunc) -> Self {
        self.settings.slots = slots;
        self
    }

    /// Says how many members a slot wants, the primary included. One if not said. Shared.
    #[must_use]
    pub fn copies(mut self, copies: usize) -> Self {
        self.settings.copies = copies;
        self
    }

    /// Says how the members of a slot are chosen. Shared.
    #[must_use]
    pub fn order(mut self, order: Order) -> Self {
        self.settings.order = order;
        self
    }

    /// Says how many members have to be there before slots are given out. With fewer nothing is missing, and nothing that is held
    /// becomes redundant. One if not said. Shared.
    #[must_use]
    pub fn min_members(mut self, min_members: usize) -> Self {
        self.settings.min_members = min_members;
        self
    }

    /// Says after how long without a sign of life the member is removed: 5 s if not said, 100 ms at least. It gives one every
    /// quarter of that.
    #[must_use]
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.settings.timeout = timeout;
        self
    }

    /// Says how long after its first failure a slot is asked for again: 1 s if not said. Each further failure doubles that, up to 64
    /// times as much.
    #[must_use]
    pub fn retry_pause(mut self, pause: Duration) -> Self {
        self.settings.retry_pause = pause;
        self
    }

    /// Gives the member a share in proportion; 1 if not said.
    #[must_use]
    pub fn weight(mut self, weight: u32) -> Self {
        self.settings.weight = weight;
        self
    }

    /// Names what the member fails together with: a machine, a rack. Copies of a slot are put in other zones while there are any.
    #[must_use]
    pub fn zone(mut self, zone: impl Into<String>) -> Self {
        self.settings.zone = Some(zone.into());
        self
    }

    pub(super) fn check(&self) -> Result<(), Error> {
        let Settings { id, zone, timeout, copies, min_members, weight, .. } = &self.settings;
        let invalid = |text: String| Err(Error::Invalid(text));
        if id.is_empty() || has_spaces(id) {
            return invalid(format!("the id '{}' is empty, or has spaces in it", id.escape_debug()));
        }
        if let Some(zone) = zone.as_deref().filter(|zone| zone.is_empty() || has_spaces(zone)) {
            return invalid(format!("the zone '{}' is empty, or has spaces in it", zone.escape_debug()));
        }
        if *timeout < LEAST_TIMEOUT {
            return invalid(format!("a timeout of {timeout:?}: at least {LEAST_TIMEOUT:?} are needed"));
        }
        if *copies == 0 || *min_members == 0 || *weight == 0 {
            return invalid(format!(
                "{copies} copies, {min_members} members at least, weight {weight}: each is 1 or more"
            ));
        }
        Ok(())
    }
}

impl Settings {
    pub(super) fn timeout_ms(&self) -> u64 {
        u64::try_from(self.timeout.as_millis()).unwrap_or(u64::MAX)
    }

    /// Returns what all members agree on, as it is stored.
    pub(super) fn shared(&self) -> Vec<(&'static str, String)> {
        let yes_no = if self.slots.has_hash_tags() { "yes" } else { "no" };
        vec![
            ("version", "1".to_owned()),
            ("kind", "members".to_owned()),
            ("slots", self.slots.slots().to_string()),
            ("hash", self.slots.hash().as_str().to_owned()),
            ("hash-tags", yes_no.to_owned()),
            ("copies", self.copies.to_string()),
            ("order", self.order.as_str().to_owned()),
            ("min-members", self.min_members.to_string()),
        ]
    }
}
