//! A list of plain servers that know nothing of each other, and that may change while it is used.

use std::sync::Arc;

use tokio::sync::watch;

use super::{Address, BoxFuture, Host, NodeProvider, Topology, host_list};
use crate::error::Error;

/// Plain servers, or databases of them. Each has an id, its position in the list unless the list says otherwise; the
/// ids, which go from 0 on without a hole, decide which keys the hosts hold.
///
/// A clone is a handle to the same list: with one that is kept, hosts come and go while an engine uses the other.
///
/// ```no_run
/// use rmr::{Engine, StaticList};
/// use rmr::topology::Host;
///
/// # async fn run() -> Result<(), rmr::Error> {
/// let list = StaticList::parse("*=redis://:secret@10.0.0.1 :6379/0 :6379/1")?;
/// let engine = Engine::builder().provider(list.clone()).build();
/// let id = list.add_host(Host::new("10.0.0.2", 6379).password("secret"))?;
/// assert_eq!(id, 2);
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone)]
pub struct StaticList {
    hosts: watch::Sender<Arc<[Host]>>,
    own_addresses: Arc<[Address]>,
}

impl StaticList {
    /// Makes a list of these hosts, or of the servers at these addresses.
    ///
    /// # Errors
    /// An empty list; a hole in the ids, or an id that stands twice; a server and database that stand twice, unless both
    /// have an id of their own, as rb's own documentation has it.
    pub fn new<H: Into<Host>>(hosts: impl IntoIterator<Item = H>) -> Result<Self, Error> {
        let hosts = checked(hosts.into_iter().map(Into::into))?;
        Ok(Self { hosts: watch::Sender::new(hosts), own_addresses: Arc::default() })
    }

    /// Reads a list of words with white space between: `host:port`, or a URL.
    ///
    /// | word | means |
    /// |---|---|
    /// | `host:port` | database 0 of a server, reached as the engine's links reach any |
    /// | `redis://user:password@host:port/1` | its database 1; logged in to as said, without TLS |
    /// | `rediss://host?cacert=/path` | over TLS, with these certificates: `cacert`, `cacertdir`, `cert`, `key` |
    /// | `unix:///path?db=1` | at a Unix socket |
    /// | `3=...` | host 3, wherever the word stands |
    /// | `...?label=text` | [`Host::label`] |
    /// | `*=...` | what the other words leave out: `*=redis://:secret@10.0.0.1 :6379 :6380 :6380/1` |
    ///
    /// `%40` and the like stand for bytes. A URL without a host means `localhost`, one without a port 6379.
    ///
    /// # Errors
    /// As [`new`](Self::new), and a word that cannot be read. No error repeats a password.
    pub fn parse(text: &str) -> Result<Self, Error> {
        Self::new(host_list::parse(text)?)
    }

    /// Says which of the servers this process is, by any of the addresses under which it can be reached.
    #[must_use]
    pub fn with_local(mut self, own_addresses: &[Address]) -> Self {
        self.own_addresses = own_addresses.into();
        self
    }

    /// Returns the hosts as they are now, in the order of their ids.
    pub fn hosts(&self) -> Arc<[Host]> {
        self.hosts.borrow().clone()
    }

    /// Adds a host, and gives its id: the next one, if it has none. Requests use it as soon as the engine has looked at
    /// the list, within milliseconds; after [`Engine::refresh`](crate::Engine::refresh) for certain.
    ///
    /// # Errors
    /// As [`new`](Self::new). The list is then as it was.
    pub fn add_host(&self, host: impl Into<Host>) -> Result<u32, Error> {
        let host = host.into();
        let mut added = 0;
        self.change(|hosts| {
            added = host.host_id().unwrap_or(hosts.len() as u32);
            hosts.push(host.id(added));
            Ok(())
        })?;
        Ok(added)
    }

