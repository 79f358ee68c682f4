//! Changes of a store by operators.

use std::collections::HashMap;

use super::words::NewStore;
use crate::command::printable;
use crate::error::Error;
use crate::placement::store::Store;
use crate::placement::store::report::StoreReport;
use crate::placement::store::scripts::{ADD, CREATE, SET};
use crate::placement::store::settings::{DEFAULTS, StoreSettings};

/// Settings on which the slot of each key depends.
const FIXED: [&str; 3] = ["slots", "hash", "hash-tags"];

/// The number of times that a change is tried while others change something, too.
const TRIES: usize = 5;

impl Store {
    /// Has a node looked at that wants in.
    ///
    /// # Errors
    /// If it is in, or waits already; if the configuration node does not answer.
    pub(super) async fn add(&self, address: &str, weight: u32, zone: Option<&str>) -> Result<(), Error> {
        let weight = weight.to_string();
        let why: String = self.shared.tables.run(&ADD, &[address, &weight, zone.unwrap_or("-")]).await?;
        if why.is_empty() { Ok(()) } else { Err(Error::Refused(format!("ADD {address}: {why}"))) }
    }

    /// Changes a setting.
    ///
    /// # Errors
    /// If there is no such setting, or it cannot be so; if the configuration node does not answer.
    pub(super) async fn set(&self, name: &str, value: &str) -> Result<(), Error> {
        for _ in 0..TRIES {
            let report = self.report().await?;
            check_setting(&report, name, value)?;
            let epoch = report.epoch.to_string();
            if self.shared.tables.run::<i64>(&SET, &[&epoch, name, value]).await? == 1 {
                return Ok(());
            }
        }
        Err(busy())
    }

    /// Stores the settings of a store that has no nodes yet, and has its nodes looked at.
    ///
    /// # Errors
    /// If there are nodes; if a setting cannot be so; if the configuration node does not answer.
    pub(super) async fn create(&self, new: &NewStore) -> Result<(), Error> {
        for _ in 0..TRIES {
            let report = self.report().await?;
            if !report.nodes.is_empty() || !report.waiting.is_empty() {
                return Err(Error::Refused("CREATE: this store has nodes already; ADD brings in others".into()));
            }
            let mut settings = report.settings.clone();
            settings.extend(new.settings.iter().map(|(name, value)| ((*name).to_owned(), value.clone())));
            let copies = StoreSettings::read(&settings)?.copies;
            if new.nodes.len() < copies {
                let nodes = new.nodes.len();
                return Err(Error::Invalid(format!("{copies} copies need as many nodes; {nodes} are named")));
            }
            let (epoch, words) = (report.epoch.to_string(), (2 * new.settings.len()).to_string());
            let mut arguments: Vec<&str> = vec![&epoch, &words];
            arguments.extend(new.settings.iter().flat_map(|(name, value)| [*name, value.as_str()]));
            arguments.extend(new.nodes.iter().map(String::as_str));
            if self.shared.tables.run::<i64>(&CREATE, &arguments).await? == 1 {
                return Ok(());
            }
        }
        Err(busy())
    }
}

/// Refuses a setting that is not known, or cannot be so now.
fn check_setting(report: &StoreReport, name: &str, value: &str) -> Result<(), Error> {
    let mut known = DEFAULTS.chunks(2).map(|pair| pair[0]).filter(|known| *known != "version");
    if !known.clone().any(|known| known == name) {
        let known: Vec<&str> = known.by_ref().collect();
        let name = printable(name.as_bytes());
        return Err(Error::Invalid(format!("there is no setting '{name}'; known are {}", known.join(", "))));
    }
    let is_given_out = report.slots.iter().any(|slot| !slot.copies.is_empty());
    let is_other = report.settings.get(name).map(String::as_str) != Some(value);
    if is_given_out && is_other && FIXED.contains(&name) {
        let words = "the slots of keys depend on it, and the slots are given out";
        return Err(Error::Refused(format!("the setting {name} does not change any more: {words}")));
    }
    let nodes = report.nodes.values().filter(|node| node.state == "in").count();
    if is_given_out && name == "copies" && value.parse::<usize>().is_ok_and(|copies| copies > nodes) {
        return Err(Error::Refused(format!("{value} copies need as many nodes, and {nodes} are in")));
    }
    let mut settings: HashMap<String, String> = report.settings.clone();
    settings.insert(name.to_owned(), value.to_owned());
    StoreSettings::read(&settings).map(drop)
}

fn busy() -> Error {
    Error::Refused("others have changed something at the same moment, again and again; nothing was changed".into())
}
