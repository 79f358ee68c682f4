//! [`GearsSessions`]: the sessions that scripts have made on this node, by the ids that clients know. A session is there as
//! long as something needs it: its script, an execution that runs, a timer.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use crate::peer;

/// The name of a session, and the facts about it.
#[derive(Debug)]
pub(super) struct SessionFacts {
    pub(super) id: String,
    /// The name that workers know it by. Of two sessions with one id, as when one takes the place of the other, or when two
    /// nodes have one of that id, each has another.
    pub(super) name: String,
    pub(super) description: Option<String>,
    pub(super) requirements: Vec<String>,
}

/// The sessions of this node.
pub(super) struct GearsSessions(Mutex<NamedSessions>);

struct NamedSessions {
    /// The sessions that can be named.
    primary: BTreeMap<String, Weak<SessionFacts>>,
    /// The sessions whose place another has taken.
    dead: Vec<Weak<SessionFacts>>,
}

/// A session whose script runs. Dropped otherwise than by [`succeed`](Self::succeed), it leaves everything as it was.
pub(super) struct NewSession {
    sessions: &'static GearsSessions,
    facts: Arc<SessionFacts>,
    /// The id of the session whose place it is to take.
    replaces: Option<String>,
}

/// The words of `RG.PYEXECUTE` about sessions.
#[derive(Default)]
pub(super) struct SessionWords {
    pub(super) id: Option<String>,
    pub(super) upgrades: bool,
    pub(super) replaces: Option<String>,
    pub(super) description: Option<String>,
    pub(super) requirements: Vec<String>,
}

/// A session as it is listed.
pub(super) struct ListedSession {
    pub(super) facts: Arc<SessionFacts>,
    /// The number of things that need it.
    pub(super) references: usize,
    pub(super) is_dead: bool,
}

impl GearsSessions {
    pub(super) const fn new() -> Self {
        Self(Mutex::new(NamedSessions { primary: BTreeMap::new(), dead: Vec::new() }))
    }

    /// Begins a session.
    ///
    /// # Errors
    /// The error as the client gets it.
    pub(super) fn begin(&'static self, words: SessionWords) -> Result<NewSession, String> {
        let SessionWords { id, upgrades, replaces, description, requirements } = words;
        let mut table = self.lock();
        // Else each script would leave the name of its session.
        table.tidy();
        let existing = id.as_ref().filter(|id| table.is_there(id));
        let replaces = match (existing, replaces) {
            (Some(id), Some(other)) if *id != other => {
                return Err(format!("Can not replace an existing session {id} with {other}"));
            }
            (Some(id), None) if !upgrades => return Err(format!("Session {id} already exists")),
            (Some(id), _) => Some(id.clone()),
            (None, Some(other)) if !table.is_there(&other) => {
                return Err(format!("Can not replace with {other}, session does not exists."));
            }
            (None, other) => other,
        };
        let word = peer::secret_word();
        let (id, name) = match id {
            Some(id) => (id.clone(), format!("{id}:{}", &word[..8])),
            None => {
                let id = format!("{word}{}", &peer::secret_word()[..8]);
                (id.clone(), id)
            }
        };
        let facts = Arc::new(SessionFacts { id: id.clone(), name, description, requirements });
        if replaces.as_ref() != Some(&id) {
            table.primary.insert(id, Arc::downgrade(&facts));
        }
        drop(table);
        Ok(NewSession { sessions: self, facts, replaces })
    }

    /// Returns a session that has registrations, to be held: the one that is there, or a new one, as on a node that has
    /// not run the script.
    pub(super) fn hold(&self, facts: SessionFacts) -> Arc<SessionFacts> {
        let mut table = self.lock();
        let there = table.primary.get(&facts.id).and_then(Weak::upgrade);
        if let Some(there) = there.filter(|there| there.name == facts.name) {
            return there;
        }
        let facts = Arc::new(facts);
        let replaced = table.primary.insert(facts.id.clone(), Arc::downgrade(&facts));
        table.dead.extend(replaced.filter(|old| old.strong_count() > 0));
        facts
    }

    /// Returns the sessions that something needs.
    pub(super) fn list(&self) -> Vec<ListedSession> {
        let mut table = self.lock();
        table.tidy();
        let listed = |session: &Weak<SessionFacts>, is_dead| {
            let references = session.strong_count();
            Some(ListedSession { facts: session.upgrade()?, references, is_dead })
        };
        let primary = table.primary.values().filter_map(|session| listed(session, false));
        primary.chain(table.dead.iter().filter_map(|session| listed(session, true))).collect()
    }

