//! The arguments of `rmr-proxy`. Each argument may stand in a file too, under the same name.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use clap::Parser;
use serde::Deserialize;

/// Serves clients of a single Redis from a whole cluster, or from a list of servers.
#[derive(Debug, Default, Clone, Parser, Deserialize)]
#[command(name = "rmr-proxy", version, about)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Arguments {
    /// A Redis Cluster: host:port of some of its nodes, with commas between them
    #[arg(long, value_name = "HOST:PORT,...", conflicts_with = "nodes")]
    pub cluster: Option<String>,

    /// Plain servers, as in rmr.nodes: host:port with spaces between them
    #[arg(long, value_name = "LIST")]
    pub nodes: Option<String>,

    /// Plain servers whose slots a configuration node knows: redis://host:port of it, and of replicas of it, with commas between them
    #[arg(long, value_name = "URL,...", conflicts_with_all = ["cluster", "nodes"])]
    pub placement: Option<String>,

    /// The name of that placement: keys of the configuration node begin with {rmr:NAME}: then
    #[arg(long, value_name = "NAME", requires = "placement")]
    pub placement_name: Option<String>,

    /// The function that tells which plain server a key belongs to: crc32 (default), ketama, ketama-rb or rendezvous
    #[arg(long, value_name = "NAME")]
    pub shard_func: Option<String>,

    /// The address where clients connect [default: 127.0.0.1:6380]; several with commas between them
    #[arg(long, value_name = "ADDRESS:PORT,...")]
    pub listen: Option<String>,

    /// A Unix socket where clients connect
    #[arg(long, value_name = "PATH")]
    pub unix: Option<PathBuf>,

    /// The certificate that clients are shown, in PEM; with it, --listen speaks TLS
    #[arg(long, value_name = "FILE", requires = "tls_key")]
    pub tls_cert: Option<PathBuf>,

    /// Its key
    #[arg(long, value_name = "FILE", requires = "tls_cert")]
    pub tls_key: Option<PathBuf>,

    /// The authorities one of which must have signed the certificates of clients; without it they need none
    #[arg(long, value_name = "FILE", requires = "tls_cert")]
    pub tls_client_ca: Option<PathBuf>,

    /// The authorities that have signed the certificates of nodes; with it, nodes are spoken to over TLS
    #[arg(long, value_name = "FILE")]
    pub node_tls_ca: Option<PathBuf>,

    /// The certificate that nodes are shown
    #[arg(long, value_name = "FILE", requires = "node_tls_key")]
    pub node_tls_cert: Option<PathBuf>,

    /// Its key
    #[arg(long, value_name = "FILE", requires = "node_tls_cert")]
    pub node_tls_key: Option<PathBuf>,

    /// The user as whom the proxy itself asks nodes for the topology and about commands [default: default]
    #[arg(long, value_name = "NAME")]
    pub user: Option<String>,

    /// A file with that user's password in its first line. Clients name their own
    #[arg(long, value_name = "FILE")]
    pub password_file: Option<PathBuf>,

    /// The number of threads that serve clients [default: the number of processors]
    #[arg(long, value_name = "N")]
    pub threads: Option<usize>,

    /// The address where Prometheus finds the figures, at /metrics
    #[arg(long, value_name = "ADDRESS:PORT")]
    pub metrics: Option<SocketAddr>,

    /// The most that a command may take that does not block, in milliseconds [default: 5000]
    #[arg(long, value_name = "MS")]
    pub timeout_ms: Option<u64>,

    /// The most clients that may be connected at once [default: 10000]
    #[arg(long, value_name = "N")]
    pub max_clients: Option<usize>,

    /// The longest command of a client, in bytes [default: 1073741824]
    #[arg(long, value_name = "BYTES")]
    pub max_request_bytes: Option<usize>,

    /// The longest replies to a command, in bytes [default: 1073741824]
    #[arg(long, value_name = "BYTES")]
    pub max_reply_bytes: Option<usize>,

    /// The most that may wait for a client that has subscribed and does not read, in bytes [default: 33554432]
    #[arg(long, value_name = "BYTES")]
    pub max_output_bytes: Option<usize>,

    /// The longest that a client may take to read its replies, in milliseconds [default: 30000]
    #[arg(long, value_name = "MS")]
    pub write_timeout_ms: Option<u64>,

    /// The longest that a client may say nothing, in seconds; 0, the default, is for ever
    #[arg(long, value_name = "S")]
    pub idle_timeout_s: Option<u64>,

    /// Run writes of keys of several slots or servers in parts, such as MSET, which is not atomic
    #[arg(long)]
    #[serde(default)]
    pub split_writes: bool,

    /// The time that clients have to take their last replies after SIGTERM, in milliseconds [default: 10000]
    #[arg(long, value_name = "MS")]
    pub drain_ms: Option<u64>,

    /// A file with any of these arguments, as TOML: listen = "127.0.0.1:6380". The command line comes first
    #[arg(long, value_name = "FILE")]
    #[serde(skip)]
    pub config: Option<PathBuf>,
}

