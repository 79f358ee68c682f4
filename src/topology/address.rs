//! [`Address`]: where a server listens.

use std::fmt;

use crate::error::Error;

/// Says where a server listens: a TCP port, or a socket of the file system.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[non_exhaustive]
pub enum Address {
    /// Over TCP, with or without TLS.
    Tcp {
        /// A host name or an IP address, without brackets.
        host: String,
        /// The port.
        port: u16,
    },
    /// A Unix socket on this machine.
    Unix {
        /// The path of the socket.
        path: String,
    },
}

impl Address {
    /// Makes the address of a TCP port of a host.
    pub fn new(host: impl Into<String>, port: u16) -> Self {
        Self::Tcp { host: host.into(), port }
    }

    /// Makes the address of a Unix socket.
    pub fn unix(path: impl Into<String>) -> Self {
        Self::Unix { path: path.into() }
    }

    /// Reads `host:port` and `[v6]:port`.
    ///
    /// ```
    /// use rmr::Address;
    ///
    /// assert_eq!(Address::parse("[::1]:7001").unwrap(), Address::new("::1", 7001));
    /// assert!(Address::parse("localhost").is_err());
    /// ```
    pub fn parse(text: &str) -> Result<Self, Error> {
        let wrong = || Error::Invalid(format!("'{}' is no address; give host:port", text.escape_debug()));
        let (host, port) = text.rsplit_once(':').ok_or_else(wrong)?;
        let host = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
        let port = port.parse().ok().filter(|&port| port != 0).ok_or_else(wrong)?;
        if host.is_empty() || host.contains(|letter: char| letter.is_whitespace() || letter == ',') {
            return Err(wrong());
        }
        Ok(Self::new(host, port))
    }

    /// Returns the host of a TCP port. For a Unix socket it is `127.0.0.1`.
    pub fn host(&self) -> &str {
        match self {
            Self::Tcp { host, .. } => host,
            Self::Unix { .. } => "127.0.0.1",
        }
    }

    /// Returns the TCP port; `None` for a Unix socket.
    pub fn port(&self) -> Option<u16> {
        match self {
            Self::Tcp { port, .. } => Some(*port),
            Self::Unix { .. } => None,
        }
    }
}

/// `host:port`, or `unix:/path`.
impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp { host, port } if host.contains(':') => write!(f, "[{host}]:{port}"),
            Self::Tcp { host, port } => write!(f, "{host}:{port}"),
            Self::Unix { path } => write!(f, "unix:{path}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_checked() {
        assert_eq!(Address::parse("10.0.0.1:6379").unwrap().to_string(), "10.0.0.1:6379");
        assert_eq!(Address::parse("[fe80::1]:6379").unwrap().to_string(), "[fe80::1]:6379");
        assert_eq!(Address::unix("/run/redis.sock").to_string(), "unix:/run/redis.sock");
        for wrong in ["", "host", "host:", ":6379", "host:0", "host:65536", "host:x", "a b:1", "a:1,b:2"] {
            let error = Address::parse(wrong).unwrap_err().to_string();
            assert!(error.starts_with("'") && error.ends_with("give host:port"), "{error}");
        }
    }
}
