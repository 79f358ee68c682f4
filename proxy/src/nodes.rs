//! The nodes that are served from, and how they are reached.

use rmr::link::{Credentials, LinkOptions};
use rmr::placement::Store;
use rmr::serve::ProxyOptions;
use rmr::shard::{Crc32Partition, Ketama, Rendezvous, ShardFunc};
use rmr::topology::TlsFiles;
use rmr::{Address, Engine, StaticList};

use crate::arguments::Arguments;

/// Returns the store whose configuration node is named, if one is.
pub fn store(arguments: &Arguments) -> Result<Option<Store>, String> {
    let Some(list) = &arguments.placement else { return Ok(None) };
    let addresses: Vec<String> = list.split(',').map(|address| address.trim().to_owned()).collect();
    let store = Store::with_own_links(&addresses, arguments.placement_name.as_deref(), own_links(arguments)?);
    store.map(Some).map_err(|error| format!("--placement: {error}"))
}

/// Says how the proxy itself, and not a client, connects to nodes.
fn own_links(arguments: &Arguments) -> Result<impl Fn() -> LinkOptions + Send + Sync + use<>, String> {
    let (tls, credentials) = (tls(arguments), credentials(arguments)?);
    Ok(move || links(tls.clone()).credentials_if(credentials.clone()))
}

/// Returns the engine that follows the nodes.
pub fn engine(arguments: &Arguments, store: Option<Store>) -> Result<Engine, String> {
    let builder = Engine::builder();
    let builder = match (&arguments.cluster, &arguments.nodes, store) {
        (None, None, Some(store)) => builder.provider(store),
        (_, _, Some(_)) => return Err("--placement excludes --cluster and --nodes".into()),
        (Some(seeds), None, None) => {
            let seeds: Result<Vec<Address>, rmr::Error> =
                seeds.split(',').map(|seed| Address::parse(seed.trim())).collect();
            builder.cluster(seeds.map_err(|error| format!("--cluster: {error}"))?)
        }
        (None, Some(list), None) => {
            builder.provider(StaticList::parse(list).map_err(|error| format!("--nodes: {error}"))?)
        }
        (None, None, None) => {
            return Err(
                "which nodes? Give --cluster host:port, --nodes with a list, or --placement redis://host:port".into()
            );
        }
        (Some(_), Some(_), None) => return Err("--cluster and --nodes exclude each other".into()),
    };
    let builder = match shard_func(arguments)? {
        Some(make) => builder.boxed_shard_func(make()),
        None => builder,
    };
    Ok(builder.links(own_links(arguments)?()).build())
}

/// Says how links of clients connect.
pub fn with_links(options: ProxyOptions, arguments: &Arguments, store: Option<Store>) -> Result<ProxyOptions, String> {
    let tls = tls(arguments);
    let options = options.links(move || links(tls.clone()));
    let options = store.iter().cloned().fold(options, ProxyOptions::store);
    Ok(match shard_func(arguments)? {
        Some(make) => options.shard_func(make),
        None => options,
    })
}

fn links(tls: Option<TlsFiles>) -> LinkOptions {
    tls.into_iter().fold(LinkOptions::new(), LinkOptions::tls)
}

/// Adds credentials, if there are any.
trait CredentialsIf {
    fn credentials_if(self, credentials: Option<Credentials>) -> Self;
}

impl CredentialsIf for LinkOptions {
    fn credentials_if(self, credentials: Option<Credentials>) -> Self {
        credentials.into_iter().fold(self, Self::credentials)
    }
}

fn credentials(arguments: &Arguments) -> Result<Option<Credentials>, String> {
    let Some(path) = &arguments.password_file else {
        return match &arguments.user {
            Some(_) => Err("--user needs --password-file".into()),
            None => Ok(None),
        };
    };
    let text = std::fs::read_to_string(path).map_err(|error| format!("--password-file {}: {error}", path.display()))?;
    let password = text.lines().next().unwrap_or_default();
    Ok(Some(Credentials::new(arguments.user.as_deref().unwrap_or("default"), password)))
}

fn tls(arguments: &Arguments) -> Option<TlsFiles> {
    let ca_file = arguments.node_tls_ca.clone()?;
    let mut files = TlsFiles::default();
    files.ca_file = Some(ca_file);
    files.cert_file.clone_from(&arguments.node_tls_cert);
    files.key_file.clone_from(&arguments.node_tls_key);
    Some(files)
}

type MakeShardFunc = fn() -> Box<dyn ShardFunc>;

fn shard_func(arguments: &Arguments) -> Result<Option<MakeShardFunc>, String> {
    let Some(name) = &arguments.shard_func else { return Ok(None) };
    if arguments.cluster.is_some() || arguments.placement.is_some() {
        return Err("--shard-func is for --nodes; a cluster says itself where keys are, and so does a placement".into());
    }
    Ok(Some(match name.as_str() {
        "crc32" => || Box::new(Crc32Partition),
        "ketama" => || Box::new(Ketama::new()),
        "ketama-rb" => || Box::new(Ketama::like_rb()),
        "rendezvous" => || Box::new(Rendezvous),
        other => return Err(format!("--shard-func {other}: crc32, ketama, ketama-rb and rendezvous are known")),
    }))
}