    /// Takes the host of the highest id out, and gives it back. Requests that are in flight there are still answered.
    ///
    /// # Errors
    /// If there is no such host, and if its id is another one: the ids would have a hole, and keys no host. With
    /// [`set_hosts`](Self::set_hosts) the hosts behind it move up.
    pub fn remove_host(&self, id: u32) -> Result<Host, Error> {
        let mut removed = None;
        self.change(|hosts| {
            let at = hosts.iter().position(|host| host.host_id() == Some(id));
            let at = at.ok_or_else(|| Error::Invalid(format!("no host has the id {id}")))?;
            if at + 1 < hosts.len() {
                let last = hosts.len() - 1;
                let why =
                    format!("the host {id} cannot go alone, as the ids would have a hole; the last one is {last}");
                return Err(Error::Invalid(why));
            }
            removed = Some(hosts.remove(at));
            Ok(())
        })?;
        removed.ok_or_else(|| Error::Invalid(format!("no host has the id {id}")))
    }

    /// Puts other hosts in the place of all.
    ///
    /// # Errors
    /// As [`new`](Self::new). The list is then as it was.
    pub fn set_hosts<H: Into<Host>>(&self, hosts: impl IntoIterator<Item = H>) -> Result<(), Error> {
        let new: Vec<Host> = hosts.into_iter().map(Into::into).collect();
        self.change(|hosts| {
            *hosts = new;
            Ok(())
        })
    }

    fn change(&self, edit: impl FnOnce(&mut Vec<Host>) -> Result<(), Error>) -> Result<(), Error> {
        let mut outcome = Ok(());
        self.hosts.send_if_modified(|current| {
            let mut hosts = current.to_vec();
            outcome = edit(&mut hosts).and_then(|()| {
                *current = checked(hosts)?;
                Ok(())
            });
            outcome.is_ok()
        });
        outcome
    }
}

/// Hosts in the order of their ids, each with its own.
fn checked(hosts: impl IntoIterator<Item = Host>) -> Result<Arc<[Host]>, Error> {
    let mut hosts: Vec<Host> = hosts.into_iter().collect();
    if hosts.is_empty() {
        return Err(Error::Invalid("the list of nodes is empty; give host:port, one or more".into()));
    }
    for (index, host) in hosts.iter().enumerate() {
        host.check()?;
        let same = hosts[..index].iter().find(|other| is_same_place(other, host));
        if same.is_some_and(|other| other.host_id().is_none() || host.host_id().is_none()) {
            let why = format!("the node {host} stands twice in the list; if that is meant, give both an id: 0={host}");
            return Err(Error::Invalid(why));
        }
    }
    for (position, host) in hosts.iter_mut().enumerate() {
        let id = host.host_id().unwrap_or(position as u32);
        *host = host.clone().id(id);
    }
    hosts.sort_by_key(Host::host_id);
    let ids = || hosts.iter().filter_map(Host::host_id);
    if let Some((id, _)) = ids().zip(ids().skip(1)).find(|(id, next)| id == next) {
        return Err(Error::Invalid(format!("the host id {id} stands twice in the list")));
    }
    if let Some((expected, _)) = (0..).zip(ids()).find(|(expected, id)| expected != id) {
        return Err(Error::Invalid(format!(
            "expected a host with the id {expected}, but no such host was found; the ids of {} hosts go from 0 to {}",
            hosts.len(),
            hosts.len() - 1
        )));
    }
    Ok(hosts.into())
}

fn is_same_place(one: &Host, other: &Host) -> bool {
    one.address() == other.address() && one.database().unwrap_or_default() == other.database().unwrap_or_default()
}

