//! The descriptions of commands as the server gives them, asked for once for each name with `COMMAND INFO` and kept.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use foldhash::fast::RandomState;

use super::Description;
use crate::command::Command;
use crate::error::Error;
use crate::reply::Reply;

/// Names beyond this many are asked for again and again; a server has some 400.
const MOST_NAMES: usize = 4096;

/// Answers `COMMAND INFO`: the server that this process is, or servers over links.
pub(crate) trait CommandSource {
    /// Returns the answer to the question.
    ///
    /// # Errors
    /// If nobody has answered.
    async fn ask(&self, question: Command) -> Result<Reply, Error>;
}

/// The known commands, by name in the letters in which it was typed: their descriptions, or a value made from each
/// description.
pub(crate) struct Catalogue<T = Arc<Description>> {
    known: Mutex<HashMap<Box<[u8]>, T, RandomState>>,
}

impl<T> Default for Catalogue<T> {
    fn default() -> Self {
        Self { known: Mutex::default() }
    }
}

impl<T: Clone> Catalogue<T> {
    fn names(&self) -> MutexGuard<'_, HashMap<Box<[u8]>, T, RandomState>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns what is known of a name.
    pub(crate) fn get(&self, name: &[u8]) -> Option<T> {
        self.names().get(name).cloned()
    }

    /// Shows all that is known.
    pub(crate) fn each(&self, mut visit: impl FnMut(&T)) {
        self.names().values().for_each(&mut visit);
    }

    /// Returns those of these names that nothing is known of, each once.
    pub(crate) fn missing<'a>(&self, names: impl Iterator<Item = &'a [u8]>) -> Vec<&'a [u8]> {
        let known = self.names();
        let mut missing: Vec<&[u8]> = Vec::new();
        let mut last: Option<&[u8]> = None;
        for name in names {
            // Most often it is the one before.
            if last != Some(name) && !known.contains_key(name) {
                missing.push(name);
            }
            last = Some(name);
        }
        missing.sort_unstable();
        missing.dedup();
        missing
    }

    /// Keeps what is known of a name, unless too many are known.
    pub(crate) fn keep(&self, name: &[u8], known: T) {
        let mut names = self.names();
        if names.len() < MOST_NAMES {
            names.insert(name.into(), known);
        }
    }

    /// Forgets everything: commands may have come or gone, or mean something else.
    #[cfg_attr(not(feature = "module"), allow(dead_code, reason = "only a server is told of that"))]
    pub(crate) fn forget(&self) {
        self.names().clear();
    }
}

impl<T: Clone + From<Arc<Description>>> Catalogue<T> {
    /// Asks for names, keeps what is said, and returns it in their order. A name that is unknown now is not kept: a module
    /// that is loaded later may bring its command.
    ///
    /// # Errors
    /// If the source has not answered.
    pub(crate) async fn learn(&self, source: &impl CommandSource, names: &[&[u8]]) -> Result<Vec<Option<T>>, Error> {
        let question = names.iter().fold(Command::new("COMMAND").arg("INFO"), Command::arg).read_only(true);
        let answer = source.ask(question).await?;
        let mut rows = answer.elements().unwrap_or_default().iter();
        let mut learned = Vec::with_capacity(names.len());
        for name in names {
            let known = rows.next().and_then(Description::parse).map(|description| T::from(Arc::new(description)));
            if let Some(known) = &known {
                self.keep(name, known.clone());
            }
            learned.push(known);
        }
        Ok(learned)
    }

    /// Asks for all commands that the source has, and puts what it says in the place of what was known. That stays if it
    /// says nothing.
    ///
    /// # Errors
    /// If the source has not answered.
    #[cfg_attr(not(feature = "module"), allow(dead_code, reason = "only a server is told when to"))]
    pub(crate) async fn learn_all(&self, source: &impl CommandSource) -> Result<(), Error> {
        let answer = source.ask(Command::new("COMMAND").read_only(true)).await?;
        let rows: Vec<Description> =
            answer.elements().unwrap_or_default().iter().filter_map(Description::parse).collect();
        if !rows.is_empty() {
            self.forget();
        }
        for description in rows {
            let name = description.name.clone();
            self.keep(name.as_bytes(), T::from(Arc::new(description)));
        }
        Ok(())
    }