    /// Forgets all.
    pub(super) fn reset(&self) {
        let mut table = self.lock();
        table.primary.clear();
        table.dead.clear();
    }

    fn lock(&self) -> MutexGuard<'_, NamedSessions> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl NamedSessions {
    fn is_there(&self, id: &str) -> bool {
        self.primary.get(id).is_some_and(|session| session.strong_count() > 0)
    }

    fn tidy(&mut self) {
        self.primary.retain(|_, session| session.strong_count() > 0);
        self.dead.retain(|session| session.strong_count() > 0);
    }
}

impl NewSession {
    /// Returns the id of the session whose place it is to take.
    pub(super) fn replaces(&self) -> Option<&str> {
        self.replaces.as_deref()
    }

    /// Returns what is said of it.
    pub(super) fn facts(&self) -> &Arc<SessionFacts> {
        &self.facts
    }

    /// Notes that the script has run: the session takes the place of the one that it was to replace.
    pub(super) fn succeed(mut self) -> Arc<SessionFacts> {
        if let Some(replaced) = self.replaces.take() {
            let mut table = self.sessions.lock();
            table.tidy();
            if let Some(old) = table.primary.remove(&replaced) {
                table.dead.push(old);
            }
            table.primary.insert(self.facts.id.clone(), Arc::downgrade(&self.facts));
        }
        self.facts.clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn begin(sessions: &'static GearsSessions, line: &str) -> Result<NewSession, String> {
        let mut words = SessionWords::default();
        let mut given = line.split_whitespace();
        while let Some(word) = given.next() {
            match word {
                "ID" => words.id = given.next().map(str::to_owned),
                "REPLACE_WITH" => words.replaces = given.next().map(str::to_owned),
                _ => words.upgrades = true,
            }
        }
        sessions.begin(words)
    }

    fn shown(sessions: &GearsSessions) -> Vec<(String, bool)> {
        sessions.list().iter().map(|listed| (listed.facts.id.clone(), listed.is_dead)).collect()
    }

    #[test]
    fn a_session_is_there_as_long_as_something_needs_it() {
        static SESSIONS: GearsSessions = GearsSessions::new();
        let unnamed = begin(&SESSIONS, "").unwrap();
        let id = &unnamed.facts().id;
        assert!(id.len() == 40 && id.chars().all(|letter| letter.is_ascii_hexdigit()) && unnamed.facts().name == *id);
        drop(unnamed);
        let named = begin(&SESSIONS, "ID a").unwrap();
        assert!(named.facts().name.starts_with("a:"));
        assert_eq!(begin(&SESSIONS, "ID a").err().unwrap(), "Session a already exists");
        let facts = named.succeed();
        assert_eq!((shown(&SESSIONS), SESSIONS.list()[0].references), (vec![("a".to_owned(), false)], 1));
        drop(facts);
        assert!(shown(&SESSIONS).is_empty() && begin(&SESSIONS, "ID a").is_ok());
    }

    #[test]
    fn another_takes_its_place_when_its_script_has_run() {
        static SESSIONS: GearsSessions = GearsSessions::new();
        let first = begin(&SESSIONS, "ID a UPGRADE").unwrap().succeed();
        // A script that raises changes nothing.
        drop(begin(&SESSIONS, "ID a UPGRADE").unwrap());
        assert_eq!(shown(&SESSIONS), [("a".to_owned(), false)]);
        let second = begin(&SESSIONS, "ID a UPGRADE").unwrap().succeed();
        assert_eq!(shown(&SESSIONS), [("a".to_owned(), false), ("a".into(), true)]);
        assert_ne!(first.name, second.name);
        drop(first);
        let third = begin(&SESSIONS, "ID b REPLACE_WITH a").unwrap().succeed();
        assert_eq!(shown(&SESSIONS), [("b".to_owned(), false), ("a".into(), true)]);
        drop((second, third));
    }

    #[test]
    fn errors_are_those_of_redisgears() {
        static SESSIONS: GearsSessions = GearsSessions::new();
        let _kept = [begin(&SESSIONS, "ID a").unwrap().succeed(), begin(&SESSIONS, "ID b").unwrap().succeed()];
        let error = |line: &str| begin(&SESSIONS, line).err().unwrap();
        assert_eq!(error("REPLACE_WITH x"), "Can not replace with x, session does not exists.");
        assert_eq!(error("ID a REPLACE_WITH b"), "Can not replace an existing session a with b");
        assert!(begin(&SESSIONS, "ID a REPLACE_WITH a").is_ok());
    }
}
