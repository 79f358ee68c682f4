//! The rules, as a function from files to findings.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::{Display, Formatter, Result};

use super::source::{Files, Source};

/// The floors, the highest first. A file may use what stands in a row further down, and its own folder.
pub const FLOORS: [Row; 9] = [
    Row { rooms: &["lib", "module", "testing", "fuzz"], may_meet: true },
    Row { rooms: &["python", "serve"], may_meet: false },
    Row { rooms: &["placement"], may_meet: false },
    Row { rooms: &["exec", "client", "flow"], may_meet: false },
    Row { rooms: &["reduce"], may_meet: false },
    Row { rooms: &["engine"], may_meet: false },
    Row { rooms: &["link", "shard", "peer"], may_meet: true },
    Row { rooms: &["topology", "describe"], may_meet: true },
    Row {
        rooms: &[
            "combine",
            "command",
            "convert",
            "error",
            "histogram",
            "interop",
            "number",
            "printable",
            "reply",
            "resp",
            "words",
        ],
        may_meet: true,
    },
];

/// Folders of `src/`, and files that stand there alone, on one floor.
pub struct Row {
    rooms: &'static [&'static str],
    /// Lets them use each other, if not in a circle.
    may_meet: bool,
}

/// Rooms that nobody uses: the crate says what it has, and servers for tests are for tests.
const UNUSED: [&str; 2] = ["lib", "testing"];

/// A fault of a tree.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Finding {
    UnknownRoom(String),
    ArrowUp(String, String),
    CircleOfFiles(Vec<String>),
    CircleOfRooms(Vec<String>),
    DeclaredTwice(String, Vec<String>),
}

impl Display for Finding {
    fn fmt(&self, f: &mut Formatter<'_>) -> Result {
        match self {
            Self::UnknownRoom(room) => {
                write!(f, "unknown:           {room} stands on no floor of tests/layers/rules.rs")
            }
            Self::ArrowUp(from, to) => write!(f, "arrow up:          {from} -> {to}"),
            Self::CircleOfFiles(files) => write!(f, "circle:            {}", files.join(" ")),
            Self::CircleOfRooms(rooms) => write!(f, "circle of folders: {}", rooms.join(" ")),
            Self::DeclaredTwice(name, files) => write!(f, "declared twice:    {name} in {}", files.join(" ")),
        }
    }
}

/// Checks the files of a `src/`, by their path below it.
pub fn findings(files: &Files) -> BTreeSet<Finding> {
    let source = Source::read(files);
    let arrows = source.arrows();
    let mut findings = BTreeSet::new();
    for room in files.keys().map(|file| room_of(file)) {
        if floor_of(room).is_none() {
            findings.insert(Finding::UnknownRoom(room.to_owned()));
        }
    }
    let forbidden = arrows.iter().filter(|(from, to)| !is_allowed(room_of(from), room_of(to)));
    findings.extend(forbidden.map(|(from, to)| Finding::ArrowUp(from.clone(), to.clone())));
    findings.extend(circles(&arrows).into_iter().map(Finding::CircleOfFiles));
    let between: BTreeSet<(String, String)> =
        arrows.iter().map(|(from, to)| (room_of(from).to_owned(), room_of(to).to_owned())).collect();
    findings.extend(circles(&between).into_iter().map(Finding::CircleOfRooms));
    let twice = source.types.into_iter().filter(|(_, places)| places.len() > 1);
    findings.extend(twice.map(|(name, places)| Finding::DeclaredTwice(name, places)));
    findings
}

/// Returns the folder of a file, or the name of one that stands in `src/` itself.
fn room_of(file: &str) -> &str {
    file.split('/').next().expect("a path").trim_end_matches(".rs")
}

fn floor_of(room: &str) -> Option<usize> {
    FLOORS.iter().position(|row| row.rooms.contains(&room))
}

fn is_allowed(from: &str, to: &str) -> bool {
    let (Some(from_floor), Some(to_floor)) = (floor_of(from), floor_of(to)) else { return true };
    let is_below = from_floor < to_floor || (from_floor == to_floor && FLOORS[from_floor].may_meet);
    from == to || (is_below && !UNUSED.contains(&to))
}

/// Returns each set of nodes that reach each other, in the order of their names.
fn circles(arrows: &BTreeSet<(String, String)>) -> BTreeSet<Vec<String>> {
    let mut reached: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    for (from, _) in arrows {
        if !reached.contains_key(from.as_str()) {
            let mut seen = BTreeSet::new();
            let mut left = vec![from.as_str()];
            while let Some(node) = left.pop() {
                let next = arrows.iter().filter(|(from, to)| from == node && to != node).map(|(_, to)| to.as_str());
                left.extend(next.filter(|to| seen.insert(*to)));
            }
            reached.insert(from, seen);
        }
    }
    let in_circle = |node: &&str| reached[*node].contains(*node);
    let circle_of = |node: &str| {
        let both = |other: &&&str| reached.get(**other).is_some_and(|back| back.contains(node));
        reached[node].iter().filter(both).map(|other| (*other).to_owned()).collect()
    };
    reached.keys().copied().filter(in_circle).map(circle_of).collect()
}
