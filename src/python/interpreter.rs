//! The interpreter: which one it is, how it is started, and what is said where it cannot run functions.

use std::ffi::OsString;
use std::io::{self, PipeReader};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::process::{Child, Command, Stdio};

use super::program::Program;
use crate::error::Error;

/// Says which interpreter runs functions, and what it may use.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Interpreter {
    /// Its name, looked for on the server's PATH, or its path: `rmr.python`.
    pub(crate) program: String,
    /// Bytes of private memory that each worker may have; 0 is no limit: `rmr.python-memory`.
    pub(crate) memory: u64,
    /// The user as whom workers run, if the server runs as root: `rmr.python-user`. Empty: as the server.
    pub(crate) user: String,
    /// Processes and threads that this user may have: `rmr.python-processes`.
    pub(crate) processes: u64,
    /// The niceness of workers, by which they give way to the server.
    pub(crate) nice: i32,
}

/// The variables of the server's environment that code of users sees: those that find the interpreter and its
/// libraries, and those that say how texts and times are written. All others may be secrets of the server.
const ENVIRONMENT: [&str; 14] = [
    "PATH",
    "HOME",
    "LANG",
    "LANGUAGE",
    "LC_ALL",
    "LC_CTYPE",
    "TZ",
    "TMPDIR",
    "LD_LIBRARY_PATH",
    "SSL_CERT_FILE",
    "SSL_CERT_DIR",
    "VIRTUAL_ENV",
    "PYENV_ROOT",
    "PYENV_VERSION",
];

/// The variables that pip sees besides, and with it code that builds a package: they say how the network is reached.
/// Pip's own settings begin with [`OF_PIP`].
const NETWORK: [&str; 6] =
    ["HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE"];

const OF_PIP: &str = "PIP_";

/// Returns the environment of what fetches and installs packages.
pub(super) fn for_packages() -> impl Iterator<Item = (OsString, OsString)> {
    std::env::vars_os().filter(|(name, _)| name.to_str().is_some_and(is_for_packages))
}

fn is_for_packages(name: &str) -> bool {
    // Proxies are written in small letters, too.
    let is_of_network = || NETWORK.contains(&name) || NETWORK[..4].iter().any(|other| other.to_lowercase() == name);
    ENVIRONMENT.contains(&name) || name.starts_with(OF_PIP) || is_of_network()
}

/// Is a template that has been started, and has not said anything yet.
pub(super) struct StartedTemplate {
    pub(super) process: Child,
    pub(super) control: UnixStream,
    pub(super) output: PipeReader,
}

impl Interpreter {
    /// Makes the command that runs the program, to which its words are added.
    pub(super) fn command(&self, program: &Program) -> Command {
        let mut command = Command::new(&self.program);
        command.args(["-I", "-B"]).arg(program.path());
        command
    }

    /// Starts the template: without a fork of the server, which would copy its page tables.
    pub(super) fn start_template(&self, program: &Program) -> Result<StartedTemplate, Error> {
        let fault = |error: io::Error| self.not_started(&error);
        let (control, theirs) = UnixStream::pair().map_err(fault)?;
        let (output, printed) = io::pipe().map_err(fault)?;
        let process = self
            .command(program)
            .arg(format!("server={}", std::process::id()))
            .arg(format!("folder={}", program.folder().display()))
            .arg(format!("memory={}", self.memory))
            .arg(format!("user={}", self.user))
            .arg(format!("processes={}", self.processes))
            .arg(format!("nice={}", self.nice))
            .env_clear()
            .envs(ENVIRONMENT.iter().filter_map(|name| Some((name, std::env::var_os(name)?))))
            .stdin(Stdio::from(OwnedFd::from(theirs)))
            .stdout(printed.try_clone().map_err(fault)?)
            .stderr(printed)
            .spawn()
            .map_err(fault)?;
        Ok(StartedTemplate { process, control, output })
    }

    /// Says that the interpreter could not be started, and what to do.
    pub(super) fn not_started(&self, error: &io::Error) -> Error {
        let Self { program, .. } = self;
        Error::Refused(match error.kind() {
            io::ErrorKind::NotFound => format!(
                "there is no {program:?} on this server to run functions: install it (Debian: python3 and \
                 python3-cloudpickle), or name another interpreter by rmr.python"
            ),
            io::ErrorKind::PermissionDenied => format!("the server may not run {program:?}, which rmr.python names"),
            _ => format!("{program:?} cannot be started: {error}"),
        })
    }

    /// Says what the interpreter lacks, and what to do, from what it says itself.
    pub(super) fn lacks(&self, text: &str) -> Error {
        let advice = if text.contains("cloudpickle") {
            "; on Debian the package python3-cloudpickle is for /usr/bin/python3, for another one it is `<interpreter> -m \
             pip install cloudpickle`; rmr.python names the interpreter"
        } else if text.contains("user") {
            "; rmr.python names the interpreter, rmr.python-user the user"
        } else {
            "; rmr.python names the interpreter"
        };
        Error::Refused(format!("{text}{advice}"))
    }

    /// Says that the interpreter ended, or did something else than to say that it is ready.
    pub(super) fn not_ready(&self, why: &str) -> Error {
        Error::Refused(format!("{:?}, which rmr.python names, cannot run functions: {why}", self.program))
    }
}

#[cfg(test)]
mod tests {
    use super::is_for_packages;

    #[test]
    fn pip_sees_how_the_network_is_reached_and_no_secrets() {
        for name in ["PATH", "TZ", "https_proxy", "NO_PROXY", "PIP_INDEX_URL", "PIP_CONFIG_FILE", "REQUESTS_CA_BUNDLE"]
        {
            assert!(is_for_packages(name), "{name}");
        }
        for name in ["", "REDIS_PASSWORD", "AWS_SECRET_ACCESS_KEY", "path", "pip_index_url", "MY_HTTP_PROXY"] {
            assert!(!is_for_packages(name), "{name}");
        }
    }
}
