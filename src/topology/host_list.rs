//! The grammar of a list of hosts, as `rmr.nodes` and [`StaticList::parse`](super::StaticList::parse) read it.
//!
//! ```text
//! list     = word *(white space word)
//! word     = [id "="] host | "*=" host
//! host     = [scheme "://"] [[user] ":" password "@"] [name] [":" port] ["/" db] ["?" options]
//!          | "unix://" [[user] ":" password "@"] path ["?" options]
//! scheme   = "redis" | "rediss"
//! options  = option *("&" option), each of: db= label= cacert= cacertdir= cert= key=
//! ```
//!
//! The word `*=` gives what others leave out. Users, passwords, paths and options may hold `%20` and the like. Errors
//! never repeat what stands before an `@`, nor labels.

use super::TlsFiles;
use super::host::{DEFAULT_HOST, DEFAULT_PORT, Host};
use crate::error::Error;

/// Reads a list.
///
/// # Errors
/// The word that cannot be read, and the reason.
pub(super) fn parse(text: &str) -> Result<Vec<Host>, Error> {
    let mut defaults = None;
    let mut words = Vec::new();
    for word in text.split_whitespace() {
        if word.starts_with("*=") {
            if defaults.is_some() {
                return Err(Error::Invalid("'*=', what hosts leave out, stands twice in the list".into()));
            }
            defaults = Some(Word::read(word)?);
        } else {
            words.push((word, Word::read(word)?));
        }
    }
    let defaults = defaults.unwrap_or_default();
    words.into_iter().map(|(text, word)| word.host(&defaults).map_err(|why| bad(text, why))).collect()
}

/// The content of one word of a list.
#[derive(Default)]
struct Word {
    id: Option<u32>,
    /// `None` if the word does not say, or there is none.
    transport: Option<Transport>,
    name: Option<String>,
    port: Option<u16>,
    login: Option<(Option<String>, Vec<u8>)>,
    database: Option<u32>,
    label: Option<String>,
    tls_files: Option<TlsFiles>,
}

/// The transport by which a host is reached.
#[derive(Clone, PartialEq, Eq)]
enum Transport {
    Tcp,
    Tls,
    Unix(String),
}

const NO_ADDRESS: &str = "is no address; give host:port";
const BAD_DATABASE: &str = "has no database that is a number from 0 to 2147483647";

impl Word {
    fn read(text: &str) -> Result<Self, Error> {
        Self::parts(text).map_err(|why| bad(text, why))
    }

    fn parts(text: &str) -> Result<Self, &'static str> {
        let mut word = Self::default();
        let (id, rest) = text.split_once('=').unwrap_or(("", text));
        let rest = match id {
            "*" => rest,
            id if !id.is_empty() && id.bytes().all(|byte| byte.is_ascii_digit()) => {
                word.id = Some(id.parse().map_err(|_| "has an id that is too large")?);
                rest
            }
            _ => text,
        };
        let (scheme, rest) = match rest.split_once("://") {
            Some((scheme, rest)) => (Some(scheme), rest),
            None => (None, rest),
        };
        let (rest, options) = rest.split_once('?').unwrap_or((rest, ""));
        let (authority, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
        let (login, place) = match authority.rsplit_once('@') {
            Some((login, place)) => (Some(login), place),
            None => (None, authority),
        };
        word.login = login.map(read_login).transpose()?;
        match scheme.map(str::to_ascii_lowercase).as_deref() {
            Some("unix") if !place.is_empty() => {
                return Err("names a host before the path of its socket; give unix:///path");
            }
            Some("unix") if path.len() < 2 => return Err("has no path; give unix:///path"),
            Some("unix") => word.transport = Some(Transport::Unix(decoded_text(path)?)),
            other => {
                word.transport = match other {
                    None => None,
                    Some("redis") => Some(Transport::Tcp),
                    Some("rediss") => Some(Transport::Tls),
                    Some(_) => return Err("begins with no scheme that is known; give redis://, rediss:// or unix://"),
                };
                word.read_place(place)?;
                let database = path.strip_prefix('/').unwrap_or(path);
                word.database = if database.is_empty() { None } else { Some(read_database(database)?) };
            }
        }
        for option in options.split('&').filter(|option| !option.is_empty()) {
            word.read_option(option)?;
        }
        if word.tls_files.is_some() && word.transport.as_ref().is_some_and(|by| *by != Transport::Tls) {
            return Err("has certificates and does not speak TLS; give rediss://");
        }
        Ok(word)
    }