impl Arguments {
    /// Adds what the file says that the command line names.
    ///
    /// # Errors
    /// If it cannot be read, or says something that is not known.
    pub fn with_file(self) -> Result<Self, String> {
        match self.config.clone() {
            None => Ok(self),
            Some(path) => self.or(Self::read(&path).map_err(|error| format!("{}: {error}", path.display()))?),
        }
    }

    fn read(path: &Path) -> Result<Self, String> {
        let text = std::fs::read_to_string(path).map_err(|error| error.to_string())?;
        toml::from_str(&text).map_err(|error| error.to_string())
    }

    /// Takes from another what is not said here.
    fn or(self, other: Self) -> Result<Self, String> {
        let which = |it: Self| [it.cluster, it.nodes, it.placement, it.placement_name];
        let says_nodes = self.cluster.is_some() || self.nodes.is_some() || self.placement.is_some();
        let [cluster, nodes, placement, placement_name] = which(if says_nodes { self.clone() } else { other.clone() });
        Ok(Self {
            cluster,
            nodes,
            placement,
            placement_name,
            shard_func: self.shard_func.or(other.shard_func),
            listen: self.listen.or(other.listen),
            unix: self.unix.or(other.unix),
            tls_cert: self.tls_cert.or(other.tls_cert),
            tls_key: self.tls_key.or(other.tls_key),
            tls_client_ca: self.tls_client_ca.or(other.tls_client_ca),
            node_tls_ca: self.node_tls_ca.or(other.node_tls_ca),
            node_tls_cert: self.node_tls_cert.or(other.node_tls_cert),
            node_tls_key: self.node_tls_key.or(other.node_tls_key),
            user: self.user.or(other.user),
            password_file: self.password_file.or(other.password_file),
            threads: self.threads.or(other.threads),
            metrics: self.metrics.or(other.metrics),
            timeout_ms: self.timeout_ms.or(other.timeout_ms),
            max_clients: self.max_clients.or(other.max_clients),
            max_request_bytes: self.max_request_bytes.or(other.max_request_bytes),
            max_reply_bytes: self.max_reply_bytes.or(other.max_reply_bytes),
            max_output_bytes: self.max_output_bytes.or(other.max_output_bytes),
            write_timeout_ms: self.write_timeout_ms.or(other.write_timeout_ms),
            idle_timeout_s: self.idle_timeout_s.or(other.idle_timeout_s),
            split_writes: self.split_writes || other.split_writes,
            drain_ms: self.drain_ms.or(other.drain_ms),
            config: self.config,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(line: &str) -> Result<Arguments, clap::Error> {
        Arguments::try_parse_from(["rmr-proxy"].into_iter().chain(line.split_whitespace()))
    }

    #[test]
    fn the_command_line_comes_before_the_file() {
        let file = "cluster = \"a:1\"\nlisten = \"0.0.0.0:7000\"\nmax-clients = 5\nsplit-writes = true\n";
        let file: Arguments = toml::from_str(file).unwrap();
        let both = parse("--nodes b:2 --max-clients 7").unwrap().or(file).unwrap();
        assert_eq!((both.cluster, both.nodes.as_deref()), (None, Some("b:2")), "one of the two");
        assert_eq!(
            (both.listen.as_deref(), both.max_clients, both.split_writes),
            (Some("0.0.0.0:7000"), Some(7), true)
        );
    }

    /// Checks that the page has a row for each argument, with the words of `--help`, and no others.
    #[test]
    fn the_page_says_what_help_says() {
        use clap::CommandFactory;

        let page = include_str!("../../docs/reference/rmr-proxy.md");
        let mut rows = Vec::new();
        for argument in Arguments::command().get_arguments() {
            let name = argument.get_long().expect("a name");
            let value = argument.get_value_names().filter(|_| argument.get_action().takes_values());
            let value = value.map(|names| format!(" {}", names[0])).unwrap_or_default();
            rows.push(format!("| `--{name}{value}` | {} |", argument.get_help().expect("a text")));
        }
        let written: Vec<&str> = page.lines().filter(|line| line.starts_with("| `--")).collect();
        assert_eq!(written, rows);
    }

    /// Checks the example of a file in `deploy/`, also with all that is commented out there.
    #[test]
    fn the_example_of_a_file_is_one() {
        let example = include_str!("../../deploy/rmr-proxy.toml");
        let all: String = example
            .lines()
            .map(|line| line.strip_prefix("# ").filter(|line| line.contains(" = \"")).unwrap_or(line))
            .fold(String::new(), |all, line| all + line + "\n");
        for text in [example, &all] {
            let read: Arguments = toml::from_str(text).unwrap();
            assert_eq!((read.max_clients, read.metrics.map(|address| address.port())), (Some(10_000), Some(9380)));
        }
    }

    #[test]
    fn what_is_not_known_is_refused() {
        assert!(
            toml::from_str::<Arguments>("lisen = \"x\"").unwrap_err().to_string().contains("unknown field `lisen`")
        );
        assert!(
            parse("--cluster a:1 --nodes b:1").is_err() && parse("--tls-cert x").is_err() && parse("--bogus").is_err()
        );
    }
}
