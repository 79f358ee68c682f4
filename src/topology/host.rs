//! [`Host`]: one entry of a list of plain servers: a database of a server, and how it is reached.
//!
//! A list may name several databases of one server, each of which is a host then, and may say of each with what to log
//! in. Of a host that says nothing about that, the engine's links know.

use std::fmt;
use std::path::PathBuf;

use super::Address;
use crate::error::Error;

/// The files that a TLS connection needs, in PEM, named as in `redis.conf`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub struct TlsFiles {
    /// `tls-ca-cert-file`: the authorities that sign nodes' certificates.
    pub ca_file: Option<PathBuf>,
    /// `tls-ca-cert-dir`: a folder of such files.
    pub ca_dir: Option<PathBuf>,
    /// `tls-client-cert-file`, else `tls-cert-file`: shown to nodes that ask for it.
    pub cert_file: Option<PathBuf>,
    /// `tls-client-key-file`, else `tls-key-file`. Without a pass phrase.
    pub key_file: Option<PathBuf>,
}

/// A host of a [`StaticList`](crate::StaticList): a database of a plain server.
///
/// ```
/// use rmr::StaticList;
/// use rmr::topology::Host;
///
/// let hosts = [0, 1].map(|db| Host::new("10.0.0.1", 6379).db(db).password("secret"));
/// let list = StaticList::new(hosts.into_iter().chain([Host::unix("/run/redis.sock")]))?;
/// # Ok::<(), rmr::Error>(())
/// ```
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Host {
    id: Option<u32>,
    label: Option<String>,
    /// The `host` and `port` of rb. Hosts with a Unix socket have them too, as parts of their labels.
    tcp: (String, u16),
    unix_socket_path: Option<String>,
    database: Option<u32>,
    login: Option<Login>,
    tls: Option<bool>,
    tls_files: Option<TlsFiles>,
}

/// The host that rb assumes where none is given.
pub(super) const DEFAULT_HOST: &str = "localhost";
pub(super) const DEFAULT_PORT: u16 = 6379;

impl Host {
    /// Makes the host that is database 0 of the server at this TCP port.
    pub fn new(host: impl Into<String>, port: u16) -> Self {
        Self {
            id: None,
            label: None,
            tcp: (host.into(), port),
            unix_socket_path: None,
            database: None,
            login: None,
            tls: None,
            tls_files: None,
        }
    }

    /// Makes the host that is database 0 of the server at this Unix socket.
    pub fn unix(path: impl Into<String>) -> Self {
        Self { unix_socket_path: Some(path.into()), ..Self::new(DEFAULT_HOST, DEFAULT_PORT) }
    }

    /// Returns the same host, reached by this Unix socket.
    pub(super) fn at_socket(mut self, path: String) -> Self {
        self.unix_socket_path = Some(path);
        self
    }

    /// Sets the number of the host. The ids of a list go from 0 on without a hole. Default: its position in the list.
    #[must_use]
    pub fn id(mut self, id: u32) -> Self {
        self.id = Some(id);
        self
    }

    /// Sets the database of the server. Default: 0.
    #[must_use]
    pub fn db(mut self, database: u32) -> Self {
        self.database = Some(database);
        self
    }

    /// Sets the ACL user to log in as. Default: `default`, with the [`password`](Self::password); without that, as the
    /// engine's links do.
    #[must_use]
    pub fn user(mut self, user: impl Into<String>) -> Self {
        self.login.get_or_insert_default().user = Some(user.into());
        self
    }

    /// Sets the password to log in with. Default: that of the engine's links.
    #[must_use]
    pub fn password(mut self, password: impl Into<Vec<u8>>) -> Self {
        self.login.get_or_insert_default().password = password.into();
        self
    }

    /// Sets whether to speak TLS. Default: as the engine's links do.
    #[must_use]
    pub fn tls(mut self, tls: bool) -> Self {
        self.tls = Some(tls);
        self
    }

    /// Speaks TLS, with these certificates. Default: those of the engine's links.
    #[must_use]
    pub fn tls_files(mut self, files: TlsFiles) -> Self {
        self.tls_files = Some(files);
        self.tls(true)
    }

    /// Sets the label: the name by which the shard functions that hash hosts know the host. As long as it keeps its
    /// label, its keys stay with it wherever it is moved. Default: `host:port` and the database for
    /// [`Ketama::new`](crate::shard::Ketama::new), rb's own for [`Ketama::like_rb`](crate::shard::Ketama::like_rb).
    #[must_use]
    pub fn label(mut self, label: impl Into<String>) -> Self {
        self.label = Some(label.into());
        self
    }

    /// Returns where the server listens.
    pub fn address(&self) -> Address {
        match &self.unix_socket_path {
            Some(path) => Address::unix(path),
            None => Address::new(&self.tcp.0, self.tcp.1),
        }
    }

    /// Returns the database, if the list names one.
    pub fn database(&self) -> Option<u32> {
        self.database
    }

