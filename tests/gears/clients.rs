//! Clients of RedisGears, unchanged: redgrease, and redis-cli with scripts in files.

use crate::common::{rg_path, run_python_with_redgrease};
use crate::servers::{Servers, cluster, server};

/// The version that clients look for.
const VERSION: &str = "10213";

fn rg() -> [String; 2] {
    ["--loadmodule".to_owned(), rg_path().to_str().expect("a path in UTF-8").to_owned()]
}

fn with_rg() -> Servers {
    // After the module's arguments would come its own: so this module is loaded first.
    let [option, path] = rg();
    Servers::of(server().arg(option).arg(path).start())
}

#[test]
fn the_module_rg_is_listed() {
    let servers = with_rg();
    let list = servers.reply(&["MODULE", "LIST"]);
    assert!(list.contains(&format!("\"name\", \"rg\", \"ver\", {VERSION}")), "{list}");
    assert!(list.contains("\"name\", \"rmr\""), "{list}");
    assert_eq!(servers.reply(&["RG.PYEXECUTE", "GB('ShardsIDReader').run()"]), "[[\"1\"], []]");
    assert_eq!(servers.reply(&["MODULE", "UNLOAD", "rg"]), "+OK");
    assert_eq!(servers.reply(&["RG.PYEXECUTE", "GB('ShardsIDReader').run()"]), "[[\"1\"], []]");
}

#[test]
fn redgrease_on_a_single_server() {
    let servers = with_rg();
    assert_eq!(run_python_with_redgrease("redgrease_client", &[&servers.first().port().to_string(), "1"]), "done\n");
}

#[test]
fn redgrease_on_three_shards() {
    let [option, path] = rg();
    let shards = cluster().arg(option).arg(path).start();
    assert_eq!(run_python_with_redgrease("redgrease_client", &[&shards.node(0).port().to_string(), "3"]), "done\n");
}

/// Function objects name redgrease as a requirement, which the server fetches from the package index, and which goes with the
/// version of redis that they name besides.
#[test]
fn functions_as_objects_of_redgrease() {
    let [option, path] = rg();
    for servers in [with_rg(), Servers::of_cluster(cluster().arg(option).arg(path).start())] {
        let words = [&*servers.first().port().to_string(), &*servers.nodes().len().to_string(), "objects"];
        assert_eq!(run_python_with_redgrease("redgrease_client", &words), "done\n");
        let requirements = servers.reply(&["RG.PYDUMPREQS"]);
        assert!(requirements.contains("redgrease[runtime]"), "{requirements}");
    }
}