impl NodeProvider for StaticList {
    fn topology(&self) -> BoxFuture<'_, Result<Topology, Error>> {
        let topology = Topology::of_hosts("static", self.hosts().iter().cloned());
        let topology = topology.with_local_nodes(|node| self.own_addresses.contains(&node.address));
        Box::pin(std::future::ready(Ok(topology)))
    }

    fn changed(&self) -> BoxFuture<'_, ()> {
        let mut changes = self.hosts.subscribe();
        Box::pin(async move {
            // The list that would end the wait is this one.
            let _ = changes.changed().await;
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn error(text: &str) -> String {
        StaticList::parse(text).unwrap_err().to_string()
    }

    fn names(list: &StaticList) -> Vec<String> {
        list.hosts().iter().map(ToString::to_string).collect()
    }

    #[test]
    fn a_bad_list_is_refused_with_the_reason() {
        assert_eq!(error(" "), "the list of nodes is empty; give host:port, one or more");
        assert_eq!(error("*=redis://a"), "the list of nodes is empty; give host:port, one or more");
        assert!(error("a:1 b:2 a:1").starts_with("the node a:1 stands twice in the list; "));
        assert!(error("redis://a:1/0 a:1").starts_with("the node a:1 stands twice in the list; "));
        assert_eq!(error("a:1 b"), "'b' is no address; give host:port");
        assert_eq!(
            error("1=a:1 2=b:1 3=c:1"),
            "expected a host with the id 0, but no such host was found; the ids of 3 hosts go from 0 to 2"
        );
        assert!(error("0=a:1 1=b:1 3=c:1").contains("the id 2, but no such host"));
        assert_eq!(error("1=a:1 b:1"), "the host id 1 stands twice in the list");
    }

    #[test]
    fn ids_decide_the_order() {
        let list = StaticList::parse("2=c:1 0=a:1 1=redis://b:1/3").unwrap();
        assert_eq!(names(&list), ["a:1", "b:1/3", "c:1"]);
        assert_eq!(list.hosts()[2].host_id(), Some(2));
        assert_eq!(names(&StaticList::parse("a:1 redis://a:1/1 a:2").unwrap()), ["a:1", "a:1/1", "a:2"]);
    }

    /// The hosts are those of the first example in rb's documentation: eight hosts on four servers, without databases.
    #[test]
    fn a_server_may_stand_twice_where_both_have_ids() {
        let list = StaticList::parse("*=redis://127.0.0.1 0=:6379 1=:6380 2=:6379 3=:6380").unwrap();
        assert_eq!(names(&list), ["127.0.0.1:6379", "127.0.0.1:6380", "127.0.0.1:6379", "127.0.0.1:6380"]);
    }

    #[test]
    fn hosts_come_and_go() {
        let list = StaticList::parse("a:1 b:1").unwrap();
        assert_eq!(list.add_host(Host::new("c", 1)).unwrap(), 2);
        assert!(list.add_host(Host::new("c", 1).id(3)).is_ok(), "both have an id");
        let refused = |result: Result<u32, Error>| result.unwrap_err().to_string();
        assert!(refused(list.add_host(Host::new("d", 1).id(5))).contains("expected a host with the id 4"));
        assert!(refused(list.add_host(Host::new("d", 1).id(1))).contains("id 1 stands twice"));
        let kept = |id| list.remove_host(id).unwrap_err().to_string();
        assert!(kept(1).contains("the host 1 cannot go alone") && kept(1).contains("the last one is 3"));
        assert_eq!(kept(7), "no host has the id 7");
        assert_eq!(list.remove_host(3).unwrap().to_string(), "c:1");
        assert_eq!(names(&list), ["a:1", "b:1", "c:1"]);
        list.set_hosts([Host::new("x", 1)]).unwrap();
        assert!(list.remove_host(0).unwrap_err().to_string().contains("is empty"));
        assert_eq!(names(&list), ["x:1"]);
    }

    #[tokio::test]
    async fn a_change_is_heard_of_by_all_who_listen() {
        let list = StaticList::parse("a:1").unwrap();
        let (one, other) = (list.clone(), list.clone());
        let (heard, also_heard) = (one.changed(), other.changed());
        list.add_host(Host::new("b", 1)).unwrap();
        heard.await;
        also_heard.await;
        assert!(list.add_host(Host::new("b", 1).id(0)).is_err());
        let nothing = std::time::Duration::from_millis(1);
        assert!(tokio::time::timeout(nothing, list.changed()).await.is_err(), "what was refused is no change");
    }
}