    /// Returns the id, once the host is in a list.
    pub fn host_id(&self) -> Option<u32> {
        self.id
    }

    /// Returns the endpoint at which the host is reached.
    pub(crate) fn endpoint(&self) -> Endpoint {
        Endpoint {
            address: self.address(),
            database: self.database.unwrap_or_default(),
            login: self.login.clone(),
            tls: self.tls.filter(|_| self.unix_socket_path.is_none()),
            tls_files: self.tls_files.clone(),
        }
    }

    pub(crate) fn own_label(&self) -> Option<&str> {
        self.label.as_deref()
    }

    pub(crate) fn tcp(&self) -> (&str, u16) {
        (&self.tcp.0, self.tcp.1)
    }

    pub(crate) fn unix_socket_path(&self) -> Option<&str> {
        self.unix_socket_path.as_deref()
    }

    pub(crate) fn own_password(&self) -> Option<&[u8]> {
        self.login.as_ref().map(|login| login.password.as_slice())
    }

    pub(crate) fn speaks_tls(&self) -> bool {
        self.tls == Some(true)
    }

    pub(crate) fn own_tls_files(&self) -> Option<&TlsFiles> {
        self.tls_files.as_ref()
    }

    /// Refuses a host that cannot exist.
    pub(super) fn check(&self) -> Result<(), Error> {
        if self.database.is_some_and(|database| database > i32::MAX as u32) {
            return Err(Error::Invalid(format!("the host {self} has no database from 0 to {}", i32::MAX)));
        }
        match &self.unix_socket_path {
            Some(path) if path.is_empty() => Err(Error::Invalid("a Unix socket needs a path".into())),
            Some(_) if self.tls == Some(true) => {
                Err(Error::Invalid(format!("the host {self} is a Unix socket, over which no TLS is spoken")))
            }
            None if self.tcp.0.is_empty() || self.tcp.1 == 0 => {
                Err(Error::Invalid(format!("'{self}' is no address; give host:port")))
            }
            _ => Ok(()),
        }
    }
}

impl From<Address> for Host {
    fn from(address: Address) -> Self {
        match address {
            Address::Tcp { host, port } => Self::new(host, port),
            Address::Unix { path } => Self::unix(path),
        }
    }
}

/// The name that the host has everywhere: its address, and its database unless that is 0.
impl fmt::Display for Host {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.address())?;
        match (self.database, &self.unix_socket_path) {
            (None | Some(0), _) => Ok(()),
            (Some(database), Some(_)) => write!(f, "?db={database}"),
            (Some(database), None) => write!(f, "/{database}"),
        }
    }
}

/// Never shows the password, nor the label, in which rb has it too.
impl fmt::Debug for Host {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut shown = f.debug_struct("Host");
        shown.field("id", &self.id).field("name", &self.to_string()).field("login", &self.login);
        shown.field("tls", &self.tls).finish_non_exhaustive()
    }
}

/// The user and password to log in with at a host.
#[derive(Clone, PartialEq, Eq, Hash, Default)]
pub(crate) struct Login {
    pub(crate) user: Option<String>,
    pub(crate) password: Vec<u8>,
}

/// Never shows the password.
impl fmt::Debug for Login {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Login").field("user", &self.user).finish_non_exhaustive()
    }
}

/// The facts about a host that a connection to it needs. Links are kept by it.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct Endpoint {
    pub(crate) address: Address,
    pub(crate) database: u32,
    /// The login; `None` for that of the engine's links.
    pub(crate) login: Option<Login>,
    pub(crate) tls: Option<bool>,
    pub(crate) tls_files: Option<TlsFiles>,
}

impl From<Address> for Endpoint {
    fn from(address: Address) -> Self {
        Self { address, database: 0, login: None, tls: None, tls_files: None }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_host_is_named_by_address_and_database() {
        assert_eq!(Host::new("10.0.0.1", 6379).db(0).to_string(), "10.0.0.1:6379");
        assert_eq!(Host::new("::1", 6379).db(3).to_string(), "[::1]:6379/3");
        assert_eq!(Host::unix("/run/a.sock").to_string(), "unix:/run/a.sock");
        assert_eq!(Host::unix("/run/a.sock").db(2).to_string(), "unix:/run/a.sock?db=2");
    }

    #[test]
    fn secrets_are_not_shown() {
        let host = Host::new("10.0.0.1", 6379).user("app").password("secret").label("password='secret'");
        let shown = format!("{host} {host:?} {:?}", host.endpoint());
        assert!(shown.contains("app") && !shown.contains("secret"), "{shown}");
    }

    #[test]
    fn what_cannot_be_meant_is_refused() {
        let error = |host: Host| host.check().unwrap_err().to_string();
        assert!(error(Host::unix("/a").tls(true)).contains("unix:/a is a Unix socket, over which no TLS is spoken"));
        assert!(error(Host::unix("")).contains("a path"));
        assert!(error(Host::new("", 1)).ends_with("give host:port"));
        assert!(error(Host::new("a", 0)).ends_with("give host:port"));
    }
}
