//! The questions about moves to the configuration node, as scripts.

use std::sync::LazyLock;

use crate::placement::config_node::ConfigScript;

pub(super) static MOVES: LazyLock<ConfigScript> = LazyLock::new(|| ConfigScript::look(&[include_str!("moves.lua")]));
pub(super) static PLAN: LazyLock<ConfigScript> = LazyLock::new(|| ConfigScript::change(&[include_str!("plan.lua")]));
pub(super) static BEGIN: LazyLock<ConfigScript> = LazyLock::new(|| ConfigScript::change(&[include_str!("begin.lua")]));
pub(super) static FLIP: LazyLock<ConfigScript> = LazyLock::new(|| ConfigScript::change(&[include_str!("flip.lua")]));
pub(super) static CLEANED: LazyLock<ConfigScript> =
    LazyLock::new(|| ConfigScript::change(&[include_str!("cleaned.lua")]));
pub(super) static CANCEL: LazyLock<ConfigScript> =
    LazyLock::new(|| ConfigScript::change(&[include_str!("cancel.lua")]));
pub(super) static DRAIN: LazyLock<ConfigScript> = LazyLock::new(|| ConfigScript::change(&[include_str!("drain.lua")]));
pub(super) static REMOVE: LazyLock<ConfigScript> =
    LazyLock::new(|| ConfigScript::change(&[include_str!("remove.lua")]));
pub(super) static GONE: LazyLock<ConfigScript> = LazyLock::new(|| ConfigScript::change(&[include_str!("gone.lua")]));
pub(super) static IMPOSSIBLE: LazyLock<ConfigScript> =
    LazyLock::new(|| ConfigScript::change(&[include_str!("impossible.lua")]));
pub(super) static LOSE: LazyLock<ConfigScript> = LazyLock::new(|| ConfigScript::change(&[include_str!("lose.lua")]));
pub(super) static WRITE_OFF: LazyLock<ConfigScript> =
    LazyLock::new(|| ConfigScript::change(&[include_str!("write_off.lua")]));
pub(super) static PAUSE: LazyLock<ConfigScript> = LazyLock::new(|| ConfigScript::change(&[include_str!("pause.lua")]));
pub(super) static OUTSIDE: LazyLock<ConfigScript> =
    LazyLock::new(|| ConfigScript::look(&[include_str!("outside.lua")]));
pub(super) static READMIT: LazyLock<ConfigScript> =
    LazyLock::new(|| ConfigScript::change(&[include_str!("readmit.lua")]));
pub(super) static REJOIN: LazyLock<ConfigScript> =
    LazyLock::new(|| ConfigScript::change(&[include_str!("rejoin.lua")]));
pub(super) static TIME: LazyLock<ConfigScript> = LazyLock::new(|| ConfigScript::look(&["return {time[1], time[2]}"]));
pub(super) static ADOPT: LazyLock<ConfigScript> = LazyLock::new(|| ConfigScript::change(&[include_str!("adopt.lua")]));
pub(super) static REBALANCE: LazyLock<ConfigScript> =
    LazyLock::new(|| ConfigScript::change(&[include_str!("rebalance.lua")]));
pub(super) static MOVE: LazyLock<ConfigScript> = LazyLock::new(|| ConfigScript::change(&[include_str!("move.lua")]));