    /// Reads `name`, `name:port`, `[v6]:port`, `:port`, or nothing.
    fn read_place(&mut self, place: &str) -> Result<(), &'static str> {
        if place.contains(',') {
            return Err("has a comma; hosts are parted by blanks");
        }
        let (name, port) = match place.rsplit_once(':') {
            Some((name, port)) if !port.ends_with(']') => (name, Some(port)),
            _ => (place, None),
        };
        if let Some(port) = port {
            self.port = Some(port.parse().ok().filter(|&port| port != 0).ok_or(NO_ADDRESS)?);
        }
        let name = name.strip_prefix('[').and_then(|name| name.strip_suffix(']')).unwrap_or(name);
        self.name = (!name.is_empty()).then(|| name.to_owned());
        Ok(())
    }

    fn read_option(&mut self, option: &str) -> Result<(), &'static str> {
        let (name, value) = option.split_once('=').unwrap_or((option, ""));
        let path = || decoded_text(value).map(|path| Some(path.into()));
        match name {
            "db" => self.database = Some(read_database(value)?),
            "label" => self.label = Some(decoded_text(value)?),
            "cacert" => self.tls_files.get_or_insert_default().ca_file = path()?,
            "cacertdir" => self.tls_files.get_or_insert_default().ca_dir = path()?,
            "cert" => self.tls_files.get_or_insert_default().cert_file = path()?,
            "key" => self.tls_files.get_or_insert_default().key_file = path()?,
            _ => return Err("has an option that is not known; known are db, label, cacert, cacertdir, cert, key"),
        }
        Ok(())
    }

    /// Makes the host of the word; `defaults` fills in whatever the word leaves out.
    fn host(self, defaults: &Self) -> Result<Host, &'static str> {
        // A name or a port alone is enough to say that no socket is meant.
        let is_tcp = self.name.is_some() || self.port.is_some();
        let inherited = defaults.transport.clone().filter(|by| !(is_tcp && matches!(by, Transport::Unix(_))));
        let is_said = self.transport.is_some() || defaults.transport.is_some();
        let transport = self.transport.or(inherited);
        let name = self.name.or_else(|| defaults.name.clone());
        let port = self.port.or(defaults.port);
        if !is_said && (name.is_none() || port.is_none()) {
            return Err(NO_ADDRESS);
        }
        let (name, port) = (name.unwrap_or_else(|| DEFAULT_HOST.into()), port.unwrap_or(DEFAULT_PORT));
        let mut host = Host::new(name, port);
        host = match transport {
            None => host,
            Some(Transport::Tcp) => host.tls(false),
            Some(Transport::Tls) => host.tls(true),
            Some(Transport::Unix(path)) => host.at_socket(path),
        };
        if let Some(id) = self.id {
            host = host.id(id);
        }
        if let Some(database) = self.database.or(defaults.database) {
            host = host.db(database);
        }
        if let Some((user, password)) = self.login.or_else(|| defaults.login.clone()) {
            host = user.into_iter().fold(host.password(password), Host::user);
        }
        if let Some(label) = self.label {
            host = host.label(label);
        }
        match self.tls_files.or_else(|| defaults.tls_files.clone()) {
            Some(files) if host.speaks_tls() => Ok(host.tls_files(files)),
            _ => Ok(host),
        }
    }
}

fn bad(word: &str, why: &str) -> Error {
    Error::Invalid(format!("'{}' {why}", without_secrets(word).escape_debug()))
}

