//! The questions to a store's configuration node, as scripts.

use std::sync::LazyLock;

use crate::placement::config_node::ConfigScript;

pub(super) static TABLE: LazyLock<ConfigScript> = LazyLock::new(|| ConfigScript::look(&[include_str!("table.lua")]));
pub(super) static EPOCH: LazyLock<ConfigScript> = LazyLock::new(|| ConfigScript::look(&["return digits(epoch)"]));
pub(super) static SETTLE: LazyLock<ConfigScript> =
    LazyLock::new(|| ConfigScript::change(&[include_str!("settle.lua")]));
pub(super) static TAKE: LazyLock<ConfigScript> = LazyLock::new(|| ConfigScript::change(&[include_str!("take.lua")]));
pub(super) static ADMIT: LazyLock<ConfigScript> = LazyLock::new(|| ConfigScript::change(&[include_str!("admit.lua")]));
pub(super) static REFUSE: LazyLock<ConfigScript> =
    LazyLock::new(|| ConfigScript::change(&[include_str!("refuse.lua")]));
pub(super) static READY: LazyLock<ConfigScript> = LazyLock::new(|| ConfigScript::look(&[include_str!("ready.lua")]));
pub(super) static GIVE: LazyLock<ConfigScript> = LazyLock::new(|| ConfigScript::change(&[include_str!("give.lua")]));
pub(super) static RENEW: LazyLock<ConfigScript> = LazyLock::new(|| ConfigScript::look(&[include_str!("renew.lua")]));
pub(super) static REPORT: LazyLock<ConfigScript> = LazyLock::new(|| ConfigScript::look(&[include_str!("report.lua")]));
pub(super) static LOG: LazyLock<ConfigScript> = LazyLock::new(|| ConfigScript::look(&[include_str!("log.lua")]));
pub(super) static IN_FORCE: LazyLock<ConfigScript> =
    LazyLock::new(|| ConfigScript::look(&[include_str!("in_force.lua")]));
pub(super) static LEAVE: LazyLock<ConfigScript> = LazyLock::new(|| ConfigScript::change(&[include_str!("leave.lua")]));
pub(super) static SEQUENCE: LazyLock<ConfigScript> =
    LazyLock::new(|| ConfigScript::change(&[include_str!("sequence.lua")]));
pub(super) static ADD: LazyLock<ConfigScript> = LazyLock::new(|| ConfigScript::change(&[include_str!("add.lua")]));
pub(super) static SET: LazyLock<ConfigScript> = LazyLock::new(|| ConfigScript::change(&[include_str!("set.lua")]));
pub(super) static CREATE: LazyLock<ConfigScript> =
    LazyLock::new(|| ConfigScript::change(&[include_str!("create.lua")]));
pub(super) static BY_PROXY: LazyLock<ConfigScript> =
    LazyLock::new(|| ConfigScript::look(&[include_str!("by_proxy.lua")]));
pub(super) static TAKE_OVER: LazyLock<ConfigScript> =
    LazyLock::new(|| ConfigScript::change(&[include_str!("take_over.lua")]));
pub(super) static HAND_OVER: LazyLock<ConfigScript> =
    LazyLock::new(|| ConfigScript::change(&[include_str!("hand_over.lua")]));
pub(super) static SIGN_OFF: LazyLock<ConfigScript> =
    LazyLock::new(|| ConfigScript::look(&[include_str!("sign_off.lua")]));
pub(super) static TRUST: LazyLock<ConfigScript> = LazyLock::new(|| ConfigScript::change(&[include_str!("trust.lua")]));
