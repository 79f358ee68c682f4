//! [`PackageSets`]: the packages that this server keeps, by the requirements for which they were fetched together.
//!
//! A set has its wheels, so that it can be installed again and handed on to other servers without a network, and the folder
//! in which it is installed. Sets that no session uses go when there are too many, the least recently used first: somebody
//! who requires another version each day is not to fill the server's memory.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::wheels::{Wheel, digest_of};

/// Beyond so many sets those go that no session uses.
const MOST_SETS: usize = 64;

/// Beyond so many bytes of wheels those sets go that no session uses.
const MOST_BYTES: usize = 256 << 20;

/// Is a folder from which packages can be imported. It is removed with the last one who needs it.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct PackageFolder(PathBuf);

impl PackageFolder {
    /// Takes charge of a folder.
    pub(super) fn new(path: PathBuf) -> Arc<Self> {
        Arc::new(Self(path))
    }

    pub(crate) fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for PackageFolder {
    fn drop(&mut self) {
        // It may have gone with the program's folder.
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// Is what is kept for some requirements.
pub(super) struct PackageSet {
    /// The wheels; empty if the interpreter has all packages by itself.
    wheels: Vec<Wheel>,
    digest: u128,
    folder: Option<Arc<PackageFolder>>,
    /// The time of its last use, counted in uses.
    used: u64,
}

/// Keeps the sets.
#[derive(Default)]
pub(super) struct PackageSets {
    sets: BTreeMap<BTreeSet<String>, PackageSet>,
    uses: u64,
}

/// Is a set as it is listed: for requirements of these names.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct ListedPackages {
    /// The requirements.
    pub(crate) names: BTreeSet<String>,
    /// The names of the wheels; none if the interpreter has all by itself.
    pub(crate) wheels: Vec<String>,
    /// The folder in which they are installed; empty without wheels.
    pub(crate) path: String,
}

impl PackageSets {
    /// Keeps a set in place of the one that was kept for the same requirements. Returns those that are kept no more: to be
    /// dropped where nobody waits, since folders are removed with them.
    pub(super) fn keep(
        &mut self,
        names: BTreeSet<String>,
        wheels: Vec<Wheel>,
        folder: Option<Arc<PackageFolder>>,
    ) -> Vec<PackageSet> {
        let digest = digest_of(&wheels);
        self.uses += 1;
        let set = PackageSet { wheels, digest, folder, used: self.uses };
        let mut dropped: Vec<_> = self.sets.insert(names, set).into_iter().collect();
        while self.is_too_much()
            && let Some(oldest) = self.oldest_unused()
        {
            dropped.extend(self.sets.remove(&oldest));
        }
        dropped
    }

    /// Drops what is kept for just these requirements.
    pub(super) fn forget(&mut self, names: &BTreeSet<String>) -> Vec<PackageSet> {
        self.sets.remove(names).into_iter().collect()
    }

    /// Returns the requirements and the wheels of the smallest set with wheels that was fetched for all of some requirements.
    pub(super) fn smallest_with(&mut self, names: &BTreeSet<String>) -> Option<(BTreeSet<String>, Vec<Wheel>)> {
        self.uses += 1;
        let with_all = self.sets.iter_mut().filter(|(of, set)| !set.wheels.is_empty() && of.is_superset(names));
        let (of, set) = with_all.min_by_key(|(of, _)| of.len())?;
        set.used = self.uses;
        Some((of.clone(), set.wheels.clone()))
    }

    /// Returns what tells apart the wheels that are kept for just these requirements.
    pub(super) fn digest(&mut self, names: &BTreeSet<String>) -> Option<u128> {
        self.uses += 1;
        let set = self.sets.get_mut(names)?;
        set.used = self.uses;
        Some(set.digest)
    }

    /// Returns the folder in which these wheels are installed already, for whichever requirements.
    pub(super) fn folder_of(&self, wheels: &[Wheel]) -> Option<Arc<PackageFolder>> {
        let digest = digest_of(wheels);
        let same = self.sets.values().filter(|set| set.digest == digest);
        same.filter_map(|set| set.folder.clone()).find(|folder| folder.path().is_dir())
    }

    /// Returns all sets, those that were used last at the end.
    pub(super) fn list(&self) -> Vec<ListedPackages> {
        let mut sets: Vec<_> = self.sets.iter().collect();
        sets.sort_by_key(|(_, set)| set.used);
        let listed = |(names, set): (&BTreeSet<String>, &PackageSet)| ListedPackages {
            names: names.clone(),
            wheels: set.wheels.iter().map(|wheel| wheel.name.clone()).collect(),
            path: set.folder.as_ref().map(|folder| folder.path().display().to_string()).unwrap_or_default(),
        };
        sets.into_iter().map(listed).collect()
    }

    fn is_too_much(&self) -> bool {
        let bytes = |set: &PackageSet| set.wheels.iter().map(|wheel| wheel.data.len()).sum::<usize>();
        self.sets.len() > MOST_SETS || self.sets.values().map(bytes).sum::<usize>() > MOST_BYTES
    }

    /// Returns the requirements of the set that no session uses and that was used before all others of that kind; never
    /// those of the set that was used last.
    fn oldest_unused(&self) -> Option<BTreeSet<String>> {
        let is_used = |set: &PackageSet| {
            let Some(folder) = &set.folder else { return false };
            let kept = self.sets.values().filter_map(|set| set.folder.as_ref());
            Arc::strong_count(folder) > kept.filter(|other| Arc::ptr_eq(folder, other)).count()
        };
        let unused = self.sets.iter().filter(|(_, set)| set.used != self.uses && !is_used(set));
        unused.min_by_key(|(_, set)| set.used).map(|(names, _)| names.clone())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(of: &str) -> BTreeSet<String> {
        of.split(' ').map(str::to_owned).collect()
    }

    fn wheels(name: &str, size: usize) -> Vec<Wheel> {
        vec![Wheel { name: format!("{name}.whl"), data: vec![b'x'; size].into() }]
    }

    fn has(sets: &PackageSets, of: &str) -> bool {
        sets.list().iter().any(|listed| listed.names == names(of))
    }

    fn folder(name: &str) -> Arc<PackageFolder> {
        let path = std::env::temp_dir().join(format!("rmr-test-set-{name}-{}", std::process::id()));
        fs::create_dir_all(&path).expect("a folder");
        PackageFolder::new(path)
    }

    #[test]
    fn the_smallest_set_with_all_requirements_serves() {
        let mut sets = PackageSets::default();
        sets.keep(names("a b c"), wheels("abc", 1), None);
        sets.keep(names("a b"), wheels("ab", 1), None);
        sets.keep(names("a"), Vec::new(), None);
        let found = |sets: &mut PackageSets, of: &str| sets.smallest_with(&names(of)).map(|(of, _)| of);
        assert_eq!(found(&mut sets, "a"), Some(names("a b")), "the one without wheels is the interpreter's");
        assert_eq!(found(&mut sets, "b c"), Some(names("a b c")));
        assert_eq!((found(&mut sets, "a d"), sets.digest(&names("b"))), (None, None));
        assert_eq!(sets.digest(&names("a b")), Some(digest_of(&wheels("ab", 1))));
        assert!(has(&sets, "a") && !has(&sets, "b"));
        drop(sets.forget(&names("a b")));
        assert_eq!(found(&mut sets, "a"), Some(names("a b c")));
    }

    #[test]
    fn beyond_a_number_the_least_recently_used_go_but_none_that_a_session_uses() {
        let mut sets = PackageSets::default();
        let (used, unused) = (folder("used"), folder("unused"));
        let path = unused.path().to_owned();
        sets.keep(names("first"), wheels("first", 1), Some(used.clone()));
        sets.keep(names("second"), wheels("second", 1), Some(unused));
        sets.keep(names("third"), wheels("third", 1), None);
        assert_eq!(sets.folder_of(&wheels("first", 1)), Some(used.clone()));
        for number in 3..MOST_SETS {
            sets.keep(names(&number.to_string()), Vec::new(), None);
        }
        assert!(sets.smallest_with(&names("second")).is_some(), "and so it is newer than the third");
        assert!(sets.list().iter().any(|listed| listed.names == names("second") && !listed.path.is_empty()));
        sets.keep(names("one more"), Vec::new(), None);
        assert_eq!((sets.sets.len(), has(&sets, "third")), (MOST_SETS, false));
        for number in 0..MOST_SETS {
            sets.keep(names(&format!("more {number}")), Vec::new(), None);
        }
        assert!(has(&sets, "first") && !has(&sets, "second") && !path.exists());
        drop(used);
        sets.keep(names("the last"), Vec::new(), None);
        assert!(!has(&sets, "first"), "no session uses it any more");
    }

    #[test]
    fn beyond_a_size_the_newest_stays() {
        let mut sets = PackageSets::default();
        sets.keep(names("a"), wheels("a", MOST_BYTES / 2), None);
        sets.keep(names("b"), wheels("b", MOST_BYTES / 2), None);
        assert_eq!(sets.list().len(), 2);
        sets.keep(names("c"), wheels("c", 1), None);
        assert_eq!(sets.list().iter().map(|set| set.names.clone()).collect::<Vec<_>>(), [names("b"), names("c")]);
        sets.keep(names("d"), wheels("d", MOST_BYTES + 1), None);
        assert_eq!(sets.list().iter().map(|set| set.names.clone()).collect::<Vec<_>>(), [names("d")]);
    }
}