/// Shows a word without its user, its password and its label.
fn without_secrets(word: &str) -> String {
    let shown = match word.rsplit_once('@') {
        None => word.to_owned(),
        Some((before, after)) => {
            let scheme = before.split_once("://").map(|(scheme, _)| format!("{scheme}://")).unwrap_or_default();
            format!("{scheme}...@{after}")
        }
    };
    match shown.split_once("label=") {
        Some((before, _)) => format!("{before}label=..."),
        None => shown,
    }
}

fn read_login(login: &str) -> Result<(Option<String>, Vec<u8>), &'static str> {
    let (user, password) = login.split_once(':').ok_or("has a user without a password; give user:password@")?;
    let user = decoded_text(user)?;
    Ok(((!user.is_empty()).then_some(user), decoded(password)?))
}

fn read_database(text: &str) -> Result<u32, &'static str> {
    let is_number = text.bytes().all(|byte| byte.is_ascii_digit());
    text.parse().ok().filter(|&database: &u32| is_number && database <= i32::MAX as u32).ok_or(BAD_DATABASE)
}

/// Puts the bytes in that `%41` and the like stand for.
fn decoded(text: &str) -> Result<Vec<u8>, &'static str> {
    const BAD: &str = "has a % without two hexadecimal digits; a % itself is %25";
    let mut bytes = text.bytes();
    let mut decoded = Vec::with_capacity(text.len());
    while let Some(byte) = bytes.next() {
        decoded.push(match byte {
            b'%' => {
                let mut digit = || bytes.next().and_then(|digit| char::from(digit).to_digit(16)).ok_or(BAD);
                (digit()? * 16 + digit()?) as u8
            }
            byte => byte,
        });
    }
    Ok(decoded)
}

