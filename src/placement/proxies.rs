//! [`Proxies`]: how a client finds the proxies of a store, and goes on at another one when its own fails.

use std::sync::{LazyLock, Mutex, PoisonError};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

use super::config_node::{ConfigNode, ConfigScript};
use crate::error::Error;
use crate::topology::{Address, BoxFuture, NodeProvider, Topology};

/// The source that topologies of proxies name.
const SOURCE: &str = "proxies";

/// The time that the configuration node has to answer.
const LIMIT: Duration = Duration::from_secs(2);

/// The time that a proxy has to show that it is there.
const ANSWERS_WITHIN: Duration = Duration::from_millis(500);

/// Returns the addresses of the proxies that live.
static LIVE: LazyLock<ConfigScript> = LazyLock::new(|| ConfigScript::look(&[include_str!("proxies.lua")]));

/// The proxies of a store, as its configuration node lists them. All commands go to one of them.
///
/// Any proxy serves any command. An engine with this provider speaks to one, and asks for another when that one fails. By
/// the rule of every [`Engine`](crate::Engine) only that is sent again then which was not sent yet, or only reads: of a write
/// that was sent nobody knows whether it was done, and its error says so. Programs that begin begin at different proxies.
///
/// ```no_run
/// use rmr::placement::Proxies;
/// use rmr::{Client, Command, Engine};
///
/// # async fn run() -> Result<(), rmr::Error> {
/// let proxies = Proxies::new(&["redis://10.0.0.9:6379".into()], None)?;
/// let client = Client::new(Engine::builder().provider(proxies).build());
/// client.execute(Command::new("INCR").arg("visits")).await?;
/// # Ok(())
/// # }
/// ```
pub struct Proxies {
    config: ConfigNode,
    state: Mutex<Known>,
}

/// The proxies that are known so far.
#[derive(Default)]
struct Known {
    /// As the configuration node has listed them last.
    listed: Vec<String>,
    /// The one that is spoken to.
    current: Option<String>,
}

impl Proxies {
    /// Takes the addresses of the configuration node, as `redis://[user:password@]host:port[/database]`, and the name of the
    /// store, if it has one. Nobody is asked yet.
    ///
    /// # Errors
    /// [`Error::Invalid`] for no address, for one that cannot be read, and for a name with braces or spaces.
    pub fn new(addresses: &[String], name: Option<&str>) -> Result<Self, Error> {
        Ok(Self { config: ConfigNode::new(addresses, name, LIMIT)?, state: Mutex::default() })
    }

    /// Returns a proxy that answers: the one of before, if it does.
    async fn choose(&self) -> Result<Address, Error> {
        let (before, current) = {
            let known = self.state.lock().unwrap_or_else(PoisonError::into_inner);
            (known.listed.clone(), known.current.clone())
        };
        let listed = match self.config.run::<Vec<String>>(&LIVE, &[]).await {
            Ok(listed) => listed,
            // Without the configuration node those do that were known before.
            Err(Error::Node { .. }) if !before.is_empty() => before,
            Err(error) => return Err(error),
        };
        let mut candidates = listed.clone();
        match current.as_ref().and_then(|current| listed.iter().position(|proxy| proxy == current)) {
            Some(place) => candidates.rotate_left(place),
            None => candidates.rotate_left(anywhere(listed.len())),
        }
        let mut failed =
            Error::Topology("the configuration node lists no proxy: is rmr-proxy --placement running?".into());
        for candidate in candidates {
            let address = Address::parse(&candidate)?;
            match knock(&candidate).await {
                Ok(()) => {
                    let mut known = self.state.lock().unwrap_or_else(PoisonError::into_inner);
                    *known = Known { listed, current: Some(candidate) };
                    return Ok(address);
                }
                Err(cause) => failed = Error::Node { node: candidate, cause, outcome_unknown: false },
            }
        }
        Err(failed)
    }
}

impl NodeProvider for Proxies {
    fn topology(&self) -> BoxFuture<'_, Result<Topology, Error>> {
        Box::pin(async { Ok(Topology::of_nodes(SOURCE, [self.choose().await?])) })
    }
}

/// Returns one of so many places, another one in each process.
fn anywhere(places: usize) -> usize {
    use std::hash::{BuildHasher, RandomState};
    if places == 0 { 0 } else { (RandomState::new().hash_one(std::process::id()) % places as u64) as usize }
}

/// Looks whether somebody answers at an address, in whatever words: a proxy that was stopped takes connections and says nothing.
async fn knock(address: &str) -> Result<(), String> {
    let answered = async {
        let mut stream = TcpStream::connect(address).await?;
        stream.write_all(b"PING\r\n").await?;
        stream.read(&mut [0; 16]).await
    };
    match timeout(ANSWERS_WITHIN, answered).await {
        Ok(Ok(_)) => Ok(()),
        Ok(Err(error)) => Err(error.to_string()),
        Err(_) => Err(format!("no answer in {} ms", ANSWERS_WITHIN.as_millis())),
    }
}