    /// Returns what is known of a name, after asking for it if need be; `None` if the source knows no such command.
    ///
    /// # Errors
    /// If the source has not answered.
    pub(crate) async fn look_up(&self, source: &impl CommandSource, name: &[u8]) -> Result<Option<T>, Error> {
        if let Some(known) = self.get(name) {
            return Ok(Some(known));
        }
        // The letters do not matter to a server.
        if let Some(known) = self.get(&name.to_ascii_lowercase()) {
            self.keep(name, known.clone());
            return Ok(Some(known));
        }
        Ok(self.learn(source, &[name]).await?.pop().flatten())
    }
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;

    use futures_util::FutureExt;

    use super::*;

    /// A server that knows these commands, and counts what it is asked.
    struct Knows(&'static [&'static str], RefCell<Vec<String>>);

    impl CommandSource for Knows {
        async fn ask(&self, question: Command) -> Result<Reply, Error> {
            self.1.borrow_mut().push(question.to_string());
            let row = |name: &[u8]| {
                let name = String::from_utf8_lossy(name).to_ascii_lowercase();
                if !self.0.contains(&name.as_str()) {
                    return Reply::Null;
                }
                Reply::Array(vec![name.as_str().into(), 2.into(), Reply::Array(vec![])])
            };
            if question.words().nth(1).is_none() {
                return Ok(Reply::Array(self.0.iter().map(|name| row(name.as_bytes())).collect()));
            }
            Ok(Reply::Array(question.words().skip(2).map(row).collect()))
        }
    }

    #[test]
    fn a_name_is_asked_for_once_and_an_unknown_one_each_time() {
        let (catalogue, server) =
            (Catalogue::<Arc<Description>>::default(), Knows(&["get", "set"], RefCell::default()));
        let name = |name: &str| {
            let found = catalogue.look_up(&server, name.as_bytes()).now_or_never().unwrap().unwrap();
            found.map(|description| description.name.clone())
        };
        for _ in 0..2 {
            assert_eq!((name("GET"), name("later")), (Some("get".into()), None));
        }
        let asked = || std::mem::take(&mut *server.1.borrow_mut());
        assert_eq!(asked(), ["COMMAND INFO GET", "COMMAND INFO later", "COMMAND INFO later"]);

        let names = [&b"set"[..], b"GET", b"set", b"x"];
        assert_eq!(catalogue.missing(names.into_iter()), [&b"set"[..], b"x"]);
        let learned = catalogue.learn(&server, &[b"x", b"set"]).now_or_never().unwrap().unwrap();
        assert!(learned[0].is_none() && learned[1].as_ref().is_some_and(|known| known.name == "set"));
        assert!(catalogue.missing(names.into_iter()) == [b"x"]);
        catalogue.forget();
        assert_eq!(name("GET"), Some("get".into()));
        assert_eq!(asked(), ["COMMAND INFO x set", "COMMAND INFO GET"]);

        // All at once, and then a name in whatever letters is known. A source that says nothing takes nothing away.
        catalogue.learn_all(&server).now_or_never().unwrap().unwrap();
        let silent = Knows(&[], RefCell::default());
        catalogue.learn_all(&silent).now_or_never().unwrap().unwrap();
        assert_eq!((name("Set"), name("set"), name("later")), (Some("set".into()), Some("set".into()), None));
        assert_eq!(asked(), ["COMMAND", "COMMAND INFO later"]);
    }

    #[test]
    fn no_more_names_are_kept_than_there_is_room_for() {
        let catalogue = Catalogue::<u32>::default();
        (0..5000_u32).for_each(|number| catalogue.keep(number.to_string().as_bytes(), number));
        assert_eq!((catalogue.get(b"4095"), catalogue.get(b"4096")), (Some(4095), None));
    }
}