fn decoded_text(text: &str) -> Result<String, &'static str> {
    String::from_utf8(decoded(text)?).map_err(|_| "is not UTF-8 throughout")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::topology::Address;
    use proptest::prelude::*;

    fn hosts(text: &str) -> Vec<Host> {
        parse(text).unwrap()
    }

    fn error(text: &str) -> String {
        parse(text).unwrap_err().to_string()
    }

    #[test]
    fn every_part_is_read() {
        assert_eq!(hosts("a:1 [::1]:2"), [Host::new("a", 1), Host::new("::1", 2)]);
        assert_eq!(hosts("redis://a"), [Host::new("a", 6379).tls(false)]);
        assert_eq!(hosts("redis://[::1]/3"), [Host::new("::1", 6379).tls(false).db(3)]);
        assert_eq!(hosts("3=redis://:6380"), [Host::new("localhost", 6380).tls(false).id(3)]);
        assert_eq!(
            hosts("rediss://app:p%40ss%3a@a:1/2?label=x%20y"),
            [Host::new("a", 1).tls(true).user("app").password("p@ss:").db(2).label("x y")]
        );
        assert_eq!(hosts("redis://:%ff@a"), [Host::new("a", 6379).tls(false).password([0xff])]);
        assert_eq!(hosts("redis://:x,y@a"), [Host::new("a", 6379).tls(false).password("x,y")]);
        assert_eq!(hosts("unix:///run/a%20b.sock?db=4"), [Host::unix("/run/a b.sock").db(4)]);
        assert_eq!(hosts("unix://u:p@/run/a.sock"), [Host::unix("/run/a.sock").user("u").password("p")]);
        let files = TlsFiles { ca_file: Some("/ca".into()), cert_file: Some("/c".into()), ..TlsFiles::default() };
        assert_eq!(hosts("rediss://a?cacert=/ca&cert=/c"), [Host::new("a", 6379).tls_files(files)]);
    }

    #[test]
    fn defaults_fill_in_what_is_left_out() {
        let documented = hosts("*=redis://127.0.0.1 :6379 :6380 2=:6379/1");
        let host = |port| Host::new("127.0.0.1", port).tls(false);
        assert_eq!(documented, [host(6379), host(6380), host(6379).db(1).id(2)]);
        let sockets = hosts("/0 /1 ?db=2 a:1 *=unix://:p@/run/a.sock");
        let socket = |db| Host::unix("/run/a.sock").password("p").db(db);
        assert_eq!(sockets, [socket(0), socket(1), socket(2), Host::new("a", 1).password("p")]);
        let own = hosts("*=rediss://u:p@a:1/5?cacert=/ca redis://x:y@b /0");
        let files = TlsFiles { ca_file: Some("/ca".into()), ..TlsFiles::default() };
        let first = Host::new("b", 1).tls(false).user("x").password("y").db(5);
        assert_eq!(own, [first, Host::new("a", 1).tls_files(files).user("u").password("p").db(0)]);
    }

    /// rb keeps host and port of a host that it reaches by a socket, and they are part of its labels.
    #[test]
    fn a_socket_has_the_host_and_port_of_the_defaults() {
        let [host] = <[Host; 1]>::try_from(hosts("*=redis://10.0.0.1:7000 unix:///a.sock")).unwrap();
        assert_eq!((host.address(), host.tcp()), (Address::unix("/a.sock"), ("10.0.0.1", 7000)));
    }

    #[test]
    fn bad_words_are_named_with_the_reason() {
        assert_eq!(error("a:1 b"), "'b' is no address; give host:port");
        for word in ["a:x", ":2", "a:0", "a:65536", "/1", "redis://a:x"] {
            assert_eq!(error(word), format!("'{word}' is no address; give host:port"));
        }
        for (word, why) in [
            ("redis://a/x", "no database that is a number"),
            ("redis://a/-1", "no database that is a number"),
            ("redis://a/4294967295", "no database that is a number"),
            ("redis://a?db=", "no database that is a number"),
            ("redis://a?best=1", "an option that is not known; known are db"),
            ("http://a:1", "give redis://, rediss:// or unix://"),
            ("unix://a/b", "give unix:///path"),
            ("unix:///", "has no path"),
            ("redis://:%4@a", "a % without two hexadecimal digits"),
            ("redis://a?label=%ff", "is not UTF-8"),
            ("redis://app@a", "a user without a password"),
            ("redis://a?cacert=/ca", "give rediss://"),
            ("99999999999=a:1", "an id that is too large"),
            ("a:1,b:2", "has a comma; hosts are parted by blanks"),
            ("redis://a:1,redis://b:2", "has a comma; hosts are parted by blanks"),
            ("a,b:1", "has a comma; hosts are parted by blanks"),
        ] {
            assert!(error(word).contains(why), "{word}: {}", error(word));
        }
        assert!(error("*=redis://a *=redis://b").contains("stands twice"));
    }

    #[test]
    fn errors_show_no_secrets() {
        for word in [
            "redis://app:secret@a:x",
            "redis://:secret/1@a:1",
            "redis://:secret?x@a:1",
            "1=rediss://:secret@secret@a:x",
            ":secret@a",
            "redis://a:1/x?label=secret",
            "redis://a:1?label=secret&x=1",
            "*=nosuch://:secret@a",
        ] {
            assert!(!error(word).contains("secret"), "{word}: {}", error(word));
        }
        assert_eq!(error("redis://app:secret@a:x"), "'redis://...@a:x' is no address; give host:port");
    }

    proptest! {
        #[test]
        fn any_text_is_read_or_refused(text in "[ a-c0-9=:/@?*&%\\[\\].]{0,40}") {
            let _ = parse(&text);
        }

        #[test]
        fn any_password_survives(password in prop::collection::vec(any::<u8>(), 0..20)) {
            let encoded: String = password.iter().map(|byte| format!("%{byte:02x}")).collect();
            prop_assert_eq!(hosts(&format!("redis://:{encoded}@a")), [Host::new("a", 6379).tls(false).password(password)]);
        }
    }
}
